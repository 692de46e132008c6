//! Whose turn it is at a disk, among the threads of this head that send commands of their own accord.
//!
//! PREEMPT AND ABORT may abort commands of whoever sends it. The kernel's target notes with each command the key under which the disk is
//! reserved, whoever sent it (`target_scsi3_pr_reservation_check`), and aborts those with the victim's: a standby that takes the
//! disk from an owner aborts its own reads. Then it waits until the answer to each of them was acknowledged, in the very
//! thread that would hear so for that session (`target_put_cmd_and_wait`, `iscsit_ack_from_expstatsn`). So one read
//! under way, of the ledger's ten a second say, hangs the session for ever, and with it the takeover. (By reading the kernel. A takeover
//! that hung like that was seen once in some fifty.)
//!
//! A turn is taken for one command. Whoever must go on in any case waits for it with a limit, as the other's command may be one that a
//! dead disk never answers.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DiskId;
use crate::sync::lock;

static TAKEN: Mutex<BTreeSet<DiskId>> = Mutex::new(BTreeSet::new());
static ENDED: Condvar = Condvar::new();

/// While it lives, it is nobody else's turn at the disk.
pub struct Turn(DiskId);

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&TAKEN).remove(&self.0);
        ENDED.notify_all();
    }
}

/// Waits for the turn at a disk.
pub fn take(disk: &DiskId) -> Turn {
    let mut taken = lock(&TAKEN);
    while !taken.insert(disk.clone()) {
        taken = ENDED.wait(taken).unwrap_or_else(PoisonError::into_inner);
    }
    Turn(disk.clone())
}

/// The same for so long at most; `None` when it did not come.
pub fn take_within(disk: &DiskId, limit: Duration) -> Option<Turn> {
    let begun = Instant::now();
    let mut taken = lock(&TAKEN);
    while !taken.insert(disk.clone()) {
        let left = limit.checked_sub(begun.elapsed())?;
        let waited = ENDED.wait_timeout(taken, left);
        taken = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    Some(Turn(disk.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_before_the_next_one_begins_and_each_disk_has_its_own() {
        let [one, two] = ["turn-1", "turn-2"].map(|serial| DiskId(serial.to_owned()));
        let first = take(&one);
        assert!(take_within(&one, Duration::ZERO).is_none());
        assert!(take_within(&one, Duration::from_millis(1)).is_none());
        drop(take(&two));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| drop(take(&one)));
            let waits_too = scope.spawn(|| take_within(&one, Duration::from_secs(600)).is_some());
            drop(first);
            waits.join().unwrap();
            assert!(waits_too.join().unwrap());
        });
        assert!(take_within(&one, Duration::ZERO).is_some());
    }
}
