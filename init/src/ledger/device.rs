//! An open region: reads and writes of whole blocks on the raw disk, past the page cache.
//!
//! Never through device-mapper: a standby activates nothing. And never by the disk's name alone: a disk that was
//! pulled may have left its name to another, so what was opened is compared with what the metadata were read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use orthrus_hb::HeadId;
use orthrus_hb::ledger::{self, BLOCK_BYTES, Record, SLOT_BLOCKS};

use super::region::Region;
use crate::disk::{self, direct, turn};

/// What a region is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, at any time.
    Read,
    /// The owner, under its claim.
    Write,
}

/// How regions are opened: [`open`], or a file in tests.
pub type Opener = fn(&Region, Access) -> io::Result<File>;

/// Opens the disk of a region.
///
/// # Errors
/// The errno, or `ENODEV` when the disk of that name is another one by now.
pub fn open(region: &Region, access: Access) -> io::Result<File> {
    let file = open_path(region, access)?;
    let rdev = file.metadata()?.rdev();
    let (major, minor) = node(region, access).1;
    let same = disk::refresh(&region.disk).is_ok_and(|now| now.id == region.disk.id);
    if rdev != rustix::fs::makedev(major, minor) || !same {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    Ok(file)
}

/// Of several paths an owner writes through the device that joins them, which is gone when the pool is; and reads, as a
/// standby does, through one of them.
fn node(region: &Region, access: Access) -> (PathBuf, (u32, u32)) {
    match access {
        Access::Read => region.disk.read_from(),
        Access::Write => (region.disk.path.clone(), region.disk.number),
    }
}

/// Opens whatever has the disk's path.
pub(super) fn open_path(region: &Region, access: Access) -> io::Result<File> {
    match access {
        Access::Read => direct::open(&node(region, access).0),
        Access::Write => direct::open_for_writing(&node(region, access).0),
    }
}

/// An open region, with memory for the transfers.
pub struct Device {
    region: Region,
    file: File,
    memory: direct::Aligned,
}

impl Device {
    /// Opens a region for transfers of up to so many blocks.
    pub fn open(
        region: &Region,
        access: Access,
        blocks: usize,
        opener: Opener,
    ) -> io::Result<Device> {
        Ok(Device {
            file: opener(region, access)?,
            region: region.clone(),
            memory: direct::Aligned::new(blocks * BLOCK_BYTES),
        })
    }

    /// Which region it is.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Reads blocks from `first` on; as many as there is memory for.
    pub fn read(&mut self, first: usize) -> io::Result<&[u8]> {
        let bytes = self.memory.bytes();
        let blocks = bytes.len() / BLOCK_BYTES;
        let offset = span(&self.region, first, blocks)?;
        let _turn = turn::take(&self.region.disk.id);
        self.file.read_exact_at(bytes, offset)?;
        Ok(bytes)
    }

    /// Writes one block: `bytes`, then zeros.
    ///
    /// What the disk acknowledged is on the medium: its cache was turned off after the claim. Where it could not
    /// be, a loss of power may cost the newest record, which costs nothing: its writer is gone too.
    pub fn write(&mut self, block: usize, bytes: &[u8]) -> io::Result<()> {
        let offset = span(&self.region, block, 1)?;
        let memory = &mut self.memory.bytes()[..BLOCK_BYTES];
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let (text, rest) = memory
            .split_at_mut_checked(bytes.len())
            .ok_or_else(outside)?;
        text.copy_from_slice(bytes);
        rest.fill(0);
        self.file.write_all_at(memory, offset)
    }

    /// The newest record of a head in this copy.
    pub fn read_record(&mut self, head: HeadId, secret: &[u8; 32]) -> io::Result<Option<Record>> {
        let records = self.read_records(secret)?;
        Ok(ledger::newest(&records, head))
    }

    /// The valid records of both heads in this copy.
    pub fn read_records(&mut self, secret: &[u8; 32]) -> io::Result<Vec<Record>> {
        let place = self.region.place;
        let blocks = self.read(0)?.chunks_exact(BLOCK_BYTES).take(SLOT_BLOCKS);
        let records = blocks.enumerate().filter_map(|(block, bytes)| {
            let record = ledger::decode(bytes, &place, secret).ok()?;
            // One that strayed from its block is nobody's word.
            (ledger::block_of(record.head, record.sequence) == block).then_some(record)
        });
        Ok(records.collect())
    }
}

/// Where so many blocks begin, when all of them lie within the region.
fn span(region: &Region, first: usize, blocks: usize) -> io::Result<u64> {
    let last = first.checked_add(blocks).and_then(|end| end.checked_sub(1));
    let within = last.and_then(|last| region.offset_of(last)).is_some();
    let offset = region.offset_of(first).filter(|_| within);
    offset.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}
