//! What a volume of ours holds, from its first and last blocks. Nothing is interpreted beyond its magic number.

use std::fmt;
use std::io;
use std::path::Path;

use crate::disk::direct;
use crate::volume::bare::recognise;

/// How much of the beginning must be zero for the whole to be nothing: most of what can be on a volume begins there.
const HEAD: usize = 64 * 1024;

/// The end of a volume that no file system of ours reaches: see [`super::ext4::make`].
pub const TAIL: usize = 4096;

/// What stands in the tail while a file system is being made: until it is gone, whatever is in front of it is nothing.
pub const BEING_MADE: &[u8] = b"orthrus: a file system is being made here\n";

/// `EXT4_SUPER_MAGIC` at byte 56 of the superblock, `fs/ext4/ext4.h`.
const EXT4: (usize, &[u8]) = (1024 + 56, &[0x53, 0xef]);
/// `XFS_SB_MAGIC`, `fs/xfs/libxfs/xfs_format.h`.
const XFS: (usize, &[u8]) = (0, b"XFSB");

/// `EXT4_ERROR_FS` in `s_state` at byte 58: the kernel met an inconsistency.
const EXT4_STATE: usize = 1024 + 58;
const EXT4_ERROR: u8 = 2;

/// What is on a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeroes, as far as was looked.
    Nothing,
    /// A file system that was not finished.
    Unfinished,
    /// ext2, ext3 or ext4.
    Ext4 {
        /// The kernel marked it as damaged.
        is_damaged: bool,
    },
    /// xfs.
    Xfs,
    /// Something else, with a name.
    Other(&'static str),
    /// Bytes that say nothing.
    Unknown,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::Nothing => "nothing",
            Found::Unfinished => "a file system that was not finished",
            Found::Ext4 { is_damaged: false } => "ext4",
            Found::Ext4 { is_damaged: true } => "ext4, damaged",
            Found::Xfs => "xfs",
            Found::Other(name) => name,
            Found::Unknown => "something that is not known",
        })
    }
}

/// Looks at a volume of this many bytes.
pub fn probe(node: &Path, bytes: u64) -> io::Result<Found> {
    let file = direct::open(node)?;
    let head = usize::try_from(bytes).unwrap_or(HEAD).min(HEAD);
    let head = direct::read(&file, 0, head)?;
    let tail = match bytes.checked_sub(TAIL as u64) {
        Some(start) => direct::read(&file, start, TAIL)?,
        None => Vec::new(),
    };
    let mut read = |offset, length| direct::read(&file, offset, length);
    named(judge(&head, &tail), bytes, &mut read)
}

/// Gives what is not one of ours a name, if it has one. Zeroes at the beginning may be those of something whose
/// signature comes later.
fn named(
    found: Found,
    bytes: u64,
    read: &mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> io::Result<Found> {
    if !matches!(found, Found::Nothing | Found::Unknown) {
        return Ok(found);
    }
    let others = recognise(bytes, direct::ALIGNMENT, read)?;
    let other = others.first();
    Ok(other.map_or(found, |other| Found::Other(other.what)))
}

fn judge(head: &[u8], tail: &[u8]) -> Found {
    let is = |(at, magic): (usize, &[u8])| head.get(at..at + magic.len()) == Some(magic);
    if tail.starts_with(BEING_MADE) {
        return Found::Unfinished;
    }
    if is(EXT4) {
        let state = head.get(EXT4_STATE).copied().unwrap_or(EXT4_ERROR);
        let is_damaged = state & EXT4_ERROR != 0;
        return Found::Ext4 { is_damaged };
    }
    if is(XFS) {
        return Found::Xfs;
    }
    match head.iter().all(|byte| *byte == 0) {
        true => Found::Nothing,
        false => Found::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(at: usize, magic: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[at..at + magic.len()].copy_from_slice(magic);
        head
    }

    #[test]
    fn each_is_known_by_its_magic_number() {
        let is_damaged = false;
        for (head, found) in [
            (vec![0; HEAD], Found::Nothing),
            (with(EXT4.0, EXT4.1), Found::Ext4 { is_damaged }),
            (with(XFS.0, XFS.1), Found::Xfs),
            (with(60_000, &[1]), Found::Unknown),
        ] {
            assert_eq!(judge(&head, &[0; TAIL]), found);
        }
        let mut damaged = with(EXT4.0, EXT4.1);
        damaged[EXT4_STATE] = 1 | EXT4_ERROR;
        let is_damaged = true;
        assert_eq!(judge(&damaged, &[]), Found::Ext4 { is_damaged });
    }

    #[test]
    fn a_signature_behind_zeroes_is_seen() {
        let mut disk = vec![0; 1 << 20];
        let look = |disk: &[u8]| {
            let mut read = |offset: u64, length: usize| {
                let offset = offset as usize;
                Ok(disk[offset..offset + length].to_vec())
            };
            let found = judge(&disk[..HEAD], &disk[disk.len() - TAIL..]);
            named(found, disk.len() as u64, &mut read).unwrap()
        };
        assert_eq!(look(&disk), Found::Nothing);
        disk[HEAD + 64..HEAD + 72].copy_from_slice(b"_BHRfS_M");
        assert!(matches!(look(&disk), Found::Other(_)), "btrfs");
    }

    #[test]
    fn what_is_not_finished_is_nothing_whatever_it_looks_like() {
        let mut tail = vec![0; TAIL];
        tail[..BEING_MADE.len()].copy_from_slice(BEING_MADE);
        assert_eq!(judge(&with(EXT4.0, EXT4.1), &tail), Found::Unfinished);
        assert_eq!(judge(&[0; HEAD], &tail), Found::Unfinished);
    }

    #[test]
    fn a_volume_shorter_than_any_file_system_is_looked_at_all_the_same() {
        assert_eq!(judge(&[0; 512], &[]), Found::Nothing);
        assert_eq!(judge(b"XFSB", &[]), Found::Xfs);
        assert_eq!(judge(&[], &[]), Found::Nothing);
    }
}
