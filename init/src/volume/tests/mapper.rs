//! A device-mapper in memory, and what activation leaves there when a call fails half-way.
//!
//! It knows what stands on what by the numbers in the tables, and lets go of nothing that is in use.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use super::super::active::{VolumeError, activate_on, reactivate_on};
use super::super::mapper::Mapper;
use super::super::merge::{Merge, MergeState, merges_on};
use super::super::resync::tests::{image, resync_of};
use super::made::{HIDDEN, Made, VISIBLE};
use crate::sys::dm::{Info, TableLine};
use crate::volume::{Choice, Plan, VolumeGroup};

/// Of its devices.
const MAJOR: u32 = 254;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    uuid: String,
    name: String,
    minor: u32,
    live: Option<(bool, Vec<TableLine>)>,
    waits: Option<(bool, Vec<TableLine>)>,
    is_suspended: bool,
}

impl Device {
    fn info(&self) -> Info {
        Info {
            number: (MAJOR, self.minor),
            name: self.name.clone(),
            open_count: 0,
            is_live: self.live.is_some(),
            has_inactive: self.waits.is_some(),
            is_suspended: self.is_suspended,
            is_read_only: self.live.as_ref().is_some_and(|(read_only, _)| *read_only),
        }
    }

    fn stands_on(&self, minor: u32) -> bool {
        let number = format!("{MAJOR}:{minor}");
        let mut lines = self
            .live
            .iter()
            .chain(&self.waits)
            .flat_map(|(_, lines)| lines);
        lines.any(|line| line.parameters.split(' ').any(|word| word == number))
    }
}

#[derive(Default)]
struct Memory {
    devices: RefCell<Vec<Device>>,
    next: RefCell<u32>,
    /// By name: somebody has them open.
    open: RefCell<Vec<&'static str>>,
    /// What a target says that merges a snapshot.
    says: RefCell<&'static str>,
    /// What is on them, by name.
    bytes: RefCell<HashMap<String, Vec<u8>>>,
    /// The call that fails next, and of which device, by name.
    fails: RefCell<Option<(&'static str, &'static str)>>,
}

impl Memory {
    fn of<T>(
        &self,
        call: &'static str,
        uuid: &str,
        run: impl FnOnce(&mut Device) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut devices = self.devices.borrow_mut();
        let device = devices.iter_mut().find(|device| device.uuid == uuid);
        let device = device.ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))?;
        if *self.fails.borrow() == Some((call, &device.name)) {
            self.fails.take();
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        run(device)
    }

    /// What is on a device that takes I/O.
    fn at(&self, number: (u32, u32), run: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let devices = self.devices.borrow();
        let device = devices.iter().find(|one| (MAJOR, one.minor) == number);
        let device = device.filter(|one| one.live.is_some() && !one.is_suspended);
        let device = device.ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))?;
        run(self
            .bytes
            .borrow_mut()
            .entry(device.name.clone())
            .or_default());
        Ok(())
    }

    /// Its devices by name, with their tables, which name others by name; and whether they hold I/O back.
    fn shown(&self) -> Vec<(String, String, bool)> {
        let devices = self.devices.borrow();
        let name_of = |word: &str| {
            let minor = word.strip_prefix("254:")?.parse::<u32>().ok()?;
            let device = devices.iter().find(|device| device.minor == minor)?;
            Some(device.name.clone())
        };
        let mut shown: Vec<_> = devices
            .iter()
            .map(|device| {
                assert_eq!(device.waits, None, "{}", device.name);
                let lines = device.live.iter().flat_map(|(_, lines)| lines);
                let lines: Vec<String> = lines.map(TableLine::to_string).collect();
                let words = lines.join("; ");
                let words: Vec<String> = words
                    .split(' ')
                    .map(|word| name_of(word).unwrap_or_else(|| word.to_owned()))
                    .collect();
                (device.name.clone(), words.join(" "), device.is_suspended)
            })
            .collect();
        shown.sort();
        shown
    }
}

impl Mapper for Memory {
    fn create(&self, name: &str, uuid: &str) -> io::Result<Info> {
        let mut next = self.next.borrow_mut();
        let device = Device {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            minor: *next,
            live: None,
            waits: None,
            is_suspended: true,
        };
        *next += 1;
        let info = device.info();
        self.devices.borrow_mut().push(device);
        Ok(info)
    }

    fn status(&self, uuid: &str) -> io::Result<Option<Info>> {
        match self.of("status", uuid, |device| Ok(device.info())) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            known => known.map(Some),
        }
    }

    fn load(&self, uuid: &str, read_only: bool, lines: &[TableLine]) -> io::Result<()> {
        self.of("load", uuid, |device| {
            device.waits = Some((read_only, lines.to_vec()));
            Ok(())
        })
    }

    fn clear(&self, uuid: &str) -> io::Result<()> {
        self.of("clear", uuid, |device| {
            device.waits = None;
            Ok(())
        })
    }

    fn resume(&self, uuid: &str) -> io::Result<Info> {
        self.of("resume", uuid, |device| {
            if let Some(waits) = device.waits.take() {
                device.live = Some(waits);
            }
            device.is_suspended = false;
            Ok(device.info())
        })
    }

    fn suspend(&self, uuid: &str) -> io::Result<()> {
        self.of("suspend", uuid, |device| {
            device.is_suspended = true;
            Ok(())
        })
    }

    fn rename(&self, old: &str, new: &str) -> io::Result<()> {
        let mut devices = self.devices.borrow_mut();
        let device = devices.iter_mut().find(|device| device.name == old);
        device.unwrap().name = new.to_owned();
        Ok(())
    }

    fn table(&self, uuid: &str) -> io::Result<Vec<TableLine>> {
        self.of("table", uuid, |device| {
            let live = device.live.as_ref();
            Ok(live.map(|(_, lines)| lines.clone()).unwrap_or_default())
        })
    }

    fn target_status(&self, uuid: &str) -> io::Result<Vec<TableLine>> {
        let mut lines = self.table(uuid)?;
        for line in &mut lines {
            if line.kind == "snapshot-merge" {
                line.parameters = (*self.says.borrow()).to_owned();
            }
        }
        Ok(lines)
    }

    fn message(&self, uuid: &str, _sector: u64, _text: &str) -> io::Result<()> {
        self.of("message", uuid, |_| Ok(()))
    }

    fn remove(&self, uuid: &str) -> io::Result<bool> {
        let device = match self.of("remove", uuid, |device| Ok(device.clone())) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(false),
            device => device?,
        };
        let mut devices = self.devices.borrow_mut();
        let is_used = devices.iter().any(|one| one.stands_on(device.minor));
        if is_used || self.open.borrow().contains(&device.name.as_str()) {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        devices.retain(|one| one.uuid != uuid);
        Ok(true)
    }

    fn read(&self, number: (u32, u32), offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut read = vec![0; length];
        self.at(number, |bytes| {
            let there = bytes.iter().skip(offset as usize);
            for (into, byte) in read.iter_mut().zip(there) {
                *into = *byte;
            }
        })?;
        Ok(read)
    }

    fn write(&self, number: (u32, u32), offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset as usize..offset as usize + bytes.len();
        self.at(number, |there| there[range].copy_from_slice(bytes))
    }
}

/// A mirror, one more volume, and so many snapshots of the former.
fn group(snapshots: usize) -> VolumeGroup {
    group_with(snapshots, None)
}

/// The same while the last of them is merged into its origin.
fn merging(snapshots: usize) -> VolumeGroup {
    group_with(snapshots, Some(snapshots - 1))
}

fn group_with(snapshots: usize, merging: Option<usize>) -> VolumeGroup {
    let mut made = Made::on(3).raid("vol", "raid1", &[0, 1]).simple("zero", 2);
    for number in 0..snapshots {
        let store = format!("snap{number}");
        let key = match merging == Some(number) {
            true => "merging_store",
            false => "cow_store",
        };
        let tie =
            format!("type = \"snapshot\"\nchunk_size = 8\norigin = \"vol\"\n{key} = \"{store}\"");
        made = made.linear(&store, HIDDEN, 2, 2).volume(
            &format!("snapshot{number}"),
            VISIBLE,
            4,
            &tie,
        );
    }
    made.group()
}

fn names(memory: &Memory) -> Vec<String> {
    memory.shown().into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn snapshots_come_and_go_and_leave_nothing() {
    let memory = Memory::default();
    activate_on(&memory, &group(0)).volumes.unwrap();
    let before = memory.shown();
    reactivate_on(&memory, &group(0), &group(2)).unwrap();
    reactivate_on(&memory, &group(2), &group(1)).unwrap();
    assert!(names(&memory).contains(&"tank-snap0".to_owned()));
    reactivate_on(&memory, &group(1), &group(0)).unwrap();
    assert_eq!(memory.shown(), before);
}

#[test]
fn a_device_that_is_of_no_use_any_more_and_stays_is_told_of_and_goes_at_the_next_try() {
    let memory = Memory::default();
    activate_on(&memory, &group(2)).volumes.unwrap();
    *memory.open.borrow_mut() = vec!["tank-snap1"];
    for _ in 0..2 {
        let stays = reactivate_on(&memory, &group(2), &group(1));
        assert!(
            matches!(&stays, Err(VolumeError::Call { device, step: "remove", .. }) if device == "tank-snap1"),
            "{stays:?}"
        );
        assert!(
            memory
                .shown()
                .iter()
                .all(|(.., is_suspended)| !is_suspended)
        );
    }
    memory.open.borrow_mut().clear();
    reactivate_on(&memory, &group(2), &group(1)).unwrap();
    let fresh = Memory::default();
    activate_on(&fresh, &group(1)).volumes.unwrap();
    assert_eq!(memory.shown(), fresh.shown());
}

#[test]
fn a_snapshot_that_fails_before_its_origin_goes_on_or_after_leaves_nothing() {
    for (call, device) in [
        ("load", "tank-vol-real"),
        ("load", "tank-snap0"),
        ("table", "tank-vol"),
        ("load", "tank-vol"),
        // By then the origin stands on its layer, and clients write.
        ("status", "tank-zero"),
    ] {
        let memory = Memory::default();
        activate_on(&memory, &group(0)).volumes.unwrap();
        let before = memory.shown();
        *memory.fails.borrow_mut() = Some((call, device));
        let failed = reactivate_on(&memory, &group(0), &group(1));
        assert!(failed.is_err(), "{call} {device}");
        assert_eq!(memory.shown(), before, "{call} {device}");
        // So that it can be tried again.
        reactivate_on(&memory, &group(0), &group(1)).unwrap();
    }
}

#[test]
fn an_origin_that_goes_on_without_its_snapshot_does_not_get_it_back() {
    let memory = Memory::default();
    activate_on(&memory, &group(1)).volumes.unwrap();
    *memory.fails.borrow_mut() = Some(("status", "tank-zero"));
    assert!(reactivate_on(&memory, &group(1), &group(0)).is_err());
    let table = |memory: &Memory| {
        let shown = memory.shown();
        let mut origin = shown.into_iter().filter(|(name, ..)| name == "tank-vol");
        origin.next().unwrap()
    };
    let fresh = Memory::default();
    activate_on(&fresh, &group(0)).volumes.unwrap();
    // What was written to it since is not in the snapshot.
    assert_eq!(table(&memory), table(&fresh));
    reactivate_on(&memory, &group(1), &group(0)).unwrap();
    assert_eq!(memory.shown(), fresh.shown());
}

#[test]
fn a_snapshot_that_is_written_down_as_lost_fails_all_that_comes_and_has_no_store() {
    let lost = |snapshots: usize| {
        let mut group = group(snapshots);
        for lv in &mut group.lvs {
            lv.is_lost = lv.name == "snap0";
        }
        group
    };
    let fresh = Memory::default();
    activate_on(&fresh, &lost(2)).volumes.unwrap();
    let shown = fresh.shown();
    let table = |name: &str| {
        let device = shown.iter().find(|(device, ..)| device == name);
        device.map(|(_, table, _)| table.as_str())
    };
    // As long as it was, so that its LUN stays what it is.
    assert_eq!(table("tank-snap0"), Some("0 32768 error "));
    assert_eq!(table("tank-snap0-cow"), None);
    assert!(table("tank-snap1").unwrap().contains("snapshot"));
    assert_eq!(
        table("tank-vol"),
        Some("0 32768 snapshot-origin tank-vol-real")
    );
    // Under its owner, with the next change.
    let memory = Memory::default();
    activate_on(&memory, &group(2)).volumes.unwrap();
    reactivate_on(&memory, &group(2), &lost(2)).unwrap();
    assert_eq!(memory.shown(), fresh.shown());
}

fn table_of(memory: &Memory, name: &str) -> Option<String> {
    let mut shown = memory.shown().into_iter();
    shown.find_map(|(device, table, _)| (device == name).then_some(table))
}

#[test]
fn an_origin_with_a_merge_is_the_store_and_the_layer_together_and_the_snapshot_is_nobodys() {
    let memory = Memory::default();
    let active = activate_on(&memory, &merging(2)).volumes.unwrap();
    let table = |name| table_of(&memory, name);
    let merge = "0 32768 snapshot-merge tank-vol-real tank-snap1-cow P 8";
    assert_eq!(table("tank-vol").as_deref(), Some(merge));
    assert_eq!(table("tank-snap1").as_deref(), Some("0 32768 error "));
    let other = "0 32768 snapshot tank-vol-real tank-snap0-cow P 8";
    assert_eq!(table("tank-snap0").as_deref(), Some(other));
    let usable: Vec<&str> = active.iter().map(|one| one.lv.as_str()).collect();
    assert_eq!(usable, ["snap0", "vol", "zero"]);
    // What the merge writes is copied to the other one first, which must be there by then.
    let devices = memory.devices.borrow();
    let place = |name: &str| devices.iter().position(|one| one.name == name).unwrap();
    assert!(place("tank-snap0") < place("tank-vol"));
}

#[test]
fn a_merge_begins_on_devices_that_were_gone_and_ends_under_whoever_uses_the_origin() {
    for snapshots in [1, 2] {
        let memory = Memory::default();
        activate_on(&memory, &group(snapshots)).volumes.unwrap();
        let plan = Plan::new(&group(snapshots), &Choice::serving()).unwrap();
        let last = format!("snap{}", snapshots - 1);
        for name in ["vol", &last] {
            let lvs = group(snapshots).lvs;
            let lv = lvs.iter().position(|lv| lv.name == name).unwrap();
            for device in plan.only_for(lv) {
                assert!(memory.remove(&device.uuid).unwrap(), "{}", device.name);
            }
        }
        reactivate_on(&memory, &group(snapshots), &merging(snapshots)).unwrap();
        let fresh = Memory::default();
        activate_on(&fresh, &merging(snapshots)).volumes.unwrap();
        assert_eq!(memory.shown(), fresh.shown());
        *memory.open.borrow_mut() = vec!["tank-vol"];
        reactivate_on(&memory, &merging(snapshots), &group(snapshots - 1)).unwrap();
        let fresh = Memory::default();
        activate_on(&fresh, &group(snapshots - 1)).volumes.unwrap();
        assert_eq!(memory.shown(), fresh.shown());
    }
}

#[test]
fn an_end_that_fails_leaves_the_origin_what_it_was_and_can_be_tried_again() {
    for (call, device) in [
        ("suspend", "tank-vol"),
        ("suspend", "tank-vol-real"),
        ("table", "tank-vol"),
        ("load", "tank-vol"),
        ("resume", "tank-vol"),
    ] {
        let memory = Memory::default();
        activate_on(&memory, &merging(1)).volumes.unwrap();
        let before = memory.shown();
        *memory.fails.borrow_mut() = Some((call, device));
        let failed = reactivate_on(&memory, &merging(1), &group(0));
        assert!(failed.is_err(), "{call} {device}");
        assert_eq!(memory.shown(), before, "{call} {device}");
        reactivate_on(&memory, &merging(1), &group(0)).unwrap();
        let fresh = Memory::default();
        activate_on(&fresh, &group(0)).volumes.unwrap();
        assert_eq!(memory.shown(), fresh.shown());
    }
}

#[test]
fn a_store_that_stays_when_a_merge_ends_is_told_of_and_goes_at_the_next_try() {
    let memory = Memory::default();
    activate_on(&memory, &merging(2)).volumes.unwrap();
    *memory.open.borrow_mut() = vec!["tank-snap1-cow"];
    for _ in 0..2 {
        let stays = reactivate_on(&memory, &merging(2), &group(1));
        assert!(
            matches!(&stays, Err(VolumeError::Call { device, step: "remove", .. }) if device == "tank-snap1-cow"),
            "{stays:?}"
        );
        // By then it is no merge any more, and none that could be ended.
        *memory.says.borrow_mut() = "16/8192 16";
        assert_eq!(merges_on(&memory, &merging(2)).unwrap(), []);
    }
    memory.open.borrow_mut().clear();
    reactivate_on(&memory, &merging(2), &group(1)).unwrap();
    let fresh = Memory::default();
    activate_on(&fresh, &group(1)).volumes.unwrap();
    assert_eq!(memory.shown(), fresh.shown());
}

#[test]
fn what_the_kernel_says_of_a_merge_is_told_with_both_names() {
    let memory = Memory::default();
    activate_on(&memory, &merging(2)).volumes.unwrap();
    for (says, state) in [
        ("1040/8192 16", MergeState::UnderWay(1024)),
        ("16/8192 16", MergeState::Over),
        ("Merge failed", MergeState::Failed),
        ("Invalid", MergeState::Void),
    ] {
        *memory.says.borrow_mut() = says;
        let merge = Merge {
            origin: "vol".to_owned(),
            snapshot: "snap1".to_owned(),
            state,
        };
        assert_eq!(merges_on(&memory, &merging(2)).unwrap(), [merge], "{says}");
    }
    assert_eq!(merges_on(&memory, &group(2)).unwrap(), []);
}

#[test]
fn a_mirror_that_was_not_stopped_is_made_equal_before_it_is_there() {
    let on_disk = |resync: u64, set: &[u64]| {
        let memory = Memory::default();
        for name in ["tank-vol_rmeta_0", "tank-vol_rmeta_1"] {
            let bytes = image(9, u64::MAX, resync, 192, set);
            memory.bytes.borrow_mut().insert(name.to_owned(), bytes);
        }
        memory
    };
    let said = |memory: &Memory| -> Vec<u64> {
        let bytes = memory.bytes.borrow();
        let superblocks = ["tank-vol_rmeta_0", "tank-vol_rmeta_1"];
        superblocks
            .iter()
            .map(|name| resync_of(&bytes[*name]))
            .collect()
    };
    let memory = on_disk(u64::MAX, &[4]);
    let before = memory.bytes.borrow().clone();
    // Before MD reads them.
    *memory.fails.borrow_mut() = Some(("load", "tank-vol"));
    assert!(activate_on(&memory, &group(0)).volumes.is_err());
    assert_eq!(said(&memory), [0, 0]);
    activate_on(&memory, &group(0)).volumes.unwrap();
    assert_eq!(said(&memory), [0, 0]);
    for (name, bytes) in memory
        .bytes
        .borrow()
        .iter()
        .filter(|(_, bytes)| !bytes.is_empty())
    {
        let changed = bytes
            .iter()
            .zip(&before[name])
            .filter(|(now, then)| now != then);
        assert_eq!(changed.count(), 8, "{name}");
    }
    // Stopped in order.
    let memory = on_disk(u64::MAX, &[]);
    activate_on(&memory, &group(0)).volumes.unwrap();
    assert_eq!(said(&memory), [u64::MAX; 2]);
    // While it is served its bits come and go.
    let set = image(9, u64::MAX, u64::MAX, 192, &[7]);
    for name in ["tank-vol_rmeta_0", "tank-vol_rmeta_1"] {
        memory
            .bytes
            .borrow_mut()
            .insert(name.to_owned(), set.clone());
    }
    activate_on(&memory, &group(0)).volumes.unwrap();
    assert_eq!(said(&memory), [u64::MAX; 2]);
}
