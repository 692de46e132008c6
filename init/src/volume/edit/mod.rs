//! Changes of a volume group as functions from its metadata to other metadata, like lvm2 makes them for the same command.
//!
//! An [`Edit`] takes the metadata that were just read, is told what to do, and gives out a [`Change`]: the metadata to be written, and
//! the stretches of disks that must be zero before anything of it is activated. Nothing here reads or writes a
//! disk, looks at a clock or makes up a number: times and identifiers come from the caller, so that an edit can be
//! tested against the bytes that lvm2 accepts. An edit that fails is thrown away.
//!
//! What an edit does not know it leaves as it is: tags, profiles, kinds of volumes that are only ever read. It refuses to
//! change a volume whose kind it does not know, or that is in the middle of something (`pvmove`, a merge).
//!
//! Read in this order: [`tree`] words for the text, `space` which extents are free, `layout` from a kind to segments, then
//! a file for each noun: `create`, `thin`, `snapshot`, `resize`, `remove`, `member`; `order` is
//! what an operator can ask for while the pool is served, `preset` what is done where that does not say how a volume lies, and `limits`
//! what no kernel would take of it.
//!
//! Decisions:
//! - Space is found first fit, in the order of the members. Images of one RAID are on different members; each
//!   is in one piece where one is free, with its metadata in front, as lvm2 lays them.
//! - RAID 5 and 6 are made as `raid5_ls` and `raid6_zr`: what lvm2 and the kernel take the short names for.
//! - New metadata of RAID and thin pools must be zero, or the kernel takes an earlier array for this one. lvm2 activates them to
//!   wipe them; here their extents are zeroed on the disks before any text names them.

pub mod apply;
mod create;
mod error;
mod layout;
mod limits;
mod member;
mod names;
mod order;
mod preset;
mod remove;
mod resize;
mod snapshot;
mod space;
#[cfg(test)]
mod tests;
mod thin;
pub mod tree;

pub use error::EditError;
pub use layout::{Layout, Raid};
pub use member::{NewMember, new_group};
pub use order::VolumeOrder;
pub use preset::{default_layout, enough_disks};
pub use thin::PoolSize;

use std::collections::BTreeSet;

use super::text::{Section, Value};
use super::uuid::Uuid;
use super::write::{Metadata, id_of};

/// Where new identifiers come from.
pub type Uuids<'a> = &'a mut dyn FnMut() -> Uuid;

/// Metadata that are being changed.
pub struct Edit<'a> {
    metadata: Metadata,
    host: &'a str,
    time: u64,
    uuids: Uuids<'a>,
    zeroes: Vec<Stretch>,
    /// The extents of each member that volumes had before, as first extent and length.
    taken: Vec<(Uuid, Vec<(u64, u64)>)>,
    /// What the kernel would have refused before.
    broken: Vec<EditError>,
}

/// What comes of an edit.
#[derive(Debug)]
pub struct Change {
    /// To be written.
    pub metadata: Metadata,
    /// To be zeroed before: they belong to nobody until the metadata are written.
    pub zeroes: Vec<Stretch>,
}

/// Bytes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The member.
    pub pv: Uuid,
    /// From the start of its disk.
    pub start: u64,
    /// How many.
    pub bytes: u64,
}

impl<'a> Edit<'a> {
    /// Begins to change a group. New volumes carry the host's name and the time, in seconds since 1970.
    pub fn new(metadata: Metadata, host: &'a str, time: u64, uuids: Uuids<'a>) -> Edit<'a> {
        Edit {
            taken: space::taken_on_all(&metadata),
            broken: limits::broken(&metadata),
            metadata,
            host,
            time,
            uuids,
            zeroes: Vec::new(),
        }
    }

    /// What is to be written.
    ///
    /// Visible volumes come first, as lvm2 writes them: it goes through them in the text's order, and complains of parts that it
    /// meets before what they are parts of.
    ///
    /// # Errors
    /// Something is to be zeroed that is not new to a volume, or the kernel would refuse a table of what came of it: nothing may be
    /// written then.
    pub fn finish(mut self) -> Result<Change, EditError> {
        self.check_zeroes()?;
        let mut broken = limits::broken(&self.metadata).into_iter();
        if let Some(new) = broken.find(|one| !self.broken.contains(one)) {
            return Err(new);
        }
        self.forget_history();
        let volumes = tree::section_mut(&mut self.metadata.body, "logical_volumes");
        if let Some(volumes) = volumes {
            let is_visible = |value: &Value| match value {
                Value::Section(volume) => tree::has(volume, "status", "VISIBLE"),
                _ => false,
            };
            // A stable sort: the order is kept within both.
            volumes.sort_by_key(|_, value| !is_visible(value));
        }
        Ok(Change {
            metadata: self.metadata,
            zeroes: self.zeroes,
        })
    }

    /// lvm2 keeps a history of removed thin volumes where it is told to (`record_lvs_history`), and reads nothing of a group whose history
    /// names a volume that is not there. It is for information only.
    fn forget_history(&mut self) {
        const HISTORY: &str = "historical_logical_volumes";
        let volumes: BTreeSet<String> = self
            .metadata
            .volumes()
            .map(|(name, _)| name.to_owned())
            .collect();
        let Some(history) = tree::section_mut(&mut self.metadata.body, HISTORY) else {
            return;
        };
        // Those that are history themselves have a hyphen before their names.
        let is_gone = |name: &str| !name.starts_with('-') && !volumes.contains(name);
        let names_what_is_gone = |value: &Value| match value {
            Value::Section(one) => {
                let descendants = tree::list(one, "descendants").iter();
                let mut names = descendants.filter_map(|value| match value {
                    Value::Text(name) => Some(name.as_str()),
                    _ => None,
                });
                names.any(is_gone) || tree::word(one, "origin").is_some_and(is_gone)
            }
            _ => false,
        };
        if history.values().any(names_what_is_gone) {
            self.metadata.body.shift_remove(HISTORY);
        }
    }

    /// That all that is to be zeroed lies in extents that a volume has now and none had before: whatever else is there is somebody's
    /// data, and may be in use.
    fn check_zeroes(&self) -> Result<(), EditError> {
        if self.zeroes.is_empty() {
            return Ok(());
        }
        let extent = self.extent_sectors()?;
        let now = space::taken_on_all(&self.metadata);
        for zero in &self.zeroes {
            let mut members = self.metadata.members();
            let member = members.find(|(_, section)| id_of(section) == Some(zero.pv));
            let first = member.and_then(|(_, section)| tree::number(section, "pe_start"));
            let is_new =
                first.is_some_and(|first| space::is_new(zero, first, extent, &self.taken, &now));
            if !is_new {
                return Err(EditError::Malformed(
                    "what was to be zeroed is not all of new volumes; nothing is changed",
                ));
            }
        }
        Ok(())
    }

    /// Sectors of an extent.
    fn extent_sectors(&self) -> Result<u64, EditError> {
        let size = tree::number(&self.metadata.body, "extent_size");
        size.filter(|size| *size > 0)
            .ok_or(EditError::Malformed("the group has no size of extents"))
    }

    fn volume(&self, name: &str) -> Result<&Section, EditError> {
        let mut volumes = self.metadata.volumes();
        let found = volumes.find(|(known, _)| *known == name);
        found
            .map(|(_, section)| section)
            .ok_or_else(|| EditError::NoVolume(name.to_owned()))
    }

    fn volume_mut(&mut self, name: &str) -> Result<&mut Section, EditError> {
        let volumes = tree::section_mut(&mut self.metadata.body, "logical_volumes");
        let found = volumes.and_then(|volumes| tree::section_mut(volumes, name));
        found.ok_or_else(|| EditError::NoVolume(name.to_owned()))
    }
}
