//! The heartbeat's serial line: bytes between the two heads' second serial ports. Each QEMU listens
//! on a unix socket; the relay connects to both and comes back when a machine was started again.
//!
//! A wire never waits: bytes that the other end does not take are lost, as a UART loses them. Hence
//! a short queue towards each end, or a paused head would find minutes of old beats. QEMU hands over
//! bytes one by one; the queue also gathers them, because a socket's buffer counts pieces, not bytes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;

use super::Gates;
use crate::names::Head;

/// What may wait for an end: some ten beats, a second of them.
const QUEUE_BYTES: usize = 640;
/// About as little as the kernel allows.
const SEND_BUFFER_BYTES: usize = 4096;
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// One end of the line.
#[derive(Default)]
struct End {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stream: Option<UnixStream>,
    queue: VecDeque<u8>,
}

/// Starts the relay between the sockets `dir`/{a,b}.serial.
pub fn start(dir: &Path, gates: &Arc<Gates>) {
    let ends: [Arc<End>; 2] = Default::default();
    for head in Head::BOTH {
        let path = dir.join(format!("{head}.serial"));
        let (mine, others) = (
            Arc::clone(&ends[head.index()]),
            Arc::clone(&ends[head.peer().index()]),
        );
        let writer = Arc::clone(&mine);
        let gates = Arc::clone(gates);
        thread::spawn(move || read_forever(&path, &mine, &others, &gates, head.peer()));
        thread::spawn(move || writer.write_forever());
    }
}

fn read_forever(path: &Path, mine: &End, others: &End, gates: &Gates, towards: Head) {
    loop {
        if let Ok(mut stream) = UnixStream::connect(path) {
            let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
            mine.lock().stream = stream.try_clone().ok();
            let mut buffer = [0; 512];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if !gates.is_cut(towards) {
                    others.push(&buffer[..count]);
                }
            }
            let mut state = mine.lock();
            state.stream = None;
            state.queue.clear();
        }
        thread::sleep(RECONNECT_PAUSE);
    }
}

impl End {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what there is room for; nothing while no machine is at this end.
    fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.stream.is_some() {
            let room = QUEUE_BYTES.saturating_sub(state.queue.len());
            state.queue.extend(bytes.iter().take(room));
            self.changed.notify_one();
        }
    }

    fn write_forever(&self) {
        loop {
            let (stream, bytes) = {
                let mut state = self.lock();
                while state.queue.is_empty() {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                let bytes: Vec<u8> = state.queue.drain(..).collect();
                (
                    state
                        .stream
                        .as_ref()
                        .and_then(|stream| stream.try_clone().ok()),
                    bytes,
                )
            };
            if let Some(mut stream) = stream {
                // Waits for a paused machine; fails when it is killed, which the reader sees as well.
                let _ = stream.write_all(&bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn line(name: &str) -> (std::path::PathBuf, Arc<Gates>, [UnixStream; 2]) {
        let dir = std::env::temp_dir().join(format!("orthrus-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listeners =
            Head::BOTH.map(|head| UnixListener::bind(dir.join(format!("{head}.serial"))).unwrap());
        let gates = Arc::new(Gates::default());
        start(&dir, &gates);
        let ends = listeners.map(|listener| listener.accept().unwrap().0);
        thread::sleep(Duration::from_millis(100));
        (dir, gates, ends)
    }

    #[test]
    fn a_cut_direction_loses_bytes_and_the_other_does_not() {
        let (dir, gates, [mut a, mut b]) = line("serial");
        let mut byte = [0];
        a.write_all(b"1").unwrap();
        b.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"1");
        gates.set_cut(Some(Head::B), true);
        a.write_all(b"2").unwrap();
        b.write_all(b"3").unwrap();
        a.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"3");
        thread::sleep(Duration::from_millis(100));
        gates.set_cut(None, false);
        a.write_all(b"4").unwrap();
        b.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"4", "what was sent into the cut is lost");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn an_end_that_does_not_read_finds_little_when_it_reads_again() {
        let (dir, _gates, [mut a, mut b]) = line("stale");
        for _ in 0..2000 {
            a.write_all(&[7; 60]).unwrap();
        }
        thread::sleep(Duration::from_millis(200));
        b.set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let (mut buffer, mut found) = ([0; 4096], 0);
        while let Ok(count @ 1..) = b.read(&mut buffer) {
            found += count;
        }
        assert!(
            found > 0 && found < 20_000,
            "{found} bytes of 120,000 waited"
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
