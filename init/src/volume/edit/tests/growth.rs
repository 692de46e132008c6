//! What grows can be activated afterwards: no table comes of it that a kernel refuses. What [`check`] says of each extent takes
//! too long on disks of this size: [`fits`] has to do.

use super::super::super::text::Value;
use super::super::layout::meta_extents;
use super::super::tree::{text, value};
use super::*;

/// Extents of 4 MiB in a TiB.
const TIB: u64 = 1 << 18;

/// A group of so many members of 16 TiB.
fn large(members: u64) -> Metadata {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    edited(new_group("tank", id, 8192).unwrap(), |edit| {
        (0..members).try_for_each(|number| {
            edit.add_member(&NewMember {
                sectors: 1 << 35,
                ..member(number)
            })
        })
    })
    .unwrap()
}

fn section<'a>(metadata: &'a Metadata, name: &str) -> &'a Section {
    let mut volumes = metadata.volumes();
    volumes.find(|(known, _)| *known == name).unwrap().1
}

fn length(metadata: &Metadata, name: &str) -> u64 {
    tree::extents(section(metadata, name))
}

fn region(metadata: &Metadata, name: &str) -> u64 {
    let segment = tree::segments(section(metadata, name)).next().unwrap();
    tree::number(segment, "region_size").unwrap()
}

/// `validate_region_size` of dm-raid.c, and that the map of all images has its room.
fn kernel_takes_regions(metadata: &Metadata, name: &str) {
    let region = region(metadata, name);
    let sectors = length(metadata, name) * 8192;
    assert!(
        region >= sectors / (1 << 21) && region <= sectors,
        "{name}: {region}"
    );
    assert!(region.is_power_of_two());
    let image = length(metadata, &format!("{name}_rimage_0"));
    let room = length(metadata, &format!("{name}_rmeta_0"));
    assert!(room >= meta_extents(image, region, 8192));
}

#[test]
fn regions_of_raid_grow_with_it_as_far_as_the_kernel_wants() {
    for (kind, images) in [
        (Raid::Raid1, 2),
        (Raid::Raid5, 4),
        (Raid::Raid6, 5),
        (Raid::Raid10, 4),
    ] {
        let made = edited(large(images), |edit| {
            edit.create("v", 3 * TIB, Layout::Raid(kind, images))
        })
        .unwrap();
        assert_eq!(region(&made, "v"), 4096);
        kernel_takes_regions(&made, "v");
        let mut grown = made;
        for (tib, wanted) in [(4, 4096), (5, 8192), (8, 8192), (15, 16384)] {
            grown = edited(grown, |edit| edit.grow("v", tib * TIB)).unwrap();
            fits(&grown);
            kernel_takes_regions(&grown, "v");
            assert_eq!(region(&grown, "v"), wanted, "{kind:?} of {tib} TiB");
        }
    }
}

#[test]
fn regions_below_a_thin_pool_grow_with_it_too() {
    let size = PoolSize {
        extents: 3 * TIB,
        data: Layout::Raid(Raid::Raid6, 5),
        metadata: Layout::Raid(Raid::Raid1, 2),
    };
    let grown = edited(large(5), |edit| {
        edit.create_pool("p", size)?;
        edit.grow("p", 9 * TIB)
    })
    .unwrap();
    fits(&grown);
    assert_eq!(region(&grown, "p_tdata"), 16384);
    kernel_takes_regions(&grown, "p_tdata");
    kernel_takes_regions(&grown, "p_tmeta");
}

#[test]
fn a_region_is_not_larger_than_its_volume() {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    let made = edited(new_group("tank", id, 128).unwrap(), |edit| {
        (0..3).try_for_each(|number| edit.add_member(&member(number)))?;
        edit.create("m", 1, Layout::Raid(Raid::Raid1, 2))?;
        edit.create("p", 5, Layout::Raid(Raid::Raid5, 3))
    })
    .unwrap();
    check(&made);
    assert_eq!((region(&made, "m"), region(&made, "p")), (128, 512));
}

/// Puts an image of a mirror onto checksums, as `lvconvert --raidintegrity y` leaves it.
fn with_checksums(edit: &mut Edit<'_>, image: &str) {
    let parts = tree::segments(edit.volume(image).unwrap()).cloned();
    let parts: Vec<Section> = parts.collect();
    let extents = tree::extents(edit.volume(image).unwrap());
    let origin = format!("{image}_iorig");
    edit.add_volume(&origin, false, parts);
    let volume = edit.volume_mut(image).unwrap();
    volume.retain(|key, _| !key.starts_with("segment"));
    volume.insert("segment_count".to_owned(), value(1));
    let segment = tree::section([
        ("start_extent", value(0)),
        ("extent_count", value(extents)),
        ("type", text("integrity")),
        ("origin", text(origin)),
        ("data_sectors", value(extents * 8192)),
        ("mode", text("J")),
        ("tag_size", value(4)),
        ("block_size", value(512)),
        ("internal_hash", text("crc32c")),
    ]);
    volume.insert("segment1".to_owned(), Value::Section(segment));
}

#[test]
fn raid_with_checksums_does_not_grow_here_and_says_where() {
    let made = edited(group(3), |edit| {
        edit.create("v", 4, Layout::Raid(Raid::Raid1, 2))?;
        let size = PoolSize {
            extents: 4,
            data: Layout::Raid(Raid::Raid1, 2),
            metadata: Layout::Linear,
        };
        edit.create_pool("p", size)?;
        for image in [
            "v_rimage_0",
            "v_rimage_1",
            "p_tdata_rimage_0",
            "p_tdata_rimage_1",
        ] {
            with_checksums(edit, image);
        }
        Ok(())
    })
    .unwrap();
    check(&made);
    for (name, said) in [
        ("v", "volume v has checksums"),
        ("p", "volume p_tdata has checksums"),
    ] {
        let refused = edited(made.clone(), |edit| edit.grow(name, 6)).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(refused.contains("lvconvert --raidintegrity n"), "{refused}");
    }
}

#[test]
fn an_origin_of_thin_volumes_elsewhere_keeps_its_size() {
    let made = edited(group(3), |edit| {
        edit.create("o", 4, Layout::Linear)?;
        let size = PoolSize {
            extents: 4,
            data: Layout::Linear,
            metadata: Layout::Linear,
        };
        edit.create_pool("p", size)?;
        edit.create_thin("p", "t", 4)?;
        edit.settle_thin("p")?;
        let thin = tree::section_mut(edit.volume_mut("t")?, "segment1").unwrap();
        thin.insert("external_origin".to_owned(), text("o"));
        Ok(())
    });
    let refused = edited(made.unwrap(), |edit| edit.grow("o", 6)).unwrap_err();
    assert!(
        refused.to_string().contains("thin volumes came from"),
        "{refused}"
    );
}

#[test]
fn what_the_kernel_would_refuse_is_never_given_out() {
    let made = edited(group(5), |edit| {
        edit.create("m", 4, Layout::Raid(Raid::Raid1, 2))?;
        edit.create("r", 4, Layout::Raid(Raid::Raid10, 4))?;
        let size = PoolSize {
            extents: 4,
            data: Layout::Linear,
            metadata: Layout::Linear,
        };
        edit.create_pool("p", size)
    })
    .unwrap();
    let put = |name: &'static str, key: &'static str, number: u64| {
        edited(made.clone(), move |edit| {
            let segment = tree::section_mut(edit.volume_mut(name)?, "segment1");
            segment.unwrap().insert(key.to_owned(), value(number));
            Ok(())
        })
    };
    for (name, key, number, said) in [
        ("m", "extent_count", 5, "longer than its images"),
        ("r", "extent_count", 5, "longer than its images"),
        ("p", "extent_count", 5, "longer than its data"),
        ("m", "region_size", 65536, "regions of 65536 sectors"),
        ("m", "region_size", 4095, "regions of 4095 sectors"),
        ("r", "region_size", 64, "regions of 64 sectors"),
    ] {
        let refused = put(name, key, number).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(refused.contains(&format!("volume {name} ")), "{refused}");
    }
    let two = edited(made.clone(), |edit| {
        let segment = tree::segments(edit.volume("p")?).next().cloned().unwrap();
        let volume = edit.volume_mut("p")?;
        volume.insert("segment_count".to_owned(), value(2));
        volume.insert("segment2".to_owned(), Value::Section(segment));
        Ok(())
    });
    let two = two.unwrap_err().to_string();
    assert!(
        two.contains("another segment beside one of type \"thin-pool\""),
        "{two}"
    );
}

#[test]
fn what_others_left_wrong_is_not_in_the_way_of_another_change() {
    let mut made = edited(group(3), |edit| {
        edit.create("m", 4, Layout::Raid(Raid::Raid1, 2))
    })
    .unwrap();
    let volumes = tree::section_mut(&mut made.body, "logical_volumes").unwrap();
    let segment = tree::section_mut(tree::section_mut(volumes, "m").unwrap(), "segment1");
    segment.unwrap().insert("region_size".to_owned(), value(3));
    edited(made, |edit| edit.create("v", 1, Layout::Linear)).unwrap();
}

/// Extents of the parts of pool `p`: data, metadata, spare.
fn parts_of(metadata: &Metadata) -> [u64; 3] {
    ["p_tdata", "p_tmeta", "lvol0_pmspare"].map(|name| length(metadata, name))
}

#[test]
fn a_thin_pool_that_grows_gets_room_for_metadata_as_well_and_so_does_the_spare() {
    for metadata in [Layout::Linear, Layout::Raid(Raid::Raid1, 2)] {
        let size = PoolSize {
            extents: TIB / 64,
            data: Layout::Linear,
            metadata,
        };
        // 16 GiB in chunks of 64 KiB are 16 MiB of metadata.
        let made = edited(large(3), |edit| edit.create_pool("p", size)).unwrap();
        assert_eq!(parts_of(&made), [TIB / 64, 4, 4]);
        // In another piece than before.
        let made = edited(made, |edit| edit.create("v", 7, Layout::Linear)).unwrap();
        let more = edited(made, |edit| edit.grow("p", TIB / 64 + 1)).unwrap();
        fits(&more);
        assert_eq!(parts_of(&more), [TIB / 64 + 1, 5, 5], "a quarter");
        assert_eq!(length(&more, "p"), TIB / 64 + 1);
        let most = edited(more, |edit| edit.grow("p", TIB)).unwrap();
        fits(&most);
        assert_eq!(parts_of(&most), [TIB, 256, 256], "64 bytes a chunk");
    }
}

#[test]
fn metadata_of_a_thin_pool_end_where_the_kernel_uses_no_more() {
    let size = PoolSize {
        extents: 16,
        data: Layout::Linear,
        metadata: Layout::Linear,
    };
    let mut grown = edited(large(3), |edit| edit.create_pool("p", size)).unwrap();
    let most = (255 * (1 << 14) * 8 - 256 * 1024) / 8192;
    for extents in [20 * TIB, 21 * TIB] {
        grown = edited(grown, |edit| edit.grow("p", extents)).unwrap();
        assert_eq!(parts_of(&grown), [extents, most, most]);
    }
}

#[test]
fn a_thin_pool_without_a_spare_gets_none_by_growing() {
    let size = PoolSize {
        extents: 4,
        data: Layout::Linear,
        metadata: Layout::Linear,
    };
    let made = edited(group(3), |edit| edit.create_pool("p", size));
    let grown = edited(made.unwrap(), |edit| {
        edit.drop_volumes(&["lvol0_pmspare".to_owned()]);
        edit.grow("p", 5)
    })
    .unwrap();
    assert_eq!(length(&grown, "p_tmeta"), 2);
    assert!(grown.volumes().all(|(name, _)| name != "lvol0_pmspare"));
}

#[test]
fn a_group_gets_no_more_extents_than_lvm2_counts() {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    // Extents of 4 KiB, and disks of 15 TiB: each by itself is possible.
    let made = new_group("tank", id, 8).unwrap();
    let disk = |number| NewMember {
        sectors: 15 << 31,
        ..member(number)
    };
    let made = edited(made, |edit| edit.add_member(&disk(0))).unwrap();
    let refused = edited(made.clone(), |edit| edit.add_member(&disk(1))).unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("lvm2 counts to 4294967295") && refused.contains("larger ones"),
        "{refused}"
    );
    // One that takes the place of another one is no more.
    edited(made, |edit| {
        edit.add_member(&disk(1))?;
        edit.remove_member(disk(0).id)
    })
    .unwrap();
}

#[test]
fn a_volume_is_no_longer_than_the_kernel_counts() {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    // Extents of 4 GiB.
    let made = edited(new_group("tank", id, 1 << 23).unwrap(), |edit| {
        edit.add_member(&NewMember {
            sectors: 15 << 31,
            ..member(0)
        })?;
        let size = PoolSize {
            extents: 16,
            data: Layout::Linear,
            metadata: Layout::Linear,
        };
        edit.create_pool("p", size)
    })
    .unwrap();
    let thin = |extents| edited(made.clone(), |edit| edit.create_thin("p", "t", extents));
    assert!(thin((1 << 31) - 1).is_ok());
    let refused = thin(1 << 31).unwrap_err().to_string();
    assert!(refused.contains("longer than 8 EiB"), "{refused}");
}

/// A group of extents of 64 KiB.
fn fine(members: u64) -> Metadata {
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    edited(new_group("tank", id, 128).unwrap(), |edit| {
        (0..members).try_for_each(|number| {
            edit.add_member(&NewMember {
                sectors: 1 << 35,
                ..member(number)
            })
        })
    })
    .unwrap()
}

/// Bytes of superblocks and of a bitmap of so many sectors.
fn wanted(sectors: u64, region: u64) -> u64 {
    4096 + 256 + (sectors / region).div_ceil(8)
}

#[test]
fn the_map_of_raid10_is_of_the_volume_and_not_of_an_image() {
    let made = edited(fine(4), |edit| {
        edit.create("v", 1 << 24, Layout::Raid(Raid::Raid10, 4))
    })
    .unwrap();
    let room = length(&made, "v_rmeta_0") * 65536;
    assert!(room >= wanted(1 << 31, region(&made, "v")), "{room}");
}

#[test]
fn regions_grow_where_a_map_has_no_more_room() {
    for (kind, images) in [(Raid::Raid1, 2), (Raid::Raid10, 4)] {
        let made = edited(fine(4), |edit| {
            edit.create("v", 100 << 14, Layout::Raid(kind, images))
        })
        .unwrap();
        let room = length(&made, "v_rmeta_0");
        assert_eq!(room, 1);
        let grown = edited(made, |edit| edit.grow("v", 5 << 24)).unwrap();
        fits(&grown);
        assert_eq!(length(&grown, "v_rmeta_0"), room);
        let region = region(&grown, "v");
        assert_eq!(region, 32768, "{kind:?}");
        assert!(wanted(5 << 31, region) <= 65536);
    }
}
