//! What is worth a line in the log, and what changed since the last line.
//!
//! What a pool became, and under which epoch it claims, is said in beats at once as well; nothing else is decided here.

use embassy_time::Duration;
use heapless::Deque;

use super::Head;
use crate::Epoch;
use crate::config::{MAX_POOLS, PoolId};
use crate::link::{Hearing, LinkId};
use crate::peer::Liveness;
use crate::sight::LedgerState;
use crate::wire::PoolState;

/// Events that wait to be taken.
const EVENTS_MAX: usize = 32;

/// Something worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pool changed its state on this head.
    Pool {
        /// The pool.
        pool: PoolId,
        /// Before.
        from: PoolState,
        /// After.
        to: PoolState,
        /// The epoch it is in.
        epoch: Epoch,
    },
    /// A boot of the peer was heard for the first time.
    PeerBooted,
    /// The peer's liveness changed.
    Peer(Liveness),
    /// What a pool's ledger says of the peer changed.
    Ledger {
        /// The pool.
        pool: PoolId,
        /// What it says now.
        state: LedgerState,
    },
    /// What a link carries of the peer changed.
    Link {
        /// The link.
        link: LinkId,
        /// What it carries now.
        hearing: Hearing,
    },
    /// This head was late to run; the time is not counted as the peer's silence.
    Late(Duration),
}

/// Events that wait, and what the last ones said, to find changes.
#[derive(Clone)]
pub(super) struct Events {
    waiting: Deque<Event, EVENTS_MAX>,
    liveness: Liveness,
    links: [Hearing; LinkId::ALL.len()],
    /// What each pool is, and the epoch of its claim: a claim chooses that while its state stays what it was.
    pub(super) pools: [(PoolState, Option<Epoch>); MAX_POOLS],
    ledgers: [LedgerState; MAX_POOLS],
}

impl Events {
    /// Of a head that just booted.
    pub(super) fn new() -> Events {
        Events {
            waiting: Deque::new(),
            liveness: Liveness::Unheard,
            links: [Hearing::Unheard; LinkId::ALL.len()],
            pools: [(PoolState::Standby, None); MAX_POOLS],
            ledgers: [LedgerState::Unread; MAX_POOLS],
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        // The log is not worth more than the work: with nobody reading, the newest is dropped.
        let _ = self.waiting.push_back(event);
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}

impl Head {
    /// Tells what changed since it last did, and says in beats at once what a pool became.
    pub(super) fn tell_changes(&mut self) {
        let liveness = self.liveness();
        if liveness != self.events.liveness {
            self.events.liveness = liveness;
            self.events.tell(Event::Peer(liveness));
        }
        for pool in self.pool_ids() {
            let state = self.ledger(pool);
            if state != self.events.ledgers[pool.index()] {
                self.events.ledgers[pool.index()] = state;
                self.events.tell(Event::Ledger { pool, state });
            }
        }
        for link in LinkId::ALL {
            let hearing = self.peer.link(link).hearing(self.config.timing.dead);
            if hearing != self.events.links[link.index()] {
                self.events.links[link.index()] = hearing;
                self.events.tell(Event::Link { link, hearing });
            }
        }
        for index in 0..self.pools.len() {
            let pool = &self.pools[index];
            let (to, epoch) = (pool.state(), pool.epoch());
            let is = (to, pool.held());
            let was = core::mem::replace(&mut self.events.pools[index], is);
            let (from, _) = was;
            if from != to {
                self.events.tell(Event::Pool {
                    pool: PoolId(index as u8),
                    from,
                    to,
                    epoch,
                });
            }
            if was != is {
                // Say it now: the peer's next decision may depend on it, and a key of this epoch may be on a disk before
                // the next beat, and all that is left of this head.
                self.unsaid[index] = true;
                self.due.iter_mut().for_each(|due| due.beat = true);
            }
        }
    }
}
