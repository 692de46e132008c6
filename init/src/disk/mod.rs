//! The disks that this head sees: identity, size, write cache.
//!
//! Looks only at what the kernel says in sysfs; a disk's contents are the business of `volume`, its
//! reservations that of `fence`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Step;

mod cache;
pub mod direct;
mod identity;
pub mod locate;
pub mod parallel;
pub mod paths;
pub mod turn;

pub use identity::DiskId;
pub use paths::DiskPath;

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

/// What becomes of a write that the disk has acknowledged when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// It is on the medium.
    WriteThrough,
    /// It may be lost unless a flush followed.
    WriteBack,
    /// The disk does not say.
    Unknown,
}

impl fmt::Display for WriteCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteCache::WriteThrough => "off",
            WriteCache::WriteBack => "on",
            WriteCache::Unknown => "unknown",
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
    #[error("{disk}: has neither a device identification (VPD 83) nor a serial number")]
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

/// All whole disks, by kernel name, but no disk with a partition: pools are on whole disks, and the
/// boot disk is not a shared one.
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
        if is_hidden(&directory) || has_partition(&directory, &name) {
            continue;
        }
        match describe(&directory, &name) {
            // A drive without a medium.
            Ok(disk) if disk.bytes == 0 => {}
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

fn has_partition(directory: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with(name)
            && entry.path().join("partition").exists()
    })
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
        .or_else(|| identity::from_page_80(&page("device/vpd_pg80"), &vendor, &model))
        // virtio-blk tells its serial number here, NVMe below its controller.
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
        write_cache: write_cache(directory),
        paths: Vec::new(),
    })
}

/// `8:16`.
fn parse_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What the disk itself said (`cache_type`, from its caching mode page), else what the block layer assumes.
fn write_cache(directory: &Path) -> WriteCache {
    let text = cache_switch(directory)
        .and_then(|switch| std::fs::read_to_string(switch).ok())
        .or_else(|| std::fs::read_to_string(directory.join("queue/write_cache")).ok());
    match text.as_deref().map(str::trim) {
        // "none": there is no cache that could be on.
        Some("write through" | "none") => WriteCache::WriteThrough,
        Some("write back" | "write back, no read (daft)") => WriteCache::WriteBack,
        _ => WriteCache::Unknown,
    }
}

/// `device/scsi_disk/<host:channel:target:lun>/cache_type`, which SCSI disks have.
fn cache_switch(directory: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(directory.join("device/scsi_disk")).ok()?;
    Some(entries.next()?.ok()?.path().join("cache_type"))
}

/// How long all disks together may take to turn their caches off.
const CACHE_LIMIT: Duration = Duration::from_secs(15);

/// Turns the write caches of all disks off, in parallel, so that what they acknowledge is on the medium, and
/// reads that back. To be done by the owner, after the claim and after every power-on of a disk.
///
/// What the kernel believed before does not count: a standby's question for the cache may have been answered
/// by a reservation conflict (tgt does so), and the kernel then assumes that there is none. So the command is
/// sent always, and `Already` only means that the kernel believed the right thing.
pub fn disable_write_caches(disks: &[Disk]) -> Vec<Result<Step, DiskError>> {
    let outcomes = parallel::each(disks, CACHE_LIMIT, disable_write_cache);
    let timed_out = |disk: &Disk| DiskError::CacheSwitch {
        disk: disk.name.clone(),
        source: io::Error::from(io::ErrorKind::TimedOut),
    };
    disks
        .iter()
        .zip(outcomes)
        .map(|(disk, outcome)| outcome.unwrap_or_else(|| Err(timed_out(disk))))
        .collect()
}

/// Turns those write caches off again that came back on without the kernel's knowledge, as after a power-on of the
/// disk: the errors of those that stay on. What clients were told at the import then is not true any more.
pub fn keep_write_caches_off(disks: &[Disk]) -> Vec<DiskError> {
    let answers = parallel::each(disks, CACHE_LIMIT, cache::is_on);
    let back: Vec<Disk> = disks
        .iter()
        .zip(answers)
        .filter(|(_, answer)| matches!(answer, Some(Ok(Some(true)))))
        .filter_map(|(disk, _)| refresh(disk).ok())
        // Known to be on, and clients know.
        .filter(|disk| disk.write_cache != WriteCache::WriteBack)
        .collect();
    for disk in &back {
        tracing::warn!(disk = %disk.name, "its write cache came back on, as after a loss of its power");
    }
    let outcomes = disable_write_caches(&back);
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// The same for one disk.
///
/// The kernel sends MODE SELECT and reads the mode page again; the variant with the prefix `temporary`
/// would only change what the kernel believes. It reads nothing again when the disk refuses MODE SELECT
/// (`cache_type_store` in `drivers/scsi/sd.c`), so it is then told to look at the disk anew.
///
/// # Errors
/// [`DiskError::CacheStays`]: the cache is on, the disk says so, and so will everything above it. After any other
/// error it is not known, and what the kernel tells clients may be wrong: nothing may be served.
pub fn disable_write_cache(disk: &Disk) -> Result<Step, DiskError> {
    let block = Path::new(SYSFS_BLOCK);
    if disk.paths.is_empty() {
        // That of another disk says nothing of this one's.
        refresh(disk)?;
        return disable_write_cache_in(block, &disk.name);
    }
    disable_by_paths(block, disk, PATH_LIMIT)
}

/// How long one of several paths may take to turn the cache off.
const PATH_LIMIT: Duration = Duration::from_secs(3);

/// The cache is the disk's: one path that answers turns it off. Each path has the kernel's own belief of it, which counts when the
/// cache stays on: one that wrongly believes that there is none drops what flushes are sent by it.
fn disable_by_paths(block: &'static Path, disk: &Disk, limit: Duration) -> Result<Step, DiskError> {
    let answers = |path: &&DiskPath| !paths::is_silent(path);
    let mut asked: Vec<DiskPath> = disk.paths.iter().filter(answers).cloned().collect();
    if asked.is_empty() {
        asked.clone_from(&disk.paths);
    }
    let outcomes = parallel::each(&asked, limit, move |path| {
        let directory = block.join(&path.name);
        if paths::sequence(&directory) != path.sequence {
            // It went, and its name may be another disk's by now.
            return Err(DiskError::NoIdentity {
                disk: path.name.clone(),
            });
        }
        disable_write_cache_in(block, &path.name)
    });
    let timed_out = || DiskError::CacheSwitch {
        disk: disk.name.clone(),
        source: io::Error::from(io::ErrorKind::TimedOut),
    };
    let (mut step, mut stays, mut unknown) = (None, None, None);
    for outcome in outcomes.into_iter().flatten() {
        match outcome {
            Ok(Step::Changed) => step = Some(Step::Changed),
            Ok(Step::Already) => step = step.or(Some(Step::Already)),
            // By the name that the pool knows it by.
            Err(DiskError::CacheStays { found, .. }) => {
                let disk = disk.name.clone();
                stays = Some(DiskError::CacheStays { disk, found });
            }
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    let believes_on =
        |path: &DiskPath| write_cache(&block.join(&path.name)) == WriteCache::WriteBack;
    match (step, stays) {
        (Some(step), None) => Ok(step),
        (step, Some(stays)) if step.is_some() || disk.paths.iter().all(believes_on) => Err(stays),
        _ => Err(unknown.unwrap_or_else(timed_out)),
    }
}

fn disable_write_cache_in(block: &Path, name: &str) -> Result<Step, DiskError> {
    let directory = block.join(name);
    let before = write_cache(&directory);
    let switched = match cache_switch(&directory) {
        Some(switch) => std::fs::write(switch, "write through")
            .or_else(|_| std::fs::write(directory.join("device/rescan"), "1")),
        // Not SCSI: what the driver says is all there is.
        None if before != WriteCache::Unknown => Ok(()),
        None => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    switched.map_err(|source| DiskError::CacheSwitch {
        disk: name.to_owned(),
        source,
    })?;
    match write_cache(&directory) {
        WriteCache::WriteThrough if before == WriteCache::WriteThrough => Ok(Step::Already),
        WriteCache::WriteThrough => Ok(Step::Changed),
        found => Err(DiskError::CacheStays {
            disk: name.to_owned(),
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Sysfs(TempDir);

    impl Sysfs {
        fn new() -> Sysfs {
            Sysfs(TempDir::new().unwrap())
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn file(&self, path: &str, bytes: &[u8]) {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }

        fn disk(&self, name: &str, serial: u8) {
            self.file(&format!("{name}/size"), b"2048\n");
            self.file(&format!("{name}/dev"), b"8:16\n");
            self.file(&format!("{name}/queue/logical_block_size"), b"512\n");
            self.file(&format!("{name}/device/vendor"), b"ACME    \n");
            self.file(
                &format!("{name}/device/vpd_pg83"),
                &[0, 0x83, 0, 12, 1, 3, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, serial],
            );
        }
    }

    #[test]
    fn whole_disks_only_and_not_the_boot_disk() {
        let sysfs = Sysfs::new();
        for name in [
            "sdaa", "sdb", "loop0", "dm-0", "md127", "md_0a", "sr0", "sda", "sdc",
        ] {
            sysfs.disk(name, name.len() as u8);
        }
        sysfs.file("sda/sda1/partition", b"1\n");
        sysfs.file("sdc/size", b"0\n");
        let found: Vec<String> = scan_in(sysfs.path())
            .into_iter()
            .map(|disk| disk.unwrap().name)
            .collect();
        assert_eq!(found, ["sdb", "sdaa"]);
    }

    #[test]
    fn an_array_is_known_by_its_identity_and_is_not_among_the_disks() {
        let sysfs = Sysfs::new();
        sysfs.file("md_0a/size", b"2048\n");
        sysfs.file("md_0a/dev", b"9:127\n");
        sysfs.file("md_0a/queue/logical_block_size", b"512\n");
        sysfs.file("md_0a/md/uuid", b"00112233-4455-6677-8899-aabbccddeeff\n");
        let found = describe(&sysfs.path().join("md_0a"), "md_0a").unwrap();
        let id = crate::array::ArrayId([
            0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
            0xee, 0xff,
        ]);
        assert_eq!(found.id, DiskId(format!("md.{id}")));
        assert!(scan_in(sysfs.path()).is_empty());
        sysfs.file("md_0a/md/uuid", b"00112233\n");
        assert!(describe(&sysfs.path().join("md_0a"), "md_0a").is_err());
    }

    #[test]
    fn a_disk_without_identity_is_an_error_that_names_it() {
        let sysfs = Sysfs::new();
        sysfs.file("vda/size", b"2048\n");
        sysfs.file("vda/dev", b"253:0\n");
        sysfs.file("vda/queue/logical_block_size", b"512\n");
        let found = scan_in(sysfs.path());
        assert!(matches!(&found[..], [Err(DiskError::NoIdentity { disk })] if disk == "vda"));
        sysfs.file("vda/serial", b"shelf-1");
        let found = scan_in(sysfs.path()).remove(0).unwrap();
        assert_eq!(found.id, DiskId("serial...shelf-1".into()));
        assert_eq!(found.bytes, 1024 * 1024);
    }

    #[test]
    fn write_cache_is_turned_off_and_read_back() {
        let sysfs = Sysfs::new();
        sysfs.disk("sda", 1);
        let switch = "sda/device/scsi_disk/0:0:0:0/cache_type";
        sysfs.file(switch, b"write back\n");
        let step = disable_write_cache_in(sysfs.path(), "sda").unwrap();
        assert_eq!(step, Step::Changed);
        let step = disable_write_cache_in(sysfs.path(), "sda").unwrap();
        assert_eq!(step, Step::Already);
    }

    #[test]
    fn a_disk_under_the_name_of_another_one_is_not_that_one() {
        let sysfs = Sysfs::new();
        sysfs.disk("sda", 1);
        let disk = scan_in(sysfs.path()).remove(0).unwrap();
        assert_eq!(refresh_in(sysfs.path(), &disk).unwrap(), disk);
        sysfs.disk("sda", 2);
        let another = refresh_in(sysfs.path(), &disk);
        assert!(
            matches!(&another, Err(DiskError::Another { was, .. }) if *was == disk.id),
            "{another:?}"
        );
        // Of several paths those count that are there still.
        let both = by_two_paths(&sysfs);
        sysfs.disk("sda", 2);
        assert_eq!(refresh_in(sysfs.path(), &both).unwrap().id, both.id);
        sysfs.disk("sdb", 2);
        assert!(refresh_in(sysfs.path(), &both).is_err());
    }

    #[test]
    fn the_cache_of_a_path_whose_name_went_on_to_another_disk_is_left_alone() {
        let sysfs = Sysfs::new();
        let disk = by_two_paths(&sysfs);
        sysfs.file("sda/diskseq", b"4000009");
        assert!(matches!(off_by_both(&sysfs, &disk), Ok(Step::Changed)));
        let cache = |name| std::fs::read_to_string(sysfs.path().join(switch_of(name))).unwrap();
        assert_eq!(cache("sda").trim(), "write back");
        assert_eq!(cache("sdb").trim(), "write through");
    }

    /// A disk by `sda` and `sdb`, whose cache is on.
    fn by_two_paths(sysfs: &Sysfs) -> Disk {
        for (name, sequence) in [("sda", "4000001"), ("sdb", "4000002")] {
            sysfs.disk(name, 1);
            sysfs.file(&format!("{name}/diskseq"), sequence.as_bytes());
            sysfs.file(&switch_of(name), b"write back\n");
        }
        let disk = scan_in(sysfs.path()).remove(0).unwrap();
        assert_eq!(disk.paths.len(), 2);
        disk
    }

    fn switch_of(name: &str) -> String {
        format!("{name}/device/scsi_disk/0:0:0:0/cache_type")
    }

    /// What a path that answers has on a busy machine; one that hangs costs it.
    const BUSY_MACHINE: Duration = Duration::from_secs(10);

    /// Tries to turn it off by both.
    fn off_by_both(sysfs: &Sysfs, disk: &Disk) -> Result<Step, DiskError> {
        // Threads that hang keep it.
        let block = Box::leak(sysfs.path().to_owned().into_boxed_path());
        disable_by_paths(block, disk, BUSY_MACHINE)
    }

    #[test]
    fn a_path_that_hangs_keeps_no_cache_on() {
        let tried = ["sda", "sdb"].map(|hangs| {
            std::thread::spawn(move || {
                let sysfs = Sysfs::new();
                let disk = by_two_paths(&sysfs);
                // A pipe whose other end nobody has.
                let switch = sysfs.path().join(switch_of(hangs));
                std::fs::remove_file(&switch).unwrap();
                let made = std::process::Command::new("mkfifo").arg(&switch).status();
                assert!(made.unwrap().success());
                let done = off_by_both(&sysfs, &disk);
                assert!(matches!(done, Ok(Step::Changed)), "{hangs}: {done:?}");
            })
        });
        for tried in tried {
            tried.join().unwrap();
        }
    }

    #[test]
    fn a_cache_that_stays_on_is_told_of_by_every_path_or_nothing_is_served() {
        let sysfs = Sysfs::new();
        let disk = by_two_paths(&sysfs);
        // One path refuses, by the other nothing can be asked.
        sysfs.file("sda/queue/write_cache", b"write back\n");
        std::fs::remove_file(sysfs.path().join(switch_of("sda"))).unwrap();
        sysfs.file(&format!("{}/x", switch_of("sda")), b"");
        std::fs::remove_dir_all(sysfs.path().join("sdb/device/scsi_disk")).unwrap();
        let unknown = off_by_both(&sysfs, &disk);
        assert!(
            matches!(unknown, Err(DiskError::CacheSwitch { .. })),
            "{unknown:?}"
        );
        sysfs.file("sdb/queue/write_cache", b"write back\n");
        let stays = off_by_both(&sysfs, &disk);
        let by = disk.name.clone();
        assert!(
            matches!(&stays, Err(DiskError::CacheStays { disk, .. }) if *disk == by),
            "{stays:?}"
        );
    }

    #[test]
    fn a_cache_that_has_no_switch_is_said() {
        let sysfs = Sysfs::new();
        sysfs.disk("vda", 1);
        sysfs.file("vda/queue/write_cache", b"write back\n");
        let failed = disable_write_cache_in(sysfs.path(), "vda");
        assert!(matches!(failed, Err(DiskError::CacheStays { .. })));
        sysfs.file("vda/queue/write_cache", b"nonsense\n");
        let failed = disable_write_cache_in(sysfs.path(), "vda");
        assert!(matches!(failed, Err(DiskError::CacheSwitch { .. })));
    }

    #[test]
    fn a_disk_that_refuses_the_switch_is_looked_at_anew() {
        let sysfs = Sysfs::new();
        sysfs.disk("sda", 1);
        // Writing to a directory fails, as writing here does when the disk refuses MODE SELECT.
        sysfs.file("sda/device/scsi_disk/0:0:0:0/cache_type/x", b"");
        sysfs.file("sda/queue/write_cache", b"write back\n");
        let stays = disable_write_cache_in(sysfs.path(), "sda");
        assert!(matches!(stays, Err(DiskError::CacheStays { .. })));
        let rescan = sysfs.path().join("sda/device/rescan");
        assert_eq!(std::fs::read(&rescan).unwrap(), b"1");
        // A disk that cannot be looked at either: what the kernel believes counts for nothing.
        std::fs::remove_file(&rescan).unwrap();
        std::fs::create_dir(&rescan).unwrap();
        let unknown = disable_write_cache_in(sysfs.path(), "sda");
        assert!(matches!(unknown, Err(DiskError::CacheSwitch { .. })));
    }
}
