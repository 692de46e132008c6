//! That a path may write, and that nothing else uses its disk: the same for every kind of disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::reservations::{Hold, Trouble, WriteRefused};
use crate::array;
use crate::disk::direct;

/// One path to a disk, to be written by.
pub(super) struct Proof {
    path: PathBuf,
    logical_block: u32,
    /// Where a block is that nobody writes, as it was found within the claim.
    spare: OnceLock<Option<u64>>,
}

impl Proof {
    pub(super) fn new(node: &Path, logical_block: u32) -> Proof {
        Proof {
            path: node.to_path_buf(),
            logical_block,
            spare: OnceLock::new(),
        }
    }

    /// See [`Reservations::hold`](super::Reservations::hold).
    pub(super) fn hold(&self) -> io::Result<Hold> {
        // Without O_CREAT the kernel gives O_EXCL this meaning for block devices: EBUSY while anything
        // (dm, md, a mount) has claimed the device.
        open(&self.path, libc::O_EXCL).map(|file| Hold(vec![file]))
    }

    /// See [`Reservations::prove_write`](super::Reservations::prove_write).
    ///
    /// Rejected: a WRITE of zero blocks and a LUN reset, which QEMU answers itself, and VERIFY and UNMAP, which not every target has.
    pub(super) fn prove(&self) -> Result<(), WriteRefused> {
        self.rewrite(0)?;
        // Before anybody uses the disk: a superblock that is being written may look like none.
        let spare = self.find_spare().map_err(refused)?;
        self.spare.get_or_init(|| spare);
        Ok(())
    }

    /// See [`Reservations::probe_write`](super::Reservations::probe_write).
    pub(super) fn probe(&self) -> Result<(), WriteRefused> {
        match self.spare.get() {
            Some(Some(offset)) => self.rewrite(*offset),
            // A loss is seen by reading back, and by the writes of the other disks.
            Some(None) | None => Ok(()),
        }
    }

    fn rewrite(&self, offset: u64) -> Result<(), WriteRefused> {
        direct::rewrite(&self.path, offset, self.logical_block).map_err(refused)
    }

    /// Of a whole-disk PV the first block: before the LVM label or, with 4 KiB blocks, the block of the label, which nobody writes
    /// while a VG is in use.
    fn find_spare(&self) -> io::Result<Option<u64>> {
        let mut file = direct::open(&self.path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        let mut read = |offset: u64, length: usize| direct::read(&file, offset, length);
        array::spare_block(bytes, self.logical_block, &mut read).map_err(io::Error::other)
    }
}

/// Opens for commands, read-only: a writable open would be a claim of its own.
pub(super) fn open(path: &Path, more: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | more)
        .open(path)
}

/// What the kernel makes of a reservation conflict is `EBADE`, of a SCSI disk and of an NVMe namespace alike.
fn refused(error: io::Error) -> WriteRefused {
    match error.raw_os_error() {
        Some(libc::EBADE) => WriteRefused::Conflict,
        code => WriteRefused::Failed(Trouble::Errno(code.unwrap_or(libc::EIO))),
    }
}
