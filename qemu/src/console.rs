//! A machine's console: QEMU writes the log itself, from the first byte; this is for who attaches.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// A console that any number of shells may attach to.
#[derive(Default)]
pub struct Console {
    stream: Mutex<Option<UnixStream>>,
    listeners: Mutex<Vec<Sender<Vec<u8>>>>,
}

impl Console {
    /// Connects to a machine's console whenever it runs.
    pub fn start(socket: PathBuf) -> Arc<Self> {
        let console = Arc::new(Self::default());
        let this = Arc::clone(&console);
        thread::spawn(move || {
            loop {
                if let Ok(stream) = UnixStream::connect(&socket) {
                    this.listen(stream);
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        console
    }

    fn listen(&self, mut stream: UnixStream) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream.try_clone().ok();
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                break;
            }
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
