//! Damage: superblocks with other bytes than mdadm wrote. What is read is the same as before, or an error that says so;
//! never a panic, and never a decision that the whole ones do not bear out.
//!
//! Each run is bounded; `ORTHRUS_FUZZ=N` makes N times as many, and says how many there were.

use super::*;
use crate::chance::{Chance, times};

/// Where the superblock of a disk is, in bytes.
fn place_of(image: &Image) -> u64 {
    match image.superblock().unwrap().unwrap().minor {
        0 => (image.bytes / 512 - 16) / 8 * 8 * 512,
        1 => 0,
        _ => 4096,
    }
}

fn raw(image: &Image) -> Vec<u8> {
    image.read(place_of(image), 4096).unwrap()
}

fn with(image: &Image, raw: &[u8]) -> Image {
    let mut image = image.clone();
    let first = place_of(&image) / 512;
    for (at, sector) in (first..).zip(raw.chunks(512)) {
        image.sectors.insert(at, sector.try_into().unwrap());
    }
    image
}

/// Every byte, one after the other: the checksum is in front of everything.
#[test]
fn damaged_bytes_are_no_superblock_or_do_not_matter() {
    for name in ["raid1-10", "raid1-11", "raid5-ls"] {
        let image = images(name).remove(0);
        let (whole, bytes) = (image.superblock().unwrap(), raw(&image));
        for at in 0..4096 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let found = with(&image, &damaged).superblock().unwrap();
            // Bytes behind the roles are nobody's.
            assert!(found.is_none() || found == whole, "{name}: byte {at}");
            assert!(found.is_none() || at >= 256 + 2 * whole.as_ref().unwrap().roles.len());
        }
    }
}

/// What may be on a superblock that lies, its checksum being right.
fn lie(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=chance.below(3) {
        let at = match chance.below(4) {
            0 => 256 + chance.below(512),
            _ => 8 + chance.below(248),
        };
        let width = [1, 2, 4, 8][chance.below(4)];
        let at = at / width * width;
        let value = match chance.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => chance.below(16) as u64,
            3 => 1 << chance.below(64),
            4 => chance.next(),
            _ => {
                bytes[at] ^= 1 << chance.below(8);
                continue;
            }
        };
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    if let Some(sum) = place::checksum(&bytes) {
        bytes[216..220].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// Superblocks that lie, of one member or of all: whatever is decided is what their words bear out, and whatever is read
/// stays within the members.
#[test]
fn superblocks_that_lie_never_make_a_panic_or_a_read_outside_the_data() {
    let mut chance = Chance(0x6f72_7468_7275_7303);
    let fixtures: Vec<Vec<Image>> = names()
        .iter()
        .filter(|name| *name != "old")
        .map(|name| images(name))
        .collect();
    let (mut refused, mut unread, mut run) = (0, 0, 0);
    for _ in 0..times(6000) {
        let mut images = fixtures[chance.below(fixtures.len())].clone();
        let all = chance.below(3) == 0;
        let victim = chance.below(images.len());
        let seed = chance.next() | 1;
        for (index, image) in images.iter_mut().enumerate() {
            if all || index == victim {
                // The same lie everywhere.
                let damaged = lie(&raw(image), &mut Chance(seed));
                *image = with(image, &damaged);
            }
        }
        let mut members = Vec::new();
        for (index, image) in images.iter().enumerate() {
            match image.superblock() {
                Ok(Some(superblock)) => members.push(Member {
                    disk: disk(index),
                    superblock,
                }),
                Ok(None) => {}
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    unread += 1;
                }
            }
        }
        for array in arrays(members) {
            match array.decide(chance.below(2) == 0) {
                Ok(decision) => {
                    check(&array, &decision, &images);
                    run += 1;
                }
                Err(refusal) => {
                    assert!(!refusal.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(
        refused > 100 && unread > 100 && run > 1000,
        "{refused} {unread} {run}"
    );
}

fn check(array: &Array, decision: &Decision, images: &[Image]) {
    let newest = &array.members[decision.newest].superblock;
    let of = |index: usize| &array.members[index].superblock;
    for (slot, what) in decision.slots.iter().enumerate() {
        if let Slot::Fresh(index) = *what {
            assert!(of(index).events.saturating_add(1) >= newest.events);
            let role = newest.role_of(of(index).number);
            assert_eq!(role, superblock::Role::Slot(slot as u16));
            assert!(decision.taken.contains(&index));
        }
    }
    let mut seen = decision.taken.clone();
    seen.extend(decision.left_out.iter().map(|(index, _)| *index));
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..array.members.len()));
    assert_eq!(decision.taken[0], decision.newest);
    let Ok(reader) = ArrayReader::new(array, decision) else {
        return;
    };
    let mut disk = |index: usize, at: u64, length: usize| {
        let superblock = of(index);
        let first = superblock.data_offset * 512;
        let last = first + superblock.data_size * 512;
        assert!(at >= first && at + length as u64 <= last);
        let name = &array.members[index].disk.name;
        images[name[2..].parse::<usize>().unwrap()].read(at, length)
    };
    let all = reader.bytes();
    for at in [0, 4096, all / 2, all.saturating_sub(5000)] {
        let length = all.saturating_sub(at).min(5000) as usize;
        let _ = reader.read(at, length, &mut disk);
    }
}
