//! Which names a new volume may have, and giving a volume another one.

use std::collections::BTreeSet;

use super::super::group;
use super::super::text::Value;
use super::tree;
use super::{Edit, EditError};

/// Parts of names that lvm2 gives to hidden volumes (`lib/misc/lvm-string.c`).
const RESERVED: [&str; 17] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage",
    "_rmeta", "_tdata", "_tmeta", "_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin",
];

/// The longest name of a device: those of group and volume with their hyphens doubled, one between, and a suffix
/// such as `_rimage_63` or `-real`.
const MOST_DEVICE: usize = 127 - 16;

impl Edit<'_> {
    /// Whether a volume may be called this.
    pub(super) fn check_name(&self, name: &str) -> Result<(), EditError> {
        let bad = |why| Err(EditError::Name(name.to_owned(), why));
        if !group::is_name(name) {
            return bad(
                "1 to 127 characters of a-z, A-Z, 0-9, _, +, . and hyphen, not starting with a hyphen",
            );
        }
        let is_member = name
            .strip_prefix("pv")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        let prefixes = ["pvmove", "snapshot"];
        if is_member
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
            || RESERVED.iter().any(|part| name.contains(part))
        {
            return bad("lvm2 keeps such names to itself");
        }
        let doubled = |name: &str| name.len() + name.matches('-').count();
        if doubled(&self.metadata.name) + 1 + doubled(name) > MOST_DEVICE {
            return bad("the device would have a name of more than 111 characters");
        }
        match self.volume(name) {
            Ok(_) => Err(EditError::Exists(name.to_owned())),
            Err(_) => Ok(()),
        }
    }

    /// Gives a volume another name, and its hidden parts with it.
    ///
    /// # Errors
    /// The name is taken or no name, or the volume is hidden.
    pub fn rename(&mut self, old: &str, new: &str) -> Result<(), EditError> {
        self.volume(old)?;
        self.check_name(new)?;
        if !self.is_usable(old) {
            let why = "is a part of another one".to_owned();
            return Err(EditError::InUse {
                lv: old.to_owned(),
                why,
            });
        }
        if self.snapshot_of(old).is_some() {
            self.is_not_merging(old)?;
        }
        let parts = self.parts(old);
        let change = |name: &str| -> Option<String> {
            if name == old {
                return Some(new.to_owned());
            }
            let suffix = name.strip_prefix(old)?.strip_prefix('_')?;
            let is_part = parts.iter().any(|part| part == name);
            is_part.then(|| format!("{new}_{suffix}"))
        };
        let members = self.member_names();
        let is_member = |name: &str| members.contains(name);
        let Some(volumes) = tree::section_mut(&mut self.metadata.body, "logical_volumes") else {
            return Err(EditError::NoVolume(old.to_owned()));
        };
        let all = std::mem::take(volumes).into_iter();
        *volumes = all
            .map(|(name, mut value)| {
                if let Value::Section(volume) = &mut value {
                    for (key, segment) in volume.iter_mut() {
                        if let Value::Section(segment) = segment
                            && key.starts_with("segment")
                        {
                            tree::rename(segment, &is_member, &change);
                        }
                    }
                }
                (change(&name).unwrap_or(name), value)
            })
            .collect();
        Ok(())
    }

    /// A volume for people: visible, or the store of a snapshot, which lvm2 hides in the text.
    pub(super) fn is_usable(&self, name: &str) -> bool {
        let visible = self.volume(name).is_ok_and(|volume| {
            tree::has(volume, "status", "VISIBLE") && tree::kind(volume) != Some("snapshot")
        });
        visible || self.snapshot_of(name).is_some()
    }

    fn member_names(&self) -> BTreeSet<String> {
        let members = self.metadata.members();
        members.map(|(name, _)| name.to_owned()).collect()
    }

    /// Volumes whose segments refer to this one.
    pub(super) fn users(&self, name: &str) -> Vec<String> {
        let members = self.member_names();
        let is_member = |name: &str| members.contains(name);
        let uses = |volume| {
            tree::segments(volume).any(|segment| tree::volumes(segment, &is_member).contains(&name))
        };
        let users = self.metadata.volumes().filter(|(_, volume)| uses(volume));
        users.map(|(user, _)| user.to_owned()).collect()
    }

    /// All hidden volumes that only this one stands on.
    pub(super) fn parts(&self, name: &str) -> Vec<String> {
        let members = self.member_names();
        let is_member = |name: &str| members.contains(name);
        let mut owners = vec![name.to_owned()];
        let mut at = 0;
        while let Some(owner) = owners.get(at) {
            at += 1;
            let Ok(volume) = self.volume(owner) else {
                continue;
            };
            let segments = tree::segments(volume);
            let names: Vec<String> = segments
                .flat_map(|segment| tree::volumes(segment, &is_member))
                .filter(|name| {
                    let part = self.volume(name);
                    part.is_ok_and(|part| !tree::has(part, "status", "VISIBLE"))
                })
                .map(str::to_owned)
                .collect();
            for name in names {
                let users = self.users(&name);
                if !owners.contains(&name) && users.iter().all(|user| owners.contains(user)) {
                    owners.push(name);
                }
            }
        }
        owners.split_off(1)
    }
}
