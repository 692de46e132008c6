//! The slots of all copies, read and written by a worker: for a claim by lease, which rests on nothing else.
//!
//! Unlike a reader and a writer this wants every copy: an owner that reached any one of them must be seen, and a
//! claim that is on one only might not be.

use std::time::Duration;

use orthrus_hb::HeadId;
use orthrus_hb::ledger::{self, Record, SLOT_BLOCKS};

use super::Keeper;
use super::device::{Access, Device, Opener};
use super::region::Region;
use crate::disk::parallel;

/// How long all copies together may take for one read or write. A claim is measured by this, see `fence::lease`.
pub const SLOT_LIMIT: Duration = Duration::from_secs(1);

/// The slots of all copies of one pool's ledger.
#[derive(Clone)]
pub struct Slots {
    keeper: Keeper,
    regions: Vec<Region>,
    opener: Opener,
}

/// Why the slots cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// There is none, or not every copy is here.
    #[error(
        "the pool has no ledger of which every copy is here: bring the disk with the copy that lacks, or make it on a host with lvm2, as \
         `pools` says"
    )]
    Absent,
    /// A copy cannot be read or written.
    #[error(
        "copy {copy} of the ledger, on {disk}: {trouble}; a claim by lease needs every copy: check that disk's power and cables"
    )]
    Copy {
        /// Which.
        copy: usize,
        /// The kernel's name of its disk.
        disk: String,
        /// What the call said.
        trouble: String,
    },
}

impl Slots {
    pub(super) fn new(keeper: Keeper, regions: Vec<Region>, opener: Opener) -> Slots {
        Slots {
            keeper,
            regions,
            opener,
        }
    }

    /// The newest record of a head on any copy; every copy was read.
    ///
    /// # Errors
    /// A copy that could not be.
    pub fn newest(&self, head: HeadId) -> Result<Option<Record>, SlotError> {
        let (secret, opener) = (self.keeper.secret.clone(), self.opener);
        let records = self.each(move |region| {
            let mut device = Device::open(region, Access::Read, SLOT_BLOCKS, opener)?;
            device.read_record(head, secret.expose())
        })?;
        Ok(ledger::newest(records.iter().flatten(), head))
    }

    /// Writes a record of this head onto every copy.
    ///
    /// # Errors
    /// A copy where it may not be. It may be there all the same, later.
    pub fn write(&self, record: &Record) -> Result<(), SlotError> {
        let (secret, opener, record) = (self.keeper.secret.clone(), self.opener, *record);
        self.each(move |region| {
            let bytes = ledger::encode(&record, &region.place, secret.expose());
            let mut device = Device::open(region, Access::Write, 1, opener)?;
            device.write(ledger::block_of(record.head, record.sequence), &bytes)
        })?;
        Ok(())
    }

    fn each<T: Send + 'static>(
        &self,
        work: impl Fn(&Region) -> std::io::Result<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, SlotError> {
        let outcomes = parallel::each(&self.regions, SLOT_LIMIT, work);
        let all = self.regions.iter().zip(outcomes).map(|(region, outcome)| {
            let trouble = match outcome {
                Some(Ok(value)) => return Ok(value),
                Some(Err(error)) => error.to_string(),
                None => format!("no answer within {} s", SLOT_LIMIT.as_secs()),
            };
            Err(SlotError::Copy {
                copy: region.copy,
                disk: region.disk.name.clone(),
                trouble,
            })
        });
        all.collect()
    }
}
