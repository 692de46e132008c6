//! The file systems that a head needs to look at itself, as a table.
//!
//! All of them are the kernel's own, none is on a disk. Each is mounted once: a mount that is there
//! already is left alone.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::statfs,
    mount::{MountFlags, mount},
};
use thiserror::Error;

use crate::Step;

/// A mount that failed.
#[derive(Debug, Error)]
#[error("mount {kind} on {target}: {step}: {errno}")]
pub struct MountError {
    /// The file system's type.
    pub kind: &'static str,
    /// Where it should be.
    pub target: &'static str,
    /// What was being done.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: io::Error,
}

/// One file system of the kernel, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static std::ffi::CStr,
    /// `statfs` type when mounted, of `include/uapi/linux/magic.h`.
    magics: &'static [u64],
}

const PROC: u64 = 0x9fa0;
const SYSFS: u64 = 0x6265_6572;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const CONFIGFS_MAGIC: u64 = 0x6265_6570;
const EFIVARFS_MAGIC: u64 = 0xde5e_81e4;

const SEALED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
/// `/dev` holds devices, that is its purpose.
const DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// What everything else stands on, in order.
pub const BASE: [Mount; 4] = [
    Mount {
        kind: "proc",
        target: "/proc",
        flags: SEALED,
        options: c"",
        magics: &[PROC],
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        flags: SEALED,
        options: c"",
        magics: &[SYSFS],
    },
    // The kernel makes the nodes of disks, dm devices and serial lines in it by itself: no udev.
    // It is ramfs in a kernel built without tmpfs.
    Mount {
        kind: "devtmpfs",
        target: "/dev",
        flags: DEVICES,
        options: c"mode=0755",
        magics: &[TMPFS, RAMFS],
    },
    // LIO's dbroot and the like: small files, so a bound keeps a mistake from eating the memory.
    Mount {
        kind: "tmpfs",
        target: "/run",
        flags: SEALED,
        options: c"mode=0755,size=8m",
        magics: &[TMPFS],
    },
];

/// Where the kernel's target is configured; needs the module `configfs` first.
pub const CONFIGFS: Mount = Mount {
    kind: "configfs",
    target: "/sys/kernel/config",
    flags: SEALED,
    options: c"",
    magics: &[CONFIGFS_MAGIC],
};

/// The firmware's variables; needs UEFI and the module `efivarfs`.
pub const EFIVARS: Mount = Mount {
    kind: "efivarfs",
    target: "/sys/firmware/efi/efivars",
    flags: SEALED,
    options: c"",
    magics: &[EFIVARFS_MAGIC],
};

/// Mounts all of [`BASE`], in order; `Changed` when at least one was missing.
pub fn base() -> Result<Step, MountError> {
    let mut sum = Step::Already;
    for one in &BASE {
        if one.apply()? == Step::Changed {
            sum = Step::Changed;
        }
    }
    Ok(sum)
}

/// Mounts the firmware's variables, or says `None`: this machine did not boot by UEFI, or its kernel
/// has no efivarfs. A head works without.
pub fn efivars() -> Result<Option<Step>, MountError> {
    if !Path::new(EFIVARS.target).is_dir() {
        return Ok(None);
    }
    match EFIVARS.apply() {
        Err(error) if error.errno.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        other => other.map(Some),
    }
}

impl Mount {
    /// Where it belongs.
    pub fn target(&self) -> &'static str {
        self.target
    }

    /// Mounts it unless it is there already. Makes the directory where the parent allows it.
    pub fn apply(&self) -> Result<Step, MountError> {
        let failed = |step| {
            move |errno| MountError {
                kind: self.kind,
                target: self.target,
                step,
                errno,
            }
        };
        match fs::create_dir(self.target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // sysfs and read-only roots refuse new directories, with different errors: what counts is
            // whether the directory is there, and the mount says that better.
            Err(error) if Path::new(self.target).is_dir() => drop(error),
            Err(error) => return Err(failed("make the directory")(error)),
        }
        if self.is_mounted().map_err(failed("look"))? {
            return Ok(Step::Already);
        }
        mount(self.kind, self.target, self.kind, self.flags, self.options)
            .map_err(|errno| failed("mount")(errno.into()))?;
        Ok(Step::Changed)
    }

    /// Whether a file system of this type begins at the target. `/proc/self/mounts` would say the same
    /// with more certainty, but is itself one of the mounts.
    fn is_mounted(&self) -> io::Result<bool> {
        let target = PathBuf::from(self.target);
        let parent = target.parent().unwrap_or(Path::new("/"));
        if fs::metadata(&target)?.dev() == fs::metadata(parent)?.dev() {
            return Ok(false);
        }
        let magic = statfs(&target)?.f_type;
        Ok(u64::try_from(magic).is_ok_and(|magic| self.magics.contains(&magic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_linux_has_mounted_is_seen_as_mounted() {
        for one in &BASE[..2] {
            assert!(one.is_mounted().unwrap(), "{}", one.target);
            assert_eq!(one.apply().unwrap(), Step::Already);
        }
    }

    #[test]
    fn parents_come_before_children() {
        let targets: Vec<_> = BASE
            .iter()
            .chain([&CONFIGFS, &EFIVARS])
            .map(Mount::target)
            .collect();
        for (index, target) in targets.iter().enumerate() {
            for later in &targets[index + 1..] {
                assert!(
                    !target.starts_with(&format!("{later}/")),
                    "{later} would hide {target}"
                );
            }
        }
    }

    #[test]
    fn plain_directory_is_not_a_mount() {
        let one = Mount {
            target: "/etc",
            ..BASE[1]
        };
        assert!(!one.is_mounted().unwrap());
    }
}
