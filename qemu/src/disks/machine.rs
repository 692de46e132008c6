//! A small machine with the client's Debian in it that runs one script on some disks and is gone: lvm2 and
//! device-mapper for whoever has neither here.
//!
//! It is a guest with the agent; it needs no namespace: its sockets are files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use orthrus_image::Tools;

use crate::accel::Accel;
use crate::agent_link::AgentLink;
use crate::guest::PORT;
use crate::spec::GuestImage;

const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// What it is made of.
pub struct Machine<'a> {
    /// Where QEMU is.
    pub tools: &'a Tools,
    /// How it is run.
    pub accel: Accel,
    /// What boots.
    pub guest: &'a GuestImage,
}

/// A disk of it.
pub struct Drive {
    /// Its serial number: `/sys/block/*/serial` in the guest.
    pub serial: String,
    /// A raw image.
    pub file: PathBuf,
    /// Nothing is written to it.
    pub is_read_only: bool,
    /// Size of its blocks in bytes.
    pub block: u32,
}

impl Drive {
    /// One that is written to, with blocks of 512 bytes.
    pub fn new(serial: &str, file: &Path) -> Drive {
        Drive {
            serial: serial.to_owned(),
            file: file.to_owned(),
            is_read_only: false,
            block: 512,
        }
    }

    fn arguments(&self, command: &mut Command) {
        let read_only = match self.is_read_only {
            true => "read-only=on,file.read-only=on,file.locking=off,",
            false => "",
        };
        let (serial, block) = (&self.serial, self.block);
        command
            .arg("-blockdev")
            .arg(format!(
                "driver=raw,node-name={serial},{read_only}file.driver=file,file.filename={}",
                self.file.display()
            ))
            .arg("-device")
            .arg(format!(
                "virtio-blk-pci,drive={serial},serial={serial},logical_block_size={block},physical_block_size={block}"
            ));
    }
}

impl Machine<'_> {
    /// Boots with these disks, runs the script, and ends. `dir` is for sockets and logs. What the script said.
    ///
    /// # Errors
    /// The script's, with what it said and the end of the console.
    pub fn run(
        &self,
        dir: &Path,
        drives: &[Drive],
        script: &str,
        limit: Duration,
    ) -> anyhow::Result<String> {
        let mut command = self.command(dir)?;
        let root = Drive {
            is_read_only: true,
            ..Drive::new("root", &self.guest.root)
        };
        root.arguments(&mut command);
        for drive in drives {
            drive.arguments(&mut command);
        }
        let log = File::create(dir.join("qemu.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting QEMU")?;
        let _guard = Guard(child);
        let link = AgentLink::start(dir.join("agent"));
        let outcome = link
            .wait_up(BOOT_LIMIT)
            .and_then(|()| link.script(script, limit));
        link.close();
        outcome.with_context(|| {
            format!(
                "the machine's console:\n{}",
                crate::state::last_lines(&dir.join("console.log"), 20)
            )
        })
    }

    fn command(&self, dir: &Path) -> anyhow::Result<Command> {
        let mut command = self.tools.command("qemu-system-x86_64")?;
        command.current_dir(dir).args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "q35",
            "-m",
            "512",
        ]);
        command.args(self.accel.arguments());
        command
            .arg("-kernel")
            .arg(&self.guest.kernel)
            .arg("-initrd")
            .arg(&self.guest.initrd);
        command.args([
            "-append",
            "console=ttyS0 quiet panic=-1 lab.role=maker",
            "-serial",
            "file:console.log",
            "-device",
            "virtio-serial-pci",
            "-chardev",
            "socket,id=agent,path=agent,server=on,wait=off",
            "-device",
        ]);
        command.arg(format!("virtserialport,chardev=agent,name={PORT}"));
        Ok(command)
    }
}

/// Ends the machine with its script, whatever came of it.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
