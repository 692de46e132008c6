//! The pool does not exist yet, and an operator makes it here.
//!
//! ```text
//!  Turn ──► Inspect ──► Make ──► Importing
//!   the peer   the disks   take them and   as after
//!   gives way  are free    write the pool  any claim
//! ```
//!
//! For the peer all of it is *claiming*: it begins nothing of its own meanwhile, not even when it is faulted and its pause
//! is over. The claim under which the pool is written is the one under which it is imported: there is no moment in
//! which the pool exists and nobody holds it, and so nobody to race for it.
//!
//! Decisions:
//! - A living peer is waited for until it has said, in a frame from after it had heard that we are *claiming*,
//!   that it claims nothing. From then on it gives way, so that at most one head makes a pool, and no look of the other
//!   at the disks falls between. Two that are told to at the same time wait for each other, and neither makes it.
//! - Nothing of the peer's is ever preempted: a key of it on a bare disk may be of another pool, of which its word on
//!   this one says nothing.
//!
//! Rejected: making the pool under a claim of the worker's own, and letting go of it. Both heads were faulted for want of
//! the pool and looked again by their own clocks; any of them took it, or the peer a half-written one from its maker.

use embassy_time::Instant;

use crate::Epoch;
use crate::action::{Done, Failure, Holder, ResetReason, Ticket, Work};
use crate::command::{Accepted, Refusal};
use crate::link::LinkId;
use crate::peer::Liveness;
use crate::told::Told;
use crate::wire::PoolState;

use super::{Pool, Rest, State, View, Wanted};

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Making {
    /// Waits until the peer, if it is alive, says that it claims nothing, in a frame that it sent after it had heard what it
    /// was told on one of the links.
    Turn {
        told: [Told; LinkId::ALL.len()],
        /// Longer than a look of the peer's may take.
        until: Instant,
    },
    /// The worker looks whether the disks are free.
    Inspect {
        ticket: Ticket,
        /// It should have ended. It holds nothing, so past this the peer may go on.
        until: Instant,
        is_late: bool,
    },
    /// The worker takes them and writes the pool.
    Make {
        ticket: Ticket,
        epoch: Epoch,
        /// It must have ended.
        until: Instant,
    },
}

impl Pool {
    /// Begins to make it.
    pub(crate) fn make(&mut self, view: &View) -> Result<(Accepted, Option<Wanted>), Refusal> {
        match self.state {
            State::Serving { .. } | State::Importing { .. } => return Err(Refusal::AlreadyThere),
            State::Claiming { .. } | State::Making(_) | State::Releasing { .. } => {
                return Err(Refusal::Busy);
            }
            State::Standby { .. } | State::Faulted(_) => {}
        }
        // A peer that was not heard yet may be about to be.
        let unheard = view.liveness == Liveness::Unheard && !view.has_waited();
        match view.peer().map(|beat| beat.state) {
            _ if unheard => return Err(Refusal::Busy),
            Some(PoolState::Releasing) => return Err(Refusal::Busy),
            Some(PoolState::Importing | PoolState::Serving) => return Err(Refusal::PeerHolds),
            // Most likely a look for the pool, which ends without one: it is waited for.
            Some(PoolState::Claiming | PoolState::Standby | PoolState::Faulted) | None => {}
        }
        self.state = State::Making(Making::Turn {
            told: Default::default(),
            until: view.now + view.timing.survey_limit * 2,
        });
        Ok((Accepted::Claiming, None))
    }

    /// A beat with this number tells of the pool on a link.
    pub(crate) fn said(&mut self, link: LinkId, number: u64) {
        if let State::Making(Making::Turn { told, .. }) = &mut self.state {
            told[link.index()].say(number);
        }
    }

    /// By link, what a frame of the peer's acknowledges.
    pub(crate) fn acknowledged(&mut self, heard: &[u64; LinkId::ALL.len()]) {
        if let State::Making(Making::Turn { told, .. }) = &mut self.state {
            let told = told.iter_mut().zip(heard);
            told.for_each(|(told, &heard)| told.acknowledge(heard));
        }
    }

    /// It boots anew, and has heard nothing of this one's.
    pub(crate) fn peer_booted(&mut self) {
        if let State::Making(Making::Turn { told, .. }) = &mut self.state {
            told.iter_mut().for_each(Told::forget);
        }
    }

    pub(super) fn decide_making(&mut self, making: Making, view: &View) -> Option<Wanted> {
        match making {
            // A look holds nothing, and may never end.
            Making::Turn { .. } | Making::Inspect { .. } if view.retiring => {
                self.rest_until(Rest::Offered, view.now);
                None
            }
            Making::Turn { told, until } => self.decide_turn(told, until, view),
            Making::Inspect {
                ticket,
                until,
                is_late: false,
            } if view.now >= until => {
                self.failures = self.failures.max(1);
                self.last_fault = Failure::Device;
                self.state = State::Making(Making::Inspect {
                    ticket,
                    until,
                    is_late: true,
                });
                None
            }
            Making::Inspect { .. } => None,
            Making::Make { until, .. } => {
                (view.now >= until).then_some(Wanted::Reset(ResetReason::ClaimStuck(self.id)))
            }
        }
    }

    fn decide_turn(
        &mut self,
        told: [Told; LinkId::ALL.len()],
        until: Instant,
        view: &View,
    ) -> Option<Wanted> {
        let gives_way = match (view.liveness, view.word) {
            (Liveness::Alive, Some(word)) => {
                let mut told = told.iter().zip(word.acknowledged);
                told.any(|(told, heard)| told.was_heard_by(heard)) && !word.beat.state.may_hold()
            }
            // It lives, and did not say yet what it does.
            (Liveness::Alive, None) => false,
            // It cannot be asked: only what is free is taken, and the arbiter decides.
            (_, word) => !word.is_some_and(|word| word.beat.state.may_hold()),
        };
        if gives_way {
            let job = self.job(Epoch::NONE, Work::Inspect);
            self.state = State::Making(Making::Inspect {
                ticket: job.ticket,
                until: view.now + view.timing.survey_limit,
                is_late: false,
            });
            return Some(Wanted::Run(job));
        }
        if view.now >= until {
            self.fail(Failure::Refused, view);
        }
        None
    }

    pub(super) fn inspect_ended(
        &mut self,
        is_late: bool,
        result: Result<Done, Failure>,
        view: &View,
    ) -> Option<Wanted> {
        let greatest = match result {
            Ok(Done::Surveyed { greatest, holder }) => {
                self.seen = self.seen.max(greatest);
                (holder == Holder::Nobody && !is_late).then_some(greatest)
            }
            Ok(_) => return None,
            Err(_) => None,
        };
        // The world may have changed while the worker looked.
        if view.peer().is_some_and(|beat| beat.state.may_hold()) {
            self.rest_until(Rest::PeerHolds, view.now);
            return None;
        }
        let Some(epoch) = greatest.and_then(|_| self.next_epoch()) else {
            self.fail(result.err().unwrap_or(Failure::Refused), view);
            return None;
        };
        self.tried = self.tried.max(epoch);
        self.preempts = false;
        self.peer_is_done = false;
        let job = self.job(epoch, Work::Make);
        self.state = State::Making(Making::Make {
            ticket: job.ticket,
            epoch,
            until: view.now + view.timing.claim_limit,
        });
        Some(Wanted::Run(job))
    }
}
