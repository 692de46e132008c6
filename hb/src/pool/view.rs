//! What a pool sees of the rest of the head when it decides.

use embassy_time::Instant;

use crate::HeadId;
use crate::config::Timing;
use crate::link::LinkId;
use crate::peer::{Liveness, Word};
use crate::wire::PoolBeat;

/// What a pool sees of the rest of the head when it decides.
pub(crate) struct View {
    pub(crate) now: Instant,
    pub(crate) booted: Instant,
    pub(crate) me: HeadId,
    pub(crate) timing: Timing,
    /// This head is about to halt: it lets go of everything and claims nothing.
    pub(crate) retiring: bool,
    pub(crate) liveness: Liveness,
    /// The peer, if it lives and only the cables are cut, is about to take what this head holds.
    pub(crate) yields: bool,
    pub(crate) word: Option<Word>,
    /// The peer runs another configuration: its pools may stand in another order, and what it says of this one
    /// may be of another.
    pub(crate) digest_differs: bool,
    /// The next sequence number of each link.
    pub(crate) marks: [u32; LinkId::ALL.len()],
}

impl View {
    /// The peer's last word of the pool, if the peer is alive.
    pub(super) fn peer(&self) -> Option<PoolBeat> {
        self.word
            .filter(|_| self.liveness == Liveness::Alive)
            .map(|word| word.beat)
    }
}
