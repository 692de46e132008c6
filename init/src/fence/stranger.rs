//! Who is no head of this cluster and uses a disk of ours all the same: never removed automatically, always named, with
//! the way out.

use std::fmt;

use orthrus_hb::{ClusterId, Key};

use super::reservations::{Holder, Seen};

/// A stranger on one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A key that no head of this cluster can have registered.
    Registrant(u64),
    /// A reservation of a type that all registrants hold together, which no head of ours ever makes. Preempting it
    /// would remove everybody at once.
    AllRegistrants {
        /// SPC's number of the type, 7 or 8.
        kind: u8,
    },
}

macro_rules! clear {
    () => {
        "on any host that sees the disk: `sg_persist --out --register --param-sark=0x1 /dev/DISK`, then \
         `sg_persist --out --clear --param-rk=0x1 /dev/DISK`; of an NVMe disk `nvme resv-register --nrkey=1 /dev/DISK`, then \
         `nvme resv-release --crkey=1 --rrela=1 /dev/DISK`"
    };
}

/// How an operator takes all keys off a disk. It has another name on another host; `disks` shows who it is.
pub const CLEAR: &str = clear!();

/// How an operator ends it.
pub const WAY_OUT: &str = concat!("end that use there, or, if it is gone for good, ", clear!());

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stranger::Registrant(key) => write!(
                f,
                "key {key:#018x} is a stranger's: another host or cluster uses the disk, or this cluster once had \
                 another name"
            )?,
            Stranger::AllRegistrants { kind } => write!(
                f,
                "reserved for all registrants together (type {kind}), as only a stranger does"
            )?,
        }
        write!(f, ". Orthrus never removes it; {WAY_OUT}")
    }
}

/// The first stranger that a disk shows.
pub fn find(seen: &Seen, cluster: ClusterId) -> Option<Stranger> {
    let registrant = |number: u64| {
        let ours = Key::from_bits(number, cluster).is_some();
        (!ours).then_some(Stranger::Registrant(number))
    };
    let holds = match seen.holder {
        None => None,
        Some(Holder { kind, .. }) if is_for_all(kind) => Some(Stranger::AllRegistrants { kind }),
        Some(Holder { key, .. }) => registrant(key),
    };
    // A key says more than a type.
    let registered = seen.keys.iter().find_map(|key| registrant(*key));
    registered.or(holds)
}

/// Write exclusive or exclusive access, all registrants: READ RESERVATION then shows no key.
fn is_for_all(kind: u8) -> bool {
    matches!(kind, 7 | 8)
}
