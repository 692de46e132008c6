//! A shelf of tgtd on the host: reservations without PREEMPT AND ABORT, and forgotten when its power
//! goes. Good for what a claim has to do when its first choice is refused.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orthrus_image::Tools;

use super::IQN;

/// How long tgtd may take to answer its first command.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running tgtd; ends with this value.
pub struct Tgt {
    child: Child,
}

impl Tgt {
    /// Starts it and gives it the disks as LUNs 1, 2, ...
    pub fn start(tools: &Tools, dir: &Path, disks: &[PathBuf]) -> anyhow::Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("tgtd.log"))?;
        let child = tools
            .command("tgtd")?
            .args(["-f", "--iscsi", "portal=127.0.0.1:3260"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting tgtd")?;
        let tgt = Self { child };
        let new_target = ["--op", "new", "--mode", "target", "--tid", "1", "-T", IQN];
        let until = Instant::now() + START_LIMIT;
        while let Err(e) = admin(tools, &new_target) {
            if Instant::now() > until {
                return Err(e);
            }
            thread::sleep(Duration::from_millis(100));
        }
        for (index, disk) in disks.iter().enumerate() {
            let (lun, disk) = ((index + 1).to_string(), disk.to_string_lossy());
            let unit = ["--mode", "logicalunit", "--tid", "1", "--lun", &lun];
            admin(
                tools,
                &[&["--op", "new"], &unit[..], &["-b", &disk]].concat(),
            )?;
            // Names that stay the same over a restart: they are what tells the disks apart.
            let names = format!(
                "vendor_id=LAB,product_id=shelf-disk,scsi_sn=lab-disk-{index},scsi_id=lab-disk-{index}"
            );
            admin(
                tools,
                &[&["--op", "update"], &unit[..], &["--params", &names]].concat(),
            )?;
        }
        admin(
            tools,
            &[
                "--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL",
            ],
        )?;
        Ok(tgt)
    }

    /// Its pid in the lab's namespace.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Tgt {
    fn drop(&mut self) {
        // Killed, as a shelf that loses its power: nothing is written any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn admin(tools: &Tools, arguments: &[&str]) -> anyhow::Result<()> {
    let output = tools
        .command("tgtadm")?
        .args(["--lld", "iscsi"])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!(
            "tgtadm {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
