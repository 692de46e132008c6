//! Whatever is done to a group, in whatever order: it can be read back, and no byte belongs to two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::group::VolumeGroup;
use super::super::text;
use super::super::write::Author;
use super::*;
use crate::chance::Chance;

mod growth;
mod names;
mod preset;

/// Identifiers in a row, of which no test sees one twice.
fn next() -> Uuid {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_compact(format!("{count:032}").as_bytes()).unwrap()
}

fn member(number: u64) -> NewMember {
    NewMember {
        id: Uuid::from_compact(format!("pv{number:030}").as_bytes()).unwrap(),
        device: format!("/dev/sd{number}"),
        sectors: 262_144,
        data_start: 2048,
    }
}

/// A group of so many members of 31 extents.
fn group(members: u64) -> Metadata {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    let metadata = new_group("tank", id, 8192).unwrap();
    edited(metadata, |edit| {
        (0..members).try_for_each(|number| edit.add_member(&member(number)))
    })
    .unwrap()
}

fn change(
    metadata: Metadata,
    work: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<Change, EditError> {
    let mut uuids = next;
    let mut edit = Edit::new(metadata, "a", 1_800_000_000, &mut uuids);
    work(&mut edit)?;
    edit.finish()
}

fn edited(
    metadata: Metadata,
    work: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<Metadata, EditError> {
    Ok(change(metadata, work)?.metadata)
}

/// Which volumes have each extent of each member, by their segments of one member.
fn owners(metadata: &Metadata) -> BTreeMap<(String, u64), Vec<String>> {
    let mut owners: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (name, volume) in metadata.volumes() {
        for segment in tree::segments(volume) {
            if tree::word(segment, "type") != Some("striped") {
                continue;
            }
            let each = tree::number(segment, "extent_count").unwrap()
                / tree::number(segment, "stripe_count").unwrap();
            for pair in tree::list(segment, "stripes").chunks(2) {
                let [text::Value::Text(member), text::Value::Number(start)] = pair else {
                    panic!("{pair:?}")
                };
                for extent in 0..each {
                    let place = (member.clone(), *start as u64 + extent);
                    owners.entry(place).or_default().push(name.to_owned());
                }
            }
        }
    }
    owners
}

/// That the text can be read back, which looks at all stretches.
fn fits(metadata: &Metadata) {
    let author = Author {
        host: "a".to_owned(),
        time: 1,
        description: "x".to_owned(),
    };
    let text = metadata.encode(&author).unwrap();
    VolumeGroup::parse(text.trim_end_matches('\0')).unwrap();
}

/// What must hold of every group.
fn check(metadata: &Metadata) {
    fits(metadata);
    let sizes: BTreeMap<&str, u64> = metadata
        .members()
        .map(|(name, member)| (name, tree::number(member, "pe_count").unwrap()))
        .collect();
    for ((member, extent), names) in owners(metadata) {
        assert!(
            extent < sizes[member.as_str()],
            "{member}:{extent} is beyond it"
        );
        assert_eq!(names.len(), 1, "{member}:{extent} has {names:?}");
    }
    let mut ids = BTreeSet::new();
    let names: BTreeSet<&str> = metadata.volumes().map(|(name, _)| name).collect();
    for (name, volume) in metadata.volumes() {
        assert!(
            ids.insert(tree::word(volume, "id").unwrap().to_owned()),
            "{name}"
        );
        let mut next = 0;
        let mut count = 0;
        for segment in tree::segments(volume) {
            assert_eq!(tree::number(segment, "start_extent"), Some(next), "{name}");
            next += tree::number(segment, "extent_count").unwrap();
            count += 1;
            for part in tree::references(segment) {
                assert!(
                    names.contains(part) || sizes.contains_key(part),
                    "{name} has {part}"
                );
            }
        }
        assert_eq!(tree::number(volume, "segment_count"), Some(count), "{name}");
        let kind = tree::kind(volume).unwrap();
        if Raid::of_kind(kind).is_some() {
            images_are_apart(metadata, name, volume, kind);
        }
    }
}

fn images_are_apart(metadata: &Metadata, name: &str, volume: &Section, kind: &str) {
    let all: BTreeMap<&str, &Section> = metadata.volumes().collect();
    let segment = tree::segments(volume).next().unwrap();
    let parts = tree::references(segment);
    let images: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| part.contains("_rimage_"))
        .collect();
    let lengths: BTreeSet<u64> = images
        .iter()
        .map(|image| tree::extents(all[image]))
        .collect();
    let length = lengths.iter().next().unwrap();
    let data = Raid::of_kind(kind).unwrap().data(images.len() as u64);
    assert_eq!(lengths.len(), 1, "{name}");
    assert_eq!(length * data, tree::extents(volume), "{name}");
    let mut homes: BTreeMap<&str, &str> = BTreeMap::new();
    for part in parts {
        let number = part.rsplit('_').next().unwrap();
        for home in tree::segments(all[part]).flat_map(tree::references) {
            assert_eq!(
                *homes.entry(home).or_insert(number),
                number,
                "{name}: {home} has two images"
            );
        }
    }
}

const LAYOUTS: [Layout; 8] = [
    Layout::Linear,
    Layout::Striped(1),
    Layout::Striped(3),
    Layout::Raid(Raid::Raid0, 2),
    Layout::Raid(Raid::Raid1, 3),
    Layout::Raid(Raid::Raid5, 3),
    Layout::Raid(Raid::Raid6, 5),
    Layout::Raid(Raid::Raid10, 4),
];

fn step(edit: &mut Edit<'_>, dice: &mut Chance, number: usize) -> Result<(), EditError> {
    let names: Vec<String> = edit
        .metadata
        .volumes()
        .map(|(name, _)| name.to_owned())
        .collect();
    let any = match names.len() {
        0 => "none".to_owned(),
        count => names[dice.below(count)].clone(),
    };
    let new = format!("v{number}");
    let extents = 1 + dice.below(6) as u64;
    let layout = LAYOUTS[dice.below(LAYOUTS.len())];
    match dice.below(13) {
        0..=2 => edit.create(&new, extents, layout),
        3 => {
            let (data, metadata) = (layout, LAYOUTS[dice.below(LAYOUTS.len())]);
            edit.create_pool(
                &new,
                PoolSize {
                    extents,
                    data,
                    metadata,
                },
            )
        }
        4 => edit.create_thin(&any, &new, 100 * extents),
        5 => edit.snapshot_thin(&any, &new),
        6 => edit.create_snapshot(&any, &new, extents),
        7 => edit.grow(&any, 2 * extents + 3),
        8 => edit.rename(&any, &new),
        9 => edit.restore_thin(&any),
        10 => edit.begin_merge(&any),
        11 => edit.end_merge(&any),
        _ => {
            let pools = names.iter().filter(|name| edit.settle_thin(name).is_ok());
            let _ = pools.count();
            edit.remove(&any)
        }
    }
}

#[test]
fn whatever_is_done_in_whatever_order_the_group_is_whole() {
    let (mut done, mut refused) = (0, 0);
    for seed in 1..40 {
        let mut dice = Chance(seed * 7919);
        let mut metadata = group(6);
        for number in 0..60 {
            let before = metadata.clone();
            match edited(before, |edit| step(edit, &mut dice, number)) {
                Ok(after) => {
                    check(&after);
                    metadata = after;
                    done += 1;
                }
                Err(EditError::Malformed(what)) => panic!("seed {seed}, step {number}: {what}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(done > 500 && refused > 200, "{done} {refused}");
}

#[test]
fn what_was_made_and_removed_leaves_the_group_as_it_was() {
    let before = group(6);
    for layout in LAYOUTS {
        let made = edited(before.clone(), |edit| edit.create("v", 5, layout)).unwrap();
        check(&made);
        let after = edited(made, |edit| edit.remove("v")).unwrap();
        assert_eq!(after, before, "{layout:?}");
        let size = PoolSize {
            extents: 5,
            data: layout,
            metadata: Layout::Raid(Raid::Raid1, 2),
        };
        let made = edited(before.clone(), |edit| {
            edit.create_pool("p", size)?;
            edit.create_thin("p", "t", 100)?;
            edit.settle_thin("p")
        });
        let after = edited(made.unwrap(), |edit| {
            edit.remove("t")?;
            edit.settle_thin("p")?;
            edit.remove("p")
        });
        assert_eq!(after.unwrap(), before, "{layout:?}");
    }
}

#[test]
fn metadata_of_raid_begin_as_zeroes_and_every_new_volume_has_a_fresh_start() {
    let made = change(group(6), |edit| {
        edit.create("v", 4, Layout::Raid(Raid::Raid5, 3))
    })
    .unwrap();
    let extent = 8192 * 512;
    let start = 2048 * 512;
    let stretches: Vec<(u64, u64)> = made
        .zeroes
        .iter()
        .map(|zero| (zero.start, zero.bytes))
        .collect();
    let image = [(start, extent), (start + extent, 256 << 10)];
    assert_eq!(stretches, [image, image, image].concat());
    let pvs: BTreeSet<Uuid> = made.zeroes.iter().map(|zero| zero.pv).collect();
    assert_eq!(pvs.len(), 3);
}

#[test]
fn raid_needs_a_member_for_each_image() {
    let refused = edited(group(4), |edit| {
        edit.create("v", 3, Layout::Raid(Raid::Raid6, 5))
    });
    assert!(
        matches!(refused, Err(EditError::NoSpace { .. })),
        "{refused:?}"
    );
    let refused = edited(group(4), |edit| {
        edit.create("v", 3, Layout::Raid(Raid::Raid6, 4))
    });
    assert_eq!(
        refused.unwrap_err().to_string(),
        "4 disks: raid6_zr takes from 5 to 64"
    );
    let refused = edited(group(9), |edit| {
        edit.create("v", 3, Layout::Raid(Raid::Raid10, 5))
    });
    assert!(matches!(refused, Err(EditError::Size(_))), "{refused:?}");
}

#[test]
fn names_that_lvm2_would_not_take_are_refused() {
    for name in [
        "",
        "a/b",
        "-a",
        "pv0",
        "snapshot1",
        "pvmove0",
        "a_rimage_0",
        "x_tmeta",
        &"x".repeat(120),
    ] {
        let refused = edited(group(1), |edit| edit.create(name, 1, Layout::Linear));
        assert!(
            matches!(refused, Err(EditError::Name(..))),
            "{name}: {refused:?}"
        );
    }
    let twice = edited(group(1), |edit| {
        edit.create("v", 1, Layout::Linear)?;
        edit.create("v", 1, Layout::Linear)
    });
    assert_eq!(twice, Err(EditError::Exists("v".to_owned())));
}

#[test]
fn what_others_stand_on_is_not_removed_nor_its_parts() {
    let made = edited(group(4), |edit| {
        edit.create("origin", 4, Layout::Raid(Raid::Raid1, 2))?;
        edit.create_snapshot("origin", "snap", 2)?;
        let (data, metadata) = (Layout::Linear, Layout::Linear);
        edit.create_pool(
            "pool",
            PoolSize {
                extents: 4,
                data,
                metadata,
            },
        )?;
        edit.create_thin("pool", "thin", 10)
    })
    .unwrap();
    let parts = [
        "origin",
        "pool",
        "origin_rimage_0",
        "origin_rmeta_1",
        "pool_tdata",
        "snapshot0",
        "lvol0_pmspare",
    ];
    for name in parts {
        let refused = edited(made.clone(), |edit| edit.remove(name));
        assert!(
            matches!(refused, Err(EditError::InUse { .. })),
            "{name}: {refused:?}"
        );
    }
    // Its pool has not been told of it yet.
    let refused = edited(made.clone(), |edit| edit.remove("thin"));
    assert!(
        matches!(refused, Err(EditError::InUse { .. })),
        "{refused:?}"
    );
    let refused = edited(made, |edit| edit.grow("origin", 9));
    assert!(refused.unwrap_err().to_string().contains("has snapshots"));
}

#[test]
fn a_thin_pool_is_told_of_each_volume_within_a_transaction() {
    let pool = |metadata: &Metadata| {
        let (_, pool) = metadata
            .volumes()
            .find(|(name, _)| *name == "pool")
            .unwrap();
        tree::segments(pool).next().unwrap().clone()
    };
    let (data, metadata) = (Layout::Linear, Layout::Linear);
    let made = edited(group(2), |edit| {
        edit.create_pool(
            "pool",
            PoolSize {
                extents: 4,
                data,
                metadata,
            },
        )
    })
    .unwrap();
    assert_eq!(tree::number(&pool(&made), "transaction_id"), Some(0));
    let made = edited(made, |edit| edit.create_thin("pool", "thin", 10)).unwrap();
    let segment = pool(&made);
    assert_eq!(tree::number(&segment, "transaction_id"), Some(1));
    let text::Value::Section(message) = &segment["message1"] else {
        panic!()
    };
    assert_eq!(tree::word(message, "create"), Some("thin"));
    let settled = edited(made, |edit| edit.settle_thin("pool")).unwrap();
    assert!(!pool(&settled).contains_key("message1"));
    assert_eq!(tree::number(&pool(&settled), "transaction_id"), Some(1));
}

/// A pool with a volume, a snapshot of it and one of that, all settled.
fn with_snapshots() -> Metadata {
    let (data, metadata) = (Layout::Linear, Layout::Linear);
    let size = PoolSize {
        extents: 4,
        data,
        metadata,
    };
    edited(group(2), |edit| {
        edit.create_pool("pool", size)?;
        edit.create_thin("pool", "vol", 10)?;
        edit.settle_all()?;
        edit.snapshot_thin("vol", "first")?;
        edit.settle_all()?;
        edit.grow("vol", 20)?;
        edit.snapshot_thin("vol", "second")?;
        edit.settle_all()
    })
    .unwrap()
}

fn segment_of(metadata: &Metadata, name: &str) -> Section {
    let mut volumes = metadata.volumes();
    let (_, volume) = volumes.find(|(known, _)| *known == name).unwrap();
    tree::segments(volume).next().unwrap().clone()
}

#[test]
fn a_volume_gets_back_what_its_snapshot_has_and_stays_itself() {
    let made = with_snapshots();
    let id = |metadata: &Metadata| {
        let mut volumes = metadata.volumes();
        let (_, volume) = volumes.find(|(name, _)| *name == "vol").unwrap();
        tree::word(volume, "id").unwrap().to_owned()
    };
    let restored = edited(made.clone(), |edit| edit.restore_thin("first")).unwrap();
    check(&restored);
    assert_eq!(id(&restored), id(&made), "clients know it by that");
    assert!(restored.volumes().all(|(name, _)| name != "first"));
    let (before, after) = (segment_of(&made, "first"), segment_of(&restored, "vol"));
    for key in ["device_id", "transaction_id", "extent_count"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(
        tree::number(&after, "extent_count"),
        Some(10),
        "its size, too"
    );
    // The pool is told that the former contents end, and who was made of them stands alone.
    let pool = segment_of(&restored, "pool");
    let text::Value::Section(message) = &pool["message1"] else {
        panic!()
    };
    assert_eq!(tree::number(message, "delete"), Some(1));
    assert_eq!(tree::word(&segment_of(&restored, "second"), "origin"), None);
    for (name, why) in [
        ("vol", "snapshot of nothing"),
        ("pool", "type \"thin-pool\""),
    ] {
        let refused = edited(made.clone(), |edit| edit.restore_thin(name)).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn what_the_kernel_was_not_told_of_is_not_given_back_and_can_be_abandoned() {
    let made = with_snapshots();
    let waits = edited(made.clone(), |edit| edit.snapshot_thin("vol", "third")).unwrap();
    let refused = edited(waits.clone(), |edit| edit.restore_thin("third")).unwrap_err();
    assert!(refused.to_string().contains("not made yet"), "{refused}");
    let abandoned = edited(waits.clone(), |edit| edit.abandon_thin("third")).unwrap();
    check(&abandoned);
    assert_eq!(segment_of(&abandoned, "pool"), segment_of(&made, "pool"));
    // Not with another one's message, nor when it is told.
    let two = edited(waits.clone(), |edit| edit.create_thin("pool", "fourth", 3)).unwrap();
    assert!(edited(two, |edit| edit.abandon_thin("third")).is_err());
    let told = edited(waits, |edit| edit.settle_all()).unwrap();
    assert!(edited(told, |edit| edit.abandon_thin("third")).is_err());
}

#[test]
fn a_snapshot_is_removed_as_one_only_while_it_is_one() {
    let made = with_snapshots();
    let remove = |metadata: Metadata, name: &str| {
        let name = name.to_owned();
        edited(metadata, |edit| {
            VolumeOrder::RemoveSnapshot { name }.apply(edit)
        })
    };
    let left = remove(made.clone(), "first").unwrap();
    check(&left);
    for name in ["vol", "pool"] {
        let refused = remove(made.clone(), name).unwrap_err();
        assert!(refused.to_string().contains("is no snapshot"), "{refused}");
    }
    // Its origin went: it is a volume like any other.
    let alone = edited(made, |edit| edit.remove("vol")).unwrap();
    assert!(remove(alone, "second").is_err());
}

#[test]
fn a_snapshot_that_is_lost_is_tagged_once_behind_its_flags_and_stays_removable() {
    let before = edited(group(2), |edit| {
        edit.create("vol", 2, Layout::Linear)?;
        edit.create("other", 2, Layout::Linear)?;
        edit.create_snapshot("vol", "snap", 1)
    })
    .unwrap();
    let lost = edited(before.clone(), |edit| {
        edit.lose_snapshot("snap")?;
        edit.lose_snapshot("snap")?;
        // Removed meanwhile.
        edit.lose_snapshot("gone")
    })
    .unwrap();
    check(&lost);
    let (_, store) = lost.volumes().find(|(name, _)| *name == "snap").unwrap();
    assert_eq!(
        tree::list(store, "tags"),
        [tree::text("orthrus.snapshot_lost")]
    );
    let keys: Vec<&str> = store.keys().map(String::as_str).collect();
    let flags = keys.iter().position(|key| *key == "flags").unwrap();
    assert_eq!(keys[flags + 1], "tags");
    let author = Author {
        host: "a".to_owned(),
        time: 0,
        description: String::new(),
    };
    let text = lost.encode(&author).unwrap();
    let read = VolumeGroup::parse(text.trim_end_matches('\0')).unwrap();
    let tagged = read.lvs.iter().filter(|lv| lv.is_lost);
    assert_eq!(
        tagged.map(|lv| lv.name.as_str()).collect::<Vec<_>>(),
        ["snap"]
    );
    for not_one in ["vol", "other", "snapshot0"] {
        assert!(edited(before.clone(), |edit| edit.lose_snapshot(not_one)).is_err());
    }
    let without = edited(lost, |edit| edit.remove("snap")).unwrap();
    check(&without);
    assert!(without.volumes().all(|(name, _)| !name.starts_with("snap")));
}

#[test]
fn a_snapshot_with_a_store_is_made_and_removed_by_its_orders_and_nothing_else_of_it_is() {
    let made = edited(group(3), |edit| {
        edit.create("vol", 4, Layout::Raid(Raid::Raid1, 2))?;
        edit.create("orthrus_state", 1, Layout::Linear)
    })
    .unwrap();
    let apply = |metadata: &Metadata, order: VolumeOrder| {
        edited(metadata.clone(), |edit| order.apply(edit))
    };
    let snapshot = |origin: &str, bytes| VolumeOrder::Snapshot {
        name: "before".to_owned(),
        origin: origin.to_owned(),
        bytes,
    };
    for (origin, bytes, why) in [
        ("vol", None, "say how much room"),
        ("orthrus_state", Some(1), "the firmware's own"),
        ("vol_rimage_0", Some(1), "part of another"),
    ] {
        let refused = apply(&made, snapshot(origin, bytes)).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let with = apply(&made, snapshot("vol", Some(1))).unwrap();
    check(&with);
    let name = || "before".to_owned();
    for order in [
        VolumeOrder::Remove { name: name() },
        VolumeOrder::Remove {
            name: "vol".to_owned(),
        },
        VolumeOrder::RemoveSnapshot {
            name: "vol".to_owned(),
        },
        VolumeOrder::RemoveSnapshot {
            name: "snapshot0".to_owned(),
        },
    ] {
        assert!(apply(&with, order.clone()).is_err(), "{order:?}");
    }
    let without = apply(&with, VolumeOrder::RemoveSnapshot { name: name() }).unwrap();
    let names = |metadata: &Metadata| -> Vec<String> {
        metadata
            .volumes()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    assert_eq!(names(&without), names(&made));
}

/// A mirror with two snapshots.
fn with_stores() -> Metadata {
    edited(group(3), |edit| {
        edit.create("vol", 4, Layout::Raid(Raid::Raid1, 2))?;
        edit.create_snapshot("vol", "before", 2)?;
        edit.create_snapshot("vol", "later", 2)
    })
    .unwrap()
}

#[test]
fn a_merge_is_written_as_lvm2_writes_it_and_what_it_ends_with_has_no_snapshot() {
    let made = with_stores();
    let name = || "before".to_owned();
    let restore = VolumeOrder::Restore { name: name() };
    let begun = edited(made.clone(), |edit| restore.apply(edit)).unwrap();
    check(&begun);
    let (_, tie) = begun.volumes().find(|(n, _)| *n == "snapshot0").unwrap();
    let status = ["READ", "WRITE"].map(|word| tree::has(tie, "status", word));
    assert_eq!(status, [true, true]);
    assert!(!tree::has(tie, "status", "VISIBLE"));
    let segment = segment_of(&begun, "snapshot0");
    let keys: Vec<&str> = segment.keys().map(String::as_str).collect();
    let wanted = [
        "start_extent",
        "extent_count",
        "type",
        "chunk_size",
        "origin",
        "merging_store",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(tree::word(&segment, "merging_store"), Some("before"));
    // Nothing else of the text has changed.
    for (name, volume) in made.volumes().filter(|(name, _)| *name != "snapshot0") {
        let (_, after) = begun.volumes().find(|(known, _)| *known == name).unwrap();
        assert_eq!(after, volume, "{name}");
    }
    let ended = edited(begun, |edit| edit.end_merge("before")).unwrap();
    check(&ended);
    let without = edited(made, |edit| edit.remove("before")).unwrap();
    assert_eq!(ended, without);
}

#[test]
fn what_is_being_merged_stays_as_it_is_and_its_store_goes_only_at_the_end() {
    let begun = edited(with_stores(), |edit| edit.begin_merge("before")).unwrap();
    let refused = |work: &dyn Fn(&mut Edit<'_>) -> Result<(), EditError>| {
        let refused = edited(begun.clone(), work).unwrap_err().to_string();
        assert!(refused.contains("gets back what"), "{refused}");
    };
    refused(&|edit| edit.begin_merge("before"));
    refused(&|edit| edit.begin_merge("later"));
    refused(&|edit| edit.remove("before"));
    refused(&|edit| edit.remove("vol"));
    refused(&|edit| edit.grow("before", 3));
    refused(&|edit| edit.grow("vol", 5));
    refused(&|edit| edit.rename("before", "after"));
    refused(&|edit| edit.create_snapshot("vol", "third", 1));
    // The other one is its owner's, and so is the volume's name.
    let went_on = edited(begun, |edit| {
        edit.remove("later")?;
        edit.rename("vol", "volume")?;
        edit.end_merge("before")
    })
    .unwrap();
    check(&went_on);
    assert!(edited(went_on, |edit| edit.grow("volume", 5)).is_ok());
}

#[test]
fn a_merge_is_begun_and_ended_only_where_there_is_one() {
    let made = with_stores();
    for name in ["vol", "snapshot0", "vol_rimage_0", "nobody"] {
        assert!(edited(made.clone(), |edit| edit.begin_merge(name)).is_err());
    }
    for name in ["before", "vol", "snapshot0", "nobody"] {
        assert!(edited(made.clone(), |edit| edit.end_merge(name)).is_err());
    }
    let lost = edited(made.clone(), |edit| {
        edit.lose_snapshot("before")?;
        edit.begin_merge("before")
    });
    assert!(lost.unwrap_err().to_string().contains("is lost"));
    let read_only = edited(made, |edit| {
        tree::set_word(edit.volume_mut("vol")?, "status", "WRITE", false);
        edit.begin_merge("before")
    });
    assert!(
        read_only
            .unwrap_err()
            .to_string()
            .contains("takes no writes")
    );
}

#[test]
fn a_member_with_volumes_stays_and_an_empty_one_goes() {
    let made = edited(group(2), |edit| edit.create("v", 5, Layout::Linear)).unwrap();
    let refused = edited(made.clone(), |edit| edit.remove_member(member(0).id)).unwrap_err();
    assert!(
        refused.to_string().ends_with("has 5 extents of v"),
        "{refused}"
    );
    // Whose parts they are is what people know.
    let raid = Layout::Raid(Raid::Raid1, 2);
    let mirrored = edited(group(2), |edit| edit.create("m", 5, raid)).unwrap();
    let refused = edited(mirrored, |edit| edit.remove_member(member(1).id)).unwrap_err();
    assert!(refused.to_string().ends_with("extents of m"), "{refused}");
    let left = edited(made, |edit| edit.remove_member(member(1).id)).unwrap();
    check(&left);
    assert_eq!(left.members().count(), 1);
    let refused = edited(group(1), |edit| edit.remove_member(member(0).id));
    assert!(matches!(refused, Err(EditError::Member { .. })));
    let again = edited(left, |edit| edit.add_member(&member(7))).unwrap();
    check(&again);
    let names: Vec<&str> = again.members().map(|(name, _)| name).collect();
    assert_eq!(names, ["pv0", "pv1"]);
}

#[test]
fn a_lost_disk_is_replaced_where_there_is_redundancy_and_refused_where_there_is_none() {
    let made = edited(group(5), |edit| {
        edit.create_reserved(Layout::Raid(Raid::Raid1, 2))?;
        edit.create("r", 6, Layout::Raid(Raid::Raid5, 3))
    })
    .unwrap();
    let lost = edited(made, |edit| edit.set_missing(member(0).id, true)).unwrap();
    let swapped = change(lost.clone(), |edit| {
        edit.replace_member(member(0).id, member(4).id)?;
        edit.remove_member(member(0).id)
    })
    .unwrap();
    check(&swapped.metadata);
    assert!(swapped.zeroes.iter().all(|zero| zero.pv == member(4).id));
    let rebuilt: Vec<&str> = swapped
        .metadata
        .volumes()
        .filter(|(_, volume)| tree::has(volume, "status", "REBUILD"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(rebuilt, ["orthrus_state_rimage_0", "r_rimage_0"]);
    let settled = edited(swapped.metadata, |edit| {
        edit.rebuilt("r")?;
        edit.rebuilt("orthrus_state")
    })
    .unwrap();
    assert!(
        !settled
            .volumes()
            .any(|(_, volume)| tree::has(volume, "status", "REBUILD"))
    );
    // A disk that has another image of it is no place for this one.
    let refused = edited(lost.clone(), |edit| {
        edit.replace_member(member(0).id, member(1).id)
    });
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("another image of")
    );
    let linear = edited(lost, |edit| {
        edit.set_missing(member(0).id, false)?;
        edit.create("l", 3, Layout::Linear)
    });
    let refused = edited(linear.unwrap(), |edit| {
        edit.replace_member(member(0).id, member(4).id)
    });
    assert!(refused.unwrap_err().to_string().contains("nowhere else"));
}

#[test]
fn a_volume_does_not_grow_while_an_image_of_it_is_rebuilt() {
    for (kind, images) in [(Raid::Raid1, 2), (Raid::Raid5, 3), (Raid::Raid6, 5)] {
        let made = edited(group(images + 1), |edit| {
            edit.create("r", 6, Layout::Raid(kind, images))
        })
        .unwrap();
        let made = edited(made, |edit| {
            edit.set_missing(member(0).id, true)?;
            edit.replace_member(member(0).id, member(images).id)?;
            edit.remove_member(member(0).id)
        })
        .unwrap();
        let refused = edited(made.clone(), |edit| edit.grow("r", 12));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("volume r is being rebuilt"), "{refused}");
        let grown = edited(made, |edit| {
            edit.rebuilt("r")?;
            edit.grow("r", 12)
        });
        check(&grown.unwrap());
    }
}

#[test]
fn a_volume_does_not_grow_while_it_lacks_an_image() {
    for (kind, images) in [(Raid::Raid1, 2), (Raid::Raid5, 3), (Raid::Raid6, 5)] {
        let made = edited(group(images + 1), |edit| {
            edit.create("r", 6, Layout::Raid(kind, images))
        });
        let made = made.unwrap();
        let lost = edited(made.clone(), |edit| edit.set_missing(member(0).id, true));
        let old = edited(made.clone(), |edit| edit.set_behind("r_rimage_1", true));
        for (lacking, image) in [(lost, "r_rimage_0"), (old, "r_rimage_1")] {
            let refused = edited(lacking.unwrap(), |edit| edit.grow("r", 12));
            let refused = refused.unwrap_err().to_string();
            assert!(
                refused.contains(&format!("volume r lacks {image}")),
                "{refused}"
            );
        }
        check(&edited(made, |edit| edit.grow("r", 12)).unwrap());
    }
}

#[test]
fn an_image_that_is_old_is_tagged_once_behind_its_flags_until_it_has_all() {
    let before = edited(group(2), |edit| {
        edit.create("r", 2, Layout::Raid(Raid::Raid1, 2))
    })
    .unwrap();
    let old = edited(before.clone(), |edit| {
        edit.set_behind("r_rimage_1", true)?;
        edit.set_behind("r_rimage_1", true)
    })
    .unwrap();
    check(&old);
    let image = |metadata: &Metadata| {
        let mut volumes = metadata.volumes();
        volumes
            .find(|(name, _)| *name == "r_rimage_1")
            .unwrap()
            .1
            .clone()
    };
    let tagged = image(&old);
    assert_eq!(
        tree::list(&tagged, "tags"),
        [tree::text("orthrus.image_behind")]
    );
    let keys: Vec<&str> = tagged.keys().map(String::as_str).collect();
    let flags = keys.iter().position(|key| *key == "flags").unwrap();
    assert_eq!(keys[flags + 1], "tags");
    let again = edited(old, |edit| edit.set_behind("r_rimage_1", false)).unwrap();
    assert_eq!(image(&again), image(&before));
    assert!(edited(again, |edit| edit.set_behind("r_rimage_2", true)).is_err());
}

#[test]
fn a_volume_whose_images_are_to_be_compared_is_tagged_until_that_is_done() {
    let before = edited(group(3), |edit| {
        edit.create("r", 2, Layout::Raid(Raid::Raid1, 3))
    })
    .unwrap();
    let unsure = edited(before.clone(), |edit| edit.set_unsure("r", true)).unwrap();
    check(&unsure);
    let tagged = unsure
        .volumes()
        .filter(|(_, volume)| tree::has(volume, "tags", "orthrus.images_unsure"));
    assert_eq!(tagged.map(|(name, _)| name).collect::<Vec<_>>(), ["r"]);
    let sure = edited(unsure, |edit| edit.set_unsure("r", false)).unwrap();
    let volumes = |metadata: &Metadata| -> Vec<_> {
        let volumes = metadata.volumes();
        volumes
            .map(|(name, volume)| (name.to_owned(), volume.clone()))
            .collect()
    };
    assert_eq!(volumes(&sure), volumes(&before));
}

/// The first extent of a stretch, and its bytes, on the member whose data begin at 1 MiB, with extents of 32 KiB.
fn place(zero: &Stretch) -> (u64, u64) {
    ((zero.start - (1 << 20)) / (32 << 10), zero.bytes)
}

#[test]
fn what_is_zeroed_for_a_new_pool_ends_where_its_pieces_do() {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    // a, a hole of one extent, b, one of two, c, and the rest: as much as the spare, and all but one of the metadata.
    let disk = NewMember {
        sectors: 2048 + 64 * (6 + 64 + 63),
        ..member(0)
    };
    let made = edited(new_group("tank", id, 64).unwrap(), |edit| {
        edit.add_member(&disk)?;
        for (name, extents) in [("a", 1), ("x", 1), ("b", 1), ("y", 2), ("c", 1)] {
            edit.create(name, extents, Layout::Linear)?;
        }
        Ok(())
    })
    .unwrap();
    let made = edited(made, |edit| {
        edit.remove("x")?;
        edit.remove("y")
    })
    .unwrap();
    let pool = change(made, |edit| {
        let size = PoolSize {
            extents: 2,
            data: Layout::Linear,
            metadata: Layout::Linear,
        };
        edit.create_pool("p", size)
    })
    .unwrap();
    check(&pool.metadata);
    let places: Vec<(u64, u64)> = pool.zeroes.iter().map(place).collect();
    let (kib, spare, meta) = (1 << 10, 6, 6 + 64);
    assert_eq!(
        places,
        [
            (spare, 256 * kib),
            (1, 32 * kib),
            (meta, 224 * kib),
            (3, 64 * kib)
        ]
    );
}

#[test]
fn an_edit_that_would_zero_what_is_not_new_comes_to_nothing() {
    let made = edited(group(1), |edit| edit.create("a", 2, Layout::Linear)).unwrap();
    let extent = 4 << 20;
    // Of b, which is new; of a; of nobody; and before all extents.
    for (start, bytes, is_right) in [
        (2 * extent, extent, true),
        (2 * extent, extent + 1, false),
        (2 * extent - 512, 1024, false),
        (extent, 512, false),
        (5 * extent, 512, false),
    ] {
        for before in [false, true] {
            let outcome = change(made.clone(), |edit| {
                edit.create("b", 1, Layout::Linear)?;
                edit.zeroes.push(Stretch {
                    pv: member(0).id,
                    start: if before { 512 } else { (1 << 20) + start },
                    bytes,
                });
                Ok(())
            });
            assert_eq!(outcome.is_ok(), is_right && !before, "{start} {bytes}");
        }
    }
}

#[test]
fn a_missing_member_and_one_that_takes_no_extents_get_none() {
    let made = edited(group(2), |edit| {
        edit.set_missing(member(0).id, true)?;
        edit.create("v", 5, Layout::Linear)
    })
    .unwrap();
    assert!(owners(&made).keys().all(|(member, _)| member == "pv1"));
    let refused = edited(made, |edit| edit.create("w", 27, Layout::Linear));
    assert!(
        matches!(refused, Err(EditError::NoSpace { free: 26, .. })),
        "{refused:?}"
    );
}

/// Members of the segments of a volume.
fn homes(metadata: &Metadata, name: &str) -> Vec<String> {
    let (_, volume) = metadata.volumes().find(|(one, _)| *one == name).unwrap();
    let homes = tree::segments(volume).flat_map(tree::references);
    homes.map(str::to_owned).collect()
}

fn reserved_of(metadata: &Metadata) -> Vec<&str> {
    let names = metadata.volumes().map(|(name, _)| name);
    let mut names: Vec<&str> = names
        .filter(|name| name.starts_with("orthrus_") && !name.contains("_r"))
        .collect();
    names.sort_unstable();
    names
}

const RESERVED: [&str; 4] = [
    "orthrus_ledger0",
    "orthrus_ledger1",
    "orthrus_ledger2",
    "orthrus_state",
];

#[test]
fn a_group_of_others_gets_what_it_lacks_and_keeps_what_it_has() {
    let theirs = edited(group(4), |edit| {
        edit.create("v", 20, Layout::Raid(Raid::Raid5, 3))
    })
    .unwrap();
    let made = change(theirs.clone(), |edit| edit.complete_reserved(&[], true)).unwrap();
    check(&made.metadata);
    assert_eq!(reserved_of(&made.metadata), RESERVED);
    let copies: BTreeSet<String> = RESERVED[..3]
        .iter()
        .flat_map(|name| homes(&made.metadata, name))
        .collect();
    assert_eq!(copies.len(), 3, "{copies:?}");
    let region = orthrus_hb::ledger::REGION_BYTES as u64;
    let zeroed = made.zeroes.iter().filter(|zero| zero.bytes == region);
    assert_eq!(zeroed.count(), 3, "{:?}", made.zeroes);
    let (_, state) = made
        .metadata
        .volumes()
        .find(|(n, _)| *n == "orthrus_state")
        .unwrap();
    assert_eq!(
        (tree::kind(state), tree::extents(state)),
        (Some("raid1"), 2)
    );
    let again = change(made.metadata.clone(), |edit| {
        edit.complete_reserved(&[], true)
    })
    .unwrap();
    assert_eq!((&again.metadata, again.zeroes.len()), (&made.metadata, 0));
    let undone = edited(made.metadata, |edit| {
        RESERVED.iter().try_for_each(|name| edit.remove(name))
    });
    assert_eq!(undone.unwrap(), theirs);
}

#[test]
fn what_a_full_group_has_no_room_for_is_left_out() {
    // The third member has one extent left, the fourth none.
    let theirs = edited(group(4), |edit| {
        edit.create("a", 29, Layout::Linear)?;
        edit.create("b", 31, Layout::Linear)?;
        edit.create("c", 30, Layout::Linear)?;
        edit.create("d", 31, Layout::Linear)
    })
    .unwrap();
    let made = edited(theirs, |edit| edit.complete_reserved(&[], true)).unwrap();
    check(&made);
    assert_eq!(reserved_of(&made), RESERVED[..2]);
    let full = edited(group(2), |edit| edit.create("a", 62, Layout::Linear)).unwrap();
    let made = edited(full.clone(), |edit| edit.complete_reserved(&[], true));
    assert_eq!(made.unwrap(), full);
}

#[test]
fn a_state_volume_is_a_mirror_but_where_nothing_is() {
    let kind = |members, arrays: &[Uuid], wanted| {
        let made = edited(group(members), |edit| {
            edit.complete_reserved(arrays, wanted)
        })
        .unwrap();
        check(&made);
        let state = made.volumes().find(|(name, _)| *name == "orthrus_state");
        let kind = state.and_then(|(_, state)| tree::kind(state).map(str::to_owned));
        (kind, reserved_of(&made).len(), made)
    };
    let (of_one, volumes, _) = kind(1, &[], true);
    assert_eq!((of_one.as_deref(), volumes), (Some("striped"), 2));
    let (unwanted, volumes, _) = kind(3, &[], false);
    assert_eq!((unwanted, volumes), (None, 3));
    // On an array by itself, and no copy of the ledger there.
    let array = member(1).id;
    let (on_array, volumes, made) = kind(3, &[array], true);
    assert_eq!((on_array.as_deref(), volumes), (Some("striped"), 3));
    let on_it = |name: &str| homes(&made, name) == ["pv1"];
    assert!(on_it("orthrus_state") && !on_it("orthrus_ledger0") && !on_it("orthrus_ledger1"));
}

#[test]
fn a_copy_of_the_ledger_is_in_one_piece_at_a_whole_block() {
    // Extents of 1 KiB, the first of them amid a block, with a hole that is too small in front.
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    let theirs = edited(new_group("tank", id, 8).unwrap(), |edit| {
        edit.add_member(&NewMember {
            data_start: 2050,
            ..member(0)
        })?;
        let body = &mut edit.metadata.body;
        body.insert("extent_size".to_owned(), tree::value(2));
        edit.create("hole", 40, Layout::Linear)?;
        edit.create("v", 1, Layout::Linear)
    })
    .unwrap();
    let theirs = edited(theirs, |edit| edit.remove("hole")).unwrap();
    let made = change(theirs, |edit| edit.complete_reserved(&[], false)).unwrap();
    check(&made.metadata);
    let [region] = &made.zeroes[..] else {
        panic!("{:?}", made.zeroes)
    };
    assert!(region.start % 4096 == 0 && region.bytes == orthrus_hb::ledger::REGION_BYTES as u64);
    let author = Author {
        host: "a".to_owned(),
        time: 1,
        description: "x".to_owned(),
    };
    let text = made.metadata.encode(&author).unwrap();
    let group = VolumeGroup::parse(text.trim_end_matches('\0')).unwrap();
    let [copy] = group
        .lvs
        .iter()
        .filter(|lv| lv.name == RESERVED[0])
        .collect::<Vec<_>>()[..]
    else {
        panic!("no copy")
    };
    assert!(copy.segments.len() == 1 && group.bytes_of(copy) >= region.bytes);
}
