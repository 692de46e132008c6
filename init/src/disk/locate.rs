//! The lamp at a disk's slot, by the kernel's enclosure class: `drivers/misc/enclosure.c` with the driver `ses`.
//!
//! A disk whose enclosure has a processor for its services has a link `enclosure_device:SLOT` beside its attributes, to the slot's own
//! directory; there `locate` is the lamp. Without such an enclosure there is no lamp that could be told from
//! another one: to let a disk's own lamp flicker by reading from it finds the wrong one as soon as others are busy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the link's name begins with.
const LINK: &str = "enclosure_device:";

/// Why a lamp was not switched.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// Nothing says where the disk is.
    #[error(
        "{disk}: is in no enclosure that tells the kernel of its slots (SES): there is no lamp to switch"
    )]
    NoEnclosure {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// The slot has no such lamp.
    #[error("{disk}: slot {slot} of its enclosure has no lamp for this")]
    NoLamp {
        /// The kernel's name of the disk.
        disk: String,
        /// What the enclosure calls the slot.
        slot: String,
    },
    /// The enclosure, or the kernel.
    #[error("{disk}: {path}: {source}")]
    Io {
        /// The kernel's name of the disk.
        disk: String,
        /// What was read or written.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// Switches the lamp at a disk's slot; what the enclosure calls the slot. `blocks` is `/sys/block`.
///
/// # Errors
/// There is none, or it cannot be switched.
pub fn locate(blocks: &Path, disk: &str, on: bool) -> Result<String, LocateError> {
    let failed = |path: &Path| {
        let (disk, path) = (disk.to_owned(), path.display().to_string());
        move |source| LocateError::Io { disk, path, source }
    };
    let device = blocks.join(disk).join("device");
    let mut slots: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&device).map_err(failed(&device))? {
        let entry = entry.map_err(failed(&device))?;
        let name = entry.file_name();
        if let Some(slot) = name.to_str().and_then(|name| name.strip_prefix(LINK)) {
            slots.push((slot.to_owned(), entry.path().join("locate")));
        }
    }
    // Two processors of one enclosure may each tell of the slot: it is the same lamp.
    slots.sort();
    let Some((slot, _)) = slots.first() else {
        let disk = disk.to_owned();
        return Err(LocateError::NoEnclosure { disk });
    };
    for (slot, lamp) in &slots {
        match fs::write(lamp, if on { "1" } else { "0" }) {
            Ok(()) => {}
            // `set_component_locate`: the enclosure's driver has no way to.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(libc::EINVAL) =>
            {
                return Err(LocateError::NoLamp {
                    disk: disk.to_owned(),
                    slot: slot.clone(),
                });
            }
            Err(error) => return Err(failed(lamp)(error)),
        }
    }
    Ok(slot.clone())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A tree like the kernel's, with `sda` in this slot.
    struct Tree(TempDir);

    impl Tree {
        fn new() -> Tree {
            let root = TempDir::new().unwrap();
            fs::create_dir_all(root.path().join("block/sda/device")).unwrap();
            Tree(root)
        }

        fn slot(&self, slot: &str, lamp: Option<&str>) {
            let component = self.0.path().join("enclosure").join(slot);
            fs::create_dir_all(&component).unwrap();
            if let Some(lamp) = lamp {
                fs::write(component.join("locate"), lamp).unwrap();
            }
            let link = self.0.path().join(format!("block/sda/device/{LINK}{slot}"));
            symlink(&component, link).unwrap();
        }

        fn lamp(&self, slot: &str) -> String {
            fs::read_to_string(self.0.path().join("enclosure").join(slot).join("locate")).unwrap()
        }

        fn locate(&self, on: bool) -> Result<String, LocateError> {
            locate(&self.0.path().join("block"), "sda", on)
        }
    }

    #[test]
    fn the_lamp_of_the_disks_own_slot_is_switched() {
        let tree = Tree::new();
        tree.slot("Slot 07", Some("0\n"));
        assert_eq!(tree.locate(true).unwrap(), "Slot 07");
        assert_eq!(tree.lamp("Slot 07"), "1");
        tree.locate(false).unwrap();
        assert_eq!(tree.lamp("Slot 07"), "0");
    }

    #[test]
    fn a_disk_without_a_slot_and_a_slot_without_a_lamp_are_named() {
        let tree = Tree::new();
        let why = tree.locate(true).unwrap_err().to_string();
        assert!(why.starts_with("sda: is in no enclosure"), "{why}");
        // No file can be made in sysfs; here a directory is in its place.
        tree.slot("Slot 07", None);
        fs::create_dir(tree.0.path().join("enclosure/Slot 07/locate")).unwrap();
        let why = tree.locate(true).unwrap_err();
        assert!(matches!(why, LocateError::Io { .. }), "{why}");
        let gone = locate(&tree.0.path().join("block"), "sdb", true).unwrap_err();
        assert!(gone.to_string().contains("sdb"), "{gone}");
    }
}
