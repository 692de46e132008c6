//! The hardware watchdog, fed by the heartbeat thread only.
//!
//! It is what ends a head whose kernel or heartbeat thread is stuck. Which one: the lowest numbered
//! that is real hardware, by `/sys/class/watchdog/*/identity` and not by `/dev/watchdog`, which is
//! whoever's driver came first. The kernel's software watchdog comes last, and is loaded only where there is no
//! other: it ends a heartbeat thread that is stuck, but dies with the kernel that it watches, so that no lease rests on it.
//! A service processor's (IPMI) is not used: its driver is no watchdog device of the kernel's, and each feed
//! waits for the processor, on which the heartbeat thread must not.
//!
//! Closing the device never disarms it, neither on a crash nor by mistake: that takes a magic byte, which
//! only a watchdog gets that turns out not to be usable. On an orderly halt the kernel stops it by itself
//! (`watchdog_stop_on_reboot`, which all drivers for servers' chipsets call).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::sys::wdt;

/// Why there is no watchdog, or none that can be trusted.
#[derive(Debug, Error)]
pub enum WatchdogError {
    /// The machine has none, or its driver is not loaded.
    #[error("watchdog: none in {dir}: this machine has no watchdog, or its driver is not loaded")]
    None {
        /// Where they were looked for.
        dir: String,
    },
    /// A call to the kernel failed.
    #[error("watchdog {device}: {step}: {errno}")]
    Device {
        /// The device file.
        device: String,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        errno: io::Error,
    },
}

/// How far a watchdog can be trusted, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The kernel's own timer: it dies with the kernel.
    Software,
    /// A timer in the chipset or on the board.
    Hardware,
}

/// A watchdog that could be armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The number in `/dev/watchdogN`.
    pub number: u32,
    /// What its driver calls it; empty when the kernel does not say.
    pub identity: String,
    /// How far it can be trusted.
    pub kind: Kind,
}

/// All watchdogs under a directory laid out like `/sys/class/watchdog`, best first.
pub fn candidates(dir: &Path) -> Vec<Candidate> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Vec<Candidate> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry
                .file_name()
                .to_str()?
                .strip_prefix("watchdog")?
                .parse()
                .ok()?;
            let identity = fs::read_to_string(entry.path().join("identity")).unwrap_or_default();
            let identity = identity.trim().to_owned();
            let kind = kind(&identity);
            Some(Candidate {
                number,
                identity,
                kind,
            })
        })
        .collect();
    found.sort_by_key(|candidate| (std::cmp::Reverse(candidate.kind), candidate.number));
    found
}

fn kind(identity: &str) -> Kind {
    let identity = identity.to_ascii_lowercase();
    if identity.contains("software") || identity.contains("softdog") {
        Kind::Software
    } else {
        Kind::Hardware
    }
}

/// An armed watchdog.
#[derive(Debug)]
pub struct Watchdog {
    file: File,
    device: PathBuf,
    identity: String,
    kind: Kind,
    timeout_seconds: u32,
}

impl Watchdog {
    /// Arms the best watchdog of the machine; from here on it must be fed.
    ///
    /// The next best is tried when one cannot be opened; the error is the best one's.
    pub fn arm(timeout_seconds: u32) -> Result<Watchdog, WatchdogError> {
        let dir = Path::new("/sys/class/watchdog");
        let mut first = None;
        for candidate in candidates(dir) {
            match Watchdog::open(&candidate, timeout_seconds) {
                Ok(watchdog) => return Ok(watchdog),
                Err(error) => {
                    tracing::warn!("{error}");
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| WatchdogError::None {
            dir: dir.display().to_string(),
        }))
    }

    fn open(candidate: &Candidate, timeout_seconds: u32) -> Result<Watchdog, WatchdogError> {
        let device = PathBuf::from(format!("/dev/watchdog{}", candidate.number));
        Watchdog::open_at(device, candidate, timeout_seconds)
    }

    fn open_at(
        device: PathBuf,
        candidate: &Candidate,
        timeout_seconds: u32,
    ) -> Result<Watchdog, WatchdogError> {
        let failed = |step| {
            let device = device.display().to_string();
            move |errno| WatchdogError::Device {
                device,
                step,
                errno,
            }
        };
        let file = File::options()
            .write(true)
            .open(&device)
            .map_err(failed("open"))?;
        // Some have one fixed time and refuse: what counts is the time in force, read back below.
        if let Err(errno) = wdt::set_timeout(&file, timeout_seconds) {
            tracing::warn!("watchdog {}: set timeout: {errno}", device.display());
        }
        let timeout_seconds = match wdt::timeout(&file) {
            Ok(seconds) => seconds,
            Err(errno) => {
                // It runs since it was opened, and nobody would feed it. What a driver without the magic
                // byte says to it changes nothing.
                let _ = (&file).write_all(b"V");
                return Err(failed("read timeout")(errno));
            }
        };
        let identity = if candidate.identity.is_empty() {
            wdt::identity(&file).unwrap_or_else(|_| "unknown".to_owned())
        } else {
            candidate.identity.clone()
        };
        let kind = kind(&identity);
        Ok(Watchdog {
            file,
            device,
            identity,
            kind,
            timeout_seconds,
        })
    }

    /// Tests only: a file, which keeps a byte of each feed.
    #[cfg(test)]
    pub(crate) fn over(file: File) -> Watchdog {
        Watchdog {
            file,
            device: PathBuf::new(),
            identity: "a file".to_owned(),
            kind: Kind::Hardware,
            timeout_seconds: 10,
        }
    }

    /// Puts off the reset by the whole timeout. One short write: neither blocks nor allocates.
    pub fn feed(&self) -> io::Result<()> {
        (&self.file).write_all(b"\0")
    }

    /// What the driver calls itself.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How far it can be trusted.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The device file.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Time without a feed after which the machine is reset: the one in force, which drivers round.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds
    }
}

#[cfg(test)]
mod tests {
    use tempfile::{NamedTempFile, TempDir};

    use super::*;

    fn fake(watchdogs: &[(u32, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (number, identity) in watchdogs {
            let one = dir.path().join(format!("watchdog{number}"));
            fs::create_dir_all(&one).unwrap();
            fs::write(one.join("identity"), format!("{identity}\n")).unwrap();
        }
        dir
    }

    #[test]
    fn hardware_comes_before_software_whoever_was_first() {
        let dir = fake(&[(0, "Software Watchdog"), (2, "i6300ESB timer"), (3, "x")]);
        let order: Vec<u32> = candidates(dir.path())
            .iter()
            .map(|one| one.number)
            .collect();
        assert_eq!(order, [2, 3, 0]);
    }

    #[test]
    fn a_watchdog_that_cannot_be_used_is_not_left_running() {
        let file = NamedTempFile::new().unwrap();
        let device = file.path().to_owned();
        let candidate = Candidate {
            number: 0,
            identity: "a file".into(),
            kind: Kind::Hardware,
        };
        let failed = Watchdog::open_at(device.clone(), &candidate, 10).unwrap_err();
        assert!(failed.to_string().contains("read timeout"), "{failed}");
        assert_eq!(fs::read(&device).unwrap(), b"V");
    }

    #[test]
    fn machine_without_watchdogs_has_no_candidates() {
        assert!(candidates(Path::new("/nonexistent")).is_empty());
        let dir = fake(&[(0, "iTCO_wdt")]);
        fs::create_dir_all(dir.path().join("watchdogs-of-others")).unwrap();
        fs::create_dir_all(dir.path().join("watchdog")).unwrap();
        assert_eq!(candidates(dir.path()).len(), 1);
    }
}
