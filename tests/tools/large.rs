//! Disks and volumes of terabytes, held against the real lvm2 in a small machine: sizes at which a kind, the kernel or lvm2 has a limit,
//! and what the firmware does under its clients when a volume grows past one.
//!
//! The disks are sparse files, and RAID in the machine makes nothing equal, which would write them full. The shortest of them is in every
//! run; all of them: `cargo test -p orthrus-tests --test tools -- --include-ignored large`, some minutes for each.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::written::{self, Disks};

/// No multiple of an extent. A file of ext4 has 16 TiB at most.
const BYTES: u64 = (15 << 40) + (3 << 20) + 4096;

/// Under emulation, on a machine with other labs beside it.
const LIMIT: Duration = Duration::from_secs(1500);

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, script: &'static str, block: u32| {
        let script = format!("{}\n{script}", include_str!("large/prelude.sh"));
        let disks = Disks {
            bytes: BYTES,
            block,
            limit: LIMIT,
            programs: &[
                ("tool", env!("CARGO_BIN_EXE_metadata")),
                ("volumes", env!("CARGO_BIN_EXE_volumes")),
            ],
        };
        written::trial(format!("large::{name}"), script, disks)
    };
    let grow = include_str!("large/grow.sh");
    let long = [
        trial(
            "volumes_of_all_kinds_grow_past_limits_under_what_is_active_and_lvm2_activates_them_alike",
            grow,
            512,
        ),
        trial("the_same_on_disks_with_blocks_of_4096_bytes", grow, 4096),
        trial(
            "lvm2_makes_volumes_of_the_same_shape",
            include_str!("large/same.sh"),
            512,
        ),
        trial(
            "file_systems_are_made_and_grow",
            include_str!("large/filesystems.sh"),
            512,
        ),
    ];
    let mut trials = vec![trial(
        "small_extents_have_room_for_maps_of_raid_that_grows_past_4_tib_and_are_no_more_than_lvm2_counts",
        include_str!("large/small.sh"),
        512,
    )];
    trials.extend(long.map(|trial| trial.with_ignored_flag(true)));
    trials
}
