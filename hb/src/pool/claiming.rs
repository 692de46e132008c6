//! Looking at the disks, choosing the epoch, taking the reservations.

use embassy_time::Instant;

use crate::Epoch;
use crate::action::{Authority, Done, Failure, Holder, ResetReason, Work};
use crate::lease::HeldLease;
use crate::peer::Liveness;
use crate::wire::PoolState;

use super::{Pool, Rest, State, Step, View, Wanted};

/// No record of a claim by lease has a greater sequence, except the one that takes it back.
const CLAIM_RECORDS: u64 = 1;

impl Pool {
    pub(super) fn survey(&mut self, authority: Authority, view: &View) -> Wanted {
        let job = self.job(Epoch::NONE, Work::Survey);
        self.state = State::Claiming {
            authority,
            step: Step::Survey {
                ticket: job.ticket,
                until: view.now + view.timing.survey_limit,
            },
        };
        Wanted::Run(job)
    }

    fn claimed(&mut self, epoch: Epoch, view: &View) -> Wanted {
        self.known = self.known.max(epoch);
        self.fenced |= self.preempts;
        self.begin_import(epoch, view)
    }

    /// `covers`: the newest key of the peer's that the look found, if the right is one to remove it. What is found there under a newer
    /// one, and an older one than the claim's, was registered after the look by a peer that lives: numbers are apart by
    /// more than one when a claim of ours failed that the peer does not know of.
    /// `peer_is_done`: see [`Job`](crate::Job).
    fn claim(
        &mut self,
        authority: Authority,
        epoch: Epoch,
        covers: Epoch,
        peer_is_done: bool,
        view: &View,
    ) -> Wanted {
        self.tried = self.tried.max(epoch);
        self.preempts &= authority == Authority::PeerDead;
        self.peer_is_done = peer_is_done;
        let job = self.job(epoch, Work::Claim { authority, covers });
        self.state = State::Claiming {
            authority,
            step: Step::Claim {
                ticket: job.ticket,
                epoch,
                until: view.now + view.timing.claim_limit,
            },
        };
        Wanted::Run(job)
    }

    pub(super) fn decide_claiming(
        &mut self,
        authority: Authority,
        step: Step,
        view: &View,
    ) -> Option<Wanted> {
        match step {
            // A look holds nothing, may never end, and whatever it finds gives no right any more.
            Step::Confirm { .. } | Step::Survey { .. } if view.retiring => {
                self.rest_until(Rest::Offered, view.now);
                None
            }
            Step::Confirm { mark, held, until } => {
                self.decide_confirm(authority, (mark, held), until, view)
            }
            Step::Survey { ticket, until } => {
                if view.now >= until && self.state() != PoolState::Faulted {
                    // Whatever it finds when it does come back gives no right to preempt any more.
                    self.failures = self.failures.max(1);
                    self.last_fault = Failure::Device;
                    self.state = State::Claiming {
                        authority: Authority::Free,
                        step: Step::Survey { ticket, until },
                    };
                }
                None
            }
            Step::Claim { until, .. } => {
                (view.now >= until).then_some(Wanted::Reset(ResetReason::ClaimStuck(self.id)))
            }
        }
    }

    fn decide_confirm(
        &mut self,
        authority: Authority,
        (mark, held): (u64, Epoch),
        until: Instant,
        view: &View,
    ) -> Option<Wanted> {
        let Some(word) = view.word.filter(|_| view.liveness == Liveness::Alive) else {
            self.rest_until(Rest::PeerHolds, view.now);
            return None;
        };
        if word.beat.state.may_hold() {
            self.rest_until(Rest::PeerHolds, view.now);
            return None;
        }
        if word.acknowledged.iter().any(|&heard| heard >= mark) {
            // Not the number of the survey: the peer may have told of a greater one since.
            return match self.next_epoch() {
                Some(epoch) => Some(self.claim(authority, epoch, held, true, view)),
                None => {
                    self.fail(Failure::Refused, view);
                    None
                }
            };
        }
        if view.now >= until {
            // Twice the wait of a head that is not home: its own keys are no obstacle to it.
            let rest = Rest::HeldByDeafPeer(held);
            self.rest_until(rest, view.now + view.timing.home_wait * 2);
        }
        None
    }

    pub(super) fn survey_ended(
        &mut self,
        authority: Authority,
        result: Result<Done, Failure>,
        view: &View,
    ) -> Option<Wanted> {
        match result {
            Ok(Done::Surveyed { greatest, holder }) => {
                self.surveyed(authority, greatest, holder, view)
            }
            Ok(_) => None,
            Err(failure) => {
                self.claim_failed(failure, view);
                None
            }
        }
    }

    pub(super) fn claim_ended(
        &mut self,
        epoch: Epoch,
        result: Result<Done, Failure>,
        view: &View,
    ) -> Option<Wanted> {
        match result {
            Ok(Done::Claimed) => Some(self.claimed(epoch, view)),
            Ok(Done::Leased { lease, submitted }) => {
                self.lease = Some(HeldLease::new(lease, submitted));
                // The claim itself wrote records of its own, and those that follow must be newer. The first of them is even, and
                // not where the claim's last one is: while it is written a rival's look must still find that.
                self.records = self.records.max(CLAIM_RECORDS) | 1;
                Some(self.claimed(epoch, view))
            }
            Ok(_) => None,
            Err(failure) => {
                self.claim_failed(failure, view);
                None
            }
        }
    }

    /// The number of the next claim. Never that of an earlier attempt: what is left of it must not be taken for
    /// this one.
    pub(super) fn next_epoch(&self) -> Option<Epoch> {
        self.known.max(self.seen).max(self.tried).next()
    }

    fn surveyed(
        &mut self,
        authority: Authority,
        greatest: Epoch,
        holder: Holder,
        view: &View,
    ) -> Option<Wanted> {
        self.seen = self.seen.max(greatest);
        let Some(epoch) = self.next_epoch() else {
            self.fail(Failure::Refused, view);
            return None;
        };
        // The world may have changed while the worker looked.
        if view.peer().is_some_and(|beat| beat.state.may_hold()) {
            self.rest_until(Rest::PeerHolds, view.now);
            return None;
        }
        let revived = view.liveness == Liveness::Alive;
        // A right that the peer's death gave ends with its return, on whatever link.
        let authority = match authority {
            Authority::PeerDead if !view.peer_is_dead() => Authority::Free,
            authority => authority,
        };
        self.preempts = matches!(holder, Holder::Peer(_));
        // It knows of the last claim that anybody knows of, so it said so after that, and after what it may have held before. An
        // older word may have been on its way all the while.
        let peer_is_done = revived
            && !view.digest_differs
            && view
                .peer()
                .is_some_and(|beat| beat.epoch >= self.known.max(self.seen));
        match (holder, authority) {
            (Holder::Stranger, _) => {
                self.fail(Failure::Stranger, view);
                None
            }
            (Holder::Peer(held), Authority::Operator) => {
                Some(self.claim(authority, epoch, held, false, view))
            }
            (Holder::Nobody, Authority::Operator | Authority::PeerDead) => {
                Some(self.claim(authority, epoch, Epoch::NONE, false, view))
            }
            // The peer holds nothing and says so: there is nothing to preempt, and no right to. A key that is found
            // there all the same is of a claim that it began after we looked.
            (Holder::Nobody, Authority::PeerYields | Authority::PeerLetGo) => {
                Some(self.claim(Authority::PeerLetGo, epoch, Epoch::NONE, peer_is_done, view))
            }
            (Holder::Nobody, Authority::Free) => {
                Some(self.claim(authority, epoch, Epoch::NONE, false, view))
            }
            (Holder::Peer(held), Authority::PeerYields) if view.digest_differs => {
                self.fail(Failure::HeldByPeer(held), view);
                None
            }
            (Holder::Peer(held), Authority::PeerYields) => {
                let step = Step::Confirm {
                    mark: view.mark,
                    held,
                    until: view.now + view.timing.retry,
                };
                self.state = State::Claiming { authority, step };
                None
            }
            (Holder::Peer(_), _) if revived => {
                self.rest_until(Rest::PeerHolds, view.now);
                None
            }
            (Holder::Peer(held), Authority::PeerDead) if held <= self.known => {
                Some(self.claim(authority, epoch, held, false, view))
            }
            (Holder::Peer(held), Authority::PeerDead | Authority::PeerLetGo | Authority::Free) => {
                let rest = Rest::HeldByUnheardPeer(held);
                self.rest_until(rest, view.now + view.timing.retry);
                None
            }
        }
    }

    fn claim_failed(&mut self, failure: Failure, view: &View) {
        match failure {
            // The rival's claim is the news: it lives, or its keys are newer than we were told.
            Failure::HeldByPeer(held) => {
                self.seen = self.seen.max(held);
                let rest = match view.liveness {
                    Liveness::Alive => Rest::PeerHolds,
                    Liveness::Unheard | Liveness::Dead | Liveness::LinksLost => {
                        Rest::HeldByUnheardPeer(held)
                    }
                };
                self.rest_until(rest, view.now + view.timing.retry);
            }
            fault => self.fail(fault, view),
        }
    }
}
