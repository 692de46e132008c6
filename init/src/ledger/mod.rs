//! The ledger: a small region on up to three of a pool's own disks, the third way to hear the peer.
//!
//! The owner writes a beat there four times a second, and both heads read what the other one wrote; when every cable is
//! cut a beat that ticks says that the peer lives. Beside the beats each head has a flight record there: its last log
//! lines, legible after both have died. What the bytes are is in `orthrus_hb::ledger` (records) and [`flight`].
//!
//! ```text
//!  metadata ─► region ─┬─► reader, one a copy ─► sight ─► heartbeat thread
//!                      └─► writer, one a copy ◄── record ◄─ heartbeat thread
//!                             ▲ grant: worker      page  ◄─ packer ◄─ recorder ◄─ log
//! ```
//!
//! - Reading needs no claim and is done always; it touches the raw disk, past the page cache.
//! - Writing is under the claim: [`Ledger::begin`] after it, on metadata read after it, and [`Ledger::end`] before
//!   the keys go. Each head writes its own slot and flight record and nothing else.
//! - The heartbeat thread takes and gives latest values by locks that it only tries ([`Ledger::news`],
//!   [`Ledger::offer`]).
//!
//! Rejected: a path through device-mapper, since a standby may not activate; a file, since nobody could read it before
//! the claim; one thread for all copies, since a dead disk would silence the others.

mod date;
mod device;
mod flight;
mod history;
mod packer;
mod reader;
mod recorder;
mod region;
mod sight;
mod slots;
mod trouble;
mod writer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::ledger::{REGION_BYTES, Record, SLOT_BLOCKS};
use orthrus_hb::{ClusterId, Epoch, HeadId, Incarnation};
use serde::Serialize;

use crate::config::Secret;
use crate::disk::{DiskId, parallel};
use crate::sync::lock;
use crate::volume::VolumeGroup;
use device::{Access, Device, Opener};
use reader::{Readers, Seen};
use recorder::Recorder;
use region::{Found, Region, locate};
use writer::Writers;

pub use history::History;
pub use sight::{News, Wake};
pub use slots::{SLOT_LIMIT, SlotError, Slots};
pub use writer::WriteStuck;

/// How long a survey waits for the copies. The keys on the same disks were just read.
const SURVEY_LIMIT: Duration = Duration::from_secs(4);

/// How long the end of a claim waits for writes that are under way. A release that fails resets the head.
const END_LIMIT: Duration = Duration::from_secs(8);

/// Who writes and reads: this boot of this head, and what makes its words its own.
#[derive(Clone)]
pub struct Keeper {
    /// This head.
    pub me: HeadId,
    /// Its boot.
    pub incarnation: Incarnation,
    /// The cluster.
    pub cluster: ClusterId,
    /// Key of the MACs.
    pub secret: Secret,
}

/// The ledger of one pool.
pub struct Ledger {
    keeper: Keeper,
    opener: Opener,
    readers: Readers,
    writers: Arc<Writers>,
    recorder: Recorder,
    metadata: Mutex<Metadata>,
}

/// Bytes of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Which disk.
    pub disk: DiskId,
    /// From its start.
    pub start: u64,
    /// How many.
    pub bytes: usize,
}

/// What the metadata said last.
#[derive(Default)]
struct Metadata {
    /// They were read.
    is_known: bool,
    found: Found,
    commands: Vec<String>,
}

/// What consoles show of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// The pool's metadata were read.
    pub is_known: bool,
    /// Copies that the metadata name and that can be used.
    pub copies: usize,
    /// Copies whose reads complete.
    pub read: usize,
    /// Copies whose writes complete; `None` while this head does not hold the pool.
    pub written: Option<usize>,
    /// What is wrong with single copies.
    pub problems: Vec<String>,
    /// Volumes of the ledger's name that are no copy.
    pub misfits: Vec<String>,
    /// What to type on a host with lvm2 to make the copies that the pool could have and lacks.
    pub commands: Vec<String>,
}

impl Ledger {
    /// The ledger of a pool; `wake` wakes the heartbeat thread.
    pub fn new(pool: &str, keeper: Keeper, wake: Wake) -> Ledger {
        Ledger::with_opener(pool, keeper, wake, device::open)
    }

    fn with_opener(pool: &str, keeper: Keeper, wake: Wake, opener: Opener) -> Ledger {
        let writers = Arc::new(Writers::new(pool, keeper.clone(), opener));
        Ledger {
            readers: Readers::new(pool, keeper.clone(), opener, wake),
            recorder: Recorder::new(keeper.clone(), opener, writers.clone()),
            writers,
            metadata: Mutex::default(),
            keeper,
            opener,
        }
    }

    /// The pool's metadata were read: the readers follow them.
    pub fn follow(&self, group: &VolumeGroup) {
        let found = locate(group, self.keeper.cluster);
        self.readers.follow(&found.regions);
        if found.is_none() {
            self.readers.sights().post_none();
        }
        *lock(&self.metadata) = Metadata {
            is_known: true,
            commands: region::commands(group),
            found,
        };
    }

    /// Something that a worker does from time to time: says which copies do not answer.
    pub fn look(&self, now: Instant) {
        self.readers.look(now);
        self.writers.look(now);
    }

    /// The pool is no more: nothing of it is read. Where its copies are that are here.
    pub fn forget(&self, group: &VolumeGroup) -> Vec<Stretch> {
        self.readers.follow(&[]);
        self.readers.sights().post_none();
        *lock(&self.metadata) = Metadata::default();
        let copies = locate(group, self.keeper.cluster).regions;
        let stretch = |region: Region| {
            Some(Stretch {
                start: region.offset_of(0)?,
                bytes: REGION_BYTES,
                disk: region.disk.id,
            })
        };
        copies.into_iter().filter_map(stretch).collect()
    }

    /// The greatest epoch in any valid record of either head on any copy, read now. A copy that cannot be read
    /// counts for nothing: the keys on its disk were asked, too.
    pub fn greatest_epoch(&self, group: &VolumeGroup) -> Epoch {
        let copies = self.records(group);
        let records = copies.iter().flatten().flatten();
        let epochs = records.map(|record| record.epoch);
        epochs.max().unwrap_or(Epoch::NONE)
    }

    /// The valid records of both heads, copy by copy, read now; `None` of a copy that could not be read.
    pub fn records(&self, group: &VolumeGroup) -> Vec<Option<Vec<Record>>> {
        let regions = locate(group, self.keeper.cluster).regions;
        let (secret, opener) = (self.keeper.secret.clone(), self.opener);
        let copies = parallel::each(&regions, SURVEY_LIMIT, move |region| {
            let mut device = Device::open(region, Access::Read, SLOT_BLOCKS, opener).ok()?;
            device.read_records(secret.expose()).ok()
        });
        copies.into_iter().map(Option::flatten).collect()
    }

    /// The slots of every copy, for a claim by lease.
    ///
    /// # Errors
    /// There is none, or one of them is not here, be its disk marked as missing or not.
    pub fn slots(&self, group: &VolumeGroup) -> Result<Slots, SlotError> {
        let found = locate(group, self.keeper.cluster);
        if found.regions.is_empty() || found.absent > 0 {
            return Err(SlotError::Absent);
        }
        Ok(Slots::new(self.keeper.clone(), found.regions, self.opener))
    }

    /// This boot of this head.
    pub fn incarnation(&self) -> Incarnation {
        self.keeper.incarnation
    }

    /// The claim of this epoch is held: the copies in these metadata, read after it, may be written.
    pub fn begin(&self, epoch: Epoch, group: &VolumeGroup) {
        self.follow(group);
        let regions = lock(&self.metadata).found.regions.clone();
        self.writers.grant(epoch, regions.clone());
        if !regions.is_empty() {
            self.recorder.begin(epoch, regions);
        }
    }

    /// The metadata were changed under the claim of this epoch, and read again: copies that came are written as well from now on.
    pub fn keep_up(&self, epoch: Epoch, group: &VolumeGroup) {
        self.follow(group);
        let regions = lock(&self.metadata).found.regions.clone();
        if self.writers.follow(epoch, regions.clone()) && !regions.is_empty() {
            self.recorder.begin(epoch, regions);
        }
    }

    /// The claim is about to be given up. `Ok` once nothing more is written. Idempotent.
    ///
    /// # Errors
    /// A write does not end: the keys must stay.
    pub fn end(&self) -> Result<(), WriteStuck> {
        self.writers.revoke(END_LIMIT)
    }

    /// A disk is about to leave the pool. `Ok` once nothing more is written to it. Idempotent.
    ///
    /// # Errors
    /// A write does not end: its key must stay.
    pub fn dismiss(&self, disk: &DiskId) -> Result<(), WriteStuck> {
        self.writers.dismiss(disk, END_LIMIT)
    }

    /// Disks are lost, and marked as missing: nothing more is written to them, nor waited for.
    pub fn give_up(&self, disks: &[DiskId]) {
        self.writers.give_up(disks);
    }

    /// For the heartbeat thread: what the copies showed since the last call. Never waits, never allocates.
    pub fn news(&self) -> Option<News> {
        self.readers.sights().take()
    }

    /// For the heartbeat thread: `next` gives the record to write, if one is due. Never waits, never allocates.
    pub fn offer(&self, now: Instant, next: impl FnOnce() -> Option<Record>) {
        self.writers.offer(now, next);
    }

    /// For the heartbeat thread: up to which record they are on the disks. Never waits, never allocates.
    pub fn recorded(&self) -> Option<u64> {
        self.writers.recorded()
    }

    /// Whether the pool has a ledger, as far as this head has seen.
    pub fn has_copies(&self) -> bool {
        !lock(&self.metadata).found.regions.is_empty()
    }

    /// Whether copies were read, and none is any more: the path to the shelf is gone.
    pub fn fell_silent(&self, now: Instant) -> bool {
        let seen = self.readers.seen();
        let mut copies = seen.iter().flatten().map(|(_, seen, _)| seen);
        copies.clone().any(Seen::was_read) && !copies.any(|seen| seen.is_read(now))
    }

    /// What consoles show.
    pub fn report(&self, now: Instant) -> LedgerReport {
        let seen = self.readers.seen();
        let mut problems = Vec::new();
        for (region, _, trouble) in seen.iter().flatten() {
            let (number, disk) = (region.copy, &region.disk.name);
            let trouble = trouble.iter();
            problems
                .extend(trouble.map(|t| format!("copy {number} of the ledger, on {disk}, {t}")));
        }
        let written = self.writers.written(now).map(|(written, troubles)| {
            problems.extend(troubles);
            written
        });
        let metadata = lock(&self.metadata);
        let written_off = metadata.found.written_off;
        let absent = metadata.found.absent - written_off;
        if absent > 0 {
            problems.push(format!(
                "{absent} copies of the ledger are on disks that are not here"
            ));
        }
        if written_off > 0 {
            problems.push(format!(
                "{written_off} copies of the ledger are on disks that are marked as missing, and count no more: replace these disks"
            ));
        }
        LedgerReport {
            is_known: metadata.is_known,
            copies: metadata.found.regions.len(),
            read: seen
                .iter()
                .flatten()
                .filter(|(_, s, _)| s.is_read(now))
                .count(),
            written,
            problems,
            misfits: metadata.found.misfits.clone(),
            commands: metadata.commands.clone(),
        }
    }

    /// The flight records of both heads, from the copies that these metadata name.
    pub fn history(&self, groups: &[&VolumeGroup]) -> History {
        let cluster = self.keeper.cluster;
        let regions = groups
            .iter()
            .flat_map(|group| locate(group, cluster).regions);
        let regions: Vec<Region> = regions.collect();
        History::read(&regions, &self.keeper, self.opener)
    }
}

#[cfg(test)]
mod tests;
