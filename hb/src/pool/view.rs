//! What a pool sees of the rest of the head when it decides.

use embassy_time::Instant;

use crate::HeadId;
use crate::config::Timing;
use crate::ledger::Record;
use crate::peer::{Liveness, Word};
use crate::sight::LedgerState;
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
    /// The peer acknowledges what this head sends, on a cable at least.
    pub(crate) is_heard: bool,
    /// What the pool's ledger says of the peer.
    pub(crate) ledger: LedgerState,
    /// The peer's newest record there.
    pub(crate) record: Option<Record>,
    /// This head was fenced again and again, and its peer may be alive for all that is known.
    pub(crate) barred: bool,
    /// It was fenced again and again, whatever is known of its peer.
    pub(crate) me_barred: bool,
    /// So was the peer.
    pub(crate) peer_barred: bool,
    /// The peer, if it lives and only the cables are cut, is about to take what this head holds.
    pub(crate) yields: bool,
    /// What a peer that lives said last of the pool: by cable, or by the ledger while that ticks and the
    /// cables are lost.
    pub(crate) word: Option<Word>,
    /// The same by cable, from before the silence as well.
    pub(crate) last_word: Option<Word>,
    /// The peer runs another configuration: its pools may stand in another order, and what it says of this one
    /// may be of another.
    pub(crate) digest_differs: bool,
    /// The next sequence number.
    pub(crate) mark: u64,
}

impl View {
    /// The peer's last word of the pool, if the peer is alive.
    pub(super) fn peer(&self) -> Option<PoolBeat> {
        self.word.map(|word| word.beat)
    }

    /// The same, from one that can be asked as well.
    pub(super) fn listening_peer(&self) -> Option<PoolBeat> {
        self.peer().filter(|_| self.liveness == Liveness::Alive)
    }

    /// Whether the peer is dead for all links of the pool: the cables, and its ledger if it has one. A peer that was
    /// never heard by cable is dead when its ledger does not tick, after the wait of a boot.
    pub(super) fn peer_is_dead(&self) -> bool {
        match (self.liveness, self.ledger) {
            (Liveness::Alive | Liveness::LinksLost, _) => false,
            (_, LedgerState::Ticking | LedgerState::Seen | LedgerState::Unread) => false,
            (Liveness::Dead, LedgerState::None | LedgerState::Silent) => !self.barred,
            (Liveness::Unheard, LedgerState::Silent) => self.has_waited(),
            (Liveness::Unheard, LedgerState::None) => false,
        }
    }

    /// Whether a boot's wait for the peer is over.
    pub(super) fn has_waited(&self) -> bool {
        self.now >= self.booted + self.timing.peer_wait
    }
}
