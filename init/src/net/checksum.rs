//! The Internet checksum (RFC 1071) of TCP and ICMPv6, with their pseudo headers. The field of the sum itself is zero in what is summed.

use std::net::{IpAddr, Ipv6Addr};

pub(super) const TCP: u8 = 6;

/// Over a segment between two addresses of one kind.
pub(super) fn of(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => of_v6(from, to, protocol, payload),
        (from, to) => {
            let octets = [from, to].map(|ip| match ip {
                IpAddr::V4(ip) => ip.octets(),
                IpAddr::V6(_) => [0; 4],
            });
            fold(words(octets.as_flattened()), protocol, payload)
        }
    }
}

/// The same of IPv6 (RFC 8200 section 8.1).
pub(super) fn of_v6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, payload: &[u8]) -> u16 {
    let addresses = words(&from.octets()) + words(&to.octets());
    fold(addresses, protocol, payload)
}

fn fold(addresses: u32, protocol: u8, payload: &[u8]) -> u16 {
    let mut sum = addresses + u32::from(protocol) + payload.len() as u32 + words(payload);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}
