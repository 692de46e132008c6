//! Whether a file system that is mounted takes writes still.
//!
//! One whose volume had an error goes on being mounted, and who uses it learns of it by his next write alone; LIO does not even then.
//! xfs shuts down and opens nothing. ext4 (`errors=remount-ro`) takes no write any more, which from Linux 6.12 on is neither in its flags
//! nor does it keep a directory from being opened: what it says itself is how many errors it has noted, until a check takes them away.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat, StatVfsMountFlags, fstat, fstatvfs, major, minor, open};

/// Where the kernel says of each device which it is, and of each ext4 what it has noted.
const SYSFS: &str = "/sys";

/// Why a file system does not take writes any more; `None` while it does.
pub fn trouble(place: &Path) -> Option<String> {
    // xfs that was shut down opens nothing (`xfs_file_open`), not even a directory.
    let opened = open(
        place,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let opened =
        opened.and_then(|directory| Ok((fstatvfs(&directory)?.f_flag, fstat(&directory)?)));
    match opened {
        Ok((flags, stat)) => judge(Ok(flags)).or_else(|| noted(Path::new(SYSFS), &stat)),
        Err(error) => judge(Err(error.into())),
    }
}

/// What an ext4 has noted; `None` of anything else as well.
fn noted(sysfs: &Path, stat: &Stat) -> Option<String> {
    let device = format!("dev/block/{}:{}", major(stat.st_dev), minor(stat.st_dev));
    let device = fs::canonicalize(sysfs.join(device)).ok()?;
    let errors = sysfs
        .join("fs/ext4")
        .join(device.file_name()?)
        .join("errors_count");
    let count: u64 = fs::read_to_string(errors).ok()?.trim().parse().ok()?;
    (count > 0)
        .then(|| format!("the kernel has noted {count} errors in it, and may write nothing more"))
}

fn judge(flags: io::Result<StatVfsMountFlags>) -> Option<String> {
    match flags {
        Ok(flags) if flags.contains(StatVfsMountFlags::RDONLY) => {
            Some("the kernel found an error and made it read-only".to_owned())
        }
        Ok(_) => None,
        Err(error) => Some(format!("the kernel does not open it any more: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn an_ext4_that_has_noted_errors_is_known_by_their_count() {
        let sysfs = tempfile::tempdir().unwrap();
        let stat = rustix::fs::stat(sysfs.path()).unwrap();
        assert_eq!(noted(sysfs.path(), &stat), None);
        let number = format!("{}:{}", major(stat.st_dev), minor(stat.st_dev));
        for directory in ["dev/block", "devices/dm-7", "fs/ext4/dm-7"] {
            fs::create_dir_all(sysfs.path().join(directory)).unwrap();
        }
        let link = sysfs.path().join("dev/block").join(number);
        std::os::unix::fs::symlink("../../devices/dm-7", link).unwrap();
        let count = sysfs.path().join("fs/ext4/dm-7/errors_count");
        fs::write(&count, "0\n").unwrap();
        assert_eq!(noted(sysfs.path(), &stat), None);
        fs::write(&count, "2\n").unwrap();
        assert!(
            noted(sysfs.path(), &stat)
                .unwrap()
                .contains("noted 2 errors")
        );
    }

    #[test]
    fn one_that_takes_no_writes_is_known_by_its_flags_or_opens_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(trouble(directory.path()), None);
        let gone = trouble(&directory.path().join("none")).unwrap();
        assert!(gone.contains("No such file"), "{gone}");
        let flags = StatVfsMountFlags::NODEV | StatVfsMountFlags::NOSUID;
        assert_eq!(judge(Ok(flags)), None);
        let said = judge(Ok(flags | StatVfsMountFlags::RDONLY)).unwrap();
        assert!(said.contains("read-only"), "{said}");
        let said = judge(Err(Errno::IO.into())).unwrap();
        assert!(said.contains("does not open it any more"), "{said}");
    }
}
