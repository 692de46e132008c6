//! The volatile cache of a disk, as the kernel believes it to be, and how it is turned off.
//!
//! That of an NVMe controller is left on: clients are told, and what they flush is flushed. Rejected: Set Features (06h) and `write
//! through` to the kernel's `queue/write_cache`. A controller that the kernel resets, as after a command that took too long, has its
//! cache on again, and the kernel would go on to drop flushes. Drives that keep their cache without power have none by their own word.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Disk, DiskError, DiskPath, SYSFS_BLOCK, cache, parallel, paths, refresh};
use crate::Step;

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
/// What the disk itself said (`cache_type`, from its caching mode page), else what the block layer assumes.
pub(super) fn believed(directory: &Path) -> WriteCache {
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
    let believes_on = |path: &DiskPath| believed(&block.join(&path.name)) == WriteCache::WriteBack;
    match (step, stays) {
        (Some(step), None) => Ok(step),
        (step, Some(stays)) if step.is_some() || disk.paths.iter().all(believes_on) => Err(stays),
        _ => Err(unknown.unwrap_or_else(timed_out)),
    }
}

fn disable_write_cache_in(block: &Path, name: &str) -> Result<Step, DiskError> {
    let directory = block.join(name);
    let before = believed(&directory);
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
    match believed(&directory) {
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
    use super::super::tests::{Sysfs, by_two_paths, switch_of};
    use super::*;

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
    fn the_cache_of_a_path_whose_name_went_on_to_another_disk_is_left_alone() {
        let sysfs = Sysfs::new();
        let disk = by_two_paths(&sysfs);
        sysfs.file("sda/diskseq", b"4000009");
        assert!(matches!(off_by_both(&sysfs, &disk), Ok(Step::Changed)));
        let cache = |name| std::fs::read_to_string(sysfs.path().join(switch_of(name))).unwrap();
        assert_eq!(cache("sda").trim(), "write back");
        assert_eq!(cache("sdb").trim(), "write through");
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
