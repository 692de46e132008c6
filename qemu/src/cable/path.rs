//! A head's path to the shelf: a TCP relay between QEMU's iSCSI initiator and the shelf's target.
//!
//! Cut silently, what was sent stays in the cable and arrives when it is joined again. That is on
//! purpose: commands that arrive late, after a claim, are what a fence has to stop.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::Mode;
use super::pdu::Reader;
use super::port::Port;
use super::witness::{Nexus, Witness};
use crate::names::{Head, ShelfKind};

/// One head's path.
pub struct ShelfPath {
    head: Head,
    witness: Arc<Witness>,
    target: SocketAddr,
    /// See [`Port`].
    keeps_name: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cut: Option<Mode>,
    open: Vec<TcpStream>,
}

const CONNECT_LIMIT: Duration = Duration::from_secs(3);

impl ShelfPath {
    /// Listens on `listen` and relays to `target`, that of a shelf of this `kind`.
    pub fn start(
        head: Head,
        witness: &Arc<Witness>,
        listen: SocketAddr,
        target: SocketAddr,
        kind: ShelfKind,
    ) -> anyhow::Result<Arc<Self>> {
        let listener =
            TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
        Ok(Self::serve(
            head,
            witness,
            listener,
            target,
            kind == ShelfKind::Lio,
        ))
    }

    fn serve(
        head: Head,
        witness: &Arc<Witness>,
        listener: TcpListener,
        target: SocketAddr,
        keeps_name: bool,
    ) -> Arc<Self> {
        let path = Arc::new(Self {
            head,
            witness: Arc::clone(witness),
            target,
            keeps_name,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let this = Arc::clone(&path);
        thread::spawn(move || {
            for head in listener.incoming().flatten() {
                let this = Arc::clone(&this);
                thread::spawn(move || this.carry(head));
            }
        });
        path
    }

    /// Cuts the path, or joins it (`None`).
    pub fn set_cut(&self, cut: Option<Mode>) {
        let mut state = self.lock();
        state.cut = cut;
        if cut == Some(Mode::Carrier) {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the path is joined; false if it was cut with loss of carrier meanwhile.
    fn pass(&self) -> bool {
        let mut state = self.lock();
        while state.cut == Some(Mode::Silent) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.cut.is_none()
    }

    fn carry(self: Arc<Self>, head: TcpStream) {
        if !self.pass() {
            return;
        }
        let Ok(shelf) = TcpStream::connect_timeout(&self.target, CONNECT_LIMIT) else {
            return;
        };
        let _ = (head.set_nodelay(true), shelf.set_nodelay(true));
        let copies = [
            head.try_clone(),
            shelf.try_clone(),
            head.try_clone(),
            shelf.try_clone(),
        ];
        let [Ok(head2), Ok(shelf2), Ok(head3), Ok(shelf3)] = copies else {
            return;
        };
        {
            let mut state = self.lock();
            // Those that have ended in the meantime need no closing any more.
            state.open.retain(|stream| stream.peer_addr().is_ok());
            state.open.extend([head3, shelf3]);
        }
        let nexus = Nexus::new(self.head, &self.witness);
        let (this, sender) = (Arc::clone(&self), Arc::clone(&nexus));
        thread::spawn(move || {
            let (mut units, mut port) = (Reader::default(), Port::default());
            // What is sent counts from when it leaves the cable, what is answered from when it enters.
            let sees = |bytes: &mut [u8]| {
                if this.keeps_name {
                    port.keep_name(bytes);
                }
                sender.to_target(&mut units, bytes);
            };
            this.copy(head2, shelf2, |_| {}, sees);
        });
        let mut units = Reader::default();
        let sees = |bytes: &[u8]| nexus.from_target(&mut units, bytes);
        self.copy(shelf, head, sees, |_| {});
    }

    fn copy(
        &self,
        mut from: TcpStream,
        mut to: TcpStream,
        mut enters: impl FnMut(&[u8]),
        mut leaves: impl FnMut(&mut [u8]),
    ) {
        let mut buffer = vec![0; 65536];
        while let Ok(count) = from.read(&mut buffer) {
            enters(&buffer[..count]);
            if count == 0 || !self.pass() {
                break;
            }
            leaves(&mut buffer[..count]);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Arc<ShelfPath>, TcpStream, TcpStream) {
        let shelf = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let path = ShelfPath::serve(
            Head::A,
            &Arc::default(),
            listener,
            shelf.local_addr().unwrap(),
            false,
        );
        let head = TcpStream::connect(address).unwrap();
        let (served, _) = shelf.accept().unwrap();
        for stream in [&head, &served] {
            stream
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
        }
        (path, head, served)
    }

    #[test]
    fn a_silent_cut_delivers_late() {
        let (path, mut head, mut shelf) = pair();
        let mut byte = [0];
        path.set_cut(Some(Mode::Silent));
        head.write_all(b"x").unwrap();
        assert!(shelf.read(&mut byte).is_err(), "nothing passes");
        path.set_cut(None);
        shelf.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_lost_carrier_ends_connections() {
        let (path, mut head, _shelf) = pair();
        path.set_cut(Some(Mode::Carrier));
        assert!(matches!(head.read(&mut [0]), Ok(0) | Err(_)));
        assert!(
            head.peer_addr().is_err()
                || head.write_all(&[0; 4096]).is_err()
                || head.read(&mut [0]).is_ok_and(|n| n == 0)
        );
    }
}
