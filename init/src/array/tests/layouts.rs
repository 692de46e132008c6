//! What is read on the members is what the kernel wrote to the array.

use super::*;

/// What is filled at the beginning of an array, and at its end, in bytes.
const BEGINNING: u64 = 256 * 1024;
const END: u64 = 64 * 1024;

/// What a sector was filled with, by `tests/src/bin/arrays.rs`, the `number`th time.
fn pattern(sector: u64, number: u32) -> Vec<u8> {
    let word = (sector + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.rotate_left(number).to_le_bytes().repeat(64)
}

/// What must be in the array at these bytes.
fn expected(array: u64, number: u32, offset: u64, length: usize) -> Vec<u8> {
    let end = offset + length as u64;
    let mut bytes = Vec::new();
    for sector in offset / 512..end.div_ceil(512) {
        let at = sector * 512;
        let is_filled = at < BEGINNING || at >= (array - END) / 512 * 512;
        bytes.extend(match is_filled {
            true => pattern(sector, number),
            false => vec![0; 512],
        });
    }
    let skip = (offset % 512) as usize;
    bytes[skip..skip + length].to_vec()
}

/// Reads what was filled, and some of what was not, without these members.
fn check(name: &str, number: u32, without: &[usize]) {
    let images = images(name);
    let array = array(name);
    let decision = array.decide(false).unwrap();
    let reader = ArrayReader::new(&array, &decision)
        .unwrap()
        .without(without);
    let mut disk = |index: usize, at, length| {
        assert!(!without.contains(&index));
        images[index].read(at, length)
    };
    let all = reader.bytes();
    // The lengths of pieces are odd, so that they begin and end everywhere.
    let mut at = 0;
    while at < BEGINNING + 32 * 1024 {
        let read = reader.read(at, 7_777, &mut disk).unwrap();
        assert!(read == expected(all, number, at, 7_777), "{name} at {at}");
        at += 7_777;
    }
    let tail = (END + 16 * 1024) as usize;
    let start = all - tail as u64;
    let read = reader.read(start, tail, &mut disk).unwrap();
    assert!(
        read == expected(all, number, start, tail),
        "{name}: its end"
    );
    assert!(matches!(
        reader.read(all - 1, 2, &mut disk),
        Err(ReadError::End)
    ));
}

/// Arrays that were made and nothing else: their names tell their levels.
fn plain() -> Vec<String> {
    let mut names = names();
    names.retain(|name| name.starts_with("raid") && name != "raid0-zones");
    names
}

#[test]
fn every_array_is_read_as_the_kernel_wrote_it() {
    for name in plain() {
        check(&name, 1, &[]);
    }
}

#[test]
fn every_redundant_array_is_read_without_any_one_member() {
    let mut arrays = 0;
    for name in plain().iter().filter(|name| *name != "raid0") {
        for lost in 0..images(name).len() {
            check(name, 1, &[lost]);
        }
        arrays += 1;
    }
    assert!(arrays > 30, "{arrays}");
}

#[test]
fn mirrors_of_three_are_read_from_any_one() {
    for pair in [[0, 1], [0, 2], [1, 2]] {
        check("raid1-12", 1, &pair);
    }
}

#[test]
fn every_array_of_two_parities_is_read_without_any_two_members() {
    let mut arrays = 0;
    for name in plain().iter().filter(|name| name.starts_with("raid6")) {
        for one in 0..5 {
            for other in 0..one {
                check(name, 1, &[one, other]);
            }
        }
        arrays += 1;
    }
    assert_eq!(arrays, 14);
    check("twice-stale", 3, &[]);
}

#[test]
fn more_members_than_parities_are_said_to_be_missing_where_they_are() {
    for (name, without) in [("raid6-ls", &[0, 1, 3][..]), ("raid5-ls", &[0, 1])] {
        too_many(name, without);
    }
}

fn too_many(name: &str, without: &[usize]) {
    let (array, images) = (array(name), images(name));
    let decision = array.decide(false).unwrap();
    let reader = ArrayReader::new(&array, &decision)
        .unwrap()
        .without(without);
    let mut disk = |index: usize, at, length| images[index].read(at, length);
    let failed = (0..15).filter(|chunk| {
        let read = reader.read(chunk * 4096, 4096, &mut disk);
        match read {
            Ok(bytes) => assert!(bytes == expected(reader.bytes(), 1, chunk * 4096, 4096)),
            Err(ReadError::Lost { .. }) => return true,
            Err(error) => panic!("{error}"),
        }
        false
    });
    assert!((1..15).contains(&failed.count()));
}

#[test]
fn what_a_member_cannot_read_is_read_elsewhere_or_said() {
    for (name, is_enough) in [("raid1-12", true), ("raid5-ls", true), ("raid0", false)] {
        let (array, images) = (array(name), images(name));
        let decision = array.decide(false).unwrap();
        let reader = ArrayReader::new(&array, &decision).unwrap();
        let mut disk = |index: usize, at, length| match index {
            0 => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => images[index].read(at, length),
        };
        match reader.read(0, 65536, &mut disk) {
            Ok(bytes) => {
                assert!(is_enough);
                assert!(bytes == expected(reader.bytes(), 1, 0, 65536), "{name}");
            }
            Err(ReadError::Io { disk, .. }) => assert!(!is_enough && disk == "sd0"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn zones_are_not_read_before_they_run() {
    let array = array("raid0-zones");
    let decision = array.decide(false).unwrap();
    assert!(matches!(
        ArrayReader::new(&array, &decision),
        Err(ReadError::Zones)
    ));
}

#[test]
fn states_are_read_from_the_fresh_members_alone() {
    // The members that dropped out have what was written before.
    check("stale", 2, &[]);
    check("failed", 2, &[]);
    check("dirty", 1, &[]);
    check("ppl", 1, &[]);
    check("spare", 1, &[]);
    check("rebuilding", 2, &[]);
    check("journal", 1, &[]);
}

#[test]
fn bad_blocks_are_read_elsewhere() {
    use superblock::Features;
    let mut array = array("raid1-11");
    array.members[0].superblock.features.0 |= Features::BAD_BLOCKS;
    let decision = array.decide(false).unwrap();
    let reader = ArrayReader::new(&array, &decision).unwrap();
    let mut disk = |index: usize, _, length| {
        assert_eq!(index, 1);
        Ok(vec![0; length])
    };
    assert!(reader.read(0, 512, &mut disk).is_ok());
}

#[test]
fn the_block_that_is_written_while_an_array_runs_is_of_nobody_else() {
    // That one is of version 0.90, and refused.
    for name in names().into_iter().filter(|name| name != "old") {
        for (index, image) in images(&name).iter().enumerate() {
            for block in [512, 4096] {
                let mut read = |offset, length| image.read(offset, length);
                let superblock = image.superblock().unwrap().unwrap();
                let Some(at) = spare_block(image.bytes, block, &mut read).unwrap() else {
                    // Behind the superblock there may be a bitmap; before the data of a whole block nothing is left.
                    let may_lack =
                        superblock.minor == 0 || (superblock.minor == 1 && block == 4096);
                    assert!(may_lack, "{name} {index}");
                    continue;
                };
                let word = |at: u64| {
                    let bytes = image
                        .read(superblock_at(&superblock, image) + at, 4)
                        .unwrap();
                    u32::from_le_bytes(bytes.try_into().unwrap())
                };
                let (end, block) = (at + u64::from(block), u64::from(block));
                assert!(
                    at % block == 0 && end <= image.bytes,
                    "{name} {index}: {at}"
                );
                let written = (256 + 2 * u64::from(word(220))).next_multiple_of(block.min(512));
                let start = superblock_at(&superblock, image);
                assert!(
                    end <= start || at >= start + written,
                    "{name} {index}: {at} is of the superblock"
                );
                let (data, length) = (superblock.data_offset * 512, superblock.data_size * 512);
                assert!(
                    end <= data || at >= data + length,
                    "{name} {index}: {at} is of the data"
                );
                let empty = vec![0; usize::try_from(block).unwrap()];
                assert_eq!(
                    image.read(at, empty.len()).unwrap(),
                    empty,
                    "{name} {index}: {at}"
                );
            }
        }
    }
    let nothing = |_: u64, length: usize| Ok(vec![0; length]);
    assert_eq!(
        spare_block(1 << 20, 512, &mut { nothing }).unwrap(),
        Some(0)
    );
}

fn superblock_at(superblock: &Superblock, image: &Image) -> u64 {
    match superblock.minor {
        0 => (image.bytes / 512 - 16) / 8 * 8 * 512,
        1 => 0,
        _ => 4096,
    }
}
