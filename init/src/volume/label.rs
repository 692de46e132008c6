//! The label that makes a disk a physical volume, and where its metadata areas are (`lib/label/label.c`,
//! `lib/format_text/layout.h`).
//!
//! Bytes from a disk may be anything: every read is checked, every list has a limit.

use super::crc;
use super::uuid::Uuid;

/// Bytes from the start of the disk in which the label is found: sectors 0 to 3, and the rest of its own.
pub const SCANNED: usize = 4 * SECTOR;

const SECTOR: usize = 512;
const MOST_AREAS: usize = 16;

/// What the label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The physical volume's uuid.
    pub uuid: Uuid,
    /// Size of the device when the label was written, in bytes.
    pub device_bytes: u64,
    /// Where the data begin, in bytes.
    pub data_start: Option<u64>,
    /// Metadata areas.
    pub areas: Vec<Area>,
}

/// A region of the disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// From the start of the disk.
    pub start: u64,
    /// Its length.
    pub size: u64,
}

/// Why a label cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The checksum is wrong.
    #[error("label in sector {sector}: checksum is {found:#010x} and should be {expected:#010x}")]
    Checksum {
        /// Where the label is.
        sector: usize,
        /// As computed.
        found: u32,
        /// As written there.
        expected: u32,
    },
    /// Something in it makes no sense.
    #[error("label in sector {sector}: {what}")]
    Malformed {
        /// Where the label is.
        sector: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Finds the label in the first [`SCANNED`] bytes of a disk; `None` on a disk that is no physical volume.
pub fn find(bytes: &[u8]) -> Result<Option<Label>, LabelError> {
    for (sector, block) in bytes.chunks_exact(SECTOR).take(4).enumerate() {
        // The number of its own sector is part of it, so that a copied sector is not taken for a label.
        if block.starts_with(b"LABELONE") && number64(block, 8) == Some(sector as u64) {
            return parse(sector, block).map(Some);
        }
    }
    Ok(None)
}

fn parse(sector: usize, block: &[u8]) -> Result<Label, LabelError> {
    let malformed = |what| LabelError::Malformed { sector, what };
    let short = || malformed("it is cut short");
    let expected = number32(block, 16).ok_or_else(short)?;
    let found = crc::crc(crc::START, &block[20..]);
    if found != expected {
        return Err(LabelError::Checksum {
            sector,
            found,
            expected,
        });
    }
    if block.get(24..32) != Some(b"LVM2 001") {
        return Err(malformed("its type is not LVM2 001"));
    }
    let header = number32(block, 20).ok_or_else(short)? as usize;
    let uuid = block.get(header..header.saturating_add(32));
    let uuid = uuid
        .and_then(Uuid::from_compact)
        .ok_or_else(|| malformed("the uuid of the physical volume is none"))?;
    let device_bytes = number64(block, header + 32).ok_or_else(short)?;
    let mut at = header + 40;
    // Two lists, each ended by an empty entry: where the data are, which the text says too; where the
    // metadata areas are.
    let data =
        areas(block, &mut at).ok_or_else(|| malformed("the list of data areas has no end"))?;
    let areas =
        areas(block, &mut at).ok_or_else(|| malformed("the list of metadata areas has no end"))?;
    Ok(Label {
        uuid,
        device_bytes,
        data_start: data.first().map(|area| area.start),
        areas,
    })
}

/// The label of a physical volume with one metadata area, in this sector of the disk; `data_start` in bytes. It says
/// that a group uses it (`PV_EXT_USED` of the header's extension, version 2), so that lvm2 warns when it finds
/// none.
pub fn sector(
    number: u64,
    uuid: &Uuid,
    device_bytes: u64,
    data_start: u64,
    area: Area,
) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"LABELONE");
    put(8, &number.to_le_bytes());
    put(20, &32u32.to_le_bytes());
    put(24, b"LVM2 001");
    put(32, uuid.compact().as_bytes());
    put(64, &device_bytes.to_le_bytes());
    // Data go from there to the end: no length. An empty entry ends each list.
    put(72, &data_start.to_le_bytes());
    put(104, &area.start.to_le_bytes());
    put(112, &area.size.to_le_bytes());
    put(136, &2u32.to_le_bytes());
    put(140, &1u32.to_le_bytes());
    let checksum = crc::crc(crc::START, &sector[20..]);
    sector[16..20].copy_from_slice(&checksum.to_le_bytes());
    sector
}

fn areas(block: &[u8], at: &mut usize) -> Option<Vec<Area>> {
    let mut areas = Vec::new();
    while areas.len() <= MOST_AREAS {
        let (start, size) = (number64(block, *at)?, number64(block, *at + 8)?);
        *at += 16;
        if start == 0 {
            return Some(areas);
        }
        areas.push(Area { start, size });
    }
    None
}

/// The little-endian number at `at`.
pub(super) fn number64(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The little-endian number at `at`.
pub(super) fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
