//! A new disk for one that was lost, while the pool is served: claimed, written into the group, and rebuilt.
//!
//! ```text
//! claim of the new disk ─► label ─► metadata: member in, images moved, member out ─► read again
//!   ─► watch of all ─► devices          and when all is rebuilt: metadata without the word
//! ```
//!
//! Decisions:
//! - It comes in like any other new disk: see [`super::members`].
//! - Images on it carry lvm2's word `REBUILD` until they are whole. A takeover before that begins the rebuild anew. lvm2 takes the
//!   word away as soon as the kernel has the images; whoever dies before the kernel has written its own superblock there leaves a
//!   volume that it refuses.
//! - That word is not dropped earlier, as soon as the kernel's superblock says how far it is (`disk_recovery_offset`), though the kernel
//!   would go on from there (6.12: `super_validate`, `md_sync_position`). An image that fails a write in the middle of its rebuild is
//!   in the other superblocks as failed, and the next table takes it back *by the bitmap*, as if it had been whole once
//!   (`super_validate` gives it its `saved_raid_disk`): what was never copied, and not written since, would stay what the disk had, and
//!   be called equal. Only the word in the metadata says better, and whoever is to write it again may die first.
//!   (To go on all the same the word would stay, and only the table do without `rebuild`: where the superblock of each such image is as
//!   new as the others', and between the beginning and the end, and none of these says that an image failed.)
//!   Nor would anything be gained for the other images: while one lacks something, MD makes parity not equal at all, and a raid10
//!   wrongly (see `volume::resync`). These are seen to afterwards: see [`super::unsure`].
//! - Only a member that an owner has marked as missing is replaced, and only after the pool was imported without it:
//!   until then the kernel has the lost disk in its tables.

use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use super::members::MemberError;
use crate::sync::lock;
use crate::volume::edit::{Edit, NewMember};

impl Worker {
    /// Puts a disk, by name or identity, in the place of the member that is marked as missing.
    pub(super) fn replace_disk(&mut self, name: &str, wipe: bool) -> Result<String, MemberError> {
        self.may_change()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        let lost = claim.group.pvs.iter().find(|pv| pv.is_missing);
        let lost = lost.ok_or(MemberError::NoneLost)?.uuid;
        self.may_rebuild()?;
        let what = format!("orthrus: disk replace {lost}");
        let replace = |edit: &mut Edit<'_>, new: &NewMember| {
            edit.add_member(new)?;
            edit.replace_member(lost, new.id)?;
            edit.remove_member(lost)
        };
        let disk = self.bring_in(name, wipe, Some(lost), &what, &replace)?;
        let said = format!(
            "{} takes the place of the lost disk, and is rebuilt",
            disk.name
        );
        info!(pool = self.pool().name, "{said}");
        Ok(said)
    }

    /// How far volumes are that are made equal, and of those that are done the word `REBUILD` goes.
    pub(super) fn look_at_rebuilds(&mut self) {
        let Some(claim) = self.claim.as_ref().filter(|_| self.served.is_some()) else {
            return;
        };
        let progress = match self.host.progress(&claim.group) {
            Ok(progress) => progress,
            Err(error) => return warn!(pool = self.pool().name, "{error}"),
        };
        self.note_unsure(&progress);
        let Some(claim) = &self.claim else { return };
        let done: Vec<String> = claim
            .group
            .rebuilding()
            .into_iter()
            .filter(|name| !claim.rebuilt.contains(name) && !claim.unsure.contains(name))
            .filter(|name| progress.iter().any(|one| one.lv == *name && one.is_whole))
            .collect();
        for volume in &mut lock(&self.report).volumes {
            volume.resync = claim.group.under_way(&volume.name, &progress);
        }
        self.note_fallen(&progress);
        self.compare_unsure(&progress);
        if done.is_empty() {
            return;
        }
        let author = self.author(format!("orthrus: rebuilt {}", done.join(", ")));
        let Some(claim) = &self.claim else { return };
        let settled = self.host.edit(&claim.group, &author, &|edit| {
            done.iter().try_for_each(|name| edit.rebuilt(name))
        });
        if let Err(error) = self.written(settled) {
            self.note_metadata(format!("a rebuild is done, and not noted: {error}"));
            return;
        }
        for name in &done {
            info!(pool = self.pool().name, "volume {name} is rebuilt");
        }
        if let Some(claim) = &mut self.claim {
            // What is active has the word in its tables still: the group stays as it is until the next import.
            claim.rebuilt.extend(done);
        }
    }
}
