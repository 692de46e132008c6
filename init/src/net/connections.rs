//! Who is connected to a service address, and the end of our own sockets on one that left.
//!
//! The lists come from `/proc/thread-self/net/tcp` and `tcp6` (`net/ipv4/tcp_ipv4.c`, `get_tcp4_sock`; `net/ipv6/tcp_ipv6.c`,
//! `get_tcp6_sock`), which are always there; sockets are ended by `SOCK_DESTROY` (`linux/sock_diag.h`), which needs the modules
//! `inet_diag` and `tcp_diag`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::NetError;
use crate::Step;
use crate::sys::netlink::{Family, Netlink, Request};

const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
const SOCK_DESTROY: u16 = 21;

/// A TCP connection between a service address and a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Connection {
    /// Service address and port.
    pub local: SocketAddr,
    /// The client.
    pub remote: SocketAddr,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.local, self.remote)
    }
}

/// The established connections to a service address, on any port: what the owner tells the standby.
pub fn connections(service: IpAddr) -> Result<Vec<Connection>, NetError> {
    Ok(established(&table(service)?, service))
}

/// The same in the network of another thread of this program, by its number.
pub fn connections_of(thread: u32, service: IpAddr) -> Result<Vec<Connection>, NetError> {
    let table = read_table(&format!("/proc/self/task/{thread}"), service)?;
    Ok(established(&table, service))
}

pub(super) fn established(table: &str, service: IpAddr) -> Vec<Connection> {
    parse(table)
        .filter(|(connection, state)| *state == ESTABLISHED && connection.local.ip() == service)
        .map(|(connection, _)| connection)
        .collect()
}

/// Ends our own sockets on a service address, whatever their state; listening ones stay, as they are
/// the export's. Call it after the address was removed: the reset that the kernel would send to the
/// client then has no source address to leave from, and the client goes on waiting for the new
/// owner, whose tickle it will answer.
///
/// What it is for: a head that gets the address back must not find an old half of a connection, which would
/// answer the client in the place of the reset that a tickle is to bring about; and a login that is under way
/// is not waited for when its portal is removed.
pub fn end_connections(service: IpAddr) -> Result<Step, NetError> {
    let error = |errno| NetError::new(service, "end the connections of a service address", errno);
    let open: Vec<Connection> = ours(service)?;
    if open.is_empty() {
        return Ok(Step::Already);
    }
    let mut netlink = Netlink::open(Family::SockDiag).map_err(error)?;
    let mut last = Errno::BUSY;
    for connection in &open {
        let request = Request::new(SOCK_DESTROY, 0).bytes(&destroy(connection));
        // ENOENT says that the socket went by itself, or that the modules are missing. The list
        // below tells which.
        if let Err(errno) = netlink.perform(&request) {
            last = errno;
        }
    }
    if ours(service)?.is_empty() {
        Ok(Step::Changed)
    } else {
        Err(error(last))
    }
}

fn ours(service: IpAddr) -> Result<Vec<Connection>, NetError> {
    let table = table(service)?;
    Ok(parse(&table)
        .filter(|(connection, state)| *state != LISTEN && connection.local.ip() == service)
        .map(|(connection, _)| connection)
        .collect())
}

// thread-self and not self: the table is of the network namespace of the thread that asks.
fn table(service: IpAddr) -> Result<String, NetError> {
    read_table("/proc/thread-self", service)
}

fn read_table(thread: &str, service: IpAddr) -> Result<String, NetError> {
    let file = if service.is_ipv4() { "tcp" } else { "tcp6" };
    std::fs::read_to_string(format!("{thread}/net/{file}")).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        NetError::new(service, "list the connections of a service address", errno)
    })
}

/// The lines of the table that can be read: connection and state.
fn parse(table: &str) -> impl Iterator<Item = (Connection, u8)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = endpoint(fields.next()?)?;
        let remote = endpoint(fields.next()?)?;
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        Some((Connection { local, remote }, state))
    })
}

/// `0A004D0A:0CBC`: the address as numbers of the machine's byte order, one of IPv4 and four of IPv6, and the port.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let number = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(number(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&number(at)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `inet_diag_req_v2` (`linux/inet_diag.h`): family u8, protocol u8, extensions u8, pad u8, states u32,
/// then `inet_diag_sockid`: ports be16, addresses be32[4], interface u32, cookie u32[2] (all ones: any).
fn destroy(connection: &Connection) -> [u8; 56] {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    let mut request = [0; 56];
    request[0] = match connection.local {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    };
    request[1] = IPPROTO_TCP;
    request[4..8].fill(0xff);
    for (end, port, ip) in [(connection.local, 8, 12), (connection.remote, 10, 28)] {
        request[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
        match end.ip() {
            IpAddr::V4(address) => request[ip..ip + 4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => request[ip..ip + 16].copy_from_slice(&address.octets()),
        }
    }
    request[48..56].fill(0xff);
    request
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0A004D0A:0CBC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20 1 0 100 0 0 10 0
   1: 0A004D0A:0CBC 64004D0A:D431 01 00000000:00000000 02:000A2B5C 00000000     0        0 21 2 0 20 4 30 10 -1
   2: 0A004D0A:0CBC 65004D0A:D432 06 00000000:00000000 03:00001768 00000000     0        0 0 3 0
   3: 0B004D0A:0801 64004D0A:D433 01 00000000:00000000 02:000A2B5C 00000000     0        0 23 2 0 20 4 30 10 -1
   4: garbage
";

    #[test]
    fn lines_are_read_as_the_kernel_prints_them() {
        let all: Vec<_> = parse(TABLE).collect();
        assert_eq!(all.len(), 4);
        let (connection, state) = all[1];
        assert_eq!(
            connection.to_string(),
            "10.77.0.10:3260 to 10.77.0.100:54321"
        );
        assert_eq!(state, ESTABLISHED);
        assert_eq!(all[0].1, LISTEN);
    }

    pub const TABLE_V6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 770000FD000000000000000010000000:0CBC 770000FD000000000000000000010000:D431 01 00000000:00000000 02:000A2B5C 00000000     0        0 21 2 0 20 4 30 10 -1
";

    #[test]
    fn addresses_of_ipv6_are_four_numbers() {
        let (connection, state) = parse(TABLE_V6).next().unwrap();
        let said = connection.to_string();
        assert_eq!(said, "[fd00:77::10]:3260 to [fd00:77::100]:54321");
        assert_eq!(state, ESTABLISHED);
        let request = destroy(&connection);
        assert_eq!(request[..4], [10, 6, 0, 0]);
        assert_eq!(request[12..16], [0xfd, 0, 0, 0x77]);
        assert_eq!(request[27], 0x10);
        assert_eq!(request[28..32], [0xfd, 0, 0, 0x77]);
        assert_eq!(request[42..44], [1, 0]);
        assert_eq!(request[44..48], [0; 4], "the interface");
    }

    #[test]
    fn destroy_request_has_the_kernels_layout() {
        let (connection, _) = parse(TABLE).nth(1).unwrap();
        let request = destroy(&connection);
        assert_eq!(request[..4], [2, 6, 0, 0]);
        assert_eq!(request[8..16], [0x0c, 0xbc, 0xd4, 0x31, 10, 77, 0, 10]);
        assert_eq!(request[28..32], [10, 77, 0, 100]);
        assert_eq!(request[48..], [0xff; 8]);
    }
}
