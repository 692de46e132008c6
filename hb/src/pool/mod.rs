//! The life of one pool on one head.
//!
//! What beats and the log say, a change a line; the simulator reads this drawing, and checks that these changes are all
//! and that each happens:
//!
//! ```text
//! standby   claiming   importing   serving   releasing   faulted
//!    │          │          │          │          │          │
//!    ├─────────►│          │          │          │          │    our turn, by a right that may cost the peer something
//!    ├──────────┼──────────┼──────────┼──────────┼─────────►│    a look at the disks, which holds nothing, failed
//!    │          ├─────────►│          │          │          │    all reservations are ours
//!    │◄─────────┤          │          │          │          │    the peer has it, or was first
//!    │          ├──────────┼──────────┼──────────┼─────────►│    a look or the claim failed
//!    │          │          ├─────────►│          │          │    clients are served
//!    │          │          ├──────────┼─────────►│          │    the import failed: it is undone
//!    │          │          │          ├─────────►│          │    asked to let go or to destroy it, or worse off
//!    │◄─────────┼──────────┼──────────┼──────────┤          │    let go, and offered to the peer
//!    │          │◄─────────┼──────────┼──────────┤          │    the same, and the peer is dead or faulted
//!    │          │          │          │          ├─────────►│    undone after a failed import, or destroyed
//!    │          │◄─────────┼──────────┼──────────┼──────────┤    the pause is over
//!    │◄─────────┼──────────┼──────────┼──────────┼──────────┤    the peer serves it, and the pause is over
//! ```
//!
//! Every way out of claiming, importing, serving and releasing that is not here is a reset of the head.
//!
//! - *Standby → Claiming*: nobody serves the pool and it is our turn. With a living peer the better head
//!   goes first, and the home head among equals; a peer that offers the pool, or failed to import it, makes it our
//!   turn. A peer is dead when every cable is silent and its ledger, if the pool has one, is seen not to tick; while
//!   the cables are silent and the ledger ticks, it lives and nothing moves.
//! - *Serving → Releasing*: an operator asks, or the peer stands by and has all that this head lacks.
//! - *Faulted → Standby*: the peer serves the pool and the pause after the failure is over, which is longer after each further
//!   one until an import succeeds. An owner that is worse off lets go for a peer that stands by; without the pause
//!   one that cannot import what it can look at would get the pool, and fail, every few seconds for ever. An owner
//!   that dies or lets go ends the pause.
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
//!
//! A pool that does not exist yet is made here, when an operator says so (*making*, which beats call claiming): it goes from
//! standby or faulted to importing by way of its maker's claim.
//!
//! Reading order: `standby`, `claiming`, `held`, then what an `operator` may ask, and `making`.

mod claiming;
mod fingerprint;
mod held;
mod making;
mod operator;
mod standby;
mod view;

use embassy_time::Instant;

use crate::action::{Authority, Failure, Job, Outcome, ResetReason, Ticket, Work};
use crate::config::PoolId;
use crate::lease::HeldLease;
use crate::wire::{PoolBeat, PoolState, Wish};
use crate::{Epoch, HeadId, Health};

use making::Making;
pub(crate) use view::View;

/// Why a pool rests on this head though it is not served here: a closed list, each with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Under this epoch, by what the disks or the ledger show, a claim of the peer's; and the peer says that it holds
    /// nothing, and does not hear us: it may have said so before it began that claim. Ends when it hears us, dies or
    /// lets go, or by `takeover`.
    HeldByDeafPeer(Epoch),
    /// The peer is silent on every cable, and its ledger cannot be read, or not for long enough to tell whether
    /// it ticks. Ends when it can: with the peer's life, or its death.
    AwaitingLedger,
    /// The peer is silent on every cable, and this head was fenced again and again. Ends when the peer is heard, is
    /// silent for `barred_dead` or on its ledger, or by `takeover`.
    Barred,
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
    Making(Making),
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
    Faulted(Pause),
}

/// What a pool waits for after a failure.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// The next attempt, unless the peer serves it by then.
    retry_at: Instant,
    /// While the peer serves it, this head does not stand by before this: an owner that is worse off would let go.
    stand_by_at: Instant,
    /// The peer served it since.
    peer_served: bool,
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
        mark: u64,
        /// The epoch of those keys.
        held: Epoch,
        /// The peer may not hear us: past this it, whose keys they are, gets its turn.
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

#[derive(Clone, Copy, Debug, Hash)]
enum Next {
    /// The peer shall have it.
    Offer,
    /// It could not be imported here.
    Fault(Fault),
}

/// What a pool asks of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Run(Job),
    Reset(ResetReason),
}

/// One pool on this head.
#[derive(Clone)]
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
    /// What of this head is broken as far as the pool is concerned.
    health: Health,
    /// Since when the peer, standing by, is better off than this head, which serves.
    worse_since: Option<Instant>,
    /// What the claim rests on where disks have no reservations.
    lease: Option<HeldLease>,
    /// Records written to the ledger in this boot.
    records: u64,
    /// What the last one said, and when.
    recorded: Option<(PoolState, Instant)>,
    /// The claim under way takes the pool from a peer that did not let go.
    preempts: bool,
    /// It did. Until the head asks.
    fenced: bool,
    /// Nothing of the peer's can be under way since the claim that is held, as far as it said itself.
    peer_is_done: bool,
    /// Attempts that failed in a row, for the pause between them.
    failures: u32,
    /// Attempts that failed since one succeeded, whatever the peer served meanwhile: for how long this head stays faulted
    /// while it does.
    setbacks: u32,
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
            health: Health::default(),
            worse_since: None,
            lease: None,
            records: 0,
            recorded: None,
            preempts: false,
            fenced: false,
            peer_is_done: false,
            failures: 0,
            setbacks: 0,
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
            State::Making(Making::Inspect { is_late: true, .. }) => PoolState::Faulted,
            State::Claiming { .. } | State::Making(_) => PoolState::Claiming,
            State::Importing { .. } => PoolState::Importing,
            State::Serving { .. } => PoolState::Serving,
            State::Releasing { .. } => PoolState::Releasing,
            State::Faulted(_) => PoolState::Faulted,
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

    /// What of this head is broken as far as the pool is concerned.
    pub fn health(&self) -> Health {
        self.health
    }

    pub(crate) fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    /// What beats say of it. `retiring`: this head is about to halt. What rests on it is offered then, and it does not say that it
    /// stands by: nobody may let go of the pool for its sake. See [`PoolBeat::retires`].
    pub(crate) fn beat(&self, retiring: bool) -> PoolBeat {
        let leaves = retiring && self.is_at_rest();
        let state = match leaves {
            true => PoolState::Faulted,
            false => self.state(),
        };
        let wish = match self.state {
            _ if leaves => Wish::Offer,
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
            state,
            epoch: self.epoch(),
            wish,
            health: self.health,
        }
    }

    fn job(&mut self, epoch: Epoch, work: Work) -> Job {
        self.tickets = self.tickets.wrapping_add(1);
        Job {
            pool: self.id,
            ticket: Ticket(self.tickets),
            epoch,
            peer_is_done: self.peer_is_done,
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

    /// Looks at the world and decides; to be called after every input until it wants nothing.
    pub(crate) fn decide(&mut self, view: &View) -> Option<Wanted> {
        if let Some(beat) = view.peer() {
            self.known = self.known.max(beat.epoch);
        }
        if let Some(record) = view.record {
            // As good as a beat: the peer wrote it, and its epoch only once the claim was through.
            self.known = self.known.max(record.epoch);
        }
        self.listen_for_the_end(view);
        if let Some(reason) = self.lease_lost(view.now) {
            return Some(Wanted::Reset(reason));
        }
        match self.state {
            State::Standby { .. } => self.decide_standby(view),
            State::Faulted(pause) => self.decide_faulted(pause, view),
            State::Claiming { authority, step } => self.decide_claiming(authority, step, view),
            State::Making(making) => self.decide_making(making, view),
            State::Importing { until, epoch, .. } => {
                let stuck = (view.now >= until).then_some(ResetReason::ImportStuck(self.id));
                self.decide_changing(stuck, epoch, view)
            }
            State::Releasing { until, epoch, .. } => {
                let stuck = (view.now >= until).then_some(ResetReason::ReleaseStuck(self.id));
                self.decide_changing(stuck, epoch, view)
            }
            State::Serving { epoch } => self.decide_serving(epoch, view),
        }
    }

    /// Takes in an outcome; one that is not waited for has no effect.
    pub(crate) fn handle_outcome(&mut self, outcome: &Outcome, view: &View) -> Option<Wanted> {
        let awaited =
            |ticket: Ticket, epoch: Epoch| ticket == outcome.ticket && epoch == outcome.epoch;
        match self.state {
            State::Claiming {
                authority,
                step: Step::Survey { ticket, .. },
            } if awaited(ticket, Epoch::NONE) => self.survey_ended(authority, outcome.result, view),
            State::Claiming {
                step: Step::Claim { ticket, epoch, .. },
                ..
            } if awaited(ticket, epoch) => self.claim_ended(epoch, outcome.result, view),
            State::Making(Making::Inspect {
                ticket, is_late, ..
            }) if awaited(ticket, Epoch::NONE) => self.inspect_ended(is_late, outcome.result, view),
            State::Making(Making::Make { ticket, epoch, .. }) if awaited(ticket, epoch) => {
                self.claim_ended(epoch, outcome.result, view)
            }
            State::Importing { ticket, epoch, .. } if awaited(ticket, epoch) => {
                self.import_ended(epoch, outcome.result, view)
            }
            State::Releasing {
                ticket,
                epoch,
                next,
                ..
            } if awaited(ticket, epoch) => self.release_ended(next, outcome.result, view),
            _ => None,
        }
    }
}
