//! What must always hold, looked at after every step.
//!
//! - I1: no write of an earlier claim reaches a disk once a later claim of its pool has completed, nor one of a
//!   claim that was let go in order; a head that lost its fence ends within [`LOSS_LIMIT`] of its own running.
//! - I2: what is on the medium is never older than what was acknowledged.
//! - I4: a head without the right to does not preempt a living owner; what gives the right is looked at in
//!   `rights`. How many takeovers a fault may lead to is counted by the director.
//! - I5: a claim's epoch is greater than every epoch in the pool's metadata and ledger, than that of every key that it meets,
//!   and than that of a peer's claim while the two hear each other; within one boot a head's own never goes back and
//!   is never used twice. Of a claim whose import did not begin nothing is left where the shelf forgot its key and both heads
//!   have booted since.

use orthrus_hb::{Authority, ClusterId, Epoch, Key, Liveness, PoolState, Rest};

use crate::breaker::Breaker;
use crate::client::Block;
use crate::clock::{SECOND, Time};
use crate::machine::Machine;
use crate::rights::Since;
use crate::shelf::Write;

/// The watch looks five times a second and the heartbeat thread ten times.
pub const LOSS_LIMIT: Time = SECOND;

/// How long after a claim its peer has heard of it, on the noisiest of cables.
const HEARD: Time = 10 * SECOND;

/// The last claim of a pool that completed.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub who: usize,
    /// The boot of it that claimed.
    pub boot: u32,
    /// When its read-back was through.
    pub since: Time,
    pub epoch: Epoch,
    /// Number of the claim.
    pub attempt: u64,
    /// Its epoch is in the ledger.
    pub recorded: bool,
    /// Its keys are gone from every disk.
    pub forgotten: bool,
    /// It was let go in order.
    pub released: bool,
}

pub struct Checks {
    pub violation: Option<String>,
    pub held: Vec<Option<Held>>,
    /// Greatest epoch in a record that was written to the ledger, by pool.
    greatest: Vec<Epoch>,
    /// Greatest epoch that a head set out to claim under in this boot; by head and pool.
    tried: [Vec<Epoch>; 2],
    /// By head and pool.
    pub since: [Vec<Since>; 2],
    pub breaker: Breaker,
    /// Claims that took a pool from the other head without its release, by pool.
    pub takeovers: Vec<u32>,
    /// The same, by the head that lost it.
    pub fenced: [u32; 2],
    pub claims: u64,
    /// By head and pool.
    epochs: [Vec<Epoch>; 2],
    /// Since when a running head's fence is lost, by head and pool.
    lost_since: [Vec<Option<Time>>; 2],
}

impl Checks {
    pub fn new(pools: usize) -> Checks {
        Checks {
            violation: None,
            held: vec![None; pools],
            greatest: vec![Epoch::NONE; pools],
            tried: [vec![Epoch::NONE; pools], vec![Epoch::NONE; pools]],
            since: [vec![Since::default(); pools], vec![Since::default(); pools]],
            breaker: Breaker::default(),
            takeovers: vec![0; pools],
            fenced: [0; 2],
            claims: 0,
            epochs: [vec![Epoch::NONE; pools], vec![Epoch::NONE; pools]],
            lost_since: [vec![None; pools], vec![None; pools]],
        }
    }

    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub fn booted(&mut self, who: usize) {
        self.epochs[who].fill(Epoch::NONE);
        self.lost_since[who].fill(None);
        self.tried[who].fill(Epoch::NONE);
        self.breaker.booted(who);
        self.since[who].fill(Since::default());
    }

    pub fn released(&mut self, pool: usize, who: usize) {
        if let Some(held) = self.held[pool].as_mut().filter(|held| held.who == who) {
            held.released = true;
        }
    }

    /// A record that lets go is on a copy of the ledger.
    pub fn let_go(&mut self, pool: usize, (who, boot): (usize, u32), epoch: Epoch) {
        let held = self.held[pool].as_mut();
        let held = held.filter(|held| (held.who, held.boot) == (who, boot));
        if let Some(held) = held.filter(|held| held.epoch <= epoch) {
            held.released = true;
        }
    }

    /// A head sets out to claim.
    pub fn begins(
        &mut self,
        (pool, who, epoch): (usize, usize, Epoch),
        machines: &[Machine; 2],
        now: Time,
    ) {
        let tried = std::mem::replace(&mut self.tried[who][pool], epoch);
        if epoch <= tried {
            self.fail(format!(
                "I5: {who} claims pool {pool} under {epoch} after {tried} in the same boot"
            ));
        }
        let hear = |who: usize| {
            let head = machines[who].head.as_ref();
            head.is_some_and(|head| head.liveness() == Liveness::Alive) && machines[who].beats()
        };
        if let Some(held) = self.held[pool]
            && machines[held.who].boot == held.boot
            && now > held.since + HEARD
            && hear(0)
            && hear(1)
            && epoch <= held.epoch
        {
            self.fail(format!(
                "I5: {who} claims pool {pool} under {epoch}, and its peer told of {held:?}"
            ));
        }
    }

    /// No key of the cluster is left on the disks of a pool.
    pub fn keys_gone(&mut self, pool: usize) {
        if let Some(held) = &mut self.held[pool] {
            held.forgotten = true;
        }
    }

    /// The pool was destroyed: one that is made of its disks is another one.
    pub fn unmade(&mut self, pool: usize) {
        self.greatest[pool] = Epoch::NONE;
        self.keys_gone(pool);
    }

    /// The read-back shows all disks of a pool as this head's.
    pub fn claimed(
        &mut self,
        pool: usize,
        who: usize,
        (epoch, attempt): (Epoch, u64),
        machines: &[Machine; 2],
        now: Time,
    ) {
        self.claims += 1;
        let greatest = self.greatest[pool];
        if epoch <= greatest {
            self.fail(format!(
                "I5: {who} claims pool {pool} under {epoch} after {greatest}"
            ));
        }
        if let Some(held) = self.held[pool] {
            if epoch <= held.epoch && !held.forgotten {
                self.fail(format!(
                    "I5: {who} claims pool {pool} under {epoch} after {held:?}"
                ));
            }
            let taken = u32::from(held.who != who && !held.released);
            self.takeovers[pool] += taken;
            self.fenced[held.who] += taken;
        }
        self.held[pool] = Some(Held {
            who,
            boot: machines[who].boot,
            since: now,
            epoch,
            attempt,
            recorded: false,
            forgotten: false,
            released: false,
        });
    }

    /// An epoch is where it does not go with a shelf's power.
    pub fn stamped(&mut self, pool: usize, epoch: Epoch) {
        self.greatest[pool] = self.greatest[pool].max(epoch);
    }

    /// A record is on a copy of the ledger.
    pub fn recorded(&mut self, pool: usize, epoch: Epoch) {
        self.stamped(pool, epoch);
        if let Some(held) = self.held[pool].as_mut().filter(|held| held.epoch == epoch) {
            held.recorded = true;
        }
    }

    /// A write reached the medium of a disk; `forgotten`: the disk has no key of the claim that is held,
    /// which is as if it had never been when it is not in the ledger either; `plain`: disks have no reservations, and
    /// whoever held them before is gone.
    pub fn landed(&mut self, pool: usize, write: &Write, forgotten: bool, plain: bool) {
        let Some(held) = self.held[pool] else { return };
        let former = match held.released {
            // A still earlier owner, which was fenced and hangs, is held off by nothing where the shelf forgot the fence.
            true if held.forgotten && !plain => write.attempt == held.attempt,
            true => write.attempt <= held.attempt,
            // One that was fenced and hangs may write to a shelf that forgot the fence: nobody can know.
            false => {
                let stands = !forgotten || held.recorded && !held.forgotten;
                stands && write.attempt < held.attempt
            }
        };
        if former {
            self.fail(format!(
                "I1: {write:?} reaches a disk of pool {pool} after {held:?}"
            ));
        }
    }

    pub fn promised(&mut self, block: &Block) {
        if block.medium < block.promised {
            let (medium, promised) = (block.medium, block.promised);
            self.fail(format!(
                "I2: version {medium} lies where {promised} was acknowledged"
            ));
        }
    }

    pub fn preempted(
        &mut self,
        pool: usize,
        (own, victim): (u64, u64),
        authority: Authority,
        cluster: ClusterId,
        machines: &[Machine; 2],
    ) {
        let keys = (
            Key::from_bits(own, cluster),
            Key::from_bits(victim, cluster),
        );
        let (Some(own), Some(victim)) = keys else {
            return;
        };
        let entitled = matches!(authority, Authority::PeerDead | Authority::Operator);
        let owner = machines.iter().find(|machine| machine.id == victim.head);
        let Some(owner) = owner.filter(|owner| owner.beats() && own.head != owner.id) else {
            return;
        };
        let state = owner.head.as_ref().map(|head| &head.pools()[pool]);
        let holds = state.is_some_and(|state| {
            let holding = [
                PoolState::Importing,
                PoolState::Serving,
                PoolState::Releasing,
            ];
            holding.contains(&state.state()) && state.epoch() == victim.epoch
        });
        if holds && !entitled {
            self.fail(format!(
                "I4: {own:?} removes a living owner's {victim:?} by {authority:?}"
            ));
        }
    }

    /// A head has run: what it says of its pools.
    pub fn looked(&mut self, who: usize, machines: &[Machine; 2]) {
        let Some(head) = &machines[who].head else {
            return;
        };
        for (index, pool) in head.pools().iter().enumerate() {
            let before = self.epochs[who][index];
            if pool.epoch() < before {
                self.fail(format!(
                    "I5: {who} goes back from {before} to {}",
                    pool.epoch()
                ));
            }
            self.epochs[who][index] = pool.epoch();
            let claim = machines[who].workers[index].claim;
            if pool.rest() == Some(Rest::Offered) && claim.is_some() {
                self.fail(format!(
                    "I1: {who} offers pool {index} and still has {claim:?}"
                ));
            }
            if pool.state() == PoolState::Serving && claim != Some(pool.epoch()) {
                self.fail(format!(
                    "I1: {who} serves under {} with {claim:?}",
                    pool.epoch()
                ));
            }
        }
    }

    /// Whether a running owner's fence is lost on a disk that answers it; now and then.
    pub fn fence(&mut self, who: usize, pool: usize, lost: bool, now: Time) {
        let since = &mut self.lost_since[who][pool];
        if !lost {
            *since = None;
        } else if now > *since.get_or_insert(now) + LOSS_LIMIT {
            self.fail(format!(
                "I1: {who} still runs pool {pool} after it lost the fence"
            ));
        }
    }
}
