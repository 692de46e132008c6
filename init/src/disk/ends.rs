//! The first and the last blocks of a disk, which two kinds of threads of this head write: whoever makes it a member or bare, and
//! the watch, which writes a block there over with what it read a moment before ([`crate::fence`]).
//!
//! What was written between the two steps of the watch would be undone by the second one: with blocks of 4 KiB that is the label of a new
//! member, or what a wipe had taken away. So neither begins while the other is at it. The watch does not wait, as it looks again a moment
//! later; whoever writes there waits with a limit, as a path that hangs may hold a step of the watch for ever.
//!
//! Rejected: the [`super::turn`] at a disk, which a failover of paths waits for, and which a probe by the path that failed would hold; and
//! a watch that begins only when the labels are written, as wipes come while there is one.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DiskId;
use crate::sync::lock;

/// How far the ends go that the watch may write in: where superblocks of MD are, and before them ([`crate::array::spare_block`]).
pub const FRONT_BYTES: u64 = 4096;
/// The same at the end, where a block of any size may be the last one.
pub const BACK_BYTES: u64 = 64 << 10;

#[derive(Default)]
struct State {
    rewrites: usize,
    is_written: bool,
}

static DISKS: Mutex<BTreeMap<DiskId, State>> = Mutex::new(BTreeMap::new());
static ENDED: Condvar = Condvar::new();

/// While it lives, what was read there may be written again.
pub struct Rewrite(DiskId);

/// While it lives, nobody rewrites.
pub struct Alone(DiskId);

fn leave(disk: &DiskId, change: impl Fn(&mut State)) {
    let mut disks = lock(&DISKS);
    if let Some(state) = disks.get_mut(disk) {
        change(state);
        if state.rewrites == 0 && !state.is_written {
            disks.remove(disk);
        }
    }
    ENDED.notify_all();
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        leave(&self.0, |state| state.rewrites -= 1);
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        leave(&self.0, |state| state.is_written = false);
    }
}

/// Begins to read what will be written again, by whichever path; `None` while somebody writes there, or waits to.
pub fn rewrite(disk: &DiskId) -> Option<Rewrite> {
    let mut disks = lock(&DISKS);
    let state = disks.entry(disk.clone()).or_default();
    if state.is_written {
        return None;
    }
    state.rewrites += 1;
    Some(Rewrite(disk.clone()))
}

/// Begins to write there, when what was begun before is over; `None` when it is not within that time.
pub fn alone(disk: &DiskId, limit: Duration) -> Option<Alone> {
    let begun = Instant::now();
    let mut alone = None;
    let mut disks = lock(&DISKS);
    loop {
        let state = disks.entry(disk.clone()).or_default();
        if alone.is_none() && !state.is_written {
            state.is_written = true;
            alone = Some(disk.clone());
        }
        if state.rewrites == 0
            && let Some(disk) = alone.take()
        {
            return Some(Alone(disk));
        }
        let Some(left) = limit.checked_sub(begun.elapsed()) else {
            drop(disks);
            drop(alone.map(Alone));
            return None;
        };
        let waited = ENDED.wait_timeout(disks, left);
        disks = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_rewritten_while_somebody_writes_and_nobody_writes_before_that_is_over() {
        let [one, two] = ["ends-1", "ends-2"].map(|serial| DiskId(serial.to_owned()));
        let long = Duration::from_secs(600);
        let paths = [rewrite(&one).unwrap(), rewrite(&one).unwrap()];
        assert!(alone(&one, Duration::from_millis(1)).is_none());
        assert!(
            rewrite(&one).is_some(),
            "whoever gave up is in nobody's way"
        );
        assert!(alone(&two, Duration::ZERO).is_some());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| alone(&one, long).unwrap());
            while rewrite(&one).is_some() {
                std::thread::yield_now();
            }
            assert!(!waits.is_finished(), "both paths are at it");
            drop(paths);
            let writes = waits.join().unwrap();
            assert!(rewrite(&one).is_none() && alone(&one, Duration::ZERO).is_none());
            assert!(rewrite(&two).is_some());
            drop(writes);
        });
        assert!(rewrite(&one).is_some());
        assert!(!lock(&DISKS).contains_key(&one), "nothing is kept");
    }
}
