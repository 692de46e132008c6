//! Which volumes a disk with a volatile write cache must not be under: those that keep its failed flush to themselves.
//!
//! A flush goes to every disk below a volume. A disk that fails it may have lost what it had acknowledged, and the client must
//! hear of that (invariant I2). What each kind does with it, in Linux 6.12:
//!
//! | kind | with a failed flush of one disk |
//! |---|---|
//! | linear, striped | the client's fails (`__send_empty_flush`, `dm_io_dec_pending`) |
//! | thin | the commit of the pool fails, and with it all flushes that waited for it (`process_deferred_bios`) |
//! | snapshot, origin | remapped to a disk, whose answer it gets (`snapshot_map`, `origin_map`) |
//! | origin with a merge | goes to the origin and to the store, and fails when either does (`snapshot_merge_map`) |
//! | mirror | the image is failed, the client's flush is held and not answered (`do_failures`, by `handle_errors`) |
//! | all levels of RAID, and arrays | MD logs it, the member stays in use, **the client's succeeds** (`md_end_flush`) |
//!
//! So a pool is refused whole when a disk under MD keeps its cache: as such an array is, and so that nobody finds out at the
//! first loss of power. Volumes that are not on MD may stand on such a disk: they say that they have a cache, and pass on what
//! becomes of a flush.

use super::group::{Area, SegmentKind, VolumeGroup, needs_of};
use crate::disk::DiskId;

/// Why not, for the operator.
pub const SWALLOWED: &str =
    "MD passes a failed flush of a disk on to nobody: turn the cache off at the disk or its target";

impl VolumeGroup {
    /// What stands on this disk by way of MD, in words; `None` if nothing does.
    pub fn on_md(&self, disk: &DiskId) -> Option<String> {
        let mut arrays = self.arrays();
        if let Some(on) = arrays.find(|on| on.disks().any(|one| one.id == *disk)) {
            return Some(format!("array {}", on.array.name()));
        }
        let pv = self.pvs.iter().position(|pv| {
            !pv.is_missing && pv.disk.as_ref().is_some_and(|here| here.id == *disk)
        })?;
        let mut volumes = self.lvs.iter();
        let found = volumes.find(|lv| {
            let is_raid = |kind: &SegmentKind| matches!(kind, SegmentKind::Raid(_));
            let kinds = lv.segments.iter().map(|segment| &segment.kind);
            kinds
                .filter(|kind| is_raid(kind))
                .any(|kind| needs_of(kind).iter().any(|part| self.stands_on(*part, pv)))
        });
        found.map(|lv| format!("volume {}", lv.name))
    }

    /// Whether a volume, or one that it needs, has a stretch there. How deep this goes was limited where the group was read.
    fn stands_on(&self, lv: usize, member: usize) -> bool {
        self.lvs[lv].segments.iter().any(|segment| {
            let mut areas = segment.areas().0.iter();
            areas.any(|area| matches!(area, Area::Pv { pv, .. } if *pv == member))
                || needs_of(&segment.kind)
                    .iter()
                    .any(|need| self.stands_on(*need, member))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::DiskId;
    use crate::volume::tests::made::{HIDDEN, Made, VISIBLE};

    fn sd(index: usize) -> DiskId {
        DiskId(format!("naa.{index}"))
    }

    #[test]
    fn a_disk_is_under_md_by_any_level_and_at_any_depth_and_a_linear_volume_is_not() {
        for level in ["raid1", "raid4", "raid5_ls", "raid6_zr", "raid10"] {
            let disks: &[usize] = match level {
                "raid6_zr" | "raid10" => &[0, 1, 2, 3],
                _ => &[0, 1, 2],
            };
            let group = Made::on(6)
                .simple("before", 0)
                .raid("r", level, disks)
                .simple("vol0", 4)
                .group();
            for disk in disks {
                let found = group.on_md(&sd(*disk));
                assert_eq!(found.as_deref(), Some("volume r"), "{level}, disk {disk}");
            }
            assert_eq!(group.on_md(&sd(4)), None, "{level}");
            assert_eq!(group.on_md(&sd(5)), None, "{level}");
        }
        let raid0 = "type = \"raid0\"\ndevice_count = 2\nregion_size = 4096\nstripe_size = 128\n\
                     raid0_lvs = [\"r_rimage_0\", \"r_rimage_1\"]";
        let striped = Made::on(3)
            .part("r_rimage_0", 0, 4)
            .part("r_rimage_1", 1, 4)
            .volume("r", VISIBLE, 8, raid0)
            .group();
        assert_eq!(striped.on_md(&sd(1)).as_deref(), Some("volume r"));
        assert_eq!(striped.on_md(&sd(2)), None);
        let pool = "type = \"thin-pool\"\nmetadata = \"room_tmeta\"\npool = \"room_tdata\"\ntransaction_id = 1\n\
                    chunk_size = 128\ndiscards = \"passdown\"\nzero_new_blocks = 1";
        let thin = Made::on(3)
            .raid_with("room_tdata", HIDDEN, "raid1", &[0, 1], "")
            .part("room_tmeta", 2, 1)
            .volume("room", VISIBLE, 4, pool)
            .group();
        assert_eq!(thin.on_md(&sd(1)).as_deref(), Some("volume room_tdata"));
        assert_eq!(thin.on_md(&sd(2)), None);
    }

    #[test]
    fn a_member_that_is_lost_has_no_cache_that_counts() {
        let group = Made::on(2).raid("r", "raid1", &[0, 1]).missing(1).group();
        assert!(group.on_md(&sd(0)).is_some());
        assert_eq!(group.on_md(&sd(1)), None);
    }
}
