//! The pool is held here: importing, serving, letting go.

use embassy_time::{Duration, Instant};

use crate::action::{Done, Failure, ResetReason, Work};
use crate::config::Timing;
use crate::ledger::Record;
use crate::wire::{PoolBeat, PoolState, Wish};
use crate::{Epoch, HeadId, Incarnation};

use super::{Fault, Making, Next, Pause, Pool, Rest, State, Step, View, Wanted};

/// Failures in a row that are counted: each doubles the pause, which has a limit of its own.
const FAILURES_MAX: u32 = 8;

impl Pool {
    /// The epoch under which this head may have keys on disks.
    pub(crate) fn held(&self) -> Option<Epoch> {
        match self.state {
            State::Claiming {
                step: Step::Claim { epoch, .. },
                ..
            }
            | State::Making(Making::Make { epoch, .. })
            | State::Importing { epoch, .. }
            | State::Serving { epoch }
            | State::Releasing { epoch, .. } => Some(epoch),
            State::Claiming { .. }
            | State::Making(_)
            | State::Standby { .. }
            | State::Faulted(_) => None,
        }
    }

    /// Whoever says that it holds nothing, and knows of the claim that is held here, has nothing under way: what it began before
    /// is ended, or ended with its last boot, and it began nothing since, as this claim stands.
    pub(super) fn listen_for_the_end(&mut self, view: &View) {
        let ended = |beat: PoolBeat| {
            !beat.state.may_hold() && self.held().is_some_and(|held| beat.epoch >= held)
        };
        self.peer_is_done |= !view.digest_differs && view.listening_peer().is_some_and(ended);
    }

    pub(super) fn begin_import(&mut self, epoch: Epoch, view: &View) -> Wanted {
        let job = self.job(epoch, Work::Import);
        let until = view.now + view.timing.import_limit;
        self.state = State::Importing {
            ticket: job.ticket,
            epoch,
            until,
        };
        Wanted::Run(job)
    }

    pub(super) fn release(&mut self, epoch: Epoch, next: Next, view: &View) -> Wanted {
        let job = self.job(epoch, Work::Release);
        let limit = match self.health.shelf {
            true => view.timing.broken_release_limit,
            false => view.timing.release_limit,
        };
        let until = view.now + limit;
        self.state = State::Releasing {
            ticket: job.ticket,
            epoch,
            until,
            next,
        };
        Wanted::Run(job)
    }

    pub(super) fn fail(&mut self, fault: Fault, view: &View) {
        let Timing {
            retry, retry_max, ..
        } = view.timing;
        let after = |failures: u32| view.now + (retry * (1 << failures)).min(retry_max);
        self.state = State::Faulted(Pause {
            retry_at: after(self.failures),
            stand_by_at: after(self.setbacks),
            peer_served: false,
        });
        for count in [&mut self.failures, &mut self.setbacks] {
            *count = (*count + 1).min(FAILURES_MAX);
        }
        self.last_fault = fault;
    }

    /// An import or a release is under way.
    pub(super) fn decide_changing(
        &self,
        stuck: Option<ResetReason>,
        epoch: Epoch,
        view: &View,
    ) -> Option<Wanted> {
        stuck
            .or_else(|| self.replaced(epoch, view))
            .map(Wanted::Reset)
    }

    pub(super) fn decide_serving(&mut self, epoch: Epoch, view: &View) -> Option<Wanted> {
        if let Some(reason) = self.replaced(epoch, view) {
            return Some(Wanted::Reset(reason));
        }
        let standby = view
            .listening_peer()
            .filter(|beat| beat.state == PoolState::Standby);
        let asked = standby.is_some_and(|beat| beat.wish == Wish::Request);
        // A peer that does not hear us takes nothing that we let go: it would come back, again and again.
        let better = standby.filter(|beat| beat.health.burden() < self.health.burden());
        let worse = better.is_some() && view.is_heard;
        self.worse_since = match worse {
            true => self.worse_since.or(Some(view.now)),
            false => None,
        };
        let settled = self
            .worse_since
            .is_some_and(|since| view.now >= since + view.timing.health_settle);
        (asked || settled || view.retiring).then(|| self.release(epoch, Next::Offer, view))
    }

    /// The peer serves what we hold, under a newer epoch: our claim is history.
    fn replaced(&self, epoch: Epoch, view: &View) -> Option<ResetReason> {
        view.peer()
            .filter(|beat| matches!(beat.state, PoolState::Importing | PoolState::Serving))
            .filter(|beat| beat.epoch > epoch)
            .map(|_| ResetReason::Replaced(self.id))
    }

    /// Whether a claim took the pool from a peer that did not let go; told once.
    pub(crate) fn take_fenced(&mut self) -> bool {
        core::mem::take(&mut self.fenced)
    }

    /// A record was written to the ledger.
    pub(crate) fn recorded(&mut self, sequence: u64) {
        if let Some(lease) = &mut self.lease {
            lease.renewed(sequence);
        }
    }

    /// Whether the hardware watchdog may be fed as far as this pool is concerned.
    pub(crate) fn may_feed(&self, now: Instant) -> bool {
        self.lease_lost(now).is_none()
    }

    pub(super) fn lease_lost(&self, now: Instant) -> Option<ResetReason> {
        let lease = self.lease.as_ref()?;
        (!lease.holds(now)).then_some(ResetReason::LeaseLost(self.id))
    }

    /// The next record for the ledger, when one is due. From the end of the claim on, so that the peer sees it tick
    /// before the import, which may take long.
    pub(crate) fn record(
        &mut self,
        head: HeadId,
        incarnation: Incarnation,
        interval: Duration,
        now: Instant,
    ) -> Option<Record> {
        let epoch = match self.state {
            State::Importing { epoch, .. }
            | State::Serving { epoch }
            | State::Releasing { epoch, .. } => epoch,
            State::Standby { .. }
            | State::Claiming { .. }
            | State::Making(_)
            | State::Faulted(_) => {
                self.recorded = None;
                return None;
            }
        };
        let state = self.state();
        let due = self
            .recorded
            .is_none_or(|(told, at)| told != state || now >= at + interval);
        if !due {
            return None;
        }
        self.recorded = Some((state, now));
        self.records += 1;
        Some(Record {
            head,
            incarnation,
            state,
            epoch,
            sequence: self.records,
            lease: self.lease.as_mut().map(|held| {
                held.renew(self.records, now);
                held.lease
            }),
        })
    }

    pub(super) fn import_ended(
        &mut self,
        epoch: Epoch,
        result: Result<Done, Failure>,
        view: &View,
    ) -> Option<Wanted> {
        match result {
            Ok(Done::Imported) => {
                self.failures = 0;
                self.setbacks = 0;
                self.state = State::Serving { epoch };
                None
            }
            Ok(_) => None,
            Err(fault) => Some(self.release(epoch, Next::Fault(fault), view)),
        }
    }

    pub(super) fn release_ended(
        &mut self,
        next: Next,
        result: Result<Done, Failure>,
        view: &View,
    ) -> Option<Wanted> {
        if result == Ok(Done::Released) {
            self.lease = None;
        }
        match (result, next) {
            (Ok(Done::Released), Next::Offer) => {
                self.unserved_since = None;
                self.rest_until(Rest::Offered, view.now + view.timing.offer_limit);
                None
            }
            (Ok(Done::Released), Next::Fault(fault)) => {
                self.fail(fault, view);
                None
            }
            (Ok(_), _) => None,
            (Err(_), _) => Some(Wanted::Reset(ResetReason::ReleaseStuck(self.id))),
        }
    }

    /// A watcher found a reservation gone. Only the claim that is held now can be lost.
    pub(crate) fn fence_lost(&self, epoch: Epoch) -> Option<ResetReason> {
        (self.held() == Some(epoch)).then_some(ResetReason::FenceLost(self.id))
    }

    /// Whether a head that halts may do so now: nothing of the pool is left on it.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Standby { .. } | State::Faulted(_))
    }
}
