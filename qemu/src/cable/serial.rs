//! The heartbeat's serial line: bytes between the two heads' second serial ports. Each QEMU listens
//! on a unix socket; the relay connects to both and comes back when a machine was started again.
//!
//! A wire never waits: bytes that the other end does not take are lost, as a UART loses them. Hence
//! a short queue towards each end, or a paused head would find minutes of old beats. QEMU hands over
//! bytes one by one; the queue also gathers them, because a socket's buffer counts pieces, not bytes.
//!
//! OVMF takes the second serial port for a console and cannot be told otherwise: two of them booting
//! would type into each other's setup, as would the beats of a head that runs. A real box's firmware
//! is told to leave that port alone. So with UEFI an end counts as plugged in only from the first
//! frame delimiter that its own head sends until that head's OVMF clears its screen again, or until
//! it has sent none for a second: OVMF reads what came before it cleared anything.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;

use super::Gates;
use crate::names::Head;

/// What may wait for an end: some ten beats, a second of them.
const QUEUE_BYTES: usize = 640;
/// About as little as the kernel allows.
const SEND_BUFFER_BYTES: usize = 4096;
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Ten beats: a head that sent none for so long does not run its firmware's program any more.
const SILENCE: Duration = Duration::from_secs(1);

/// What ends every frame on this line (COBS), and is never in what OVMF prints.
const DELIMITER: u8 = 0;
/// How OVMF begins: it clears the screen.
const CLEAR_SCREEN: [u8; 4] = *b"\x1b[2J";

/// One end of the line.
#[derive(Default)]
pub(crate) struct End {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stream: Option<UnixStream>,
    queue: VecDeque<u8>,
    /// OVMF has the port.
    in_firmware: bool,
    /// OVMF may have the port again, unless the head sent a frame since this.
    in_firmware_after: Option<Instant>,
    /// The last bytes that this end's own head sent.
    recent: [u8; 4],
}

/// Starts the relay between the sockets `dir`/{a,b}.serial of heads that boot by UEFI or not.
pub(crate) fn start(dir: &Path, gates: &Arc<Gates>, uefi: bool) -> [Arc<End>; 2] {
    let ends: [Arc<End>; 2] = Default::default();
    for head in Head::BOTH {
        let path = dir.join(format!("{head}.serial"));
        let (mine, others) = (
            Arc::clone(&ends[head.index()]),
            Arc::clone(&ends[head.peer().index()]),
        );
        let writer = Arc::clone(&mine);
        let gates = Arc::clone(gates);
        thread::spawn(move || {
            loop {
                if let Ok(stream) = UnixStream::connect(&path) {
                    mine.plug(&stream, uefi);
                    let _ = read(stream, &others, |bytes| {
                        (!uefi || mine.has_left_firmware(bytes)) && !gates.is_cut(head.peer())
                    });
                    mine.unplug();
                }
                thread::sleep(RECONNECT_PAUSE);
            }
        });
        thread::spawn(move || writer.write_forever());
    }
    ends
}

fn read(mut stream: UnixStream, others: &End, passes: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = [0; 512];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if passes(&buffer[..count]) {
            others.push(&buffer[..count]);
        }
    }
}

impl End {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plug(&self, stream: &UnixStream, uefi: bool) {
        let _ = set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES);
        let mut state = self.lock();
        state.stream = stream.try_clone().ok();
        state.in_firmware = uefi;
        state.in_firmware_after = uefi.then(Instant::now);
    }

    fn unplug(&self) {
        let mut state = self.lock();
        state.stream = None;
        state.queue.clear();
    }

    /// Looks at what this end's own head sends, for who has the port.
    fn has_left_firmware(&self, sent: &[u8]) -> bool {
        let mut state = self.lock();
        for &byte in sent {
            state.recent.rotate_left(1);
            state.recent[3] = byte;
            if byte == DELIMITER {
                state.in_firmware = false;
                let until = Instant::now() + SILENCE;
                state.in_firmware_after = state.in_firmware_after.and(Some(until));
            } else if state.recent == CLEAR_SCREEN {
                state.in_firmware = true;
            }
        }
        !state.in_firmware
    }

    /// Takes what there is room for; nothing while no machine, or only its OVMF, is at this end.
    fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let silent = state
            .in_firmware_after
            .is_some_and(|after| Instant::now() > after);
        if state.stream.is_some() && !state.in_firmware && !silent {
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
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    struct Line {
        /// Held for as long as its sockets are used.
        directory: TempDir,
        gates: Arc<Gates>,
        relay: [Arc<End>; 2],
        heads: [UnixStream; 2],
    }

    fn line(uefi: bool) -> Line {
        let directory = TempDir::new().unwrap();
        let dir = directory.path();
        let listeners =
            Head::BOTH.map(|head| UnixListener::bind(dir.join(format!("{head}.serial"))).unwrap());
        let gates = Arc::new(Gates::default());
        let relay = start(dir, &gates, uefi);
        let heads = listeners.map(|listener| listener.accept().unwrap().0);
        for end in &relay {
            until(|| end.lock().stream.is_some());
        }
        Line {
            directory,
            gates,
            relay,
            heads,
        }
    }

    fn until(holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(30), "never");
            thread::yield_now();
        }
    }

    /// Nothing that the head at this end sent is still to be looked at.
    fn has_read_all(end: &End) -> bool {
        let state = end.lock();
        let stream = state.stream.as_ref();
        stream.is_some_and(|stream| rustix::io::ioctl_fionread(stream).unwrap() == 0)
    }

    /// Follows what is sent as a test: may arrive or not.
    const MARK: u8 = b'.';

    /// Sends `bytes` and waits until the relay is through with them: it has then read what follows.
    fn send_and_pass(head: &mut UnixStream, relay: &End, bytes: &[u8]) {
        head.write_all(bytes).unwrap();
        until(|| has_read_all(relay));
        head.write_all(&[MARK]).unwrap();
        until(|| has_read_all(relay));
    }

    fn first_but(mark: u8, head: &mut UnixStream) -> u8 {
        let mut byte = [mark];
        while byte == [mark] {
            head.read_exact(&mut byte).unwrap();
        }
        byte[0]
    }

    #[test]
    fn a_cut_direction_loses_bytes_and_the_other_does_not() {
        let Line {
            directory: _directory,
            gates,
            relay,
            heads: [mut a, mut b],
        } = line(false);
        let mut byte = [0];
        a.write_all(b"1").unwrap();
        b.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"1");
        gates.set_cut(Some(Head::B), true);
        send_and_pass(&mut a, &relay[0], b"2");
        b.write_all(b"3").unwrap();
        a.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"3");
        gates.set_cut(None, false);
        a.write_all(b"4").unwrap();
        assert_eq!(
            first_but(MARK, &mut b),
            b'4',
            "what was sent into the cut is lost"
        );
    }

    #[test]
    fn firmware_that_takes_the_port_for_a_console_types_nothing() {
        let Line {
            directory: _directory,
            relay,
            heads: [mut a, mut b],
            ..
        } = line(true);
        let in_firmware = |end: &End| end.lock().in_firmware;
        a.write_all(b"\x1b[2J text").unwrap();
        b.write_all(b"\x1b[2J text").unwrap();
        until(|| relay.iter().all(|end| has_read_all(end)));
        assert!(relay.iter().all(|end| in_firmware(end)));
        send_and_pass(&mut a, &relay[0], b"frame\0");
        assert!(!in_firmware(&relay[0]));
        assert!(in_firmware(&relay[1]), "b still is");
        b.write_all(b"frame\0").unwrap();
        until(|| !in_firmware(&relay[1]));
        a.write_all(b"z").unwrap();
        // All before it was sent while b was in its firmware.
        assert_eq!(first_but(MARK, &mut b), b'z');
    }

    #[test]
    fn an_end_that_does_not_read_finds_little_when_it_reads_again() {
        let Line {
            directory: _directory,
            relay,
            heads: [mut a, mut b],
            ..
        } = line(false);
        for _ in 0..2000 {
            a.write_all(&[7; 60]).unwrap();
        }
        until(|| has_read_all(&relay[0]));
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
    }
}
