//! A small machine with disks and the real tools (lvm2, mdadm), in which volume groups are made and looked at. It
//! needs no namespace: its sockets are files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use orthrus_image::Tools;

use crate::accel::Accel;
use crate::agent_link::AgentLink;
use crate::guest::PORT;
use crate::spec::GuestImage;
use crate::vm::wiring;

const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// A disk of the machine.
pub struct Drive {
    /// What its serial number says, by which a script finds it.
    pub serial: String,
    /// The file; relative to the machine's directory.
    pub file: PathBuf,
    /// Nothing is written to it.
    pub is_read_only: bool,
    /// Size of its sectors in bytes.
    pub block: u32,
}

impl Drive {
    /// A disk of sectors of 512 bytes that takes writes.
    pub fn new(serial: impl Into<String>, file: impl Into<PathBuf>) -> Drive {
        Drive {
            serial: serial.into(),
            file: file.into(),
            is_read_only: false,
            block: 512,
        }
    }
}

/// The machine, running. It ends with this, and with the thread that booted it, however that ends.
pub struct Maker {
    link: Arc<AgentLink>,
    child: Child,
    console: PathBuf,
}

impl Maker {
    /// Boots one with these disks, and its sockets and logs in a directory.
    ///
    /// # Errors
    /// QEMU's, or the machine does not answer.
    pub fn boot(
        tools: &Tools,
        accel: Accel,
        guest: &GuestImage,
        dir: &Path,
        drives: &[Drive],
    ) -> anyhow::Result<Maker> {
        let mut command = with_starter(&tools.command("qemu-system-x86_64")?);
        command.current_dir(dir).args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "q35",
            "-m",
            "1024",
        ]);
        command.args(accel.arguments());
        command
            .arg("-kernel")
            .arg(&guest.kernel)
            .arg("-initrd")
            .arg(&guest.initrd);
        command.args([
            "-append",
            "console=ttyS0 quiet panic=-1 raid=noautodetect lab.role=maker",
            "-serial",
            "file:console.log",
        ]);
        let root = Drive {
            is_read_only: true,
            ..Drive::new("root", &guest.root)
        };
        for drive in [&root].into_iter().chain(drives) {
            attach(&mut command, drive);
        }
        command.args([
            "-device",
            "virtio-serial-pci",
            "-chardev",
            "socket,id=agent,path=agent,server=on,wait=off",
        ]);
        command.args([
            "-device",
            &format!("virtserialport,chardev=agent,name={PORT}"),
        ]);
        let log = File::create(dir.join("qemu.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting QEMU")?;
        let maker = Maker {
            link: AgentLink::start(dir.join("agent")),
            child,
            console: dir.join("console.log"),
        };
        maker.explain(maker.link.wait_up(BOOT_LIMIT))?;
        Ok(maker)
    }

    /// Runs a shell script to its end; what it printed.
    ///
    /// # Errors
    /// Anything but success, with what it said and what the console did.
    pub fn script(&self, script: &str, limit: Duration) -> anyhow::Result<String> {
        self.explain(self.link.script(script, limit))
    }

    fn explain<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        outcome.with_context(|| {
            let lines = crate::state::last_lines(&self.console, 20);
            format!("the machine that makes disks; its console:\n{lines}")
        })
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.link.close();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, which the kernel ends with the thread that starts it: a destructor does not run in a test that is
/// killed. `prctl` would want a hook in the child that is not safe to write; this is the program for it.
fn with_starter(command: &Command) -> Command {
    let mut with = Command::new("setpriv");
    with.args(["--pdeathsig", "KILL", "--"]);
    with.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => with.env(key, value),
            None => with.env_remove(key),
        };
    }
    with
}

fn attach(command: &mut Command, drive: &Drive) {
    let (serial, block) = (&drive.serial, drive.block);
    let read_only = if drive.is_read_only {
        "read-only=on,file.read-only=on,file.locking=off,"
    } else {
        ""
    };
    command
        .arg("-blockdev")
        .arg(format!(
            "driver=raw,node-name={serial},{read_only}file.driver=file,file.filename={}",
            wiring::value(&drive.file)
        ))
        .arg("-device")
        .arg(format!(
            "virtio-blk-pci,drive={serial},serial={serial},logical_block_size={block},physical_block_size={block}"
        ));
}
