//! The 64-bit reservation key that a head registers on each disk of a pool.
//!
//! The layout is frozen: a head of any release must read the keys of any other.
//!
//! ```text
//!  63            40 39    32 31                 0
//! ├────────────────┼────────┼────────────────────┤
//! │ cluster id, 24 │ head, 8│ epoch, 32          │
//! ```

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Epoch;

/// Names a cluster in keys and frames: 24 bits, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(u32);

impl ClusterId {
    /// The id of the cluster with this name: the first 24 bits of its SHA-256.
    ///
    /// The name alone and not the secret, so that a changed secret does not turn our own keys on the
    /// disks into a stranger's.
    pub fn from_name(name: &str) -> ClusterId {
        let hash = Sha256::digest(name.as_bytes());
        let bits = u32::from_be_bytes([0, hash[0], hash[1], hash[2]]);
        // Zero would make a key of a cluster look like a small number that any tool may use.
        ClusterId(bits.max(1))
    }

    /// The 24 bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}

/// One of the two heads, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HeadId {
    /// The first head of the configuration file.
    First,
    /// The second.
    Second,
}

impl HeadId {
    /// The other head.
    pub fn peer(self) -> HeadId {
        match self {
            HeadId::First => HeadId::Second,
            HeadId::Second => HeadId::First,
        }
    }

    /// Its number in a key: 1 or 2.
    pub fn number(self) -> u8 {
        match self {
            HeadId::First => 1,
            HeadId::Second => 2,
        }
    }

    /// The head with this number in a key.
    pub fn from_number(number: u8) -> Option<HeadId> {
        match number {
            1 => Some(HeadId::First),
            2 => Some(HeadId::Second),
            _ => None,
        }
    }
}

/// What a head registers on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The cluster that the head belongs to.
    pub cluster: ClusterId,
    /// The head that registered it.
    pub head: HeadId,
    /// The claim that it registered for.
    pub epoch: Epoch,
}

impl Key {
    /// The number given to the disk.
    pub fn to_bits(self) -> u64 {
        u64::from(self.cluster.0) << 40
            | u64::from(self.head.number()) << 32
            | u64::from(self.epoch.0)
    }

    /// Reads a key back; `None` for a number that no head of this cluster can have registered.
    pub fn from_bits(bits: u64, cluster: ClusterId) -> Option<Key> {
        if (bits >> 40) as u32 != cluster.0 {
            return None;
        }
        let head = HeadId::from_number((bits >> 32) as u8)?;
        Some(Key {
            cluster,
            head,
            epoch: Epoch(bits as u32),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_frozen() {
        let cluster = ClusterId::from_name("lab");
        let key = Key {
            cluster,
            head: HeadId::Second,
            epoch: Epoch(7),
        };
        assert_eq!(key.to_bits() >> 40, u64::from(cluster.bits()));
        assert_eq!(key.to_bits() & 0xff_ffff_ffff, 0x02_0000_0007);
        assert_eq!(Key::from_bits(key.to_bits(), cluster), Some(key));
    }

    #[test]
    fn strangers_and_impossible_heads_are_not_ours() {
        let cluster = ClusterId::from_name("lab");
        let key = Key {
            cluster,
            head: HeadId::First,
            epoch: Epoch(1),
        };
        assert_eq!(
            Key::from_bits(key.to_bits(), ClusterId::from_name("other")),
            None
        );
        assert_eq!(Key::from_bits(key.to_bits() & !(0xff << 32), cluster), None);
        assert_eq!(Key::from_bits(0x1234, cluster), None);
    }
}
