//! The state volume: a small file system on the pool's own disks for what must move with the pool.
//!
//! It is the logical volume [`reserved::STATE`](crate::volume::reserved::STATE), mounted by the owner from the import to the release
//! and by nobody else. What is kept there is replaced whole and durably ([`keep`]): a crash leaves the old or the new.
//! Now that is who owned the pool when; what clients need kept comes with their protocols.
//!
//! The first owner makes the file system, on an empty volume. One that is damaged is checked without questions; if that
//! does not help, or the volume holds something else, it is left as it is, `status` says so, and the pool is served without.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Step;
use crate::filesystem::{self, Budget, Found, Kind, MakeError, MountError, Use};
use crate::volume::Active;

/// The file system's label.
const LABEL: &str = "orthrus_state";

/// The file with the owners.
const OWNERS: &str = "owners.jsonl";
/// Owners that are remembered: some years of ordinary life, and a few kilobytes.
const OWNERS_MAX: usize = 64;
/// Bytes that are read of a file: a line of ours has some hundred, and no file of ours five hundred.
const READ_MAX: u64 = 1024 * 1024;

/// A taking of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The epoch that it was taken under.
    pub epoch: u32,
    /// The head's name.
    pub head: String,
    /// When, in milliseconds since 1970, by that head's clock; `None` where that was not set.
    pub unix_ms: Option<u64>,
    /// The firmware that it ran.
    pub version: String,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The volume cannot be read.
    #[error("{node}: cannot be read: {source}")]
    Probe {
        /// Its node.
        node: String,
        /// Why not.
        source: io::Error,
    },
    /// It holds something that is not ours to touch.
    #[error("the volume holds {found}, where an empty one or ext4 was expected")]
    Foreign {
        /// What.
        found: Found,
    },
    /// The file system could not be made or mended.
    #[error("{0}")]
    Make(#[from] MakeError),
    /// It could not be mounted.
    #[error("{0}")]
    Mount(#[from] MountError),
    /// A file could not be read or replaced.
    #[error("{file}: {step}: {source}")]
    File {
        /// Which.
        file: PathBuf,
        /// What was being done.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Where a pool's state is while it is served here.
pub fn place(pool: &str) -> PathBuf {
    Path::new("/run/pool").join(pool).join("state")
}

/// Mounts the state volume, and makes or mends its file system first where that is needed and there is time for it.
pub fn open(volume: &Active, place: &Path, budget: Budget) -> Result<(), StateError> {
    let (node, bytes) = (&volume.node, volume.sectors * 512);
    let probed = filesystem::probe(node, bytes).map_err(|source| StateError::Probe {
        node: node.display().to_string(),
        source,
    });
    let found = probed?;
    match found {
        Found::Nothing | Found::Unfinished => {
            tracing::info!(volume = volume.lv, "its file system is made");
            // A small one, whose tables are written at once: nothing is to be written on its own.
            let left = budget.left(Instant::now());
            filesystem::make(node, bytes, Kind::Ext4, LABEL, Use::State, left)?;
        }
        Found::Ext4 { is_damaged: false } => {}
        Found::Ext4 { is_damaged: true } => mend(volume, budget)?,
        found @ (Found::Xfs | Found::Other(_) | Found::Unknown) => {
            return Err(StateError::Foreign { found });
        }
    }
    match filesystem::mount(node, "ext4", place) {
        Ok(_) => Ok(()),
        // Once: an import must not wait for a second check.
        Err(error) if error.is_damage() && found == (Found::Ext4 { is_damaged: false }) => {
            tracing::warn!(volume = volume.lv, "{error}");
            mend(volume, budget)?;
            filesystem::mount(node, "ext4", place)?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn mend(volume: &Active, budget: Budget) -> Result<(), StateError> {
    tracing::warn!(
        volume = volume.lv,
        "its file system is damaged: it is checked"
    );
    Ok(filesystem::check(
        &volume.node,
        budget.left(Instant::now()),
    )?)
}

/// Takes it down again; when this returns nothing of it is on its way to a disk.
pub fn close(place: &Path) -> Result<Step, MountError> {
    filesystem::unmount(place)
}

/// Adds an owner to those that are remembered; returns all, the newest last.
pub fn note_owner(place: &Path, owner: Owner) -> Result<Vec<Owner>, StateError> {
    let file = place.join(OWNERS);
    let text = read(place, OWNERS)?;
    // What cannot be read is no reason to forget the rest.
    let mut owners: Vec<Owner> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    owners.push(owner);
    owners.drain(..owners.len().saturating_sub(OWNERS_MAX));
    let mut text = String::new();
    for owner in &owners {
        let line = serde_json::to_string(owner).map_err(io::Error::from);
        text.push_str(&line.map_err(failed(&file, "write"))?);
        text.push('\n');
    }
    keep(place, OWNERS, text.as_bytes())?;
    // The file is safe; what the kernel would still write behind it is written now, and not at some later moment.
    let synced = File::open(place).and_then(|directory| Ok(rustix::fs::syncfs(&directory)?));
    synced.map_err(failed(place, "flush"))?;
    Ok(owners)
}

/// What is kept in a file; empty where there is none.
pub fn read(place: &Path, name: &str) -> Result<String, StateError> {
    let file = place.join(name);
    match read_some(&file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(&file, "read")(error)),
    }
}

/// The beginning of a file, more than any of ours has.
fn read_some(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file, durably: when this returns the new one is on the medium, and until then the old one is.
pub fn keep(place: &Path, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let (file, new) = (place.join(name), place.join(format!("{name}.new")));
    let write = || {
        let mut writer = File::create(&new)?;
        writer.write_all(bytes)?;
        writer.sync_all()
    };
    write().map_err(failed(&new, "write"))?;
    fs::rename(&new, &file).map_err(failed(&file, "replace"))?;
    let directory = File::open(place).and_then(|directory| directory.sync_all());
    directory.map_err(failed(place, "flush"))
}

fn failed(file: &Path, step: &'static str) -> impl FnOnce(io::Error) -> StateError {
    let file = file.to_path_buf();
    move |source| StateError::File { file, step, source }
}

#[cfg(test)]
mod tests {
    use tempfile::{NamedTempFile, TempDir};

    use super::*;

    fn owner(epoch: u32) -> Owner {
        Owner {
            epoch,
            head: "a".to_owned(),
            unix_ms: Some(1),
            version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn owners_are_remembered_up_to_a_number_and_past_a_broken_line() {
        let directory = TempDir::new().unwrap();
        let place = directory.path().join("state");
        fs::create_dir(&place).unwrap();
        assert_eq!(note_owner(&place, owner(1)).unwrap(), [owner(1)]);
        let text = fs::read_to_string(place.join(OWNERS)).unwrap();
        let mut bytes = b"{\"epo\xff\n".to_vec();
        bytes.extend_from_slice(text.as_bytes());
        fs::write(place.join(OWNERS), bytes).unwrap();
        assert_eq!(note_owner(&place, owner(2)).unwrap(), [owner(1), owner(2)]);
        for epoch in 3..=80 {
            note_owner(&place, owner(epoch)).unwrap();
        }
        let owners = note_owner(&place, owner(81)).unwrap();
        assert_eq!(owners.len(), OWNERS_MAX);
        assert_eq!(owners.last(), Some(&owner(81)));
        assert!(!place.join("owners.jsonl.new").exists());
        fs::remove_dir_all(&place).unwrap();
        let gone = note_owner(&place, owner(82)).unwrap_err().to_string();
        assert!(gone.contains("owners.jsonl.new: write: "), "{gone}");
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let file = NamedTempFile::new().unwrap();
        let mut bytes = vec![0; 1 << 20];
        bytes[..4].copy_from_slice(b"XFSB");
        fs::write(file.path(), &bytes).unwrap();
        let volume = Active {
            lv: "orthrus_state".to_owned(),
            uuid: crate::volume::Uuid::from_text("NoBody-Has0-This-Volu-meGr-oup0-Active").unwrap(),
            dm_name: "tank-orthrus_state".to_owned(),
            number: (253, 0),
            node: file.path().to_owned(),
            sectors: 2048,
            is_writable: true,
            gives_space_back: false,
            is_degraded: false,
            step: Step::Changed,
        };
        let error = open(
            &volume,
            Path::new("/nowhere"),
            Budget::begin(Instant::now()),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the volume holds xfs, where an empty one or ext4 was expected"
        );
        assert_eq!(fs::read(file.path()).unwrap(), bytes);
    }
}
