//! An Ethernet address: what a port is recognised by, as interface names depend on probe order.

use std::fmt;
use std::str::FromStr;

/// An Ethernet (MAC) address, six bytes as they go over the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations of the segment.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// Not filled in, as the target of an ARP request is.
    pub const ZERO: Mac = Mac([0; 6]);

    /// Whether one port can have this address: neither a group's nor all zeroes.
    pub fn is_station(self) -> bool {
        self.0[0] & 1 == 0 && self != Mac::ZERO
    }
}

/// The text was not six pairs of hex digits with colons between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: six pairs of hex digits separated by colons")]
pub struct NotAMac;

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Mac, NotAMac> {
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().ok_or(NotAMac)?;
            // from_str_radix alone would let a sign through.
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAMac)?;
        }
        match pairs.next() {
            None => Ok(Mac(bytes)),
            Some(_) => Err(NotAMac),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let mac: Mac = "52:54:00:0a:01:FF".parse().unwrap();
        assert_eq!(mac, Mac([0x52, 0x54, 0, 0x0a, 1, 0xff]));
        assert_eq!(mac.to_string(), "52:54:00:0a:01:ff");
    }

    #[test]
    fn near_misses_are_refused() {
        for text in [
            "",
            "52:54:00:0a:01",
            "52:54:00:0a:01:02:03",
            "52:54:00:0a:01:+2",
            "5254.000a.0102",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
        assert!(!Mac::BROADCAST.is_station());
        assert!(!Mac::ZERO.is_station());
    }
}
