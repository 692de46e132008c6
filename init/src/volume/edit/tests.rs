//! Whatever is done to a group, in whatever order: it can be read back, and no byte belongs to two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::group::VolumeGroup;
use super::super::text;
use super::super::write::Author;
use super::*;
use crate::chance::Chance;

mod growth;
mod members;
mod names;
mod preset;
mod reserved;
mod snapshots;
mod zeroes;

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
