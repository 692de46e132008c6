//! The third link: what this head sees of its peer in the ledger on a pool's own disks.
//!
//! A cable says nothing while its frames are lost; a disk always shows what was written last. So silence is
//! counted here only between reads that completed and showed the same record: a read that hangs or fails says
//! nothing about the peer, only about our own path. One sight of a record proves nothing either, since
//! it may be years old: it ticks once it was seen to change.
//!
//! Of records that do not change the one with the greatest epoch counts: the others are on copies that are behind. One that
//! changes is of a heartbeat that runs, however small its epoch: a head writes records of its present boot only. Such are those of a
//! pool that was made anew by a boot that knew of none. (They counted as silence here, where the old pool's were known. With all
//! cables cut their owner, which lived, was taken for dead.)
//!
//! ```text
//!  Unread ──► Seen ──► Ticking ◄──► Silent
//!   │   ▲       └─────────────────────►┘ │
//!   ▼   └── no read completes ───────────┘
//!  None
//! ```

use core::hash::Hasher;

use embassy_time::{Duration, Instant};

use crate::config::Timing;
use crate::fingerprint::Print;
use crate::ledger::Record;
use crate::wire::{PoolBeat, Wish};
use crate::{Health, PoolId};

/// One completed read of a copy of a pool's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The peer's newest valid record there.
    pub peer: Option<Record>,
    /// When the read was submitted: what it shows is at least as new as that.
    pub begun: Instant,
}

/// What the ledger of one pool says of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerState {
    /// The pool has no ledger, or the peer never wrote there: the cables decide alone.
    None,
    /// No read of it completes, or whether there is one was not read yet in this boot: it says neither that the
    /// peer lives nor that it does not.
    Unread,
    /// A record was seen, and not for long enough to tell whether it changes.
    Seen,
    /// The record changes: the peer's heartbeat runs.
    Ticking,
    /// The record has not changed for the limit.
    Silent,
}

impl LedgerState {
    /// For consoles and logs.
    pub fn name(self) -> &'static str {
        match self {
            LedgerState::None => "none",
            LedgerState::Unread => "unread",
            LedgerState::Seen => "seen",
            LedgerState::Ticking => "ticking",
            LedgerState::Silent => "silent",
        }
    }
}

/// The ledger of one pool, as read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ledger {
    /// Whether there is one, once the pool's metadata were read. Until then it may well be there and tick: a head
    /// that just booted must not take its peer for dead by the cables alone.
    exists: Option<bool>,
    newest: Option<Record>,
    /// The last that was seen of another boot than the newest's, and did not change since.
    elder: Option<Record>,
    /// The newest was seen to change, in the incarnation that it is of.
    ticked: bool,
    silence: Duration,
    /// When the last completed read was submitted, or the newest record was first seen, if that was later.
    read: Option<Instant>,
}

impl Ledger {
    /// The pool has no ledger: its metadata say so.
    pub(crate) fn vanish(&mut self) {
        *self = Ledger {
            exists: Some(false),
            ..Ledger::default()
        };
    }

    /// A read completed. `limit`: the silence that counts as death.
    pub(crate) fn see(&mut self, sight: &Sight, limit: Duration, now: Instant) {
        self.exists = Some(true);
        let gap = match self.read {
            // Of two copies the later submission counts.
            Some(read) => sight.begun.saturating_duration_since(read),
            None => Duration::from_ticks(0),
        };
        self.read = self.read.max(Some(sight.begun));
        // No record is no news: this copy may never have been written.
        let Some(record) = sight.peer else { return };
        let order = |record: Record| (record.epoch, record.sequence);
        let of_its_boot =
            |known: Option<Record>| known.filter(|known| known.incarnation == record.incarnation);
        let last = of_its_boot(self.newest).or(of_its_boot(self.elder));
        if last
            .or(self.newest)
            .is_some_and(|last| order(record) <= order(last))
        {
            if last.is_none() {
                self.elder = Some(record);
            }
            // Half the limit at most: it takes three reads to tell a death, so that one gap in our own
            // running is none.
            let counted = gap.min(limit / 2);
            self.silence = self.silence.checked_add(counted).unwrap_or(Duration::MAX);
            return;
        }
        if of_its_boot(self.elder).is_some() {
            self.elder = self.newest;
        }
        self.newest = Some(record);
        self.ticked = last.is_some();
        self.silence = Duration::from_ticks(0);
        // Not the read's submission: it may have been under way for long, and the record written just before
        // it ended. Others that are under way since then say nothing of the time after.
        self.read = self.read.max(Some(now));
    }

    pub(crate) fn state(&self, limit: Duration, unread: Duration, now: Instant) -> LedgerState {
        match self.exists {
            None => return LedgerState::Unread,
            Some(false) => return LedgerState::None,
            Some(true) => {}
        }
        match (self.read, self.newest) {
            (Some(read), _) if now.saturating_duration_since(read) > unread => LedgerState::Unread,
            (None, _) => LedgerState::Unread,
            (_, None) => LedgerState::None,
            _ if self.silence >= limit => LedgerState::Silent,
            _ if self.ticked => LedgerState::Ticking,
            _ => LedgerState::Seen,
        }
    }

    /// The identity of what is known; whether a record is newer than [`Ledger::newest`] is left to the caller.
    pub(crate) fn fingerprint<H: Hasher>(&self, timing: &Timing, print: &mut Print<'_, H>) {
        let Ledger {
            exists,
            newest,
            elder,
            ticked,
            silence,
            read,
        } = self;
        print.put((exists, ticked, read.is_some()));
        print.put([newest, elder].map(|record| {
            record.map(|record| Record {
                sequence: 0,
                ..record
            })
        }));
        print.span(*silence, timing.ledger_dead);
        if let Some(read) = *read {
            // Held against `ledger_unread`, which must be passed, and half of `ledger_dead`.
            let limit = timing.ledger_unread.max(timing.ledger_dead) + Duration::from_ticks(1);
            print.since(read, limit);
        }
    }

    /// The peer's newest record.
    pub(crate) fn newest(&self) -> Option<Record> {
        self.newest
    }

    /// What it says of the pool, as a beat would.
    pub(crate) fn beat(&self, pool: PoolId) -> Option<PoolBeat> {
        self.newest.map(|record| PoolBeat {
            pool: pool.0,
            state: record.state,
            epoch: record.epoch,
            wish: Wish::None,
            health: Health::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, HeadId, Incarnation, PoolState};

    const LIMIT: Duration = Duration::from_secs(1);
    const UNREAD: Duration = Duration::from_secs(3);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(10_000 + ms)
    }

    fn sight(epoch: u32, sequence: u64, ms: u64) -> Sight {
        Sight {
            peer: Some(Record {
                head: HeadId::First,
                incarnation: Incarnation([epoch as u8; 8]),
                state: PoolState::Serving,
                epoch: Epoch(epoch),
                sequence,
                lease: None,
            }),
            begun: at(ms),
        }
    }

    fn look(ledger: &mut Ledger, sight: &Sight, ms: u64) -> LedgerState {
        ledger.see(sight, LIMIT, at(ms));
        ledger.state(LIMIT, UNREAD, at(ms))
    }

    #[test]
    fn a_record_ticks_once_it_was_seen_to_change() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.state(LIMIT, UNREAD, at(0)), LedgerState::Unread);
        assert_eq!(look(&mut ledger, &sight(3, 7, 0), 1), LedgerState::Seen);
        assert_eq!(
            look(&mut ledger, &sight(3, 8, 100), 101),
            LedgerState::Ticking
        );
    }

    #[test]
    fn silence_is_counted_between_completed_reads_only() {
        let mut ledger = Ledger::default();
        look(&mut ledger, &sight(3, 7, 0), 0);
        look(&mut ledger, &sight(3, 8, 100), 100);
        // Nothing completes for long: nothing is known, and nobody is dead.
        assert_eq!(ledger.state(LIMIT, UNREAD, at(3000)), LedgerState::Ticking);
        assert_eq!(ledger.state(LIMIT, UNREAD, at(3200)), LedgerState::Unread);
        // One read after a gap is not enough to call it silent; a few are.
        assert_eq!(
            look(&mut ledger, &sight(3, 8, 5000), 5001),
            LedgerState::Ticking
        );
        assert_eq!(
            look(&mut ledger, &sight(3, 8, 5100), 5101),
            LedgerState::Ticking
        );
        let mut ms = 5100;
        while look(&mut ledger, &sight(3, 8, ms), ms) == LedgerState::Ticking {
            ms += 100;
        }
        assert_eq!(ms, 5500);
        assert_eq!(ledger.state(LIMIT, UNREAD, at(ms)), LedgerState::Silent);
        assert_eq!(
            look(&mut ledger, &sight(3, 9, 6000), 6001),
            LedgerState::Ticking
        );
    }

    #[test]
    fn reads_that_a_stalled_shelf_ends_together_are_one_look() {
        let mut ledger = Ledger::default();
        look(&mut ledger, &sight(3, 7, 0), 1);
        look(&mut ledger, &sight(3, 8, 100), 101);
        // A read of each copy was under way; the peer went on all the time.
        for begun in [200, 1700, 3200] {
            assert_eq!(
                look(&mut ledger, &sight(3, 90, begun), 20_000),
                LedgerState::Ticking
            );
        }
    }

    #[test]
    fn a_copy_that_is_behind_neither_ticks_nor_hides_the_one_that_does() {
        let mut ledger = Ledger::default();
        look(&mut ledger, &sight(3, 100, 0), 0);
        for step in 1..50 {
            look(&mut ledger, &sight(3, 100 + step, step * 100), step * 100);
            let stale = sight(2, 900, step * 100 + 10);
            assert_eq!(
                look(&mut ledger, &stale, step * 100 + 10),
                LedgerState::Ticking
            );
        }
    }

    #[test]
    fn a_new_claim_is_watched_from_its_first_sight_on() {
        let mut ledger = Ledger::default();
        for step in 0..20 {
            look(&mut ledger, &sight(3, 7, step * 100), step * 100);
        }
        assert_eq!(ledger.state(LIMIT, UNREAD, at(1900)), LedgerState::Silent);
        assert_eq!(
            look(&mut ledger, &sight(4, 1, 2000), 2001),
            LedgerState::Seen
        );
    }

    #[test]
    fn a_record_that_changes_ticks_however_small_its_epoch() {
        let mut ledger = Ledger::default();
        look(&mut ledger, &sight(7, 900, 0), 1);
        look(&mut ledger, &sight(7, 901, 100), 101);
        // A pool was made anew under its name.
        let mut ms = 200;
        while look(&mut ledger, &sight(1, 1, ms), ms) == LedgerState::Ticking {
            ms += 100;
        }
        assert_eq!(look(&mut ledger, &sight(1, 1, ms), ms), LedgerState::Silent);
        for sequence in 2..5 {
            ms += 100;
            let ticks = look(&mut ledger, &sight(1, sequence, ms), ms);
            assert_eq!(ticks, LedgerState::Ticking);
            assert_eq!(ledger.newest().unwrap().epoch, Epoch(1));
            // What is left of the old one says nothing.
            let ticks = look(&mut ledger, &sight(7, 901, ms + 50), ms + 50);
            assert_eq!(ticks, LedgerState::Ticking);
        }
        // Nor does it hide that this one dies.
        while look(&mut ledger, &sight(7, 901, ms), ms) == LedgerState::Ticking {
            ms += 100;
            look(&mut ledger, &sight(1, 4, ms), ms);
        }
        assert_eq!(look(&mut ledger, &sight(1, 4, ms), ms), LedgerState::Silent);
    }

    #[test]
    fn a_ledger_that_the_peer_never_wrote_leaves_it_to_the_cables() {
        let mut ledger = Ledger::default();
        let empty = Sight {
            peer: None,
            begun: at(0),
        };
        assert_eq!(look(&mut ledger, &empty, 1), LedgerState::None);
        look(&mut ledger, &sight(3, 7, 100), 100);
        ledger.vanish();
        assert_eq!(ledger.state(LIMIT, UNREAD, at(101)), LedgerState::None);
    }
}
