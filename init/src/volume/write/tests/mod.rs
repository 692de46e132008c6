//! Metadata of the real lvm2's, changed by ours, with the power going at every step.

use super::super::area::{self, Header};
use super::super::group::VolumeGroup;
use super::super::{label, text};
use super::*;
use orthrus_hb::Epoch;

mod faults;
mod power;

use crate::chance::Chance;
use power::{Disk, Sectors, bytes, fixture};

macro_rules! image {
    ($name:literal) => {
        fixture(include_bytes!(concat!(
            "../../../../tests/fixtures/lvm2/",
            $name,
            ".sectors"
        )))
    };
}
use image;

fn author() -> Author {
    Author {
        host: "a".to_owned(),
        time: 1_800_000_000,
        description: "a test".to_owned(),
    }
}

/// The current text of each area, as any reader finds it.
fn texts(sectors: &Sectors) -> Vec<Option<String>> {
    let label = label::find(&bytes(sectors, 0, label::SCANNED)).unwrap();
    let areas = label.unwrap().areas.into_iter().map(|area| {
        let header = Header::parse(area, &bytes(sectors, area.start, area::HEADER)).ok()?;
        let current = header.current?;
        let stretches = current.stretches();
        let stretch = |part: &label::Area| bytes(sectors, part.start, part.size as usize);
        let text = stretches.iter().flat_map(stretch).collect();
        let text = current.text(text).ok()?;
        VolumeGroup::parse(&text).unwrap();
        Some(text)
    });
    areas.collect()
}

/// The group that counts, over all disks.
fn newest(images: &[Sectors]) -> Option<Metadata> {
    let texts = images.iter().flat_map(texts).flatten();
    let groups = texts.map(|text| Metadata::parse(&text).unwrap());
    groups.max_by_key(|group| group.seqno())
}

fn open(disks: &[Disk], group: &Uuid) -> Result<Store<Disk>, WriteError> {
    let named = disks.iter().enumerate();
    let named = named.map(|(index, disk)| (format!("sd{index}"), Ok(disk.clone())));
    Store::open(named.collect(), group)
}

fn disks(images: &[Sectors], block: usize) -> Vec<Disk> {
    let images = images.iter().cloned();
    images.map(|image| Disk::new(image, block)).collect()
}

/// The same group in an area of 32 KiB: a ring that is full soon.
fn small(image: &Sectors) -> Sectors {
    let label = label::find(&bytes(image, 0, label::SCANNED)).unwrap();
    let start = label.unwrap().areas[0].start;
    let mut text = texts(image)[0].clone().unwrap().into_bytes();
    text.push(0);
    let area = label::Area {
        start,
        size: 32 << 10,
    };
    let header = Header {
        area,
        is_ignored: false,
        current: Some(area::Location::new(area, 512, &text)),
    };
    let mut small = image.clone();
    small.insert(start / 512, header.sector());
    for (number, part) in (start / 512 + 1..).zip(text.chunks(512)) {
        let mut sector = [0; 512];
        sector[..part.len()].copy_from_slice(part);
        small.insert(number, sector);
    }
    small
}

/// Opens, stamps with an epoch, writes.
fn change(disks: &[Disk], epoch: u32) -> Result<Written, WriteError> {
    change_and_grow(disks, epoch, 0)
}

/// The same, with so many more words in the text.
fn change_and_grow(disks: &[Disk], epoch: u32, words: usize) -> Result<Written, WriteError> {
    let group = newest(&[disks[0].sectors()]).unwrap().id().unwrap();
    let store = open(disks, &group)?;
    let mut changed = stamp::stamp(store.newest(), "orthrus-lab", Epoch(epoch)).unwrap();
    if words > 0 {
        let words = (0..words).map(|number| Value::Text(format!("word{number}")));
        changed
            .body
            .insert("words".to_owned(), Value::List(words.collect()));
    }
    store.write(&changed, &author())
}

fn epoch_of(group: &Metadata) -> u32 {
    stamp::epoch(group.tags()).0
}

#[test]
fn every_text_of_lvm2_is_written_back_as_it_was_read() {
    let images = [
        image!("tank-0"),
        image!("tank-1"),
        image!("reduced-0"),
        image!("wrapped"),
        image!("exported"),
        image!("foreign"),
    ];
    for image in images {
        for read in texts(&image).into_iter().flatten() {
            let tree = text::parse(&read).unwrap();
            let written = text::format(&tree);
            let again = text::parse(&written).unwrap();
            assert_eq!(again, tree);
            // Equal trees may differ in their order.
            assert_eq!(text::format(&again), written);
            let words = |text: &str| -> Vec<String> {
                let lines = text.lines().map(|line| {
                    line.split(" #")
                        .next()
                        .unwrap()
                        .split("\t#")
                        .next()
                        .unwrap()
                });
                let lines = lines.filter(|line| !line.starts_with('#'));
                let all: String = lines.collect::<Vec<_>>().join(" ");
                all.replace([',', '[', ']'], " ")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect()
            };
            assert_eq!(words(&written), words(&read));
        }
    }
}

#[test]
fn a_change_is_on_every_disk_and_nothing_else_is_different() {
    for block in [512, 4096] {
        let disks = disks(&[image!("tank-0"), image!("tank-1")], block);
        let before = newest(&[disks[0].sectors()]).unwrap();
        let written = change(&disks, 7).unwrap();
        assert_eq!((written.disks, written.failures.len()), (2, 0));
        let images: Vec<Sectors> = disks.iter().map(Disk::sectors).collect();
        for image in &images {
            let [Some(text)] = &texts(image)[..] else {
                panic!()
            };
            let after = Metadata::parse(text).unwrap();
            assert_eq!(after.seqno(), Some(before.seqno().unwrap() + 1));
            assert_eq!(epoch_of(&after), 7);
            let mut undone = after.clone();
            for key in ["tags", "system_id"] {
                undone.body.shift_remove(key);
            }
            undone.body["seqno"] = before.body["seqno"].clone();
            assert_eq!(undone, before);
            let keys = |group: &Metadata| group.body.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&undone), keys(&before), "the order");
        }
        let store = open(&disks, &before.id().unwrap()).unwrap();
        assert!(store.is_even());
        assert_eq!(stamp::stamp(store.newest(), "orthrus-lab", Epoch(7)), None);
    }
}

/// The power goes on each disk after any number of steps, independently: that holds every order in which the steps on
/// several disks can come.
#[test]
fn whenever_the_power_goes_the_old_group_is_left_or_the_new_one() {
    let images = [image!("tank-0"), image!("tank-1")];
    let before = newest(&images).unwrap();
    let mut dice = Chance(1);
    let (mut old, mut new) = (0, 0);
    for block in [512, 4096] {
        for cut in 0..6 * 6 {
            // With whole sectors, and with sectors that a loss of power tears: bytes of them are new.
            for unit in [512, 100, 512, 100] {
                let cuts = [cut % 6, cut / 6];
                let fresh = disks(&images, block).into_iter().zip(cuts);
                let disks: Vec<Disk> = fresh
                    .map(|(disk, cut)| disk.fail_after(cut, libc::EIO))
                    .collect();
                let outcome = change(&disks, 7);
                let left: Vec<Sectors> = disks
                    .iter()
                    .map(|disk| disk.crashed(&mut dice, unit))
                    .collect();
                let after = newest(&left).expect("nothing is left");
                match epoch_of(&after) {
                    0 => {
                        assert_eq!(after, before);
                        assert!(outcome.is_err(), "a change that was acknowledged is lost");
                        old += 1;
                    }
                    7 => new += 1,
                    other => panic!("{other}"),
                }
                let whole = left.iter().flat_map(texts).flatten().count();
                // A torn header is one disk's, unless both were on their way with a whole one elsewhere.
                assert!(unit == 100 || whole == 2, "cuts {cuts:?}");
            }
        }
    }
    assert!(old > 60 && new > 30, "{old} {new}");
}

#[test]
fn a_ring_that_is_written_round_and_round_through_crashes_never_loses_the_group() {
    for block in [512, 4096] {
        let mut image = small(&image!("wrapped"));
        let mut dice = Chance(block as u64);
        let (mut epoch, mut wraps) = (0, 0);
        for round in 1..400 {
            let cut = dice.below(8);
            let disk = [Disk::new(image.clone(), block).fail_after(cut, libc::EIO)];
            let outcome = change_and_grow(&disk, round, dice.below(500));
            image = disk[0].crashed(&mut dice, 512);
            let after = newest(std::slice::from_ref(&image)).expect("nothing is left");
            let found = epoch_of(&after);
            assert!(
                found == round || found == epoch,
                "{found} is neither {epoch} nor {round}"
            );
            assert!(
                outcome.is_err() || found == round,
                "a change that was acknowledged is lost"
            );
            epoch = found;
            let area = label::find(&bytes(&image, 0, label::SCANNED))
                .unwrap()
                .unwrap()
                .areas[0];
            let header = Header::parse(area, &bytes(&image, area.start, area::HEADER)).unwrap();
            wraps += usize::from(header.current.unwrap().stretches()[1].size > 0);
        }
        assert!(wraps > 5, "{wraps}");
    }
}
