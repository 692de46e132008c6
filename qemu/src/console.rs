//! A machine's console: QEMU writes the log itself, from the first byte; this is for who attaches, and for who wants to
//! know in which order two machines said something: each has a clock of its own, and a line is stamped here, in the moment in which
//! its end arrives, with the host's.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::clock::unix_ms;
use crate::names::Machine;
use crate::state::without_escapes;

/// A console that any number of shells may attach to.
#[derive(Default)]
pub struct Console {
    stream: Mutex<Option<UnixStream>>,
    listeners: Mutex<Vec<Sender<Vec<u8>>>>,
}

impl Console {
    /// Connects to a machine's console whenever it runs. The socket is relative to the lab's state directory, as is the file
    /// with the stamped lines.
    pub fn start(machine: Machine) -> Arc<Self> {
        let console = Arc::new(Self::default());
        let this = Arc::clone(&console);
        let socket = PathBuf::from(format!("{machine}.console"));
        thread::spawn(move || {
            let mut stamps = Stamps::create(&stamped(Path::new(""), machine));
            loop {
                if let Ok(stream) = UnixStream::connect(&socket) {
                    this.listen(stream, &mut stamps);
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        console
    }

    fn listen(&self, mut stream: UnixStream, stamps: &mut Stamps) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream.try_clone().ok();
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                break;
            }
            stamps.take(&buffer[..count], unix_ms());
            let mut listeners = self
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            listeners.retain(|listener| listener.send(buffer[..count].to_vec()).is_ok());
        }
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the machine prints from now on.
    pub fn attach(&self) -> Receiver<Vec<u8>> {
        let (sender, receiver) = channel();
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }

    /// Types.
    pub fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = stream
            .as_mut()
            .ok_or_else(|| anyhow!("the machine is not running"))?;
        stream.write_all(bytes).context("writing to the console")
    }
}

/// A line of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its end arrived, in milliseconds of the Unix epoch.
    pub unix_ms: u64,
    /// What it says.
    pub text: String,
}

/// What a machine of the lab in this directory has printed, with times. What it printed in its first tenth of a second may
/// be missing.
///
/// # Errors
/// The file's.
pub fn lines(dir: &Path, machine: Machine) -> anyhow::Result<Vec<Line>> {
    let path = stamped(dir, machine);
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let parse = |line: &str| {
        let (unix_ms, text) = line.split_once(' ')?;
        Some(Line {
            unix_ms: unix_ms.parse().ok()?,
            text: text.to_owned(),
        })
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn stamped(dir: &Path, machine: Machine) -> PathBuf {
    dir.join(format!("{machine}.console.stamped"))
}

/// Writes lines with the time of their end.
struct Stamps {
    file: Option<File>,
    line: Vec<u8>,
}

impl Stamps {
    fn create(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = &file {
            eprintln!("supervisor: {}: {error}", path.display());
        }
        Self {
            file: file.ok(),
            line: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8], now_unix_ms: u64) {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let text = without_escapes(&String::from_utf8_lossy(&self.line));
            self.line.clear();
            if let Some(file) = &mut self.file {
                let _ = file.write_all(format!("{now_unix_ms} {text}\n").as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_time_of_its_end() {
        let directory = tempfile::TempDir::new().unwrap();
        let dir = directory.path();
        let mut stamps = Stamps::create(&stamped(dir, Machine::A));
        stamps.take(b"orthrus> \x1b[K[ 1.0] up\r\n[ 2", 1_000);
        stamps.take(b".0] down\n[ 3.0", 2_000);
        let said = |line: Line| (line.unix_ms, line.text);
        let said: Vec<_> = lines(dir, Machine::A)
            .unwrap()
            .into_iter()
            .map(said)
            .collect();
        let expected = [(1_000, "orthrus> [ 1.0] up"), (2_000, "[ 2.0] down")];
        assert_eq!(said, expected.map(|(at, text)| (at, text.to_owned())));
        assert!(lines(dir, Machine::B).is_err());
    }
}
