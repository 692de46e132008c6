//! What of a head is broken, as `init/src/health.rs` finds it out and tells the core; and the looks of an
//! idle worker that it depends on.
//!
//! Gateways that are silent come to the core as the same word as a port without a link, which stands for both here.

use orthrus_hb::Health;

use crate::clock::{MS, SECOND, Time};
use crate::event::Event;
use crate::world::World;

/// `INTERVAL` of the health thread.
pub const INTERVAL: Time = 500 * MS;
/// `ALL_SILENT` of the watch: no disk of a pool was read back for so long, or a look takes so long.
pub const ALL_SILENT: Time = 3 * SECOND;
/// `ALL_SILENT_WITHOUT_LEDGER`: the same of an owner whose peer has no ledger to notice by.
pub const ALL_SILENT_WITHOUT_LEDGER: Time = ALL_SILENT + LOOK_INTERVAL;
/// `ONE_SILENT`: a disk was not read back for so long.
pub const ONE_SILENT: Time = 15 * SECOND;
/// `LOOK_INTERVAL` of the worker.
pub const LOOK_INTERVAL: Time = 3 * SECOND;

impl World {
    /// A boot begins to look at itself.
    pub fn begin_health(&mut self, who: usize) {
        let boot = self.machines[who].boot;
        let first = self.now + self.rng.below(INTERVAL);
        self.at(first, Event::Health { who, boot });
        for pool in 0..self.clients.len() {
            self.at(
                self.now + LOOK_INTERVAL,
                Event::IdleLook { who, boot, pool },
            );
        }
    }

    /// The health thread looks.
    pub fn look_at_health(&mut self, who: usize) {
        let boot = self.machines[who].boot;
        self.at(self.now + INTERVAL, Event::Health { who, boot });
        for pool in 0..self.clients.len() {
            let health = Health {
                shelf: self.shelf_is_broken(who, pool),
                network: !self.carrier[who],
            };
            let machine = &mut self.machines[who];
            if machine.health[pool] != health {
                machine.health[pool] = health;
                machine.unwell.push_back((pool, health));
                self.trace(|| format!("{who} pool {pool}: {health:?}"));
                self.wake(who, self.now);
            }
        }
    }

    fn shelf_is_broken(&self, who: usize, pool: usize) -> bool {
        let worker = &self.machines[who].workers[pool];
        let age = |at: Time| self.now.saturating_sub(at);
        if let Some(watch) = &worker.watch {
            let oldest = watch.read.iter().min().copied().unwrap_or(self.now);
            let newest = watch.read.iter().max().copied().unwrap_or(self.now);
            let limit = match self.copies[pool].is_empty() {
                true => ALL_SILENT_WITHOUT_LEDGER,
                false => ALL_SILENT,
            };
            return age(oldest) >= ONE_SILENT || age(newest) >= limit;
        }
        let stuck = worker
            .looking_since
            .is_some_and(|since| age(since) >= ALL_SILENT);
        let local = self.machines[who].clock.read(self.now);
        stuck || worker.ledger.fell_silent(local) || worker.unready
    }

    /// An idle worker looks at the pool; what it finds is known when every disk has answered or failed to.
    pub fn idle_look(&mut self, who: usize, pool: usize) {
        let boot = self.machines[who].boot;
        let now = self.now;
        let disks = || self.disks_of(pool).map(|disk| &self.disks[disk]);
        let silent = disks().any(|disk| disk.powered && disk.silent_until[who] > now);
        let answers = disks().all(|disk| disk.answers(who));
        let some = disks().any(|disk| disk.answers(who));
        let slowest = disks().map(|disk| disk.slow).max().unwrap_or(0);
        let can_lease = self.can_lease(who);
        let worker = &mut self.machines[who].workers[pool];
        let mut next = LOOK_INTERVAL;
        if worker.job.is_some() {
            worker.looking_since = None;
        } else if silent {
            worker.looking_since = worker.looking_since.or(Some(now));
            next = 100 * MS;
        } else if slowest > 0 && worker.looking_since.is_none() {
            worker.looking_since = Some(now);
            next = self.rng.below(slowest);
        } else {
            worker.looking_since = None;
            if worker.watch.is_none() {
                worker.unready = !answers || self.bare[pool] || !can_lease;
                if some && !self.bare[pool] {
                    self.follow_ledger(who, pool);
                }
            }
        }
        self.at(now + next, Event::IdleLook { who, boot, pool });
    }
}
