//! Disks that are behind, broken, full, lost, or somebody else's.

use super::*;

fn tank() -> Vec<Sectors> {
    vec![image!("tank-0"), image!("tank-1")]
}

fn area(image: &Sectors) -> label::Area {
    let label = label::find(&bytes(image, 0, label::SCANNED)).unwrap();
    label.unwrap().areas[0]
}

fn set_header(image: &mut Sectors, change: impl FnOnce(&mut Header)) {
    let area = area(image);
    let mut header = Header::parse(area, &bytes(image, area.start, area::HEADER)).unwrap();
    change(&mut header);
    image.insert(area.start / 512, header.sector());
}

fn untouched(disks: &[Disk]) -> bool {
    disks.iter().all(|disk| disk.writes() == 0)
}

#[test]
fn an_area_that_fell_behind_is_mended_by_the_next_write() {
    let mut images = tank();
    let ahead = disks(&images[..1], 512);
    // One alone of the two is half of them: as if its fellow had been written before and lost.
    let group = newest(&images).unwrap().id().unwrap();
    let store = open(&ahead, &group).unwrap();
    let changed = stamp::stamp(store.newest(), "orthrus-lab", Epoch(3)).unwrap();
    store.write(&changed, &author()).unwrap();
    images[0] = ahead[0].sectors();
    let disks = disks(&images, 512);
    let store = open(&disks, &group).unwrap();
    assert!(!store.is_even());
    assert_eq!(epoch_of(store.newest()), 3);
    let unchanged = store.newest().clone();
    store.write(&unchanged, &author()).unwrap();
    assert!(open(&disks, &group).unwrap().is_even());
}

#[test]
fn what_a_former_owner_left_on_a_disk_that_was_away_is_older_than_the_next_claim() {
    let mut images = tank();
    let group = newest(&images).unwrap().id().unwrap();
    for (image, epoch) in images.iter_mut().zip([8, 7]) {
        // The other one is away, each time.
        let alone = disks(std::slice::from_ref(image), 512);
        let store = open(&alone, &group).unwrap();
        let changed = stamp::stamp(store.newest(), "orthrus-lab", Epoch(epoch)).unwrap();
        let store = if epoch == 8 {
            store.skip_number()
        } else {
            store
        };
        store.write(&changed, &author()).unwrap();
        *image = alone[0].sectors();
    }
    let store = open(&disks(&images, 512), &group).unwrap();
    assert_eq!(epoch_of(store.newest()), 8);
    assert!(!store.is_even());
}

#[test]
fn broken_headers_and_broken_texts_are_mended() {
    let group = newest(&tank()).unwrap().id().unwrap();
    let area = area(&tank()[1]);
    let header = area.start / 512;
    let found = Header::parse(area, &bytes(&tank()[1], area.start, area::HEADER)).unwrap();
    let text = header + found.current.unwrap().offset() / 512;
    for sector in [header, text] {
        let mut images = tank();
        images[1].get_mut(&sector).unwrap()[100] ^= 1;
        let disks = disks(&images, 512);
        assert!(!open(&disks, &group).unwrap().is_even());
        assert_eq!(change(&disks, 2).unwrap().disks, 2);
        assert!(open(&disks, &group).unwrap().is_even());
    }
}

#[test]
fn an_empty_area_gets_the_group_and_an_ignored_one_is_left_alone() {
    let mut images = tank();
    set_header(&mut images[1], |header| header.current = None);
    let empty = disks(&images, 512);
    assert_eq!(change(&empty, 2).unwrap().disks, 2);
    assert!(texts(&empty[1].sectors())[0].is_some());

    set_header(&mut images[1], |header| header.is_ignored = true);
    let ignored = disks(&images, 512);
    let written = change(&ignored, 2).unwrap();
    assert_eq!((written.disks, ignored[1].writes()), (1, 0));
}

#[test]
fn a_slot_that_lvm2_left_filled_before_its_commit_is_emptied() {
    let mut images = tank();
    let start = area(&images[0]).start;
    let mut sector: [u8; 512] = images[0][&(start / 512)];
    sector[64..72].copy_from_slice(&4096u64.to_le_bytes());
    sector[72..80].copy_from_slice(&100u64.to_le_bytes());
    let checksum = super::super::super::crc::crc(super::super::super::crc::START, &sector[4..]);
    sector[..4].copy_from_slice(&checksum.to_le_bytes());
    images[0].insert(start / 512, sector);
    let disks = disks(&images, 512);
    change(&disks, 2).unwrap();
    assert!(
        bytes(&disks[0].sectors(), start + 64, 24)
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[test]
fn a_text_that_is_too_large_is_refused_before_anything_is_written() {
    let images = [small(&image!("wrapped"))];
    let disks = disks(&images, 512);
    let group = newest(&images).unwrap();
    let store = open(&disks, &group.id().unwrap()).unwrap();
    let mut large = store.newest().clone();
    let tags = (0..2000).map(|tag| Value::Text(format!("tag{tag}")));
    large
        .body
        .insert("tags".into(), Value::List(tags.collect()));
    let refused = store.write(&large, &author()).unwrap_err();
    assert!(matches!(refused, WriteError::TooLarge { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .starts_with("sd0: metadata area at 4096: the new text has ")
    );
    assert!(untouched(&disks));
}

#[test]
fn a_group_that_would_not_be_read_back_is_refused_before_anything_is_written() {
    let disks = disks(&tank(), 512);
    let group = newest(&tank()).unwrap();
    type Damage = fn(&mut Metadata);
    let damages: [Damage; 3] = [
        |group| drop(group.body.shift_remove("extent_size")),
        |group| group.name = "a b".to_owned(),
        |group| drop(group.body.insert("x".into(), Value::Text("\0".into()))),
    ];
    for damage in damages {
        let store = open(&disks, &group.id().unwrap()).unwrap();
        let mut damaged = store.newest().clone();
        damage(&mut damaged);
        let refused = store.write(&damaged, &author());
        assert!(
            matches!(refused, Err(WriteError::Invalid(_))),
            "{refused:?}"
        );
    }
    assert!(untouched(&disks));
}

#[test]
fn a_disk_that_fails_is_named_and_the_others_have_the_group() {
    let images = [image!("tank-0"), image!("tank-1"), image!("tank-1")];
    for step in 0..4 {
        let mut disks = disks(&images, 512);
        disks[2] = disks[2].clone().fail_after(step, libc::EIO);
        let written = change(&disks, 2).unwrap();
        assert_eq!(written.disks, 2, "step {step}");
        let [failure] = &written.failures[..] else {
            panic!()
        };
        assert_eq!(failure.disk, "sd2");
        let phases = [
            Phase::WriteText,
            Phase::FlushText,
            Phase::WriteHeader,
            Phase::FlushHeader,
        ];
        assert_eq!(failure.phase, phases[step]);
    }
}

#[test]
fn half_of_the_disks_are_not_enough_and_nothing_has_changed() {
    for step in 0..2 {
        let mut disks = disks(&tank(), 512);
        disks[1] = disks[1].clone().fail_after(step, libc::ENOSPC);
        let refused = change(&disks, 2).unwrap_err();
        assert!(
            matches!(
                refused,
                WriteError::TooFew {
                    good: 1,
                    all: 2,
                    ..
                }
            ),
            "{refused}"
        );
        assert_eq!(
            epoch_of(&newest(&[disks[0].sectors(), disks[1].sectors()]).unwrap()),
            0
        );
    }
    let mut disks = disks(&tank(), 512);
    disks[1] = disks[1].clone().fail_after(2, libc::ENOSPC);
    let unsettled = change(&disks, 2).unwrap_err();
    assert!(
        matches!(
            unsettled,
            WriteError::Unsettled {
                good: 1,
                all: 2,
                ..
            }
        ),
        "{unsettled}"
    );
}

#[test]
fn a_disk_that_cannot_be_opened_counts_as_one_that_fails() {
    let group = newest(&tank()).unwrap();
    let disks = disks(&tank(), 512);
    let failed = std::io::Error::from_raw_os_error(libc::ENXIO);
    let named = vec![
        ("sda".to_owned(), Ok(disks[0].clone())),
        ("sdb".to_owned(), Err(failed)),
    ];
    let store = Store::open(named, &group.id().unwrap()).unwrap();
    let changed = stamp::stamp(store.newest(), "orthrus-lab", Epoch(2)).unwrap();
    let refused = store.write(&changed, &author()).unwrap_err();
    assert!(
        refused.to_string().contains("sdb: opening for writing"),
        "{refused}"
    );
}

#[test]
fn a_reservation_conflict_ends_it_at_every_step() {
    for step in 0..4 {
        let mut disks = disks(&[image!("tank-0"), image!("tank-1"), image!("tank-1")], 512);
        disks[0] = disks[0].clone().fail_after(step, libc::EBADE);
        let refused = change(&disks, 2).unwrap_err();
        assert!(matches!(refused, WriteError::Fenced(_)), "{refused}");
        // Nothing was made current elsewhere after the first disk had refused.
        let others = [disks[1].sectors(), disks[2].sectors()];
        assert_eq!(epoch_of(&newest(&others).unwrap()), 0, "step {step}");
    }
}

#[test]
fn metadata_of_another_group_are_not_written_over() {
    let group = newest(&tank()).unwrap().id().unwrap();
    let disks = disks(&[image!("tank-0"), image!("exported")], 512);
    let refused = open(&disks, &group).err().unwrap();
    assert!(
        matches!(&refused, WriteError::OtherGroup { disk, .. } if disk == "sd1"),
        "{refused}"
    );
}

#[test]
fn different_metadata_of_the_same_age_are_not_chosen_from() {
    let mut images = tank();
    for (image, epoch) in images.iter_mut().zip([1, 2]) {
        let disk = disks(std::slice::from_ref(image), 512);
        change(&disk, epoch).unwrap();
        *image = disk[0].sectors();
    }
    let group = newest(&images).unwrap().id().unwrap();
    let refused = open(&disks(&images, 512), &group).err();
    assert!(
        matches!(refused, Some(WriteError::Disagreement { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_area_over_the_data_is_not_written() {
    let disks = disks(&tank(), 512);
    let group = newest(&tank()).unwrap();
    let store = open(&disks, &group.id().unwrap()).unwrap();
    let mut moved = store.newest().clone();
    let Value::Section(pvs) = &mut moved.body["physical_volumes"] else {
        panic!()
    };
    let Value::Section(pv) = &mut pvs[0] else {
        panic!()
    };
    pv["pe_start"] = Value::Number(16);
    let refused = store.write(&moved, &author()).unwrap_err();
    assert!(matches!(refused, WriteError::Misplaced { .. }), "{refused}");
    assert!(untouched(&disks));
}

#[test]
fn a_group_that_has_its_stamp_on_every_disk_is_not_written() {
    let disks = disks(&tank(), 512);
    let group = newest(&tank()).unwrap().id().unwrap();
    let put = |epoch| {
        let named = disks.iter().enumerate();
        let named = named.map(|(index, disk)| (format!("sd{index}"), Ok(disk.clone())));
        let stamp = stamp::Stamp {
            system_id: "orthrus-lab".to_owned(),
            epoch: Epoch(epoch),
            parity_in_use: false,
            author: author(),
        };
        stamp.put(named.collect(), &group).unwrap()
    };
    assert!(put(4).is_some());
    let writes = disks[0].writes() + disks[1].writes();
    assert!(put(4).is_none());
    assert_eq!(disks[0].writes() + disks[1].writes(), writes);
    // A copy that is behind is a reason to write the same once more.
    let header = area(&tank()[1]).start / 512;
    let mut state = disks[1].state.lock().unwrap();
    state.sectors.get_mut(&header).unwrap()[30] ^= 1;
    drop(state);
    assert!(put(4).is_some());
    assert!(put(4).is_none());
}
