//! What the core asks for, and what it is told came of it.
//!
//! Each request carries a ticket that is never used twice in one boot and, once there is one, the
//! epoch of the claim it belongs to. An outcome repeats both; one that does not match what the pool
//! is waiting for is of an earlier life and has no effect.

use embassy_time::Instant;

use crate::ledger::Lease;
use crate::{Epoch, PoolId};

/// Number of a request, unique in this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ticket(pub u32);

/// By what right a pool is claimed: whose keys may be preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// Nobody's: the peer was not heard since boot, so only what is free is taken.
    Free,
    /// The peer is alive and says that it holds nothing, and nothing of it was found: what is free is taken, and
    /// unlike with [`Authority::Free`] no write of its can be under way.
    PeerLetGo,
    /// The peer is alive and says that it holds nothing: keys of it are left-overs, once it has
    /// said so again after we saw them.
    PeerYields,
    /// The peer was alive and is silent on every link. Covers its keys up to the epoch that it told
    /// us: a newer one was registered since, by a peer that cannot be dead.
    PeerDead,
    /// The operator says that the peer is off.
    Operator,
}

impl Authority {
    /// Whether keys of the peer may be removed.
    pub fn covers_peer(self) -> bool {
        match self {
            Authority::Free | Authority::PeerLetGo => false,
            Authority::PeerYields | Authority::PeerDead | Authority::Operator => true,
        }
    }
}

/// Something to be done for a pool, by a worker that may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// The pool.
    pub pool: PoolId,
    /// To be repeated in the outcome.
    pub ticket: Ticket,
    /// The claim that the job belongs to; [`Epoch::NONE`] for a look.
    pub epoch: Epoch,
    /// No write of the peer's can be under way: it said so since the claim, or right before it. Where that is not known, and
    /// some disk has shown a key since this head last let go of all, a release leaves the disks reserved, and a claim that fails
    /// those that were: a peer that was fenced while its path to them hung, and that nobody has heard since, sends what it
    /// has in its adapter when the path is back, and nothing else stops that.
    pub peer_is_done: bool,
    /// What to do.
    pub work: Work,
}

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Read members, keys and reservations of the pool; change nothing.
    Survey,
    /// Take the reservations of all members, arbiter first, under a key of the job's epoch.
    Claim {
        /// Whose keys may be preempted. Only those of an epoch before the job's: one as new as ours
        /// belongs to a rival claim, which the arbiter decides.
        authority: Authority,
        /// The greatest epoch of a key that this right covers. A newer one was registered after that was given, by a peer
        /// that lives.
        covers: Epoch,
    },
    /// Look whether the disks that the pool is to be made of are free; change nothing.
    Inspect,
    /// Take the reservations of those disks, of which nothing may be the peer's, and write the pool onto them: ends
    /// like a claim of the pool.
    Make,
    /// Activate and export the pool. Only after its claim.
    Import,
    /// Undo whatever stands of export, activation and claim; nothing to undo is success.
    Release,
    /// The same, and before the claim is let go all that makes a pool of its disks goes.
    Destroy,
}

/// What the heartbeat thread must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Give this to the pool's worker.
    Run(Job),
    /// Reset the machine at once, without any orderly step.
    Reset(ResetReason),
}

/// Why a head resets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// A reservation of a pool that this head holds is no longer there.
    FenceLost(PoolId),
    /// This head did not run for `dead` or longer while it held a pool.
    OwnGap,
    /// The peer serves, under a newer epoch, a pool that this head holds.
    Replaced(PoolId),
    /// A claim is stuck.
    ClaimStuck(PoolId),
    /// An import is stuck.
    ImportStuck(PoolId),
    /// A release is stuck or failed half-way.
    ReleaseStuck(PoolId),
    /// No renewal of the lease on a pool completed in its time.
    LeaseLost(PoolId),
}

/// Who holds reservations or registrations on a pool's disks, taken over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Nobody, or only this head (an earlier boot of it).
    Nobody,
    /// The peer, with its newest epoch on any disk.
    Peer(Epoch),
    /// A registrant that is not of this cluster.
    Stranger,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The job's pool.
    pub pool: PoolId,
    /// The job's ticket.
    pub ticket: Ticket,
    /// The job's epoch.
    pub epoch: Epoch,
    /// The result.
    pub result: Result<Done, Failure>,
}

/// A job that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// What is on the disks.
    Surveyed {
        /// The greatest epoch in any key of this cluster on any member.
        greatest: Epoch,
        /// Who holds them.
        holder: Holder,
    },
    /// All members are ours, by read-back.
    Claimed,
    /// The pool is ours by a lease: its disks have no reservations, a former owner's time is over, and our record
    /// is in the ledger.
    Leased {
        /// The times that the records tell.
        lease: Lease,
        /// When the last of them was submitted.
        submitted: Instant,
    },
    /// Clients are served.
    Imported,
    /// Nothing of the pool is left in this kernel, nor, unless it has to stay, of our key on the disks.
    Released,
}

/// Why a job failed. The worker keeps the words; the core needs the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer holds a member, under this epoch; our part of the claim was undone.
    HeldByPeer(Epoch),
    /// A stranger holds a member.
    Stranger,
    /// The pool cannot be served as it is: missing members, foreign owner, unknown volume.
    Refused,
    /// A device or the kernel failed.
    Device,
}
