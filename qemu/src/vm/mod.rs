//! A machine: a QEMU process that is started, killed, paused and asked.

pub mod wiring;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orthrus_image::Tools;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::names::Machine;
use crate::{namespace, qmp};

/// How long a guest may take to let a device go.
const PLUG_LIMIT: Duration = Duration::from_secs(30);

/// What a machine is doing, as the lab made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Its process runs.
    Running,
    /// Stopped by SIGSTOP: its clock goes on.
    Paused,
    /// Stopped by QMP: its clock stands still.
    Frozen,
    /// There is no process.
    Off,
}

/// A machine.
pub struct Vm {
    machine: Machine,
    dir: PathBuf,
    tools: Tools,
    arguments: Vec<String>,
    child: Option<Child>,
    outer_pid: Option<u32>,
    held: Option<Power>,
}

impl Vm {
    /// A machine that is off. QEMU runs in `dir`, so that the sockets in its arguments are short.
    pub fn new(machine: Machine, dir: &Path, tools: &Tools, arguments: Vec<String>) -> Self {
        Self {
            machine,
            dir: dir.to_owned(),
            tools: tools.clone(),
            arguments,
            child: None,
            outer_pid: None,
            held: None,
        }
    }

    /// Starts it; an error if it runs.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.power() != Power::Off {
            bail!("{} is running already", self.machine);
        }
        let log = self.log();
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let child = self
            .tools
            .command("qemu-system-x86_64")?
            .args(&self.arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .context("starting QEMU")?;
        self.outer_pid = namespace::outer_pid(child.id());
        self.child = Some(child);
        self.held = None;
        Ok(())
    }

    /// What it is doing.
    pub fn power(&mut self) -> Power {
        let Some(child) = &mut self.child else {
            return Power::Off;
        };
        match child.try_wait() {
            Ok(None) => self.held.unwrap_or(Power::Running),
            _ => {
                self.child = None;
                Power::Off
            }
        }
    }

    /// SIGKILL, which takes a moment.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else {
            bail!("{} is not running", self.machine)
        };
        child.kill().context("killing QEMU")
    }

    /// SIGKILL: no more instruction of it is executed once this returns.
    pub fn crash(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        self.held = None;
        Ok(())
    }

    /// The reset button.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.qmp("system_reset", json!({})).map(drop)
    }

    /// Stops it as it is: by SIGSTOP, or frozen with its clock.
    pub fn pause(&mut self, frozen: bool) -> anyhow::Result<()> {
        if self.power() != Power::Running {
            bail!("{} is not running", self.machine);
        }
        if frozen {
            self.qmp("stop", json!({}))?;
            self.held = Some(Power::Frozen);
        } else {
            self.signal(Signal::STOP)?;
            self.held = Some(Power::Paused);
        }
        Ok(())
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        match self.power() {
            Power::Paused => self.signal(Signal::CONT)?,
            Power::Frozen => drop(self.qmp("cont", json!({}))?),
            Power::Running => bail!("{} is not paused", self.machine),
            Power::Off => bail!("{} is off: `boot {}` starts it", self.machine, self.machine),
        }
        self.held = None;
        Ok(())
    }

    /// Tells the machine whether one of its network cards has a carrier.
    pub fn set_link(&mut self, netdev: &str, up: bool) -> anyhow::Result<()> {
        self.qmp("set_link", json!({ "name": netdev, "up": up }))
            .map(drop)
    }

    /// Pulls one path to a disk of the shelf out of the machine.
    pub fn unplug(&mut self, disk: usize, path: usize) -> anyhow::Result<()> {
        let id = wiring::path_id(disk, path);
        self.qmp("device_del", json!({ "id": id })).map(drop)
    }

    /// Puts it back.
    pub fn plug(&mut self, disk: usize, path: usize) -> anyhow::Result<()> {
        let device = wiring::path_device(disk, path);
        let words = device.into_iter().map(|(name, value)| match name {
            // The only one that is a number to QEMU.
            "scsi-id" => (name.to_owned(), json!(disk)),
            _ => (name.to_owned(), json!(value)),
        });
        let arguments = Value::Object(words.collect());
        let until = Instant::now() + PLUG_LIMIT;
        loop {
            // The guest lets a device go when it likes to, and until then there is one of this name.
            match self.qmp("device_add", arguments.clone()) {
                Err(e) if format!("{e:#}").contains("Duplicate") && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(100));
                }
                done => return done.map(drop),
            }
        }
    }

    /// One QMP command.
    pub fn qmp(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        match self.power() {
            Power::Off => bail!("{} is not running", self.machine),
            Power::Paused => bail!("{} is paused and answers nothing", self.machine),
            _ => qmp::execute(
                &self.dir.join(format!("{}.qmp", self.machine)),
                command,
                arguments,
            ),
        }
    }

    /// Its pid as other shells see it.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and(self.outer_pid)
    }

    /// Where QEMU's own messages go.
    pub fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.qemu.log", self.machine))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(child) = &self.child else {
            bail!("{} is not running", self.machine)
        };
        kill_process(Pid::from_child(child), signal).context("signalling QEMU")
    }
}
