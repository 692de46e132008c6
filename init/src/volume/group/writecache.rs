//! Volumes whose writes go to a faster one first (`lib/writecache/writecache.c`).

use super::entries::{Entries, Names};
use super::error::GroupError;

/// A volume with a cache for writes. A setting that is not in the metadata is the kernel's to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writecache {
    /// What is cached.
    pub origin: usize,
    /// The faster volume.
    pub cache: usize,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Settings under the kernel's names, in lvm2's order; some have no value.
    pub settings: Vec<(&'static str, Option<u64>)>,
}

/// The order in which lvm2 writes a table, and whether a value follows.
const SETTINGS: [(&str, bool); 11] = [
    ("high_watermark", true),
    ("low_watermark", true),
    ("writeback_jobs", true),
    ("autocommit_blocks", true),
    ("autocommit_time", true),
    ("fua", false),
    ("nofua", false),
    ("cleaner", false),
    ("max_age", true),
    ("metadata_only", false),
    ("pause_writeback", true),
];

impl Writecache {
    pub(super) fn parse(
        entries: &Entries<'_>,
        names: &Names<'_>,
    ) -> Result<Writecache, GroupError> {
        let mut settings = Vec::new();
        for (key, has_value) in SETTINGS {
            match entries.optional_number(key)? {
                None => {}
                // Zero is as good as none, for this one only.
                Some(0) if key == "cleaner" => {}
                Some(value) => settings.push((key, has_value.then_some(value))),
            }
        }
        // A setting that the lvm2 that wrote it did not know itself.
        if entries.has("writecache_setting_key") {
            return Err(entries.missing("writecache_setting_key", "setting that is known"));
        }
        Ok(Writecache {
            origin: entries.lv("origin", names)?,
            cache: entries.lv("writecache", names)?,
            block_bytes: match entries.small("writecache_block_size")? {
                0 => 4096,
                bytes => bytes,
            },
            settings,
        })
    }
}
