//! The writers: a thread a copy, each puts onto its disk what it is given, and only under the claim.
//!
//! Registering is write access, so a grant comes with the claim and goes before the keys do; taking it away waits
//! for writes that are under way. Between the two each thread writes
//!
//! - *beats*: the newest record that the heartbeat thread handed over, each once. A stuck head does not tick, and a
//!   record that waited for too long is left out: it would speak of a time in which this head may have been stuck.
//! - *pages* of the flight record, after the beats.
//!
//! A copy that fails is left behind; the others go on. No flush follows a write: see [`Device::write`].

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::Epoch;
use orthrus_hb::ledger::{self, BLOCK_BYTES, FLIGHT_BLOCKS, Record};
use tracing::{error, info, warn};

use super::Keeper;
use super::device::{Access, Device, Opener};
use super::region::{COPIES, Region};
use super::trouble::Trouble;
use crate::clock;
use crate::disk::DiskId;
use crate::sync::lock;

/// Age of a record past which it is not written any more: the limit of silence.
const STALE: embassy_time::Duration = embassy_time::Duration::from_secs(1);

/// Age of the last completed write past which a copy does not count as written.
const WRITE_LIMIT: embassy_time::Duration = embassy_time::Duration::from_secs(3);

/// What is said of a write that does not end.
const STUCK: &str = "no answer";

/// A block of the flight record, as it goes to the disk.
pub type Page = Box<[u8; BLOCK_BYTES]>;

/// The writers of one pool's copies.
pub struct Writers {
    shared: Arc<Shared>,
}

/// Copies to which a write was still under way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a write to the ledger on {disks} does not end")]
pub struct WriteStuck {
    /// The kernel's names of the disks.
    pub disks: String,
}

struct Shared {
    pool: String,
    keeper: Keeper,
    opener: Opener,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    grant: Option<Grant>,
    beat: Option<Beat>,
    /// Counts grants, beats and pages: each copy remembers up to which it has written.
    number: u64,
    /// The flight record by place, each with its number.
    pages: [Option<(u64, Arc<Page>)>; FLIGHT_BLOCKS],
    copies: [Copy; COPIES],
    /// Disks that are lost, and marked so: a write that is under way to one may never end, and nobody reads what gets there.
    given_up: BTreeSet<DiskId>,
}

impl State {
    /// Whoever is to be written to again was taken back.
    fn take_back(&mut self, regions: &[Region]) {
        let is_back = |disk: &DiskId| regions.iter().any(|region| region.disk.id == *disk);
        self.given_up.retain(|disk| !is_back(disk));
    }

    /// These disks have no copy that is written any more.
    fn leave_out(&mut self, is_out: &dyn Fn(&DiskId) -> bool) {
        if let Some(grant) = &mut self.grant
            && grant.regions.iter().any(|region| is_out(&region.disk.id))
        {
            self.number += 1;
            grant.number = self.number;
            grant.regions.retain(|region| !is_out(&region.disk.id));
        }
    }
}

#[derive(Clone)]
struct Grant {
    /// Tells it from others: what was open under another one is opened anew.
    number: u64,
    epoch: Epoch,
    regions: Vec<Region>,
}

#[derive(Clone, Copy)]
struct Beat {
    number: u64,
    record: Record,
    handed: Instant,
}

#[derive(Default)]
struct Copy {
    started: bool,
    /// What a write is under way to.
    busy: Option<Busy>,
    written: Option<Instant>,
    /// The last record that is on it, of this grant.
    recorded: u64,
    trouble: Trouble,
}

struct Busy {
    disk: DiskId,
    /// The kernel's name of it.
    name: String,
    since: Instant,
}

/// What a thread does next.
enum Task {
    Beat(Region, Beat),
    Page(Region, usize, Arc<Page>),
    Close,
}

/// What a thread has done, in numbers of [`State::number`].
#[derive(Default)]
struct Progress {
    /// The grant that it works under.
    grant: Option<u64>,
    beat: u64,
    pages: [u64; FLIGHT_BLOCKS],
}

impl State {
    /// The next write to a copy: beats first, then the oldest page, so that the ring on the disk grows in order.
    fn next(&self, region: &Region, done: &mut Progress) -> Option<Task> {
        if let Some(beat) = self.beat.filter(|beat| beat.number > done.beat) {
            done.beat = beat.number;
            return Some(Task::Beat(region.clone(), beat));
        }
        let pages = self.pages.iter().enumerate();
        let (place, number, page) = pages
            .filter_map(|(place, page)| page.as_ref().map(|(number, page)| (place, *number, page)))
            .filter(|(place, number, _)| *number > done.pages[*place])
            .min_by_key(|(_, number, _)| *number)?;
        done.pages[place] = number;
        Some(Task::Page(region.clone(), place, page.clone()))
    }
}

impl Writers {
    /// Writes nothing yet.
    pub fn new(pool: &str, keeper: Keeper, opener: Opener) -> Writers {
        Writers {
            shared: Arc::new(Shared {
                pool: pool.to_owned(),
                keeper,
                opener,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        }
    }

    /// The claim of this epoch is held: these copies may be written.
    pub fn grant(&self, epoch: Epoch, regions: Vec<Region>) {
        let shared = &self.shared;
        let mut state = lock(&shared.state);
        for number in regions.iter().map(|region| region.copy) {
            shared.begin(&mut state.copies[number], number);
        }
        state.take_back(&regions);
        // What was left over is of another claim.
        (state.beat, state.pages) = (None, Default::default());
        state.number += 1;
        let number = state.number;
        state.grant = Some(Grant {
            number,
            epoch,
            regions,
        });
        shared.changed.notify_all();
    }

    /// The metadata were changed under the claim of this epoch: these copies are written from now on, and not those of
    /// before. Whether there was none before; nothing changes without a grant.
    pub fn follow(&self, epoch: Epoch, regions: Vec<Region>) -> bool {
        let shared = &self.shared;
        let mut locked = lock(&shared.state);
        let state = &mut *locked;
        let Some(grant) = state.grant.as_mut().filter(|grant| grant.epoch == epoch) else {
            return false;
        };
        let is_known = |region: &&Region| grant.regions.iter().any(|one| one.is_same(region));
        let fresh: Vec<usize> = regions
            .iter()
            .filter(|region| !is_known(region))
            .map(|region| region.copy)
            .collect();
        if fresh.is_empty() && regions.len() == grant.regions.len() {
            return false;
        }
        for number in fresh {
            shared.begin(&mut state.copies[number], number);
        }
        let had_none = grant.regions.is_empty();
        state.number += 1;
        (grant.number, grant.regions) = (state.number, regions.clone());
        state.take_back(&regions);
        shared.changed.notify_all();
        had_none
    }

    /// Nothing may be written any more. `Ok` once nothing is. Idempotent.
    ///
    /// # Errors
    /// A write did not end in time: the keys must not go while it may still reach the disk.
    pub fn revoke(&self, limit: Duration) -> Result<(), WriteStuck> {
        let mut state = lock(&self.shared.state);
        (state.grant, state.beat, state.pages) = (None, None, Default::default());
        self.shared.changed.notify_all();
        let given_up = state.given_up.clone();
        self.await_writes(state, limit, &|busy| !given_up.contains(&busy.disk))
    }

    /// These disks are lost, and the metadata call them so: nothing more is written to them, and what is under way there is waited for
    /// by nobody. A disk that hangs may never end it, and a release must not wait for that.
    pub fn give_up(&self, disks: &[DiskId]) {
        let mut state = lock(&self.shared.state);
        state.leave_out(&|disk| disks.contains(disk));
        state.given_up.extend(disks.iter().cloned());
        self.shared.changed.notify_all();
    }

    /// Nothing may be written to this disk any more, which leaves the pool. `Ok` once nothing is. Idempotent.
    ///
    /// # Errors
    /// A write did not end in time: its key must not go while it may still reach the disk.
    pub fn dismiss(&self, disk: &DiskId, limit: Duration) -> Result<(), WriteStuck> {
        let mut state = lock(&self.shared.state);
        state.leave_out(&|one| one == disk);
        self.shared.changed.notify_all();
        self.await_writes(state, limit, &|busy| busy.disk == *disk)
    }

    fn await_writes(
        &self,
        state: MutexGuard<'_, State>,
        limit: Duration,
        counts: &dyn Fn(&Busy) -> bool,
    ) -> Result<(), WriteStuck> {
        let busy = |state: &State| -> Vec<String> {
            let busy = state.copies.iter().filter_map(|copy| copy.busy.as_ref());
            let busy = busy.filter(|busy| counts(busy));
            busy.map(|busy| busy.name.clone()).collect()
        };
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !busy(state).is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let busy = busy(&state);
        match busy.is_empty() {
            true => Ok(()),
            false => Err(WriteStuck {
                disks: busy.join(", "),
            }),
        }
    }

    /// The epoch of the grant.
    pub fn granted(&self) -> Option<Epoch> {
        lock(&self.shared.state).grant.as_ref().map(|g| g.epoch)
    }

    /// Takes the heartbeat thread's next record, if there is one. Never waits, never allocates; while a writer is just
    /// taking the one before, `next` is not called.
    pub fn offer(&self, now: Instant, next: impl FnOnce() -> Option<Record>) {
        let mut state = match self.shared.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let Some(record) = next() else { return };
        if state.grant.as_ref().map(|grant| grant.epoch) != Some(record.epoch) {
            return;
        }
        state.number += 1;
        state.beat = Some(Beat {
            number: state.number,
            record,
            handed: now,
        });
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Up to which record the ledger has them: more than half of the copies do, so that whoever reads more than half
    /// of them cannot miss it. `None` before the first. For the heartbeat thread: never waits, never allocates.
    pub fn recorded(&self) -> Option<u64> {
        let state = match self.shared.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let grant = state.grant.as_ref()?;
        let mut done = [0; COPIES];
        let copies = grant.regions.iter().map(|r| state.copies[r.copy].recorded);
        for (slot, recorded) in done.iter_mut().zip(copies) {
            *slot = recorded;
        }
        done.sort_unstable_by(|a, b| b.cmp(a));
        let recorded = done.get(grant.regions.len() / 2).copied();
        recorded.filter(|sequence| *sequence > 0)
    }

    /// A page of the flight record for its place there, in the grant of this epoch.
    pub fn put_page(&self, epoch: Epoch, place: usize, page: Page) {
        let page = Arc::new(page);
        let mut state = lock(&self.shared.state);
        if state.grant.as_ref().map(|grant| grant.epoch) != Some(epoch) {
            return;
        }
        state.number += 1;
        let number = state.number;
        if let Some(slot) = state.pages.get_mut(place) {
            *slot = Some((number, page));
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Says once when a write does not end; its own thread cannot.
    pub fn look(&self, now: Instant) {
        let pool = &self.shared.pool;
        for (number, copy) in lock(&self.shared.state).copies.iter_mut().enumerate() {
            if let Some(Busy { name, since, .. }) = &copy.busy
                && now.saturating_duration_since(*since) >= WRITE_LIMIT
                && copy.trouble.begins(STUCK, now)
            {
                let disk = name;
                warn!(
                    pool,
                    "copy {number} of the ledger, on {disk}, cannot be written: {STUCK}"
                );
            }
        }
    }

    /// How many copies are written, of how many that are granted; `None` without a grant. And what is wrong.
    pub fn written(&self, now: Instant) -> Option<(usize, Vec<String>)> {
        let state = lock(&self.shared.state);
        let grant = state.grant.as_ref()?;
        let fresh = |at: Instant| now.saturating_duration_since(at) < WRITE_LIMIT;
        let copies = grant.regions.iter().map(|r| (r, &state.copies[r.copy]));
        let written = copies
            .clone()
            .filter(|(_, copy)| copy.written.is_some_and(fresh));
        let troubles = copies.clone().filter_map(|(region, copy)| {
            let (number, disk) = (region.copy, &region.disk.name);
            let text = copy.trouble.text()?;
            Some(format!(
                "copy {number} of the ledger, on {disk}, cannot be written: {text}"
            ))
        });
        Some((written.count(), troubles.collect()))
    }
}

impl Shared {
    /// Nothing of before counts for a copy, and it has its thread.
    fn begin(self: &Arc<Shared>, copy: &mut Copy, number: usize) {
        (copy.written, copy.recorded, copy.trouble) = (None, 0, Trouble::default());
        if copy.started {
            return;
        }
        let shared = self.clone();
        let spawned = thread::Builder::new()
            .name(format!("ledger write {number}"))
            .spawn(move || shared.run(number));
        match spawned {
            Ok(_) => copy.started = true,
            Err(error) => error!(%error, "a copy of the ledger is not written"),
        }
    }

    /// The thread of a copy.
    fn run(&self, number: usize) {
        let mut device: Option<Device> = None;
        let mut done = Progress::default();
        loop {
            let (region, block, bytes, sequence) = match self.wait(number, &mut done) {
                Task::Close => {
                    device = None;
                    continue;
                }
                Task::Beat(region, beat) => {
                    if clock::now().saturating_duration_since(beat.handed) >= STALE {
                        self.finish(number, &region, None, None);
                        continue;
                    }
                    let record = beat.record;
                    let secret = self.keeper.secret.expose();
                    let bytes = ledger::encode(&record, &region.place, secret).to_vec();
                    let block = ledger::block_of(record.head, record.sequence);
                    (region, block, bytes, Some(record.sequence))
                }
                Task::Page(region, place, page) => {
                    let block = ledger::flight_block_of(self.keeper.me) + place;
                    (region, block, page.to_vec(), None)
                }
            };
            let open = match device.take() {
                Some(open) => Ok(open),
                None => Device::open(&region, Access::Write, 1, self.opener),
            };
            let outcome = open.and_then(|mut open| {
                open.write(block, &bytes)?;
                device = Some(open);
                Ok(())
            });
            self.finish(number, &region, Some(outcome), sequence);
        }
    }

    /// Waits for something to do, and notes it as done. From the moment that a write is chosen until
    /// [`Shared::finish`] the copy is busy.
    fn wait(&self, number: usize, done: &mut Progress) -> Task {
        let mut state = lock(&self.state);
        loop {
            let grant = state.grant.as_ref();
            // What was open under another grant is never written to: the disk may be another one.
            let current = grant.map(|grant| grant.number);
            if current != done.grant {
                done.grant = current;
                return Task::Close;
            }
            let region = grant.and_then(|g| g.regions.iter().find(|r| r.copy == number));
            if let Some(region) = region.cloned()
                && let Some(task) = state.next(&region, done)
            {
                state.copies[number].busy = Some(Busy {
                    disk: region.disk.id,
                    name: region.disk.name,
                    since: clock::now(),
                });
                return task;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A write, of a record with this number or of a page, ended or was left out.
    fn finish(
        &self,
        number: usize,
        region: &Region,
        outcome: Option<std::io::Result<()>>,
        sequence: Option<u64>,
    ) {
        let now = clock::now();
        let (pool, disk) = (&self.pool, &region.disk.name);
        let mut locked = lock(&self.state);
        let state = &mut *locked;
        let regions = state.grant.iter().flat_map(|grant| &grant.regions);
        let mut regions = regions.filter(|one| one.copy == number);
        let is_current = regions.any(|one| one.is_same(region));
        let copy = &mut state.copies[number];
        copy.busy = None;
        let (begins, ends) = match &outcome {
            None => (None, false),
            // What is on a disk that the copy is not on any more says nothing of the copy.
            Some(_) if !is_current => (None, false),
            Some(Ok(())) => {
                copy.written = Some(now);
                copy.recorded = sequence.unwrap_or(copy.recorded);
                (None, copy.trouble.ends())
            }
            Some(Err(error)) => {
                let text = error.to_string();
                let say = copy.trouble.begins(&text, now);
                (say.then_some(text), false)
            }
        };
        drop(locked);
        self.changed.notify_all();
        if let Some(text) = begins {
            warn!(
                pool,
                "copy {number} of the ledger, on {disk}, cannot be written: {text}"
            );
        } else if ends {
            info!(
                pool,
                "copy {number} of the ledger, on {disk}, is written again"
            );
        }
    }
}
