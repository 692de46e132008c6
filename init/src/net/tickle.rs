//! The tickle: makes a client notice at once that its old connection is dead.
//!
//! After a takeover the client's TCP still waits for the former owner: it would send again after 0.2,
//! 0.4, 0.8 ... seconds, and a client that has nothing to send would wait for its own ping timeout.
//! So the new owner sends, for each connection that the former one had, a bare ACK from service
//! address and port, with a sequence number that cannot match.
//!
//! 1. To a segment outside the window the client answers with an ACK that holds the numbers it expects
//!    (RFC 793 section 3.9, RFC 5961 sections 4 and 5: the challenge ACK).
//! 2. Our kernel knows no such connection, and answers that ACK with a RST whose sequence number is the
//!    one that the ACK asked for. That matches exactly, which is what RFC 5961 section 3 wants of a RST.
//! 3. The client's connection ends with ECONNRESET, and its initiator logs in again at once.
//!
//! A RST sent right away would need the client's numbers, which died with the former owner.
//!
//! The ACK carries neither data nor timestamps: the PAWS check is passed over without the latter. Linux
//! answers such segments at most twice a second a connection (`tcp_invalid_ratelimit`), so repeat
//! a tickle after 0.5 s or more, for some seconds: the first one may be lost while the client still has
//! the former owner's address in its ARP cache. A tickle for a connection that is gone already, or for a
//! new one that reuses the numbers, does no harm: it is answered by a RST, or by an ACK.
//!
//! Sent through a raw socket (which leaves the checksum to us in IPv6 as well: RFC 3542 section 3.1), so that the kernel routes it and resolves the next hop as it does for
//! everything else from that address; the address must be there, and announced, before.

use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto};

use super::{Connection, NetError, checksum};

const SEGMENT_BYTES: usize = 20;
const FLAG_ACK: u8 = 0x10;

/// Sends one tickle to the client of a connection.
pub fn tickle(connection: &Connection) -> Result<(), NetError> {
    send(connection).map_err(|errno| NetError::new(connection, "tickle an old connection", errno))
}

fn send(connection: &Connection) -> Result<(), Errno> {
    let family = match connection.local {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(
        family,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(ipproto::TCP),
    )?;
    rustix::net::bind(&socket, &SocketAddr::new(connection.local.ip(), 0))?;
    rustix::net::sendto(
        &socket,
        &segment(connection),
        SendFlags::empty(),
        &SocketAddr::new(connection.remote.ip(), 0),
    )
    .map(|_| ())
}

/// The TCP header (RFC 793 section 3.1); the kernel puts the IP header before it.
///
/// Sequence and acknowledgement are 0. They could only be taken for the real ones if the client's numbers
/// stood within a window of 0 in both directions; then the segment does nothing, and the client's own
/// retransmission meets the RST instead.
fn segment(connection: &Connection) -> [u8; SEGMENT_BYTES] {
    let mut segment = [0; SEGMENT_BYTES];
    segment[0..2].copy_from_slice(&connection.local.port().to_be_bytes());
    segment[2..4].copy_from_slice(&connection.remote.port().to_be_bytes());
    segment[12] = 5 << 4; // header length in words of four bytes
    segment[13] = FLAG_ACK;
    let (from, to) = (connection.local.ip(), connection.remote.ip());
    let sum = checksum::of(from, to, checksum::TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            local: "10.77.0.10:3260".parse().unwrap(),
            remote: "10.77.0.100:54321".parse().unwrap(),
        }
    }

    #[test]
    fn segment_has_its_golden_bytes() {
        let golden = [
            0x0c, 0xbc, 0xd4, 0x31, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0xb9, 0xdf, 0, 0,
        ];
        assert_eq!(segment(&connection()), golden);
    }

    #[test]
    fn receiver_finds_the_checksum_right() {
        let Connection { local, remote } = connection();
        // Summed with the checksum in place the result is zero (RFC 1071 section 1).
        let sent = segment(&connection());
        let sum = checksum::of(local.ip(), remote.ip(), checksum::TCP, &sent);
        assert_eq!(sum, 0);
        let connection = Connection {
            local: "[fd00:77::10]:3260".parse().unwrap(),
            remote: "[fd00:77::100]:54321".parse().unwrap(),
        };
        let Connection { local, remote } = connection;
        let sent = segment(&connection);
        let sum = checksum::of(local.ip(), remote.ip(), checksum::TCP, &sent);
        assert_eq!(sum, 0);
    }
}
