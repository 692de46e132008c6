//! The disks that this head sees: identity, size, write cache.
//!
//! Looks only at what the kernel says in sysfs; a disk's contents are the business of `volume`, its
//! reservations that of `fence`.

use std::io;
use std::path::{Path, PathBuf};

use crate::source::PARTITION_NAME;

mod cache;
pub mod direct;
pub mod ends;
mod identity;
pub mod locate;
pub mod parallel;
pub mod paths;
pub mod turn;
mod write_cache;

pub use identity::DiskId;
pub use paths::DiskPath;
pub use write_cache::{
    WriteCache, disable_write_cache, disable_write_caches, keep_write_caches_off,
};

/// A whole disk that may belong to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, `sda`: good for messages, and until the next boot. Of several paths that of the first one.
    pub name: String,
    /// Its device node; of several paths that of one of them, or of the device that joins them.
    pub path: PathBuf,
    /// Its device number, `(major, minor)`: as short-lived as the name.
    pub number: (u32, u32),
    /// Its place in the order in which this kernel found its disks, which no two share; of several paths that of the first one.
    pub sequence: u64,
    /// Who it is on both heads.
    pub id: DiskId,
    /// The maker.
    pub vendor: String,
    /// The product.
    pub model: String,
    /// Its size.
    pub bytes: u64,
    /// The smallest unit of a write, in bytes.
    pub logical_block: u32,
    /// Its volatile cache, as the kernel understood it.
    pub write_cache: WriteCache,
    /// The ways to it, as they were found, where there are several; empty for a disk with one.
    pub paths: Vec<DiskPath>,
}

impl Disk {
    /// The node to read from past any device that joins paths, and its number: of a path that answers.
    pub fn read_from(&self) -> (PathBuf, (u32, u32)) {
        let answers = |path: &&DiskPath| {
            let directory = Path::new(SYSFS_BLOCK).join(&path.name);
            paths::sequence(&directory) == path.sequence
                && paths::is_running(&directory)
                && !paths::is_silent(path)
        };
        let path = self.paths.iter().find(answers).or(self.paths.first());
        path.map_or((self.path.clone(), self.number), |path| {
            (path.node(), path.number)
        })
    }
}

/// Why a disk cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The list of disks could not be read.
    #[error("disks: cannot list {path}: {source}")]
    List {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An attribute that every disk has could not be read.
    #[error("{disk}: cannot read {attribute}: {source}")]
    Attribute {
        /// The kernel's name of the disk.
        disk: String,
        /// The file in sysfs.
        attribute: String,
        /// Why not.
        source: io::Error,
    },
    /// Nothing tells this disk from others, so the heads could not agree which one it is.
    #[error("{disk}: has neither a device identification (VPD 83, NGUID) nor a serial number")]
    NoIdentity {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// Its name is another one's by now.
    #[error("{disk}: is {is} now, and was {was}")]
    Another {
        /// The kernel's name of both.
        disk: String,
        /// Who has it.
        is: DiskId,
        /// Who had it.
        was: DiskId,
    },
    /// The write cache could not be turned off.
    #[error("{disk}: cannot turn the write cache off: {source}")]
    CacheSwitch {
        /// The kernel's name of the disk.
        disk: String,
        /// Why not.
        source: io::Error,
    },
    /// The disk has its cache on and does not let it be turned off.
    #[error("{disk}: write cache cannot be turned off, it is {found}")]
    CacheStays {
        /// The kernel's name of the disk.
        disk: String,
        /// What it says now.
        found: WriteCache,
    },
}

const SYSFS_BLOCK: &str = "/sys/block";

/// Kernel names of block devices that are never a shared disk.
const NOT_DISKS: [&str; 9] = [
    "loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtdblock",
];

/// All whole disks, by kernel name, but none that a head boots from: pools are on whole disks, and that one is not shared.
///
/// One with other partitions is a disk like any other: the table may be what a client wrote to the first block of his volume, where that is the
/// first one of a member of an array, and the array must not lack the member for it; and one that comes from elsewhere can be wiped.
pub fn scan() -> Vec<Result<Disk, DiskError>> {
    scan_in(Path::new(SYSFS_BLOCK))
}

/// Reads a disk's attributes anew: the write cache may come back after a power-on. Of a disk with several paths, of the
/// first one that is still there; the others are taken for what they were.
///
/// # Errors
/// It is not there any more, or what has its name is another disk.
pub fn refresh(disk: &Disk) -> Result<Disk, DiskError> {
    refresh_in(Path::new(SYSFS_BLOCK), disk)
}

fn refresh_in(block: &Path, disk: &Disk) -> Result<Disk, DiskError> {
    if disk.paths.is_empty() {
        return describe(&block.join(&disk.name), &disk.name).and_then(is_still(disk));
    }
    let is_joined = disk
        .path
        .to_str()
        .is_some_and(|path| path.starts_with("/dev/dm-"));
    let mut joined = paths::joined_in(block).into_iter();
    if is_joined && !joined.any(|one| one.number == disk.number && one.id == disk.id.0) {
        return Err(DiskError::NoIdentity {
            disk: disk.name.clone(),
        });
    }
    let mut last = DiskError::NoIdentity {
        disk: disk.name.clone(),
    };
    for path in &disk.paths {
        match describe(&block.join(&path.name), &path.name).and_then(is_still(disk)) {
            Ok(now) => {
                return Ok(Disk {
                    write_cache: now.write_cache,
                    ..disk.clone()
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// That what has its name, or that of a path, is still this disk.
fn is_still(disk: &Disk) -> impl Fn(Disk) -> Result<Disk, DiskError> {
    |now| match now.id == disk.id {
        true => Ok(now),
        false => Err(DiskError::Another {
            disk: now.name,
            is: now.id,
            was: disk.id.clone(),
        }),
    }
}

fn scan_in(block: &Path) -> Vec<Result<Disk, DiskError>> {
    let entries = match std::fs::read_dir(block) {
        Ok(entries) => entries,
        Err(source) => {
            let path = block.to_path_buf();
            return vec![Err(DiskError::List { path, source })];
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    // sdb before sdaa, as the kernel counts.
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut seen = Vec::new();
    for name in names {
        let directory = block.join(&name);
        let partitions = partitions(&directory, &name);
        let is_boot_disk = || partitions.iter().any(|partition| is_of_a_head(partition));
        if is_hidden(&directory) || is_boot_disk() {
            continue;
        }
        match describe(&directory, &name) {
            // A drive without a medium.
            Ok(disk) if disk.bytes == 0 => {}
            // A stick or a virtual drive of this machine.
            Err(DiskError::NoIdentity { .. }) if !partitions.is_empty() => {}
            described => seen.push(described.map(|disk| paths::Seen {
                is_pinned: paths::is_pinned(&disk.id, disk.sequence),
                disk,
                is_running: paths::is_running(&directory),
                is_used: paths::is_used(&directory),
            })),
        }
    }
    let silent = paths::silent();
    paths::group(seen, &paths::joined_in(block), &|path| {
        silent.contains(&path)
    })
}

fn is_hidden(directory: &Path) -> bool {
    std::fs::read_to_string(directory.join("hidden")).is_ok_and(|text| text.trim() == "1")
}

/// The directories of a disk's partitions, as the kernel found them.
fn partitions(directory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    let paths = paths.map(|entry| entry.path());
    paths
        .filter(|path| path.join("partition").exists())
        .collect()
}

/// A partition has the name of that with a head's firmware and configuration.
fn is_of_a_head(partition: &Path) -> bool {
    let uevent = std::fs::read_to_string(partition.join("uevent")).unwrap_or_default();
    let mut names = uevent.lines().map(|line| line.strip_prefix("PARTNAME="));
    names.any(|name| name == Some(PARTITION_NAME))
}

fn describe(directory: &Path, name: &str) -> Result<Disk, DiskError> {
    let number = |attribute: &str| -> Result<u64, DiskError> {
        let failed = |source| DiskError::Attribute {
            disk: name.to_owned(),
            attribute: attribute.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(directory.join(attribute)).map_err(failed)?;
        text.trim()
            .parse()
            .map_err(|_| failed(io::Error::from(io::ErrorKind::InvalidData)))
    };
    let optional = |attribute: &str| -> String {
        std::fs::read_to_string(directory.join(attribute))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let invalid = |attribute: &str| DiskError::Attribute {
        disk: name.to_owned(),
        attribute: attribute.to_owned(),
        source: io::Error::from(io::ErrorKind::InvalidData),
    };
    let device = parse_number(&optional("dev")).ok_or_else(|| invalid("dev"))?;
    let page = |attribute: &str| std::fs::read(directory.join(attribute)).unwrap_or_default();

    // sysfs counts sectors of 512 bytes whatever the disk's own are.
    let bytes = number("size")?.saturating_mul(512);
    let logical_block = u32::try_from(number("queue/logical_block_size")?).unwrap_or(u32::MAX);
    let (vendor, model) = (optional("device/vendor"), optional("device/model"));
    let id = identity::from_page_83(&page("device/vpd_pg83"))
        .or_else(|| identity::from_namespace(&optional("nguid"), &optional("eui")))
        .or_else(|| identity::from_page_80(&page("device/vpd_pg80"), &vendor, &model))
        // virtio-blk tells its serial number here; NVMe below its controller, that of all its namespaces.
        .or_else(|| identity::from_serial(&optional("serial"), &vendor, &model))
        .or_else(|| identity::from_serial(&optional("device/serial"), &vendor, &model))
        // An array that runs here: no disk of a shelf, and yet one with something on it.
        .or_else(|| identity::from_array(&optional("md/uuid")))
        .ok_or_else(|| DiskError::NoIdentity {
            disk: name.to_owned(),
        })?;
    Ok(Disk {
        name: name.to_owned(),
        path: Path::new("/dev").join(name),
        number: device,
        sequence: paths::sequence(directory),
        id,
        vendor,
        model,
        bytes,
        logical_block,
        write_cache: write_cache::believed(directory),
        paths: Vec::new(),
    })
}

/// `8:16`.
fn parse_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests;
