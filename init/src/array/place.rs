//! Where the superblock of an MD array is on a disk, if there is one.
//!
//! With the superblock at the end of the disk (0.90, 1.0) the data begins at its first sector, and the label of a
//! physical volume on an array of mirrors is seen on every leg. A leg that was taken for that physical volume would be
//! written behind the array's back. So what is in an array is nothing else, whatever it looks like, and whatever else is
//! the matter with its superblock. But in these places also a client's data may be: see [`super::rivals`]. Layouts are those of
//! `include/uapi/linux/raid/md_p.h`.

use std::io;
use std::ops::Range;

use super::superblock::{Features, Superblock, at};
use super::{MemberError, Read, rivals};

/// `MD_SB_MAGIC`.
const MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
/// A superblock of version 1 with the roles of as many devices as it may have.
const SUPERBLOCK: usize = 4096;
/// Places in `struct mdp_superblock_1`.
const AT_MAJOR: usize = 4;
const AT_BITMAP: usize = 96;
const AT_SUPER_OFFSET: usize = 144;
const AT_BAD_BLOCKS: usize = 188;
const AT_CHECKSUM: usize = 216;
const AT_MAX_DEV: usize = 220;
const AT_ROLES: usize = 256;
/// `MD_RESERVED_BYTES` of version 0.90: in the last whole piece of this size.
const RESERVED_090: u64 = 64 * 1024;

/// A superblock that belongs where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version, for people.
    pub version: &'static str,
    /// Minor number of version 1; `None` of an older one.
    pub minor: Option<u8>,
    /// Where it is, in bytes.
    pub place: u64,
    /// The superblock; empty of an older version.
    pub bytes: Vec<u8>,
}

impl Found {
    /// Where the data are that it tells of, in bytes, on a disk of so many; `None` when they are not all on it: it came along with the data
    /// of something larger.
    pub fn data(&self, bytes: u64) -> Option<Range<u64>> {
        let number = |at: usize| {
            let number = self.bytes.get(at..at + 8)?.try_into().ok()?;
            u64::from_le_bytes(number).checked_mul(512)
        };
        if self.minor.is_none() {
            return Some(0..self.place);
        }
        let (start, length) = (number(at::DATA_OFFSET)?, number(at::DATA_SIZE)?);
        let end = start.checked_add(length)?;
        (end <= bytes).then_some(start..end)
    }

    /// Whether the first block of the disk is data of the array, of which a volume and so a client may have it: not of mirrors, whose
    /// first data are the label of the physical volume on them.
    pub fn shows_data_in_front(&self) -> bool {
        let is_of_mirrors = || {
            let level = self.bytes.get(at::LEVEL..at::LEVEL + 4);
            level == Some(&1_i32.to_le_bytes())
        };
        self.minor == Some(0) && !is_of_mirrors()
    }

    /// Whether a part of it lies there.
    pub fn is_in(&self, data: &Range<u64>) -> bool {
        self.place < data.end && data.start < self.place + SUPERBLOCK as u64
    }

    /// What it says.
    ///
    /// # Errors
    /// It cannot be judged.
    pub fn parse(&self, bytes: u64) -> Result<Superblock, MemberError> {
        let version = self.version;
        let minor = self.minor.ok_or(MemberError::Version(version))?;
        let parsed = Superblock::parse(&self.bytes, minor, bytes / 512);
        parsed.map_err(|source| MemberError::Superblock { version, source })
    }
}

/// The superblocks on a disk of this many bytes, those in front first. What several of them mean is for [`super::rivals`].
///
/// # Errors
/// The disk's.
pub fn all(bytes: u64, read: &mut Read<'_>) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    // Eight kilobytes before the end, on a whole block of four.
    let end = (bytes / 512)
        .checked_sub(16)
        .map(|sector| (sector & !7) * 512);
    let places = [(Some(0), "1.1", 1), (Some(4096), "1.2", 2), (end, "1.0", 0)];
    for (place, version, minor) in places {
        let Some(place) = place.filter(|place| place + SUPERBLOCK as u64 <= bytes) else {
            continue;
        };
        let contents = read(place, SUPERBLOCK)?;
        if is_superblock(&contents, place / 512) {
            all.push(Found {
                version,
                minor: Some(minor),
                place,
                bytes: contents,
            });
        }
    }
    if !all.is_empty() {
        return Ok(all);
    }
    let old = (bytes / RESERVED_090 * RESERVED_090).checked_sub(RESERVED_090);
    if let Some(place) = old {
        // In the byte order of the machine that made it.
        let head = read(place, 12)?;
        let magic = head[..4] == MAGIC || head[..4] == 0xa92b_4efc_u32.to_be_bytes();
        let version = [&head[4..8], &head[8..12]].map(|word| word.iter().copied().max());
        if magic && version == [Some(0), Some(90)] {
            all.push(Found {
                version: "0.90",
                minor: None,
                place,
                bytes: Vec::new(),
            });
        }
    }
    Ok(all)
}

/// Where a block is that nobody writes while the disk is in use, for who must write to know that he may: the first one, unless it is
/// part of an array. `None` where no block is known to be free, or where the disk alone does not tell what it is: what is read there and
/// written back a moment later would undo what the array wrote in between, a superblock that calls a member failed as well as a
/// client's data.
///
/// # Errors
/// The disk's.
pub fn spare_block(
    bytes: u64,
    block: u32,
    read: &mut Read<'_>,
) -> Result<Option<u64>, MemberError> {
    let sight = match rivals::look(bytes, read) {
        Err(MemberError::Two(..)) => return Ok(None),
        sight => sight?,
    };
    if !sight.rivals.is_empty() {
        return Ok(None);
    }
    let Some(found) = sight.found else {
        return Ok(Some(0));
    };
    let word = |at: usize| {
        let bytes = found.bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let spare = match found.minor {
        // Before the superblock.
        Some(2) => Some(0),
        // Behind what the kernel writes of it, which are whole blocks for the roles that there may be.
        Some(1) => {
            let last = SUPERBLOCK as u64 - u64::from(block);
            let written = word(AT_MAX_DEV).map(|most| AT_ROLES as u64 + 2 * u64::from(most));
            written
                .is_some_and(|written| written <= last)
                .then_some(last)
        }
        // Behind the superblock, where also a bitmap, bad blocks or parity logs may be.
        Some(0) => {
            let is_before = |at: usize| word(at).is_some_and(|offset| offset.cast_signed() <= 0);
            let has_logs = word(at::FEATURES).is_none_or(|features| Features(features).has_ppl());
            let is_free = is_before(AT_BITMAP) && is_before(AT_BAD_BLOCKS) && !has_logs;
            let last = (bytes / u64::from(block)).checked_sub(1);
            last.filter(|_| is_free).map(|last| last * u64::from(block))
        }
        _ => None,
    };
    Ok(spare)
}

/// Whether these are the bytes of a superblock that belongs to this sector: one that was moved along with a copy of
/// something, or is left of something else, does not.
fn is_superblock(bytes: &[u8], sector: u64) -> bool {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let (Some(low), Some(high)) = (word(AT_SUPER_OFFSET), word(AT_SUPER_OFFSET + 4)) else {
        return false;
    };
    let here = u64::from(high) << 32 | u64::from(low);
    bytes.starts_with(&MAGIC)
        && word(AT_MAJOR) == Some(1)
        && here == sector
        && checksum(bytes).is_some_and(|sum| word(AT_CHECKSUM) == Some(sum))
}

/// `calc_sb_1_csum` of `drivers/md/md.c`.
pub(crate) fn checksum(bytes: &[u8]) -> Option<u32> {
    let most = bytes.get(AT_MAX_DEV..AT_MAX_DEV + 4)?;
    let most = u32::from_le_bytes([most[0], most[1], most[2], most[3]]);
    let length = AT_ROLES.checked_add(usize::try_from(most).ok()?.checked_mul(2)?)?;
    let bytes = bytes.get(..length)?;
    let mut sum = 0_u64;
    for (index, word) in bytes.chunks(4).enumerate() {
        sum += match *word {
            _ if index * 4 == AT_CHECKSUM => 0,
            [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
            // An odd number of roles.
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            _ => return None,
        };
    }
    // Carries come back in at the bottom, once.
    Some(((sum & 0xffff_ffff) + (sum >> 32)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A superblock for the member at this sector.
    fn superblock(sector: u64) -> Vec<u8> {
        let mut bytes = vec![0; SUPERBLOCK];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[AT_MAJOR] = 1;
        bytes[AT_SUPER_OFFSET..AT_SUPER_OFFSET + 8].copy_from_slice(&sector.to_le_bytes());
        bytes[AT_MAX_DEV] = 3;
        bytes[AT_ROLES..AT_ROLES + 6].copy_from_slice(&[0, 0, 1, 0, 0xff, 0xff]);
        let sum = checksum(&bytes).unwrap();
        bytes[AT_CHECKSUM..AT_CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn on_disk(length: usize, place: usize, superblock: &[u8]) -> Option<&'static str> {
        let mut disk = vec![0; length];
        let end = (place + superblock.len()).min(length);
        disk[place..end].copy_from_slice(&superblock[..end - place]);
        let mut read = |offset: u64, count: usize| {
            let offset = offset as usize;
            Ok(disk[offset..offset + count].to_vec())
        };
        let found = all(length as u64, &mut read).unwrap();
        assert!(found.len() <= 1);
        found.first().map(|found| found.version)
    }

    #[test]
    fn layout_is_that_of_the_kernel_header() {
        let Some(kernel) = crate::sys::headers::evaluate(
            &["linux/types.h", "linux/raid/md_p.h"],
            &[
                "MD_SB_MAGIC",
                "offsetof(struct mdp_superblock_1, major_version)",
                "offsetof(struct mdp_superblock_1, bitmap_offset)",
                "offsetof(struct mdp_superblock_1, bblog_offset)",
                "offsetof(struct mdp_superblock_1, super_offset)",
                "offsetof(struct mdp_superblock_1, sb_csum)",
                "offsetof(struct mdp_superblock_1, max_dev)",
                "offsetof(struct mdp_superblock_1, dev_roles)",
                "MD_RESERVED_BYTES",
            ],
        ) else {
            return;
        };
        let places = [
            AT_MAJOR,
            AT_BITMAP,
            AT_BAD_BLOCKS,
            AT_SUPER_OFFSET,
            AT_CHECKSUM,
            AT_MAX_DEV,
            AT_ROLES,
        ];
        let mut ours = vec![u64::from(u32::from_le_bytes(MAGIC))];
        ours.extend(places.map(|place| place as u64));
        ours.push(RESERVED_090);
        assert_eq!(kernel, ours);
    }

    #[test]
    fn a_member_is_known_by_the_superblock_in_its_place() {
        const LENGTH: usize = (1 << 20) + 3 * 512;
        // (2051 - 16) rounded down to whole blocks of four kilobytes.
        let end = 2032;
        assert_eq!(on_disk(LENGTH, 512 * 2032, &superblock(end)), Some("1.0"));
        assert_eq!(on_disk(LENGTH, 0, &superblock(0)), Some("1.1"));
        assert_eq!(on_disk(LENGTH, 4096, &superblock(8)), Some("1.2"));
        let mut old = vec![0; 12];
        old[..4].copy_from_slice(&MAGIC);
        old[8] = 90;
        assert_eq!(on_disk(LENGTH, (1 << 20) - 65536, &old), Some("0.90"));
    }

    #[test]
    fn what_is_not_in_its_place_or_not_whole_is_none() {
        const LENGTH: usize = 1 << 20;
        assert_eq!(on_disk(LENGTH, 4096, &superblock(0)), None);
        for at in [
            0,
            AT_MAJOR,
            AT_SUPER_OFFSET,
            AT_CHECKSUM,
            AT_MAX_DEV,
            AT_ROLES,
        ] {
            let mut damaged = superblock(8);
            damaged[at] ^= 0x10;
            assert_eq!(on_disk(LENGTH, 4096, &damaged), None, "byte {at}");
        }
        let mut endless = superblock(8);
        endless[AT_MAX_DEV..AT_MAX_DEV + 4].fill(0xff);
        assert_eq!(on_disk(LENGTH, 4096, &endless), None);
        for length in [0, 512, 4096, 8192] {
            assert_eq!(on_disk(length, 0, &[]), None);
        }
    }
}
