//! Changes of a pool's volumes while it is served: what an operator asked for, between two jobs of the core.
//!
//! ```text
//! create:  metadata ─► read again ─► device ─► LUN, or file system and share
//! grow:    metadata ─► read again ─► device, under its LUN or file system ─► file system
//! rename:  metadata ─► read again ─► device's name; the LUN stays
//! remove:  LUN ─► device ─► metadata ─► read again
//! ```
//!
//! Nobody gets at a volume whose extents are not written down as its own, and extents are free only when nothing writes to
//! them any more.
//!
//! Decisions:
//! - The core knows nothing of it: a job that comes meanwhile waits, and its own limit ends in a reset if that
//!   takes too long. All of it is done under the claim, by the thread that has it.
//! - A change may not give another number to a LUN that clients know (invariant I6): with `luns = "all"` they are numbered by
//!   name, so that only the last one can come or go, and a new name must stand where the old one stood.
//! - What fails after the metadata were written is undone there, too: the next import would fail at the same place.
//! - What the kernel does not follow is tried again before the next change, which is refused while it fails: extents that the
//!   metadata call free would be given to somebody else while a device that stayed writes to them.
//! - A volume that the configuration shares stays, but for one without a file system whose share is withheld: a head died before
//!   it was made. `volume remove`, and then `volume create --fs` again.
//!
//! Thin volumes have more to them: see [`super::thin`]; and so has giving a volume back what a snapshot with a store has: see
//! [`super::merges`].

use std::path::Path;
use std::time::Instant;

use tracing::{info, warn};

use super::Worker;
use super::claim::{Claim, allows_cache};
use super::error::JobError;
use super::shares::SharesError;
use crate::config::ShareConfig;
use crate::disk::{self, WriteCache};
use crate::export::nfs;
use crate::export::{ExportError, PlanError};
use crate::filesystem::{self, Budget, Found, MakeError, MountError};
use crate::sync::lock;
use crate::volume::edit::VolumeOrder;
use crate::volume::edit::apply::ApplyError;
use crate::volume::group::SegmentKind;
use crate::volume::write::{WriteError, Written};
use crate::volume::{VolumeError, VolumeGroup};

/// What a note begins with that is over when the kernel follows.
const BEHIND: &str =
    "what was changed last is not in force, and nothing else is changed until it is";

/// Why a volume was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Only the owner writes.
    #[error("this head does not serve the pool: say it on the one that does")]
    NotServed,
    /// What is active is not what the metadata say.
    #[error(
        "a disk was lost since the pool was imported: `handover` first, after which it is active without the disk"
    )]
    Marked,
    /// What the metadata call free may be in use.
    #[error(
        "what was changed last is not in force yet: {0}; nothing else is changed until it is. It is tried again with each change, \
         and `handover` ends it"
    )]
    Behind(Box<ChangeError>),
    /// Its members must stay as they are.
    #[error(
        "the pool is held by a lease: do it with lvm2 on one host, while neither head holds the pool"
    )]
    Lease,
    /// It is no snapshot, or its origin is gone.
    #[error("{0} is no snapshot of a volume that is there")]
    NoOrigin(String),
    /// What it has is not what its origin had.
    #[error(
        "snapshot {0} is lost: it has not what its origin had; `snapshot remove` takes it away"
    )]
    LostSnapshot(String),
    /// Whatever a table with a rebuild in it is loaded for, the kernel takes the rest for equal (`size_check` in dm-raid).
    #[error(
        "volume {volume} is being made equal ({percent} %), and a rebuild begun now would take what is not yet equal for done: wait \
         until `status` says no more that disks are made equal"
    )]
    Unequal {
        /// The volume.
        volume: String,
        /// How far it is.
        percent: u8,
    },
    /// A rebuild needs images that have all.
    #[error(
        "there is not enough to rebuild from: the kernel's RAID does without images that are old, or not equal yet: {images}; wait until \
         `status` says no more that disks are made equal, or `handover` first, which makes equal what the kernel threw out"
    )]
    Fallen {
        /// The images, for a sentence.
        images: String,
    },
    /// Arrays are mdadm's to take apart.
    #[error("stands on an array: take it apart with mdadm on a host that has the pool")]
    OnArray,
    /// They would be lost.
    #[error("has the volumes {volumes}: remove them first, or say --volumes")]
    HasVolumes {
        /// Their names.
        volumes: String,
    },
    /// The change would give another number to a LUN.
    #[error(
        "luns = \"all\" numbers LUNs by name, and {volume} would get another number: choose a name by which no \
         other one moves, or list the LUNs one by one in the configuration"
    )]
    Renumbers {
        /// The volume behind it.
        volume: String,
    },
    /// The configuration has a LUN of that name.
    #[error(
        "the configuration has a LUN of another target for a volume {volume}; `volume create` makes one"
    )]
    Wanted {
        /// The name.
        volume: String,
    },
    /// The configuration names the volume.
    #[error("the configuration has it as LUN {lun}: take it out there first, on both heads")]
    Listed {
        /// The LUN.
        lun: u32,
    },
    /// The configuration has it as a namespace.
    #[error("the configuration has it as namespace {nsid}: take it out there first, on both heads")]
    Namespace {
        /// The namespace.
        nsid: u32,
    },
    /// The configuration shares it.
    #[error("the configuration shares it as {share}: take it out there first, on both heads")]
    Shared {
        /// What clients call it.
        share: String,
    },
    /// A share needs a file system.
    #[error("the configuration shares it as {share}: say --fs ext4")]
    Bare {
        /// What clients call it.
        share: String,
    },
    /// A file system of ours is no client's.
    #[error(
        "the configuration does not share it: a volume for LUNs has no file system of this head"
    )]
    NotShared,
    /// The metadata.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// The configuration does not fit any more.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// The kernel's device.
    #[error("{0}")]
    Volume(#[from] VolumeError),
    /// The target, or the server of shares.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// The shares.
    #[error("{0}")]
    Shares(#[from] SharesError),
    /// A file system could not be made.
    #[error("{0}")]
    Make(#[from] MakeError),
    /// A file system did not take its new room.
    #[error("the volume has its new size, its file system not: {0}")]
    Room(#[from] MountError),
    /// The group cannot be read again.
    #[error("{0}")]
    Read(#[from] Box<JobError>),
}

impl Worker {
    /// That the pool is served here, from what the metadata say.
    pub(super) fn may_change(&self) -> Result<(), ChangeError> {
        match &self.claim {
            Some(claim) if self.served.is_some() && claim.marked => Err(ChangeError::Marked),
            Some(_) if self.served.is_some() => Ok(()),
            _ => Err(ChangeError::NotServed),
        }
    }

    /// The same; and what was changed before is in force: a device that the metadata do not name any more may still write where they
    /// call it free, as that of a snapshot does.
    pub(super) fn begin_change(&mut self) -> Result<(), ChangeError> {
        self.may_change()?;
        let is_behind = |claim: &Claim| claim.behind.is_some();
        if self.claim.as_ref().is_some_and(is_behind) {
            self.follow()
                .map_err(|error| ChangeError::Behind(Box::new(error)))?;
        }
        Ok(())
    }

    /// Does what was asked for; what to say of it.
    pub(super) fn change(&mut self, order: &VolumeOrder) -> Result<String, ChangeError> {
        self.begin_change()?;
        self.settle()?;
        if let VolumeOrder::RemoveSnapshot { name } = order
            && self.is_void_merge(name)
        {
            self.end_merge(name)?;
            return Ok(format!("{name} is removed"));
        }
        // What cannot be is said before anything is taken away.
        let author = self.author(order.to_string());
        let group = self
            .host
            .try_edit(self.group()?, &author, &|edit| order.apply(edit))?;
        no_cache_under_md(&group)?;
        let name = order.name();
        let said = match order {
            VolumeOrder::Create { filesystem, .. } => {
                self.keeps_numbers(name)?;
                self.fits(name, *filesystem)?;
                self.edit(order)?;
                if let Err(error) = self.follow_with(filesystem.map(|kind| (name, kind))) {
                    self.take_back(name);
                    return Err(error);
                }
                self.made(name)
            }
            VolumeOrder::CreatePool { .. } => {
                self.edit(order)?;
                if let Err(error) = self.follow() {
                    self.take_back(name);
                    return Err(error);
                }
                format!(
                    "thin pool {name} is made: no client sees it, and volumes can be made in it"
                )
            }
            VolumeOrder::CreateThin { .. } | VolumeOrder::Snapshot { .. } => {
                self.keeps_numbers(name)?;
                self.fits(name, None)?;
                self.edit(order)?;
                if let Err(error) = self.follow() {
                    match order {
                        VolumeOrder::Snapshot { bytes: Some(_), .. } => {
                            self.take_back_snapshot(name);
                        }
                        _ => self.take_back_thin(name),
                    }
                    return Err(error);
                }
                self.settle()?;
                self.made(name)
            }
            VolumeOrder::Restore { .. } => match self.is_classic_snapshot(name) {
                true => self.begin_merge(name, order)?,
                false => self.restore(name, order)?,
            },
            VolumeOrder::Grow { .. } => {
                self.edit(order)?;
                // Not undone: what was added may be in use at once.
                self.follow()?;
                match self.share_of(name) {
                    Some(share) => {
                        self.host
                            .grow_filesystem(&nfs::root(&self.pool().name).join(&share.name))?;
                        format!("{name} has its new size, and its file system, too")
                    }
                    None => {
                        format!("{name} has its new size: clients see it when they look again")
                    }
                }
            }
            VolumeOrder::Rename { new, .. } => {
                self.may_be_called(name, new)?;
                self.edit(order)?;
                if let Err(error) = self.follow() {
                    self.rename_back(name, new);
                    return Err(error);
                }
                format!("{name} is called {new} now")
            }
            VolumeOrder::Remove { .. } | VolumeOrder::RemoveSnapshot { .. } => {
                self.may_go(name)?;
                match self.is_classic_snapshot(name) {
                    true => self.remove_snapshot(name, order)?,
                    false => self.remove(name, order)?,
                }
                self.settle()?;
                format!("{name} is removed")
            }
        };
        let said = said + &self.said_of_default(order);
        info!(pool = self.pool().name, "{said}");
        Ok(said)
    }

    /// To whom a new volume is offered.
    fn made(&self, name: &str) -> String {
        let offered = match (self.lun(name), self.share_of(name), self.namespace_of(name)) {
            (Some((target, lun)), ..) if self.pool().targets.len() > 1 => {
                format!(", and LUN {} of {}", lun.lun, target.iqn)
            }
            (Some((_, lun)), ..) => format!(", and LUN {}", lun.lun),
            (None, Some(share), _) => format!(", and shared as /{}", share.name),
            (None, None, Some(one)) => format!(", and namespace {}", one.nsid),
            (None, None, None) => "; the configuration offers it to nobody".to_owned(),
        };
        format!("{name} is made{offered}")
    }

    fn remove(&mut self, name: &str, order: &VolumeOrder) -> Result<(), ChangeError> {
        let removed = self
            .withdraw(name)
            .and_then(|()| Ok(self.host.deactivate_volume(self.group()?, name)?))
            .and_then(|_| self.edit(order));
        self.as_it_is(name, removed)
    }

    /// Nobody is offered it any more.
    pub(super) fn withdraw(&self, name: &str) -> Result<(), ChangeError> {
        if let Some((target, lun)) = self.lun(name) {
            self.host.withdraw(target, lun)?;
        }
        Ok(self.withdraw_namespace(name)?)
    }

    /// A volume is gone, or offered again as it was, as far as that goes.
    fn as_it_is(
        &mut self,
        name: &str,
        removed: Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let followed = self.follow();
        if let (Err(_), Err(also)) = (&removed, &followed) {
            warn!(pool = self.pool().name, "volume {name} is not back: {also}");
        }
        removed.and(followed)
    }

    /// Of a snapshot with a store the metadata come first: once its device is gone the origin is written to without it, and
    /// it is worth nothing. What is still written to its store until then is of no use to anybody.
    fn remove_snapshot(&mut self, name: &str, order: &VolumeOrder) -> Result<(), ChangeError> {
        let removed = self.withdraw(name).and_then(|()| self.edit(order));
        self.as_it_is(name, removed)
    }

    fn is_classic_snapshot(&self, name: &str) -> bool {
        let Ok(group) = self.group() else {
            return false;
        };
        let segments = group.lvs.iter().flat_map(|lv| &lv.segments);
        let mut stores = segments.filter_map(|segment| match &segment.kind {
            SegmentKind::Snapshot(snapshot) => group.lvs.get(snapshot.cow),
            _ => None,
        });
        stores.any(|store| store.name == name)
    }

    /// A snapshot that was written down and cannot be used goes again.
    fn take_back_snapshot(&mut self, name: &str) {
        let order = VolumeOrder::RemoveSnapshot {
            name: name.to_owned(),
        };
        if let Err(error) = self.remove_snapshot(name, &order) {
            let pool = self.pool().name.as_str();
            warn!(pool, "undo of making snapshot {name}: {error}");
        }
    }

    /// A volume that was written down and cannot be used goes again.
    fn take_back(&mut self, name: &str) {
        let order = VolumeOrder::Remove {
            name: name.to_owned(),
        };
        if let Err(error) = self.remove(name, &order) {
            warn!(
                pool = self.pool().name,
                "undo of making volume {name}: {error}"
            );
        }
    }

    /// A name that was written down and cannot be used goes again.
    fn rename_back(&mut self, name: &str, new: &str) {
        let order = VolumeOrder::Rename {
            name: new.to_owned(),
            new: name.to_owned(),
        };
        if let Err(error) = self.edit(&order).and_then(|()| self.follow()) {
            warn!(
                pool = self.pool().name,
                "undo of renaming volume {name}: {error}"
            );
        }
    }

    /// Takes a snapshot and its origin from their clients, changes the metadata, and offers what is there then. Nothing is changed
    /// unless the snapshot `has` what its origin had, also when nobody writes to either any more: what is true then stays so.
    pub(super) fn give_back(
        &mut self,
        origin: &str,
        snapshot: &str,
        order: &VolumeOrder,
        has: impl Fn(&Worker) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        for volume in [snapshot, origin] {
            if let Some(share) = self.share_of(volume) {
                let share = share.name.clone();
                return Err(ChangeError::Shared { share });
            }
        }
        self.may_go(snapshot)?;
        has(self)?;
        let given = self
            .take_both_away(origin, snapshot, has)
            .and_then(|()| self.edit(order));
        // As it is now, or as it was, as far as that goes.
        let followed = self.follow();
        given?;
        followed
    }

    fn take_both_away(
        &self,
        origin: &str,
        snapshot: &str,
        has: impl Fn(&Worker) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        for name in [origin, snapshot] {
            self.withdraw(name)?;
        }
        has(self)?;
        // The origin's device first: were it written to without that of a snapshot with a store, the snapshot would be worth nothing.
        for name in [origin, snapshot] {
            self.host.deactivate_volume(self.group()?, name)?;
        }
        Ok(())
    }

    /// Writes it into the metadata.
    pub(super) fn edit(&mut self, order: &VolumeOrder) -> Result<(), ChangeError> {
        let author = self.author(order.to_string());
        let written = self
            .host
            .edit(self.group()?, &author, &|edit| order.apply(edit));
        self.written(written)
    }

    /// What became of a write of metadata.
    pub(super) fn written(
        &mut self,
        outcome: Result<Written, ApplyError>,
    ) -> Result<(), ChangeError> {
        if let (Err(ApplyError::Write(error)), Some(claim)) = (&outcome, &mut self.claim)
            && error.is_unsettled()
        {
            claim.behind = Some(error.to_string());
        }
        match outcome {
            Ok(written) => {
                for failure in &written.failures {
                    self.note_metadata(format!("{failure}: its copy of the metadata is behind"));
                }
                Ok(())
            }
            Err(ApplyError::Write(WriteError::Fenced(failure))) => {
                self.fenced(&failure.disk);
                Err(ApplyError::Write(WriteError::Fenced(failure)).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings what is active and offered in line with what the disks say now.
    pub(super) fn follow(&mut self) -> Result<(), ChangeError> {
        self.follow_with(None)
    }

    /// The same; a new volume gets a file system before anybody is offered it.
    fn follow_with(&mut self, fresh: Option<(&str, filesystem::Kind)>) -> Result<(), ChangeError> {
        let followed = self.bring_in_line(fresh);
        let why = followed.as_ref().err().map(ToString::to_string);
        if let Some(why) = &why {
            self.note_metadata(format!("{BEHIND}: {why}"));
        } else {
            let mut report = lock(&self.report);
            report.notes.retain(|note| !note.starts_with(BEHIND));
        }
        if let Some(claim) = &mut self.claim {
            claim.behind = why;
        }
        followed
    }

    fn bring_in_line(
        &mut self,
        fresh: Option<(&str, filesystem::Kind)>,
    ) -> Result<(), ChangeError> {
        let group = self.read_group().map_err(Box::new)?;
        let active = self.host.reactivate(self.group()?, &group)?;
        if let Some(claim) = &mut self.claim {
            claim.group = group;
            // One that is to be compared may have another name now.
            claim.unsure.extend(claim.group.lacking_mirrors());
            // They have no word any more in what was just read.
            claim.rebuilt.clear();
            // What got another table was not followed to its end.
            claim.compared.clear();
            claim.lost_snapshots.clear();
        }
        let budget = Budget::begin(Instant::now());
        self.take_up_state(&active, budget);
        if let Some((name, kind)) = fresh
            && let Some(volume) = active.iter().find(|volume| volume.lv == name)
        {
            self.host.make_filesystem(volume, kind, budget)?;
        }
        self.open_targets::<ChangeError>(&active)?;
        self.open_nvme(&active)?;
        self.open_shares(&active, budget)?;
        self.report_volumes(&active);
        if let Some(claim) = &self.claim {
            self.ledger.keep_up(claim.key.epoch, &claim.group);
        }
        Ok(())
    }

    /// That a new volume changes the number of no LUN.
    pub(super) fn keeps_numbers(&self, name: &str) -> Result<(), ChangeError> {
        if self.pool().keeps_from_luns(name) || self.pool().lists(name) {
            return Ok(());
        }
        let behind = self
            .offered_by_name()
            .filter(|volume| volume.as_str() > name);
        match behind.min() {
            Some(volume) => Err(ChangeError::Renumbers { volume }),
            None => Ok(()),
        }
    }

    /// That the pool can be imported without a volume, with all other LUNs as they are.
    pub(super) fn may_go(&self, name: &str) -> Result<(), ChangeError> {
        if let Some(share) = self.share_of(name).filter(|_| !self.was_never_made(name)) {
            return Err(ChangeError::Shared {
                share: share.name.clone(),
            });
        }
        self.is_no_namespace(name)?;
        let Some((target, lun)) = self.numbered_lun(name) else {
            return Ok(());
        };
        if !target.by_name {
            return Err(ChangeError::Listed { lun: lun.lun });
        }
        self.keeps_numbers(name)
    }

    /// Whether a volume is what a head leaves that dies between its metadata and its file system: it is not shared, and nothing is on
    /// it. There is no other way to make it anew.
    fn was_never_made(&self, name: &str) -> bool {
        let (is_withheld, volume) = {
            let report = lock(&self.report);
            let mut shares = report.shares.iter();
            let is_withheld = shares.any(|share| share.volume == name && share.withheld.is_some());
            let mut volumes = report.volumes.iter();
            let volume = volumes.find(|volume| volume.name == name);
            let volume = volume.map(|volume| (volume.device.clone(), volume.bytes));
            (is_withheld, volume)
        };
        let Some((device, bytes)) = volume.filter(|_| is_withheld) else {
            return false;
        };
        match self.host.found_on(Path::new(&device), bytes) {
            Ok(found) => matches!(found, Found::Nothing | Found::Unfinished),
            Err(error) => {
                warn!(pool = self.pool().name, "{device}: {error}");
                false
            }
        }
    }

    fn is_no_namespace(&self, name: &str) -> Result<(), ChangeError> {
        let mut all = self.pool().nvme.iter().flat_map(|nvme| &nvme.namespaces);
        match all.find(|one| one.volume == name) {
            Some(one) => Err(ChangeError::Namespace { nsid: one.nsid }),
            None => Ok(()),
        }
    }

    /// That a volume can be called otherwise, with all LUNs as they are.
    fn may_be_called(&self, name: &str, new: &str) -> Result<(), ChangeError> {
        if let Some(share) = self.share_of(name).or(self.share_of(new)) {
            return Err(ChangeError::Shared {
                share: share.name.clone(),
            });
        }
        self.is_no_namespace(name)?;
        self.is_no_namespace(new)?;
        let Some((target, lun)) = self.numbered_lun(name) else {
            return Ok(());
        };
        if !target.by_name {
            return Err(ChangeError::Listed { lun: lun.lun });
        }
        // It would be another target's while this one still has it.
        if self.pool().lists(new) {
            return Err(ChangeError::Wanted {
                volume: new.to_owned(),
            });
        }
        let between =
            |volume: &String| volume != name && (volume.as_str() > name) != (volume.as_str() > new);
        match self.offered_by_name().find(between) {
            Some(volume) => Err(ChangeError::Renumbers { volume }),
            None => Ok(()),
        }
    }

    /// The volumes whose LUNs are numbered by name; none where the configuration lists them.
    fn offered_by_name(&self) -> impl Iterator<Item = String> {
        let targets = self.served.iter().flat_map(|served| &served.targets);
        let by_name = targets.filter(|target| target.by_name);
        by_name.flat_map(|target| target.numbered().map(|lun| lun.volume.clone()))
    }

    /// That a new volume is what the configuration makes of it: one with a file system is for a share, and a share's has one.
    fn fits(&self, name: &str, kind: Option<filesystem::Kind>) -> Result<(), ChangeError> {
        match (self.share_of(name), kind) {
            (Some(share), None) => Err(ChangeError::Bare {
                share: share.name.clone(),
            }),
            (None, Some(_)) => Err(ChangeError::NotShared),
            _ => Ok(()),
        }
    }

    /// The share that the configuration makes of a volume.
    pub(super) fn share_of(&self, volume: &str) -> Option<&ShareConfig> {
        let shares = self.pool().nfs.iter().flat_map(|nfs| &nfs.shares);
        shares.into_iter().find(|share| share.volume == volume)
    }

    pub(super) fn group(&self) -> Result<&VolumeGroup, ChangeError> {
        let claim = self.claim.as_ref();
        claim
            .map(|claim| &claim.group)
            .ok_or(ChangeError::NotServed)
    }
}

/// That no disk whose cache stays on would come to be under RAID: it was turned off at the claim, if that can be.
pub(super) fn no_cache_under_md(group: &VolumeGroup) -> Result<(), ChangeError> {
    for disk in group.disks() {
        let found = disk::refresh(&disk).map_or(disk.write_cache, |now| now.write_cache);
        if found != WriteCache::WriteThrough {
            allows_cache(group, &disk, found).map_err(Box::new)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{owner, owner_failing_later, taken};
    use std::sync::Arc;

    use super::*;
    use crate::export::LunPlan;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::{HIDDEN, Made, VISIBLE};

    fn remove(name: &str) -> VolumeOrder {
        VolumeOrder::Remove {
            name: name.to_owned(),
        }
    }

    fn create(name: &str) -> VolumeOrder {
        VolumeOrder::Create {
            name: name.to_owned(),
            bytes: 1,
            layout: None,
            filesystem: None,
        }
    }

    #[test]
    fn a_pool_that_is_not_served_here_is_not_changed() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        let refused = worker.change(&create("vol1"));
        assert!(
            matches!(refused, Err(ChangeError::NotServed)),
            "{refused:?}"
        );
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn no_lun_gets_another_number() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        let refused = worker.change(&create("also"));
        assert!(
            matches!(&refused, Err(ChangeError::Renumbers { volume }) if volume == "vol0"),
            "{refused:?}"
        );
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn a_volume_on_raid_is_not_made_on_a_disk_whose_cache_stays() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        // What would come of the order, on this host that changes nothing.
        let mut group = Made::on(2).raid("vol1", "raid1", &[0, 1]).group();
        group.pvs[1].disk.as_mut().unwrap().name = "no-such-disk".to_owned();
        group.pvs[1].disk.as_mut().unwrap().write_cache = WriteCache::WriteBack;
        worker.claim.as_mut().unwrap().group = group;
        let why = worker.change(&create("vol1")).unwrap_err().to_string();
        assert!(
            why.contains("no-such-disk") && why.contains("MD passes"),
            "{why}"
        );
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn a_volume_that_is_written_down_and_cannot_be_used_goes_again() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        // No disk of this machine has the group, so that it cannot be read again.
        let failed = worker.change(&create("vol1"));
        assert!(matches!(failed, Err(ChangeError::Read(_))), "{failed:?}");
        assert_eq!(taken(&log), ["metadata", "volume off", "metadata"]);
    }

    /// An owner that serves a volume with a snapshot.
    fn with_snapshot(shelf: &Shelf, fails: &'static str) -> (Worker, super::super::order::Log) {
        let (mut worker, log) = owner(shelf, fails);
        let tie = "type = \"snapshot\"\nchunk_size = 8\norigin = \"vol0\"\ncow_store = \"vol1\"";
        let group = Made::on(2)
            .simple("vol0", 0)
            .linear("vol1", HIDDEN, 1, 2)
            .volume("snapshot0", VISIBLE, 4, tie)
            .group();
        worker.claim.as_mut().unwrap().group = group;
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log)
    }

    #[test]
    fn a_snapshot_is_in_the_kernel_until_no_metadata_name_it() {
        for (fails, done) in [
            ("", &["LUN off", "metadata"][..]),
            ("LUN off", &["LUN off"]),
            ("metadata", &["LUN off", "metadata"]),
        ] {
            let shelf = Shelf::new(2);
            let (mut worker, log) = with_snapshot(&shelf, fails);
            if worker.lun("vol1").is_none() {
                let plan = &mut worker.served.as_mut().unwrap().targets[0];
                let volume = "vol1".to_owned();
                plan.luns.push(LunPlan {
                    lun: 1,
                    volume,
                    ..plan.luns[0].clone()
                });
            }
            let order = VolumeOrder::RemoveSnapshot {
                name: "vol1".to_owned(),
            };
            assert!(worker.change(&order).is_err());
            assert_eq!(taken(&log), done, "{fails}");
        }
    }

    #[test]
    fn nothing_is_changed_until_the_kernel_follows_what_was_changed_before() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = with_snapshot(&shelf, "");
        let order = VolumeOrder::RemoveSnapshot {
            name: "vol1".to_owned(),
        };
        // No disk of this machine has the group, so that nothing can be brought in line with it.
        assert!(worker.change(&order).is_err());
        taken(&log);
        let noted = |worker: &Worker| {
            let report = lock(&worker.report);
            report.notes.iter().any(|note| note.starts_with(BEHIND))
        };
        assert!(noted(&worker));
        for order in [create("vol9"), remove("vol0")] {
            let why = worker.change(&order).unwrap_err();
            assert!(matches!(why, ChangeError::Behind(_)), "{why}");
        }
        let why = worker.adopt().unwrap_err().to_string();
        assert!(why.contains("not in force yet"), "{why}");
        let why = worker.remove_disk("disk0").unwrap_err().to_string();
        assert!(why.contains("not in force yet"), "{why}");
        let why = worker.add_disk("sdz", false).unwrap_err().to_string();
        assert!(why.contains("not in force yet"), "{why}");
        assert!(taken(&log).is_empty(), "no metadata are written");
    }

    fn rename(name: &str, new: &str) -> VolumeOrder {
        VolumeOrder::Rename {
            name: name.to_owned(),
            new: new.to_owned(),
        }
    }

    #[test]
    fn a_volume_gets_only_a_name_by_which_no_lun_moves() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.import(Epoch(1)).unwrap();
        let plan = &mut worker.served.as_mut().unwrap().targets[0];
        for (lun, volume) in [(1, "vol1"), (2, "vol2")] {
            let volume = volume.to_owned();
            plan.luns.push(LunPlan {
                lun,
                volume,
                ..plan.luns[0].clone()
            });
        }
        taken(&log);
        for (new, stands) in [("vol3", "vol2"), ("vol", "vol0"), ("a", "vol0")] {
            let refused = worker.may_be_called("vol1", new);
            assert!(
                matches!(&refused, Err(ChangeError::Renumbers { volume }) if volume == stands),
                "{new}: {refused:?}"
            );
        }
        for new in ["vol1a", "vol10", "vol0x"] {
            assert!(worker.may_be_called("vol1", new).is_ok(), "{new}");
        }
        // It is no LUN at all.
        assert!(worker.may_be_called("orthrus_state", "a").is_ok());
    }

    #[test]
    fn only_the_target_that_has_all_volumes_numbers_its_luns_by_name() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        let second = "[[pool.iscsi]]\niqn = \"iqn.2026-01.org.orthrus:second\"\nclients = [\"iqn.1993-08.org.debian:01:client\"]\n";
        let lun = |volume: &str| format!("[[pool.iscsi.lun]]\nlun = 0\nvolume = \"{volume}\"\n");
        let text = super::super::tests::CONFIG.replace("[pool.iscsi]", "[[pool.iscsi]]");
        // vol0 is the pool's, and no other is.
        let config = format!(
            "{}{}{}{second}luns = \"all\"\n",
            text.replace("luns = \"all\"\n", ""),
            lun("vol0"),
            lun("none").replace("lun = 0", "lun = 1")
        );
        worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
        worker.import(Epoch(1)).unwrap();
        assert_eq!(
            taken(&log)
                .iter()
                .filter(|step| *step == "export on")
                .count(),
            2
        );
        let (target, _) = worker.lun("vol0").unwrap();
        assert!(!target.by_name);
        let withheld = lock(&worker.report).luns_withheld.clone();
        assert!(
            withheld[0].ends_with("no volume none is active"),
            "{withheld:?}"
        );
        let listed = worker.may_go("vol0");
        assert!(
            matches!(listed, Err(ChangeError::Listed { lun: 0 })),
            "{listed:?}"
        );
        // Nothing stands behind it.
        assert!(worker.keeps_numbers("also").is_ok());
        // What is one target's is not made another's by a name.
        let targets = &mut worker.served.as_mut().unwrap().targets;
        let also = LunPlan {
            volume: "also".to_owned(),
            ..targets[0].luns[0].clone()
        };
        targets[1].luns.push(also);
        let wanted = worker.may_be_called("also", "none");
        assert!(
            matches!(&wanted, Err(ChangeError::Wanted { volume }) if volume == "none"),
            "{wanted:?}"
        );
        assert!(worker.may_be_called("also", "more").is_ok());
        worker.release(true).unwrap();
        assert_eq!(
            taken(&log)
                .iter()
                .filter(|step| *step == "export off")
                .count(),
            2
        );
    }

    #[test]
    fn a_volume_that_is_shared_goes_only_when_nothing_was_ever_made_on_it() {
        let (mut worker, log, found) = owner_failing_later(&Shelf::new(2));
        let shares =
            "[pool.nfs]\n[[pool.nfs.share]]\nvolume = \"vol0\"\nclients = \"192.0.2.0/24\"\n";
        let config = format!("{}{shares}", super::super::tests::CONFIG);
        worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        let goes = |on_it, is_withheld: bool| {
            *found.lock().unwrap() = on_it;
            let why = is_withheld.then(|| "volume vol0 holds nothing".to_owned());
            lock(&worker.report).shares[0].withheld = why;
            worker.may_go("vol0").is_ok()
        };
        for on_it in ["nothing made", "half made"] {
            assert!(goes(on_it, true), "{on_it}");
            assert!(!goes(on_it, false), "it is shared");
        }
        assert!(!goes("", true), "a file system that cannot be mounted");
        assert!(!goes("", false));
    }

    #[test]
    fn a_name_that_is_written_down_and_cannot_be_used_goes_again() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        // No disk of this machine has the group, so that it cannot be read again.
        let failed = worker.change(&rename("vol0", "vol1"));
        assert!(matches!(failed, Err(ChangeError::Read(_))), "{failed:?}");
        assert_eq!(taken(&log), ["metadata", "metadata"]);
    }

    #[test]
    fn extents_are_free_only_when_nothing_writes_to_them_any_more() {
        for (fails, done) in [
            ("", &["LUN off", "volume off", "metadata"][..]),
            ("LUN off", &["LUN off"]),
            ("volume off", &["LUN off", "volume off"]),
        ] {
            let shelf = Shelf::new(2);
            let (mut worker, log) = owner(&shelf, fails);
            worker.import(Epoch(1)).unwrap();
            taken(&log);
            let _ = worker.remove("vol0", &remove("vol0"));
            assert_eq!(taken(&log), done, "{fails}");
        }
    }
}
