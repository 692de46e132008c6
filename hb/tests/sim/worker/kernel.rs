//! Steps of the kernel's: activating and exporting, their undoing, and what goes wrong in them.

use orthrus_hb::{Done, Failure, Work};

use crate::clock::{MS, SECOND, Time};
use crate::event::Event;
use crate::world::World;

use super::{Stage, Trouble};

/// `STEP_LIMIT` of the export, and `STOP_LIMIT` of the NFS server.
pub const STEP_LIMIT: Time = 12 * SECOND;
/// `END_LIMIT` of the ledger.
pub const END_LIMIT: Time = 8 * SECOND;
/// Steps of the kernel's in an import.
const IMPORT_STEPS: u8 = 3;
/// After so many of them a pool is exported.
pub const STEPS_TO_EXPORT: u64 = 2;
/// The longest that one takes where nothing is wrong.
pub const KERNEL_STEP_MAX: Time = 150 * MS;

impl World {
    /// The worker is at this stage for so long, and nothing can go wrong there.
    pub fn stay(&mut self, who: usize, pool: usize, stage: Stage, time: Time) {
        let boot = self.machines[who].boot;
        let worker = &mut self.machines[who].workers[pool];
        worker.stage = stage;
        worker.serial += 1;
        let serial = worker.serial;
        self.at(
            self.now + time,
            Event::KernelStep {
                who,
                boot,
                pool,
                serial,
            },
        );
    }

    /// A step of the kernel's begins; troubles show here.
    pub(super) fn kernel_step(&mut self, who: usize, pool: usize, stage: Stage) {
        let boot = self.machines[who].boot;
        let worker = &mut self.machines[who].workers[pool];
        worker.stage = stage;
        worker.serial += 1;
        let serial = worker.serial;
        let trouble = worker.take_trouble();
        let time = match trouble {
            Some(Trouble::Hangs) => {
                worker.stage = Stage::Hung;
                return;
            }
            Some(Trouble::Slow) => self.rng.range(SECOND, 40 * SECOND),
            Some(Trouble::Fails) => {
                let result = Err(Failure::Device);
                let time = self.rng.range(MS, SECOND);
                self.machines[who].workers[pool].failure = Some(Failure::Device);
                self.at(
                    self.now + time,
                    Event::KernelFails {
                        who,
                        boot,
                        pool,
                        serial,
                        result,
                    },
                );
                return;
            }
            None => self.rng.range(5 * MS, KERNEL_STEP_MAX),
        };
        self.at(
            self.now + time,
            Event::KernelStep {
                who,
                boot,
                pool,
                serial,
            },
        );
    }

    pub fn kernel_fails(
        &mut self,
        who: usize,
        pool: usize,
        serial: u64,
        result: Result<Done, Failure>,
    ) {
        if self.machines[who].workers[pool].serial == serial {
            self.finish(who, pool, result);
        }
    }

    pub fn kernel_stepped(&mut self, who: usize, pool: usize, serial: u64) {
        let worker = &mut self.machines[who].workers[pool];
        if worker.serial != serial {
            return;
        }
        match worker.stage {
            Stage::Wait => self.begin(who, pool, Stage::ReadOthers),
            Stage::Pause => self.pause_over(who, pool),
            Stage::Import(step) if step + 1 == IMPORT_STEPS => {
                self.finish(who, pool, Ok(Done::Imported));
            }
            Stage::Import(step) => {
                if step == 0 {
                    self.stamp(who, pool);
                }
                let worker = &mut self.machines[who].workers[pool];
                if u64::from(step) + 1 == STEPS_TO_EXPORT {
                    worker.exported = true;
                    self.outage_ends(who, pool);
                }
                self.kernel_step(who, pool, Stage::Import(step + 1));
            }
            Stage::Deactivate => self.quiet_ledger(who, pool),
            _ => {}
        }
    }

    /// The disks take what this head writes.
    fn may_write(&self, who: usize, pool: usize) -> bool {
        let nexus = &self.machines[who].nexus;
        self.disks_of(pool).all(|disk| {
            let state = &self.disks[disk];
            state.answers_now(who, self.now) && state.may_write(nexus[disk])
        })
    }

    /// The claim's epoch goes into the metadata of every disk that this head may write, before anything else is written.
    fn stamp(&mut self, who: usize, pool: usize) {
        let machine = &self.machines[who];
        let Some(epoch) = machine.workers[pool].claim else {
            return;
        };
        let nexus = machine.nexus.clone();
        for disk in self.disks_of(pool) {
            let state = &mut self.disks[disk];
            if state.answers_now(who, self.now) && state.may_write(nexus[disk]) {
                state.stamp = state.stamp.max(epoch);
                self.checks.stamped(pool, epoch);
            }
        }
    }

    /// No new writes; those in the kernel must end before anything else is undone.
    pub(super) fn drain(&mut self, who: usize, pool: usize) {
        let boot = self.machines[who].boot;
        let worker = &mut self.machines[who].workers[pool];
        worker.exported = false;
        worker.stage = Stage::Drain;
        worker.serial += 1;
        let serial = worker.serial;
        if worker.in_flight == 0 {
            return self.kernel_step(who, pool, Stage::Deactivate);
        }
        self.at(
            self.now + STEP_LIMIT,
            Event::StageLimit {
                who,
                boot,
                pool,
                serial,
            },
        );
    }

    /// A client's write left the kernel.
    pub fn drained(&mut self, who: usize, pool: usize) {
        let worker = &mut self.machines[who].workers[pool];
        worker.in_flight -= 1;
        if worker.in_flight == 0 && worker.stage == Stage::Drain {
            self.kernel_step(who, pool, Stage::Deactivate);
        }
    }

    /// No more records: what is under way must end before the keys go.
    fn quiet_ledger(&mut self, who: usize, pool: usize) {
        let boot = self.machines[who].boot;
        let worker = &mut self.machines[who].workers[pool];
        worker.stage = Stage::Quiet;
        worker.serial += 1;
        let serial = worker.serial;
        worker.ledger.revoke();
        self.at(
            self.now + END_LIMIT,
            Event::StageLimit {
                who,
                boot,
                pool,
                serial,
            },
        );
        self.quieted(who, pool);
    }

    /// A record left the kernel.
    pub fn quieted(&mut self, who: usize, pool: usize) {
        let worker = &mut self.machines[who].workers[pool];
        if worker.stage == Stage::Quiet && worker.ledger.is_quiet() {
            let destroys = worker.job.is_some_and(|job| job.work == Work::Destroy);
            // A pool that is somebody else's by now is not written to, and stays what it is.
            if destroys && self.may_write(who, pool) {
                self.unmade(who, pool);
            }
            self.machines[who].workers[pool].watch = None;
            let worker = &self.machines[who].workers[pool];
            // Of a claim whose members changed meanwhile as well.
            let peer_is_done = worker.job.is_none_or(|job| job.peer_is_done);
            let peer_may_write = worker.found && !peer_is_done;
            match self.plain {
                true => self.let_lease_go(who, pool),
                false if peer_may_write => self.leave_reserved(who, pool),
                false => self.begin(who, pool, Stage::LetGoOthers),
            }
        }
    }
}
