//! Disks made by the real lvm2 (`init/tests/fixtures/lvm2`), whole and damaged.

mod damage;
mod kinds;
mod lost;
pub(crate) mod made;
mod mapper;
mod museum;
mod only;
mod rivals;

use std::io;

use super::group::{Area, SegmentKind};
use super::plan::{PlanError, device_name, device_uuid, uuid_prefix};
use super::*;
use crate::disk::{DiskId, WriteCache};

/// A disk in memory, of the sectors that matter.
struct Image(BTreeMap<u64, [u8; 512]>);

macro_rules! image {
    ($name:literal) => {
        Image::new(include_bytes!(concat!(
            "../../../tests/fixtures/lvm2/",
            $name,
            ".sectors"
        )))
    };
}

impl Image {
    fn new(records: &[u8]) -> Image {
        let (records, rest) = records.as_chunks::<520>();
        assert!(rest.is_empty());
        let sector = |record: &[u8; 520]| {
            let (number, contents) = record.split_at(8);
            (
                u64::from_le_bytes(number.try_into().unwrap()),
                contents.try_into().unwrap(),
            )
        };
        Image(records.iter().map(sector).collect())
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if offset.saturating_add(length as u64) > 64 << 20 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let at = |position: u64| {
            let sector = self.0.get(&(position / 512));
            sector.map_or(0, |sector| sector[(position % 512) as usize])
        };
        Ok((offset..offset + length as u64).map(at).collect())
    }

    fn contents(&self) -> Contents {
        let mut read = |offset, length| self.read(offset, length);
        read_disk(64 << 20, &mut read, &Reader::default())
    }
}

fn disk(index: u32, bytes: u64) -> Disk {
    Disk {
        name: format!("sd{index}"),
        path: format!("/dev/sd{index}").into(),
        number: (8, 16 * index),
        id: DiskId(format!("naa.{index}")),
        vendor: String::new(),
        model: String::new(),
        bytes,
        logical_block: 512,
        write_cache: WriteCache::WriteThrough,
        sequence: 0,
        paths: Vec::new(),
    }
}

fn place(index: u32, bytes: u64) -> Place {
    Place::from(&disk(index, bytes))
}

fn groups(images: &[Image]) -> Groups {
    let disks: Vec<Place> = (0..images.len() as u32)
        .map(|index| place(index, 64 << 20))
        .collect();
    assemble(&disks, images.iter().map(Image::contents).collect())
}

fn tank() -> VolumeGroup {
    let found = groups(&[image!("tank-0"), image!("tank-1")]);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let [group] = &found.groups[..] else {
        panic!("{found:?}")
    };
    group.clone()
}

#[test]
fn what_lvm2_made_is_what_we_read() {
    let group = tank();
    assert_eq!(group.name, "tank");
    assert_eq!(group.extent_sectors, 8192);
    assert_eq!(group.refusal("lab"), None);
    // Each line of lvs: name|uuid|first extent|extents|stripes|stripe size|ranges of physical extents.
    let mut ours = String::new();
    for lv in group.visible() {
        for segment in &lv.segments {
            let SegmentKind::Striped {
                chunk_sectors,
                stripes,
            } = &segment.kind
            else {
                panic!("{segment:?}")
            };
            let each = segment.extents / stripes.len() as u64;
            let ranges = stripes.iter().map(|stripe| {
                let Area::Pv { pv, extent } = *stripe else {
                    panic!("{stripe:?}")
                };
                let disk = group.pvs[pv].disk.as_ref().unwrap();
                let (first, last) = (extent, extent + each - 1);
                format!("disk{}:{first}-{last}", &disk.name[2..])
            });
            let ranges: Vec<String> = ranges.collect();
            ours.push_str(&format!(
                "{}|{}|{}|{}|{}|{chunk_sectors}|{}\n",
                lv.name,
                lv.uuid,
                segment.start,
                segment.extents,
                stripes.len(),
                ranges.join(" ")
            ));
        }
    }
    assert_eq!(
        ours,
        include_str!("../../../tests/fixtures/lvm2/report.txt")
    );
}

#[test]
fn tables_are_those_that_lvm2_loads() {
    let plan = Plan::new(&tank(), &Choice::default()).unwrap();
    let disk = |(major, minor)| format!("{major}:{minor}");
    assert_eq!(
        plan.show(&disk),
        include_str!("../../../tests/fixtures/lvm2/tables.txt")
    );
}

#[test]
fn sizes_and_permissions_are_those_of_the_volumes() {
    let group = tank();
    let frozen = group.lvs.iter().find(|lv| lv.name == "frozen").unwrap();
    assert!(!frozen.is_writable);
    let vol0 = group.lvs.iter().find(|lv| lv.name == "vol0").unwrap();
    assert!(vol0.is_writable);
    assert_eq!(group.bytes_of(vol0), 20 << 20);
}

#[test]
fn names_and_uuids_are_those_of_lvm2() {
    assert_eq!(device_name("my-vg", "a-b"), "my--vg-a--b");
    let group = tank();
    let uuid = device_uuid(&group.uuid, &group.lvs[0].uuid);
    assert_eq!(uuid.len(), 4 + 32 + 32);
    assert!(uuid.starts_with(&uuid_prefix(&group.uuid)));
}

#[test]
fn text_that_goes_round_the_ring_is_read() {
    let image = image!("wrapped");
    let header = image.read(4096, area::HEADER).unwrap();
    let area = label::Area {
        start: 4096,
        size: 1 << 20,
    };
    let location = area::parse_header(area, &header).unwrap().unwrap();
    assert!(
        location.stretches()[1].size > 0,
        "the fixture does not wrap"
    );
    let found = groups(&[image]);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    assert_eq!(found.groups[0].name, "wrapped");
    assert_eq!(found.groups[0].refusal("lab"), None);
}

#[test]
fn a_group_with_a_missing_disk_is_refused_and_the_disk_named() {
    let found = groups(&[image!("tank-0")]);
    let refusal = found.groups[0].refusal("lab").unwrap();
    assert!(matches!(
        refusal,
        Refusal::MissingDisk { hint: Some(_), .. }
    ));
    assert!(
        refusal
            .to_string()
            .starts_with("a disk is missing: physical volume ")
    );
}

#[test]
fn a_disk_that_does_not_answer_is_not_told_as_a_missing_one() {
    let silent = || Contents {
        troubles: vec![ReadTrouble::TimedOut],
        ..Contents::default()
    };
    let places = [0, 1, 2].map(|index| place(index, 64 << 20));
    let one = image!("tank-0").contents();
    let found = assemble(&places[..2], vec![one, silent()]);
    let refusal = found.groups[0].refusal("lab").unwrap();
    assert!(matches!(refusal, Refusal::Silent { .. }), "{refusal:?}");
    let said = refusal.to_string();
    for word in [
        "physical volume ",
        "sd1 (naa.1) does not answer",
        "cables",
        "pull it out",
    ] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    // What it has to say may be newer than what the others do, and call them missing.
    let mut stray = found.groups[0].clone();
    stray.conflicts.push(Conflict::Stray { seqno: 7 });
    let refusal = stray.refusal("lab").unwrap();
    assert!(matches!(refusal, Refusal::Silent { .. }), "{refusal:?}");
    // Of a group that has all of its members, it is none.
    let [one, other] = [image!("tank-0"), image!("tank-1")].map(|image| image.contents());
    let found = assemble(&places, vec![one, other, silent()]);
    assert_eq!(found.groups[0].refusal("lab"), None);
    assert!(
        found.problems[0]
            .to_string()
            .starts_with("sd2: no answer within 15 s; check")
    );
}

#[test]
fn a_disk_whose_read_hangs_costs_the_limit_and_is_named() {
    // A pipe whose other end nobody has cannot even be opened.
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("hung");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let hung = Disk {
        path,
        ..disk(0, 64 << 20)
    };
    let found = read_groups_within(&[hung], Duration::from_millis(20));
    let [Problem { disk, trouble }] = &found.problems[..] else {
        panic!("{found:?}")
    };
    assert_eq!(disk, "sd0");
    assert!(matches!(trouble, ReadTrouble::TimedOut), "{trouble}");
}

#[test]
fn a_disk_that_takes_seconds_for_each_answer_shows_its_group_within_the_limit() {
    let image = image!("tank-0");
    let mut asked = 0;
    let mut read = |offset, length| {
        asked += 1;
        image.read(offset, length)
    };
    let contents = read_disk(64 << 20, &mut read, &Reader::default());
    assert_eq!(contents.groups.len(), 1);
    // Both ends, the place of MD's oldest superblock, and the text.
    assert!(asked <= 4, "{asked} answers");
}

#[test]
fn a_text_that_many_disks_have_is_understood_once() {
    let texts = Texts::default();
    let contents = |image: Image, texts: &Reader| {
        let mut read = |offset, length| image.read(offset, length);
        let contents = read_disk(64 << 20, &mut read, texts);
        contents.groups.into_iter().next().unwrap()
    };
    let read = |image| contents(image, &texts.reader());
    let (first, second) = (read(image!("tank-0")), read(image!("tank-1")));
    assert!(Arc::ptr_eq(&first, &second));
    let other = read(image!("reduced-0"));
    assert!(!Arc::ptr_eq(&first, &other));
    // A disk that answers when the look is over keeps nothing of it.
    let reader = texts.reader();
    drop(texts);
    let late = contents(image!("tank-0"), &reader);
    assert!(!Arc::ptr_eq(&first, &late));
    assert_eq!(first, late);
}

/// What each of two heads may serve of a group when one sees only the first disk and the other only the second.
fn halves(first: Image, second: Image) -> usize {
    let heads = [groups(&[first]), groups(&[second])];
    let served = |head: &Groups| {
        let mut groups = head.groups.iter();
        groups.any(|group| group.refusal("lab").is_none())
    };
    heads.iter().filter(|head| served(head)).count()
}

#[test]
fn of_two_heads_that_each_see_one_half_at_most_one_serves() {
    assert_eq!(halves(image!("tank-0"), image!("tank-1")), 0);
    // The owner took disk 1 out of the group; the disk itself does not know.
    assert_eq!(halves(image!("reduced-0"), image!("tank-1")), 1);
}

#[test]
fn a_half_that_calls_the_other_one_lost_is_not_served_either() {
    // An owner went on without the second disk. Neither half is enough: there is no mirror to go on with.
    let mut marked = tank();
    marked.pvs[1].is_missing = true;
    assert!(matches!(
        marked.refusal("lab"),
        Some(Refusal::OutdatedDisk { ref disk, .. }) if disk == "sd1"
    ));
    marked.pvs[1].disk = None;
    assert!(matches!(marked.refusal("lab"), Some(Refusal::Lost { .. })));
}

#[test]
fn the_newest_metadata_count() {
    // Disk 1 comes back and still tells of a group of two: the other disk knows better.
    for images in [
        [image!("reduced-0"), image!("tank-1")],
        [image!("tank-1"), image!("reduced-0")],
    ] {
        let found = groups(&images);
        assert_eq!(found.groups.len(), 1);
        assert_eq!(found.groups[0].pvs.len(), 1);
        assert_eq!(found.groups[0].refusal("lab"), None);
        assert_eq!(found.unused.len(), 1);
    }
}

#[test]
fn exported_and_foreign_groups_are_left_alone() {
    let exported = groups(&[image!("exported")]).groups.remove(0);
    assert_eq!(exported.refusal("lab"), Some(Refusal::Exported));
    let foreign = groups(&[image!("foreign")]).groups.remove(0);
    let system_id = "another-host".to_owned();
    assert_eq!(foreign.refusal("lab"), Some(Refusal::Foreign { system_id }));
}

#[test]
fn our_own_system_id_is_not_foreign() {
    let mut group = tank();
    // Nor is an empty one, which lvm2 takes for none.
    group.system_id = Some(String::new());
    assert_eq!(group.refusal("lab"), None);
    group.system_id = Some(system_id("lab"));
    assert_eq!(group.refusal("lab"), None);
    assert!(group.refusal("other").is_some());
}

#[test]
fn clustered_groups_are_left_alone() {
    for manager in ["dlm", "sanlock"] {
        let mut group = tank();
        group.lock_type = Some(manager.into());
        let refusal = group.refusal("lab");
        assert!(matches!(refusal, Some(Refusal::Clustered { manager: m }) if m == manager));
    }
    let mut group = tank();
    group.status.push("CLUSTERED".into());
    assert!(matches!(
        group.refusal("lab"),
        Some(Refusal::Clustered { .. })
    ));
}

#[test]
fn copies_of_a_disk_are_refused() {
    let found = groups(&[image!("tank-0"), image!("tank-1"), image!("tank-1")]);
    assert!(matches!(
        found.groups[0].refusal("lab"),
        Some(Refusal::Conflict(Conflict::SamePv { .. }))
    ));
}

#[test]
fn metadata_of_the_same_age_that_differ_are_refused() {
    let disks = [place(0, 64 << 20), place(1, 64 << 20)];
    let mut contents = vec![image!("tank-0").contents(), image!("tank-1").contents()];
    Arc::make_mut(&mut contents[1].groups[0]).lvs.pop();
    let found = assemble(&disks, contents);
    assert!(matches!(
        found.groups[0].refusal("lab"),
        Some(Refusal::Conflict(Conflict::Disagreement { .. }))
    ));
}

#[test]
fn two_groups_with_one_name_are_both_refused() {
    let disks = [place(0, 64 << 20), place(1, 64 << 20)];
    let mut contents = vec![image!("wrapped").contents(), image!("exported").contents()];
    Arc::make_mut(&mut contents[1].groups[0]).name = "wrapped".into();
    let found = assemble(&disks, contents);
    assert_eq!(found.groups.len(), 2);
    for group in found.groups {
        let refusal = group.refusal("lab");
        assert!(matches!(
            refusal,
            Some(Refusal::Conflict(Conflict::SameName { .. }))
        ));
    }
}

#[test]
fn of_groups_with_one_name_the_clusters_own_is_served_beside_those_of_others() {
    let ours = Some("orthrus-lab".to_owned());
    for (ids, served) in [
        ([ours.clone(), None, None], 1),
        ([None, ours.clone(), Some("backup".to_owned())], 1),
        ([Some("backup".to_owned()), None, ours.clone()], 1),
        ([ours.clone(), Some("backup".to_owned()), ours.clone()], 0),
        ([None, None, Some("backup".to_owned())], 0),
    ] {
        let disks = [place(0, 64 << 20), place(1, 64 << 20), place(2, 64 << 20)];
        let mut contents = vec![
            image!("wrapped").contents(),
            image!("wrapped").contents(),
            image!("wrapped").contents(),
        ];
        for (index, id) in ids.iter().enumerate() {
            let group = Arc::make_mut(&mut contents[index].groups[0]);
            group.uuid = Uuid::from_compact(format!("{index:032}").as_bytes()).unwrap();
            group.system_id.clone_from(id);
        }
        // Only the first has the disk of that label.
        contents[1].pv = None;
        contents[2].pv = None;
        let found = assemble(&disks, contents);
        assert_eq!(found.groups.len(), 3);
        let is_named = |group: &&VolumeGroup| {
            !matches!(
                group.refusal("lab"),
                Some(Refusal::Conflict(Conflict::SameName { .. }))
            )
        };
        // One that was found on no disk of its own conflicts with nothing else here.
        let mut found = found;
        for group in &mut found.groups {
            group
                .conflicts
                .retain(|conflict| matches!(conflict, Conflict::SameName { .. }));
        }
        let free: Vec<&VolumeGroup> = found.groups.iter().filter(is_named).collect();
        assert_eq!(free.len(), served, "{ids:?}");
        if let [one] = free[..] {
            assert!(one.is_of("lab"));
            assert_eq!(found.find("wrapped", "lab").unwrap().uuid, one.uuid);
            assert_eq!(one.namesakes("lab").len(), 2);
        }
    }
}

#[test]
fn a_disk_that_is_smaller_than_its_volume_is_refused() {
    let contents = vec![image!("tank-0").contents(), image!("tank-1").contents()];
    let found = assemble(&[place(0, 64 << 20), place(1, 32 << 20)], contents);
    let refusal = found.groups[0].refusal("lab");
    assert_eq!(refusal, Some(Refusal::ShortDisk { disk: "sd1".into() }));
}

#[test]
fn a_physical_volume_in_no_group_is_unused() {
    let found = groups(&[image!("unused"), Image(BTreeMap::new())]);
    assert!(found.groups.is_empty() && found.problems.is_empty());
    assert_eq!(found.unused, ["sd0"]);
}

#[test]
fn one_whole_copy_is_enough() {
    let mut damaged = image!("tank-1");
    damaged.0.get_mut(&8).unwrap()[100] ^= 1;
    let found = groups(&[image!("tank-0"), damaged]);
    assert_eq!(found.problems.len(), 1);
    assert!(
        found.problems[0]
            .to_string()
            .starts_with("sd1: metadata area at 4096")
    );
    assert_eq!(found.groups[0].refusal("lab"), None);
}

#[test]
fn segments_of_other_kinds_are_named_and_refused() {
    let mut group = tank();
    group.lvs[0].segments[0].kind = SegmentKind::Other("raid99".into());
    let refusal = group.refusal("lab").unwrap();
    assert!(refusal.to_string().contains("\"raid99\""), "{refusal}");
    assert!(matches!(
        Plan::new(&group, &Choice::default()),
        Err(PlanError::Unsupported { .. })
    ));
    // A part of something else does not matter by itself.
    group.lvs[0].is_visible = false;
    assert_eq!(group.refusal("lab"), None);
}

#[test]
fn names_that_could_leave_their_directory_are_no_names() {
    for bad in ["", ".", "..", "-a", "a/b", "a b", "a\n", "ü", "a\0"] {
        assert!(!group::is_name(bad), "{bad:?}");
    }
    for good in ["a", "vol0", "my-vol.1", "A+b_c"] {
        assert!(group::is_name(good), "{good:?}");
    }
    assert!(!group::is_name(&"x".repeat(128)));
}

#[test]
fn a_leg_of_an_array_is_no_physical_volume_and_the_array_is() {
    // As mdadm 1.0 leaves it: the label at the beginning, the superblock eight kilobytes before the end.
    let mut legs = crate::array::tests::images("raid1-10");
    for leg in &mut legs {
        leg.sectors.retain(|sector, _| *sector > 16 << 11);
        leg.sectors.extend(image!("wrapped").0);
    }
    let mut members = Vec::new();
    for (index, leg) in (0..).zip(&legs) {
        let mut read = |at, length| leg.read(at, length);
        let contents = read_disk(leg.bytes, &mut read, &Reader::default());
        assert!(contents.pv.is_none() && contents.groups.is_empty());
        let superblock = contents.member.unwrap();
        let disk = disk(index, leg.bytes);
        members.push(array::Member { disk, superblock });
    }
    let on = array::arrays(members).remove(0);
    let decision = on.decide(false).unwrap();
    let mut member = |index: usize, at, length| legs[index].read(at, length);
    let reader = array::ArrayReader::new(&on, &decision).unwrap();
    let mut read = reader.reader(&mut member);
    let contents = read_disk(reader.bytes(), &mut *read, &Reader::default());
    let judged = Box::new(Judged {
        decision: decision.clone(),
        array: on.clone(),
        is_running: false,
    });
    let place = Place {
        disk: judged.device(None),
        array: Some(judged),
    };
    let found = assemble(&[place], vec![contents]);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let group = &found.groups[0];
    assert_eq!(
        (group.name.as_str(), group.refusal("lab")),
        ("wrapped", None)
    );
    // Claimed by its members, written through the array.
    let names =
        |disks: Vec<Disk>| -> Vec<String> { disks.into_iter().map(|disk| disk.name).collect() };
    assert_eq!(names(group.disks()), ["sd0", "sd1"]);
    let node = array::assemble::device_name(&on.id);
    assert_eq!(names(group.devices()), [node]);
}

#[test]
fn an_array_that_lacks_a_member_which_nobody_marked_is_refused() {
    let members = crate::array::tests::some_of("raid1-12", &[0, 2]);
    let decision = members.decide(false).unwrap();
    let mut group = groups(&[image!("wrapped")]).groups.remove(0);
    let mut on = Judged {
        array: members,
        decision,
        is_running: false,
    };
    group.pvs[0].array = Some(Box::new(on.clone()));
    let refusal = group.refusal("lab").unwrap();
    assert!(matches!(&refusal, Refusal::MissingMember { slots, .. } if slots == &[1]));
    assert!(refusal.to_string().contains("any:raid1-12"), "{refusal}");
    on.decision.slots[1] = array::Slot::Empty;
    group.pvs[0].array = Some(Box::new(on));
    assert_eq!(group.refusal("lab"), None);
}
