//! Who is connected: told by the owner to the standby, so that after a takeover the new owner can
//! reset the clients' old connections and nobody waits for a TCP timeout.
//!
//! A message holds the established connections of all pools that the sender serves, and the last ones of those
//! that it let go, 12 bytes each:
//! service address and port, client address and port, big-endian. What does not fit is left out:
//! those clients find out by themselves, later.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::inbox::Message;
use crate::net::Connection;

const RECORD_BYTES: usize = 12;

/// Connections as a message.
pub fn encode(connections: &[Connection]) -> Message {
    let mut message = Message::new();
    for connection in connections {
        let mut record = [0; RECORD_BYTES];
        put(&mut record[..6], connection.local);
        put(&mut record[6..], connection.remote);
        if message.extend_from_slice(&record).is_err() {
            break;
        }
    }
    message
}

fn put(bytes: &mut [u8], address: SocketAddrV4) {
    bytes[..4].copy_from_slice(&address.ip().octets());
    bytes[4..].copy_from_slice(&address.port().to_be_bytes());
}

/// The connections of a message.
pub fn decode(message: &[u8]) -> impl Iterator<Item = Connection> {
    message.chunks_exact(RECORD_BYTES).map(|record| Connection {
        local: address(&record[..6]),
        remote: address(&record[6..]),
    })
}

fn address(bytes: &[u8]) -> SocketAddrV4 {
    let ip = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
    SocketAddrV4::new(ip, u16::from_be_bytes([bytes[4], bytes[5]]))
}

#[cfg(test)]
mod tests {
    use orthrus_hb::MESSAGE_MAX_BYTES;

    use super::*;

    fn connection(port: u16) -> Connection {
        Connection {
            local: "10.77.0.10:3260".parse().unwrap(),
            remote: SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 100), port),
        }
    }

    #[test]
    fn connections_come_back_and_what_does_not_fit_is_left_out() {
        let few = [connection(1), connection(65535)];
        assert_eq!(decode(&encode(&few)).collect::<Vec<_>>(), few);
        let many: Vec<_> = (0..1000).map(connection).collect();
        let kept: Vec<_> = decode(&encode(&many)).collect();
        assert_eq!(kept, many[..MESSAGE_MAX_BYTES / RECORD_BYTES]);
        assert_eq!(decode(&[1, 2, 3]).count(), 0);
    }
}
