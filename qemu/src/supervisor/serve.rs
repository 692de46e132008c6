//! One connection, one request.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::Supervisor;
use crate::agent_link::AgentLink;
use crate::frame::{Frame, Kind};
use crate::guest::exec::{Runner, Sink, send};
use crate::names::Machine;
use crate::request::Request;

/// What a finished request answers; `None` where its output was the answer.
type Outcome = anyhow::Result<Option<Value>>;

impl Supervisor {
    /// Serves a connection to its end.
    pub(super) fn serve(self: Arc<Self>, mut stream: UnixStream) {
        let Ok(Some(frame)) = Frame::read(&mut stream) else {
            return;
        };
        let outcome = serde_json::from_slice::<Request>(&frame.payload)
            .context("a request of another version of the lab")
            .and_then(|request| self.perform(request, &stream));
        let last = match outcome {
            Ok(Some(value)) => Frame::new(0, Kind::Reply, value.to_string()),
            Ok(None) => return,
            Err(e) => Frame::new(0, Kind::Failure, format!("{e:#}")),
        };
        let _ = last.write(&mut stream);
    }

    fn perform(&self, request: Request, stream: &UnixStream) -> Outcome {
        match request {
            Request::Status => reply(self.status()),
            Request::Tell {
                head,
                command,
                limit_ms,
            } => reply(
                self.control(head)
                    .ask(&command, Duration::from_millis(limit_ms))?,
            ),
            Request::Crash(machines) => done(self.crash(&machines)),
            Request::Boot(machines) => done(machines.into_iter().try_for_each(|m| self.boot(m))),
            Request::Reset(machine) => done(self.reset(machine)),
            Request::Pause { machine, frozen } => done(self.vm(machine).pause(frozen)),
            Request::Resume(machine) => done(self.vm(machine).resume()),
            Request::Hang(head) => done(self.hang(head)),
            Request::Unplug { head, disk } => {
                let mut paths = 0..self.spec.paths;
                done(paths.try_for_each(|path| self.vm(head.into()).unplug(disk, path)))
            }
            Request::Path {
                head,
                path,
                plugged,
            } => {
                let mut disks = 0..self.spec.disks.len();
                let mut vm = self.vm(head.into());
                done(disks.try_for_each(|disk| match plugged {
                    true => vm.plug(disk, path),
                    false => vm.unplug(disk, path),
                }))
            }
            Request::Cut(cut) => done(self.cut(cut)),
            Request::Join { cable, to } => done(self.join(cable, to)),
            Request::Shelf { on } => done(self.set_shelf(on)),
            Request::Login => done(self.login()),
            Request::IoStart(options) => reply(self.io_start(&options)?),
            Request::IoStop => reply(self.io_stop()?),
            Request::IoReport => reply(self.io_report()?),
            Request::Verify => reply(self.verify()?),
            Request::VerifyRaw => reply(self.verify_raw()?),
            Request::Exec { argv, cwd } => {
                let mut command = self.host_command(argv.first().context("no command")?);
                command.args(&argv[1..]).current_dir(cwd);
                run_here(command, stream)
            }
            Request::Client { argv } => {
                self.wait_client()?;
                run_in_guest(&self.client, &argv, stream)
            }
            Request::Neighbour { argv } => {
                self.wait_neighbour()?;
                run_in_guest(&self.neighbour, &argv, stream)
            }
            Request::Console(machine) => self.attach(machine, stream),
            Request::Detach => {
                self.detached.store(true, Ordering::Relaxed);
                reply(())
            }
            Request::Down => self.down(stream),
        }
    }

    /// A program of the host; where the host has none of that name, of the tools' tree.
    fn host_command(&self, name: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_host =
            name.contains('/') || std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
        match self.tools.command(name) {
            Ok(command) if !on_host => command,
            _ => Command::new(name),
        }
    }

    fn attach(&self, machine: Machine, stream: &UnixStream) -> Outcome {
        let console = &self.consoles[machine as usize];
        let said = console.attach();
        let sink: Sink = Arc::new(Mutex::new(stream.try_clone()?));
        let output = Arc::clone(&sink);
        thread::spawn(move || {
            for bytes in said {
                if !send(&output, Frame::new(0, Kind::Stdout, bytes)) {
                    return;
                }
            }
        });
        let mut input = stream.try_clone()?;
        while let Ok(Some(frame)) = Frame::read(&mut input) {
            match frame.kind {
                Kind::Stdin => console.write(&frame.payload)?,
                _ => break,
            }
        }
        send(&sink, Frame::new(0, Kind::Exit, 0i32.to_le_bytes()));
        // Ends the thread above at the next byte that it cannot pass on.
        let _ = stream.shutdown(Shutdown::Both);
        Ok(None)
    }

    fn down(&self, stream: &UnixStream) -> Outcome {
        let mut stream = stream.try_clone()?;
        let _ = Frame::new(0, Kind::Reply, "null").write(&mut stream);
        let _ = std::fs::remove_file("lab.sock");
        // PID 1 of the namespace: all machines, tgtd and commands end with it, here and now.
        std::process::exit(0);
    }
}

fn run_in_guest(guest: &Arc<AgentLink>, argv: &[String], stream: &UnixStream) -> Outcome {
    let command = guest.open(argv)?;
    let send = command.sender();
    let mut input = stream.try_clone()?;
    thread::spawn(move || {
        while let Ok(Some(frame)) = Frame::read(&mut input) {
            let _ = send(frame.kind, &frame.payload);
        }
        // The shell has gone: so must what it started.
        let _ = send(Kind::Kill, &[]);
    });
    let mut output = stream.try_clone()?;
    while let Some(frame) = command.next() {
        let last = matches!(frame.kind, Kind::Exit | Kind::Failure);
        if Frame::new(0, frame.kind, frame.payload)
            .write(&mut output)
            .is_err()
            || last
        {
            return Ok(None);
        }
    }
    anyhow::bail!("the guest went away")
}

fn run_here(command: Command, stream: &UnixStream) -> Outcome {
    let runner = Runner::new(Arc::new(Mutex::new(stream.try_clone()?)));
    runner.start(0, command);
    let mut input = stream.try_clone()?;
    while let Ok(Some(frame)) = Frame::read(&mut input) {
        runner.deliver(frame);
    }
    runner.end();
    Ok(None)
}

fn reply(value: impl Serialize) -> Outcome {
    Ok(Some(serde_json::to_value(value)?))
}

fn done(outcome: anyhow::Result<()>) -> Outcome {
    outcome.map(|()| Some(Value::Null))
}
