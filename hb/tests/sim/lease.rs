//! Survey, claim and release of a pool whose disks have no reservations: `init/src/fence/lease.rs`, `worker/lease.rs`
//! and `ledger/slots.rs` there, in stages.
//!
//! ```text
//! survey:   look at every copy ─► slots of the ledger
//! claim:    outlive an earlier boot ─► look at every copy ─► as long as the peer's record says that it may live: wait, look again
//!           ─► write ours to every copy ─► settle ─► look at every copy ─► write ours again ─► group
//!           └── any failure after a write: a record that lets go
//! release:  ... no more records ─► a record that lets go
//! ```
//!
//! Every disk carries out every write of every head: what must keep a former owner from them is only that it is gone.

use std::cmp::Ordering;

use embassy_time::{Duration, Instant};
use orthrus_hb::ledger::{Lease, Record};
use orthrus_hb::{Authority, Done, Epoch, Failure, Holder, Job, PoolState};

use crate::clock::{MS, SECOND, Time};
use crate::shelf::{LIFETIME, RecordWrite, Seen, Word};
use crate::task::Kind;
use crate::term::Term;
use crate::worker::{Stage, Trouble, claims, covers};
use crate::world::World;

/// `LEASE` of the fence.
pub const LEASE: Duration = Duration::from_secs(4);
/// `SLOT_LIMIT` of the ledger.
pub const SLOT_LIMIT: Time = SECOND;
/// `SETTLE` of the fence.
pub const SETTLE: Time = 3 * SECOND;
/// `LOOK` of the fence.
pub const LOOK: Time = 500 * MS;

/// What the worker does with the slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Survey,
    FirstLook,
    LookAgain,
    Write,
    Decide,
    WriteAgain,
    TakeBack,
    LetGo,
}

/// Of the job under way.
#[derive(Default)]
pub struct Leasing {
    step: Step,
    /// The job's epoch.
    epoch: Epoch,
    /// When the first look began, and the last one.
    begun: Option<Instant>,
    looked: Option<Instant>,
    /// What the first one found of the peer.
    first: Option<Record>,
    /// How long that must not change.
    wait: Duration,
    /// The record that is being written, and when it was submitted.
    record: Option<RecordWrite>,
    submitted: Option<Instant>,
    /// Why the claim is taken back.
    failure: Option<Failure>,
}

fn micros(time: Time) -> Duration {
    Duration::from_micros(time)
}

impl World {
    /// What a takeover may take longer than one of reservations, at most.
    pub fn lease_wait(&self) -> Time {
        let periods = self.machines.iter().filter_map(|machine| machine.watchdog);
        let longest = periods.map(|watchdog| watchdog.period).max();
        // The former owner's times; then a look, a write, the settling, a look and a write.
        longest.map_or(0, |watchdog| {
            LEASE.as_micros() + watchdog + LIFETIME + LOOK + SETTLE + 4 * SLOT_LIMIT
        })
    }

    /// Its watchdog is hardware, and armed; or it needs none.
    pub fn can_lease(&self, who: usize) -> bool {
        self.machines[who]
            .watchdog
            .is_none_or(|watchdog| watchdog.armed)
    }

    fn local(&self, who: usize) -> Instant {
        self.machines[who].clock.read(self.now)
    }

    /// This head's own times.
    fn terms(&self, who: usize) -> Option<Lease> {
        let watchdog = self.machines[who].watchdog.filter(|w| w.armed)?;
        let ms = |time: Time| u32::try_from(time / MS).unwrap_or(u32::MAX);
        Some(Lease {
            lease_ms: ms(LEASE.as_micros()),
            watchdog_ms: ms(watchdog.period),
            io_ms: ms(LIFETIME),
            watchdog_armed: true,
        })
    }

    fn leasing(&mut self, who: usize, pool: usize) -> &mut Leasing {
        &mut self.machines[who].workers[pool].leasing
    }

    /// The disks were found to have no reservations: a survey or a claim goes on with the ledger.
    pub fn begin_lease(&mut self, who: usize, pool: usize, job: &Job) {
        if !self.can_lease(who) {
            return self.finish(who, pool, Err(Failure::Refused));
        }
        *self.leasing(who, pool) = Leasing {
            epoch: job.epoch,
            ..Leasing::default()
        };
        if claims(job).is_none() {
            return self.look_at_slots(who, pool, Step::Survey);
        }
        self.outlive_own_past(who, pool);
    }

    /// Nothing is written while something that an earlier boot, or a claim of this one that failed, had under way may reach a disk.
    fn outlive_own_past(&mut self, who: usize, pool: usize) {
        let since = self.machines[who].workers[pool].lease_failed;
        let up = self.now - self.machines[who].booted.max(since);
        match LIFETIME.saturating_sub(up) {
            0 => self.look_at_slots(who, pool, Step::FirstLook),
            left => {
                self.leasing(who, pool).step = Step::FirstLook;
                self.stay(who, pool, Stage::Pause, left);
            }
        }
    }

    /// Every copy is read.
    fn look_at_slots(&mut self, who: usize, pool: usize, step: Step) {
        let now = self.local(who);
        let leasing = self.leasing(who, pool);
        leasing.step = step;
        leasing.looked = Some(now);
        leasing.begun = leasing.begun.or(Some(now));
        self.begin(who, pool, Stage::AllSlots);
    }

    /// All of them were, or one was not.
    pub fn slots_read(&mut self, who: usize, pool: usize, seen: &[Seen], failure: Option<Failure>) {
        let step = self.leasing(who, pool).step;
        match (step, failure) {
            (Step::Decide, Some(why)) => return self.take_back(who, pool, why),
            (_, Some(why)) => return self.finish(who, pool, Err(why)),
            (_, None) => {}
        }
        let regions = || seen.iter().filter_map(|one| one.region.as_deref());
        let peer = self.peers_record(who, pool, regions());
        let held = peer.filter(|record| record.state.may_hold());
        match step {
            Step::Survey => {
                let done = Done::Surveyed {
                    greatest: self
                        .greatest_recorded(pool, regions())
                        .max(self.stamped(pool)),
                    holder: held.map_or(Holder::Nobody, |record| Holder::Peer(record.epoch)),
                };
                self.finish(who, pool, Ok(done));
            }
            Step::FirstLook => self.first_look(who, pool, peer),
            Step::LookAgain => self.looked_again(who, pool, peer),
            _ => self.decide_race(who, pool, held),
        }
    }

    fn first_look(&mut self, who: usize, pool: usize, peer: Option<Record>) {
        let job = self.machines[who].workers[pool].job.as_ref();
        let Some((authority, covers)) = job.and_then(|job| Some((claims(job)?, covers(job))))
        else {
            return;
        };
        let leasing = self.leasing(who, pool);
        let held = peer.filter(|record| record.state.may_hold());
        leasing.first = held;
        let Some(held) = held else {
            return self.found_free(who, pool);
        };
        if held.epoch >= leasing.epoch || held.epoch > covers || !authority.covers_peer() {
            return self.finish(who, pool, Err(Failure::HeldByPeer(held.epoch)));
        }
        let io = |lease: Lease| u64::from(lease.io_ms);
        let wait = match (authority, held.lease) {
            (Authority::PeerYields, lease) => lease.map_or(LIFETIME / MS, io),
            (_, Some(lease)) if lease.watchdog_armed => {
                u64::from(lease.lease_ms) + u64::from(lease.watchdog_ms) + io(lease)
            }
            _ => return self.finish(who, pool, Err(Failure::Refused)),
        };
        leasing.wait = Duration::from_millis(wait);
        self.look_at_slots(who, pool, Step::LookAgain);
    }

    fn looked_again(&mut self, who: usize, pool: usize, peer: Option<Record>) {
        let leasing = self.leasing(who, pool);
        if let Some(changed) = peer.filter(|record| Some(*record) != leasing.first) {
            return match changed.state.may_hold() {
                true => self.finish(who, pool, Err(Failure::HeldByPeer(changed.epoch))),
                false => self.found_free(who, pool),
            };
        }
        if elapsed(leasing.begun, leasing.looked) >= leasing.wait {
            return self.found_free(who, pool);
        }
        self.stay(who, pool, Stage::Pause, LOOK);
    }

    /// The last look found nothing of the peer that could be alive. The worker may be late to write.
    fn found_free(&mut self, who: usize, pool: usize) {
        self.leasing(who, pool).step = Step::Write;
        match self.machines[who].workers[pool].take_trouble() {
            Some(Trouble::Hangs) => self.machines[who].workers[pool].stage = Stage::Hung,
            Some(Trouble::Slow) => {
                let late = self.rng.below(10 * SECOND);
                self.stay(who, pool, Stage::Pause, late);
            }
            Some(Trouble::Fails) | None => self.write_claim(who, pool, 0),
        }
    }

    pub fn pause_over(&mut self, who: usize, pool: usize) {
        match self.leasing(who, pool).step {
            Step::Write => self.write_claim(who, pool, 0),
            step => self.look_at_slots(who, pool, step),
        }
    }

    fn write_claim(&mut self, who: usize, pool: usize, sequence: u64) {
        let now = self.local(who);
        let (state, lease) = (PoolState::Claiming, self.terms(who));
        self.leasing(who, pool).submitted = Some(now);
        self.write_slots(who, pool, (state, sequence, lease), Word::Claims);
    }

    /// A record of ours onto every copy.
    fn write_slots(
        &mut self,
        who: usize,
        pool: usize,
        (state, sequence, lease): (PoolState, u64, Option<Lease>),
        word: Word,
    ) {
        let machine = &self.machines[who];
        let record = Record {
            head: machine.id,
            incarnation: machine.incarnation,
            state,
            epoch: machine.workers[pool].leasing.epoch,
            sequence,
            lease,
        };
        let record = self.record_write(pool, &record, word);
        self.leasing(who, pool).record = Some(record);
        self.begin(who, pool, Stage::Record);
    }

    /// What a task of [`Stage::Record`] is to write.
    pub fn record_to_write(&self, who: usize, pool: usize) -> Kind {
        let record = self.machines[who].workers[pool].leasing.record;
        Kind::Record(record.expect("it was made before the stage began"))
    }

    /// Every copy has it, or one may not.
    pub fn slots_written(&mut self, who: usize, pool: usize, failure: Option<Failure>) {
        let now = Some(self.local(who));
        let leasing = self.leasing(who, pool);
        let took = elapsed(leasing.looked, now);
        match (leasing.step, failure) {
            (Step::TakeBack, _) => {
                self.machines[who].workers[pool].lease_failed = self.now;
                let leasing = self.leasing(who, pool);
                let why = leasing.failure.unwrap_or(Failure::Device);
                self.finish(who, pool, Err(why));
            }
            (Step::LetGo, failure) => self.lease_let_go(who, pool, failure),
            (_, Some(why)) => self.take_back(who, pool, why),
            (Step::Write, None) if took > micros(2 * SLOT_LIMIT) => {
                self.take_back(who, pool, Failure::Device);
            }
            (Step::Write, None) => {
                leasing.step = Step::Decide;
                self.stay(who, pool, Stage::Pause, SETTLE);
            }
            (_, None) if took < LEASE => self.leased(who, pool),
            (_, None) => self.take_back(who, pool, Failure::Device),
        }
    }

    fn decide_race(&mut self, who: usize, pool: usize, rival: Option<Record>) {
        let me = self.machines[who].id;
        let leasing = self.leasing(who, pool);
        let own = leasing.epoch;
        let waited_out = leasing.first;
        let ahead = rival.filter(|rival| match rival.epoch.cmp(&own) {
            Ordering::Less => rival.sequence > 0 && Some(*rival) != waited_out,
            Ordering::Equal => rival.sequence > 0 || rival.head < me,
            Ordering::Greater => true,
        });
        if let Some(rival) = ahead {
            return self.take_back(who, pool, Failure::HeldByPeer(rival.epoch));
        }
        leasing.step = Step::WriteAgain;
        self.write_claim(who, pool, 1);
    }

    fn take_back(&mut self, who: usize, pool: usize, why: Failure) {
        self.trace(|| format!("{who} pool {pool}: claim by lease fails: {why:?}"));
        self.machines[who].workers[pool].lease_failed = self.now;
        let leasing = self.leasing(who, pool);
        leasing.failure = Some(why);
        // Not over the record that may still be under way.
        let last = u64::from(leasing.step == Step::WriteAgain);
        leasing.step = Step::TakeBack;
        self.write_slots(
            who,
            pool,
            (PoolState::Standby, u64::MAX - last, None),
            Word::LetsGo,
        );
    }

    /// The pool is ours by a lease.
    fn leased(&mut self, who: usize, pool: usize) {
        // A worker that is still at its own claim uses nothing, and its core resets when it hears how old that is.
        let other = &self.machines[1 - who];
        let head = other.head.as_ref();
        let runs = head.is_some_and(|head| head.pools()[pool].state().answers());
        if runs && other.workers[pool].term.is_some() {
            self.checks.fail(format!(
                "I1: {who} has claimed pool {pool}, and {} still runs it",
                1 - who
            ));
        }
        let copies = self.copies[pool].len();
        let worker = &mut self.machines[who].workers[pool];
        let (epoch, first) = (worker.leasing.epoch, worker.leasing.first);
        let submitted = worker.leasing.submitted.expect("it was just written");
        worker.term = Some(Term::new(submitted, copies));
        let before = self.checks.takeovers[pool];
        self.held(who, pool, epoch, first.is_some());
        self.leases += 1;
        self.lease_takeovers += u64::from(self.checks.takeovers[pool] - before);
        self.begin(who, pool, Stage::GroupAgain);
    }

    /// What a claim by lease reports.
    pub fn lease_done(&self, who: usize, pool: usize) -> Done {
        let leasing = &self.machines[who].workers[pool].leasing;
        match (self.terms(who), leasing.submitted) {
            (Some(lease), Some(submitted)) => Done::Leased { lease, submitted },
            _ => Done::Claimed,
        }
    }

    /// Nothing of ours reaches a disk any more: the slot says so.
    pub fn let_lease_go(&mut self, who: usize, pool: usize) {
        let worker = &mut self.machines[who].workers[pool];
        worker.term = None;
        let epoch = worker.claim.unwrap_or(worker.leasing.epoch);
        worker.leasing = Leasing {
            step: Step::LetGo,
            epoch,
            ..Leasing::default()
        };
        self.write_slots(
            who,
            pool,
            (PoolState::Standby, u64::MAX, None),
            Word::LetsGo,
        );
    }

    fn lease_let_go(&mut self, who: usize, pool: usize, failure: Option<Failure>) {
        let worker = &mut self.machines[who].workers[pool];
        if let Some(why) = failure {
            return self.finish(who, pool, Err(why));
        }
        worker.claim = None;
        let result = worker.failure.take().map_or(Ok(Done::Released), Err);
        self.finish(who, pool, result);
    }
}

fn elapsed(from: Option<Instant>, to: Option<Instant>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from),
        _ => Duration::MAX,
    }
}
