//! A new disk for one that was lost, or that is to go, while the pool is served: claimed, written into the group, and rebuilt.
//!
//! ```text
//! claim of the new disk ─► label ─► metadata: member in, images moved, member out ─► read again
//!   ─► watch of all ─► devices          and when all is rebuilt: metadata without the word
//! one that works:  metadata: missing ─► devices without it ─► all of that ─► wiped ─► its reservation off
//! ```
//!
//! Decisions:
//! - It comes in like any other new disk: see [`super::members`].
//! - Images on it carry lvm2's word `REBUILD` until they are whole. A takeover before that begins the rebuild anew. lvm2 takes the
//!   word away as soon as the kernel has the images; whoever dies before the kernel has written its own superblock there leaves a
//!   volume that it refuses.
//! - A lost member must be marked as missing by an owner, and the pool imported without it: until then the kernel has
//!   the lost disk in its tables.
//! - One that works is replaced only where every volume is whole and no member is lost: the others must have all that is on it.
//!   It is marked as missing first, and the devices go on without it; from then on it is a lost one, also after a crash, and there is one
//!   way for both. Its images are not swapped under the kernel's RAID, which would take what is on the new disk for what was on it.

use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use super::create::check_bare;
use super::members::{MemberError, member_called};
use crate::disk::{self, Disk};
use crate::sync::lock;
use crate::volume::edit::{Edit, NewMember};

impl Worker {
    /// Puts a disk, by name or identity, in the place of the member that is marked as missing.
    pub(super) fn replace_disk(&mut self, name: &str, wipe: bool) -> Result<String, MemberError> {
        self.may_change()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        let lost = claim.group.pvs.iter().find(|pv| pv.is_missing);
        let lost = lost.ok_or(MemberError::NoneLost)?.uuid;
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

    /// Puts a disk in the place of a member that works, and takes that out of the pool; both by name or identity.
    pub(super) fn replace_working(
        &mut self,
        old: &str,
        name: &str,
        wipe: bool,
    ) -> Result<String, MemberError> {
        self.may_change()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        let (id, leaving) = member_called(&claim.group, old)?;
        if let Some(lost) = claim.group.pvs.iter().find(|pv| pv.is_missing) {
            return Err(MemberError::NotWhole {
                what: format!("physical volume {} is lost", lost.uuid),
                todo: "replace that one first",
            });
        }
        let progress = self.host.progress(&claim.group);
        let progress = progress.map_err(ChangeError::Volume)?;
        if let Some(one) = progress.iter().find(|one| !one.is_whole) {
            return Err(MemberError::NotWhole {
                what: format!("volume {} is being made equal", one.lv),
                todo: "wait until `pools` says no more of it",
            });
        }
        self.fits_instead(name, wipe, &leaving)?;
        let author = self.author(format!("orthrus: disk replace {}", leaving.name));
        let goes = |edit: &mut Edit<'_>| edit.set_missing(id, true);
        let without = self.host.try_edit(&claim.group, &author, &goes);
        let without = without.map_err(ChangeError::Apply)?;
        if let Some(refusal) = without.refusal(&self.config.cluster) {
            let disk = leaving.name.clone();
            return Err(MemberError::Needed { disk, refusal });
        }
        let written = self.host.edit(&claim.group, &author, &goes);
        self.written(written)?;
        self.follow()?;
        // From here on it is a lost one.
        let said = self.replace_disk(name, wipe)?;
        let gone = self.dismiss(&leaving)?;
        info!(pool = self.pool().name, "{gone}");
        Ok(format!("{said}; {gone}"))
    }

    /// That a disk can take the place of another one, before that one is given up.
    fn fits_instead(&self, name: &str, wipe: bool, leaving: &Disk) -> Result<(), MemberError> {
        let seen: Vec<Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let disks = self.spare_disks(&seen, name)?;
        let [disk] = &disks[..] else {
            return Err(MemberError::NoneLost);
        };
        if disk.bytes < leaving.bytes {
            return Err(MemberError::Smaller {
                disk: disk.name.clone(),
                old: leaving.name.clone(),
            });
        }
        match wipe {
            true => Ok(()),
            false => Ok(check_bare(disk)?),
        }
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
        let done: Vec<String> = claim
            .group
            .rebuilding()
            .into_iter()
            .filter(|name| !claim.rebuilt.contains(name))
            .filter(|name| progress.iter().any(|one| one.lv == *name && one.is_whole))
            .collect();
        for volume in &mut lock(&self.report).volumes {
            let under_way = progress
                .iter()
                .find(|one| one.lv == volume.name && !one.is_whole);
            volume.resync = under_way.map(|one| one.percent);
        }
        if done.is_empty() {
            return;
        }
        let author = self.author(format!("orthrus: rebuilt {}", done.join(", ")));
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

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{Log, owner_of, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::Made;

    fn serving(made: &Made) -> (Worker, Log, Shelf) {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner_of(&shelf, "", Some(made));
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log, shelf)
    }

    fn name_of(worker: &Worker, index: usize) -> String {
        let group = &worker.claim.as_ref().unwrap().group;
        group.pvs[index].disk.as_ref().unwrap().name.clone()
    }

    #[test]
    fn a_disk_that_works_is_given_up_only_for_one_that_can_take_its_place() {
        let (mut worker, log, _shelf) = serving(&Made::on(2).raid("vol0", "raid1", &[0, 1]));
        let old = name_of(&worker, 0);
        let why = worker
            .replace_working(&old, "no-such-disk", true)
            .unwrap_err();
        assert!(
            why.to_string().contains("no disk \"no-such-disk\""),
            "{why}"
        );
        let why = worker
            .replace_working("no-such-disk", "sda", true)
            .unwrap_err();
        assert!(matches!(why, MemberError::NoMember { .. }), "{why}");
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn no_disk_is_given_up_beside_one_that_is_lost() {
        let made = Made::on(3).raid("vol0", "raid1", &[0, 1]).missing(2);
        let (mut worker, log, _shelf) = serving(&made);
        let old = name_of(&worker, 0);
        let why = worker
            .replace_working(&old, "no-such-disk", true)
            .unwrap_err();
        assert!(why.to_string().contains("replace that one first"), "{why}");
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn a_disk_that_has_all_of_a_volume_is_not_given_up() {
        let (worker, _, _shelf) = serving(&Made::on(2).simple("vol0", 0).simple("vol1", 1));
        let group = worker.claim.as_ref().unwrap().group.clone();
        let author = worker.author(String::new());
        let id = group.pvs[0].uuid;
        let without = worker
            .host
            .try_edit(&group, &author, &|edit| edit.set_missing(id, true))
            .unwrap();
        assert!(without.refusal(&worker.config.cluster).is_some());
    }
}
