//! The bounded queue between those who log and the thread that writes.
//!
//! [`push`] never waits and never allocates: the places are static, and a lock that is held is not
//! waited for. There are two shards, so that a thread which was interrupted while holding one does not
//! cost the heartbeat thread its line; only when both are held, or full, is the line counted as lost.
//! (`heapless::mpmc` and `std::sync::mpsc` were considered: the one calls itself not truly lock-free, the
//! other waits for the lock of a sleeping receiver.)

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Mutex, OnceLock, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

use heapless::Deque;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{
    layer::Text,
    line::{Level, Line, Source},
};

/// Lines in one shard: boot, the loudest time, logs some dozens while the writer works.
const SHARD_LINES: usize = 96;

struct Entry {
    order: u64,
    at_us: u64,
    level: Level,
    text: Text,
}

type Shard = Mutex<Deque<Entry, SHARD_LINES>>;

static SHARDS: [Shard; 2] = [Mutex::new(Deque::new()), Mutex::new(Deque::new())];
static ORDER: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static WAKE: OnceLock<OwnedFd> = OnceLock::new();

/// Makes the event by which the writer is woken.
pub(super) fn prepare() -> io::Result<()> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    WAKE.set(event)
        .map_err(|_| io::ErrorKind::AlreadyExists.into())
}

/// Offers a line.
pub(super) fn push(at_us: u64, level: Level, text: Text) {
    let order = ORDER.fetch_add(1, Ordering::Relaxed);
    offer(
        &SHARDS,
        &LOST,
        Entry {
            order,
            at_us,
            level,
            text,
        },
    );
    if let Some(event) = WAKE.get() {
        // Fails only when the count of wake-ups is full, that is when the writer will wake anyway.
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }
}

fn offer(shards: &[Shard], lost: &AtomicU64, mut entry: Entry) {
    for shard in shards {
        let mut shard = match shard.try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => continue,
        };
        match shard.push_back(entry) {
            Ok(()) => return,
            Err(back) => entry = back,
        }
    }
    lost.fetch_add(1, Ordering::Relaxed);
}

/// Waits until something was pushed since the last call.
pub(super) fn wait() {
    let Some(event) = WAKE.get() else { return };
    let _ = poll(&mut [PollFd::new(event, PollFlags::IN)], None);
    let _ = rustix::io::read(event, &mut [0u8; 8]);
}

/// Takes all lines, in the order in which they were pushed, and the number of lost ones.
pub(super) fn take() -> (Vec<Line>, u64) {
    (collect(&SHARDS), LOST.swap(0, Ordering::Relaxed))
}

fn collect(shards: &[Shard]) -> Vec<Line> {
    let mut entries = Vec::with_capacity(SHARD_LINES);
    for shard in shards {
        // One at a time, so that a shard is never held for longer than one line takes to move.
        loop {
            let entry = shard
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .pop_front();
            match entry {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
    }
    entries.sort_by_key(|entry| entry.order);
    entries
        .iter()
        .map(|entry| {
            Line::new(
                entry.at_us,
                entry.level,
                Source::Orthrus,
                entry.text.as_str(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(order: u64) -> Entry {
        let mut text = Text::new();
        text.append(&order.to_string());
        Entry {
            order,
            at_us: order,
            level: Level::Info,
            text,
        }
    }

    fn shards() -> [Shard; 2] {
        [Mutex::new(Deque::new()), Mutex::new(Deque::new())]
    }

    #[test]
    fn lines_leave_in_order_even_when_a_shard_was_held() {
        let (shards, lost) = (shards(), AtomicU64::new(0));
        offer(&shards, &lost, entry(0));
        let held = shards[0].lock().unwrap();
        offer(&shards, &lost, entry(1));
        drop(held);
        offer(&shards, &lost, entry(2));
        let texts: Vec<String> = collect(&shards).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["0", "1", "2"]);
        assert_eq!(lost.into_inner(), 0);
    }

    #[test]
    fn full_or_held_queue_drops_and_counts_and_never_waits() {
        let (shards, lost) = (shards(), AtomicU64::new(0));
        for order in 0..2 * SHARD_LINES as u64 + 5 {
            offer(&shards, &lost, entry(order));
        }
        assert_eq!(lost.load(Ordering::Relaxed), 5);
        let (_a, _b) = (shards[0].lock().unwrap(), shards[1].lock().unwrap());
        offer(&shards, &lost, entry(0));
        assert_eq!(lost.load(Ordering::Relaxed), 6);
    }
}
