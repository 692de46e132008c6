//! The lab as tests and the command line use it: [`Lab`], with a method for each verb.
//!
//! A `Lab` talks to a supervisor in a process of its own. One that [`Lab::up`] made ends its lab when
//! it is dropped, and when this process dies; one that [`Lab::attach`] found does not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::agent_link::Output;
use crate::cable::{Cable, Cut};
use crate::conditions::Condition;
use crate::control::Answer;
use crate::disks::scan;
use crate::frame::{Frame, Kind};
use crate::io::IoReport;
use crate::names::{Head, Machine};
use crate::request::{IoOptions, LabStatus, PoolStatus, Request, Verified};
use crate::spec::{Options, Ready};
use crate::state::{StateDir, last_lines};
use crate::vm::Power;
use crate::{artifacts, progress, supervisor};

/// How long a lab may take to come up; under emulation, on a busy machine.
pub const UP_LIMIT: Duration = Duration::from_secs(300);
/// How long a console command may take: longer than a head gives an order of its operator.
const TELL_LIMIT: Duration = Duration::from_secs(90);
/// How often conditions are looked at: finer than what is measured with them by far.
const POLL: Duration = Duration::from_millis(250);
/// How long a running head may be silent before nobody is said to serve.
const OWNER_LIMIT: Duration = Duration::from_secs(30);
/// Lines of each console that a failure shows.
const CONSOLE_LINES: usize = 25;

/// A running lab.
pub struct Lab {
    state: StateDir,
    supervisor: Option<(Child, ChildStdin)>,
}

impl Lab {
    /// Builds what is missing, starts a lab and waits until it is ready. A failure shows what came
    /// before it.
    pub fn up(options: &Options) -> anyhow::Result<Self> {
        let state = StateDir::of(&options.name)?;
        let starting = state.starting()?;
        artifacts::prepare(options, &state, &starting)?;
        let log = std::fs::File::create(state.file("supervisor.log"))?;
        let mut child = supervisor::command(state.path())?
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0) // a Ctrl-C at our terminal is for us; the lab ends in order, through its input
            .spawn()
            .context("starting the supervisor")?;
        let input = child
            .stdin
            .take()
            .ok_or_else(|| anyhow!("the supervisor has no input"))?;
        let mut lab = Self {
            state,
            supervisor: Some((child, input)),
        };
        lab.wait_started()?;
        drop(starting);
        lab.wait_ready(options)?;
        Ok(lab)
    }

    /// Finds a running lab by name.
    pub fn attach(name: &str) -> anyhow::Result<Self> {
        let lab = Self {
            state: StateDir::of(name)?,
            supervisor: None,
        };
        lab.state.connect()?;
        Ok(lab)
    }

    fn wait_started(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + UP_LIMIT;
        while self.state.connect().is_err() {
            let ended = match &mut self.supervisor {
                Some((child, _)) => child.try_wait()?.is_some(),
                None => false,
            };
            if ended || Instant::now() > until {
                bail!("the lab did not start\n{}", self.trouble());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn wait_ready(&self, options: &Options) -> anyhow::Result<()> {
        if options.ready == Ready::Started {
            return Ok(());
        }
        for head in &options.heads {
            self.wait_for(&format!("{head} answers"), UP_LIMIT)?;
        }
        if options.ready == Ready::Served && !self.status()?.pools.is_empty() {
            self.wait_for("any serves", UP_LIMIT)?;
            self.wait_for("client up", UP_LIMIT)?;
            self.login()?;
        }
        Ok(())
    }

    /// Goes on without this process.
    pub fn detach(mut self) -> anyhow::Result<()> {
        self.request::<Value>(&Request::Detach)?;
        self.supervisor = None;
        Ok(())
    }

    /// Waits until the lab ends by another's hand.
    pub fn wait_end(mut self) -> anyhow::Result<()> {
        if let Some((mut child, _input)) = self.supervisor.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Ends the lab and everything in it.
    pub fn down(mut self) -> anyhow::Result<()> {
        let outcome = self.request::<Value>(&Request::Down).map(drop);
        if let Some((mut child, input)) = self.supervisor.take() {
            drop(input);
            child.wait()?;
        } else {
            // The lock is free when the supervisor has gone, and with it all that it started.
            let until = Instant::now() + Duration::from_secs(10);
            while self.state.lock().is_err() && Instant::now() < until {
                thread::sleep(Duration::from_millis(20));
            }
        }
        outcome
    }

    /// Ends everything after a failure, and keeps what was said: gives where.
    pub fn down_failed(self) -> anyhow::Result<PathBuf> {
        let state = self.state.clone();
        self.down()?;
        state.keep()
    }

    /// Where the lab keeps its files.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// How everything is.
    pub fn status(&self) -> anyhow::Result<LabStatus> {
        self.request(&Request::Status)
    }

    /// Runs a console command on a head; its exit status is in the answer.
    pub fn tell(&self, head: Head, command: &str) -> anyhow::Result<Answer> {
        let limit_ms = TELL_LIMIT.as_millis() as u64;
        self.request(&Request::Tell {
            head,
            command: command.into(),
            limit_ms,
        })
    }

    /// Runs a console command that must succeed; gives its output.
    pub fn tell_ok(&self, head: Head, command: &str) -> anyhow::Result<String> {
        let answer = self.tell(head, command)?;
        if answer.code != 0 {
            bail!(
                "head {head} answered {command:?} with status {}: {}",
                answer.code,
                answer.text.trim()
            );
        }
        Ok(answer.text)
    }

    /// Forgets how often each head was fenced: one that was crashed three times within ten minutes would be given
    /// nothing, and what a test or a round finds must not depend on how many were before it.
    pub fn readmit(&self) -> anyhow::Result<()> {
        for head in Head::BOTH {
            // Refused by the head whose peer was not fenced.
            self.tell(head, "readmit")?;
        }
        Ok(())
    }

    /// Runs a console command with `--json` that must succeed; gives what it says.
    pub fn tell_json(&self, head: Head, command: &str) -> anyhow::Result<Value> {
        let text = self.tell_ok(head, &format!("{command} --json"))?;
        serde_json::from_str(&text).with_context(|| format!("head {head} said {text}"))
    }

    /// Kills a machine.
    pub fn crash(&self, machine: impl Into<Machine>) -> anyhow::Result<()> {
        self.crash_all(&[machine.into()])
    }

    /// Kills machines at once.
    pub fn crash_all(&self, machines: &[Machine]) -> anyhow::Result<()> {
        self.request(&Request::Crash(machines.to_vec()))
    }

    /// Starts a machine that is off.
    pub fn boot(&self, machine: impl Into<Machine>) -> anyhow::Result<()> {
        self.boot_all(&[machine.into()])
    }

    /// Starts machines that are off.
    pub fn boot_all(&self, machines: &[Machine]) -> anyhow::Result<()> {
        self.request(&Request::Boot(machines.to_vec()))
    }

    /// Presses a machine's reset button.
    pub fn reset(&self, machine: impl Into<Machine>) -> anyhow::Result<()> {
        self.request(&Request::Reset(machine.into()))
    }

    /// Pauses a machine: its clock goes on.
    pub fn pause(&self, machine: impl Into<Machine>) -> anyhow::Result<()> {
        self.request(&Request::Pause {
            machine: machine.into(),
            frozen: false,
        })
    }

    /// Freezes a machine: its clock stands still.
    pub fn freeze(&self, machine: impl Into<Machine>) -> anyhow::Result<()> {
        self.request(&Request::Pause {
            machine: machine.into(),
            frozen: true,
        })
    }

    /// Lets a paused or frozen machine go on.
    pub fn resume(&self, machine: impl Into<Machine>) -> anyhow::Result<()> {
        self.request(&Request::Resume(machine.into()))
    }

    /// Stops a head's heartbeat thread for ever.
    pub fn hang(&self, head: Head) -> anyhow::Result<()> {
        self.request(&Request::Hang(head))
    }

    /// Takes a disk of the shelf, by its place from 0, away from a head, until that is started again.
    pub fn unplug(&self, head: Head, disk: usize) -> anyhow::Result<()> {
        self.request(&Request::Unplug { head, disk })
    }

    /// Takes a path of a head to the shelf, from 0, away: all disks by it are gone, as when a SAS cable is pulled.
    pub fn pull_path(&self, head: Head, path: usize) -> anyhow::Result<()> {
        let plugged = false;
        self.request(&Request::Path {
            head,
            path,
            plugged,
        })
    }

    /// Puts it back.
    pub fn plug_path(&self, head: Head, path: usize) -> anyhow::Result<()> {
        let plugged = true;
        self.request(&Request::Path {
            head,
            path,
            plugged,
        })
    }

    /// Cuts a cable.
    pub fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        self.request(&Request::Cut(cut))
    }

    /// Joins a cable in both directions.
    pub fn join(&self, cable: Cable) -> anyhow::Result<()> {
        self.request(&Request::Join { cable, to: None })
    }

    /// Joins a cable, or only its direction towards a head.
    pub fn join_towards(&self, cable: Cable, to: Option<Head>) -> anyhow::Result<()> {
        self.request(&Request::Join { cable, to })
    }

    /// The shelf's power.
    pub fn shelf(&self, on: bool) -> anyhow::Result<()> {
        self.request(&Request::Shelf { on })
    }

    /// Logs the client in to every target; harmless when it is.
    pub fn login(&self) -> anyhow::Result<()> {
        self.request(&Request::Login)
    }

    /// Starts the checked writer.
    pub fn io_start(&self, options: &IoOptions) -> anyhow::Result<IoReport> {
        self.request(&Request::IoStart(options.clone()))
    }

    /// Stops it, letting writes in flight end.
    pub fn io_stop(&self) -> anyhow::Result<IoReport> {
        self.request(&Request::IoStop)
    }

    /// How it is doing.
    pub fn io_report(&self) -> anyhow::Result<IoReport> {
        self.request(&Request::IoReport)
    }

    /// Reads every acknowledged block back through the initiator.
    pub fn verify(&self) -> anyhow::Result<Verified> {
        self.request(&Request::Verify)
    }

    /// Finds every acknowledged block on the raw images.
    pub fn verify_raw(&self) -> anyhow::Result<Verified> {
        self.request(&Request::VerifyRaw)
    }

    /// Both checks; a lost block is an error that names it. Gives the number of blocks.
    pub fn verify_all(&self) -> anyhow::Result<u64> {
        let (read, raw) = (self.verify()?, self.verify_raw()?);
        let lost = [read.lost, raw.lost].concat();
        if !lost.is_empty() {
            bail!(
                "{} acknowledged blocks were lost, such as: {}",
                lost.len(),
                lost[..lost.len().min(5)].join("; ")
            );
        }
        Ok(read.blocks)
    }

    /// A digest of the raw images: equal before and after means that nobody wrote.
    ///
    /// What the head `besides` writes to the ledger is left out: an owner ticks there all the time.
    pub fn digest(&self, besides: Option<Head>) -> anyhow::Result<u64> {
        scan::digest(&self.status()?.shelf.disks, besides)
    }

    /// Runs a command in the client.
    pub fn client(&self, argv: &[&str]) -> anyhow::Result<Output> {
        self.run(&Request::Client {
            argv: argv.iter().map(|&word| word.into()).collect(),
        })
    }

    /// Runs a command in the neighbour.
    pub fn neighbour(&self, argv: &[&str]) -> anyhow::Result<Output> {
        self.run(&Request::Neighbour {
            argv: argv.iter().map(|&word| word.into()).collect(),
        })
    }

    /// Runs a host command inside the lab's network.
    pub fn exec(&self, argv: &[&str]) -> anyhow::Result<Output> {
        let cwd = std::env::current_dir()?;
        self.run(&Request::Exec {
            argv: argv.iter().map(|&word| word.into()).collect(),
            cwd,
        })
    }

    /// Waits for a condition ([`crate::conditions`]), showing progress; gives how long it took. A
    /// failure shows how everything is, and the last lines of the consoles.
    pub fn wait_for(&self, condition: &str, limit: Duration) -> anyhow::Result<Duration> {
        let parsed: Condition = condition.parse().map_err(|why: String| anyhow!(why))?;
        let began = Instant::now();
        let mut progress = progress::Progress::new(condition);
        loop {
            let status = self.status().with_context(|| self.trouble())?;
            if parsed.holds(&status) {
                return Ok(began.elapsed());
            }
            progress.show(&status);
            if began.elapsed() > limit {
                let now = progress::summary(&status);
                bail!(
                    "waited {} s for '{condition}' in vain: {now}\n{}",
                    limit.as_secs(),
                    self.trouble()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until so many more writes of the client's writer were acknowledged.
    ///
    /// # Errors
    /// They were not within the limit.
    pub fn wait_for_writes(&self, more: u64, limit: Duration) -> anyhow::Result<()> {
        let goal = self.io_report()?.writes + more;
        let began = Instant::now();
        while self.io_report()?.writes < goal {
            if began.elapsed() > limit {
                bail!("the client's writes are not acknowledged any more");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The head that serves a pool (the first pool if none is named), once there is exactly one. A head that runs and did not answer
    /// just now is asked again.
    ///
    /// # Errors
    /// There is none.
    pub fn owner(&self, pool: Option<&str>) -> anyhow::Result<Head> {
        let began = Instant::now();
        loop {
            let status = self.status()?;
            let is_meant = |one: &&PoolStatus| pool.is_none_or(|name| name == one.pool.name);
            if let Some(owner) = status.pools.iter().find(is_meant).and_then(|one| one.owner) {
                return Ok(owner);
            }
            let mut running = status
                .heads
                .iter()
                .filter(|head| head.power == Power::Running);
            if running.all(|head| head.report.is_some()) || began.elapsed() > OWNER_LIMIT {
                bail!("no head serves the pool: {}", progress::summary(&status));
            }
            thread::sleep(POLL);
        }
    }

    /// The last lines of all consoles: what came before a failure.
    pub fn trouble(&self) -> String {
        let mut text = String::new();
        for name in [
            "supervisor.log",
            "a.qemu.log",
            "b.qemu.log",
            "a.console.log",
            "b.console.log",
            "client.console.log",
            "shelf.console.log",
            "neighbour.console.log",
        ] {
            let lines = last_lines(&self.state.file(name), CONSOLE_LINES);
            if !lines.trim().is_empty() {
                text.push_str(&format!("--- {name} ---\n{lines}\n"));
            }
        }
        text
    }

    /// A request that is answered by a value.
    pub fn request<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let mut stream = self.open(request)?;
        match Frame::read(&mut stream)? {
            Some(frame) if frame.kind == Kind::Reply => Ok(serde_json::from_slice(&frame.payload)?),
            Some(frame) => bail!("{}", frame.text()),
            None => bail!("the lab ended\n{}", self.trouble()),
        }
    }

    /// A request that runs something; its input is empty.
    fn run(&self, request: &Request) -> anyhow::Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = self.stream(request, std::io::empty(), &mut stdout, &mut stderr)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            status,
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }

    /// A request that runs something: input, outputs and exit status are passed on.
    pub fn stream(
        &self,
        request: &Request,
        mut input: impl Read + Send + 'static,
        stdout: &mut impl Write,
        stderr: &mut impl Write,
    ) -> anyhow::Result<i32> {
        let mut stream = self.open(request)?;
        let mut sender = stream.try_clone()?;
        // Not joined: it may sit in a read of a terminal that gives nothing any more.
        thread::spawn(move || {
            let mut buffer = vec![0; 16384];
            while let Ok(count @ 1..) = input.read(&mut buffer) {
                if Frame::new(0, Kind::Stdin, &buffer[..count])
                    .write(&mut sender)
                    .is_err()
                {
                    return;
                }
            }
            let _ = Frame::new(0, Kind::StdinEnd, []).write(&mut sender);
        });
        while let Some(frame) = Frame::read(&mut stream)? {
            match frame.kind {
                Kind::Stdout => {
                    stdout.write_all(&frame.payload)?;
                    stdout.flush()?;
                }
                Kind::Stderr => stderr.write_all(&frame.payload)?,
                Kind::Exit => return Ok(frame.exit_status()),
                _ => bail!("{}", frame.text()),
            }
        }
        bail!("the lab ended")
    }

    fn open(&self, request: &Request) -> anyhow::Result<UnixStream> {
        let mut stream = self.state.connect()?;
        Frame::new(0, Kind::Open, serde_json::to_vec(request)?).write(&mut stream)?;
        Ok(stream)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((mut child, input)) = self.supervisor.take() {
            drop(input); // the supervisor ends with its input, and everything with the supervisor
            let _ = child.wait();
        }
    }
}
