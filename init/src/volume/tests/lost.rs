//! What is left when disks are lost, and which disks a claim may do without.

use std::collections::BTreeSet;

use super::made::{HIDDEN, Made, VISIBLE};
use crate::volume::group::Links;
use crate::volume::health::{Health, Presence};
use crate::volume::plan::{Choice, Plan, PlanError};
use crate::volume::{Progress, Refusal, VolumeGroup};

fn health(group: &VolumeGroup, name: &str, here: &[usize]) -> Health {
    let here: BTreeSet<usize> = here.iter().copied().collect();
    let lv = group.lvs.iter().position(|lv| lv.name == name).unwrap();
    let health = group.health(&Presence::only(group, &here));
    let links = Links::new(group).unwrap();
    group.health_with_snapshots(&links, &health, lv)
}

#[test]
fn a_raid_volume_does_without_as_many_disks_as_its_level_allows() {
    for (level, disks, most) in [
        ("raid1", 2, 1),
        ("raid1", 3, 2),
        ("raid4", 3, 1),
        ("raid5_ls", 4, 1),
        ("raid6_zr", 5, 2),
    ] {
        let all: Vec<usize> = (0..disks).collect();
        let group = Made::on(disks).raid("v", level, &all).group();
        for lost in 0..=disks {
            let expected = match lost {
                0 => Health::Whole,
                lost if lost <= most => Health::Degraded,
                _ => Health::Broken,
            };
            assert_eq!(
                health(&group, "v", &all[lost..]),
                expected,
                "{level} {lost}"
            );
            assert_eq!(health(&group, "v", &all[..disks - lost]), expected);
        }
    }
}

#[test]
fn a_raid10_needs_one_of_each_pair() {
    let group = Made::on(4).raid("v", "raid10", &[0, 1, 2, 3]).group();
    assert_eq!(health(&group, "v", &[0, 2]), Health::Degraded);
    assert_eq!(health(&group, "v", &[1, 2, 3]), Health::Degraded);
    assert_eq!(health(&group, "v", &[0, 1]), Health::Broken);
    assert_eq!(health(&group, "v", &[2, 3]), Health::Broken);
}

/// The same, with the first image's status saying that it is to be rebuilt.
fn rebuilding(made: &Made, disks: usize) -> VolumeGroup {
    let text = made.text();
    let (before, image) = text.split_once("v_rimage_0 {").unwrap();
    let image = image.replacen("\"WRITE\"", "\"WRITE\", \"REBUILD\"", 1);
    let mut group = VolumeGroup::parse(&format!("{before}v_rimage_0 {{{image}")).unwrap();
    for (index, pv) in group.pvs.iter_mut().enumerate().take(disks) {
        pv.disk = Some(super::disk(index as u32, 8 << 30));
    }
    assert_eq!(group.rebuilding(), ["v"]);
    group
}

#[test]
fn an_image_that_is_to_be_rebuilt_is_no_help_when_another_is_lost() {
    for (level, disks, most) in [
        ("raid1", 2, 1),
        ("raid1", 3, 2),
        ("raid5_ls", 3, 1),
        ("raid6_zr", 5, 2),
    ] {
        let all: Vec<usize> = (0..disks).collect();
        let group = rebuilding(&Made::on(disks).raid("v", level, &all), disks);
        assert_eq!(health(&group, "v", &all), Health::Whole, "{level}");
        assert_eq!(health(&group, "v", &all[1..]), Health::Degraded, "{level}");
        // The one that is rebuilt counts among those that may be lost.
        for others in 1..disks {
            let expected = match others < most {
                true => Health::Degraded,
                false => Health::Broken,
            };
            let left = &all[..disks - others];
            assert_eq!(
                health(&group, "v", left),
                expected,
                "{level} without {others}"
            );
        }
    }
}

#[test]
fn an_image_that_the_kernel_does_without_is_no_help_when_another_is_lost() {
    let cases = [
        ("raid1", 2, "raid1 2 DA 8/8 idle", Health::Broken),
        ("raid1", 2, "raid1 2 aA 1/8 recover", Health::Broken),
        ("raid1", 2, "raid1 2 AA 1/8 check", Health::Degraded),
        // Of one that nothing is said of nothing is known.
        ("raid1", 2, "raid1 1 D 8/8 idle", Health::Broken),
        ("raid1", 3, "raid1 3 DAA 8/8 idle", Health::Degraded),
        ("raid5_ls", 3, "raid5_ls 3 DAA 8/8 idle", Health::Broken),
        ("raid6_zr", 5, "raid6_zr 5 DAAAA 8/8 idle", Health::Degraded),
        ("raid6_zr", 5, "raid6_zr 5 DaAAA 8/8 idle", Health::Broken),
    ];
    for (level, disks, status, expected) in cases {
        let all: Vec<usize> = (0..disks).collect();
        // Below a pool, too.
        let made = Made::on(disks)
            .raid("v", level, &all)
            .raid_with("p_tdata", HIDDEN, level, &all, "")
            .part("p_tmeta", 0, 1)
            .volume("p", VISIBLE, 4, POOL);
        let progress = |lv| Progress::said(lv, status).unwrap();
        let group = made
            .group()
            .as_active(&[progress("v"), progress("p_tdata")]);
        assert_eq!(health(&group, "v", &all), Health::Whole, "{status}");
        let left = &all[..disks - 1];
        assert_eq!(health(&group, "v", left), expected, "{status}");
        assert_eq!(health(&group, "p", left), expected, "{status}");
    }
}

#[test]
fn an_image_that_is_written_down_as_old_counts_so_for_whoever_cannot_ask_the_kernel() {
    let text = Made::on(2).raid("v", "raid1", &[0, 1]).text();
    let (before, image) = text.split_once("v_rimage_0 {").unwrap();
    let image = image.replacen(
        "flags = []",
        "flags = []\ntags = [\"orthrus.image_behind\"]",
        1,
    );
    let mut group = VolumeGroup::parse(&format!("{before}v_rimage_0 {{{image}")).unwrap();
    for (index, pv) in group.pvs.iter_mut().enumerate() {
        pv.disk = Some(super::disk(index as u32, 8 << 30));
    }
    assert_eq!(health(&group, "v", &[0, 1]), Health::Whole);
    assert_eq!(health(&group, "v", &[1]), Health::Degraded);
    assert_eq!(health(&group, "v", &[0]), Health::Broken);
    let without = |lost: usize| {
        let mut left = group.clone();
        left.pvs[lost].is_missing = true;
        left.refusal("lab")
    };
    assert_eq!(without(0), None);
    assert!(without(1).is_some());
}

#[test]
fn how_far_a_volume_is_takes_what_is_below_it() {
    let group = Made::on(2)
        .raid_with("p_tdata", HIDDEN, "raid1", &[0, 1], "")
        .raid_with("p_tmeta", HIDDEN, "raid1", &[0, 1], "")
        .volume("p", VISIBLE, 4, POOL)
        .volume("t", VISIBLE, 400, THIN)
        .simple("plain", 0)
        .group();
    let said = |lv, status| Progress::said(lv, status).unwrap();
    let progress = [
        said("p_tdata", "raid1 2 Aa 50/100 recover"),
        said("p_tmeta", "raid1 2 AD 100/100 idle"),
    ];
    assert_eq!(group.under_way("t", &progress), Some(50));
    assert_eq!(group.under_way("t", &progress[1..]), None);
    assert_eq!(group.under_way("plain", &progress), None);
    let fallen = group.thrown_out(&progress);
    assert!(
        matches!(&fallen[..], [(_, "p_tmeta", pvs)] if *pvs == [1]),
        "{fallen:?}"
    );
}

#[test]
fn what_has_no_redundancy_of_its_own_is_as_good_as_what_it_stands_on() {
    let made = Made::on(3)
        .raid_with("p_tdata", HIDDEN, "raid1", &[0, 1], "")
        .raid_with("p_tmeta", HIDDEN, "raid1", &[0, 1], "")
        .volume("p", VISIBLE, 4, POOL)
        .volume("t", VISIBLE, 400, THIN)
        .simple("plain", 2);
    let group = made.group();
    assert_eq!(health(&group, "t", &[0, 1]), Health::Whole);
    assert_eq!(health(&group, "t", &[1, 2]), Health::Degraded);
    assert_eq!(health(&group, "t", &[2]), Health::Broken);
    assert_eq!(health(&group, "plain", &[0, 1]), Health::Broken);
}

const POOL: &str = "type = \"thin-pool\"\nmetadata = \"p_tmeta\"\npool = \"p_tdata\"\ntransaction_id = 1\n\
                    chunk_size = 128\ndiscards = \"passdown\"\nzero_new_blocks = 1";
const THIN: &str = "type = \"thin\"\nthin_pool = \"p\"\ntransaction_id = 0\ndevice_id = 1";

#[test]
fn a_lost_image_is_a_device_on_which_everything_fails() {
    let made = Made::on(2).raid("v", "raid1", &[0, 1]).missing(1);
    let group = made.group_with(&[0]);
    let plan = Plan::new(&group, &Choice::serving()).unwrap();
    let shown = plan.show(&|(major, minor)| format!("{major}:{minor}"));
    assert_eq!(
        shown,
        "tank-v: 0 32768 raid raid1 3 0 region_size 4096 2 tank-v_rmeta_0 tank-v_rimage_0 tank-v_rmeta_1 tank-v_rimage_1\n\
         tank-v_rimage_0: 0 32768 linear 8:0 10240\n\
         tank-v_rimage_1: 0 32768 linear tank-v_rimage_1-missing_0_0 0\n\
         tank-v_rimage_1-missing_0_0: 0 32768 error\n\
         tank-v_rmeta_0: 0 8192 linear 8:0 2048\n\
         tank-v_rmeta_1: 0 8192 linear tank-v_rmeta_1-missing_0_0 0\n\
         tank-v_rmeta_1-missing_0_0: 0 8192 error\n"
    );
    assert!(plan.devices.last().unwrap().is_degraded);
    // Nobody may do so who did not ask for it.
    assert!(matches!(
        Plan::new(&group, &Choice::default()),
        Err(PlanError::Incomplete { .. })
    ));
}

#[test]
fn a_disk_that_is_back_but_was_called_missing_is_not_trusted() {
    let made = Made::on(2).raid("v", "raid1", &[0, 1]).missing(1);
    let (away, back) = (made.group_with(&[0]), made.group_with(&[0, 1]));
    let plan = |group| Plan::new(group, &Choice::serving()).unwrap();
    assert_eq!(plan(&away), plan(&back));
    assert_eq!(back.refusal("lab"), None);
    assert_eq!(back.disks().len(), 1);
}

#[test]
fn a_member_that_an_owner_marked_is_no_reason_to_refuse_if_all_volumes_do_without_it() {
    let raid = Made::on(3).raid("v", "raid5_ls", &[0, 1, 2]);
    // Not marked: nobody may go on without it.
    let refusal = raid.group_with(&[0, 1]).refusal("lab");
    assert!(matches!(refusal, Some(Refusal::MissingDisk { .. })));
    let marked = raid.missing(2);
    assert_eq!(marked.group_with(&[0, 1]).refusal("lab"), None);
    // Another one on top is too much, marked or not.
    let refusal = marked.group_with(&[0]).refusal("lab");
    assert!(matches!(refusal, Some(Refusal::MissingDisk { .. })));
    let refusal = marked.missing(1).group_with(&[0]).refusal("lab");
    assert!(matches!(refusal, Some(Refusal::Lost { .. })), "{refusal:?}");
    // A volume that is not redundant is lost with it, and the pool with that.
    let mixed = Made::on(2)
        .raid("v", "raid1", &[0, 1])
        .simple("w", 1)
        .missing(1);
    let refusal = mixed.group_with(&[0]).refusal("lab");
    assert!(matches!(refusal, Some(Refusal::Lost { .. })), "{refusal:?}");
    let text = refusal.unwrap().to_string();
    assert!(text.contains("volume w needs physical volume"), "{text}");
}

/// Groups of up to five disks, of all sorts.
fn layouts() -> Vec<(usize, Made)> {
    vec![
        (2, Made::on(2).raid("v", "raid1", &[0, 1])),
        (3, Made::on(3).raid("v", "raid1", &[0, 1, 2])),
        (3, Made::on(3).raid("v", "raid5_ls", &[0, 1, 2])),
        (4, Made::on(4).raid("v", "raid6_zr", &[0, 1, 2, 3])),
        (5, Made::on(5).raid("v", "raid6_zr", &[0, 1, 2, 3, 4])),
        (4, Made::on(4).raid("v", "raid10", &[0, 1, 2, 3])),
        (
            4,
            Made::on(4)
                .raid("v", "raid1", &[0, 1])
                .raid("w", "raid1", &[2, 3]),
        ),
        (
            4,
            Made::on(4)
                .raid("v", "raid5_ls", &[0, 1, 2])
                .raid("w", "raid1", &[2, 3]),
        ),
        (3, Made::on(3).simple("a", 0).simple("b", 1).simple("c", 2)),
        (
            3,
            Made::on(3)
                .raid("v", "raid1", &[0, 1])
                .simple("orthrus_ledger0", 0)
                .simple("orthrus_ledger1", 1),
        ),
        (
            5,
            Made::on(5)
                .raid("v", "raid5_ls", &[0, 1, 2])
                .raid("w", "raid5_ls", &[2, 3, 4]),
        ),
    ]
}

fn members(mask: usize, count: usize) -> Vec<usize> {
    (0..count).filter(|disk| mask & 1 << disk != 0).collect()
}

/// Whether a head that sees these disks would serve, if both reasons of the rule counted.
fn serves(made: &Made, here: &[usize]) -> bool {
    let group = made.group_with(here);
    // Who may leave these out goes on as if they were marked.
    let Ok(left_out) = group.may_leave_out() else {
        return false;
    };
    let mut marked = group.clone();
    for pv in left_out {
        marked.pvs[pv].is_missing = true;
    }
    Plan::new(&marked, &Choice::serving()).is_ok()
}

/// The invariant of DESIGN section 5, on every pair of sets of disks that two heads might see, with none in common.
#[test]
fn two_heads_that_see_different_disks_never_both_serve() {
    let (mut pairs, mut served) = (0, 0);
    for (count, made) in layouts() {
        for mask in 1..1_usize << count {
            let here = members(mask, count);
            let one = serves(&made, &here);
            served += usize::from(one);
            let rest = (1 << count) - 1 - mask;
            for other in 1..=rest {
                if other & mask == 0 {
                    pairs += 1;
                    let there = members(other, count);
                    assert!(
                        !(one && serves(&made, &there)),
                        "{here:?} and {there:?} of {count}: {}",
                        made.text()
                    );
                }
            }
        }
    }
    // It says something only if some do serve, and with less than all disks.
    assert!(
        pairs > 500 && served > layouts().len() + 8,
        "{pairs} {served}"
    );
}

/// The same when an owner went on without a disk and marked it, and the disk itself does not know.
#[test]
fn a_disk_that_was_marked_does_not_serve_beside_those_that_marked_it() {
    let mut served = 0;
    for (count, made) in layouts() {
        for lost in 0..count {
            let marked = made.clone().missing(lost);
            let owners: Vec<usize> = (0..count).filter(|disk| *disk != lost).collect();
            if marked.group_with(&owners).refusal("lab").is_some() {
                continue;
            }
            served += 1;
            // The other head sees that one alone, with the metadata of before.
            assert!(
                !serves(&made, &[lost]),
                "{lost} of {count}: {}",
                made.text()
            );
        }
    }
    assert!(served > 20, "{served}");
}

#[test]
fn disks_that_are_nothing_by_themselves_may_be_left_out_and_half_a_mirror_may_not() {
    let raid5 = Made::on(3).raid("v", "raid5_ls", &[0, 1, 2]);
    assert_eq!(raid5.group_with(&[0, 2]).may_leave_out(), Ok([1].into()));
    assert_eq!(raid5.group_with(&[0]).may_leave_out(), Err(1));
    let mirror = Made::on(2).raid("v", "raid1", &[0, 1]);
    assert_eq!(mirror.group_with(&[0]).may_leave_out(), Err(1));
    let marked = mirror.missing(1);
    assert_eq!(marked.group_with(&[0]).may_leave_out(), Ok([1].into()));
}

#[test]
fn a_disk_can_be_marked_when_all_can_be_served_without_it_and_not_otherwise() {
    let redundant = Made::on(3)
        .raid("r", "raid1", &[0, 1])
        .simple("v", 2)
        .group();
    let id = |pv: usize| redundant.pvs[pv].disk.as_ref().unwrap().id.clone();
    let (without, lost) = redundant.without_disks(&[id(0)]).unwrap();
    assert_eq!(lost, [redundant.pvs[0].uuid]);
    assert_eq!(without.refusal("lab"), None);
    assert_eq!(without.degraded(), ["r".to_owned()].into());
    assert_eq!(without.disks().len(), 2);
    // Both images, or the only place of a volume.
    let (without, _) = redundant.without_disks(&[id(0), id(1)]).unwrap();
    assert!(without.refusal("lab").is_some());
    let (without, _) = redundant.without_disks(&[id(2)]).unwrap();
    assert!(without.refusal("lab").is_some());
    // What is marked is not marked again.
    let (without, _) = redundant.without_disks(&[id(0)]).unwrap();
    assert!(without.without_disks(&[id(0)]).is_none());
    assert!(redundant.without_disks(&[]).is_none());
    assert_eq!(redundant.degraded(), [].into());
}
