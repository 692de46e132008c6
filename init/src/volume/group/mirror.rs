//! Mirrors of before RAID (`lib/mirror/mirrored.c`), with or without a log on disk.

use super::entries::{Entries, Names};
use super::error::{GroupError, nonsense};
use super::segment::Area;

/// A mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Sectors that one bit of the log stands for.
    pub region_sectors: u32,
    /// The volume with the log; in memory only without one.
    pub log: Option<usize>,
    /// Its images.
    pub images: Vec<Area>,
    /// It is a move from disk to disk.
    pub is_move: bool,
}

impl Mirror {
    pub(super) fn parse(
        lv: &str,
        entries: &Entries<'_>,
        names: &Names<'_>,
    ) -> Result<Mirror, GroupError> {
        let images = entries.areas("mirrors", names)?;
        if images.len() as u64 != entries.number("mirror_count")? {
            return Err(nonsense(lv, "its images are not as many as it says"));
        }
        let mirror = Mirror {
            region_sectors: entries.small_or_zero("region_size")?,
            log: entries.optional_lv("mirror_log", names)?,
            is_move: entries.has("extents_moved"),
            images,
        };
        if mirror.region_sectors == 0 && !mirror.is_move {
            return Err(nonsense(lv, "its regions have no size"));
        }
        Ok(mirror)
    }
}
