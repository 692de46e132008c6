//! Where `orthrus.toml` comes from: the initramfs, where a direct boot puts it, else the EFI system
//! partition of the disk that this head was booted from.
//!
//! The partition is found by its name in the GPT, never by trying what looks mountable: the disks of
//! the shelf may hold anything. It is mounted read-only, read, and unmounted again. Nor is it one on a member of an array: where that is striped
//! and has its superblocks at the end, the first block of a member may be a client's, and so may a partition table there.
//!
//! Several partitions of that name (a spare stick, an old disk) are no choice to be made by the order in which the kernel found them: when they
//! do not all say the same, none is taken. Which one the firmware was loaded from would be known by its partition's UUID
//! (`LoaderDevicePartUUID`), but all copies of an image have the same. One that appears after the first was found is not seen.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::array;
use crate::config::{FILE_NAME, MAX_BYTES};
use crate::disk::direct;
use crate::modules::Modules;

/// Name of the partition in the GPT, as the image builder gives it.
pub const PARTITION_NAME: &str = "orthrus-esp";

/// How long the boot disk may take to appear: USB and SAS disks need some seconds after their driver.
const PATIENCE: Duration = Duration::from_secs(15);

const MOUNT_POINT: &str = "/run/esp";

/// A configuration file.
pub struct Found {
    /// Where it was found, for messages.
    pub place: String,
    /// What it says.
    pub text: String,
}

/// Why there is no configuration file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is none.
    #[error("no {FILE_NAME} in the initramfs, and no partition named {PARTITION_NAME} on any disk")]
    Nowhere,
    /// The partition is there and cannot be read.
    #[error("{place}: {step}: {source}")]
    Io {
        /// File or partition.
        place: String,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There are several, and they do not say the same.
    #[error("several partitions are named {PARTITION_NAME}, and do not hold the same {FILE_NAME}: {}; take out the disks that this head was not \
             booted from, or put the same file on all", what.join(", "))]
    Several {
        /// Each, and what is wrong with it, if anything is.
        what: Vec<String>,
    },
    /// It cannot be a configuration.
    #[error("{place}: longer than {MAX_BYTES} bytes")]
    TooLong {
        /// The file.
        place: String,
    },
}

/// Finds and reads the configuration file.
///
/// # Errors
/// Names the place and the step.
pub fn find(modules: &Modules) -> Result<Found, SourceError> {
    let direct = Path::new("/").join(FILE_NAME);
    if direct.exists() {
        return read(&direct, direct.display().to_string());
    }
    let partitions = await_partitions();
    for name in ["vfat", "nls_cp437", "nls_ascii"] {
        if let Err(error) = modules.load(name) {
            tracing::warn!("{error}");
        }
    }
    let read = partitions.into_iter().map(|partition| {
        let read = read_partition(&partition);
        (partition, read)
    });
    choose(read.collect())
}

/// What to go by, of what each partition holds.
fn choose(read: Vec<(PathBuf, Result<Found, SourceError>)>) -> Result<Found, SourceError> {
    let mut texts = read
        .iter()
        .map(|(_, read)| read.as_ref().ok().map(|found| found.text.as_str()));
    let first = texts.next();
    if read.len() > 1 && (first == Some(None) || texts.any(|text| Some(text) != first)) {
        let what = read.iter().map(|(partition, read)| match read {
            Ok(_) => partition.display().to_string(),
            Err(error) => format!("{} ({error})", partition.display()),
        });
        return Err(SourceError::Several {
            what: what.collect(),
        });
    }
    let mut read = read.into_iter();
    read.next()
        .map_or(Err(SourceError::Nowhere), |(_, read)| read)
}

fn read_partition(partition: &Path) -> Result<Found, SourceError> {
    let place = format!("{} on {}", FILE_NAME, partition.display());
    let failed = |step| {
        let place = partition.display().to_string();
        move |errno: rustix::io::Errno| SourceError::Io {
            place,
            step,
            source: errno.into(),
        }
    };
    fs::create_dir_all(MOUNT_POINT).map_err(|source| SourceError::Io {
        place: MOUNT_POINT.to_owned(),
        step: "make the mount point",
        source,
    })?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(
        partition,
        MOUNT_POINT,
        "vfat",
        flags,
        None::<&CString>.map(CString::as_c_str),
    )
    .map_err(failed("mount"))?;
    let found = read(&Path::new(MOUNT_POINT).join(FILE_NAME), place);
    unmount(MOUNT_POINT, UnmountFlags::empty()).map_err(failed("unmount"))?;
    found
}

fn read(path: &Path, place: String) -> Result<Found, SourceError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(source) => {
            return Err(SourceError::Io {
                place,
                step: "read",
                source,
            });
        }
    };
    if bytes.len() > MAX_BYTES {
        return Err(SourceError::TooLong { place });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Found { place, text }),
        Err(error) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
            Err(SourceError::Io {
                place,
                step: "read as UTF-8",
                source,
            })
        }
    }
}

/// Waits for a partition. A machine that booted without UEFI has none to wait for.
fn await_partitions() -> Vec<PathBuf> {
    let begun = Instant::now();
    let waits = Path::new("/sys/firmware/efi").exists();
    loop {
        let found = partitions(Path::new("/sys/class/block"), &is_member);
        if !found.is_empty() || !waits || begun.elapsed() > PATIENCE {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the first block of a disk may be a client's, as a member of an array that begins there, by the disk's directory. One
/// that cannot be looked at is none; nor is one whose superblock is left of other days, which a head's own disk may well have.
fn is_member(disk: &Path) -> bool {
    let look = || {
        let sectors: u64 = fs::read_to_string(disk.join("size"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let file = direct::open(&Path::new("/dev").join(disk.file_name()?)).ok()?;
        let mut read = |offset, length| direct::read(&file, offset, length);
        match array::look(sectors.saturating_mul(512), &mut read) {
            Ok(sight) => {
                let mut all = sight.found.iter().chain(&sight.rivals);
                Some(all.any(array::place::Found::shows_data_in_front))
            }
            Err(error) => Some(!matches!(error, array::MemberError::Io(_))),
        }
    };
    look().unwrap_or(false)
}

/// All partitions of the name, in order, but for those on a disk of which this says that it is in an array.
fn partitions(class: &Path, is_member: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(class).into_iter().flatten().flatten() {
        let Ok(uevent) = fs::read_to_string(entry.path().join("uevent")) else {
            continue;
        };
        let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key));
        // Of a partition the directory is in that of its disk.
        let directory = fs::canonicalize(entry.path()).unwrap_or_default();
        if value("PARTNAME=") == Some(PARTITION_NAME) && !directory.parent().is_some_and(is_member)
        {
            found.extend(value("DEVNAME=").map(|name| Path::new("/dev").join(name)));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_partition_is_found_by_its_name_alone() {
        let directory = TempDir::new().unwrap();
        let class = directory.path();
        for (name, uevent) in [
            ("sda", "DEVNAME=sda\nDEVTYPE=disk\n"),
            (
                "sda1",
                "DEVNAME=sda1\nDEVTYPE=partition\nPARTNAME=EFI system\n",
            ),
            (
                "sdb1",
                "DEVNAME=sdb1\nDEVTYPE=partition\nPARTNAME=orthrus-esp\n",
            ),
        ] {
            fs::create_dir_all(class.join(name)).unwrap();
            fs::write(class.join(name).join("uevent"), uevent).unwrap();
        }
        let in_none = |_: &Path| false;
        assert_eq!(partitions(class, &in_none), [PathBuf::from("/dev/sdb1")]);
        fs::remove_dir_all(class.join("sdb1")).unwrap();
        assert_eq!(partitions(class, &in_none), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_a_client_wrote_to_the_first_block_of_a_member_is_not_the_configuration() {
        let directory = TempDir::new().unwrap();
        let (class, devices) = (directory.path().join("class"), directory.path());
        fs::create_dir_all(&class).unwrap();
        for disk in ["sda", "sdb"] {
            let partition = devices.join(disk).join(format!("{disk}1"));
            fs::create_dir_all(&partition).unwrap();
            let uevent = format!("DEVNAME={disk}1\nPARTNAME=orthrus-esp\n");
            fs::write(partition.join("uevent"), uevent).unwrap();
            symlink(&partition, class.join(format!("{disk}1"))).unwrap();
        }
        let is_member = |disk: &Path| disk.ends_with("sdb");
        assert_eq!(partitions(&class, &is_member), [PathBuf::from("/dev/sda1")]);
        // What cannot be looked at is taken for what its name says.
        assert!(!super::is_member(Path::new("/nowhere")));
    }

    #[test]
    fn of_several_partitions_none_is_taken_unless_all_say_the_same() {
        let found = |text: &str| {
            Ok(Found {
                place: String::new(),
                text: text.to_owned(),
            })
        };
        let of = |texts: Vec<Result<Found, SourceError>>| {
            let disks = ["/dev/sda1", "/dev/sdb1"].map(PathBuf::from).into_iter();
            let chosen = choose(disks.zip(texts).collect());
            chosen
                .map(|found| found.text)
                .map_err(|error| error.to_string())
        };
        let broken = || {
            Err(SourceError::TooLong {
                place: "x".to_owned(),
            })
        };
        assert_eq!(of(vec![found("one")]), Ok("one".to_owned()));
        assert_eq!(of(vec![found("one"), found("one")]), Ok("one".to_owned()));
        for texts in [
            vec![found("one"), found("two")],
            vec![found("one"), broken()],
            vec![broken(), broken()],
        ] {
            let said = of(texts).unwrap_err();
            for word in ["/dev/sda1", "/dev/sdb1", "take out"] {
                assert!(said.contains(word), "{said}");
            }
        }
        let none = of(Vec::new()).unwrap_err();
        assert!(none.starts_with("no orthrus.toml"), "{none}");
        assert!(of(vec![broken()]).unwrap_err().contains("longer than"));
    }
}
