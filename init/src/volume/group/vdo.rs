//! Deduplicated volumes (`lib/vdo/vdo.c`).

use super::entries::{Entries, Names};
use super::error::GroupError;

/// The store of a deduplicated volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VdoPool {
    /// The volume that it is on.
    pub data: usize,
    /// Sectors before, and as many after, what is offered.
    pub header_sectors: u32,
    /// Extents that are offered.
    pub virtual_extents: u32,
    /// Blocks are compressed.
    pub compresses: bool,
    /// Equal blocks are kept once.
    pub deduplicates: bool,
    /// Bytes of the least access: 512 or 4096.
    pub io_bytes: u32,
    /// Memory for the block map, in MiB.
    pub map_cache_mib: u32,
    /// How long a page of the block map may stay there unwritten.
    pub map_era: u32,
    /// Blocks of the largest discard.
    pub max_discard: u32,
    /// Threads: acknowledgements, disk, disk rotation, processor, hash zones, logical, physical.
    pub threads: VdoThreads,
}

/// Threads of a store, under lvm2's names.
#[allow(missing_docs)] // The names are all there is to say: vdoformat(8), lvmvdo(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VdoThreads {
    pub ack: u32,
    pub bio: u32,
    pub bio_rotation: u32,
    pub cpu: u32,
    pub hash_zone: u32,
    pub logical: u32,
    pub physical: u32,
}

/// A deduplicated volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vdo {
    /// Its store.
    pub pool: usize,
    /// Its first extent there.
    pub extent: u64,
}

impl VdoPool {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<VdoPool, GroupError> {
        Ok(VdoPool {
            data: entries.lv("data", names)?,
            header_sectors: entries.small("header_size")?,
            virtual_extents: entries.small("virtual_extents")?,
            compresses: entries.small_or_zero("use_compression")? != 0,
            deduplicates: entries.small_or_zero("use_deduplication")? != 0,
            // lvm2 keeps whole sectors.
            io_bytes: entries.small("minimum_io_size")? / 512 * 512,
            map_cache_mib: entries.small("block_map_cache_size_mb")?,
            map_era: entries.small("block_map_era_length")?,
            max_discard: entries.small("max_discard")?,
            threads: VdoThreads {
                ack: entries.small("ack_threads")?,
                bio: entries.small("bio_threads")?,
                bio_rotation: entries.small("bio_rotation")?,
                cpu: entries.small("cpu_threads")?,
                hash_zone: entries.small("hash_zone_threads")?,
                logical: entries.small("logical_threads")?,
                physical: entries.small("physical_threads")?,
            },
        })
    }
}

impl Vdo {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<Vdo, GroupError> {
        Ok(Vdo {
            pool: entries.lv("vdo_pool", names)?,
            extent: u64::from(entries.small("vdo_offset")?),
        })
    }
}
