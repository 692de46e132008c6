//! The ways to a disk: several block devices of this kernel with one identity are one disk.
//!
//! Which they are is asked of sysfs anew each time, and of the kernel's device-mapper whether they are joined to one device
//! already (`crate::multipath`). Only a designator of the logical unit (VPD page 0x83) joins: two disks with one serial number
//! stay two, and are refused by whoever meets both. That the ways do lead to one disk is shown by a claim: a key that is
//! registered by one of them is read by all.
//!
//! What answers and what does not is found out by `crate::multipath::watcher`, and kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Disk, DiskError, DiskId};
use crate::sync::lock;

/// What the uuids of the devices that join paths begin with, as multipath-tools has it.
const UUID_PREFIX: &str = "mpath-";
/// What their names begin with; behind it stands what the disk was called when it was claimed.
const NAME_PREFIX: &str = "paths-";

/// One way to a disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskPath {
    /// Counts the disks that this kernel has found: no two have the same, whatever their names.
    pub sequence: u64,
    /// The kernel's name of the block device, such as `sde`.
    pub name: String,
    /// Its device number.
    pub number: (u32, u32),
}

impl DiskPath {
    /// Its device node.
    pub fn node(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

/// A block device, as sysfs shows it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub disk: Disk,
    /// The kernel has not given it up.
    pub is_running: bool,
    /// Something of this kernel stands on it.
    pub is_used: bool,
    /// It is registered in the claim of its disk.
    pub is_pinned: bool,
}

/// A device that joins paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub id: String,
    /// What its disk was called when it was claimed.
    pub disk: String,
    pub number: (u32, u32),
}

/// Paths whose last question was not answered, by sequence.
static SILENT: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// From here on exactly these paths do not answer.
pub fn note_silent(paths: BTreeSet<u64>) {
    *lock(&SILENT) = paths;
}

/// Those that did not.
pub(super) fn silent() -> BTreeSet<u64> {
    lock(&SILENT).clone()
}

/// Whether a path did not answer when it was asked last.
pub fn is_silent(path: &DiskPath) -> bool {
    lock(&SILENT).contains(&path.sequence)
}

/// Paths that are registered in a claim of this head, by disk; by sequence, since a path that comes back under its old name is
/// another one.
static PINNED: Mutex<BTreeMap<String, BTreeSet<u64>>> = Mutex::new(BTreeMap::new());

/// From here on a disk that was claimed is used by one of these paths, which are registered, as long as one is there; the disk
/// so. One that was claimed by its only path, too: should another one turn up, nothing is registered there.
pub fn pin(disk: &Disk, registered: &[String]) -> Disk {
    let is_registered = |path: &&DiskPath| registered.contains(&path.name);
    let pinned: Vec<&DiskPath> = disk.paths.iter().filter(is_registered).collect();
    let sequences = match disk.paths.is_empty() {
        true => [disk.sequence].into(),
        false => pinned.iter().map(|path| path.sequence).collect(),
    };
    let mut disk = disk.clone();
    if let Some(first) = pinned.first()
        && pinned.iter().all(|path| path.number != disk.number)
    {
        (disk.path, disk.number) = (first.node(), first.number);
    }
    lock(&PINNED).insert(disk.id.0.clone(), sequences);
    disk
}

/// The claim of a disk ends.
pub fn unpin(id: &DiskId) {
    lock(&PINNED).remove(&id.0);
}

/// Whether a path is registered in a claim of its disk.
pub(super) fn is_pinned(id: &DiskId, sequence: u64) -> bool {
    let pinned = lock(&PINNED);
    pinned
        .get(&id.0)
        .is_some_and(|paths| paths.contains(&sequence))
}

/// The device-mapper uuid of the device that joins the paths of a disk.
pub fn joined_uuid(id: &DiskId) -> String {
    format!("{UUID_PREFIX}{id}")
}

/// Its name.
pub fn joined_name(disk: &str) -> String {
    format!("{NAME_PREFIX}{disk}")
}

/// The disks that these devices are, in the order of the devices.
pub(super) fn group(
    seen: Vec<Result<Seen, DiskError>>,
    joined: &[Joined],
    is_silent: &dyn Fn(u64) -> bool,
) -> Vec<Result<Disk, DiskError>> {
    let mut disks: Vec<Result<Vec<Seen>, DiskError>> = Vec::new();
    for device in seen {
        let device = match device {
            Ok(device) => device,
            Err(error) => {
                disks.push(Err(error));
                continue;
            }
        };
        let mut known = disks.iter_mut().flatten();
        match known.find(|paths| paths.iter().all(|path| is_same(path, &device))) {
            Some(paths) => paths.push(device),
            None => disks.push(Ok(vec![device])),
        }
    }
    let disks = disks.into_iter();
    disks
        .map(|paths| paths.map(|paths| join(paths, joined, is_silent)))
        .collect()
}

fn is_same(one: &Seen, other: &Seen) -> bool {
    let (one, other) = (&one.disk, &other.disk);
    one.id == other.id
        && one.id.is_of_page_83()
        && one.bytes == other.bytes
        && one.logical_block == other.logical_block
}

/// One disk of all its paths. It is read and written through the device that joins them, where there is one; else
/// through a path that is registered in its claim; else through the path that something stands on already; else through one that
/// answers, the one that was found first.
fn join(mut paths: Vec<Seen>, joined: &[Joined], is_silent: &dyn Fn(u64) -> bool) -> Disk {
    paths.sort_by_key(|path| path.disk.sequence);
    let (name, sequence) = (paths[0].disk.name.clone(), paths[0].disk.sequence);
    let best = paths.iter().min_by_key(|path| {
        let answers = path.is_running && !is_silent(path.disk.sequence);
        (!path.is_pinned, !path.is_used, !answers, path.disk.sequence)
    });
    let mut disk = best.unwrap_or(&paths[0]).disk.clone();
    let through = joined.iter().find(|one| one.id == disk.id.0);
    if paths.len() == 1 && through.is_none() {
        return disk;
    }
    (disk.name, disk.sequence) = (name, sequence);
    disk.paths = paths
        .into_iter()
        .map(|path| DiskPath {
            sequence: path.disk.sequence,
            name: path.disk.name,
            number: path.disk.number,
        })
        .collect();
    if let Some(through) = through {
        disk.name.clone_from(&through.disk);
        disk.number = through.number;
        disk.path = PathBuf::from(format!("/dev/dm-{}", through.number.1));
    }
    disk
}

/// The devices of this kernel that join paths.
pub(super) fn joined_in(block: &Path) -> Vec<Joined> {
    let Ok(entries) = std::fs::read_dir(block) else {
        return Vec::new();
    };
    let devices = entries.flatten().filter_map(|entry| {
        let read = |attribute: &str| {
            let text = std::fs::read_to_string(entry.path().join(attribute)).ok()?;
            Some(text.trim_end().to_owned())
        };
        Some(Joined {
            id: read("dm/uuid")?.strip_prefix(UUID_PREFIX)?.to_owned(),
            disk: read("dm/name")?.strip_prefix(NAME_PREFIX)?.to_owned(),
            number: super::parse_number(&read("dev")?)?,
        })
    });
    devices.collect()
}

/// Where a device stands in the order in which this kernel found its disks; zero where it does not say.
pub(super) fn sequence(directory: &Path) -> u64 {
    let text = std::fs::read_to_string(directory.join("diskseq"));
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// Whether the kernel still sends commands to a device. Only SCSI disks say.
pub(super) fn is_running(directory: &Path) -> bool {
    let state = std::fs::read_to_string(directory.join("device/state"));
    state.map_or(true, |state| matches!(state.trim(), "running" | "live"))
}

/// Whether a device stands on it.
pub(super) fn is_used(directory: &Path) -> bool {
    let holders = std::fs::read_dir(directory.join("holders"));
    holders.is_ok_and(|mut holders| holders.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::super::WriteCache;
    use super::*;

    fn seen(name: &str, id: &str, sequence: u64) -> Seen {
        Seen {
            disk: Disk {
                name: name.to_owned(),
                path: Path::new("/dev").join(name),
                number: (8, 16 * sequence as u32),
                sequence,
                id: DiskId(id.to_owned()),
                vendor: String::new(),
                model: String::new(),
                bytes: 1 << 30,
                logical_block: 512,
                write_cache: WriteCache::WriteThrough,
                paths: Vec::new(),
            },
            is_running: true,
            is_used: false,
            is_pinned: false,
        }
    }

    fn grouped(seen: Vec<Seen>, joined: &[Joined], silent: &[u64]) -> Vec<Disk> {
        let seen = seen.into_iter().map(Ok).collect();
        let is_silent = |sequence| silent.contains(&sequence);
        let disks = group(seen, joined, &is_silent).into_iter();
        disks.map(Result::unwrap).collect()
    }

    fn names(disk: &Disk) -> Vec<&str> {
        disk.paths.iter().map(|path| path.name.as_str()).collect()
    }

    #[test]
    fn two_devices_with_one_designator_are_one_disk_and_others_stay_as_they_are() {
        let disks = grouped(
            vec![
                seen("sda", "naa.1", 1),
                seen("sdb", "naa.2", 2),
                seen("sdc", "naa.1", 3),
            ],
            &[],
            &[],
        );
        assert_eq!(disks.len(), 2);
        assert_eq!(names(&disks[0]), ["sda", "sdc"]);
        assert_eq!(disks[0].path, Path::new("/dev/sda"));
        // One path is no paths: nothing changes for such a disk.
        assert_eq!((disks[1].name.as_str(), names(&disks[1]).len()), ("sdb", 0));
    }

    #[test]
    fn a_serial_number_alone_joins_nothing_nor_do_disks_of_two_sizes() {
        for id in ["serial.ACME.Disk.1", "md.1"] {
            let disks = grouped(vec![seen("sda", id, 1), seen("sdb", id, 2)], &[], &[]);
            assert_eq!(disks.len(), 2, "{id}");
        }
        let mut other = seen("sdb", "naa.1", 2);
        other.disk.bytes += 512;
        assert_eq!(
            grouped(vec![seen("sda", "naa.1", 1), other], &[], &[]).len(),
            2
        );
        let mut other = seen("sdb", "naa.1", 2);
        other.disk.logical_block = 4096;
        assert_eq!(
            grouped(vec![seen("sda", "naa.1", 1), other], &[], &[]).len(),
            2
        );
    }

    #[test]
    fn a_standby_reads_through_a_path_that_answers_and_calls_the_disk_what_it_was_called() {
        let both = || vec![seen("sda", "naa.1", 1), seen("sdc", "naa.1", 3)];
        let disk = grouped(both(), &[], &[1]).remove(0);
        assert_eq!(
            (disk.name.as_str(), disk.path.as_path()),
            ("sda", Path::new("/dev/sdc"))
        );
        assert_eq!(disk.number, (8, 48));
        let mut given_up = both();
        given_up[0].is_running = false;
        assert_eq!(
            grouped(given_up, &[], &[]).remove(0).path,
            Path::new("/dev/sdc")
        );
        // Nothing answers: then any is as good.
        assert_eq!(
            grouped(both(), &[], &[1, 3]).remove(0).path,
            Path::new("/dev/sda")
        );
    }

    #[test]
    fn a_disk_that_is_claimed_is_written_through_a_path_of_the_claim_whatever_the_others_answer() {
        let both = || vec![seen("sda", "naa.pinned", 1), seen("sdc", "naa.pinned", 3)];
        let before = grouped(both(), &[], &[]).remove(0);
        assert_eq!(before.path, Path::new("/dev/sda"));
        let claimed = pin(&before, &["sdc".to_owned()]);
        assert_eq!((claimed.path, claimed.number), ("/dev/sdc".into(), (8, 48)));
        let id = &before.id;
        assert!(is_pinned(id, 3) && !is_pinned(id, 1));
        let mut now = both();
        for path in &mut now {
            path.is_pinned = is_pinned(id, path.disk.sequence);
        }
        let disk = grouped(now, &[], &[3]).remove(0);
        assert_eq!((disk.path, disk.name.as_str()), ("/dev/sdc".into(), "sda"));
        // Nothing changes where the path in use is one of the claim's.
        let claimed = pin(&before, &["sda".to_owned(), "sdc".to_owned()]);
        assert_eq!(claimed, before);
        unpin(id);
        assert!(!is_pinned(id, 3));
    }

    #[test]
    fn a_disk_that_was_claimed_by_its_only_path_is_written_through_that_when_another_one_turns_up()
    {
        let first = || seen("sdc", "naa.alone", 3);
        let claimed = grouped(vec![first()], &[], &[]).remove(0);
        assert_eq!(pin(&claimed, &["sdc".to_owned()]), claimed);
        // Under an old name, before that one in no order; nothing stands on the first yet, and it is slow just now.
        let mut both = vec![first(), seen("sda", "naa.alone", 4)];
        for path in &mut both {
            path.is_pinned = is_pinned(&claimed.id, path.disk.sequence);
        }
        let disk = grouped(both, &[], &[3]).remove(0);
        assert_eq!((disk.path, disk.number), (claimed.path, claimed.number));
        // A path that came back is another one.
        unpin(&claimed.id);
        assert!(!is_pinned(&claimed.id, 3));
    }

    #[test]
    fn a_path_that_came_later_is_not_written_through_while_something_stands_on_the_other() {
        let mut both = vec![seen("sdb", "naa.1", 7), seen("sda", "naa.1", 9)];
        both[0].is_used = true;
        let disk = grouped(both, &[], &[7]).remove(0);
        assert_eq!(
            (disk.name.as_str(), disk.path.as_path()),
            ("sdb", Path::new("/dev/sdb"))
        );
    }

    #[test]
    fn the_device_that_joins_paths_is_the_disk_even_when_one_path_is_left() {
        let joined = [Joined {
            id: "naa.1".to_owned(),
            disk: "sda".to_owned(),
            number: (254, 3),
        }];
        let disk = grouped(vec![seen("sdc", "naa.1", 3)], &joined, &[]).remove(0);
        assert_eq!(
            (disk.name.as_str(), disk.path.as_path()),
            ("sda", Path::new("/dev/dm-3"))
        );
        assert_eq!((disk.number, names(&disk)), ((254, 3), vec!["sdc"]));
    }
}
