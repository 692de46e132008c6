//! The heartbeat's serial line: bytes between the two heads' second serial ports. Each QEMU listens
//! on a unix socket; the relay connects to both and comes back when a machine was started again.
//!
//! A wire never waits: bytes that the other end does not take are lost, as a UART loses them. Hence
//! sends that do not block and a small send buffer, or a paused head would find minutes of old beats.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::{SendFlags, send, sockopt::set_socket_send_buffer_size};

use super::Gates;
use crate::names::Head;

/// About as little as the kernel allows: some dozens of beats.
const SEND_BUFFER_BYTES: usize = 4096;
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

type End = Arc<Mutex<Option<UnixStream>>>;

/// Starts the relay between the sockets `dir`/{a,b}.serial.
pub fn start(dir: &Path, gates: &Arc<Gates>) {
    let ends: [End; 2] = Default::default();
    for head in Head::BOTH {
        let path = dir.join(format!("{head}.serial"));
        let (mine, others) = (
            Arc::clone(&ends[head.index()]),
            Arc::clone(&ends[head.peer().index()]),
        );
        let gates = Arc::clone(gates);
        thread::spawn(move || relay(&path, &mine, &others, &gates, head.peer()));
    }
}

fn relay(path: &PathBuf, mine: &End, others: &End, gates: &Gates, towards: Head) {
    loop {
        if let Ok(mut stream) = UnixStream::connect(path) {
            let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
            *mine.lock().unwrap_or_else(PoisonError::into_inner) = stream.try_clone().ok();
            let mut buffer = [0; 512];
            while let Ok(count) = stream.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                if gates.is_cut(towards) {
                    continue;
                }
                if let Some(other) = others
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .as_ref()
                {
                    let _ = send(
                        other,
                        &buffer[..count],
                        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
                    );
                }
            }
            *mine.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        thread::sleep(RECONNECT_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_cut_direction_loses_bytes_and_the_other_does_not() {
        let dir = std::env::temp_dir().join(format!("orthrus-serial-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [a, b] =
            Head::BOTH.map(|head| UnixListener::bind(dir.join(format!("{head}.serial"))).unwrap());
        let gates = Arc::new(Gates::default());
        start(&dir, &gates);
        let (mut a, mut b) = (a.accept().unwrap().0, b.accept().unwrap().0);
        thread::sleep(Duration::from_millis(50));
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
}
