//! Runs commands for whoever is at the other end of a stream of frames: the agent for the lab, and
//! the supervisor for `lab exec`. Many at once, each on its own channel.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::frame::{Frame, Kind};

/// Where frames go: shared by the threads that pump output.
pub type Sink = Arc<Mutex<dyn Write + Send>>;

/// The commands that are running.
pub struct Runner {
    sink: Sink,
    running: Arc<Mutex<HashMap<u32, Running>>>,
}

struct Running {
    stdin: Option<Sender<Vec<u8>>>,
    pid: rustix::process::Pid,
}

/// How long output is still awaited after a command's end. A daemon that it left behind may hold the
/// pipe for ever, and is no reason to wait.
const DRAIN: Duration = Duration::from_millis(500);

impl Runner {
    /// A runner that answers into `sink`.
    pub fn new(sink: Sink) -> Self {
        Self {
            sink,
            running: Arc::default(),
        }
    }

    /// Starts a command on a channel.
    pub fn start(&self, channel_id: u32, mut command: Command) {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        match command.spawn() {
            Ok(child) => self.attend(channel_id, child),
            Err(e) => {
                let text = format!("{}: {e}\n", command.get_program().to_string_lossy());
                send(&self.sink, Frame::new(channel_id, Kind::Stderr, text));
                // 127 is what a shell says when there is no such command.
                send(
                    &self.sink,
                    Frame::new(channel_id, Kind::Exit, 127i32.to_le_bytes()),
                );
            }
        }
    }

    /// Passes a frame on to its command.
    pub fn deliver(&self, frame: Frame) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = running.get_mut(&frame.channel) else {
            return;
        };
        match frame.kind {
            Kind::Stdin => {
                if let Some(stdin) = &entry.stdin {
                    let _ = stdin.send(frame.payload);
                }
            }
            Kind::StdinEnd => entry.stdin = None,
            Kind::Kill => {
                let _ =
                    rustix::process::kill_process_group(entry.pid, rustix::process::Signal::KILL);
            }
            _ => {}
        }
    }

    /// Ends everything: whoever asked has gone.
    pub fn end(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in running.values() {
            let _ = rustix::process::kill_process_group(entry.pid, rustix::process::Signal::KILL);
        }
    }

    fn attend(&self, channel_id: u32, mut child: Child) {
        let stdin = child.stdin.take().map(feed);
        let pid = rustix::process::Pid::from_child(&child);
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(channel_id, Running { stdin, pid });
        let pumps = [
            child
                .stdout
                .take()
                .map(|from| pump(from, channel_id, Kind::Stdout, Arc::clone(&self.sink))),
            child
                .stderr
                .take()
                .map(|from| pump(from, channel_id, Kind::Stderr, Arc::clone(&self.sink))),
        ];
        let (sink, running) = (Arc::clone(&self.sink), Arc::clone(&self.running));
        thread::spawn(move || {
            let status = child.wait().map_or(-1, status_code);
            let until = Instant::now() + DRAIN;
            while pumps.iter().flatten().any(|pump| !pump.is_finished()) && Instant::now() < until {
                thread::sleep(Duration::from_millis(2));
            }
            running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&channel_id);
            send(
                &sink,
                Frame::new(channel_id, Kind::Exit, status.to_le_bytes()),
            );
        });
    }
}

/// A thread of its own writes to the command: one that does not read must not hold up the others.
fn feed(mut stdin: ChildStdin) -> Sender<Vec<u8>> {
    let (sender, receiver) = channel::<Vec<u8>>();
    thread::spawn(move || {
        for bytes in receiver {
            if stdin.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    sender
}

fn pump(
    mut from: impl Read + Send + 'static,
    id: u32,
    kind: Kind,
    sink: Sink,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 16384];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 {
                return;
            }
            send(&sink, Frame::new(id, kind, &buffer[..count]));
        }
    })
}

/// Sends a frame; false if the sink is gone. Whoever reads from its other direction ends by that,
/// so most callers need not care.
pub fn send(sink: &Sink, frame: Frame) -> bool {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    frame.write(&mut *sink).is_ok()
}

/// Exit status as a shell gives it: 128 and the signal for a command that was killed.
pub fn status_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn run(argv: &[&str], input: &[u8]) -> (Vec<u8>, i32) {
        let (mine, theirs) = UnixStream::pair().unwrap();
        let runner = Runner::new(Arc::new(Mutex::new(theirs)));
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]);
        runner.start(3, command);
        runner.deliver(Frame::new(3, Kind::Stdin, input));
        runner.deliver(Frame::new(3, Kind::StdinEnd, []));
        let (mut output, mut reader) = (Vec::new(), mine);
        loop {
            let frame = Frame::read(&mut reader).unwrap().unwrap();
            match frame.kind {
                Kind::Exit => return (output, frame.exit_status()),
                Kind::Stdout => output.extend(frame.payload),
                _ => {}
            }
        }
    }

    #[test]
    fn input_output_and_status_are_the_commands() {
        assert_eq!(run(&["cat"], b"through"), (b"through".to_vec(), 0));
        assert_eq!(run(&["sh", "-c", "exit 7"], b"").1, 7);
        assert_eq!(run(&["sh", "-c", "kill -9 $$"], b"").1, 137);
        assert_eq!(run(&["/no/such/command"], b"").1, 127);
    }

    #[test]
    fn a_daemon_left_behind_holds_up_nothing() {
        let began = Instant::now();
        assert_eq!(run(&["sh", "-c", "sleep 20 & exit 0"], b"").1, 0);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
