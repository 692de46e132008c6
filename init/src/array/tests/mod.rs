//! Arrays made by the real mdadm (`init/tests/fixtures/md`, made by `tests/tools`), whole and damaged.

mod damage;
mod decisions;
mod layouts;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::*;
use crate::disk::{DiskId, WriteCache};

/// Lengths of the disks on which the fixtures were made; the seventh is smaller, and in one of them.
const DISK_BYTES: u64 = (24 << 20) + 5 * 512;
const LAST_BYTES: u64 = (16 << 20) + 3 * 512;

/// A disk in memory, of the sectors that are not empty.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) sectors: BTreeMap<u64, [u8; 512]>,
    pub(crate) bytes: u64,
}

impl Image {
    pub(crate) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        if offset.saturating_add(length as u64) > self.bytes {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut bytes = Vec::with_capacity(length + 1024);
        for sector in offset / 512..(offset + length as u64).div_ceil(512) {
            bytes.extend(self.sectors.get(&sector).unwrap_or(&[0; 512]));
        }
        let skip = (offset % 512) as usize;
        Ok(bytes[skip..skip + length].to_vec())
    }

    fn superblock(&self) -> Result<Option<Superblock>, MemberError> {
        superblock_of(self.bytes, &mut |offset, length| self.read(offset, length))
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/md")
}

/// The disks of a fixture. What a record is: `tests/src/arrays/fixture.rs`.
pub(crate) fn images(name: &str) -> Vec<Image> {
    let record = std::fs::read(directory().join(format!("{name}.members"))).unwrap();
    let mut images = Vec::new();
    let mut rest = &record[..];
    while let [member, is_words, a, b, c, d, e, f, more @ ..] = rest {
        let count = u16::from_le_bytes([*a, *b]) as usize;
        let first = u32::from_le_bytes([*c, *d, *e, *f]);
        let width = if *is_words == 1 { 8 } else { 512 };
        let (bytes, more) = more.split_at(count * width);
        rest = more;
        let index = usize::from(*member);
        if images.len() <= index {
            images.resize(index + 1, BTreeMap::new());
        }
        for (at, contents) in (u64::from(first)..).zip(bytes.chunks(width)) {
            let sector = contents.repeat(512 / width);
            images[index].insert(at, sector.try_into().unwrap());
        }
    }
    let last = images.len() - 1;
    let images = images.into_iter().enumerate();
    let images = images.map(|(index, sectors)| Image {
        sectors,
        bytes: match (name, index) {
            ("raid0-zones", index) if index == last => LAST_BYTES,
            _ => DISK_BYTES,
        },
    });
    images.collect()
}

/// Names of all fixtures.
fn names() -> Vec<String> {
    let files = std::fs::read_dir(directory()).unwrap();
    let names = files.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        Some(name.strip_suffix(".members")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() > 40, "{names:?}");
    names
}

fn disk(index: usize) -> Disk {
    Disk {
        name: format!("sd{index}"),
        path: format!("/dev/sd{index}").into(),
        number: (8, 16 * index as u32),
        id: DiskId(format!("naa.{index}")),
        vendor: String::new(),
        model: String::new(),
        bytes: DISK_BYTES,
        logical_block: 512,
        write_cache: WriteCache::WriteThrough,
        sequence: 0,
        paths: Vec::new(),
    }
}

/// The members among these disks.
fn members(images: &[Image]) -> Vec<Member> {
    let images = images.iter().enumerate();
    let members = images.filter_map(|(index, image)| {
        let superblock = image.superblock().unwrap()?;
        let disk = disk(index);
        Some(Member { disk, superblock })
    });
    members.collect()
}

/// The array of a fixture.
fn array(name: &str) -> Array {
    only(members(&images(name)))
}

fn only(members: Vec<Member>) -> Array {
    let mut arrays = arrays(members);
    assert_eq!(arrays.len(), 1);
    arrays.remove(0)
}

/// The array of a fixture as if only these of its disks were here.
pub(crate) fn some_of(name: &str, disks: &[usize]) -> Array {
    let mut members = members(&images(name));
    let names: Vec<String> = disks.iter().map(|index| disk(*index).name).collect();
    members.retain(|member| names.contains(&member.disk.name));
    only(members)
}

/// The array of a fixture after a takeover: these members lack so many changes, and the others call them faulty.
pub(crate) fn thrown_out(name: &str, which: &[usize], lacks: u64) -> Array {
    let mut array = array(name);
    for lost in which {
        let number = array.members[*lost].superblock.number as usize;
        array.members[*lost].superblock.events -= lacks;
        for (index, member) in array.members.iter_mut().enumerate() {
            if !which.contains(&index) {
                member.superblock.roles[number] = superblock::Role::Faulty;
            }
        }
    }
    array
}

/// What mdadm said of each member of a fixture: values by name.
fn report() -> BTreeMap<(String, usize), BTreeMap<String, String>> {
    let text = std::fs::read_to_string(directory().join("report.txt")).unwrap();
    let mut report: BTreeMap<(String, usize), BTreeMap<String, String>> = BTreeMap::new();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let [name, disk, said] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        // By its number among all disks; the fixture counts those that it has.
        let disks = seen.entry(name.to_owned()).or_default();
        if !disks.iter().any(|seen| seen == disk) {
            disks.push(disk.to_owned());
        }
        let (key, value) = said.split_once(" : ").unwrap();
        let place = (name.to_owned(), disks.len() - 1);
        let values = report.entry(place).or_default();
        values.insert(key.to_owned(), value.trim().to_owned());
    }
    report
}

#[test]
fn what_mdadm_says_of_a_member_is_what_we_read() {
    let report = report();
    for ((name, index), said) in &report {
        let found = images(name)[*index].superblock();
        if name == "old" {
            assert!(matches!(found, Err(MemberError::Version("0.90"))));
            continue;
        }
        let superblock = found.unwrap().unwrap();
        let number = |key: &str| -> u64 {
            let value = said[key].split_whitespace().next().unwrap();
            value.parse().unwrap()
        };
        let context = format!("{name} {index}");
        assert_eq!(
            format!("1.{}", superblock.minor),
            said["Version"],
            "{context}"
        );
        assert_eq!(
            superblock.array.to_string(),
            said["Array UUID"],
            "{context}"
        );
        let device = ArrayId(superblock.device).to_string();
        assert_eq!(device, said["Device UUID"], "{context}");
        assert_eq!(superblock.events, number("Events"), "{context}");
        if let Some(offset) = said.get("Data Offset") {
            let offset: u64 = offset.split_whitespace().next().unwrap().parse().unwrap();
            assert_eq!(superblock.data_offset, offset, "{context}");
        }
        assert_eq!(superblock.data_size, number("Avail Dev Size"), "{context}");
        assert_eq!(
            format!("raid{}", superblock.level),
            said["Raid Level"],
            "{context}"
        );
        assert_eq!(
            u64::from(superblock.raid_disks),
            number("Raid Devices"),
            "{context}"
        );
        let name = superblock.name.clone().unwrap();
        assert!(said["Name"].starts_with(&name), "{context}: {name}");
        if let Some(chunk) = said.get("Chunk Size") {
            assert_eq!(format!("{}K", superblock.chunk / 2), *chunk, "{context}");
        }
        let role = match superblock.own_role() {
            superblock::Role::Slot(slot) => format!("Active device {slot}"),
            superblock::Role::Journal => "Journal".to_owned(),
            _ => "spare".to_owned(),
        };
        assert_eq!(role, said["Device Role"], "{context}");
        let is_clean = said["State"].starts_with("clean");
        assert_eq!(superblock.resync_offset.is_none(), is_clean, "{context}");
    }
    assert_eq!(
        report.len(),
        names().iter().map(|name| images(name).len()).sum::<usize>()
    );
}

#[test]
fn layout_is_that_of_the_kernel_header() {
    use superblock::{Features, at};
    let offsets = [
        ("feature_map", at::FEATURES),
        ("pad0", at::PAD0),
        ("set_uuid", at::ARRAY),
        ("set_name", at::NAME),
        ("level", at::LEVEL),
        ("layout", at::LAYOUT),
        ("size", at::SIZE),
        ("chunksize", at::CHUNK),
        ("raid_disks", at::RAID_DISKS),
        ("data_offset", at::DATA_OFFSET),
        ("data_size", at::DATA_SIZE),
        ("super_offset", at::SUPER_OFFSET),
        ("recovery_offset", at::RECOVERY_OFFSET),
        ("dev_number", at::DEV_NUMBER),
        ("device_uuid", at::DEVICE),
        ("devflags", at::DEVFLAGS),
        ("utime", at::UTIME),
        ("events", at::EVENTS),
        ("resync_offset", at::RESYNC_OFFSET),
        ("max_dev", at::MAX_DEV),
        ("pad3", at::PAD3),
        ("dev_roles", at::ROLES),
    ];
    let values = [
        ("MD_FEATURE_ALL", Features::ALL),
        ("MD_FEATURE_BITMAP_OFFSET", Features::BITMAP),
        ("MD_FEATURE_RECOVERY_OFFSET", Features::RECOVERY_OFFSET),
        ("MD_FEATURE_RESHAPE_ACTIVE", Features::RESHAPE),
        ("MD_FEATURE_BAD_BLOCKS", Features::BAD_BLOCKS),
        ("MD_FEATURE_REPLACEMENT", Features::REPLACEMENT),
        ("MD_FEATURE_RESHAPE_BACKWARDS", Features::RESHAPE_BACKWARDS),
        ("MD_FEATURE_NEW_OFFSET", Features::NEW_OFFSET),
        ("MD_FEATURE_RECOVERY_BITMAP", Features::RECOVERY_BITMAP),
        ("MD_FEATURE_CLUSTERED", Features::CLUSTERED),
        ("MD_FEATURE_JOURNAL", Features::JOURNAL),
        ("MD_FEATURE_PPL", Features::PPL),
        ("MD_FEATURE_MULTIPLE_PPLS", Features::MULTIPLE_PPLS),
        ("MD_FEATURE_RAID0_LAYOUT", Features::RAID0_LAYOUT),
        ("MD_DISK_ROLE_SPARE", 0xffff),
        ("MD_DISK_ROLE_FAULTY", 0xfffe),
        ("MD_DISK_ROLE_JOURNAL", 0xfffd),
        ("MD_DISK_ROLE_MAX", 0xff00),
    ];
    let asked: Vec<String> = offsets
        .iter()
        .map(|(field, _)| format!("offsetof(struct mdp_superblock_1, {field})"))
        .chain(values.iter().map(|(name, _)| (*name).to_owned()))
        .collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let includes = ["linux/types.h", "linux/raid/md_p.h"];
    let Some(kernel) = crate::sys::headers::evaluate(&includes, &asked) else {
        return;
    };
    let ours = offsets.iter().map(|(_, at)| *at as u64);
    let ours = ours.chain(values.iter().map(|(_, value)| u64::from(*value)));
    assert_eq!(kernel, ours.collect::<Vec<_>>());
}
