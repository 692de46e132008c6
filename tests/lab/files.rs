//! A file system of the client's on the LUN that the checked writer leaves alone, and fio on it while the pool moves.

use anyhow::Result;
use orthrus_qemu::{Lab, guest};
use orthrus_tests::steps::{CheckedFile, said};

const PLACE: &str = "/mnt/second";

/// ext4 on the LUN, with a file that fio writes and reads back.
pub struct FilesOnLun {
    device: String,
    file: CheckedFile,
}

impl FilesOnLun {
    /// Makes it, and starts.
    ///
    /// # Errors
    /// The client's.
    pub fn begin(lab: &Lab) -> Result<FilesOnLun> {
        let pool = &lab.status()?.pools[0].pool;
        let iqn = pool.iqn.as_deref().unwrap_or_default();
        let device = said(lab, &format!("{} device {iqn} 1", guest::SELF))?;
        said(
            lab,
            &format!("mkfs.ext4 -q -F {device} && mkdir -p {PLACE} && mount {device} {PLACE}"),
        )?;
        let file = CheckedFile::start(lab, PLACE)?;
        Ok(FilesOnLun { device, file })
    }

    /// fio has not come to its end yet: to be asked after a strike.
    ///
    /// # Errors
    /// It has, and saw nothing of it.
    pub fn are_written(&self, lab: &Lab) -> Result<()> {
        self.file.is_at_it(lab)
    }

    /// Waits for fio's end. It saw no error, and neither does a check of the file system.
    ///
    /// # Errors
    /// What was found instead.
    pub fn are_whole(self, lab: &Lab) -> Result<()> {
        self.file.is_whole(lab)?;
        said(
            lab,
            &format!("umount {PLACE} && e2fsck -fn {}", self.device),
        )
        .map(drop)
    }
}
