//! The heartbeat's Ethernet: each QEMU sends its frames as datagrams to the relay's socket and
//! receives on its own. Loss of carrier is no business of the relay: the supervisor tells the
//! machines (QMP `set_link`).

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;

use super::Gates;
use crate::names::Head;

/// Longest Ethernet frame that QEMU passes on (no offloads on this link, but some slack).
const FRAME_MAX_BYTES: usize = 65536;

/// Starts the relay: from `dir`/a.ether.lab to `dir`/b.ether and the other way round.
pub fn start(dir: &Path, gates: &Arc<Gates>) -> anyhow::Result<()> {
    for head in Head::BOTH {
        let from = dir.join(format!("{head}.ether.lab"));
        let to = dir.join(format!("{}.ether", head.peer()));
        let _ = std::fs::remove_file(&from);
        let receiver =
            UnixDatagram::bind(&from).with_context(|| format!("binding {}", from.display()))?;
        let sender = UnixDatagram::unbound()?;
        sender.set_nonblocking(true)?; // a machine that does not receive loses frames, as a full ring does
        let gates = Arc::clone(gates);
        thread::spawn(move || {
            let mut frame = vec![0; FRAME_MAX_BYTES];
            while let Ok(count) = receiver.recv(&mut frame) {
                if !gates.is_cut(head.peer()) {
                    let _ = sender.send_to(&frame[..count], &to);
                }
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn frames_pass_unless_their_direction_is_cut() {
        let directory = tempfile::TempDir::new().unwrap();
        let dir = directory.path();
        let gates = Arc::new(Gates::default());
        start(dir, &gates).unwrap();
        let b = UnixDatagram::bind(dir.join("b.ether")).unwrap();
        b.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let a = UnixDatagram::unbound().unwrap();
        let mut frame = [0; 64];
        a.send_to(b"one", dir.join("a.ether.lab")).unwrap();
        assert_eq!(b.recv(&mut frame).unwrap(), 3);
        gates.set_cut(Some(Head::B), true);
        a.send_to(b"two", dir.join("a.ether.lab")).unwrap();
        assert!(b.recv(&mut frame).is_err());
    }
}
