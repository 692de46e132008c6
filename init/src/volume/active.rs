//! Activation: what the kernel has of a volume group, brought in line with the metadata, and taken away.
//!
//! Only the owner may activate, after the claim and on metadata read after it. Contents are never looked at:
//! no partition scan, no probing. On release the devices are found by the uuid of the group, so that those
//! go too which the metadata no longer name.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::group::{LogicalVolume, VolumeGroup};
use super::reserved;
use super::table::{self, TableError};
use super::uuid::Uuid;
use crate::Step;
use crate::sys::dm::{Control, TableLine};

/// How often, and how long each time, a device that is still open is tried again: a closed one is given
/// back by the kernel a moment later. Longer waits are the caller's, who knows the limit of the release.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A volume that is ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// The logical volume's name.
    pub lv: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Its device-mapper name.
    pub dm_name: String,
    /// Its device number.
    pub number: (u32, u32),
    /// Its node: `/dev/dm-0`.
    pub node: PathBuf,
    /// Its length in sectors of 512 bytes.
    pub sectors: u64,
    /// It takes writes.
    pub is_writable: bool,
    /// Whether it had to be made.
    pub step: Step,
}

/// Why activation or deactivation failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Device-mapper is not there.
    #[error("/dev/mapper/control: {0}")]
    Control(io::Error),
    /// The volume cannot be described to device-mapper.
    #[error("{lv}: {source}")]
    Table {
        /// The volume.
        lv: String,
        /// Why not.
        source: TableError,
    },
    /// The device exists with another table: it was not made by us from these metadata.
    #[error("{device}: is active with another table: {found}")]
    Different {
        /// Its device-mapper name.
        device: String,
        /// Its table.
        found: String,
    },
    /// A call failed.
    #[error("{device}: device-mapper {step}: {source}")]
    Call {
        /// Its device-mapper name.
        device: String,
        /// The call.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The list of devices could not be read.
    #[error("/sys/block: {0}")]
    List(io::Error),
}

/// Activates all visible volumes but the ledger's, which nobody reaches through device-mapper. What was made here
/// is removed again when one fails.
pub fn activate(group: &VolumeGroup) -> Result<Vec<Active>, VolumeError> {
    let control = Control::open().map_err(VolumeError::Control)?;
    let mut active: Vec<Active> = Vec::new();
    let volumes = group.visible();
    for lv in volumes.filter(|lv| !reserved::is_ledger(&lv.name)) {
        match activate_one(&control, group, lv) {
            Ok(volume) => active.push(volume),
            Err(error) => {
                for made in active.iter().rev().filter(|v| v.step == Step::Changed) {
                    let uuid = table::device_uuid(&group.uuid, &made.uuid);
                    if let Err(error) = remove(&control, &made.dm_name, &uuid) {
                        tracing::error!(%error, "undo of the activation");
                    }
                }
                return Err(error);
            }
        }
    }
    Ok(active)
}

fn activate_one(
    control: &Control,
    group: &VolumeGroup,
    lv: &LogicalVolume,
) -> Result<Active, VolumeError> {
    let name = table::device_name(&group.name, &lv.name);
    let uuid = table::device_uuid(&group.uuid, &lv.uuid);
    let lines = table::table(group, lv).map_err(|source| VolumeError::Table {
        lv: lv.name.clone(),
        source,
    })?;
    let sectors = lines.iter().map(|line| line.length).sum();
    let wanted: Vec<TableLine> = lines
        .iter()
        .map(|line| TableLine {
            start: line.start,
            length: line.length,
            kind: line.target.kind().to_owned(),
            parameters: line.target.parameters(),
        })
        .collect();
    let failed = |step| {
        let device = name.clone();
        move |source| VolumeError::Call {
            device,
            step,
            source,
        }
    };

    let mut step = Step::Already;
    let known = control.status(&uuid).map_err(failed("status"))?;
    let info = match known {
        Some(info) if info.is_live && !info.is_suspended => {
            let found = control.table(&uuid).map_err(failed("table"))?;
            if found != wanted || info.is_read_only == lv.is_writable {
                let found: Vec<String> = found.iter().map(TableLine::to_string).collect();
                return Err(VolumeError::Different {
                    device: name,
                    found: found.join("; "),
                });
            }
            info
        }
        known => {
            step = Step::Changed;
            let made = (|| {
                if known.is_none() {
                    control.create(&name, &uuid).map_err(failed("create"))?;
                }
                control
                    .load(&uuid, !lv.is_writable, &wanted)
                    .map_err(failed("load"))?;
                control.resume(&uuid).map_err(failed("resume"))
            })();
            match made {
                Ok(info) => info,
                Err(error) => {
                    // Nothing uses it yet, so it goes at the first try.
                    if let Err(undo) = control.remove(&uuid) {
                        tracing::error!(device = %name, %undo, "undo of the activation");
                    }
                    return Err(error);
                }
            }
        }
    };
    Ok(Active {
        lv: lv.name.clone(),
        uuid: lv.uuid,
        dm_name: name,
        number: info.number,
        node: PathBuf::from(format!("/dev/dm-{}", info.number.1)),
        sectors,
        is_writable: lv.is_writable,
        step,
    })
}

/// Removes all devices of a volume group, the newest first. Idempotent. Fails while one is in use.
pub fn deactivate(group: &Uuid) -> Result<Step, VolumeError> {
    let devices = active_devices(group)?;
    if devices.is_empty() {
        return Ok(Step::Already);
    }
    let control = Control::open().map_err(VolumeError::Control)?;
    for device in devices.iter().rev() {
        remove(&control, &device.name, &device.uuid)?;
    }
    Ok(Step::Changed)
}

fn remove(control: &Control, name: &str, uuid: &str) -> Result<(), VolumeError> {
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
    let prefix = table::uuid_prefix(group);
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

impl std::fmt::Display for TableLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TableLine {
            start,
            length,
            kind,
            parameters,
        } = self;
        write!(f, "{start} {length} {kind} {parameters}")
    }
}
