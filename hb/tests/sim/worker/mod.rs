//! A pool's worker on one head, as a sequence of stages: what `init/src/worker` and
//! `init/src/fence` do, in virtual time.
//!
//! ```text
//! survey:   group ─► look ─► slots of the ledger
//! claim:    group ─► look ─► arbiter ─► others ─► wait ─► read back ─► prove ─► group; the ledger may be written
//!           └── any failure: let go of all, the arbiter last
//! import:   three steps of the kernel's; clients are served from the second on
//! release:  drain ─► kernel's step ─► no more records ─► watch off ─► let go of all, the arbiter last
//! ```
//!
//! Metadata are read from all members that they name, and a pool that is seen only in part is refused.

mod claim;
mod kernel;
mod leftover;

use orthrus_hb::{Authority, Done, Epoch, Failure, Holder, Job, Key, Outcome, PoolId, Work};

use crate::clock::{NEVER, SECOND, Time};
use crate::event::{Event, Origin};
use crate::lease::{self, Leasing};
use crate::ledger::Ledger;
use crate::shelf::Answer;
use crate::task::{Claimant, Kind, Next, Task};
use crate::term::Term;
use crate::watch::Watch;
use crate::world::World;

use leftover::Leftovers;

pub use kernel::{END_LIMIT, KERNEL_STEP_MAX, STEP_LIMIT, STEPS_TO_EXPORT};
pub use leftover::MOST_ROUNDS;

/// `DISKS_LIMIT` of the fence.
pub const DISKS_LIMIT: Time = 20 * SECOND;
/// `SURVEY_LIMIT` of the ledger.
pub const SLOTS_LIMIT: Time = 4 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Idle,
    /// Metadata before anything else: its reads block for as long as the kernel tries.
    Group,
    Look,
    /// The ledger's records, for their epochs.
    Slots,
    /// The same of every copy, for a lease; and a record onto every copy.
    AllSlots,
    Record,
    /// Of a claim by lease.
    Pause,
    Arbiter,
    Others,
    /// For writes that could not be aborted.
    Wait,
    ReadOthers,
    ReadArbiter,
    Prove,
    GroupAgain,
    Import(u8),
    Drain,
    Deactivate,
    /// Records under way must end before the keys go.
    Quiet,
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
    /// Number of the claim that is held or attempted.
    pub attempt: u64,
    pub watch: Option<Watch>,
    pub exported: bool,
    /// When a claim by lease of this boot last failed.
    pub lease_failed: Time,
    /// Clients' writes that the kernel has not ended.
    pub in_flight: u32,
    pub trouble: Option<(Trouble, u32)>,
    /// What the survey under way found, until the ledger is read as well.
    surveyed: Option<Result<Done, Failure>>,
    pub ledger: Ledger,
    /// Since when a look of the idle worker does not end.
    pub looking_since: Option<Time>,
    /// The last one found the pool not fit to be served here.
    pub unready: bool,
    /// Of a lease: the job under way, and what is held.
    pub leasing: Leasing,
    pub term: Option<Term>,
    /// Of the claim under way.
    leftovers: Leftovers,
    /// Some disk has shown a key, or may have forgotten one, since the last one of ours was taken off.
    pub found: bool,
    /// Why the claim or release under way will be said to have failed.
    pub failure: Option<Failure>,
}

impl Worker {
    pub fn new(copies: usize) -> Worker {
        Worker {
            job: None,
            stage: Stage::Idle,
            tasks: Vec::new(),
            orphans: Vec::new(),
            serial: 0,
            claim: None,
            attempt: 0,
            watch: None,
            exported: false,
            lease_failed: 0,
            in_flight: 0,
            trouble: None,
            surveyed: None,
            ledger: Ledger::new(copies),
            looking_since: None,
            unready: false,
            leasing: Leasing::default(),
            term: None,
            leftovers: Leftovers::default(),
            found: false,
            failure: None,
        }
    }

    /// What goes wrong in the next step.
    pub fn take_trouble(&mut self) -> Option<Trouble> {
        let trouble = self.trouble.map(|(trouble, _)| trouble);
        let left = self
            .trouble
            .and_then(|(t, left)| Some((t, left.checked_sub(1)?)));
        self.trouble = left;
        trouble
    }
}

/// By what right a job takes reservations, if it does.
pub fn claims(job: &Job) -> Option<Authority> {
    match job.work {
        Work::Claim { authority, .. } => Some(authority),
        Work::Make => Some(Authority::Free),
        Work::Survey | Work::Inspect | Work::Import | Work::Release | Work::Destroy => None,
    }
}

/// Up to which epoch a job may remove the peer's keys.
pub fn covers(job: &Job) -> Epoch {
    match job.work {
        Work::Claim { covers, .. } => covers,
        _ => Epoch::NONE,
    }
}

impl World {
    pub fn start_job(&mut self, who: usize, job: Job) {
        let worker = &mut self.machines[who].workers[job.pool.index()];
        assert!(worker.job.is_none(), "a pool has one job at a time");
        worker.job = Some(job);
        worker.failure = None;
        worker.leftovers = Leftovers::default();
        let pool = job.pool.index();
        if let Some(authority) = claims(&job) {
            self.ids += 1;
            worker.attempt = self.ids;
            self.claim_begins(who, pool, job.epoch, authority);
        }
        let worker = &self.machines[who].workers[pool];
        match job.work {
            Work::Survey | Work::Claim { .. } | Work::Inspect | Work::Make => {
                self.begin(who, pool, Stage::Group);
            }
            Work::Import if worker.claim != Some(job.epoch) => {
                self.finish(who, pool, Err(Failure::Device));
            }
            Work::Import => self.kernel_step(who, pool, Stage::Import(0)),
            Work::Release | Work::Destroy if worker.claim.is_none() => {
                self.finish(who, pool, Ok(Done::Released));
            }
            Work::Release | Work::Destroy => self.drain(who, pool),
        }
    }

    pub fn finish(&mut self, who: usize, pool: usize, result: Result<Done, Failure>) {
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
    pub fn begin(&mut self, who: usize, pool: usize, stage: Stage) {
        let disks: Vec<usize> = self.disks_of(pool).collect();
        let (arbiter, others) = (disks[..1].to_vec(), disks[1..].to_vec());
        let (kind, members) = match stage {
            Stage::Group | Stage::Look | Stage::GroupAgain => (Kind::Look, disks),
            Stage::Slots | Stage::AllSlots => (Kind::Slots, self.copies[pool].clone()),
            Stage::Record => (self.record_to_write(who, pool), self.copies[pool].clone()),
            Stage::Arbiter => (Kind::Take { arbiter: true }, arbiter),
            Stage::Others => (Kind::Take { arbiter: false }, others),
            Stage::ReadOthers => (Kind::ReadBack { arbiter: false }, others),
            Stage::ReadArbiter => (Kind::ReadBack { arbiter: true }, arbiter),
            Stage::Prove => (Kind::Prove, disks),
            Stage::LetGoOthers => (Kind::LetGo, others),
            Stage::LetGoArbiter => (Kind::LetGo, arbiter),
            Stage::Idle
            | Stage::Wait
            | Stage::Pause
            | Stage::Import(_)
            | Stage::Drain
            | Stage::Deactivate
            | Stage::Quiet
            | Stage::Hung => unreachable!("not a stage of disks"),
        };
        let (head, boot) = (self.machines[who].id, self.machines[who].boot);
        let worker = &mut self.machines[who].workers[pool];
        let job = worker.job.expect("a stage belongs to a job");
        let epoch = match job.work {
            Work::Release | Work::Destroy => worker.claim.unwrap_or(job.epoch),
            _ => job.epoch,
        };
        let authority = claims(&job).unwrap_or(Authority::Free);
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
            attempt: worker.attempt,
            key,
            authority,
            covers: covers(&job),
        };
        worker.stage = stage;
        worker.serial += 1;
        worker.tasks.clear();
        let serial = worker.serial;
        // The kernel reads metadata for as long as it takes; the fence has its own limit.
        let limit = match stage {
            Stage::Group | Stage::GroupAgain => NEVER,
            Stage::Slots => self.now + SLOTS_LIMIT,
            Stage::AllSlots | Stage::Record => self.now + lease::SLOT_LIMIT,
            _ => self.now + DISKS_LIMIT,
        };
        if members.is_empty() {
            return self.stage_over(who, pool);
        }
        let mut first = Vec::new();
        for disk in members {
            self.ids += 1;
            let mut task = Task::new(self.ids, disk, kind, claimant);
            task.keeps = self.keeps(who, pool, disk);
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
            Next::Finished(_) if task.given_up => {
                let looks = matches!(task.kind, Kind::Look | Kind::Slots | Kind::Record(_));
                if looks || task.kind == Kind::LetGo {
                    worker.orphans.retain(|task| task.id != id);
                    return;
                }
                // Came back too late: the undo may have run before its last command took effect.
                let mut late = Task::new(id, disk, Kind::LetGo, task.claimant);
                (late.given_up, late.keeps) = (true, task.keeps);
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
            Stage::Import(_) | Stage::Deactivate | Stage::Wait | Stage::Pause | Stage::Hung
        ) {
            return;
        }
        if matches!(worker.stage, Stage::Drain | Stage::Quiet) {
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
        let worker = &mut self.machines[who].workers[pool];
        let tasks = std::mem::take(&mut worker.tasks);
        let mut seen = Vec::new();
        let mut failure = None;
        let stage = worker.stage;
        for mut task in tasks {
            worker.leftovers.note(&task);
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
        let claiming = claims(&job).is_some();
        let making = matches!(job.work, Work::Inspect | Work::Make);
        let forgets = || self.disks_of(pool).any(|disk| !self.disks[disk].persistent);
        if stage == Stage::Look && (forgets() || self.keys(&seen).any(|key| key.is_some())) {
            self.machines[who].workers[pool].found = true;
        }
        match (stage, failure) {
            (Stage::Group, failure) => {
                // Whatever speaks against serving it, the peer may tick there.
                if !seen.is_empty() && !self.bare[pool] {
                    self.follow_ledger(who, pool);
                }
                // What is not there is not found, and what is there is not made again.
                match failure {
                    None if making != self.bare[pool] => {
                        self.finish(who, pool, Err(Failure::Refused));
                    }
                    Some(_) => self.finish(who, pool, Err(Failure::Refused)),
                    None => self.begin(who, pool, Stage::Look),
                }
            }
            (Stage::Look, Some(why)) => self.finish(who, pool, Err(why)),
            (Stage::Look, None) if self.plain => self.begin_lease(who, pool, &job),
            (Stage::AllSlots, why) => self.slots_read(who, pool, &seen, why),
            (Stage::Record, why) => self.slots_written(who, pool, why),
            (Stage::Look, None) if claiming => self.choose_key(who, pool, &job, &seen),
            (Stage::Look, None) => {
                let result = match self.surveyed(who, &seen, self.stamped(pool)) {
                    Ok(Done::Surveyed {
                        holder: Holder::Peer(held),
                        ..
                    }) if making => Err(Failure::HeldByPeer(held)),
                    result => result,
                };
                self.machines[who].workers[pool].surveyed = Some(result);
                self.begin(who, pool, Stage::Slots);
            }
            // A copy that cannot be read counts for nothing.
            (Stage::Slots, _) => {
                let regions = seen.iter().filter_map(|one| one.region.as_deref());
                let recorded = self.greatest_recorded(pool, regions);
                let result = self.machines[who].workers[pool].surveyed.take();
                let mut result = result.expect("the look came first");
                if let Ok(Done::Surveyed { greatest, .. }) = &mut result {
                    *greatest = recorded.max(*greatest);
                }
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
            (Stage::Others, None) => self.wait_for_leftovers(who, pool, &job),
            (Stage::ReadOthers, None) => self.begin(who, pool, Stage::ReadArbiter),
            (Stage::ReadArbiter, None) => self.read_back_over(who, pool),
            (Stage::Prove, None) => {
                self.claimed(who, pool, job.epoch);
                if making {
                    self.made(who, pool);
                }
                self.begin(who, pool, Stage::GroupAgain);
            }
            (Stage::GroupAgain, Some(_)) => {
                self.machines[who].workers[pool].failure = Some(Failure::Refused);
                self.drain(who, pool);
            }
            (Stage::GroupAgain, None) => {
                self.grant_ledger(who, pool, job.epoch);
                let done = self.lease_done(who, pool);
                self.finish(who, pool, Ok(done));
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
                | Stage::Pause
                | Stage::Import(_)
                | Stage::Drain
                | Stage::Deactivate
                | Stage::Quiet
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
}
