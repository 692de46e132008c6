//! The lease on a pool whose disks have no reservations: the owner's side of it.
//!
//! Nothing keeps a former owner from such disks but itself. So it may use them only for as long as its last renewal
//! lasts, counted from before the renewal was submitted, and it feeds its hardware watchdog only within that time:
//! whatever hangs, the machine is gone by the end of lease and watchdog together. The peer reads both times in
//! the owner's record and waits for their sum, and for what may still be under way then.
//!
//! It cannot cover a virtual machine that is paused and resumed: the watchdog is paused with it, and what it had
//! submitted is written when it goes on.

use core::hash::Hasher;

use embassy_time::{Duration, Instant};
use heapless::Deque;

use crate::fingerprint::Print;
use crate::ledger::Lease;

/// Renewals under way that are remembered. One is written at a time and they come four times a second, so this
/// is several times the longest lease; older ones could not prolong anything any more.
const PENDING_MAX: usize = 64;

/// A lease that is held.
#[derive(Clone)]
pub(crate) struct HeldLease {
    /// Its times, as the records tell them.
    pub(crate) lease: Lease,
    until: Instant,
    /// Renewals that were handed out: their number, and when.
    pending: Deque<(u64, Instant), PENDING_MAX>,
}

impl HeldLease {
    /// Of a claim whose last record was submitted at `submitted`.
    pub(crate) fn new(lease: Lease, submitted: Instant) -> HeldLease {
        HeldLease {
            lease,
            until: submitted + length(lease),
            pending: Deque::new(),
        }
    }

    /// A renewal is handed to its writer: its time runs from now on, before it is submitted.
    pub(crate) fn renew(&mut self, sequence: u64, now: Instant) {
        if self.pending.is_full() {
            self.pending.pop_front();
        }
        // There is room now.
        let _ = self.pending.push_back((sequence, now));
    }

    /// A renewal is on a disk.
    pub(crate) fn renewed(&mut self, sequence: u64) {
        while let Some(&(number, submitted)) = self.pending.front() {
            if number > sequence {
                break;
            }
            self.pending.pop_front();
            if number == sequence {
                self.until = self.until.max(submitted + length(self.lease));
            }
        }
    }

    /// The identity of the lease; `last`: the number of the last record.
    pub(crate) fn fingerprint<H: Hasher>(&self, last: u64, print: &mut Print<'_, H>) {
        let HeldLease {
            lease,
            until,
            pending,
        } = self;
        print.put((lease, pending.len()));
        print.until(*until);
        for (number, submitted) in pending {
            print.put(last.wrapping_sub(*number));
            print.until(*submitted + length(*lease));
        }
    }

    /// Whether the pool may still be used.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        now < self.until
    }
}

fn length(lease: Lease) -> Duration {
    Duration::from_millis(u64::from(lease.lease_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn held() -> HeldLease {
        let lease = Lease {
            lease_ms: 4000,
            watchdog_ms: 10_000,
            io_ms: 10_000,
            watchdog_armed: true,
        };
        HeldLease::new(lease, at(1000))
    }

    #[test]
    fn a_lease_runs_from_the_submission_of_a_renewal_that_completed() {
        let mut held = held();
        assert!(held.holds(at(4999)) && !held.holds(at(5000)));
        held.renew(1, at(2000));
        held.renew(2, at(3000));
        // On its way is not there.
        assert!(!held.holds(at(5000)));
        held.renewed(1);
        assert!(held.holds(at(5999)) && !held.holds(at(6000)));
        // The latest value is written: one in between may be passed over.
        held.renew(3, at(4000));
        held.renewed(3);
        assert!(held.holds(at(7999)) && !held.holds(at(8000)));
    }

    #[test]
    fn an_old_renewal_or_an_unknown_one_prolongs_nothing() {
        let mut held = held();
        held.renew(1, at(2000));
        held.renew(2, at(3000));
        held.renewed(2);
        held.renewed(1);
        held.renewed(9);
        assert!(!held.holds(at(7000)));
    }
}
