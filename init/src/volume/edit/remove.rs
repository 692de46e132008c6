//! Volumes that go, with their parts.

use super::super::text::Value;
use super::super::write::stamp::{DESTROYED_TAG, PARITY_TAG, RESERVED_TAG, tag};
use super::tree::{self, value};
use super::{Edit, EditError, Raid};

impl Edit<'_> {
    /// Leaves nothing of the group but its members, and says that it is none any more.
    pub fn destroy(&mut self) {
        self.metadata.body.shift_remove("logical_volumes");
        self.zeroes.clear();
        tag(&mut self.metadata, DESTROYED_TAG, true);
    }

    /// Notes that volumes of RAID with parity that lack an image are in use, or that they are not any more: see [`PARITY_TAG`].
    pub fn use_parity(&mut self, is_in_use: bool) {
        tag(&mut self.metadata, PARITY_TAG, is_in_use);
    }

    /// Notes that clients of the LUN with this serial number are registered for persistent reservations, or that none is any more: see
    /// [`RESERVED_TAG`].
    pub fn note_reserved(&mut self, serial: &str, is_reserved: bool) {
        let reserved = format!("{RESERVED_TAG}{serial}");
        tag(&mut self.metadata, &reserved, is_reserved);
    }

    /// Removes a volume: its extents are free then, and what is on them stays there until they are used again.
    ///
    /// # Errors
    /// Something stands on it, it is a part of something, or its kind cannot be removed here.
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        let kind = tree::kind(self.volume(name)?)
            .unwrap_or_default()
            .to_owned();
        let in_use = |why: String| {
            Err(EditError::InUse {
                lv: name.to_owned(),
                why,
            })
        };
        if !self.is_usable(name) {
            return in_use("is a part of another one".to_owned());
        }
        let known = matches!(kind.as_str(), "striped" | "thin" | "thin-pool")
            || Raid::of_kind(&kind).is_some();
        if !known {
            return Err(self.wrong_kind(name));
        }
        self.is_not_merging(name)?;
        let tie = self.snapshot_of(name);
        let mut users = self.users(name);
        users.retain(|user| Some(user) != tie.as_ref());
        if kind == "thin" {
            // A snapshot in the pool is a volume of its own; that it names its origin is for people. Its pool names it
            // as long as a message waits.
            let pool = self.pool_of(name);
            users.retain(|user| Some(user) != pool.as_ref() && self.pool_of(user).is_none());
        }
        if let Some(user) = users.first() {
            return in_use(format!("is used by {user}"));
        }
        if kind == "thin" {
            self.remove_thin(name)?;
        }
        let mut gone = self.parts(name);
        gone.push(name.to_owned());
        gone.extend(tie);
        self.drop_volumes(&gone);
        if kind == "thin-pool" && !self.has_pools() {
            let volumes = self.metadata.volumes();
            let spares = volumes.filter(|(name, _)| name.ends_with("_pmspare"));
            let spares: Vec<String> = spares.map(|(name, _)| name.to_owned()).collect();
            self.drop_volumes(&spares);
        }
        Ok(())
    }

    fn remove_thin(&mut self, name: &str) -> Result<(), EditError> {
        let device = {
            let mut segments = tree::segments(self.volume(name)?);
            segments.find_map(|segment| tree::number(segment, "device_id"))
        };
        let (Some(pool), Some(device)) = (self.pool_of(name), device) else {
            return Err(EditError::Malformed(
                "a thin volume has no pool or no number",
            ));
        };
        let waits = self.volume(&pool).is_ok_and(|pool| {
            tree::segments(pool).any(|segment| tree::references(segment).contains(&name))
        });
        if waits {
            return Err(EditError::InUse {
                lv: name.to_owned(),
                why: "is not made yet: activate its pool first".to_owned(),
            });
        }
        self.message(&pool, "delete", value(device))?;
        self.orphan(name);
        Ok(())
    }

    /// Thin snapshots of a volume stand alone from now on.
    pub(super) fn orphan(&mut self, name: &str) {
        let volumes = tree::section_mut(&mut self.metadata.body, "logical_volumes");
        for (_, volume) in volumes.into_iter().flatten() {
            let Value::Section(volume) = volume else {
                continue;
            };
            if let Some(segment) = tree::section_mut(volume, "segment1")
                && tree::word(segment, "type") == Some("thin")
                && tree::word(segment, "origin") == Some(name)
            {
                segment.shift_remove("origin");
            }
        }
    }

    /// The pool of a thin volume.
    pub(super) fn pool_of(&self, name: &str) -> Option<String> {
        let volume = self.volume(name).ok()?;
        let mut segments = tree::segments(volume);
        segments.find_map(|segment| tree::word(segment, "thin_pool").map(str::to_owned))
    }

    fn has_pools(&self) -> bool {
        let mut volumes = self.metadata.volumes();
        volumes.any(|(_, volume)| {
            let kind = tree::kind(volume);
            matches!(kind, Some("thin-pool" | "cache-pool"))
        })
    }

    pub(super) fn drop_volumes(&mut self, names: &[String]) {
        let body = &mut self.metadata.body;
        if let Some(volumes) = tree::section_mut(body, "logical_volumes") {
            volumes.retain(|name, _| !names.contains(name));
            // lvm2 has no section then.
            if volumes.is_empty() {
                body.shift_remove("logical_volumes");
            }
        }
    }
}
