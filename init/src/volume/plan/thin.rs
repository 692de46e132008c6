//! Thin pools: `METADATA DATA CHUNK LOW-WATER FEATURES [FEATURE...]` (`_thin_pool_emit_segment_line`).
//!
//! The low-water mark is zero, as with lvm2 when nothing extends pools by itself
//! (`thin_pool_autoextend_threshold = 100`).

use super::line::{Backing, Show};
use crate::volume::group::Discards;

/// The most of a metadata volume that lvm2 lets the kernel use when it crops, `DM_THIN_MAX_METADATA_SIZE`.
pub(super) const MOST_METADATA: u64 = 255 * (1 << 14) * 8 - 256 * 1024;

/// A thin pool target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinPoolTarget {
    /// Metadata.
    pub metadata: Backing,
    /// Space.
    pub data: Backing,
    /// Sectors of a block.
    pub chunk: u32,
    /// A new block is zeroed first.
    pub zeroes: bool,
    /// What is done with discards.
    pub discards: Discards,
    /// A full pool fails writes at once.
    pub errors_when_full: bool,
}

/// What must hold before volumes of a pool are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCheck {
    /// The number of the last change that the metadata know of.
    pub transaction_id: u64,
    /// What the kernel is told when it is one behind: the change was written and not made.
    pub messages: Vec<PoolMessage>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMessage {
    /// Its words.
    pub text: String,
    /// The device, by its uuid, that must not be written to meanwhile, should it be active: of what is copied half a
    /// write would be in the copy (`Documentation/admin-guide/device-mapper/thin-provisioning.rst`).
    pub origin: Option<String>,
}

impl ThinPoolTarget {
    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let features = [
            (!self.zeroes, "skip_block_zeroing"),
            (self.discards == Discards::Ignore, "ignore_discard"),
            (self.discards == Discards::NoPassdown, "no_discard_passdown"),
            (self.errors_when_full, "error_if_no_space"),
        ];
        let features: Vec<&str> = features
            .into_iter()
            .filter_map(|(is_set, word)| is_set.then_some(word))
            .collect();
        let mut words = vec![
            show(self.metadata),
            show(self.data),
            format!("{} 0 {}", self.chunk, features.len()),
        ];
        words.extend(features.into_iter().map(str::to_owned));
        words.join(" ")
    }
}
