//! Whose writes may still be under way on disks that were just taken, and for how long: `init/src/fence/leftover.rs`,
//! and the rounds of waiting and reading back in `claim.rs` there.

use std::collections::BTreeMap;

use orthrus_hb::{Authority, ClusterId, Failure, HeadId, Job, Key};

use crate::clock::Time;
use crate::shelf::{LIFETIME, Seen};
use crate::task::Task;
use crate::world::World;

use super::{Stage, claims};

/// `MOST_ROUNDS` of the claim.
pub const MOST_ROUNDS: u32 = 3;

/// What a claim knows of writes before it.
#[derive(Default)]
pub struct Leftovers {
    /// What the disks showed before, in order.
    before: Vec<Seen>,
    /// By disk: heads whose commands were aborted.
    aborted: BTreeMap<usize, Vec<HeadId>>,
    /// Disks on which a key was removed, and what it sent was not aborted.
    unaborted: Vec<usize>,
    rounds: u32,
}

impl Leftovers {
    pub fn look(&mut self, seen: &[Seen]) {
        self.before = seen.to_vec();
    }

    /// Whether a head had a key on any disk.
    pub fn showed(&self, head: HeadId, cluster: ClusterId) -> bool {
        let numbers = self
            .before
            .iter()
            .flat_map(|seen| seen.keys.iter().chain(&seen.holder));
        let mut keys = numbers.filter_map(|bits| Key::from_bits(*bits, cluster));
        keys.any(|key| key.head == head)
    }

    /// The newest key that it had on this disk of the pool.
    pub fn key_of(&self, place: usize, head: HeadId, cluster: ClusterId) -> Option<Key> {
        let keys = self.before.get(place)?.keys.iter();
        let keys = keys.filter_map(|bits| Key::from_bits(*bits, cluster));
        keys.filter(|key| key.head == head)
            .max_by_key(|key| key.epoch)
    }

    pub fn note(&mut self, task: &Task) {
        self.aborted
            .entry(task.disk)
            .or_default()
            .extend(&task.aborted);
        if task.unaborted {
            self.unaborted.push(task.disk);
        }
    }
}

/// Who claims.
struct Claim {
    cluster: ClusterId,
    me: HeadId,
    authority: Authority,
    /// How long it has been up.
    up: Time,
}

impl World {
    /// Everything was taken.
    pub(super) fn wait_for_leftovers(&mut self, who: usize, pool: usize, job: &Job) {
        let Some(authority) = claims(job) else {
            return;
        };
        let machine = &self.machines[who];
        let claim = Claim {
            cluster: self.cluster,
            me: machine.id,
            authority,
            up: self.now - machine.booted,
        };
        let leftovers = &machine.workers[pool].leftovers;
        let disks = self.disks_of(pool).zip(&leftovers.before);
        let waits = disks.map(|(disk, before)| match leftovers.unaborted.contains(&disk) {
            true => LIFETIME,
            false => {
                let aborted = leftovers.aborted.get(&disk).map_or(&[][..], Vec::as_slice);
                wait(before, aborted, !self.disks[disk].persistent, &claim)
            }
        });
        let time = waits.max().unwrap_or(0);
        self.machines[who].workers[pool].leftovers.unaborted.clear();
        self.wait(who, pool, time);
    }

    fn wait(&mut self, who: usize, pool: usize, time: Time) {
        let worker = &mut self.machines[who].workers[pool];
        worker.leftovers.rounds += 1;
        if time == 0 {
            return self.begin(who, pool, Stage::ReadOthers);
        }
        self.stay(who, pool, Stage::Wait, time);
    }

    /// Everything was read back: once more if something was removed by that.
    pub(super) fn read_back_over(&mut self, who: usize, pool: usize) {
        let leftovers = &mut self.machines[who].workers[pool].leftovers;
        let unaborted = std::mem::take(&mut leftovers.unaborted);
        if unaborted.is_empty() {
            return self.begin(who, pool, Stage::Prove);
        }
        if leftovers.rounds >= MOST_ROUNDS {
            return self.undo(who, pool, Failure::Device);
        }
        self.wait(who, pool, LIFETIME);
    }
}

fn wait(before: &Seen, aborted: &[HeadId], forgets: bool, claim: &Claim) -> Time {
    let (me, peer) = (claim.me, claim.me.peer());
    let aborted = |head| aborted.contains(&head);
    let numbers = before.keys.iter().chain(&before.holder);
    let keys: Vec<Key> = numbers
        .filter_map(|bits| Key::from_bits(*bits, claim.cluster))
        .collect();
    let shown = |head| keys.iter().any(|key| key.head == head);
    let unknown = match claim.authority {
        Authority::PeerYields | Authority::PeerLetGo => false,
        Authority::Free => keys.is_empty() && forgets,
        Authority::PeerDead | Authority::Operator => !aborted(peer) && (shown(peer) || !shown(me)),
    };
    match (unknown, shown(me) && !aborted(me)) {
        (true, _) => LIFETIME,
        (false, true) => LIFETIME.saturating_sub(claim.up),
        (false, false) => 0,
    }
}
