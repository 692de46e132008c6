//! Caches: `METADATA DATA ORIGIN CHUNK FEATURES [FEATURE...] POLICY COUNT [KEY VALUE...]` (`_cache_emit_segment_line`).

use std::fmt::Write as _;

use super::line::{Backing, Show};
use crate::volume::group::{CacheMode, CacheSettings};

/// The kernel's own migration threshold, which is not said.
const DEFAULT_MIGRATION: u64 = 2048;

/// Settings that a policy takes; the others stay from one that was used before, and lvm2 leaves them out.
const ACCEPTED: [(&str, &[&str]); 2] = [
    (
        "mq",
        &[
            "migration_threshold",
            "sequential_threshold",
            "random_threshold",
            "read_promote_adjustment",
            "write_promote_adjustment",
            "discard_promote_adjustment",
        ],
    ),
    ("smq", &["migration_threshold"]),
];

/// A cache target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTarget {
    /// Metadata.
    pub metadata: Backing,
    /// Blocks.
    pub data: Backing,
    /// What is cached.
    pub origin: Backing,
    /// Sectors of a block.
    pub chunk: u32,
    /// Format 2 of the metadata.
    pub is_format2: bool,
    /// When a write counts as done.
    pub mode: CacheMode,
    /// What decides which blocks are cached.
    pub policy: String,
    /// What is said of it beside the migration threshold.
    pub settings: Vec<(String, u64)>,
    /// Sectors that may be on their way into and out of the cache.
    pub migration: u64,
}

impl CacheTarget {
    /// The devices are metadata, data, origin.
    pub(super) fn new(
        [metadata, data, origin]: [Backing; 3],
        settings: &CacheSettings,
        is_cleaning: bool,
    ) -> CacheTarget {
        let policy = match is_cleaning {
            true => "cleaner",
            false => settings.policy.as_str(),
        };
        let accepted = ACCEPTED
            .iter()
            .find(|(name, _)| policy.eq_ignore_ascii_case(name));
        let given = settings.settings.iter().filter(|(key, _)| {
            !is_cleaning && accepted.is_none_or(|(_, keys)| keys.contains(&key.as_str()))
        });
        let mut migration = DEFAULT_MIGRATION;
        let mut rest = Vec::new();
        for (key, value) in given {
            match key == "migration_threshold" {
                true => migration = *value,
                false => rest.push((key.clone(), *value)),
            }
        }
        CacheTarget {
            metadata,
            data,
            origin,
            chunk: settings.chunk_sectors,
            is_format2: settings.is_format2,
            // A policy that empties never leaves anything in the cache alone.
            mode: match policy {
                "cleaner" => CacheMode::Writethrough,
                _ => settings.mode,
            },
            policy: policy.to_owned(),
            settings: rest,
            // Less than eight blocks, and the cache would not get on.
            migration: migration.max(8 * u64::from(settings.chunk_sectors)),
        }
    }

    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let mut text = [self.metadata, self.data, self.origin].map(show).join(" ");
        let (count, format) = match self.is_format2 {
            true => (2, " metadata2"),
            false => (1, ""),
        };
        let mode = match self.mode {
            CacheMode::Writethrough => "writethrough",
            CacheMode::Writeback => "writeback",
            CacheMode::Passthrough => "passthrough",
        };
        let says_migration = self.migration != DEFAULT_MIGRATION;
        let words = 2 * (self.settings.len() + usize::from(says_migration));
        let _ = write!(
            text,
            " {} {count}{format} {mode} {} {words}",
            self.chunk, self.policy
        );
        if says_migration {
            let _ = write!(text, " migration_threshold {}", self.migration);
        }
        for (key, value) in &self.settings {
            let _ = write!(text, " {key} {value}");
        }
        text
    }
}
