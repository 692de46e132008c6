//! A claim by lease, for disks without reservations: nothing but time keeps a former owner from them.
//!
//! ```text
//! read every copy ─ wait until the peer's last record is too old for anything of it to live
//!                 ─ write our claim onto every copy ─ settle ─ read every copy again ─ ours
//! ```
//!
//! - *The wait.* An owner uses the pool within its lease and feeds its watchdog only within it (`orthrus_hb`'s
//!   `lease`). So after `lease + watchdog + longest I/O` without a change of its record nothing of it is left,
//!   whatever hung. Its own times count, as its record tells them. The wait begins with our first look: what was
//!   seen before is not relied on.
//! - *This head's own past.* What an earlier boot of it had under way is on no account of the peer's record, and no
//!   reservation keeps it off. That boot ended at the latest when this one began: within the longest I/O from then on
//!   nothing is written. So it is after a claim of this boot that failed: a record of it that hangs could come back over one of
//!   the next, and hide that from a rival's look.
//! - *The race.* Two heads may find the pool free together. Each writes its claim within [`SLOT_LIMIT`] of the
//!   beginning of its look, waits for [`SETTLE`], and looks again. A rival that had looked before our claim was
//!   there wrote its own before our second look; so one of two that race sees the other at least, and both agree
//!   who goes on: the greater epoch, and the first head among equals. One that was too slow takes its claim back.
//!   One that has looked again and gone on is the owner, whatever its epoch: what an earlier claim of ours had under way
//!   may have lain over this one just then.
//! - *Refused* without armed hardware watchdogs: without ours we could not promise to stop, and without the peer's
//!   nobody knows when it has.
//!
//! It cannot cover a virtual machine that is paused and resumed, or a board whose watchdog lies. That is why it is
//! used only where every disk says that it has no reservations, and why `status` says so.
//!
//! Rejected: the time of the last sight by the ledger's readers as the beginning of the wait. It would save a
//! second or two of some twenty and make the claim depend on another thread's clock of completed reads.

use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::ledger::{Lease, Record};
use orthrus_hb::{Authority, Epoch, HeadId, Incarnation, PoolState};

use super::COMMAND_LIFETIME;
use crate::ledger::{SLOT_LIMIT, SlotError, Slots};

/// How long a renewal lasts. Renewals come four times a second, so this is what a busy shelf may make them wait; the
/// whole of it is added to a takeover.
pub const LEASE: Duration = Duration::from_secs(4);

/// From the end of the write of a claim to the look that decides. More than a rival may take from the beginning of
/// its look to the end of its write, which is [`SLOT_LIMIT`] for each.
pub const SETTLE: Duration = Duration::from_secs(3);

/// How often the peer's record is looked at while it must not change.
const LOOK: Duration = Duration::from_millis(500);

/// What a claim needs of the world.
pub trait World {
    /// The peer's newest record; every copy was read.
    fn peer(&self) -> Result<Option<Record>, SlotError>;
    /// Puts a record of ours onto every copy.
    fn write(&self, record: &Record) -> Result<(), SlotError>;
    /// Waits.
    fn pause(&self, time: Duration);
    /// The time since this boot began, which goes on while the machine sleeps.
    fn now(&self) -> Instant;
}

/// The real one.
pub struct RealWorld<'a> {
    /// The copies.
    pub slots: &'a Slots,
    /// The other head.
    pub peer: HeadId,
}

impl World for RealWorld<'_> {
    fn peer(&self) -> Result<Option<Record>, SlotError> {
        self.slots.newest(self.peer)
    }

    fn write(&self, record: &Record) -> Result<(), SlotError> {
        self.slots.write(record)
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn now(&self) -> Instant {
        crate::clock::now()
    }
}

/// Who claims, and by what right.
#[derive(Clone, Copy, Debug)]
pub struct Claimant {
    /// This head.
    pub head: HeadId,
    /// This boot of it.
    pub incarnation: Incarnation,
    /// The claim's epoch.
    pub epoch: Epoch,
    /// What entitles it to take the pool from the peer.
    pub authority: Authority,
    /// The greatest epoch of a claim that this covers.
    pub covers: Epoch,
    /// This head's own times; `None` without an armed hardware watchdog.
    pub lease: Option<Lease>,
    /// When a claim of this boot last failed after it had begun to write.
    pub failed: Option<Instant>,
}

impl LeaseError {
    /// Whether something of ours was on its way to a disk.
    pub fn has_written(&self) -> bool {
        match self {
            LeaseError::NoWatchdog | LeaseError::NoTerms { .. } | LeaseError::HeldByPeer { .. } => {
                false
            }
            LeaseError::LostRace { .. } | LeaseError::Slow | LeaseError::Slots(_) => true,
        }
    }
}

/// Why there is no claim. Ours is taken back on every copy that could be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// This head could not promise to stop.
    #[error(
        "the disks have no reservations, and a lease on them needs an armed hardware watchdog, which this head \
         lacks: enable it in the BIOS"
    )]
    NoWatchdog,
    /// Nobody knows when the peer has stopped.
    #[error(
        "the peer holds the disks under epoch {epoch} without a lease and an armed hardware watchdog: nothing \
         tells when it has stopped; turn it off, then remove the volumes of the ledger on a host with lvm2 and make them anew, as `pools` \
         says"
    )]
    NoTerms {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The peer holds it, and nothing entitles us to take it.
    #[error("held by the peer by a lease, epoch {epoch}")]
    HeldByPeer {
        /// The peer's epoch.
        epoch: Epoch,
    },
    /// The peer claimed at the same time, and goes first.
    #[error("the peer was first, with epoch {epoch}")]
    LostRace {
        /// The peer's epoch.
        epoch: Epoch,
    },
    /// The copies took too long for the rules of a race.
    #[error(
        "the ledger answers too slowly for a claim by lease: check the power and the cables of the disks that have a copy"
    )]
    Slow,
    /// A copy cannot be read or written.
    #[error("{0}")]
    Slots(#[from] SlotError),
}

/// Times of an owner with this watchdog.
pub fn terms(watchdog_seconds: u32) -> Lease {
    Lease {
        lease_ms: millis(LEASE),
        watchdog_ms: watchdog_seconds.saturating_mul(1000),
        io_ms: millis(COMMAND_LIFETIME),
        watchdog_armed: true,
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Claims the pool; returns its lease, and when the last record of it was submitted.
///
/// Blocks for as long as an owner's times say, some twenty-five seconds; at once where the peer let go.
///
/// # Errors
/// See [`LeaseError`].
pub fn claim(claimant: &Claimant, world: &dyn World) -> Result<(Lease, Instant), LeaseError> {
    let lease = claimant.lease.ok_or(LeaseError::NoWatchdog)?;
    outlive_own_past(claimant.failed, world);
    let (looked, waited_out) = wait_out(claimant, world)?;
    let record = claimant.record(PoolState::Claiming, 0, lease);
    let mut last = record.sequence;
    let outcome = world
        .write(&record)
        .map_err(LeaseError::from)
        .and_then(|()| settle(claimant, lease, (looked, &mut last), waited_out, world));
    if outcome.is_err() {
        // What cannot be taken back says that we claim, and nothing follows it: the peer waits for our times.
        let _ = world.write(&claimant.taken_back(last));
    }
    outcome
}

/// Waits until nothing that an earlier boot of this head, or an earlier claim of this one, had under way can reach a disk any
/// more. Also before a record that lets go could lie over that boot's, which tells the peer to wait for it.
fn outlive_own_past(failed: Option<Instant>, world: &dyn World) {
    let since = failed.unwrap_or(Instant::from_ticks(0));
    let left = COMMAND_LIFETIME.saturating_sub(elapsed(since, world.now()));
    if !left.is_zero() {
        tracing::info!(
            ?left,
            "waiting for what this head may have under way from before"
        );
        world.pause(left);
    }
}

/// Our claim is on every copy; `looked` is when the look began that found the pool free, `last` becomes the number of
/// the last record that may be on a disk. Times are measured here and not left to limits of calls: this thread may not
/// have run in between.
fn settle(
    claimant: &Claimant,
    lease: Lease,
    (looked, last): (Instant, &mut u64),
    waited_out: Option<Record>,
    world: &dyn World,
) -> Result<(Lease, Instant), LeaseError> {
    if elapsed(looked, world.now()) > 2 * SLOT_LIMIT {
        return Err(LeaseError::Slow);
    }
    world.pause(SETTLE);
    let looked = world.now();
    decide(claimant, waited_out, world)?;
    let submitted = world.now();
    // Odd, beside the first one and not over it: a rival's look may meet a write half-way, and would find no claim of ours.
    *last = 1;
    world.write(&claimant.record(PoolState::Claiming, *last, lease))?;
    match elapsed(looked, world.now()) < LEASE {
        true => Ok((lease, submitted)),
        false => Err(LeaseError::Slow),
    }
}

impl Claimant {
    fn record(&self, state: PoolState, sequence: u64, lease: Lease) -> Record {
        Record {
            head: self.head,
            incarnation: self.incarnation,
            state,
            epoch: self.epoch,
            sequence,
            lease: Some(lease),
        }
    }

    /// The last record of a claim: nothing of it is held any more.
    pub fn let_go(&self) -> Record {
        Record {
            head: self.head,
            incarnation: self.incarnation,
            state: PoolState::Standby,
            epoch: self.epoch,
            sequence: u64::MAX,
            lease: None,
        }
    }

    /// The same of a claim that failed after its record of this number was submitted. In the other block: a write that
    /// comes back late must not lie over the record that lets go.
    fn taken_back(&self, last: u64) -> Record {
        Record {
            sequence: u64::MAX - (last & 1),
            ..self.let_go()
        }
    }
}

/// Waits until nothing of the peer's last claim can be alive; when the look began that found it so, and the claim's record.
fn wait_out(
    claimant: &Claimant,
    world: &dyn World,
) -> Result<(Instant, Option<Record>), LeaseError> {
    let begun = world.now();
    let first = world.peer()?;
    let Some(held) = first.filter(|record| record.state.may_hold()) else {
        return Ok((begun, None));
    };
    let epoch = held.epoch;
    let entitled = claimant.authority.covers_peer() && epoch <= claimant.covers;
    if epoch >= claimant.epoch || !entitled {
        return Err(LeaseError::HeldByPeer { epoch });
    }
    let io = |lease: Lease| u64::from(lease.io_ms);
    let wait = match (claimant.authority, held.lease) {
        // It says itself, in a frame after we saw the record, that this boot of it holds nothing: only what an
        // earlier one had under way is left.
        (Authority::PeerYields, lease) => lease.map_or(COMMAND_LIFETIME.as_millis() as u64, io),
        (_, Some(lease)) if lease.watchdog_armed => {
            u64::from(lease.lease_ms) + u64::from(lease.watchdog_ms) + io(lease)
        }
        _ => return Err(LeaseError::NoTerms { epoch }),
    };
    let wait = Duration::from_millis(wait);
    tracing::warn!(
        ?wait,
        "waiting until nothing of the former owner can be alive"
    );
    loop {
        let looked = world.now();
        let record = world.peer()?;
        if let Some(changed) = record.filter(|record| Some(*record) != first) {
            return match changed.state.may_hold() {
                true => Err(LeaseError::HeldByPeer {
                    epoch: changed.epoch,
                }),
                false => Ok((looked, None)),
            };
        }
        if elapsed(begun, looked) >= wait {
            // Before anything is written: the lab holds the former owner's end against it.
            tracing::info!("nothing of the former owner can be alive any more");
            return Ok((looked, first));
        }
        world.pause(LOOK);
    }
}

/// The look after our claim has settled: is a rival there that goes first, beside the one that was waited out?
fn decide(
    claimant: &Claimant,
    waited_out: Option<Record>,
    world: &dyn World,
) -> Result<(), LeaseError> {
    let Some(rival) = world.peer()?.filter(|record| record.state.may_hold()) else {
        return Ok(());
    };
    let ahead = match rival.epoch.cmp(&claimant.epoch) {
        std::cmp::Ordering::Less => rival.sequence > 0 && Some(rival) != waited_out,
        std::cmp::Ordering::Equal => rival.sequence > 0 || rival.head < claimant.head,
        std::cmp::Ordering::Greater => true,
    };
    match ahead {
        true => Err(LeaseError::LostRace { epoch: rival.epoch }),
        false => Ok(()),
    }
}

fn elapsed(from: Instant, to: Instant) -> Duration {
    Duration::from_micros(to.saturating_duration_since(from).as_micros())
}

#[cfg(test)]
mod tests;
