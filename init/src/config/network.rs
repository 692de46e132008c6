//! Addresses and networks of clients.

use std::fmt;
use std::net::IpAddr;

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// `ADDRESS/PREFIX` without any bits after the prefix, or one address alone.
    pub fn parse(text: &str) -> Option<Network> {
        let (first, prefix) = match text.split_once('/') {
            Some((first, prefix)) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                (first, Some(prefix.parse().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        let first: IpAddr = first.parse().ok()?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        // IPv4 in the clothes of IPv6 is IPv4 to the server, and such a network would let nobody in.
        let is_itself = first.to_canonical() == first;
        let network = Network { first, prefix };
        (prefix <= most && is_itself && network.beyond(first) == 0).then_some(network)
    }

    /// The bits of an address that come after the prefix.
    fn beyond(self, address: IpAddr) -> u128 {
        let prefix = u32::from(self.prefix);
        match address {
            IpAddr::V4(address) => {
                (address.to_bits() & u32::MAX.checked_shr(prefix).unwrap_or(0)).into()
            }
            IpAddr::V6(address) => address.to_bits() & u128::MAX.checked_shr(prefix).unwrap_or(0),
        }
    }

    /// How many bits of them are the same.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether some address is one of both.
    pub fn meets(self, other: Network) -> bool {
        self.has(other.first) || other.has(self.first)
    }

    /// Whether an address is one of them.
    pub fn has(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        address.is_ipv4() == self.first.is_ipv4()
            && bits(address) - self.beyond(address) == bits(self.first)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_the_addresses_that_share_their_bits() {
        let of = |text| Network::parse(text).unwrap();
        let client = IpAddr::from([10, 77, 0, 100]);
        for (text, has) in [
            ("10.77.0.0/24", true),
            ("10.77.0.100", true),
            ("0.0.0.0/0", true),
            ("10.77.0.96/29", true),
            ("10.77.0.101", false),
            ("10.77.1.0/24", false),
            ("::/0", false),
        ] {
            assert_eq!(of(text).has(client), has, "{text}");
        }
        let client = "fd00:77::100".parse().unwrap();
        for (text, has) in [
            ("fd00:77::/64", true),
            ("fd00:77::100", true),
            ("::/0", true),
            ("fd00:77::100/124", true),
            ("fd00:77::101", false),
            ("fd00:78::/32", false),
            ("0.0.0.0/0", false),
        ] {
            assert_eq!(of(text).has(client), has, "{text}");
        }
        for bad in [
            "",
            "10.77.0.1/24",
            "10.77.0.0/33",
            "10.77.0.0/+8",
            "host",
            "10.77.0.0/",
            "fd00:77::1/64",
            "fd00:77::/129",
            "::ffff:10.77.0.0/120",
            "fe80::1%eth0",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        assert_eq!(of("10.77.0.0/24").to_string(), "10.77.0.0/24");
        assert_eq!(of("fd00:77::/64").to_string(), "fd00:77::/64");
    }
}
