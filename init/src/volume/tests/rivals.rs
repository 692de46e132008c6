//! What a client writes in his volume, where it looks like a superblock of MD: the superblocks are mdadm's own, on disks with a
//! physical volume or an array.

use super::{disk as disk_of, *};
use crate::array::tests::{Image as Member, images};
use crate::array::{place, spare_block};
use crate::volume::area::{Header, Location};
use crate::volume::label::{Area, sector};
use crate::volume::on_arrays::heed_rivals;

/// Sectors of a disk, and the superblock 1.0 on it.
const DISK: u64 = (24 << 11) + 5;
const END: u64 = 49136;
const EXTENT: u64 = 8;
const PV: &str = "pv000000000000000000000000000000";

/// A disk without anything on it.
fn blank() -> Member {
    Member {
        sectors: BTreeMap::new(),
        bytes: DISK * 512,
    }
}

fn put(on: &Member, first: u64, bytes: &[u8]) -> Member {
    let mut on = on.clone();
    for (at, part) in (first..).zip(bytes.chunks(512)) {
        let mut sector = [0; 512];
        sector[..part.len()].copy_from_slice(part);
        on.sectors.insert(at, sector);
    }
    on
}

/// What is in these sectors of one disk, put on another one.
fn with(on: &Member, of: &Member, first: u64) -> Member {
    put(on, first, &of.read(first * 512, 4096).unwrap())
}

/// The label of a physical volume on a device of so many sectors, and where its text says that the last extent ends.
fn pv(on: &Member, device: u64, end: Option<u64>) -> Member {
    let uuid = Uuid::from_compact(PV.as_bytes()).unwrap();
    let area = Area {
        start: 4096,
        size: (1 << 20) - 4096,
    };
    let areas = end.map_or(Area { start: 0, size: 0 }, |_| area);
    let labelled = put(on, 1, &sector(1, &uuid, device * 512, 1 << 20, areas));
    let Some(end) = end else { return labelled };
    let text = format!(
        "tank {{\nid = \"vg0000-0000-0000-0000-0000-0000-000000\"\nseqno = 7\nformat = \"lvm2\"\n\
         status = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\nextent_size = {EXTENT}\nphysical_volumes {{\n\
         pv0 {{\nid = \"{uuid}\"\ndevice = \"/dev/sda\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\npe_start = 2048\n\
         pe_count = {}\n}}\n}}\n}}\n\0",
        (end - 2048) / EXTENT
    );
    let header = Header {
        area,
        is_ignored: false,
        current: Some(Location::new(area, 512, text.as_bytes())),
    };
    put(&put(&labelled, 8, &header.sector()), 9, text.as_bytes())
}

/// A leg of an array of mirrors with its superblock there: 1.0, or 1.2.
fn leg(version: &str, index: usize) -> Member {
    images(version).remove(index)
}

fn contents(on: &Member) -> Contents {
    let mut read = |offset, length| on.read(offset, length);
    read_disk(on.bytes, &mut read, &Reader::default())
}

fn spare(on: &Member) -> Option<u64> {
    spare_block(on.bytes, 512, &mut |offset, length| on.read(offset, length)).unwrap()
}

/// What each of these disks is, all being seen.
fn seen(disks: &[&Member]) -> Vec<&'static str> {
    let mut contents: Vec<Contents> = disks.iter().map(|disk| contents(disk)).collect();
    let names = (0..disks.len() as u32).map(|index| disk_of(index, DISK * 512));
    heed_rivals(&names.collect::<Vec<_>>(), &mut contents);
    let what = contents.iter().map(|contents| {
        let member = contents.member.as_ref().map(|superblock| superblock.minor);
        match (member, contents.pv, &contents.troubles[..]) {
            (Some(0), None, []) => "member by 1.0",
            (Some(2), None, []) => "member by 1.2",
            (None, Some(_), []) => "pv",
            (None, Some(_), [ReadTrouble::SetAside(_)]) => "pv, with a superblock in its data",
            (None, None, [ReadTrouble::Member(MemberError::Two(..))]) => "either",
            _ => panic!("{contents:?}"),
        }
    });
    what.collect()
}

/// Extents up to the last whole one of the disk: over the place of the superblock.
const OVER: Option<u64> = Some(49152);

#[test]
fn a_superblock_in_the_data_of_a_physical_volume_is_its_clients() {
    let forged = with(&pv(&blank(), DISK, OVER), &leg("raid1-10", 0), END);
    let found = contents(&forged);
    assert!(found.member.is_none() && found.pv.is_some());
    assert_eq!(found.groups.len(), 1, "{:?}", found.troubles);
    // The last block of the disk is the client's: nothing of what was read there a moment ago may be written.
    assert_eq!(spare(&forged), None);
    assert_eq!(spare(&pv(&blank(), DISK, OVER)), Some(0));
    // On all of his disks.
    let other = with(&pv(&blank(), DISK, OVER), &leg("raid1-10", 1), END);
    assert_eq!(
        seen(&[&forged, &other]),
        ["pv, with a superblock in its data"; 2]
    );
    // The older kind.
    let old = images("old").remove(0);
    let place = DISK / 128 * 128 - 128;
    let forged = with(&pv(&blank(), DISK, OVER), &old, place);
    assert_eq!(seen(&[&forged]), ["pv, with a superblock in its data"]);
    assert_eq!(spare(&forged), None);
}

#[test]
fn without_a_text_that_can_be_read_the_label_says_how_far_the_data_go() {
    let forged = with(&pv(&blank(), DISK, None), &leg("raid1-10", 0), END);
    assert_eq!(seen(&[&forged]), ["pv, with a superblock in its data"]);
    let mut torn = with(&pv(&blank(), DISK, OVER), &leg("raid1-10", 0), END);
    torn.sectors.insert(8, [0xee; 512]);
    let found = contents(&torn);
    assert!(found.member.is_none() && found.pv.is_some());
}

#[test]
fn one_where_no_client_can_write_counts() {
    let end_leg = leg("raid1-10", 0);
    // Of the physical volume on the array, which ends before it: with its text, without, and on one that is larger than a disk.
    for (device, end) in [
        (49024, Some(49024)),
        (49024, None),
        (2 * DISK, Some(90_000)),
    ] {
        let image = pv(&end_leg, device, end);
        assert_eq!(seen(&[&image]), ["member by 1.0"], "{device} {end:?}");
        assert_eq!(spare(&image), spare(&end_leg));
    }
    // In what is left behind the last extent: of an array that was there before, or is.
    assert_eq!(seen(&[&pv(&end_leg, DISK, Some(END))]), ["member by 1.0"]);
    assert_ne!(
        seen(&[&pv(&end_leg, DISK, Some(END + EXTENT))]),
        ["member by 1.0"]
    );
    // Superblocks in front are not in any extent.
    let front = leg("raid1-12", 0);
    let mut image = pv(&front, DISK, None);
    assert_eq!(seen(&[&image]), ["member by 1.2"]);
    image.sectors.insert(1, [0xee; 512]);
    assert_eq!(seen(&[&image]), ["member by 1.2"]);
}

#[test]
fn one_at_the_end_of_the_data_of_an_array_does_not_unmake_its_members() {
    let forged = [0, 1].map(|index| with(&leg("raid1-12", index), &leg("raid1-10", index), END));
    assert_eq!(seen(&[&forged[0], &forged[1]]), ["member by 1.2"; 2]);
    assert_eq!(spare(&forged[0]), None);
    // Nor does one on an array, in the data of the physical volume there.
    let array = with(&pv(&blank(), DISK, OVER), &leg("raid1-10", 0), END);
    assert!(contents(&array).member.is_none());
}

#[test]
fn a_client_who_puts_things_in_front_of_a_member_is_known_by_another_member() {
    // A striped array with its superblocks at the end, whose first member has the label of what is on it.
    let first = pv(&leg("raid1-10", 0), 3 * DISK, Some(2 * DISK));
    let member = leg("raid1-10", 1);
    for forged in [
        with(&member, &leg("raid1-12", 0), 8),
        pv(&member, DISK, OVER),
        pv(&member, DISK, None),
    ] {
        assert_eq!(seen(&[&first, &forged]), ["member by 1.0"; 2]);
        assert_eq!(seen(&[&forged, &first]), ["member by 1.0"; 2]);
        // What is read there are clients' data.
        assert_eq!(spare(&forged), None);
    }
    // Where a client's own disks are smaller or larger, there is nothing to ask.
    for device in [DISK / 2, DISK + 1] {
        assert_eq!(seen(&[&pv(&member, device, None)]), ["member by 1.0"]);
    }
    // Both things are said of other disks as well.
    let both = with(&member, &leg("raid1-12", 0), 8);
    let other = leg("raid1-12", 1);
    assert_eq!(
        seen(&[&first, &both, &other]),
        ["member by 1.0", "either", "member by 1.2"]
    );
}

#[test]
fn a_client_who_writes_that_its_disk_is_a_place_of_another_array_that_is_taken_takes_nothing() {
    // Both places of the array are there; its disk says that it is the first of them.
    let array = [0, 1].map(|index| leg("raid1-10", index));
    let taken = array[0].read(END * 512, 4096).unwrap();
    // Or that it is one that the array never had.
    let mut unused = taken.clone();
    unused[160..164].copy_from_slice(&77_u32.to_le_bytes());
    unused[168..184].fill(9);
    unused[200..208].fill(0);
    let sum = place::checksum(&unused).unwrap();
    unused[216..220].copy_from_slice(&sum.to_le_bytes());
    for superblock in [taken, unused] {
        let forged = put(&pv(&blank(), DISK, OVER), END, &superblock);
        assert_eq!(
            seen(&[&array[0], &array[1], &forged]),
            [
                "member by 1.0",
                "member by 1.0",
                "pv, with a superblock in its data"
            ]
        );
    }
}

#[test]
fn a_volume_that_reaches_further_than_the_label_says_is_a_clients_all_the_same() {
    // As lvm2 leaves it when the disk has grown and its physical volume after it.
    let forged = with(&pv(&blank(), DISK / 2, OVER), &leg("raid1-10", 0), END);
    assert_eq!(seen(&[&forged]), ["pv, with a superblock in its data"]);
    assert_eq!(spare(&forged), None);
}

#[test]
fn an_array_made_over_a_physical_volume_is_neither_in_silence() {
    let legs = [0, 1].map(|index| pv(&leg("raid1-10", index), DISK, OVER));
    assert_eq!(
        seen(&[&legs[0], &legs[1]]),
        ["pv, with a superblock in its data"; 2]
    );
    let places: Vec<Place> = (0..2).map(|index| place(index, DISK * 512)).collect();
    let found = assemble(&places, legs.iter().map(contents).collect());
    let [group] = &found.groups[..] else {
        panic!("{found:?}")
    };
    assert!(matches!(group.conflicts[..], [Conflict::SamePv { .. }]));
    assert!(group.refusal("lab").is_some());
}
