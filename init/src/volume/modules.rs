//! The kernel modules that a group's kinds of volumes ask for.
//!
//! Nothing calls modprobe for the kernel here, so all is named: the target, and below it what it would ask for by
//! itself (MD's personalities, the policy of a cache). What those need in turn comes with them ([`crate::modules`]).

use std::collections::BTreeSet;

use super::group::{RaidLevel, SegmentKind, VolumeGroup};

impl VolumeGroup {
    /// Names of modules; linear and striped volumes need none beyond device-mapper itself.
    pub fn modules(&self) -> BTreeSet<&'static str> {
        let segments = self.lvs.iter().flat_map(|lv| &lv.segments);
        segments
            .flat_map(|segment| modules_of(&segment.kind))
            .copied()
            .collect()
    }
}

fn modules_of(kind: &SegmentKind) -> &'static [&'static str] {
    match kind {
        SegmentKind::Striped { .. } | SegmentKind::Error | SegmentKind::Other(_) => &[],
        SegmentKind::Zero => &["dm_zero"],
        SegmentKind::Raid(raid) => match raid.level {
            RaidLevel::Raid0 | RaidLevel::Raid0Meta => &["dm_raid", "raid0"],
            RaidLevel::Raid1 => &["dm_raid", "raid1"],
            RaidLevel::Raid10 => &["dm_raid", "raid10"],
            RaidLevel::Parity(..) => &["dm_raid", "raid456"],
        },
        SegmentKind::Mirror(_) => &["dm_mirror"],
        SegmentKind::ThinPool(_) | SegmentKind::Thin(_) => &["dm_thin_pool"],
        SegmentKind::Snapshot(_) => &["dm_snapshot"],
        SegmentKind::CachePool(_) | SegmentKind::Cache(_) => &["dm_cache", "dm_cache_smq"],
        SegmentKind::Writecache(_) => &["dm_writecache"],
        // The checksum by its usual name; another one is an alias that its module answers to.
        SegmentKind::Integrity(_) => &["dm_integrity", "crc32c_generic"],
        SegmentKind::VdoPool(_) | SegmentKind::Vdo(_) => &["dm_vdo"],
    }
}
