//! Deduplication: version 4 of the table line, which the kernel's own dm-vdo takes (`_vdo_emit_segment_line`).

use super::line::{Backing, Show};
use crate::volume::group::VdoPool;

/// A VDO target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VdoTarget {
    /// What it is on.
    pub data: Backing,
    /// Length of that, in blocks of 4 KiB.
    pub data_blocks: u64,
    /// How it works.
    pub pool: VdoPool,
}

impl VdoTarget {
    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let pool = &self.pool;
        let on = |is_on| if is_on { "on" } else { "off" };
        let threads = &pool.threads;
        format!(
            "V4 {} {} {} {} {} deduplication {} compression {} maxDiscard {} ack {} bio {} \
             bioRotationInterval {} cpu {} hash {} logical {} physical {}",
            path(&show(self.data)),
            self.data_blocks,
            pool.io_bytes,
            u64::from(pool.map_cache_mib) * 256,
            pool.map_era,
            on(pool.deduplicates),
            on(pool.compresses),
            pool.max_discard,
            threads.ack,
            threads.bio,
            threads.bio_rotation,
            threads.cpu,
            threads.hash_zone,
            threads.logical,
            threads.physical,
        )
    }
}

/// VDO alone wants a path, and reports it again: `/dev/dm-3` of `254:3`. A name, which has no colon, stays.
fn path(shown: &str) -> String {
    match shown.split_once(':') {
        Some((_, minor)) => format!("/dev/dm-{minor}"),
        None => shown.to_owned(),
    }
}
