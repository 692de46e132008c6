//! What an operator wants of a pool's volumes, and the edit that it comes to.

use std::fmt;

use super::super::reserved;
use super::tree;
use super::{Edit, EditError, Layout, PoolSize, Raid, preset};
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
        /// How it lies on the disks, if that is said: else as the pool has it for its new volumes.
        layout: Option<Layout>,
        /// What file system it gets, if any. No matter of the metadata.
        filesystem: Option<Kind>,
    },
    /// A thin pool: room for thin volumes, and their metadata.
    CreatePool {
        /// Its name.
        name: String,
        /// Of its data.
        bytes: u64,
        /// Of its data, if that is said, as with a volume; its metadata are on a mirror when that can lose a disk.
        layout: Option<Layout>,
    },
    /// A volume in a thin pool.
    CreateThin {
        /// Its name.
        name: String,
        /// How large it says it is.
        bytes: u64,
        /// The pool.
        pool: String,
    },
    /// A copy of a volume as it is now: in the thin pool of a thin one, else with a store for what it overwrites.
    Snapshot {
        /// Its name.
        name: String,
        /// Of what.
        origin: String,
        /// The store's size.
        bytes: Option<u64>,
    },
    /// A snapshot goes, and nothing but a snapshot.
    RemoveSnapshot {
        /// Its name.
        name: String,
    },
    /// Its origin gets back what a snapshot has, and the snapshot is no more: that of a thin one at once, with a store when the kernel has
    /// copied it.
    Restore {
        /// The snapshot.
        name: String,
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
            | VolumeOrder::CreatePool { name, .. }
            | VolumeOrder::CreateThin { name, .. }
            | VolumeOrder::Snapshot { name, .. }
            | VolumeOrder::Restore { name }
            | VolumeOrder::RemoveSnapshot { name }
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
            VolumeOrder::Snapshot { origin, .. } => Some(origin.as_str()),
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
            } => {
                let lies = edit.layout_or_default(*layout)?;
                let made = edit.create(name, edit.extents(*bytes)?, lies);
                made.map_err(|why| preset::named(why, *layout, lies))
            }
            VolumeOrder::CreatePool {
                name,
                bytes,
                layout,
            } => {
                let data = edit.layout_or_default(*layout)?;
                let size = PoolSize {
                    extents: edit.extents(*bytes)?,
                    data,
                    metadata: data.mirrors(),
                };
                let made = edit.create_pool(name, size);
                made.map_err(|why| preset::named(why, *layout, data))
            }
            VolumeOrder::CreateThin { name, bytes, pool } => {
                edit.create_thin(pool, name, edit.extents(*bytes)?)
            }
            VolumeOrder::Snapshot {
                name,
                origin,
                bytes,
            } => {
                let is_thin = tree::kind(edit.volume(origin)?) == Some("thin");
                match (is_thin, bytes) {
                    (true, None) => edit.snapshot_thin(origin, name),
                    (true, Some(_)) => Err(EditError::Size(format!(
                        "{origin} is thin: a snapshot of it takes no size"
                    ))),
                    (false, Some(bytes)) => {
                        edit.create_snapshot(origin, name, edit.extents(*bytes)?)
                    }
                    (false, None) => Err(EditError::Size(format!(
                        "{origin} is not thin: say how much room a snapshot of it has for what is overwritten"
                    ))),
                }
            }
            VolumeOrder::RemoveSnapshot { name } if edit.snapshot_of(name).is_some() => {
                edit.remove(name)
            }
            VolumeOrder::RemoveSnapshot { name } => {
                edit.is_snapshot(name)?;
                edit.may_go(name)?;
                edit.remove(name)
            }
            VolumeOrder::Restore { name } if edit.snapshot_of(name).is_some() => {
                edit.begin_merge(name)
            }
            VolumeOrder::Restore { name } => edit.restore_thin(name),
            VolumeOrder::Grow { name, bytes } => {
                edit.may_grow(name)?;
                edit.grow(name, edit.extents(*bytes)?)
            }
            VolumeOrder::Rename { name, new } => edit.rename(name, new),
            VolumeOrder::Remove { name } => {
                edit.may_go(name)?;
                edit.remove(name)
            }
        }
    }
}

/// What is written into the metadata as the reason of the change.
impl fmt::Display for VolumeOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            VolumeOrder::Create { .. }
            | VolumeOrder::CreatePool { .. }
            | VolumeOrder::CreateThin { .. } => "create",
            VolumeOrder::Snapshot { .. } => "snapshot",
            VolumeOrder::Restore { .. } => "restore",
            VolumeOrder::RemoveSnapshot { .. } => "remove",
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

    /// That a volume is a snapshot of one that is there.
    fn is_snapshot(&self, name: &str) -> Result<(), EditError> {
        let is_thin = |segment| tree::word(segment, "type") == Some("thin");
        let mut segments = tree::segments(self.volume(name)?);
        match segments.any(|segment| is_thin(segment) && tree::word(segment, "origin").is_some()) {
            true => Ok(()),
            false => Err(EditError::InUse {
                lv: name.to_owned(),
                why: "is no snapshot of a volume that is there: volume remove takes it away"
                    .to_owned(),
            }),
        }
    }

    /// That a volume can get more room while it is served.
    fn may_grow(&self, name: &str) -> Result<(), EditError> {
        match tree::kind(self.volume(name)?) {
            // Its own edit says what stands in the way.
            Some("thin" | "thin-pool") => Ok(()),
            _ => self.stands_alone(name),
        }
    }

    /// That a volume can be taken away while others are served.
    fn may_go(&self, name: &str) -> Result<(), EditError> {
        match tree::kind(self.volume(name)?) {
            // Its own edit says what stands on it: snapshots in the pool do not.
            Some("thin" | "thin-pool") => Ok(()),
            _ => self.stands_alone(name),
        }
    }

    /// That a volume is of a kind whose devices can be changed by themselves, while all others are in use: not one of a
    /// thin pool, whose own metadata must be changed with the group's, and none with a snapshot.
    fn stands_alone(&self, name: &str) -> Result<(), EditError> {
        let kind = tree::kind(self.volume(name)?).unwrap_or_default();
        let is_plain = kind == "striped" || Raid::of_kind(kind).is_some();
        if !is_plain {
            return Err(self.wrong_kind(name));
        }
        self.is_not_merging(name)?;
        if self.snapshot_of(name).is_some() {
            return Err(EditError::InUse {
                lv: name.to_owned(),
                why: "is a snapshot, which `snapshot remove` takes away and nothing makes larger"
                    .to_owned(),
            });
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
