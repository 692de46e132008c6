//! Disks that come, go and are lost, and what is then noted of volumes.

use super::*;

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
