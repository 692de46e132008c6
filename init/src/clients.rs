//! Who is connected: told by the owner to the standby, so that after a takeover the new owner can
//! reset the clients' old connections and nobody waits for a TCP timeout.
//!
//! A message holds the established connections of all pools that the sender serves, and the last ones of those
//! that it let go: service address and port, client address and port, big-endian. Those of IPv4 are 12 bytes each; those of
//! IPv6 are 48, of which the first four are zero, as no service address begins, and the last 36 say it: a head that knows
//! only the short form takes them for four connections of nobody's. What does not fit is left out: those clients find out by
//! themselves, later. So the first connection of each client comes before the second of any: a host of NVMe has one for each of its
//! processors, and the end of one is enough for it to begin anew.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::inbox::Message;
use crate::net::Connection;

const SHORT_BYTES: usize = 12;
const LONG_BYTES: usize = 48;
/// Where the long form begins to say something.
const LONG_AT: usize = 12;

/// Connections as a message.
pub fn encode(connections: &[Connection]) -> Message {
    let mut message = Message::new();
    for connection in in_turns(connections) {
        let ends = [connection.local, connection.remote];
        let mut record = Vec::with_capacity(LONG_BYTES);
        if ends.iter().any(SocketAddr::is_ipv6) {
            record.resize(LONG_AT, 0);
        }
        for end in ends {
            match end.ip() {
                IpAddr::V4(ip) => record.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => record.extend_from_slice(&ip.octets()),
            }
            record.extend_from_slice(&end.port().to_be_bytes());
        }
        let is_whole = matches!(record.len(), SHORT_BYTES | LONG_BYTES);
        if is_whole && message.extend_from_slice(&record).is_err() {
            break;
        }
    }
    message
}

/// All first ones of a client with one of our ends, then all second ones, and so on; otherwise in the order given.
fn in_turns(connections: &[Connection]) -> Vec<&Connection> {
    let mut counts = HashMap::new();
    let ranked = connections.iter().map(|connection| {
        let count = counts.entry((connection.local, connection.remote.ip()));
        let rank = count.and_modify(|count| *count += 1).or_insert(0_usize);
        (*rank, connection)
    });
    let mut ranked: Vec<(usize, &Connection)> = ranked.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
        .into_iter()
        .map(|(_, connection)| connection)
        .collect()
}

/// The connections of a message.
pub fn decode(message: &[u8]) -> Vec<Connection> {
    let mut all = Vec::new();
    let mut rest = message;
    while let Some((short, after)) = rest.split_at_checked(SHORT_BYTES) {
        let (connection, after) = if short[..4] == [0; 4] {
            match rest.split_at_checked(LONG_BYTES) {
                Some((long, after)) => (ends::<16>(&long[LONG_AT..]), after),
                None => break,
            }
        } else {
            (ends::<4>(short), after)
        };
        all.extend(connection);
        rest = after;
    }
    all
}

/// Two addresses of so many bytes, each with its port.
fn ends<const N: usize>(bytes: &[u8]) -> Option<Connection>
where
    IpAddr: From<[u8; N]>,
{
    let end = |bytes: &[u8]| {
        let ip: [u8; N] = bytes.get(..N)?.try_into().ok()?;
        let port = bytes.get(N..N + 2)?.try_into().ok()?;
        Some(SocketAddr::new(ip.into(), u16::from_be_bytes(port)))
    };
    Some(Connection {
        local: end(bytes)?,
        remote: end(bytes.get(N + 2..)?)?,
    })
}

#[cfg(test)]
mod tests {
    use orthrus_hb::MESSAGE_MAX_BYTES;

    use super::*;
    use crate::chance::{Chance, times};

    fn connection(port: u16) -> Connection {
        Connection {
            local: "10.77.0.10:3260".parse().unwrap(),
            remote: SocketAddr::from(([10, 77, 0, 100], port)),
        }
    }

    fn connection_v6(port: u16) -> Connection {
        Connection {
            local: "[fd00:77::10]:3260".parse().unwrap(),
            remote: format!("[fd00:77::100]:{port}").parse().unwrap(),
        }
    }

    #[test]
    fn no_client_is_crowded_out_by_the_connections_of_another() {
        let of = |host: u8, port: u16| Connection {
            remote: SocketAddr::from(([10, 77, 0, host], port)),
            ..connection(0)
        };
        let crowd = (0..1000).map(|port| of(100, port));
        let all: Vec<_> = crowd.chain([of(101, 1), of(102, 1), of(101, 2)]).collect();
        let told = decode(&encode(&all));
        assert_eq!(
            told[..5],
            [of(100, 0), of(101, 1), of(102, 1), of(100, 1), of(101, 2)]
        );
        assert_eq!(told.len(), MESSAGE_MAX_BYTES / SHORT_BYTES);
    }

    #[test]
    fn connections_come_back_and_what_does_not_fit_is_left_out() {
        let few = [
            connection(1),
            connection_v6(7),
            connection(65535),
            connection_v6(65535),
        ];
        assert_eq!(decode(&encode(&few)), few);
        let many: Vec<_> = (0..1000).map(connection).collect();
        assert_eq!(
            decode(&encode(&many)),
            many[..MESSAGE_MAX_BYTES / SHORT_BYTES]
        );
        let many: Vec<_> = (0..1000).map(connection_v6).collect();
        assert_eq!(
            decode(&encode(&many)),
            many[..MESSAGE_MAX_BYTES / LONG_BYTES]
        );
        assert_eq!(decode(&[1, 2, 3]), []);
        assert_eq!(decode(&[0; 40]), []);
    }

    #[test]
    fn what_a_damaged_message_says_is_told_on_as_it_was_heard() {
        let whole = [
            connection(1),
            connection_v6(2),
            connection_v6(3),
            connection(4),
        ];
        let mut chance = Chance(1);
        let mut found = 0;
        for _ in 0..times(20_000) {
            let mut bytes = encode(&whole).to_vec();
            chance.damage(&mut bytes);
            let heard = decode(&bytes);
            let told = decode(&encode(&heard));
            // In turns.
            assert_eq!(told.len(), heard.len());
            assert!(heard.iter().all(|one| told.contains(one)), "{heard:?}");
            assert_eq!(decode(&encode(&told)), told);
            found += heard.len();
        }
        assert!(found > 1000, "only {found} were connections");
    }
}
