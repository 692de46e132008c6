//! From an edit to the disks: read, change, zero, write. For the owner only, under its claim.

use super::super::uuid::Uuid;
use super::super::write::{Author, Medium, Metadata, Store, WriteError, Written};
use super::{Change, Edit, EditError};

/// Why a group was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be changed like that.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// It could not be read or written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The kernel has no random numbers.
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
}

/// Changes a group on its members, which are read first. The new metadata, and where they are.
///
/// # Errors
/// See [`WriteError`] for what is on the disks then.
pub fn apply<M: Medium>(
    disks: Vec<(String, std::io::Result<M>)>,
    group: &Uuid,
    author: &Author,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<(Metadata, Written), ApplyError> {
    write(Store::open(disks, group)?, author, edit)
}

/// The same with a group that is new: `group` is what it begins with.
///
/// # Errors
/// A disk is not empty, or as with [`apply`].
pub fn create<M: Medium>(
    disks: Vec<(String, std::io::Result<M>)>,
    group: Metadata,
    author: &Author,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<(Metadata, Written), ApplyError> {
    write(Store::fresh(disks, group)?, author, edit)
}

/// What [`apply`] would write; nothing is written.
///
/// # Errors
/// Why not.
pub fn check<M: Medium>(
    disks: Vec<(String, std::io::Result<M>)>,
    group: &Uuid,
    author: &Author,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<Metadata, ApplyError> {
    changed(&Store::open(disks, group)?, author, edit).map(|change| change.metadata)
}

fn write<M: Medium>(
    mut store: Store<M>,
    author: &Author,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<(Metadata, Written), ApplyError> {
    let Change { metadata, zeroes } = changed(&store, author, edit)?;
    store.zero(&zeroes)?;
    let written = store.write(&metadata, author)?;
    Ok((metadata, written))
}

fn changed<M: Medium>(
    store: &Store<M>,
    author: &Author,
    edit: impl FnOnce(&mut Edit<'_>) -> Result<(), EditError>,
) -> Result<Change, ApplyError> {
    let mut broken = None;
    let mut uuids = || match Uuid::random() {
        Ok(uuid) => uuid,
        Err(error) => {
            broken = Some(error);
            Uuid::NONE
        }
    };
    let mut work = Edit::new(
        store.newest().clone(),
        &author.host,
        author.time,
        &mut uuids,
    );
    edit(&mut work)?;
    let change = work.finish()?;
    match broken {
        Some(error) => Err(ApplyError::Random(error)),
        None => Ok(change),
    }
}
