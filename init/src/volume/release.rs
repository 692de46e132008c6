//! What activation made, taken away: every device of a volume group, from the top down.
//!
//! The devices are found by the uuid of the group and what they stand on is asked of the kernel, so that those go too
//! which the metadata no longer name.

use std::collections::HashMap;
use std::io;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use super::active::VolumeError;
use super::mapper::Mapper;
use super::plan::uuid_prefix;
use super::uuid::Uuid;
use crate::Step;
use crate::sys::dm::{Control, Dependencies};

/// Devices that are removed at once.
const MOST_AT_ONCE: usize = 16;

/// How often, and how long each time, a device that is still open is tried again: a closed one is given
/// back by the kernel a moment later. Longer waits are the caller's, who knows the limit of the release.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Removes all devices of a volume group, each before what it stands on. Idempotent. Fails while one is in use.
pub fn deactivate(group: &Uuid) -> Result<Step, VolumeError> {
    let devices = active_devices(group)?;
    if devices.is_empty() {
        return Ok(Step::Already);
    }
    let control = Control::open().map_err(VolumeError::Control)?;
    let mut numbers = Vec::new();
    let mut below = Vec::new();
    for device in &devices {
        let found = control.dependencies(&device.uuid);
        let found = found.map_err(|source| VolumeError::Call {
            device: device.name.clone(),
            step: "dependencies",
            source,
        })?;
        // One that went away meanwhile stands on nothing.
        let found = found.unwrap_or(Dependencies {
            number: (0, device.minor),
            below: Vec::new(),
        });
        numbers.push(found.number);
        below.push(found.below);
    }
    for wave in from_the_top(&numbers, &below) {
        remove_all(
            &control,
            wave.iter().map(|index| &devices[*index]).collect(),
        )?;
    }
    Ok(Step::Changed)
}

/// Removes devices of which none stands on another one, some at a time: each waits some milliseconds until no processor
/// looks at it any more, and a release has no time to wait for a hundred one after the other.
fn remove_all(control: &Control, devices: Vec<&ActiveDevice>) -> Result<(), VolumeError> {
    let share = devices.len().div_ceil(MOST_AT_ONCE).max(1);
    let remove_some = |some: &[&ActiveDevice]| {
        some.iter()
            .try_for_each(|device| remove(control, &device.name, &device.uuid))
    };
    thread::scope(|scope| {
        let (own, others) = devices.split_at(share.min(devices.len()));
        let others = others.chunks(share);
        let workers: Vec<_> = others
            .map(|some| {
                let worker = thread::Builder::new().spawn_scoped(scope, move || remove_some(some));
                // Without a thread it is done here.
                worker.map_err(|_| some)
            })
            .collect();
        let mut result = remove_some(own);
        for worker in workers {
            let removed = match worker {
                Ok(worker) => worker.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(some) => remove_some(some),
            };
            result = result.and(removed);
        }
        result
    })
}

/// Devices in the order in which they can be removed, in waves: nothing in a wave stands on anything in it, and what
/// stands on it is in an earlier one. Device numbers, and what each stands on; what is not among the devices does not
/// count.
fn from_the_top(numbers: &[(u32, u32)], below: &[Vec<(u32, u32)>]) -> Vec<Vec<usize>> {
    let places: HashMap<(u32, u32), usize> = numbers
        .iter()
        .enumerate()
        .map(|(place, number)| (*number, place))
        .collect();
    let below: Vec<Vec<usize>> = below
        .iter()
        .map(|below| {
            below
                .iter()
                .filter_map(|number| places.get(number).copied())
                .collect()
        })
        .collect();
    let mut users = vec![0_usize; numbers.len()];
    below.iter().flatten().for_each(|place| users[*place] += 1);
    let mut wave: Vec<usize> = (0..numbers.len())
        .filter(|place| users[*place] == 0)
        .collect();
    let mut waves = Vec::new();
    while !wave.is_empty() {
        let mut next = Vec::new();
        for lower in wave.iter().flat_map(|place| &below[*place]) {
            users[*lower] -= 1;
            if users[*lower] == 0 {
                next.push(*lower);
            }
        }
        waves.push(std::mem::replace(&mut wave, next));
    }
    waves
}

pub(super) fn remove(control: &dyn Mapper, name: &str, uuid: &str) -> Result<(), VolumeError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match control.remove(uuid) {
            Ok(_) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < BUSY_TRIES => {
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(source) => {
                return Err(VolumeError::Call {
                    device: name.to_owned(),
                    step: "remove",
                    source,
                });
            }
        }
    }
}

/// A device of a volume group in this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveDevice {
    /// Its minor number.
    pub minor: u32,
    /// Its device-mapper name.
    pub name: String,
    /// Its device-mapper uuid.
    pub uuid: String,
}

/// The devices of a volume group, by minor number; empty where device-mapper is not loaded.
pub fn active_devices(group: &Uuid) -> Result<Vec<ActiveDevice>, VolumeError> {
    let prefix = uuid_prefix(group);
    let mut devices = Vec::new();
    for entry in std::fs::read_dir("/sys/block").map_err(VolumeError::List)? {
        let entry = entry.map_err(VolumeError::List)?;
        let directory = entry.file_name();
        let Some(minor) = directory.to_str().and_then(|name| name.strip_prefix("dm-")) else {
            continue;
        };
        let attribute = |name: &str| std::fs::read_to_string(entry.path().join("dm").join(name));
        let uuid = match attribute("uuid") {
            Ok(uuid) => uuid.trim_end().to_owned(),
            // It went away between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(VolumeError::List(error)),
        };
        if uuid.starts_with(&prefix) {
            devices.push(ActiveDevice {
                minor: minor.parse().unwrap_or(u32::MAX),
                name: attribute("name").unwrap_or_default().trim_end().to_owned(),
                uuid,
            });
        }
    }
    devices.sort_by_key(|device| device.minor);
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_before_what_they_stand_on_whatever_their_numbers() {
        // 3 stands on 1 and 2, 0 on 3; 4 on a disk alone.
        let numbers: Vec<(u32, u32)> = (0..5).map(|minor| (254, minor)).collect();
        let below = [
            vec![(254, 3)],
            vec![(8, 0)],
            vec![(8, 16)],
            vec![(254, 1), (254, 2)],
            vec![(8, 0)],
        ];
        let waves = from_the_top(&numbers, &below);
        let place = |device| {
            waves
                .iter()
                .position(|wave| wave.contains(&device))
                .unwrap()
        };
        assert_eq!(waves.iter().map(Vec::len).sum::<usize>(), 5);
        assert!(place(0) < place(3) && place(3) < place(1) && place(3) < place(2));
    }
}
