//! No delegation is given by a head that shares.
//!
//! Under one for writing a client locks by itself and asks nobody, and two kernels do not get that over a takeover:
//!
//! - The server gives one to whoever reclaims an open (`nfs4_open_delegation` of Linux 6.12, claim *previous*), whether or not it was asked
//!   for one, and whether or not another client has yet to reclaim its open of the same file, and its lock. A rival that had the
//!   file open seems to have got the lock of its holder like this, right after a crash (seen once in the lab, the cause by reading).
//! - A client that is refused the delegation that it reclaims does not reclaim the locks that it had under it (seen in the lab, when
//!   leases were off for the grace period alone).
//!
//! So leases, which is what delegations are to the rest of the kernel, are off while a server runs (`fs.leases-enable`). Clients
//! open and lock at the server, which the protocol leaves to it; what is lost is that an open is asked for each time.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use tracing::error;

use crate::sync::lock;

/// The kernel's switch, and for how many pools it is off.
struct Switch {
    path: PathBuf,
    off_for: Mutex<usize>,
}

static SWITCH: LazyLock<Switch> = LazyLock::new(|| Switch {
    path: "/proc/sys/fs/leases-enable".into(),
    off_for: Mutex::new(0),
});

/// None is given as long as this lives.
pub(super) struct NoDelegations(&'static Switch);

impl NoDelegations {
    /// From now on.
    pub fn begin() -> io::Result<NoDelegations> {
        NoDelegations::begin_at(&SWITCH)
    }

    fn begin_at(switch: &'static Switch) -> io::Result<NoDelegations> {
        let mut off_for = lock(&switch.off_for);
        if *off_for == 0 {
            fs::write(&switch.path, "0\n").map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", switch.path.display()))
            })?;
        }
        *off_for += 1;
        Ok(NoDelegations(switch))
    }
}

impl Drop for NoDelegations {
    fn drop(&mut self) {
        let mut off_for = lock(&self.0.off_for);
        *off_for -= 1;
        if *off_for == 0
            && let Err(error) = fs::write(&self.0.path, "1\n")
        {
            error!(
                "no delegations are given any more: {}: {error}",
                self.0.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_given_while_any_server_runs() {
        let name = format!("orthrus-leases-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let switch: &'static Switch = Box::leak(Box::new(Switch {
            path: path.clone(),
            off_for: Mutex::new(0),
        }));
        let now = || fs::read_to_string(&path).unwrap();
        let one = NoDelegations::begin_at(switch).unwrap();
        assert_eq!(now(), "0\n");
        let two = NoDelegations::begin_at(switch).unwrap();
        drop(one);
        assert_eq!(now(), "0\n", "another pool is shared as well");
        drop(two);
        assert_eq!(now(), "1\n");
        let again = NoDelegations::begin_at(switch).unwrap();
        assert_eq!(now(), "0\n");
        drop(again);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_kernel_without_the_switch_is_said() {
        let switch: &'static Switch = Box::leak(Box::new(Switch {
            path: "/nonexistent/leases-enable".into(),
            off_for: Mutex::new(0),
        }));
        let error = NoDelegations::begin_at(switch).err().unwrap();
        assert!(error.to_string().contains("leases-enable"), "{error}");
        assert_eq!(*lock(&switch.off_for), 0);
    }
}
