//! The ownership generation of a pool: it grows by one at each claim and never goes back.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Ownership generation of a pool. Zero means that nobody has claimed it yet.
///
/// 32 bits: a pool that is claimed once a second runs out of them after 136 years.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

impl Epoch {
    /// Before the first claim.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch of the next claim, or `None` when the numbers are used up: a claim is then
    /// refused, because an epoch that wrapped would be older than its predecessor.
    pub fn next(self) -> Option<Epoch> {
        self.0.checked_add(1).map(Epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
