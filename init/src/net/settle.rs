//! Kernel settings of the ports that carry service addresses, written once at boot.
//!
//! An address that moves must be answered for by one port of one head and by nothing else.

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

/// Writes the settings for a port.
pub fn settle(interface: &Interface) -> Result<Step, NetError> {
    let mut step = Step::Already;
    // The kernel takes the greater of `all` and the port's own for most of these, so both are set.
    for scope in ["all", &interface.name] {
        for (setting, value) in SETTINGS {
            let path = format!("/proc/sys/net/ipv4/conf/{scope}/{setting}");
            let error = |error: std::io::Error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                NetError::new(&path, "write a network setting", errno)
            };
            if std::fs::read_to_string(&path).map_err(error)?.trim() != value {
                std::fs::write(&path, value).map_err(error)?;
                step = Step::Changed;
            }
        }
    }
    Ok(step)
}
