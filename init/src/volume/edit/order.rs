//! What an operator wants of a pool's volumes, and the edit that it comes to.

use std::fmt;

use super::super::reserved;
use super::tree;
use super::{Edit, EditError, Layout, Raid};
use crate::filesystem::Kind;

/// A change of one volume, by its name in the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeOrder {
    /// A new one.
    Create {
        /// Its name.
        name: String,
        /// Its size in bytes, rounded up to whole extents.
        bytes: u64,
        /// How it lies on the disks.
        layout: Layout,
        /// What file system it gets, if any. No matter of the metadata.
        filesystem: Option<Kind>,
    },
    /// More room at its end.
    Grow {
        /// Its name.
        name: String,
        /// The size that it gets, in bytes, rounded up to whole extents.
        bytes: u64,
    },
    /// Another name, under its clients.
    Rename {
        /// Its name.
        name: String,
        /// The name that it gets.
        new: String,
    },
    /// What is on it is lost.
    Remove {
        /// Its name.
        name: String,
    },
}

impl VolumeOrder {
    /// The volume that it is about.
    pub fn name(&self) -> &str {
        match self {
            VolumeOrder::Create { name, .. }
            | VolumeOrder::Grow { name, .. }
            | VolumeOrder::Rename { name, .. }
            | VolumeOrder::Remove { name } => name,
        }
    }

    /// Does it to the metadata.
    ///
    /// # Errors
    /// It cannot be done, or not while the pool is served.
    pub fn apply(&self, edit: &mut Edit<'_>) -> Result<(), EditError> {
        let new = match self {
            VolumeOrder::Rename { new, .. } => Some(new.as_str()),
            _ => None,
        };
        let mut names = [self.name()].into_iter().chain(new);
        if let Some(name) = names.find(|name| reserved::is_reserved(name)) {
            let why = "names that begin with orthrus_ are the firmware's own";
            return Err(EditError::Name(name.to_owned(), why));
        }
        match self {
            VolumeOrder::Create {
                name,
                bytes,
                layout,
                ..
            } => edit.create(name, edit.extents(*bytes)?, *layout),
            VolumeOrder::Grow { name, bytes } => {
                edit.stands_alone(name)?;
                edit.grow(name, edit.extents(*bytes)?)
            }
            VolumeOrder::Rename { name, new } => edit.rename(name, new),
            VolumeOrder::Remove { name } => {
                edit.stands_alone(name)?;
                edit.remove(name)
            }
        }
    }
}

/// What is written into the metadata as the reason of the change.
impl fmt::Display for VolumeOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            VolumeOrder::Create { .. } => "create",
            VolumeOrder::Grow { .. } => "grow",
            VolumeOrder::Rename { .. } => "rename",
            VolumeOrder::Remove { .. } => "remove",
        };
        write!(f, "orthrus: volume {what} {}", self.name())?;
        match self {
            VolumeOrder::Rename { new, .. } => write!(f, " {new}"),
            _ => Ok(()),
        }
    }
}

impl Edit<'_> {
    /// So many bytes in extents, rounded up.
    fn extents(&self, bytes: u64) -> Result<u64, EditError> {
        let extent = self.extent_sectors()?.saturating_mul(512);
        match bytes.div_ceil(extent) {
            0 => Err(EditError::Size("a volume of no size".to_owned())),
            extents => Ok(extents),
        }
    }

    /// That a volume is of a kind whose devices can be changed by themselves, while all others are in use: not one of a
    /// thin pool, whose own metadata must be changed with the group's, and none with a snapshot.
    fn stands_alone(&self, name: &str) -> Result<(), EditError> {
        let kind = tree::kind(self.volume(name)?).unwrap_or_default();
        let is_plain = kind == "striped" || Raid::of_kind(kind).is_some();
        if !is_plain || self.snapshot_of(name).is_some() {
            return Err(self.wrong_kind(name));
        }
        match self.users(name).first() {
            None => Ok(()),
            Some(user) => Err(EditError::InUse {
                lv: name.to_owned(),
                why: format!("is used by {user}"),
            }),
        }
    }
}
