//! The kernel's settings that make a broken head die instead of linger, as a table.
//!
//! A head that half works is worse than a dead one: its beats go on while its disks or its clients do
//! not. So whatever shows that the kernel is broken becomes a panic, and a panic becomes a reboot; the
//! peer takes over after `dead`, and this head comes back as a standby.
//!
//! Not chosen: `hung_task_panic`. A task that waits minutes for a disk is what a shelf without power
//! looks like, on both heads at once; resetting them again and again would only hide the reason from
//! the operator. A release that hangs is ended by its own time limit. The kernel still warns, and
//! `log` shows the warning.

use std::{fs, io, path::Path};

use thiserror::Error;

use crate::Step;

/// A setting that did not take.
#[derive(Debug, Error)]
#[error("kernel setting {name} = {value}: {errno}")]
pub struct SettingError {
    /// Its path below `/proc/sys`.
    pub name: &'static str,
    /// What it should be.
    pub value: &'static str,
    /// The kernel's answer.
    pub errno: io::Error,
}

/// One kernel setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    name: &'static str,
    value: &'static str,
    /// Present only with certain kernel options; a kernel without it is no error.
    optional: bool,
}

/// All settings that `system` makes. Those of the network are with the network.
pub const SETTINGS: [Setting; 9] = [
    // Long enough to read the last lines on the console, short against a boot.
    Setting {
        name: "kernel/panic",
        value: "10",
        optional: false,
    },
    // After an oops some lock stays held for ever: no release would ever finish.
    Setting {
        name: "kernel/panic_on_oops",
        value: "1",
        optional: false,
    },
    // A CPU that loops in the kernel for 20 s (twice watchdog_thresh). A virtual machine that was
    // stopped that long looks alike, and has been replaced meanwhile anyway.
    Setting {
        name: "kernel/softlockup_panic",
        value: "1",
        optional: true,
    },
    Setting {
        name: "kernel/hardlockup_panic",
        value: "1",
        optional: true,
    },
    // Memory parity and the like: what is on its way to the disks cannot be trusted any more.
    Setting {
        name: "kernel/panic_on_unrecovered_nmi",
        value: "1",
        optional: true,
    },
    // Say it while the operator can still connect it with what happened; see above for the panic.
    Setting {
        name: "kernel/hung_task_timeout_secs",
        value: "30",
        optional: true,
    },
    Setting {
        name: "kernel/hung_task_panic",
        value: "0",
        optional: true,
    },
    // Our lines go to the kernel's log as well; by default it takes ten of them in five seconds.
    Setting {
        name: "kernel/printk_devkmsg",
        value: "on",
        optional: true,
    },
    // Magic keys by BREAK on the serial console: a pulled cable sends BREAK, and noise after it could
    // be any key. The reset's trigger file does not obey this mask.
    Setting {
        name: "kernel/sysrq",
        value: "0",
        optional: true,
    },
];

/// Makes all of [`SETTINGS`]; one failure does not keep the others from being made.
pub fn apply_all() -> Vec<Result<Step, SettingError>> {
    SETTINGS
        .iter()
        .map(|one| one.apply_below(Path::new("/proc/sys")))
        .collect()
}

impl Setting {
    /// Writes the setting unless it has the value already, and reads it back.
    fn apply_below(&self, root: &Path) -> Result<Step, SettingError> {
        let path = root.join(self.name);
        let failed = |errno| SettingError {
            name: self.name,
            value: self.value,
            errno,
        };
        let read = || fs::read_to_string(&path).map(|text| text.trim() == self.value);
        match read() {
            Ok(true) => return Ok(Step::Already),
            Ok(false) => {}
            Err(error) if self.optional && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Step::Already);
            }
            Err(error) => return Err(failed(error)),
        }
        // With a line end: `printk_devkmsg` takes its word only as `echo` writes it.
        fs::write(&path, format!("{}\n", self.value)).map_err(failed)?;
        if read().map_err(failed)? {
            Ok(Step::Changed)
        } else {
            Err(failed(io::Error::other(
                "accepted, but reads back as something else",
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_changed_once_and_a_missing_optional_one_is_no_error() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("kernel")).unwrap();
        fs::write(root.join("kernel/panic"), "0\n").unwrap();
        let panic = &SETTINGS[0];
        assert_eq!(panic.apply_below(root).unwrap(), Step::Changed);
        assert_eq!(panic.apply_below(root).unwrap(), Step::Already);
        let optional = SETTINGS.iter().find(|one| one.optional).unwrap();
        assert_eq!(optional.apply_below(root).unwrap(), Step::Already);
        let needed = &SETTINGS[1];
        assert!(
            needed
                .apply_below(root)
                .unwrap_err()
                .to_string()
                .contains("panic_on_oops = 1")
        );
    }
}
