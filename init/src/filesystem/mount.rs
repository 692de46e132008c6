//! Mounting and taking down. Both are idempotent.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use tracing::warn;

use super::make::write_tail;
use crate::Step;
use crate::sys::resize;

/// How often, and how long each time, a mount that is still in use is tried again: what used it was ended a moment ago.
/// Longer waits are the caller's, who knows the limit of the release.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// `include/uapi/linux/magic.h`.
const XFS_SUPER_MAGIC: u64 = 0x5846_5342;

/// Why a file system was not mounted or not taken down.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {step}: {source}")]
pub struct MountError {
    /// The volume's node or the place.
    pub what: PathBuf,
    /// What was being done.
    pub step: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

impl MountError {
    /// For `map_err`.
    pub(crate) fn new<E: Into<io::Error>>(
        what: &Path,
        step: &'static str,
    ) -> impl FnOnce(E) -> MountError {
        let what = what.to_path_buf();
        move |source| MountError {
            what,
            step,
            source: source.into(),
        }
    }

    /// Whether the kernel found the file system damaged, or none at all: a check may help.
    pub fn is_damage(&self) -> bool {
        // EUCLEAN, EFSBADCRC (EBADMSG), "wrong fs type, bad option, bad superblock".
        matches!(
            self.source.raw_os_error(),
            Some(libc::EUCLEAN | libc::EBADMSG | libc::EINVAL)
        )
    }
}

/// Mounts a file system; its journal is replayed by the kernel. No devices, no programs in it.
pub fn mount(node: &Path, kind: &'static str, place: &Path) -> Result<Step, MountError> {
    fs::create_dir_all(place).map_err(MountError::new(place, "make the directory"))?;
    if is_mount(place).map_err(MountError::new(place, "look at it"))? {
        return Ok(Step::Already);
    }
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
    // What is found to be damaged is not written any more.
    let options = match kind {
        "ext4" => c"errors=remount-ro",
        _ => c"",
    };
    let mounted = rustix::mount::mount(node, place, kind, flags, options);
    mounted.map_err(MountError::new(node, "mount"))?;
    Ok(Step::Changed)
}

/// Mounts a file system that is on no disk.
pub fn mount_kernels(kind: &'static str, place: &Path, options: &CStr) -> Result<Step, MountError> {
    fs::create_dir_all(place).map_err(MountError::new(place, "make the directory"))?;
    if is_mount(place).map_err(MountError::new(place, "look at it"))? {
        return Ok(Step::Already);
    }
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let mounted = rustix::mount::mount(kind, place, kind, flags, options);
    mounted.map_err(MountError::new(place, "mount"))?;
    Ok(Step::Changed)
}

/// Gives a mounted file system all the room of its volume but the end that is not its own ([`super::probe::TAIL`]).
///
/// That end is another one than before. In its place may be what a volume that is gone said of a file system that was never made, and
/// this one would be taken for that: it is wiped first.
pub fn grow(place: &Path) -> Result<Step, MountError> {
    let open = || {
        let directory = fs::File::open(place)?;
        let block = rustix::fs::fstatfs(&directory)?.f_bsize as u64;
        let device = fs::metadata(place)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let sectors = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/size"))?;
        let sectors: u64 = sectors.trim().parse().map_err(io::Error::other)?;
        let end = (sectors * 512).saturating_sub(super::probe::TAIL as u64);
        let blocks = end / block.max(1);
        let device = fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
        let node = Path::new("/dev").join(device.file_name().unwrap_or_default());
        if let Err(error) = write_tail(&node, end, b"") {
            warn!(node = %node.display(), %error, "the end of a volume that grows is not wiped");
        }
        match rustix::fs::fstatfs(&directory)?.f_type as u64 {
            XFS_SUPER_MAGIC => resize::xfs(&directory, blocks),
            _ => resize::ext4(&directory, blocks),
        }
    };
    match open() {
        Ok(()) => Ok(Step::Changed),
        Err(error) => Err(MountError::new(place, "give it more room")(error)),
    }
}

/// Takes it down: when this returns nothing of it is on its way to the disk any more. Never lazily: a mount that is out
/// of sight goes on to write.
pub fn unmount(place: &Path) -> Result<Step, MountError> {
    match is_mount(place) {
        Ok(true) => {}
        Ok(false) => return Ok(Step::Already),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Step::Already),
        Err(error) => return Err(MountError::new(place, "look at it")(error)),
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::mount::unmount(place, UnmountFlags::empty()) {
            Ok(()) => return Ok(Step::Changed),
            Err(Errno::BUSY) if tries < BUSY_TRIES => thread::sleep(BUSY_PAUSE),
            Err(errno) => return Err(MountError::new(place, "unmount")(errno)),
        }
    }
}

/// Whether the file system of this block device is mounted here.
///
/// # Errors
/// Another one is, or it cannot be told.
pub fn is_mounted(node: &Path, place: &Path) -> Result<bool, MountError> {
    let look = || -> io::Result<bool> {
        match is_mount(place) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        match fs::metadata(place)?.dev() == fs::metadata(node)?.rdev() {
            true => Ok(true),
            false => Err(Errno::BUSY.into()),
        }
    };
    look().map_err(MountError::new(place, "look at it"))
}

/// Whether a file system begins here.
fn is_mount(place: &Path) -> io::Result<bool> {
    let parent = place.parent().unwrap_or(Path::new("/"));
    Ok(fs::metadata(place)?.dev() != fs::metadata(parent)?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_known_by_its_device() {
        let directory = tempfile::tempdir().unwrap();
        let null = Path::new("/dev/null");
        for place in [directory.path(), &directory.path().join("none")] {
            assert!(!is_mounted(null, place).unwrap(), "{}", place.display());
        }
        let other = is_mounted(null, Path::new("/proc")).unwrap_err();
        assert!(
            other.to_string().starts_with("/proc: look at it: "),
            "{other}"
        );
    }
}
