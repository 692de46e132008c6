//! What the segment of a port says of addresses: ARP, and neighbour discovery. The two sockets, one wait.

use std::net::IpAddr;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Interface, arp};
use crate::sys::icmpv6::{IcmpV6Socket, Received};
use crate::sys::packet::PacketSocket;

/// How many are taken from one socket before it is the other's turn: in a storm there always is one more.
const BURST: usize = 64;

/// Where answers come in, both by the port alone: frames of ARP, and messages of neighbour discovery, of which the kernel hands
/// on those alone whose sums are right.
pub(super) struct Ears {
    arp: PacketSocket,
    icmp: Option<IcmpV6Socket>,
}

/// What came in.
#[derive(Clone, Copy)]
pub(super) enum Heard<'a> {
    /// A frame.
    Arp(&'a [u8]),
    /// A message of ICMPv6, and the hop limit of its packet.
    Icmp(&'a [u8], u8),
}

impl Ears {
    /// For answers about these addresses.
    pub(super) fn open(port: &Interface, addresses: &[IpAddr]) -> Result<Ears, Errno> {
        let arp = PacketSocket::open(port.index, Some(arp::ETHERTYPE))?;
        let icmp = match addresses.iter().any(IpAddr::is_ipv6) {
            false => None,
            true => Some(IcmpV6Socket::open(port.index)?),
        };
        Ok(Ears { arp, icmp })
    }

    /// Sends a question.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        self.arp.send(frame)
    }

    /// Waits until then at most, or until something came in; what the first says that says something.
    pub(super) fn hear<T>(
        &self,
        until: Instant,
        says: impl Fn(Heard<'_>) -> Option<T>,
    ) -> Result<Option<T>, Errno> {
        let mut fds = vec![PollFd::new(&self.arp, PollFlags::IN)];
        fds.extend(self.icmp.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut bytes = [0; 256];
        let heard = drain(|| {
            let length = self.arp.receive(&mut bytes)?;
            Ok(says(Heard::Arp(&bytes[..length.min(bytes.len())])))
        })?;
        let (None, Some(icmp)) = (&heard, &self.icmp) else {
            return Ok(heard);
        };
        drain(|| {
            let Some(Received { length, hop_limit }) = icmp.receive(&mut bytes)? else {
                return Ok(None);
            };
            let message = &bytes[..length.min(bytes.len())];
            Ok(says(Heard::Icmp(message, hop_limit)))
        })
    }
}

/// Takes one after the other until there is none left or it is another's turn; what the first says that says something.
fn drain<T>(mut take: impl FnMut() -> Result<Option<T>, Errno>) -> Result<Option<T>, Errno> {
    for _ in 0..BURST {
        match take() {
            Ok(None) => {}
            Ok(said) => return Ok(said),
            Err(Errno::AGAIN | Errno::INTR) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_does_not_keep_others_from_their_turn() {
        let mut frames = 0;
        let heard: Result<Option<()>, Errno> = drain(|| {
            // So that it fails where it would go on for ever.
            frames += 1;
            assert!(frames <= BURST, "no end after {frames} frames");
            Ok(None)
        });
        assert_eq!(heard, Ok(None));
        // What is there is taken, up to the first that says something.
        let mut queue = [Some(2), Some(1), None, None].into_iter().rev();
        let mut next = || queue.next().ok_or(Errno::AGAIN);
        assert_eq!(drain(&mut next), Ok(Some(1)));
        assert_eq!(drain(&mut next), Ok(Some(2)));
        assert_eq!(drain(&mut next), Ok(None));
        let broken = || Err::<Option<()>, _>(Errno::NETDOWN);
        assert_eq!(drain(broken), Err(Errno::NETDOWN));
    }
}
