//! Thin pools and snapshots: what the kernel must be told first, and what a merge leaves.

use super::*;

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
