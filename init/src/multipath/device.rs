//! A device that joins the paths of one disk: made after its claim, gone before its release.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::Step;
use crate::disk::{Disk, DiskId, paths};
use crate::sys::dm::Control;

use super::table::{self, PathStatus};

/// A device is given back a moment after the last one who had it open; a release has its own limit.
const BUSY_TRIES: u32 = 40;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{disk}: paths: {step}: {source}")]
pub struct PathsError {
    /// The disk.
    pub disk: String,
    /// What was being done.
    pub step: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// A device that joins paths.
#[derive(Clone, Debug)]
pub struct Device {
    /// What the disk is called.
    pub disk: String,
    uuid: String,
}

impl Device {
    /// The device of a disk.
    pub fn of(disk: &str, id: &DiskId) -> Device {
        Device {
            disk: disk.to_owned(),
            uuid: paths::joined_uuid(id),
        }
    }

    fn failed(&self, step: &'static str) -> impl FnOnce(io::Error) -> PathsError {
        let disk = self.disk.clone();
        move |source| PathsError { disk, step, source }
    }

    /// Makes it, over these paths of the disk, the first of which is used.
    ///
    /// # Errors
    /// There is none then.
    pub fn make(&self, disk: &Disk, numbers: &[(u32, u32)]) -> Result<PathBuf, PathsError> {
        let control = Control::open().map_err(self.failed("open device-mapper"))?;
        let name = paths::joined_name(&self.disk);
        let made = control.create(&name, &self.uuid);
        let info = made.map_err(self.failed("create"))?;
        let fill = || -> Result<(), PathsError> {
            let line = table::line(disk.bytes / 512, numbers);
            let loaded = control.load(&self.uuid, false, &[line]);
            loaded.map_err(self.failed("load table"))?;
            let resumed = control.resume(&self.uuid);
            resumed.map_err(self.failed("resume"))?;
            // Nobody knows the device yet: no I/O meets a spare.
            numbers
                .iter()
                .skip(1)
                .try_for_each(|number| self.tell("fail_path", Some(*number)))
        };
        if let Err(error) = fill() {
            // What stands of it would keep the disk from every later claim.
            let _ = self.remove();
            return Err(error);
        }
        Ok(PathBuf::from(format!("/dev/dm-{}", info.number.1)))
    }

    /// Removes it. I/O that it holds back fails. Idempotent.
    ///
    /// # Errors
    /// It is in use, or the kernel's.
    pub fn remove(&self) -> Result<Step, PathsError> {
        let control = Control::open().map_err(self.failed("open device-mapper"))?;
        let mut tries = 0;
        loop {
            tries += 1;
            match control.remove(&self.uuid) {
                Ok(true) => return Ok(Step::Changed),
                Ok(false) => return Ok(Step::Already),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < BUSY_TRIES => {
                    thread::sleep(BUSY_PAUSE);
                }
                Err(source) => return Err(self.failed("remove")(source)),
            }
        }
    }

    /// What the kernel says of its paths. Waits for no disk.
    ///
    /// # Errors
    /// The kernel's, or it says what is not understood.
    pub fn status(&self, control: &Control) -> Result<Vec<PathStatus>, PathsError> {
        let lines = control.target_status(&self.uuid);
        let lines = lines.map_err(self.failed("status"))?;
        let status = lines.first().and_then(table::parse);
        status.ok_or_else(|| self.failed("status")(io::ErrorKind::InvalidData.into()))
    }

    /// Sends a message, about one path or all.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tell(&self, what: &'static str, path: Option<(u32, u32)>) -> Result<(), PathsError> {
        let control = Control::open().map_err(self.failed("open device-mapper"))?;
        let text = match path {
            Some((major, minor)) => format!("{what} {major}:{minor}"),
            None => what.to_owned(),
        };
        let told = control.message(&self.uuid, 0, &text);
        told.map_err(self.failed(what))
    }
}
