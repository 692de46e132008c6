//! Volumes with a checksum for each block (`lib/integrity/integrity.c`): images of RAID volumes, in lvm2.

use super::entries::{Entries, Names};
use super::error::GroupError;

/// A volume with checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    /// The volume with the data.
    pub origin: usize,
    /// The volume with the checksums.
    pub metadata: Option<usize>,
    /// Length in sectors.
    pub data_sectors: u64,
    /// `J`, `B`, `D` or `R`: with a journal, a bitmap, directly, recovery.
    pub mode: char,
    /// Bytes of a checksum.
    pub tag_bytes: u32,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// The kernel's name of the checksum.
    pub hash: String,
    /// Checksums are to be computed first.
    pub recalculates: bool,
    /// Settings that the metadata have, under the kernel's names.
    pub settings: Vec<(&'static str, u64)>,
    /// Discards are passed on.
    pub allows_discards: bool,
}

/// What can be set, in lvm2's order; the kernel reports them whether they were or not.
pub const SETTINGS: [&str; 7] = [
    "journal_sectors",
    "interleave_sectors",
    "buffer_sectors",
    "journal_watermark",
    "commit_time",
    "bitmap_flush_interval",
    "sectors_per_bit",
];

impl Integrity {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<Integrity, GroupError> {
        let mode = match entries.text("mode")? {
            "J" => 'J',
            "B" => 'B',
            "D" => 'D',
            "R" => 'R',
            _ => return Err(entries.missing("mode", "mode that is known")),
        };
        let hash = entries.text("internal_hash")?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // Never a keyed one: its key would stand in the table.
        if hash.is_empty() || hash.len() > 32 || !hash.bytes().all(allowed) {
            return Err(entries.missing("internal_hash", "name of a checksum"));
        }
        let mut settings = Vec::new();
        for key in SETTINGS {
            if let Some(value) = entries.optional_number(key)? {
                settings.push((key, value));
            }
        }
        let data_sectors = entries.number("data_sectors")?;
        if data_sectors == 0 {
            return Err(entries.missing("data_sectors", "length"));
        }
        Ok(Integrity {
            origin: entries.lv("origin", names)?,
            metadata: entries.optional_lv("meta_dev", names)?,
            data_sectors,
            mode,
            tag_bytes: entries.small("tag_size")?,
            block_bytes: entries.small("block_size")?,
            hash: hash.to_owned(),
            recalculates: entries.small_or_zero("recalculate")? != 0,
            settings,
            allows_discards: entries.small_or_zero("allow_discards")? != 0,
        })
    }
}
