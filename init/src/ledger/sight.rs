//! From the readers to the heartbeat thread: what the copies show, as one latest value.
//!
//! Not the queue of inputs: three copies read ten times a second would fill it while the heartbeat is late, and make
//! workers wait. Nothing is lost by joining: a later read that shows the same record says all that the
//! earlier one did, and one that shows a newer record says that the peer ticked.
//!
//! A copy that shows an older record than another one did is behind: its disk was away, or a write to it is on its
//! way. While the newer copy can be read the other's reads say nothing and are left out: the silence of a copy that
//! the owner does not reach is not the owner's. When the newer one cannot be read any more, they are what is left.

use std::sync::{Arc, Mutex, TryLockError};

use embassy_time::{Duration, Instant};
use orthrus_hb::Sight;
use orthrus_hb::ledger::Record;

use crate::sync::lock;

/// How long after the last read that showed the newest record those that show an older one are left out. Less than
/// the core's `ledger_unread`, so that it never finds the ledger unread because of this.
const BEHIND_LIMIT: Duration = Duration::from_secs(2);

/// What the heartbeat thread takes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A copy was read.
    Sight(Sight),
    /// The pool's metadata were read, and there is no ledger.
    NoLedger,
}

/// Wakes the heartbeat thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The slot of one pool.
pub struct Sights {
    state: Mutex<State>,
    wake: Wake,
}

#[derive(Default)]
struct State {
    /// The newest record that any copy showed.
    newest: Option<Record>,
    /// When the last read that showed it was submitted.
    confirmed: Option<Instant>,
    news: Option<News>,
}

impl Sights {
    /// An empty slot.
    pub fn new(wake: Wake) -> Sights {
        Sights {
            state: Mutex::default(),
            wake,
        }
    }

    /// A read of a copy completed. `begun` may be older than that of another copy's read.
    pub fn post(&self, peer: Option<Record>, begun: Instant) {
        let age = |record: Option<Record>| record.map(|record| (record.epoch, record.sequence));
        let mut state = lock(&self.state);
        if age(peer) < age(state.newest) {
            let behind = |at: Instant| begun.saturating_duration_since(at) < BEHIND_LIMIT;
            if state.confirmed.is_some_and(behind) {
                return;
            }
        } else {
            (state.newest, state.confirmed) = (peer, state.confirmed.max(Some(begun)));
        }
        let peer = state.newest;
        let begun = match state.news {
            Some(News::Sight(before)) => begun.max(before.begun),
            _ => begun,
        };
        self.put(state, News::Sight(Sight { peer, begun }));
    }

    /// There is no ledger.
    pub fn post_none(&self) {
        let mut state = lock(&self.state);
        (state.newest, state.confirmed) = (None, None);
        self.put(state, News::NoLedger);
    }

    /// The copies are others from here on: those of before say nothing about them.
    pub fn forget(&self) {
        *lock(&self.state) = State::default();
    }

    fn put(&self, mut state: std::sync::MutexGuard<'_, State>, news: News) {
        let was_empty = state.news.replace(news).is_none();
        drop(state);
        // Else it was woken already. Should it have found the lock held, the next beat is at most 100 ms away.
        if was_empty {
            (self.wake)();
        }
    }

    /// What came since the last call. For the heartbeat thread: never waits, never allocates.
    pub fn take(&self) -> Option<News> {
        match self.state.try_lock() {
            Ok(mut state) => state.news.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().news.take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use orthrus_hb::{Epoch, HeadId, Incarnation, PoolState};

    use super::*;

    fn record(epoch: u32, sequence: u64) -> Option<Record> {
        Some(Record {
            head: HeadId::Second,
            incarnation: Incarnation([1; 8]),
            state: PoolState::Serving,
            epoch: Epoch(epoch),
            sequence,
            lease: None,
        })
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn sights() -> (Sights, Arc<AtomicU32>) {
        let woken = Arc::new(AtomicU32::new(0));
        let counter = woken.clone();
        let wake = move || {
            counter.fetch_add(1, Ordering::SeqCst);
        };
        (Sights::new(Arc::new(wake)), woken)
    }

    fn sight(peer: Option<Record>, ms: u64) -> Option<News> {
        let begun = at(ms);
        Some(News::Sight(Sight { peer, begun }))
    }

    #[test]
    fn reads_that_nobody_took_are_joined_and_wake_once() {
        let (sights, woken) = sights();
        sights.post(record(1, 7), at(100));
        sights.post(record(1, 8), at(200));
        sights.post(record(1, 8), at(150));
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert_eq!(sights.take(), sight(record(1, 8), 200));
        assert_eq!(sights.take(), None);
        sights.post(record(1, 8), at(300));
        assert_eq!(woken.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_copy_that_is_behind_says_nothing() {
        let (sights, _) = sights();
        sights.post(record(2, 1), at(100));
        assert!(sights.take().is_some());
        sights.post(record(1, 900), at(200));
        sights.post(None, at(200));
        assert_eq!(sights.take(), None);
        // The other copy's disk is gone: this one is what is left, and shows that nothing new came.
        sights.post(record(1, 900), at(2100));
        assert_eq!(sights.take(), sight(record(2, 1), 2100));
        // Its disk is written again.
        sights.post(record(2, 2), at(2200));
        assert_eq!(sights.take(), sight(record(2, 2), 2200));
    }

    #[test]
    fn an_empty_ledger_is_a_sight_and_none_is_not() {
        let (sights, _) = sights();
        sights.post(None, at(100));
        assert_eq!(sights.take(), sight(None, 100));
        sights.post(record(3, 3), at(200));
        sights.post_none();
        assert_eq!(sights.take(), Some(News::NoLedger));
        // What is read after it was made counts, however small its epoch.
        sights.post(record(1, 1), at(300));
        assert_eq!(sights.take(), sight(record(1, 1), 300));
        sights.forget();
        sights.post(None, at(400));
        assert_eq!(sights.take(), sight(None, 400));
    }

    #[test]
    fn the_heartbeat_never_waits_for_a_reader() {
        let (sights, _) = sights();
        sights.post(None, at(1));
        let posting = sights.state.lock().unwrap();
        assert_eq!(sights.take(), None);
        drop(posting);
        assert!(sights.take().is_some());
    }
}
