//! Classic snapshots: a store for what was overwritten in the origin (`lib/snapshot/snapshot.c` of lvm2).
//!
//! In the text a snapshot is two volumes: the store, under the snapshot's name and hidden, and `snapshotN`, which ties it to the
//! origin.

use super::super::group::LOST_TAG;
use super::super::text::Section;
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
        self.is_not_merging(origin)?;
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

    /// Begins to give an origin back what a snapshot has (`init_snapshot_merge`): its store is one that is being merged from now on,
    /// and what ties the two is hidden. Whoever activates the group has the kernel do it.
    ///
    /// # Errors
    /// It is no snapshot, or one that is lost; or its origin is of a kind, or in a state, in which it cannot have it.
    pub fn begin_merge(&mut self, snapshot: &str) -> Result<(), EditError> {
        self.volume(snapshot)?;
        let in_use = |lv: &str, why: &str| {
            Err(EditError::InUse {
                lv: lv.to_owned(),
                why: why.to_owned(),
            })
        };
        let Some((tie, origin)) = self.tie(snapshot) else {
            return Err(self.wrong_kind(snapshot));
        };
        self.is_not_merging(snapshot)?;
        self.is_not_merging(&origin)?;
        if tree::has(self.volume(snapshot)?, "tags", LOST_TAG) {
            return in_use(snapshot, "is lost: `snapshot remove` takes it away");
        }
        let volume = self.volume(&origin)?;
        let kind = tree::kind(volume).unwrap_or_default();
        if kind != "striped" && super::Raid::of_kind(kind).is_none() {
            return Err(self.wrong_kind(&origin));
        }
        // That of a sparse volume is hidden.
        if !tree::has(volume, "status", "VISIBLE") || !tree::has(volume, "status", "WRITE") {
            return in_use(&origin, "takes no writes, and so gets nothing back");
        }
        let is_external = |volume: &Section| {
            let mut segments = tree::segments(volume);
            segments.any(|one| tree::word(one, "external_origin") == Some(origin.as_str()))
        };
        if self.metadata.volumes().any(|(_, one)| is_external(one)) {
            return in_use(&origin, "is what thin volumes came from");
        }
        let tie = self.volume_mut(&tie)?;
        tree::set_word(tie, "status", "VISIBLE", false);
        let segment = tree::section_mut(tie, "segment1")
            .ok_or(EditError::Malformed("a snapshot has no segment"))?;
        // In its place, where lvm2 writes it.
        let entries = std::mem::take(segment).into_iter();
        let merging = |key: String| match key.as_str() {
            "cow_store" => "merging_store".to_owned(),
            _ => key,
        };
        *segment = entries.map(|(key, value)| (merging(key), value)).collect();
        Ok(())
    }

    /// Ends a merge as lvm2 does when the kernel says that it is over: the snapshot goes, and its extents are free. Not before the
    /// kernel says so: until then a part of what the origin has is in the store alone.
    ///
    /// # Errors
    /// It is not being merged.
    pub fn end_merge(&mut self, snapshot: &str) -> Result<(), EditError> {
        self.volume(snapshot)?;
        let tie = self.tie(snapshot).filter(|(tie, _)| self.merges(tie));
        let Some((tie, _)) = tie else {
            return Err(self.wrong_kind(snapshot));
        };
        let mut gone = self.parts(snapshot);
        gone.extend([snapshot.to_owned(), tie]);
        self.drop_volumes(&gone);
        Ok(())
    }

    /// That a volume is neither a snapshot that is being merged nor one into which a snapshot is.
    pub(super) fn is_not_merging(&self, name: &str) -> Result<(), EditError> {
        for (tie, _) in self.metadata.volumes().filter(|(tie, _)| self.merges(tie)) {
            let mut segments = tree::segments(self.volume(tie)?);
            let Some((store, origin)) = segments.find_map(|segment| {
                let word = |key| tree::word(segment, key);
                Some((word("merging_store")?, word("origin")?))
            }) else {
                continue;
            };
            if name == store || name == origin {
                return Err(EditError::InUse {
                    lv: name.to_owned(),
                    why: format!(
                        "is at work: {origin} gets back what snapshot {store} had; wait until that is over, `pools` shows how far it is"
                    ),
                });
            }
        }
        Ok(())
    }

    fn merges(&self, tie: &str) -> bool {
        self.volume(tie).is_ok_and(|tie| {
            let mut segments = tree::segments(tie);
            segments.any(|segment| tree::word(segment, "merging_store").is_some())
        })
    }

    /// What ties a store to its origin, and the origin.
    fn tie(&self, store: &str) -> Option<(String, String)> {
        let tie = self.snapshot_of(store)?;
        let mut segments = tree::segments(self.volume(&tie).ok()?);
        let origin = segments
            .find_map(|segment| tree::word(segment, "origin"))?
            .to_owned();
        Some((tie, origin))
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
