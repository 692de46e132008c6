//! Thin pools and thin volumes (`lib/thin/thin.c`).

use super::entries::{Entries, Names};
use super::error::GroupError;
use super::{SegmentKind, VolumeGroup};
use crate::volume::text::Value;

/// Sectors of a block of a pool, least and most.
const CHUNK_SECTORS: std::ops::RangeInclusive<u32> = 128..=2_097_152;
/// The kernel keeps 24 bits.
const MOST_DEVICE_ID: u32 = (1 << 24) - 1;

/// What a pool does with discards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discards {
    /// Nothing.
    Ignore,
    /// It frees blocks.
    NoPassdown,
    /// It frees blocks and tells the disks.
    Passdown,
}

/// Space and metadata of thin volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinPool {
    /// The volume with the space.
    pub data: usize,
    /// The volume with the metadata.
    pub metadata: usize,
    /// Grows with each change of the pool; the kernel's metadata have the same number.
    pub transaction_id: u64,
    /// Sectors of a block.
    pub chunk_sectors: u32,
    /// What it does with discards.
    pub discards: Discards,
    /// A new block is zeroed first.
    pub zeroes: bool,
    /// Metadata beyond the most that the kernel uses are cut off.
    pub crops_metadata: bool,
    /// Changes that the metadata know of and the kernel may not yet.
    pub messages: Vec<Message>,
}

/// A change of a pool that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The thin volume with this index comes to be.
    Create(usize),
    /// The one with this id ends.
    Delete(u32),
}

/// A thin volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thin {
    /// Its pool.
    pub pool: usize,
    /// Its number in the pool.
    pub device_id: u32,
    /// The thin volume that it is a snapshot of.
    pub origin: Option<usize>,
    /// A volume outside of the pool that it is a snapshot of.
    pub external: Option<usize>,
    /// The volume that it is being merged into.
    pub merge: Option<usize>,
}

impl VolumeGroup {
    /// Whether a volume, by index, gives space back that a client says it no longer needs: what its pool does, the same on
    /// every machine, whatever disks are below it.
    pub fn gives_space_back(&self, lv: usize) -> bool {
        let kind = |lv: usize| Some(&self.lvs.get(lv)?.segments.first()?.kind);
        let Some(SegmentKind::Thin(thin)) = kind(lv) else {
            return false;
        };
        matches!(kind(thin.pool), Some(SegmentKind::ThinPool(pool)) if pool.discards != Discards::Ignore)
    }
}

impl ThinPool {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<ThinPool, GroupError> {
        let chunk_sectors = entries.small("chunk_size")?;
        if !CHUNK_SECTORS.contains(&chunk_sectors) {
            return Err(entries.missing("chunk_size", "possible size of a block"));
        }
        let discards = match entries.optional_text("discards") {
            _ if !entries.has("discards") => Discards::Ignore,
            Some("ignore") => Discards::Ignore,
            Some("nopassdown") => Discards::NoPassdown,
            Some("passdown") => Discards::Passdown,
            _ => return Err(entries.missing("discards", "word that is known")),
        };
        let mut messages = Vec::new();
        // Every section within is one, whatever it is called.
        for (name, value) in entries.section.iter() {
            if let Value::Section(section) = value {
                messages.push(Message::parse(&Entries { name, section }, names)?);
            }
        }
        Ok(ThinPool {
            data: entries.lv("pool", names)?,
            metadata: entries.lv("metadata", names)?,
            transaction_id: entries.number("transaction_id")?,
            chunk_sectors,
            discards,
            zeroes: entries.small_or_zero("zero_new_blocks")? != 0,
            crops_metadata: entries.small_or_zero("crop_metadata")? != 0,
            messages,
        })
    }
}

impl Message {
    fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<Message, GroupError> {
        match entries.optional_lv("create", names)? {
            Some(lv) => Ok(Message::Create(lv)),
            None => Ok(Message::Delete(device_id(entries, "delete")?)),
        }
    }
}

impl Thin {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<Thin, GroupError> {
        Ok(Thin {
            pool: entries.lv("thin_pool", names)?,
            device_id: device_id(entries, "device_id")?,
            origin: entries.optional_lv("origin", names)?,
            external: entries.optional_lv("external_origin", names)?,
            merge: entries.optional_lv("merge", names)?,
        })
    }
}

fn device_id(entries: &Entries<'_>, key: &'static str) -> Result<u32, GroupError> {
    let id = entries.small(key)?;
    match id <= MOST_DEVICE_ID {
        true => Ok(id),
        false => Err(entries.missing(key, "number of 24 bits")),
    }
}
