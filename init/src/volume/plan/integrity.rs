//! Checksums: `ORIGIN 0 TAG MODE COUNT fix_padding block_size:N internal_hash:NAME [SETTING...]`
//! (`_integrity_emit_segment_line`).

use std::fmt::Write as _;

use super::line::{Backing, Show};

/// An integrity target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrityTarget {
    /// Data.
    pub origin: Backing,
    /// Checksums.
    pub metadata: Option<Backing>,
    /// Bytes of a checksum.
    pub tag_bytes: u32,
    /// With a journal, a bitmap, ...
    pub mode: char,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Name of the checksum.
    pub hash: String,
    /// All are computed first.
    pub recalculates: bool,
    /// What else is said.
    pub settings: Vec<(&'static str, u64)>,
    /// Discards are passed on.
    pub allows_discards: bool,
}

impl IntegrityTarget {
    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let mut words = vec![
            "fix_padding".to_owned(),
            format!("block_size:{}", self.block_bytes),
            format!("internal_hash:{}", self.hash),
        ];
        words.extend(
            self.metadata
                .map(|device| format!("meta_device:{}", show(device))),
        );
        words.extend(self.recalculates.then(|| "recalculate".to_owned()));
        let settings = self.settings.iter();
        words.extend(settings.map(|(key, value)| format!("{key}:{value}")));
        words.extend(self.allows_discards.then(|| "allow_discards".to_owned()));
        let origin = show(self.origin);
        let mut text = format!(
            "{origin} 0 {} {} {}",
            self.tag_bytes,
            self.mode,
            words.len()
        );
        for word in words {
            let _ = write!(text, " {word}");
        }
        text
    }
}
