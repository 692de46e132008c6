//! No delegation is given by a head that shares.
//!
//! Under one for writing a client locks by itself and asks nobody, and two kernels do not get that over a takeover:
//!
//! - The server gives one to whoever reclaims an open (`nfs4_open_delegation` of Linux 6.12, claim *previous*), whether or not it was asked
//!   for one, and whether or not another client has yet to reclaim its open of the same file, and its lock. A rival that had the
//!   file open seems to have got the lock of its holder like this, right after a crash (seen once in the lab, the cause by reading).
//! - A client that is refused the delegation that it reclaims takes its locks for cached under it, and reclaims none
//!   (`nfs4_lock_reclaim`; a lock was lost in the lab when leases were off for the grace period alone).
//!
//! So leases, which is what delegations are to the rest of the kernel, are off from the first server on that a head starts. Clients
//! open and lock at the server, which the protocol leaves to it; what is lost is that an open is asked for each time.

use std::fs;
use std::io;
use std::path::Path;

/// The kernel's switch, one for all pools.
pub(super) const SWITCH: &str = "/proc/sys/fs/leases-enable";

/// None is given from now on.
pub(super) fn give_none(switch: &Path) -> io::Result<()> {
    fs::write(switch, "0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_turned_off() {
        let switch = tempfile::NamedTempFile::new().unwrap();
        fs::write(switch.path(), "1\n").unwrap();
        for _ in 0..2 {
            give_none(switch.path()).unwrap();
            assert_eq!(fs::read_to_string(switch.path()).unwrap(), "0\n");
        }
    }
}
