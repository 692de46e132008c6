//! Connecting to a machine's sockets without waiting for a machine that does not answer.
//!
//! QEMU's main loop accepts them, and that loop stands still while the machine is paused, and while it resets a
//! machine whose disks are away: it waits for their commands first. A plain `connect` then waits as well, for
//! as long as that takes.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

const POLL: Duration = Duration::from_millis(20);

/// Connects, or says that the other end does not take it within the limit.
///
/// # Errors
/// The system's; `TimedOut` where nobody accepts.
pub fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let until = Instant::now() + limit;
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) => {
                fcntl_setfl(&socket, fcntl_getfl(&socket)? - OFlags::NONBLOCK)?;
                return Ok(socket.into());
            }
            // Its queue is full: those before us were not accepted either.
            Err(Errno::AGAIN) if Instant::now() < until => thread::sleep(POLL),
            Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn who_does_not_accept_is_not_waited_for() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let limit = Duration::from_millis(50);
        let mut waiting = Vec::new();
        let refused = loop {
            match connect_within(&path, limit) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        listener.accept().unwrap();
        assert!(connect_within(&path, limit).is_ok());
    }
}
