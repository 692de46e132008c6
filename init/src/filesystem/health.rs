//! Whether a file system that is mounted takes writes still.
//!
//! One whose volume had an error goes on being mounted: ext4 turns read-only (`errors=remount-ro`), xfs shuts down, and who uses it learns of
//! it by his next write alone. LIO does not even then.

use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, fstatvfs, open};

/// Why a file system does not take writes any more; `None` while it does.
pub fn trouble(place: &Path) -> Option<String> {
    // xfs that was shut down opens nothing (`xfs_file_open`), not even a directory.
    let opened = open(
        place,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let flags = opened.and_then(|directory| Ok(fstatvfs(&directory)?.f_flag));
    judge(flags.map_err(io::Error::from))
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
