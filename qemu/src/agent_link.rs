//! The host's end of a guest agent's port: many commands at once over one stream that comes and goes
//! with the guest.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};

use crate::frame::{Frame, Kind};
use crate::guest::Exec;

const HELLO_PAUSE: Duration = Duration::from_millis(300);

/// The link to one guest's agent.
pub struct AgentLink {
    socket: PathBuf,
    stream: Mutex<Option<UnixStream>>,
    channels: Mutex<HashMap<u32, Sender<Frame>>>,
    next_channel: AtomicU32,
    up: AtomicBool,
    closed: AtomicBool,
}

/// A command that runs in the guest.
pub struct GuestCommand {
    link: Arc<AgentLink>,
    channel: u32,
    frames: Receiver<Frame>,
}

/// What a command left.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl AgentLink {
    /// A link that connects whenever the guest runs.
    pub fn start(socket: PathBuf) -> Arc<Self> {
        let link = Arc::new(Self {
            socket,
            stream: Mutex::default(),
            channels: Mutex::default(),
            next_channel: AtomicU32::new(1),
            up: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let (reader, greeter) = (Arc::clone(&link), Arc::clone(&link));
        thread::spawn(move || reader.read_to_end());
        thread::spawn(move || {
            while !greeter.is_closed() {
                if !greeter.is_up() {
                    let _ = greeter.send(&Frame::new(0, Kind::Hello, []));
                }
                thread::sleep(HELLO_PAUSE);
            }
        });
        link
    }

    /// Whether the agent has answered.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Waits for the agent.
    pub fn wait_up(&self, limit: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        while !self.is_up() {
            if Instant::now() > until {
                bail!("its agent did not answer within {} s", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The guest was killed or reset: what ran in it has ended.
    pub fn disconnect(&self) {
        self.up.store(false, Ordering::Relaxed);
        if let Some(stream) = lock(&self.stream).take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        lock(&self.channels).clear();
    }

    /// Ends the link: its guest will not come back.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.disconnect();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Starts a command.
    pub fn open(self: &Arc<Self>, argv: &[String]) -> anyhow::Result<GuestCommand> {
        if !self.is_up() {
            bail!("the guest's agent does not answer");
        }
        let id = self.next_channel.fetch_add(1, Ordering::Relaxed);
        let (sender, frames) = channel();
        lock(&self.channels).insert(id, sender);
        let exec = serde_json::to_vec(&Exec {
            argv: argv.to_vec(),
        })?;
        self.send(&Frame::new(id, Kind::Open, exec))?;
        Ok(GuestCommand {
            link: Arc::clone(self),
            channel: id,
            frames,
        })
    }

    /// Runs a command to its end.
    pub fn run(
        self: &Arc<Self>,
        argv: &[&str],
        input: &[u8],
        limit: Duration,
    ) -> anyhow::Result<Output> {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let command = self.open(&argv)?;
        for piece in input.chunks(32768) {
            command.send(Kind::Stdin, piece)?;
        }
        command.send(Kind::StdinEnd, &[])?;
        command.finish(limit).with_context(|| argv.join(" "))
    }

    /// Runs a shell script to its end; anything but success is an error with what it said.
    pub fn script(self: &Arc<Self>, script: &str, limit: Duration) -> anyhow::Result<String> {
        let output = self.run(&["sh", "-c", script], &[], limit)?;
        if output.status != 0 {
            bail!(
                "exit status {}: {}{}",
                output.status,
                output.stdout,
                output.stderr.trim()
            );
        }
        Ok(output.stdout)
    }

    fn send(&self, frame: &Frame) -> anyhow::Result<()> {
        let mut stream = lock(&self.stream);
        let stream = stream
            .as_mut()
            .ok_or_else(|| anyhow!("the guest is not running"))?;
        Ok(frame.write(stream)?)
    }

    fn read_to_end(&self) {
        while !self.is_closed() {
            if let Ok(stream) = UnixStream::connect(&self.socket) {
                if let (Ok(mut reader), Ok(())) = (
                    stream.try_clone(),
                    stream.set_write_timeout(Some(Duration::from_secs(10))),
                ) {
                    *lock(&self.stream) = Some(stream);
                    while let Ok(Some(frame)) = Frame::read(&mut reader) {
                        self.take(frame);
                    }
                }
                self.disconnect();
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn take(&self, frame: Frame) {
        if frame.kind == Kind::Hello {
            self.up.store(true, Ordering::Relaxed);
            return;
        }
        let mut channels = lock(&self.channels);
        let last = matches!(frame.kind, Kind::Exit | Kind::Failure);
        let channel = frame.channel;
        if let Some(sender) = channels.get(&channel) {
            let _ = sender.send(frame);
        }
        if last {
            channels.remove(&channel);
        }
    }
}

impl GuestCommand {
    /// Sends it input, or a signal.
    pub fn send(&self, kind: Kind, payload: &[u8]) -> anyhow::Result<()> {
        self.link.send(&Frame::new(self.channel, kind, payload))
    }

    /// Its next frame; `None` when the guest has gone.
    pub fn next(&self) -> Option<Frame> {
        self.frames.recv().ok()
    }

    /// Collects its output until it ends.
    pub fn finish(self, limit: Duration) -> anyhow::Result<Output> {
        let until = Instant::now() + limit;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self
                .frames
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(frame) => match frame.kind {
                    Kind::Stdout => stdout.extend(frame.payload),
                    Kind::Stderr => stderr.extend(frame.payload),
                    Kind::Exit => {
                        return Ok(Output {
                            status: frame.exit_status(),
                            stdout: String::from_utf8_lossy(&stdout).into_owned(),
                            stderr: String::from_utf8_lossy(&stderr).into_owned(),
                        });
                    }
                    _ => bail!("{}", frame.text()),
                },
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.send(Kind::Kill, &[]);
                    bail!("did not end within {} s", limit.as_secs());
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the guest went away"),
            }
        }
    }

    /// A second handle that can only send: for a thread that passes input on.
    pub fn sender(&self) -> impl Fn(Kind, &[u8]) -> anyhow::Result<()> + Send + 'static {
        let (link, channel) = (Arc::clone(&self.link), self.channel);
        move |kind, payload| link.send(&Frame::new(channel, kind, payload))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
