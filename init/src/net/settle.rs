//! Kernel settings of the ports that carry service addresses, written once at boot.
//!
//! An address that moves must be answered for by one port of one head and by nothing else.

use std::path::Path;

use rustix::io::Errno;

use super::{Interface, NetError};
use crate::Step;

/// Setting and value; `Documentation/networking/ip-sysctl.rst` has what they do.
const SETTINGS: [(&str, &str); 5] = [
    // Answer ARP only on the port that has the address. By default any port does, so the heartbeat
    // port, or a second data port on the same segment, would claim it with another MAC.
    ("arp_ignore", "1"),
    // Ask with a source address of the port asked on, never with a pool's address from another port.
    ("arp_announce", "2"),
    // Clients may be reached through a router other than the one that they come from. Strict
    // filtering (1) would drop them without a word.
    ("rp_filter", "0"),
    // Two pools may have addresses in one network on one port. By default the removal of the first
    // one takes all the others with it, those of a pool that goes on serving.
    ("promote_secondaries", "1"),
    // A router's hint to send clients elsewhere is of no use to a storage box, and of some to an attacker.
    ("accept_redirects", "0"),
];

/// The same of IPv6, which answers for an address only on the port that has it anyway.
const SETTINGS_V6: [(&str, &str); 3] = [
    // A head has the addresses that its pools have, and no others that some router thinks of.
    ("autoconf", "0"),
    ("accept_ra", "0"),
    ("accept_redirects", "0"),
];

/// Writes the settings for a port.
pub fn settle(interface: &Interface) -> Result<Step, NetError> {
    let mut step = Step::Already;
    // The kernel takes the greater of `all` and the port's own for most of these, so both are set.
    for scope in ["all", &interface.name] {
        for (setting, value) in SETTINGS {
            let name = format!("ipv4/conf/{scope}/{setting}");
            if write(&name, value)? == Step::Changed {
                step = Step::Changed;
            }
        }
    }
    // A kernel without IPv6 has nothing to be set, and says so when an address is to be added.
    if Path::new("/proc/sys/net/ipv6").exists() {
        for (setting, value) in SETTINGS_V6 {
            let name = format!("ipv6/conf/{}/{setting}", interface.name);
            if write(&name, value)? == Step::Changed {
                step = Step::Changed;
            }
        }
    }
    Ok(step)
}

fn write(name: &str, value: &str) -> Result<Step, NetError> {
    let path = format!("/proc/sys/net/{name}");
    let error = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        NetError::new(&path, "write a network setting", errno)
    };
    if std::fs::read_to_string(&path).map_err(error)?.trim() == value {
        return Ok(Step::Already);
    }
    std::fs::write(&path, value).map_err(error)?;
    Ok(Step::Changed)
}
