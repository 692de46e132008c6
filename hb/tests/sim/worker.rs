//! A pool's worker on one head, as a sequence of stages: what `init/src/worker` and
//! `init/src/fence` do, in virtual time.
//!
//! ```text
//! survey:   group ─► look
//! claim:    group ─► look ─► arbiter ─► others ─► wait ─► read back ─► prove ─► group ─► stamp
//!           └── any failure: let go of all, the arbiter last
//! import:   three steps of the kernel's; clients are served from the second on
//! release:  drain ─► kernel's step ─► watch off ─► let go of all, the arbiter last
//! ```

use orthrus_hb::{Authority, Done, Epoch, Failure, Holder, Job, Key, Outcome, PoolId, Work};

use crate::clock::{MS, NEVER, SECOND, Time};
use crate::shelf::{Answer, LIFETIME, Seen};
use crate::task::{Claimant, Kind, Next, Task};
use crate::world::{Event, Io, Origin, World};

/// `DISKS_LIMIT` of the fence.
const DISKS_LIMIT: Time = 20 * SECOND;
/// `STEP_LIMIT` of the export.
const STEP_LIMIT: Time = 5 * SECOND;
/// Steps of the kernel's in an import.
const IMPORT_STEPS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Idle,
    /// Metadata before anything else: its reads block for as long as the kernel tries.
    Group,
    Look,
    Arbiter,
    Others,
    /// For writes that could not be aborted.
    Wait,
    ReadOthers,
    ReadArbiter,
    Prove,
    GroupAgain,
    Stamp,
    Import(u8),
    Drain,
    Deactivate,
    LetGoOthers,
    LetGoArbiter,
    /// Stuck in the kernel: only a reset ends it.
    Hung,
}

/// What goes wrong in the next steps of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Slow,
    Fails,
    Hangs,
}

/// The watch over a claim.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    pub epoch: Epoch,
    pub serial: u64,
    pub lost: bool,
    pub round: u32,
}

pub struct Worker {
    pub job: Option<Job>,
    pub stage: Stage,
    /// The stage's share of each disk.
    pub tasks: Vec<Task>,
    /// Of stages that went on without them.
    pub orphans: Vec<Task>,
    /// Tells late timers of earlier stages.
    pub serial: u64,
    pub claim: Option<Epoch>,
    pub watch: Option<Watch>,
    pub exported: bool,
    /// Clients' writes that the kernel has not ended.
    pub in_flight: u32,
    pub trouble: Option<(Trouble, u32)>,
    /// The claim must wait for writes of a former owner.
    unaborted: bool,
    /// Why the claim or release under way will be said to have failed.
    failure: Option<Failure>,
}

impl Worker {
    pub fn new() -> Worker {
        Worker {
            job: None,
            stage: Stage::Idle,
            tasks: Vec::new(),
            orphans: Vec::new(),
            serial: 0,
            claim: None,
            watch: None,
            exported: false,
            in_flight: 0,
            trouble: None,
            unaborted: false,
            failure: None,
        }
    }
}

impl World {
    pub fn start_job(&mut self, who: usize, job: Job) {
        let worker = &mut self.machines[who].workers[job.pool.index()];
        assert!(worker.job.is_none(), "a pool has one job at a time");
        worker.job = Some(job);
        worker.failure = None;
        worker.unaborted = false;
        let pool = job.pool.index();
        match job.work {
            Work::Survey | Work::Claim { .. } => self.begin(who, pool, Stage::Group),
            Work::Import if worker.claim != Some(job.epoch) => {
                self.finish(who, pool, Err(Failure::Device));
            }
            Work::Import => self.kernel_step(who, pool, Stage::Import(0)),
            Work::Release if worker.claim.is_none() => self.finish(who, pool, Ok(Done::Released)),
            Work::Release => self.drain(who, pool),
        }
    }

    fn finish(&mut self, who: usize, pool: usize, result: Result<Done, Failure>) {
        let worker = &mut self.machines[who].workers[pool];
        worker.stage = Stage::Idle;
        let Some(job) = worker.job.take() else { return };
        self.trace(|| format!("{who} pool {pool}: {:?} -> {result:?}", job.work));
        let outcome = Outcome {
            pool: PoolId(pool as u8),
            ticket: job.ticket,
            epoch: job.epoch,
            result,
        };
        self.machines[who].outcomes.push_back(outcome);
        self.wake(who, self.now);
    }

    /// Begins a stage that works on disks in parallel.
    fn begin(&mut self, who: usize, pool: usize, stage: Stage) {
        let disks = self.disks_of(pool);
        let (kind, members) = match stage {
            Stage::Group | Stage::Look | Stage::GroupAgain => (Kind::Look, disks),
            Stage::Arbiter => (Kind::Take { arbiter: true }, disks.start..disks.start + 1),
            Stage::Others => (Kind::Take { arbiter: false }, disks.start + 1..disks.end),
            Stage::ReadOthers => (Kind::ReadBack, disks.start + 1..disks.end),
            Stage::ReadArbiter => (Kind::ReadBack, disks.start..disks.start + 1),
            Stage::Prove => (Kind::Prove, disks),
            Stage::Stamp => (Kind::Stamp, disks),
            Stage::LetGoOthers => (Kind::LetGo, disks.start + 1..disks.end),
            Stage::LetGoArbiter => (Kind::LetGo, disks.start..disks.start + 1),
            Stage::Idle
            | Stage::Wait
            | Stage::Import(_)
            | Stage::Drain
            | Stage::Deactivate
            | Stage::Hung => unreachable!("not a stage of disks"),
        };
        let (head, boot) = (self.machines[who].id, self.machines[who].boot);
        let worker = &mut self.machines[who].workers[pool];
        let job = worker.job.expect("a stage belongs to a job");
        let epoch = match job.work {
            Work::Release => worker.claim.unwrap_or(job.epoch),
            _ => job.epoch,
        };
        let authority = match job.work {
            Work::Claim { authority } => authority,
            _ => Authority::Free,
        };
        let cluster = self.cluster;
        let key = Key {
            cluster,
            head,
            epoch,
        };
        let claimant = Claimant {
            cluster,
            who,
            boot,
            key,
            authority,
        };
        worker.stage = stage;
        worker.serial += 1;
        worker.tasks.clear();
        let serial = worker.serial;
        // The kernel reads metadata for as long as it takes; the fence has its own limit.
        let limit = match stage {
            Stage::Group | Stage::GroupAgain => NEVER,
            _ => self.now + DISKS_LIMIT,
        };
        if members.is_empty() {
            return self.stage_over(who, pool);
        }
        let mut first = Vec::new();
        for disk in members {
            self.ids += 1;
            let mut task = Task::new(self.ids, disk, kind, claimant);
            first.push((disk, task.id, task.begin()));
            self.machines[who].workers[pool].tasks.push(task);
        }
        for (disk, id, command) in first {
            self.submit(who, disk, command, Origin::Task { pool, id });
        }
        if limit != NEVER {
            self.at(
                limit,
                Event::StageLimit {
                    who,
                    boot,
                    pool,
                    serial,
                },
            );
        }
    }

    /// An answer for one disk's task, or the end of its pause.
    pub fn advance_task(&mut self, who: usize, pool: usize, id: u64, answer: Option<Answer>) {
        let worker = &mut self.machines[who].workers[pool];
        let all = worker.tasks.iter_mut().chain(&mut worker.orphans);
        let Some(task) = all.into_iter().find(|task| task.id == id) else {
            return;
        };
        let disk = task.disk;
        let next = match answer {
            Some(answer) => task.advance(answer),
            None => task.resume(),
        };
        match next {
            Next::Send(command) => self.submit(who, disk, command, Origin::Task { pool, id }),
            Next::Pause(time) => {
                let boot = self.machines[who].boot;
                self.at(
                    self.now + time,
                    Event::TaskPause {
                        who,
                        boot,
                        pool,
                        id,
                    },
                );
            }
            Next::Finished(outcome) if task.given_up => {
                let ended = task.kind == Kind::LetGo || outcome.is_ok() && task.kind == Kind::Look;
                if ended || task.kind == Kind::Look {
                    worker.orphans.retain(|task| task.id != id);
                    return;
                }
                // Came back too late: the undo may have run before its last command took effect.
                let mut late = Task::new(id, disk, Kind::LetGo, task.claimant);
                late.given_up = true;
                let command = late.begin();
                *task = late;
                self.submit(who, disk, command, Origin::Task { pool, id });
            }
            Next::Finished(outcome) => {
                task.outcome = Some(outcome);
                let stage = worker.stage;
                if worker.tasks.iter().all(|task| task.outcome.is_some()) && stage != Stage::Hung {
                    self.stage_over(who, pool);
                }
            }
        }
    }

    /// A stage on disks took too long: it goes on without those that did not answer.
    pub fn stage_limit(&mut self, who: usize, pool: usize, serial: u64) {
        let worker = &mut self.machines[who].workers[pool];
        if worker.serial != serial || worker.stage == Stage::Idle {
            return;
        }
        if matches!(
            worker.stage,
            Stage::Import(_) | Stage::Deactivate | Stage::Wait | Stage::Hung
        ) {
            return;
        }
        if worker.stage == Stage::Drain {
            return self.finish(who, pool, Err(Failure::Device));
        }
        for task in &mut worker.tasks {
            if task.outcome.is_none() {
                task.outcome = Some(Err(Failure::Device));
                task.given_up = true;
            }
        }
        self.stage_over(who, pool);
    }

    fn stage_over(&mut self, who: usize, pool: usize) {
        let now = self.now;
        let worker = &mut self.machines[who].workers[pool];
        let tasks = std::mem::take(&mut worker.tasks);
        let mut seen = Vec::new();
        let mut failure = None;
        let stage = worker.stage;
        for mut task in tasks {
            worker.unaborted |= task.unaborted;
            match task.outcome.take() {
                Some(Ok(one)) => seen.push(one),
                Some(Err(why)) => failure = failure.or(Some(why)),
                None => {}
            }
            if task.given_up {
                worker.orphans.push(task);
            }
        }
        let Some(job) = worker.job else { return };
        let claiming = matches!(job.work, Work::Claim { .. });
        match (stage, failure) {
            (Stage::Group, Some(_)) => self.finish(who, pool, Err(Failure::Refused)),
            (Stage::Group, None) => self.begin(who, pool, Stage::Look),
            (Stage::Look, Some(why)) => self.finish(who, pool, Err(why)),
            (Stage::Look, None) if claiming => self.choose_key(who, pool, &job, &seen),
            (Stage::Look, None) => {
                let result = self.surveyed(who, &seen);
                self.finish(who, pool, result);
            }
            (
                Stage::Arbiter
                | Stage::Others
                | Stage::ReadOthers
                | Stage::ReadArbiter
                | Stage::Prove,
                Some(why),
            ) => self.undo(who, pool, why),
            (Stage::Arbiter, None) => self.begin(who, pool, Stage::Others),
            (Stage::Others, None) if worker.unaborted => {
                worker.stage = Stage::Wait;
                worker.serial += 1;
                let (serial, boot) = (worker.serial, self.machines[who].boot);
                self.at(
                    now + LIFETIME,
                    Event::KernelStep {
                        who,
                        boot,
                        pool,
                        serial,
                    },
                );
            }
            (Stage::Others, None) => self.begin(who, pool, Stage::ReadOthers),
            (Stage::ReadOthers, None) => self.begin(who, pool, Stage::ReadArbiter),
            (Stage::ReadArbiter, None) => self.begin(who, pool, Stage::Prove),
            (Stage::Prove, None) => {
                self.claimed(who, pool, job.epoch);
                self.begin(who, pool, Stage::GroupAgain);
            }
            (Stage::GroupAgain | Stage::Stamp, Some(why)) => {
                self.machines[who].workers[pool].failure = Some(match stage {
                    Stage::Stamp => why,
                    _ => Failure::Refused,
                });
                self.drain(who, pool);
            }
            (Stage::GroupAgain, None) => self.begin(who, pool, Stage::Stamp),
            (Stage::Stamp, None) => {
                self.checks.stamped(pool, job.epoch);
                self.finish(who, pool, Ok(Done::Claimed));
            }
            (Stage::LetGoOthers, why) => {
                self.note_failure(who, pool, why);
                self.begin(who, pool, Stage::LetGoArbiter);
            }
            (Stage::LetGoArbiter, why) => {
                self.note_failure(who, pool, why);
                self.let_go(who, pool, claiming);
            }
            (
                Stage::Idle
                | Stage::Wait
                | Stage::Import(_)
                | Stage::Drain
                | Stage::Deactivate
                | Stage::Hung,
                _,
            ) => {}
        }
    }

    /// A release that could not take a key off says so; a claim that failed has its own words.
    fn note_failure(&mut self, who: usize, pool: usize, why: Option<Failure>) {
        let worker = &mut self.machines[who].workers[pool];
        worker.failure = worker.failure.or(why);
    }

    fn let_go(&mut self, who: usize, pool: usize, claiming: bool) {
        let head = self.machines[who].id.number();
        let ours = |(_, key): &(_, u64)| (key >> 32) as u8 == head;
        if !self
            .disks_of(pool)
            .any(|disk| self.disks[disk].registrants.iter().any(ours))
        {
            self.checks.released(pool, who);
        }
        let worker = &mut self.machines[who].workers[pool];
        match worker.failure.take() {
            Some(why) if claiming => {
                worker.claim = None;
                self.finish(who, pool, Err(why));
            }
            Some(why) => self.finish(who, pool, Err(why)),
            None => {
                worker.claim = None;
                self.finish(who, pool, Ok(Done::Released));
            }
        }
    }

    fn undo(&mut self, who: usize, pool: usize, why: Failure) {
        self.trace(|| format!("{who} pool {pool}: claim fails: {why:?}"));
        let worker = &mut self.machines[who].workers[pool];
        worker.failure = Some(why);
        self.begin(who, pool, Stage::LetGoOthers);
    }

    fn keys<'a>(&'a self, seen: &'a [Seen]) -> impl Iterator<Item = Option<Key>> + 'a {
        seen.iter()
            .flat_map(|disk| disk.keys.iter().chain(&disk.holder))
            .map(|bits| Key::from_bits(*bits, self.cluster))
    }

    fn surveyed(&self, who: usize, seen: &[Seen]) -> Result<Done, Failure> {
        if self.keys(seen).any(|key| key.is_none()) {
            return Err(Failure::Stranger);
        }
        let stamp = seen.iter().map(|disk| Epoch(disk.stamp)).max();
        let keys = || self.keys(seen).flatten();
        let peer = self.machines[who].id.peer();
        let held = keys()
            .filter(|key| key.head == peer)
            .map(|key| key.epoch)
            .max();
        Ok(Done::Surveyed {
            greatest: keys()
                .map(|key| key.epoch)
                .max()
                .max(stamp)
                .unwrap_or(Epoch::NONE),
            holder: held.map_or(Holder::Nobody, Holder::Peer),
        })
    }

    /// `claim::choose_key` and `vanished_owner` of the fence.
    fn choose_key(&mut self, who: usize, pool: usize, job: &Job, seen: &[Seen]) {
        let Work::Claim { authority } = job.work else {
            return;
        };
        let peer = self.machines[who].id.peer();
        let peers = |key: &Option<Key>| key.is_some_and(|key| key.head == peer);
        let stamp = seen.iter().map(|disk| Epoch(disk.stamp)).max();
        let refused = if self.keys(seen).any(|key| key.is_none()) {
            Some(Failure::Stranger)
        } else if let Some(Some(held)) = self.keys(seen).find(peers)
            && authority == Authority::Free
        {
            Some(Failure::HeldByPeer(held.epoch))
        } else {
            let all = self.keys(seen).flatten().map(|key| key.epoch).chain(stamp);
            all.into_iter()
                .find(|epoch| *epoch >= job.epoch)
                .map(Failure::HeldByPeer)
        };
        if let Some(why) = refused {
            return self.finish(who, pool, Err(why));
        }
        let vanished = authority == Authority::PeerDead
            && seen.iter().any(|disk| {
                let one = std::slice::from_ref(disk);
                !self.keys(one).any(|key| peers(&key))
            });
        self.machines[who].workers[pool].unaborted = vanished;
        self.begin(who, pool, Stage::Arbiter);
    }

    /// All disks are ours by read-back.
    fn claimed(&mut self, who: usize, pool: usize, epoch: Epoch) {
        let boot = self.machines[who].boot;
        self.trace(|| format!("{who} pool {pool}: claimed under {epoch}"));
        self.checks.claimed(pool, who, epoch);
        self.ids += 1;
        let serial = self.ids;
        let worker = &mut self.machines[who].workers[pool];
        worker.claim = Some(epoch);
        worker.watch = Some(Watch {
            epoch,
            serial,
            lost: false,
            round: 0,
        });
        self.at(
            self.now + 1,
            Event::Look {
                who,
                boot,
                pool,
                serial,
            },
        );
    }

    /// A step of the kernel's begins; troubles show here.
    fn kernel_step(&mut self, who: usize, pool: usize, stage: Stage) {
        let boot = self.machines[who].boot;
        let worker = &mut self.machines[who].workers[pool];
        worker.stage = stage;
        worker.serial += 1;
        let serial = worker.serial;
        let trouble = worker.trouble.map(|(trouble, _)| trouble);
        worker.trouble = worker
            .trouble
            .and_then(|(t, left)| left.checked_sub(1).map(|left| (t, left)));
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
            None => self.rng.range(5 * MS, 150 * MS),
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
            Stage::Import(step) if step + 1 == IMPORT_STEPS => {
                self.finish(who, pool, Ok(Done::Imported));
            }
            Stage::Import(step) => {
                worker.exported |= step == 1;
                self.kernel_step(who, pool, Stage::Import(step + 1));
            }
            Stage::Deactivate => {
                worker.watch = None;
                self.begin(who, pool, Stage::LetGoOthers);
            }
            _ => {}
        }
    }

    /// No new writes; those in the kernel must end before anything else is undone.
    fn drain(&mut self, who: usize, pool: usize) {
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

    /// The watch reads every disk back.
    pub fn look(&mut self, who: usize, pool: usize, serial: u64) {
        let boot = self.machines[who].boot;
        let worker = &self.machines[who].workers[pool];
        let Some(watch) = worker.watch else { return };
        let epoch = watch.epoch;
        if watch.serial != serial || watch.lost {
            return;
        }
        let own = Key {
            cluster: self.cluster,
            head: self.machines[who].id,
            epoch,
        }
        .to_bits();
        let probe = watch.round.is_multiple_of(5);
        let mut lost = false;
        for disk in self.disks_of(pool) {
            let nexus = self.machines[who].nexus[disk];
            let state = &self.disks[disk];
            // A disk that cannot be read is not a lost one.
            if !state.answers(who) || state.silent_until[who] > self.now {
                continue;
            }
            let seen = state.see();
            lost |= seen.holder != Some(own) || !seen.keys.contains(&own);
            lost |= probe && state.key_of(nexus).is_none();
            for bits in seen.keys.into_iter().filter(|bits| *bits != own) {
                match Key::from_bits(bits, self.cluster) {
                    Some(other) if other.epoch > epoch => lost = true,
                    Some(_) => self.remove_older(who, disk, own, bits),
                    None => {}
                }
            }
        }
        let Some(watch) = &mut self.machines[who].workers[pool].watch else {
            return;
        };
        watch.round += 1;
        if lost {
            watch.lost = true;
            self.trace(|| format!("{who} pool {pool}: the watch finds the fence lost"));
            if self.watch_resets {
                return self.reset(who, "the watch does it");
            }
        }
        self.at(
            self.now + 200 * MS,
            Event::Look {
                who,
                boot,
                pool,
                serial,
            },
        );
    }

    fn remove_older(&mut self, who: usize, disk: usize, own: u64, victim: u64) {
        for abort in [true, false] {
            let authority = Authority::Operator;
            let command = crate::shelf::Command::Preempt {
                own,
                victim,
                abort,
                authority,
            };
            let origin = Origin::Watch;
            let machine = &self.machines[who];
            let (boot, nexus) = (machine.boot, machine.nexus[disk]);
            let io = Io {
                who,
                boot,
                nexus,
                disk,
                command,
                origin,
            };
            self.execute(&io);
        }
    }
}
