//! Reading and writing shared disks past the page cache.
//!
//! Always so on a disk that the peer may have written: a page cached before a claim is a lie after it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Alignment of offset, length and memory that `O_DIRECT` accepts on every disk (4 KiB sectors).
pub const ALIGNMENT: usize = 4096;

/// Opens for reading with `O_DIRECT`.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
        .open(path)
}

/// Opens for reading and writing with `O_DIRECT`.
pub fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
        .open(path)
}

/// Reads `length` bytes from `offset`, both of any alignment.
pub fn read(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let align = ALIGNMENT as u64;
    let start = offset / align * align;
    let overflow = || io::Error::from(io::ErrorKind::InvalidInput);
    let end = offset
        .checked_add(length as u64)
        .and_then(|end| end.checked_next_multiple_of(align))
        .ok_or_else(overflow)?;
    let span = usize::try_from(end - start).map_err(|_| overflow())?;
    let mut buffer = Aligned::new(span);
    file.read_exact_at(buffer.bytes(), start)?;
    let skip = (offset - start) as usize;
    Ok(buffer.bytes()[skip..skip + length].to_vec())
}

/// Writes `block` bytes of the disk over with what is read there: nothing changes, unless somebody else writes there in between, and
/// it succeeds only where this path may write.
pub fn rewrite(path: &Path, offset: u64, block: u32) -> io::Result<()> {
    let file = open_for_writing(path)?;
    let mut buffer = Aligned::new(block as usize);
    file.read_exact_at(buffer.bytes(), offset)?;
    file.write_all_at(buffer.bytes(), offset)
}

/// Memory that starts at a multiple of [`ALIGNMENT`].
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// So many bytes, all zero.
    pub fn new(length: usize) -> Aligned {
        let memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Aligned {
            memory,
            start,
            length,
        }
    }

    /// The memory.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_alignment_is_served() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let path = place.path();
        let bytes: Vec<u8> = (0..3 * ALIGNMENT).map(|i| (i % 251) as u8).collect();
        std::fs::write(path, &bytes).unwrap();
        let Ok(file) = open(path) else {
            eprintln!("SKIPPED: no O_DIRECT on the temporary directory's file system");
            return;
        };
        for (offset, length) in [(0, 1), (1, 4096), (4095, 2), (5000, 7000)] {
            let read = read(&file, offset as u64, length).unwrap();
            assert_eq!(read, bytes[offset..offset + length]);
        }
        assert!(read(&file, 12000, 4096).is_err());
        rewrite(path, 512, 512).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), bytes);
    }
}
