//! Every kind of volume that real lvm2 makes, and the devices that it makes of them.
//!
//! `kinds.vg` is what lvm2 2.03.31 wrote (comments and dates left out), `kinds.devices` what the kernel (6.12) had after
//! `vgchange -ay -K`: name, uuid, whether it is read-only, and the table, with names for device numbers. Both come from
//! one machine and one run; what was typed there is told by the names of the volumes. `lost.*` is the same after the
//! second of six disks went away, with `--activationmode degraded`.

use std::collections::BTreeMap;

use super::disk;
use crate::sys::dm::TableLine;
use crate::volume::VolumeGroup;
use crate::volume::plan::{Backing, Choice, Plan, is_same};

/// What lvm2 wrote.
pub const TEXT: &str = include_str!("../../../tests/fixtures/lvm2/kinds.vg");
const DEVICES: &str = include_str!("../../../tests/fixtures/lvm2/kinds.devices");
const LOST_TEXT: &str = include_str!("../../../tests/fixtures/lvm2/lost.vg");
const LOST_DEVICES: &str = include_str!("../../../tests/fixtures/lvm2/lost.devices");

fn group(text: &str) -> VolumeGroup {
    let mut group = VolumeGroup::parse(text).unwrap();
    for (index, pv) in group.pvs.iter_mut().enumerate() {
        pv.disk = Some(disk(index as u32, 2 << 30));
    }
    group
}

/// Uuid, `ro` or `rw`, and table of a device.
type Made = (String, String, Vec<TableLine>);

fn theirs(text: &str) -> BTreeMap<String, Made> {
    let mut devices: BTreeMap<String, Made> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('|').collect();
        let [name, uuid, mode, table] = words[..] else {
            panic!("{line}")
        };
        let words: Vec<&str> = table.splitn(4, ' ').collect();
        let made = devices.entry(name.to_owned()).or_default();
        (made.0, made.1) = (uuid.to_owned(), mode.to_owned());
        made.2.push(TableLine {
            start: words[0].parse().unwrap(),
            length: words[1].parse().unwrap(),
            kind: words[2].to_owned(),
            parameters: words.get(3).copied().unwrap_or_default().to_owned(),
        });
    }
    devices
}

fn ours(plan: &Plan) -> BTreeMap<String, Made> {
    let show = |backing| match backing {
        Backing::Disk((_, minor)) => format!("sd{}", char::from(b'a' + (minor / 16) as u8)),
        Backing::Device(index) => plan.devices[index].name.clone(),
    };
    let devices = plan.devices.iter().map(|device| {
        let mode = if device.is_read_only { "ro" } else { "rw" };
        let made = (device.uuid.clone(), mode.to_owned(), device.table(&show));
        (device.name.clone(), made)
    });
    devices.collect()
}

#[test]
fn devices_are_those_that_lvm2_makes_of_every_kind() {
    let group = group(TEXT);
    assert_eq!(group.refusal("lab"), None);
    let skipped = true;
    let plan = Plan::new(
        &group,
        &Choice {
            skipped,
            ..Choice::default()
        },
    )
    .unwrap();
    let (ours, theirs) = (ours(&plan), theirs(DEVICES));
    assert!(ours.keys().eq(theirs.keys()), "{:?}", ours.keys());
    assert!(ours.len() > 250);
    let mut reworded = Vec::new();
    for (name, (uuid, mode, table)) in &ours {
        let (their_uuid, their_mode, their_table) = &theirs[name];
        assert_eq!((uuid, mode), (their_uuid, their_mode), "{name}");
        assert!(
            is_same(table, their_table),
            "{name}: {table:?} {their_table:?}"
        );
        if table != their_table {
            reworded.push(name.as_str());
        }
    }
    // To the letter, but for those that the kernel reports in other words: see `is_same`.
    assert_eq!(
        reworded,
        [
            "tank-cmain",
            "tank-cpool2_tdata",
            "tank-craid",
            "tank-r1-real",
            "tank-ri_rimage_0",
            "tank-ri_rimage_1",
        ]
    );
}

#[test]
fn a_table_of_another_device_is_never_taken_for_the_right_one() {
    let theirs = theirs(DEVICES);
    let tables: Vec<_> = theirs
        .iter()
        .map(|(name, (_, _, table))| (name, table))
        .collect();
    for (name, table) in &tables {
        for (other, other_table) in &tables {
            let twins = table == other_table;
            assert!(
                name == other || twins || !is_same(table, other_table),
                "{name} {other}"
            );
        }
    }
}

#[test]
fn skipped_volumes_are_left_out_and_nothing_else() {
    let plan = |skipped| {
        let choice = Choice {
            skipped,
            ..Choice::serving()
        };
        let plan = Plan::new(&group(TEXT), &choice).unwrap();
        ours(&plan).into_keys().collect::<Vec<_>>()
    };
    let (all, some) = (plan(true), plan(false));
    let left_out: Vec<_> = all.iter().filter(|name| !some.contains(name)).collect();
    assert_eq!(left_out, ["tank-thinsnap"]);
}

#[test]
fn devices_without_a_disk_are_those_that_lvm2_makes_then() {
    let group = group(LOST_TEXT);
    // lvm2 marked the disk when it wrote without it. It is here again, and not used.
    assert!(group.pvs[1].is_missing && group.pvs[1].disk.is_some());
    assert_eq!(group.refusal("lab"), None);
    assert_eq!(group.disks().len(), 5);
    let plan = Plan::new(&group, &Choice::serving()).unwrap();
    let (ours, theirs) = (ours(&plan), theirs(LOST_DEVICES));
    assert_eq!(theirs.len(), 60);
    for (name, made) in &theirs {
        assert_eq!(ours.get(name), Some(made), "{name}");
    }
    // Beyond lvm2: what stands on a RAID volume that is enough.
    let more = ours.keys().filter(|name| !theirs.contains_key(*name));
    assert!(
        more.clone()
            .all(|name| name.contains("rpool") || name == "tank-thinraid")
    );
    assert_eq!(more.count(), 17);
}
