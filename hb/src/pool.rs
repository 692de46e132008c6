//! The life of one pool on one head.
//!
//! ```text
//!            decide          survey, confirm         claimed          imported
//!  Standby ────────► Claiming ────────────► Claiming ───────► Importing ───────► Serving
//!     ▲  ▲              │ nothing to take       │ lost             │ failed         │ handover
//!     │  └──────────────┴───────────────────────┘                  ▼                ▼
//!     │  offer made, or given back                             Releasing ◄──────────┘
//!     └───────────────────────────────────────────────────────────┤
//!  Faulted ◄──────────────────────────────────────────────────────┘ after a failed import
//!     └─ after a pause: Claiming
//! ```
//!
//! - *Standby → Claiming*: nobody serves the pool and it is our turn. With a living peer the home
//!   head goes first; a peer that offers the pool, or failed to import it, makes it our turn.
//! - *Claiming* looks first ([`Work::Survey`]), chooses the epoch, says so in its beats, and only
//!   then takes anything. What it may preempt follows from its [`Authority`].
//! - *The claim itself, Importing, Releasing* have limits. Past them the worker is stuck in the kernel,
//!   nothing can be undone, and only a reset is certain.
//! - A look at the disks that does not end holds nothing. It is no reason for a reset (a shelf without
//!   power looks like this on both heads), but the peer must not wait for it: the pool is then faulted.
//!
//! Rejected: letting the worker choose the epoch during its claim. The peer would learn of it only
//! after the fact, and a head that died in between would leave keys newer than anything its peer
//! had heard, which is just what a rival's claim looks like.

use embassy_time::{Duration, Instant};

use crate::action::{Authority, Done, Failure, Holder, Job, Outcome, ResetReason, Ticket, Work};
use crate::command::{Accepted, Refusal};
use crate::config::{PoolId, Timing};
use crate::link::LinkId;
use crate::peer::{Liveness, Word};
use crate::wire::{PoolBeat, PoolState, Wish};
use crate::{Epoch, HeadId};

/// Longest pause between attempts at a pool that cannot be imported.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a pool rests on this head though it is not served here: a closed list, each with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Just booted; ends when the peer is heard or `peer_wait` is over.
    AwaitingPeer,
    /// The peer holds it. Ends when it lets go or dies.
    PeerHolds,
    /// Its home head may have it first; ends with a claim there, or after `home_wait` with ours.
    AwaitingHome,
    /// Offered to the peer; ends when it takes it, or after `offer_limit` with our own claim.
    Offered,
    /// Reserved, under this epoch, by a peer that cannot be heard and may well be alive. Ends when
    /// the peer is heard or lets go, or by `takeover`.
    HeldByUnheardPeer(Epoch),
}

/// What failed, for a pool that is [`PoolState::Faulted`].
pub type Fault = Failure;

#[derive(Clone, Copy, Debug)]
enum State {
    Standby {
        rest: Rest,
        /// No claim before this, unless the peer offers the pool.
        not_before: Instant,
        /// Our wish for the peer to let go, and when we stop wishing.
        request_until: Option<Instant>,
    },
    Claiming {
        authority: Authority,
        step: Step,
    },
    Importing {
        ticket: Ticket,
        epoch: Epoch,
        /// The import must have ended.
        until: Instant,
    },
    Serving {
        epoch: Epoch,
    },
    Releasing {
        ticket: Ticket,
        epoch: Epoch,
        /// The release must have ended.
        until: Instant,
        next: Next,
    },
    Faulted {
        /// The next attempt, unless the peer serves it by then.
        retry_at: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The worker reads keys and reservations.
    Survey {
        ticket: Ticket,
        /// The survey should have ended. It holds nothing, so past this the peer may go first.
        until: Instant,
    },
    /// The disks show keys of a peer that says it holds nothing: wait until it says so again, in a
    /// frame that acknowledges one of ours from after the survey.
    Confirm {
        epoch: Epoch,
        marks: [u32; LinkId::ALL.len()],
        /// No link may work both ways: past this the peer, whose keys they are, gets its turn.
        until: Instant,
    },
    /// The worker takes the reservations.
    Claim {
        ticket: Ticket,
        epoch: Epoch,
        /// The claim must have ended.
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
enum Next {
    /// The peer shall have it.
    Offer,
    /// It could not be imported here.
    Fault(Fault),
}

/// What a pool sees of the rest of the head when it decides.
pub(crate) struct View {
    pub(crate) now: Instant,
    pub(crate) booted: Instant,
    pub(crate) me: HeadId,
    pub(crate) timing: Timing,
    /// This head is about to halt: it lets go of everything and claims nothing.
    pub(crate) retiring: bool,
    pub(crate) liveness: Liveness,
    /// The peer, if it lives and only the cables are cut, is about to take what this head holds.
    pub(crate) yields: bool,
    pub(crate) word: Option<Word>,
    /// The peer runs another configuration: its pools may stand in another order, and what it says of this one
    /// may be of another.
    pub(crate) digest_differs: bool,
    /// The next sequence number of each link.
    pub(crate) marks: [u32; LinkId::ALL.len()],
}

impl View {
    /// The peer's last word of the pool, if the peer is alive.
    fn peer(&self) -> Option<PoolBeat> {
        self.word
            .filter(|_| self.liveness == Liveness::Alive)
            .map(|word| word.beat)
    }
}

/// What a pool asks of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Run(Job),
    Reset(ResetReason),
}

/// One pool on this head.
pub struct Pool {
    id: PoolId,
    home: HeadId,
    state: State,
    /// Greatest epoch that this head or its peer's beats vouch for.
    known: Epoch,
    /// Greatest epoch seen on the disks: for numbering only, it gives no right to preempt.
    seen: Epoch,
    /// Greatest epoch that this boot set out to claim under: for numbering, and for the peer, which may
    /// find keys up to it on the disks. A claim that failed may have left some, or lost the race
    /// for this very number, so it gives this head no right either.
    tried: Epoch,
    /// Since when the pool rests on both living heads.
    unserved_since: Option<Instant>,
    /// Attempts that failed in a row, for the pause between them.
    failures: u32,
    /// How the last of them failed.
    last_fault: Fault,
    tickets: u32,
}

impl Pool {
    pub(crate) fn new(id: PoolId, home: HeadId, now: Instant) -> Pool {
        Pool {
            id,
            home,
            state: State::Standby {
                rest: Rest::AwaitingPeer,
                not_before: now,
                request_until: None,
            },
            known: Epoch::NONE,
            seen: Epoch::NONE,
            tried: Epoch::NONE,
            unserved_since: None,
            failures: 0,
            last_fault: Failure::Device,
            tickets: 0,
        }
    }

    /// Its state, as beats say it. Looking for something free to take holds nothing and is not called
    /// claiming: it is what the pool was before.
    pub fn state(&self) -> PoolState {
        match self.state {
            State::Standby { .. } => PoolState::Standby,
            State::Claiming {
                authority: Authority::Free,
                step: Step::Survey { .. },
            } => match self.failures {
                0 => PoolState::Standby,
                _ => PoolState::Faulted,
            },
            State::Claiming { .. } => PoolState::Claiming,
            State::Importing { .. } => PoolState::Importing,
            State::Serving { .. } => PoolState::Serving,
            State::Releasing { .. } => PoolState::Releasing,
            State::Faulted { .. } => PoolState::Faulted,
        }
    }

    /// The epoch of the claim that is held or attempted, else the greatest known or ever attempted.
    pub fn epoch(&self) -> Epoch {
        self.held().unwrap_or(self.known.max(self.tried))
    }

    /// The head that the pool prefers.
    pub fn home(&self) -> HeadId {
        self.home
    }

    /// Why it rests here, when it is a standby.
    pub fn rest(&self) -> Option<Rest> {
        match self.state {
            State::Standby { rest, .. } => Some(rest),
            _ => None,
        }
    }

    /// What failed, when it is faulted.
    pub fn fault(&self) -> Option<Fault> {
        (self.state() == PoolState::Faulted).then_some(self.last_fault)
    }

    /// The epoch under which this head may have keys on disks.
    pub(crate) fn held(&self) -> Option<Epoch> {
        match self.state {
            State::Claiming {
                step: Step::Claim { epoch, .. },
                ..
            }
            | State::Importing { epoch, .. }
            | State::Serving { epoch }
            | State::Releasing { epoch, .. } => Some(epoch),
            State::Claiming { .. } | State::Standby { .. } | State::Faulted { .. } => None,
        }
    }

    /// What beats say of it.
    pub(crate) fn beat(&self) -> PoolBeat {
        let wish = match self.state {
            State::Standby {
                rest: Rest::Offered,
                ..
            } => Wish::Offer,
            State::Standby {
                request_until: Some(_),
                ..
            } => Wish::Request,
            _ => Wish::None,
        };
        PoolBeat {
            pool: self.id.0,
            state: self.state(),
            epoch: self.epoch(),
            wish,
        }
    }

    fn job(&mut self, epoch: Epoch, work: Work) -> Job {
        self.tickets = self.tickets.wrapping_add(1);
        Job {
            pool: self.id,
            ticket: Ticket(self.tickets),
            epoch,
            work,
        }
    }

    fn rest_until(&mut self, rest: Rest, not_before: Instant) {
        self.state = State::Standby {
            rest,
            not_before,
            request_until: None,
        };
    }

    fn survey(&mut self, authority: Authority, view: &View) -> Wanted {
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

    fn claim(&mut self, authority: Authority, epoch: Epoch, view: &View) -> Wanted {
        self.tried = self.tried.max(epoch);
        let job = self.job(epoch, Work::Claim { authority });
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

    fn release(&mut self, epoch: Epoch, next: Next, view: &View) -> Wanted {
        let job = self.job(epoch, Work::Release);
        let until = view.now + view.timing.release_limit;
        self.state = State::Releasing {
            ticket: job.ticket,
            epoch,
            until,
            next,
        };
        Wanted::Run(job)
    }

    fn fail(&mut self, fault: Fault, view: &View) {
        let pause = view.timing.retry * (1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        self.last_fault = fault;
        self.state = State::Faulted {
            retry_at: view.now + pause.min(RETRY_MAX),
        };
    }

    /// Looks at the world and decides; to be called after every input until it wants nothing.
    pub(crate) fn decide(&mut self, view: &View) -> Option<Wanted> {
        if let Some(beat) = view.peer() {
            self.known = self.known.max(beat.epoch);
        }
        match self.state {
            State::Standby { .. } | State::Faulted { .. } if view.retiring => None,
            State::Claiming {
                step: Step::Confirm { .. },
                ..
            } if view.retiring => {
                self.rest_until(Rest::Offered, view.now);
                None
            }
            State::Standby { .. } => self.decide_standby(view),
            State::Claiming {
                authority,
                step:
                    Step::Confirm {
                        epoch,
                        marks,
                        until,
                    },
            } => self.decide_confirm(authority, epoch, marks, until, view),
            State::Claiming {
                step: Step::Survey { ticket, until },
                ..
            } => {
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
            State::Claiming {
                step: Step::Claim { until, .. },
                ..
            } => (view.now >= until).then_some(Wanted::Reset(ResetReason::ClaimStuck(self.id))),
            State::Importing { until, epoch, .. } => {
                let stuck = (view.now >= until).then_some(ResetReason::ImportStuck(self.id));
                stuck
                    .or_else(|| self.replaced(epoch, view))
                    .map(Wanted::Reset)
            }
            State::Releasing { until, epoch, .. } => {
                let stuck = (view.now >= until).then_some(ResetReason::ReleaseStuck(self.id));
                stuck
                    .or_else(|| self.replaced(epoch, view))
                    .map(Wanted::Reset)
            }
            State::Serving { epoch } => {
                if let Some(reason) = self.replaced(epoch, view) {
                    return Some(Wanted::Reset(reason));
                }
                let asked = view.peer().is_some_and(|beat| {
                    beat.state == PoolState::Standby && beat.wish == Wish::Request
                });
                (asked || view.retiring).then(|| self.release(epoch, Next::Offer, view))
            }
            State::Faulted { retry_at, .. } => {
                let peer = view.peer().map(|beat| beat.state);
                if peer == Some(PoolState::Serving) {
                    // It works there: the next attempt here begins with a clean slate. Before that
                    // this head stays faulted, so that two heads that both fail do not send the
                    // pool back and forth without a pause.
                    self.failures = 0;
                    self.rest_until(Rest::PeerHolds, view.now);
                    return None;
                }
                let ours = view.now >= retry_at && !peer.is_some_and(PoolState::may_hold);
                ours.then(|| self.survey(authority(view.liveness), view))
            }
        }
    }

    /// The peer serves what we hold, under a newer epoch: our claim is history.
    fn replaced(&self, epoch: Epoch, view: &View) -> Option<ResetReason> {
        view.peer()
            .filter(|beat| matches!(beat.state, PoolState::Importing | PoolState::Serving))
            .filter(|beat| beat.epoch > epoch)
            .map(|_| ResetReason::Replaced(self.id))
    }

    fn decide_standby(&mut self, view: &View) -> Option<Wanted> {
        let State::Standby {
            rest,
            not_before,
            request_until,
        } = self.state
        else {
            return None;
        };
        let request_until = request_until.filter(|&until| view.now < until);
        let early = view.now < not_before;
        match view.liveness {
            Liveness::Unheard => {
                let waited = view.now >= view.booted + view.timing.peer_wait;
                (waited && !early).then(|| self.survey(Authority::Free, view))
            }
            Liveness::Dead => {
                self.unserved_since = None;
                if view.yields {
                    return None;
                }
                // Pauses are for the living, except the one between looks at what a silent peer holds.
                let early = early && matches!(rest, Rest::HeldByUnheardPeer(_));
                // A peer that claimed after it fell silent lives: look, but do not preempt.
                let lost = matches!(rest, Rest::HeldByUnheardPeer(_));
                let authority = if lost {
                    Authority::Free
                } else {
                    Authority::PeerDead
                };
                (!early).then(|| self.survey(authority, view))
            }
            Liveness::Alive => {
                let beat = view.peer()?;
                if beat.state.may_hold() {
                    self.unserved_since = None;
                    // Whatever was waited for before: when this peer dies there is no reason to wait.
                    self.state = State::Standby {
                        rest: Rest::PeerHolds,
                        not_before: view.now,
                        request_until,
                    };
                    return None;
                }
                // After a claim of ours that failed there is a pause, whatever the peer says meanwhile.
                // While it is our own offer that waits, the time is the peer's, not ours.
                let paused = early && rest != Rest::Offered;
                if beat.wish == Wish::Offer && !paused {
                    return Some(self.survey(Authority::PeerYields, view));
                }
                let since = *self.unserved_since.get_or_insert(view.now);
                let failed_there = beat.state == PoolState::Faulted && !paused;
                let ours = match rest {
                    Rest::Offered => failed_there || !early,
                    _ => {
                        let patient = view.now >= since + view.timing.home_wait;
                        failed_there || !early && (self.home == view.me || patient)
                    }
                };
                if ours {
                    return Some(self.survey(Authority::PeerYields, view));
                }
                if rest != Rest::Offered {
                    self.state = State::Standby {
                        rest: Rest::AwaitingHome,
                        not_before,
                        request_until,
                    };
                }
                None
            }
        }
    }

    fn decide_confirm(
        &mut self,
        authority: Authority,
        epoch: Epoch,
        marks: [u32; LinkId::ALL.len()],
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
        let after = word
            .acknowledged
            .iter()
            .zip(marks)
            .any(|(&heard, mark)| heard >= mark);
        if after {
            return Some(self.claim(authority, epoch, view));
        }
        if view.now >= until {
            // Twice the wait of a head that is not home: its own keys are no obstacle to it.
            self.rest_until(Rest::PeerHolds, view.now + view.timing.home_wait * 2);
        }
        None
    }

    /// Takes in an outcome; one that is not waited for has no effect.
    pub(crate) fn handle_outcome(&mut self, outcome: &Outcome, view: &View) -> Option<Wanted> {
        match self.state {
            State::Claiming {
                authority,
                step: Step::Survey { ticket, .. },
            } if ticket == outcome.ticket => match outcome.result {
                Ok(Done::Surveyed { greatest, holder }) => {
                    self.surveyed(authority, greatest, holder, view)
                }
                Ok(_) => None,
                Err(failure) => {
                    self.claim_failed(failure, view);
                    None
                }
            },
            State::Claiming {
                step: Step::Claim { ticket, epoch, .. },
                ..
            } if ticket == outcome.ticket && epoch == outcome.epoch => match outcome.result {
                Ok(Done::Claimed) => {
                    self.known = self.known.max(epoch);
                    let job = self.job(epoch, Work::Import);
                    let until = view.now + view.timing.import_limit;
                    self.state = State::Importing {
                        ticket: job.ticket,
                        epoch,
                        until,
                    };
                    Some(Wanted::Run(job))
                }
                Ok(_) => None,
                Err(failure) => {
                    self.claim_failed(failure, view);
                    None
                }
            },
            State::Importing { ticket, epoch, .. }
                if ticket == outcome.ticket && epoch == outcome.epoch =>
            {
                match outcome.result {
                    Ok(Done::Imported) => {
                        self.failures = 0;
                        self.state = State::Serving { epoch };
                        None
                    }
                    Ok(_) => None,
                    Err(fault) => Some(self.release(epoch, Next::Fault(fault), view)),
                }
            }
            State::Releasing {
                ticket,
                epoch,
                next,
                ..
            } if ticket == outcome.ticket && epoch == outcome.epoch => {
                match (outcome.result, next) {
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
            _ => None,
        }
    }

    fn surveyed(
        &mut self,
        authority: Authority,
        greatest: Epoch,
        holder: Holder,
        view: &View,
    ) -> Option<Wanted> {
        self.seen = self.seen.max(greatest);
        // Never a number of an earlier attempt: what is left of that must not be taken for this one.
        let Some(epoch) = self.known.max(self.seen).max(self.tried).next() else {
            self.fail(Failure::Refused, view);
            return None;
        };
        // The world may have changed while the worker looked.
        if view.retiring {
            self.rest_until(Rest::Offered, view.now);
            return None;
        }
        if view.peer().is_some_and(|beat| beat.state.may_hold()) {
            self.rest_until(Rest::PeerHolds, view.now);
            return None;
        }
        let revived = view.liveness == Liveness::Alive;
        match (holder, authority) {
            (Holder::Stranger, _) => {
                self.fail(Failure::Stranger, view);
                None
            }
            (Holder::Nobody, _) | (Holder::Peer(_), Authority::Operator) => {
                Some(self.claim(authority, epoch, view))
            }
            (Holder::Peer(held), Authority::PeerYields) if view.digest_differs => {
                self.fail(Failure::HeldByPeer(held), view);
                None
            }
            (Holder::Peer(_), Authority::PeerYields) => {
                let step = Step::Confirm {
                    epoch,
                    marks: view.marks,
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
                Some(self.claim(authority, epoch, view))
            }
            (Holder::Peer(held), Authority::PeerDead | Authority::Free) => {
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
                    Liveness::Unheard | Liveness::Dead => Rest::HeldByUnheardPeer(held),
                };
                self.rest_until(rest, view.now + view.timing.retry);
            }
            fault => self.fail(fault, view),
        }
    }

    /// A watcher found a reservation gone. Only the claim that is held now can be lost.
    pub(crate) fn fence_lost(&self, epoch: Epoch) -> Option<ResetReason> {
        (self.held() == Some(epoch)).then_some(ResetReason::FenceLost(self.id))
    }

    /// Whether a head that halts may do so now: nothing of the pool is left on it.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Standby { .. } | State::Faulted { .. })
    }

    /// Begins a handover to the peer.
    pub(crate) fn handover(&mut self, view: &View) -> Result<(Accepted, Wanted), Refusal> {
        let epoch = match self.state {
            State::Serving { epoch } => epoch,
            State::Importing { .. } | State::Releasing { .. } => return Err(Refusal::Busy),
            _ => return Err(Refusal::NotServing),
        };
        match (view.liveness, view.peer()) {
            (Liveness::Unheard | Liveness::Dead, _) => Err(Refusal::PeerNotHeard),
            (_, Some(beat)) if beat.state == PoolState::Standby => {
                Ok((Accepted::Releasing, self.release(epoch, Next::Offer, view)))
            }
            _ => Err(Refusal::PeerNotReady),
        }
    }

    /// Gets the pool here, by asking or by force.
    pub(crate) fn takeover(&mut self, view: &View) -> Result<(Accepted, Option<Wanted>), Refusal> {
        match self.state {
            State::Serving { .. } | State::Importing { .. } => Err(Refusal::AlreadyThere),
            State::Claiming { .. } | State::Releasing { .. } => Err(Refusal::Busy),
            State::Standby { .. } | State::Faulted { .. } => match view.peer() {
                Some(beat) if beat.state == PoolState::Serving => {
                    let until = view.now + view.timing.release_limit;
                    self.state = State::Standby {
                        rest: Rest::PeerHolds,
                        not_before: view.now,
                        request_until: Some(until),
                    };
                    Ok((Accepted::AskedPeer, None))
                }
                Some(beat) if beat.state.may_hold() => Err(Refusal::Busy),
                Some(_) => Ok((
                    Accepted::Claiming,
                    Some(self.survey(Authority::PeerYields, view)),
                )),
                None if view.liveness == Liveness::Alive => Err(Refusal::Busy),
                None => Ok((
                    Accepted::Claiming,
                    Some(self.survey(Authority::Operator, view)),
                )),
            },
        }
    }

    /// Moves the pool to its home head.
    pub(crate) fn giveback(&mut self, view: &View) -> Result<(Accepted, Option<Wanted>), Refusal> {
        if self.home == view.me {
            return match view.peer() {
                None => Err(Refusal::PeerNotHeard),
                Some(_) => self.takeover(view),
            };
        }
        match self.state {
            State::Serving { .. } => self.handover(view).map(|(a, wanted)| (a, Some(wanted))),
            State::Standby { .. } | State::Faulted { .. } => Err(Refusal::NotServing),
            _ => Err(Refusal::Busy),
        }
    }
}

/// The right that follows from what is heard of the peer.
fn authority(liveness: Liveness) -> Authority {
    match liveness {
        Liveness::Unheard => Authority::Free,
        Liveness::Dead => Authority::PeerDead,
        Liveness::Alive => Authority::PeerYields,
    }
}
