//! Classic snapshots: a store for what was overwritten in the origin (`lib/snapshot/snapshot.c` of lvm2).
//!
//! In the text a snapshot is two volumes: the store, under the snapshot's name and hidden, and `snapshotN`, which ties it to the
//! origin.

use super::super::group::LOST_TAG;
use super::space::Space;
use super::tree::{self, text, value};
use super::{Edit, EditError, Layout};

/// lvm2's default: 4 KiB, in sectors.
const CHUNK: u64 = 8;

impl Edit<'_> {
    /// Adds a snapshot with a store of so many extents.
    ///
    /// # Errors
    /// The name, the size, the space, or an origin that can have none.
    pub fn create_snapshot(
        &mut self,
        origin: &str,
        name: &str,
        extents: u64,
    ) -> Result<(), EditError> {
        self.check_name(name)?;
        let volume = self.volume(origin)?;
        let kind = tree::kind(volume).unwrap_or_default();
        let is_origin = kind == "striped" || super::Raid::of_kind(kind).is_some();
        let length = tree::extents(volume);
        if !is_origin {
            return Err(self.wrong_kind(origin));
        }
        if !self.is_usable(origin) || self.snapshot_of(origin).is_some() {
            let why = "is a part of another one, or a snapshot itself".to_owned();
            return Err(EditError::InUse {
                lv: origin.to_owned(),
                why,
            });
        }
        let mut space = Space::of(&self.metadata, &[])?;
        // More than the origin and its table of exceptions is never used.
        let most = length
            .saturating_add(length.div_ceil(100))
            .saturating_add(1);
        self.build(&mut space, name, false, extents.min(most), Layout::Linear)?;
        let number = (0..).find(|number| self.volume(&format!("snapshot{number}")).is_err());
        let segment = tree::section([
            ("start_extent", value(0)),
            ("extent_count", value(length)),
            ("type", text("snapshot")),
            ("chunk_size", value(CHUNK)),
            ("origin", text(origin)),
            ("cow_store", text(name)),
        ]);
        self.add_volume(
            &format!("snapshot{}", number.unwrap_or(0)),
            true,
            vec![segment],
        );
        Ok(())
    }

    /// Notes that the kernel has given a snapshot up. One that was removed meanwhile needs none.
    ///
    /// # Errors
    /// It is no snapshot.
    pub fn lose_snapshot(&mut self, name: &str) -> Result<(), EditError> {
        if self.volume(name).is_err() {
            return Ok(());
        }
        if self.snapshot_of(name).is_none() {
            return Err(self.wrong_kind(name));
        }
        let volume = self.volume_mut(name)?;
        let is_new = !volume.contains_key("tags");
        tree::set_word(volume, "tags", LOST_TAG, true);
        // Behind the flags, where lvm2 has them.
        if is_new
            && let (Some(flags), Some(tags)) =
                (volume.get_index_of("flags"), volume.get_index_of("tags"))
        {
            volume.move_index(tags, flags + 1);
        }
        Ok(())
    }

    /// The volume that ties a store to its origin.
    pub(super) fn snapshot_of(&self, store: &str) -> Option<String> {
        let ties = |volume| {
            tree::segments(volume).any(|segment| {
                let stores = ["cow_store", "merging_store"];
                stores
                    .iter()
                    .any(|key| tree::word(segment, key) == Some(store))
            })
        };
        let mut volumes = self.metadata.volumes();
        let found = volumes.find(|(_, volume)| ties(volume));
        found.map(|(name, _)| name.to_owned())
    }
}
