//! What activation asks of device-mapper, as one trait.
//!
//! Each call is the control device's of the same name (`sys::dm`), or I/O on a device that was made; nothing is added to it here. What becomes of the devices when a
//! call fails half-way is tested on a device-mapper in memory (`volume::tests::mapper`).

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::disk::direct::{self, Aligned};
use crate::sys::dm::{Control, Info, TableLine};

/// A device-mapper.
pub(super) trait Mapper {
    /// Makes a device without a table.
    fn create(&self, name: &str, uuid: &str) -> io::Result<Info>;
    /// The device with this uuid, if there is one.
    fn status(&self, uuid: &str) -> io::Result<Option<Info>>;
    /// Gives it a table that waits for a resume.
    fn load(&self, uuid: &str, read_only: bool, lines: &[TableLine]) -> io::Result<()>;
    /// Drops that table.
    fn clear(&self, uuid: &str) -> io::Result<()>;
    /// Puts it to use, and lets I/O through.
    fn resume(&self, uuid: &str) -> io::Result<Info>;
    /// Holds I/O back.
    fn suspend(&self, uuid: &str) -> io::Result<()>;
    /// Gives it another name.
    fn rename(&self, old: &str, new: &str) -> io::Result<()>;
    /// The table in use.
    fn table(&self, uuid: &str) -> io::Result<Vec<TableLine>>;
    /// What its targets say of themselves.
    fn target_status(&self, uuid: &str) -> io::Result<Vec<TableLine>>;
    /// Tells a target something.
    fn message(&self, uuid: &str, sector: u64, text: &str) -> io::Result<()>;
    /// Removes it; false when there is none.
    fn remove(&self, uuid: &str) -> io::Result<bool>;
    /// Reads of a device, by its number, past the page cache.
    fn read(&self, number: (u32, u32), offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Writes to it, past the page cache: whole blocks.
    fn write(&self, number: (u32, u32), offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Mapper for Control {
    fn create(&self, name: &str, uuid: &str) -> io::Result<Info> {
        self.create(name, uuid)
    }

    fn status(&self, uuid: &str) -> io::Result<Option<Info>> {
        self.status(uuid)
    }

    fn load(&self, uuid: &str, read_only: bool, lines: &[TableLine]) -> io::Result<()> {
        self.load(uuid, read_only, lines)
    }

    fn clear(&self, uuid: &str) -> io::Result<()> {
        self.clear(uuid)
    }

    fn resume(&self, uuid: &str) -> io::Result<Info> {
        self.resume(uuid)
    }

    fn suspend(&self, uuid: &str) -> io::Result<()> {
        self.suspend(uuid)
    }

    fn rename(&self, old: &str, new: &str) -> io::Result<()> {
        self.rename(old, new)
    }

    fn table(&self, uuid: &str) -> io::Result<Vec<TableLine>> {
        self.table(uuid)
    }

    fn target_status(&self, uuid: &str) -> io::Result<Vec<TableLine>> {
        self.target_status(uuid)
    }

    fn message(&self, uuid: &str, sector: u64, text: &str) -> io::Result<()> {
        self.message(uuid, sector, text)
    }

    fn remove(&self, uuid: &str) -> io::Result<bool> {
        self.remove(uuid)
    }

    fn read(&self, number: (u32, u32), offset: u64, length: usize) -> io::Result<Vec<u8>> {
        direct::read(&direct::open(&node(number))?, offset, length)
    }

    fn write(&self, number: (u32, u32), offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut block = Aligned::new(bytes.len());
        block.bytes().copy_from_slice(bytes);
        direct::open_for_writing(&node(number))?.write_all_at(block.bytes(), offset)
    }
}

/// The node of a device.
pub(super) fn node(number: (u32, u32)) -> PathBuf {
    PathBuf::from(format!("/dev/dm-{}", number.1))
}
