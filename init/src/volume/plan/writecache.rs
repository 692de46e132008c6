//! Caches for writes: `s ORIGIN CACHE BLOCK COUNT [SETTING...]` (`_writecache_emit_segment_line`).
//!
//! Persistent memory (`p`) cannot be on a shelf that two heads share.

use std::fmt::Write as _;

use super::line::{Backing, Show};

/// A writecache target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritecacheTarget {
    /// What is cached.
    pub origin: Backing,
    /// The faster device.
    pub cache: Backing,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Settings, some without a value.
    pub settings: Vec<(&'static str, Option<u64>)>,
}

impl WritecacheTarget {
    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let words = self.settings.iter();
        let count: usize = words
            .map(|(_, value)| 1 + usize::from(value.is_some()))
            .sum();
        let (origin, cache) = (show(self.origin), show(self.cache));
        let mut text = format!("s {origin} {cache} {} {count}", self.block_bytes);
        for (key, value) in &self.settings {
            let _ = match value {
                Some(value) => write!(text, " {key} {value}"),
                None => write!(text, " {key}"),
            };
        }
        text
    }
}
