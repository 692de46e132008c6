//! What the names in the file may look like: each check has the sentence that an error ends with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ServiceAddress;

pub(super) const CLUSTER: &str = "1 to 32 characters of a-z, 0-9 and hyphen";
pub(super) const HEAD: &str = "1 to 16 characters of a-z, 0-9 and hyphen";
// No dot: a backstore is called POOL.VOLUME, and two pools must never make the same name.
pub(super) const POOL: &str =
    "1 to 32 characters of a-z, A-Z, 0-9, _, + and hyphen, not starting with a hyphen";
pub(super) const LVM: &str = "a name as lvm2 allows it: 1 to 127 characters of a-z, A-Z, 0-9, _, +, . and hyphen, not starting with a hyphen, not . or ..";
pub(super) const TTY: &str = "the name of a serial port below /dev, such as ttyS1";
pub(super) const MAC: &str = "a MAC address of one port, such as 52:54:00:0a:01:01";
pub(super) const CARDS: &str =
    "a MAC address of one port, such as 52:54:00:0a:01:01, or a list of 1 to 8 of them";
pub(super) const SMBIOS: &str = "the system's UUID or serial number, 1 to 64 printable characters";
pub(super) const SECRET: &str = "64 hex digits, not all the same (32 random bytes)";
pub(super) const GATEWAY: &str = "the address of a router on the network of one of the pool's service addresses (or of IPv6 a link-local one), such as 10.77.0.1, or a list of them, one for each network";
pub(super) const ADDRESS: &str = "an address of one host with the length of its network's prefix, such as 10.77.0.10/24 or fd00:77::10/64 (not link-local), or a list of 1 to 8 of them";
pub(super) const ISCSI: &str = "an iSCSI name in lower case, at most 223 characters: iqn.YYYY-MM.DOMAIN[:ANYTHING], eui. and 16 hex digits, or naa. and 16 or 32";
pub(super) const NQN: &str =
    "an NVMe name in lower case, at most 223 characters: nqn.YYYY-MM.DOMAIN:ANYTHING";
pub(super) const NETWORK: &str =
    "an address or a network, such as 10.77.0.0/24 or fd00:77::/64, or a list of them";
// The kernel reads a name to the first semicolon, one that begins like a number in hex or base 64 as that (`extract_param`), and takes
// whatever begins with NULL for the order to forget it (`DEF_NACL_AUTH_STR`).
pub(super) const USER: &str =
    "1 to 64 printable characters without blanks and semicolons, not beginning with NULL, 0x or 0b";
// Windows takes no less and no more.
pub(super) const PASSWORD: &str =
    "12 to 16 printable characters without blanks, not beginning with NULL";
// No dot at the start: it is a directory's name.
pub(super) const SHARE: &str =
    "1 to 64 characters of a-z, A-Z, 0-9, _, +, . and hyphen, not starting with a hyphen or dot";
// The kernel makes the NAA identifier (WWN) of the digits, so anything else would be lost from it.
pub(super) const SERIAL: &str = "8 to 32 lower-case hex digits";
// SPC: ASCII, filled up with blanks on the right.
pub(super) const VENDOR: &str =
    "1 to 8 printable ASCII characters, no blank at either end, such as ORTHRUS";
pub(super) const PRODUCT: &str =
    "1 to 16 printable ASCII characters, no blank at either end, such as VOLUME";

fn of(text: &str, max: usize, extra: &str, upper: bool) -> bool {
    (1..=max).contains(&text.len())
        && text.chars().all(|c| {
            c.is_ascii_lowercase()
                || c.is_ascii_digit()
                || (upper && c.is_ascii_uppercase())
                || extra.contains(c)
        })
}

pub(super) fn is_cluster(text: &str) -> bool {
    of(text, 32, "-", false)
}

pub(super) fn is_head(text: &str) -> bool {
    of(text, 16, "-", false)
}

pub(super) fn is_pool(text: &str) -> bool {
    of(text, 32, "_+-", true) && !text.starts_with('-')
}

pub(super) fn is_lvm(text: &str) -> bool {
    of(text, 127, "_+.-", true) && !text.starts_with('-') && text != "." && text != ".."
}

pub(super) fn is_share(text: &str) -> bool {
    of(text, 64, "_+.-", true) && !text.starts_with(['-', '.'])
}

pub(super) fn is_user(text: &str) -> bool {
    let is_taken_otherwise = ["NULL", "0x", "0X", "0b", "0B"]
        .iter()
        .any(|begin| text.starts_with(begin));
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b';')
        && !is_taken_otherwise
}

pub(super) fn is_password(text: &str) -> bool {
    (12..=16).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.starts_with("NULL")
}

pub(super) fn is_tty(text: &str) -> bool {
    of(text, 32, "", true) && text.starts_with("tty")
}

pub(super) fn is_smbios(text: &str) -> bool {
    is_printable(text, 64)
}

pub(super) fn is_vendor(text: &str) -> bool {
    is_printable(text, 8)
}

pub(super) fn is_product(text: &str) -> bool {
    is_printable(text, 16)
}

fn is_printable(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.trim() == text
}

pub(super) fn is_serial(text: &str) -> bool {
    (8..=32).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// RFC 3720 section 3.2.6, lower case only: the kernel compares byte by byte.
pub(super) fn is_iscsi(text: &str) -> bool {
    let hex = |rest: &str, len: usize| {
        rest.len() == len && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !of(text, 223, ".:-", false) {
        return false;
    }
    if let Some(rest) = text.strip_prefix("eui.") {
        return hex(rest, 16);
    }
    if let Some(rest) = text.strip_prefix("naa.") {
        return hex(rest, 16) || hex(rest, 32);
    }
    let Some(rest) = text.strip_prefix("iqn.") else {
        return false;
    };
    let Some((date, authority)) = rest.split_at_checked(8) else {
        return false;
    };
    let date = date.as_bytes();
    let digits = |range: std::ops::Range<usize>| date[range].iter().all(u8::is_ascii_digit);
    let month = date[5..7].iter().fold(0u32, |sum, digit| {
        sum * 10 + u32::from(digit.wrapping_sub(b'0'))
    });
    let domain = authority.split(':').next().unwrap_or("");
    digits(0..4)
        && date[4] == b'-'
        && digits(5..7)
        && (1..=12).contains(&month)
        && date[7] == b'.'
        && !domain.is_empty()
        && domain.split('.').all(|label| !label.is_empty())
        && !authority.ends_with(':')
}

/// NVM Express base specification, section 4.7 (2.0): built as iSCSI's are.
pub(super) fn is_nqn(text: &str) -> bool {
    let rest = text.strip_prefix("nqn.");
    rest.is_some_and(|rest| rest.contains(':') && is_iscsi(&format!("iqn.{rest}")))
}

/// `ADDRESS/PREFIX` of one host: neither a group, the segment's own address nor its broadcast.
pub(super) fn address(text: &str) -> Option<ServiceAddress> {
    let (ip, prefix) = text.split_once('/')?;
    if !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let prefix: u8 = prefix.parse().ok()?;
    let ip: IpAddr = ip.parse().ok()?;
    let is_hosts = match ip {
        IpAddr::V4(ip) => is_host_v4(ip, prefix),
        IpAddr::V6(ip) => is_host_v6(ip, prefix),
    };
    is_hosts.then_some(ServiceAddress {
        ip,
        prefix,
        way: None,
    })
}

/// A router on the network of this address. One of IPv6 is as good by its link-local address: there is one port only.
pub(super) fn is_gateway_of(gateway: IpAddr, address: &ServiceAddress) -> bool {
    match (gateway, address.ip) {
        (IpAddr::V4(gateway), IpAddr::V4(ip)) => {
            let host = u32::MAX.checked_shr(u32::from(address.prefix)).unwrap_or(0);
            is_host_v4(gateway, address.prefix) && (gateway.to_bits() ^ ip.to_bits()) & !host == 0
        }
        (IpAddr::V6(gateway), IpAddr::V6(ip)) => {
            let host = u128::MAX
                .checked_shr(u32::from(address.prefix))
                .unwrap_or(0);
            gateway.is_unicast_link_local()
                || (!gateway.is_unspecified() && (gateway.to_bits() ^ ip.to_bits()) & !host == 0)
        }
        _ => false,
    }
}

fn is_host_v4(ip: Ipv4Addr, prefix: u8) -> bool {
    let first = ip.octets()[0];
    if !(1..=32).contains(&prefix) || ip.is_loopback() || first == 0 || first >= 224 {
        return false;
    }
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let part = ip.to_bits() & host;
    // RFC 3021: of a /31 both addresses are hosts.
    prefix > 30 || (part != 0 && part != host)
}

/// A link-local address says nothing without the port that it is on, and each head has its own. IPv4 in the clothes of IPv6 is IPv4.
fn is_host_v6(ip: Ipv6Addr, prefix: u8) -> bool {
    if !(1..=128).contains(&prefix)
        || ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unicast_link_local()
        || ip.to_ipv4_mapped().is_some()
    {
        return false;
    }
    let host = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    // RFC 4291 section 2.6.1: the first is all routers'. RFC 6164: of a /127 both are hosts.
    prefix > 126 || ip.to_bits() & host != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iscsi_names_follow_the_rfc() {
        for good in [
            "iqn.2026-01.org.orthrus:tank",
            "iqn.1993-08.org.debian:01:client",
            "iqn.2001-04.com.example",
            "eui.02004567a425678d",
            "naa.52004567ba64678d",
        ] {
            assert!(is_iscsi(good), "{good}");
        }
        for bad in [
            "",
            "tank",
            "iqn.2026-13.org.orthrus:tank",
            "iqn.2026-1.org.orthrus:tank",
            "iqn.2026-01.",
            "iqn.2026-01.org..x",
            "iqn.2026-01.org.orthrus:",
            "iqn.2026-01.org.Orthrus:tank",
            "iqn.2026-01.org/../x",
            "eui.02",
            "iqn.é",
        ] {
            assert!(!is_iscsi(bad), "{bad}");
        }
    }

    #[test]
    fn what_the_kernel_takes_for_something_else_is_no_name_and_no_password() {
        for good in ["client", "x0x", "0", "00x1", "null", "a=b", "#NULL"] {
            assert!(is_user(good), "{good}");
        }
        for bad in [
            "", "a b", "a;b", "NULL", "NULLA", "0x1f", "0Xa", "0bab", "0Bab",
        ] {
            assert!(!is_user(bad), "{bad}");
        }
        assert!(is_password("0x;clients-sec") && is_password("clients-NULL"));
        for bad in ["NULLclients-sec", "clients sec-ret", "clients-sec"] {
            assert!(!is_password(bad), "{bad}");
        }
    }

    #[test]
    fn nvme_names_are_built_as_iscsi_names_are() {
        for good in [
            "nqn.2026-01.org.orthrus:tank",
            "nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ] {
            assert!(is_nqn(good), "{good}");
        }
        for bad in [
            "",
            "iqn.2026-01.org.orthrus:tank",
            "nqn.2026-01.org.orthrus",
            "nqn.2026-01.org/../x:y",
            "nqn.2026-01.org.orthrus:A",
        ] {
            assert!(!is_nqn(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_are_of_one_host() {
        let good = address("10.77.0.10/24").unwrap();
        assert_eq!(good.ip, IpAddr::from([10, 77, 0, 10]));
        assert_eq!(good.prefix, 24);
        assert!(address("10.77.0.0/31").is_some());
        assert!(address("10.77.0.1/32").is_some());
        let good = address("fd00:77::10/64").unwrap();
        assert_eq!(good.to_string(), "fd00:77::10/64");
        for good in ["2001:db8::/127", "2001:db8::1/128", "fd00::1/1"] {
            assert!(address(good).is_some(), "{good}");
        }
        for bad in [
            "10.77.0.10",
            "10.77.0.0/24",
            "10.77.0.255/24",
            "10.77.0.1/33",
            "10.77.0.1/0",
            "10.77.0.1/+8",
            "224.0.0.1/24",
            "127.0.0.1/8",
            "0.1.2.3/8",
            "fe80::1/64",
            "fe80::1%eth0/64",
            "fd00:77::10",
            "fd00:77::10/0",
            "fd00:77::10/129",
            "fd00:77::/64",
            "::1/128",
            "::/64",
            "ff02::1/64",
            "::ffff:10.77.0.10/120",
            "",
        ] {
            assert!(address(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", ".", "..", "-a", "a/b", "a b", "a\n"] {
            assert!(!is_lvm(bad), "{bad:?}");
            assert!(!is_pool(bad), "{bad:?}");
            assert!(!is_share(bad), "{bad:?}");
        }
        assert!(is_lvm("a.b-c+d_E") && !is_pool("a.b"));
        assert!(is_tty("ttyS1") && !is_tty("../sda") && !is_tty("sda"));
    }

    #[test]
    fn vendor_and_product_fit_their_fields() {
        assert!(is_vendor("A&B Inc.") && is_product("Open Storage 16b"));
        for bad in ["", " A", "A ", "A\tB", "é", "123456789"] {
            assert!(!is_vendor(bad), "{bad:?}");
        }
        assert!(is_product("1234567890123456") && !is_product("12345678901234567"));
    }
}
