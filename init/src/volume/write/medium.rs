//! A disk as the writer of metadata sees it, so that tests can take its power away.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use std::time::Duration;

use crate::disk::ends::{self, Alone, BACK_BYTES, FRONT_BYTES};
use crate::disk::{self, Disk, DiskId, direct::Aligned};

/// How long a rewrite of the watch's is waited for: as long as the block layer gives a command.
const REWRITE_LIMIT: Duration = Duration::from_secs(30);

/// Reads, writes and flushes; offsets and lengths are bytes.
pub trait Medium: Send {
    /// The smallest unit of a write: all of it, or nothing of it, is on the disk after a loss of power.
    fn block(&self) -> usize;

    /// Reads whole blocks.
    ///
    /// # Errors
    /// The disk's.
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Writes whole blocks. They may be lost with the power until [`Medium::flush`] returned.
    ///
    /// # Errors
    /// The disk's; it is not known what was written then.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// What was written before is on the medium when this returns.
    ///
    /// # Errors
    /// The disk's; it is not known what of it is.
    fn flush(&mut self) -> io::Result<()>;
}

/// Reads bytes of any alignment.
pub(super) fn read(medium: &mut impl Medium, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let (start, span, skip) = blocks(medium, offset, length)?;
    let bytes = medium.read(start, span)?;
    let wanted = bytes.get(skip..skip + length);
    wanted
        .map(<[u8]>::to_vec)
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// Writes bytes of any alignment. What else is in the first and last block stays as it is.
pub(in crate::volume) fn write_bytes(
    medium: &mut impl Medium,
    offset: u64,
    bytes: &[u8],
) -> io::Result<()> {
    let (start, span, skip) = blocks(medium, offset, bytes.len())?;
    let mut whole = match span == bytes.len() {
        true => vec![0; span],
        false => medium.read(start, span)?,
    };
    let place = whole.get_mut(skip..skip + bytes.len());
    place
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?
        .copy_from_slice(bytes);
    medium.write(start, &whole)
}

/// The blocks that hold a stretch: start and length of them, and where in them it begins.
fn blocks(medium: &impl Medium, offset: u64, length: usize) -> io::Result<(u64, usize, usize)> {
    let outside = || io::Error::from(io::ErrorKind::InvalidInput);
    let block = medium.block() as u64;
    let start = offset / block * block;
    let end = offset
        .checked_add(length as u64)
        .and_then(|end| end.checked_next_multiple_of(block))
        .ok_or_else(outside)?;
    let span = usize::try_from(end - start).map_err(|_| outside())?;
    Ok((start, span, (offset - start) as usize))
}

/// A disk of the pool, past the page cache.
pub struct BlockDevice {
    file: File,
    block: usize,
    /// The disk and its size, where the watch may rewrite blocks at both ends.
    watched: Option<(DiskId, u64)>,
}

impl BlockDevice {
    /// Opens a disk for writing.
    ///
    /// # Errors
    /// The errno, or `ENODEV` when the disk of that name is another one by now.
    pub fn open(disk: &Disk) -> io::Result<BlockDevice> {
        let file = disk::direct::open_for_writing(&disk.path)?;
        let (major, minor) = disk.number;
        let same = disk::refresh(disk).is_ok_and(|now| now.id == disk.id);
        if file.metadata()?.rdev() != rustix::fs::makedev(major, minor) || !same {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        Ok(BlockDevice {
            file,
            block: disk.logical_block as usize,
            watched: Some((disk.id.clone(), disk.bytes)),
        })
    }

    /// A file or device that is nobody else's, with blocks of so many bytes: for tools that run beside lvm2.
    pub fn of(file: File, block: usize) -> BlockDevice {
        BlockDevice {
            file,
            block,
            watched: None,
        }
    }

    /// Sees to it that the watch does not undo what is written there.
    fn alone(&self, offset: u64, length: usize) -> io::Result<Option<Alone>> {
        let Some((disk, bytes)) = &self.watched else {
            return Ok(None);
        };
        let end = offset.saturating_add(length as u64);
        if offset >= FRONT_BYTES && end <= bytes.saturating_sub(BACK_BYTES) {
            return Ok(None);
        }
        let alone = ends::alone(disk, REWRITE_LIMIT).ok_or_else(|| {
            let why = format!("a write of the watch did not return within {REWRITE_LIMIT:?}");
            io::Error::new(io::ErrorKind::TimedOut, why)
        })?;
        Ok(Some(alone))
    }
}

impl Medium for BlockDevice {
    fn block(&self) -> usize {
        self.block
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut memory = Aligned::new(length);
        self.file.read_exact_at(memory.bytes(), offset)?;
        Ok(memory.bytes().to_vec())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut memory = Aligned::new(bytes.len());
        memory.bytes().copy_from_slice(bytes);
        let _alone = self.alone(offset, bytes.len())?;
        self.file.write_all_at(memory.bytes(), offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn what_the_watch_may_rewrite_is_written_only_while_it_does_not() {
        const BYTES: u64 = 1 << 20;
        let file = tempfile::tempfile().unwrap();
        file.set_len(BYTES).unwrap();
        let id = DiskId("medium-1".to_owned());
        let mut device = BlockDevice {
            file: file.try_clone().unwrap(),
            block: 4096,
            watched: Some((id.clone(), BYTES)),
        };
        // Between its ends nobody is waited for.
        let rewrite = ends::rewrite(&id).unwrap();
        device.write(4096, &[1; 4096]).unwrap();
        drop(rewrite);
        for offset in [0, BYTES - 4096] {
            let rewrite = ends::rewrite(&id).unwrap();
            // What the watch has read by now, and writes again.
            let mut read = [0; 4096];
            file.read_exact_at(&mut read, offset).unwrap();
            let (tell, told) = channel();
            thread::scope(|scope| {
                scope.spawn(|| {
                    device.write(offset, &[7; 4096]).unwrap();
                    tell.send(()).unwrap();
                });
                let early = told.recv_timeout(Duration::from_millis(50));
                file.write_all_at(&read, offset).unwrap();
                drop(rewrite);
                if early.is_err() {
                    told.recv().unwrap();
                }
            });
            file.read_exact_at(&mut read, offset).unwrap();
            assert_eq!(read, [7; 4096], "at {offset}");
        }
    }
}
