//! Disks that come into a pool and leave it while it is served.
//!
//! ```text
//! add:     look at the new disk ─► its claim ─► label ─► metadata: member in ─► read again ─► watch of all
//! remove:  metadata: member out ─► its label wiped ─► watch of the others ─► its reservation off
//! ```
//!
//! Decisions:
//! - A new disk is claimed under the epoch and key of the pool's claim before a byte is written to it, and once it is
//!   in the metadata every claim takes it like any other.
//! - What can be seen before is looked at before: a disk with somebody's data, which is refused, is neither reserved nor written to, as
//!   whoever uses it would notice.
//! - Only a disk on which nothing is leaves: volumes are moved off a disk by lvm2, on a host that has the pool.
//! - What leaves is wiped while it is still held. A crash before that leaves a disk with the label of a member that no
//!   group has any more: nobody reads its metadata against newer ones, and `pool create` wants `--wipe` for it.

use orthrus_hb::Authority;
use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use super::create::{CreateError, chosen, of_one_block_size, unclaimed};
use super::lost::end_watch;
use crate::Step;
use crate::disk::{self, Disk, DiskError, DiskId};
use crate::fence::{Fence, FenceError, MAX_MEMBERS, Member};
use crate::ledger::WriteStuck;
use crate::sync::lock;
use crate::volume::bare::{BareDisk, BareError};
use crate::volume::edit::apply::ApplyError;
use crate::volume::edit::{Edit, EditError, NewMember};
use crate::volume::write::BlockDevice;
use crate::volume::{self, PhysicalVolume, Uuid};

/// Why the members of a pool stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// There is none to replace.
    #[error("no member of the pool is marked as missing: there is nothing to replace")]
    NoneLost,
    /// Not here, or not now.
    #[error("{0}")]
    Change(#[from] ChangeError),
    /// The new disk cannot be had.
    #[error("{0}")]
    Create(#[from] CreateError),
    /// There would be too many.
    #[error("the pool has {MAX_MEMBERS} disks, and cannot have more")]
    Full,
    /// It is in the pool.
    #[error("{0}: is a disk of the pool already")]
    Member(String),
    /// By this name nobody could tell which one is meant.
    #[error("{name} is what the pool's disk {member} was called when it was claimed: say {id}")]
    Called {
        /// The name.
        name: String,
        /// The identity of the member.
        member: DiskId,
        /// That of the disk that has the name now.
        id: DiskId,
    },
    /// Nor by this one.
    #[error(
        "{0} is what several disks of the pool are called: say the identity, which `disks` shows"
    )]
    Ambiguous(String),
    /// No member is called like that.
    #[error("{wanted:?} is no disk of the pool; its disks are: {members}")]
    NoMember {
        /// What was asked for.
        wanted: String,
        /// What there is.
        members: String,
    },
}

impl Worker {
    /// Puts one more disk, by name or identity, into the pool.
    pub(super) fn add_disk(&mut self, name: &str, wipe: bool) -> Result<String, MemberError> {
        let what = format!("orthrus: disk add {name}");
        let add = |edit: &mut Edit<'_>, member: &NewMember| edit.add_member(member);
        let disk = self.bring_in(name, wipe, None, &what, &add)?;
        let said = format!("{} is one of the pool's disks now", disk.name);
        info!(pool = self.pool().name, "{said}");
        Ok(said)
    }

    /// Claims a disk, makes a member of it by way of `change`, and follows. It is opened in the place of the member
    /// `instead`, which is not here.
    pub(super) fn bring_in(
        &mut self,
        name: &str,
        wipe: bool,
        instead: Option<Uuid>,
        what: &str,
        change: &dyn Fn(&mut Edit<'_>, &NewMember) -> Result<(), EditError>,
    ) -> Result<Disk, MemberError> {
        self.begin_change()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        if claim.lease.is_some() {
            return Err(ChangeError::Lease.into());
        }
        if claim.fence.members().len() >= MAX_MEMBERS {
            return Err(MemberError::Full);
        }
        let seen: Vec<Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let disks = chosen(&seen, &[name.to_owned()])?;
        is_new(claim.fence.members(), name, &disks)?;
        let all: Vec<Disk> = claim
            .group
            .disks()
            .into_iter()
            .chain(disks.clone())
            .collect();
        of_one_block_size(&all)?;
        self.spare_pools(&volume::read_groups(&seen), &disks)?;
        let fence = Fence::open(&disks, self.identity()).map_err(CreateError::Fence)?;
        self.take_in(fence, disks, wipe, instead, what, change)
    }

    /// The same with disks that were found: one, and what fences it.
    fn take_in(
        &mut self,
        fence: Fence,
        mut disks: Vec<Disk>,
        wipe: bool,
        instead: Option<Uuid>,
        what: &str,
        change: &dyn Fn(&mut Edit<'_>, &NewMember) -> Result<(), EditError>,
    ) -> Result<Disk, MemberError> {
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        // It says no more than that nobody else has the disk: the claim is the pool's.
        unclaimed(&fence.survey(), self.config.cluster_id, self.me)?;
        for disk in &disks {
            self.look_at(disk, wipe, what, change)?;
        }
        let request = self.request(claim.key.epoch, Authority::Free);
        let claimed = fence.claim(&request).map_err(CreateError::Claim)?;
        let disk = fence.pin(&disks).pop().unwrap_or(disks.swap_remove(0));
        let put = self
            .without_cache(&disk, instead)
            .and_then(|()| self.put_in(&disk, wipe, instead, what, change));
        if is_unsettled(&put) {
            // It may be a member by now, and then it must be fenced like the others.
            self.join(fence)?;
            return put.map(|()| disk);
        }
        if let Err(error) = put {
            if let Err(stays) = fence.release(claimed.key) {
                warn!(pool = self.pool().name, "{stays}");
            }
            return Err(error);
        }
        self.join(fence)?;
        self.follow()?;
        if let Some(claim) = &self.claim {
            self.report_disks(&claim.group.disks(), &claim.fence);
        }
        Ok(disk)
    }

    /// That a disk can become a member, by what it has and by what the group has room for. Changes nothing.
    fn look_at(
        &self,
        disk: &Disk,
        wipe: bool,
        what: &str,
        change: &dyn Fn(&mut Edit<'_>, &NewMember) -> Result<(), EditError>,
    ) -> Result<(), MemberError> {
        let mut medium = open(disk)?;
        let mut new = bare(disk, &mut medium);
        let looked = match wipe {
            true => new.is_large_enough(),
            false => new.check(),
        };
        looked.map_err(CreateError::Bare)?;
        let member = new.member(Uuid::random().map_err(CreateError::Random)?);
        let author = self.author(what.to_owned());
        let tried = self
            .host
            .try_edit(self.group()?, &author, &|edit| change(edit, &member));
        tried.map_err(ChangeError::from)?;
        Ok(())
    }

    /// The new disk's cache goes off, as those of all others did at the claim. In the place of another one it must: images of
    /// RAID come to be on it. Else nothing is on it yet, and a volume that may not be is refused when it is made.
    fn without_cache(&self, disk: &Disk, instead: Option<Uuid>) -> Result<(), MemberError> {
        let mut switched = disk::disable_write_caches(std::slice::from_ref(disk));
        match switched.pop().unwrap_or(Ok(Step::Already)) {
            Ok(_) => Ok(()),
            Err(stays @ DiskError::CacheStays { .. }) if instead.is_none() => {
                warn!(pool = self.pool().name, "{stays}; clients are told");
                Ok(())
            }
            Err(error) => Err(CreateError::Cache(error).into()),
        }
    }

    /// Label and metadata.
    fn put_in(
        &mut self,
        disk: &Disk,
        wipe: bool,
        instead: Option<Uuid>,
        what: &str,
        change: &dyn Fn(&mut Edit<'_>, &NewMember) -> Result<(), EditError>,
    ) -> Result<(), MemberError> {
        let mut medium = open(disk)?;
        let mut new = bare(disk, &mut medium);
        if wipe {
            new.wipe().map_err(CreateError::Bare)?;
        }
        let id = Uuid::random().map_err(CreateError::Random)?;
        let member = new.make(id).map_err(CreateError::Bare)?;
        let mut group = self.group()?.clone();
        // Its disk among those that are opened, which is all that the writer takes from here.
        match group.pvs.iter_mut().find(|pv| Some(pv.uuid) == instead) {
            Some(pv) => {
                pv.is_missing = false;
                pv.disk = Some(disk.clone());
            }
            None => group.pvs.push(PhysicalVolume {
                uuid: id,
                hint: None,
                disk: Some(disk.clone()),
                array: None,
                is_missing: false,
                data_start: 0,
                extents: 0,
            }),
        }
        let author = self.author(what.to_owned());
        let changed = self
            .host
            .edit(&group, &author, &|edit| change(edit, &member));
        self.written(changed)?;
        Ok(())
    }

    /// The new member is watched and released with the others.
    fn join(&mut self, new: Fence) -> Result<(), MemberError> {
        let Some(claim) = &mut self.claim else {
            return Err(ChangeError::NotServed.into());
        };
        let all = claim
            .fence
            .with(new)
            .map_err(|error: FenceError| CreateError::Fence(error))?;
        let watch = all.watch(claim.key, self.on_loss.clone());
        claim.fence = all;
        let before = lock(&self.watch).replace((claim.key.epoch, watch));
        // Nothing is let go: a disk that does not answer is waited for by nobody.
        end_watch(before);
        Ok(())
    }

    /// Takes a disk, by name or identity, out of the pool, if nothing is on it.
    pub(super) fn remove_disk(&mut self, name: &str) -> Result<String, MemberError> {
        self.begin_change()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        if claim.lease.is_some() {
            return Err(ChangeError::Lease.into());
        }
        let members = claim.group.pvs.iter().filter(|pv| !pv.is_missing);
        let members = members.filter_map(|pv| {
            let mut disk = pv.disk.clone()?;
            // By the name that is shown, which it had when it was claimed.
            let mut claimed = claim.fence.members().iter();
            if let Some(member) = claimed.find(|member| member.id == disk.id) {
                disk.name.clone_from(&member.name);
            }
            Some((pv.uuid, disk, pv.array.is_some()))
        });
        let members: Vec<(Uuid, Disk, bool)> = members.collect();
        let is_meant = |disk: &Disk| disk.name == name || disk.id.to_string() == name;
        let mut meant = members.iter().filter(|(_, disk, _)| is_meant(disk));
        let first = meant.next().cloned();
        if meant.next().is_some() {
            return Err(MemberError::Ambiguous(name.to_owned()));
        }
        let Some((id, disk, is_array)) = first else {
            let names: Vec<&str> = members
                .iter()
                .map(|(_, disk, _)| disk.name.as_str())
                .collect();
            return Err(MemberError::NoMember {
                wanted: name.to_owned(),
                members: names.join(", "),
            });
        };
        if is_array {
            return Err(ChangeError::OnArray.into());
        }
        let author = self.author(format!("orthrus: disk remove {}", disk.name));
        let written = self
            .host
            .edit(&claim.group, &author, &|edit| edit.remove_member(id));
        self.written(written)?;
        // A copy that was there may have been made elsewhere since, and its last write not have come back.
        let written = self.ledger.dismiss(&disk.id);
        // Whatever does not answer that write would be waited for here without end.
        let failed = match written {
            Ok(()) => self.host.wipe(std::slice::from_ref(&disk), &[]),
            Err(_) => vec!["it does not answer".to_owned()],
        };
        self.part(&disk, written)?;
        self.follow()?;
        let pool = &self.pool().name;
        let said = match failed.is_empty() {
            true => format!(
                "{} is none of the pool's disks any more, and bare",
                disk.name
            ),
            false => format!(
                "{} is none of the pool's disks any more, and not bare: {}",
                disk.name,
                failed.join("; ")
            ),
        };
        info!(pool, "{said}");
        Ok(said)
    }

    /// One that is no member any more is not watched, and its reservation goes.
    fn part(&mut self, disk: &Disk, written: Result<(), WriteStuck>) -> Result<(), MemberError> {
        let Some(claim) = &mut self.claim else {
            return Err(ChangeError::NotServed.into());
        };
        let (left, gone) = (
            claim.fence.without(std::slice::from_ref(&disk.id)),
            claim.fence.only(&disk.id),
        );
        // The metadata never let the last one go.
        let (Some(left), Some(gone)) = (left, gone) else {
            return Ok(());
        };
        let key = claim.key;
        let watch = left.watch(key, self.on_loss.clone());
        claim.fence = left;
        let before = lock(&self.watch).replace((key.epoch, watch));
        match &written {
            // Not before it is over: it would take the release for a loss.
            Ok(()) => drop(before),
            Err(_) => end_watch(before),
        }
        let parted = match &claim.paths {
            Some(keeper) => keeper.close_one(&disk.id),
            None => Ok(()),
        };
        self.report_without(std::slice::from_ref(&disk.id));
        let parted = parted.map_err(|stays| stays.to_string());
        let written = written.map_err(|stuck| stuck.to_string());
        if let Err(stays) = parted.and(written) {
            // What could still be written through must be fenced like the rest.
            self.note_metadata(format!(
                "{stays}: it is no disk of the pool any more, and keeps its reservation"
            ));
            return Ok(());
        }
        if let Err(stays) = gone.release(key) {
            self.note_metadata(format!("{stays}: it is no disk of the pool any more"));
        }
        Ok(())
    }
}

fn open(disk: &Disk) -> Result<BlockDevice, CreateError> {
    BlockDevice::open(disk).map_err(|source| {
        CreateError::Bare(BareError::Io {
            disk: disk.name.clone(),
            step: "opening for writing",
            source,
        })
    })
}

fn bare<'a>(disk: &'a Disk, medium: &'a mut BlockDevice) -> BareDisk<'a, BlockDevice> {
    BareDisk {
        name: &disk.name,
        device: disk.path.to_str().unwrap_or_default(),
        bytes: disk.bytes,
        medium,
    }
}

/// That disks which are wanted by that name are none of the members, and called like none.
fn is_new(members: &[Member], wanted: &str, disks: &[Disk]) -> Result<(), MemberError> {
    for disk in disks {
        if members.iter().any(|member| member.id == disk.id) {
            return Err(MemberError::Member(disk.name.clone()));
        }
        let mut members = members.iter().filter(|_| wanted == disk.name);
        if let Some(member) = members.find(|member| member.name == disk.name) {
            return Err(MemberError::Called {
                name: disk.name.clone(),
                member: member.id.clone(),
                id: disk.id.clone(),
            });
        }
    }
    Ok(())
}

/// The metadata were written on some disks, and which text counts is not known.
fn is_unsettled(put: &Result<(), MemberError>) -> bool {
    match put {
        Err(MemberError::Change(ChangeError::Apply(ApplyError::Write(error)))) => {
            error.is_unsettled()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{owner, taken};
    use super::super::orders::{Order, PoolOrder};
    use super::*;
    use crate::fence::shelf::{Command, Shelf};
    use crate::volume::tests::made::Made;

    /// An owner of three disks that serves, on a host that fails at one step; the third is empty.
    fn serving(fails: &'static str) -> (Worker, super::super::order::Log, Shelf) {
        let shelf = Shelf::new(3);
        let (mut worker, log) = owner(&shelf, fails);
        let mut group = Made::on(3).raid("vol0", "raid1", &[0, 1]).group();
        for (index, pv) in group.pvs.iter_mut().enumerate() {
            let disk = pv.disk.as_mut().unwrap();
            disk.id = Shelf::id(index);
            // Another name than the one it was claimed by, which another disk has by now.
            disk.name = format!("disk{}", (index + 1) % 3);
        }
        worker.claim.as_mut().unwrap().group = group;
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log, shelf)
    }

    #[test]
    fn a_disk_that_leaves_is_wiped_before_its_reservation_goes_and_the_others_are_held_on() {
        let (mut worker, log, shelf) = serving("");
        // No disk of this machine has the group, so that it cannot be read again.
        let read = worker.remove_disk("disk2");
        assert!(
            matches!(read, Err(MemberError::Change(ChangeError::Read(_)))),
            "{read:?}"
        );
        // All keys are there until the wipe is over.
        assert_eq!(taken(&log), ["metadata", "wipe"]);
        let held: Vec<bool> = shelf.all().map(|disk| !disk.keys().is_empty()).collect();
        assert_eq!(held, [true, true, false]);
        let fence = &worker.claim.as_ref().unwrap().fence;
        assert!(fence.members().iter().all(|member| member.name != "disk2"));
        let slot = lock(&worker.watch);
        let watch = &slot.as_ref().unwrap().1;
        assert!(watch.lost().is_none(), "its own release is no loss");
    }

    #[test]
    fn an_order_is_told_of_while_it_is_carried_out() {
        let (mut worker, _log, shelf) = serving("");
        let (report, (tell, told)) = (worker.report(), std::sync::mpsc::channel());
        shelf.disk(2).hook = Some(Box::new(move |_, _, command| {
            if matches!(command, Command::Register(0)) {
                let busy = lock(&report).busy.clone();
                let _ = tell.send(busy.map(|busy| busy.what));
            }
        }));
        let what = PoolOrder::Remove {
            disk: "disk2".to_owned(),
        };
        worker.follow_order(Order::unheard(what));
        let told: Vec<Option<String>> = told.try_iter().collect();
        assert_eq!(told, [Some("disk remove disk2".to_owned())]);
        assert_eq!(lock(&worker.report).busy, None);
    }

    #[test]
    fn a_new_disk_is_no_member_and_is_not_wanted_by_the_name_of_one() {
        let (worker, _log, _shelf) = serving("");
        let claim = worker.claim.as_ref().unwrap();
        let members = claim.fence.members();
        let mut new = claim.group.disks().remove(0);
        (new.id, new.name) = (DiskId("naa.new".to_owned()), "disk9".to_owned());
        let is_new =
            |wanted: &str, disk: &Disk| is_new(members, wanted, std::slice::from_ref(disk));
        assert!(is_new("disk9", &new).is_ok());
        new.name = "disk1".to_owned();
        let why = is_new("disk1", &new).unwrap_err().to_string();
        assert!(
            why.contains("naa.01") && why.contains("say naa.new"),
            "{why}"
        );
        assert!(is_new("naa.new", &new).is_ok());
        (new.id, new.name) = (Shelf::id(0), "disk9".to_owned());
        for wanted in ["disk9", "naa.00"] {
            let refused = is_new(wanted, &new);
            assert!(
                matches!(refused, Err(MemberError::Member(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_disk_that_cannot_be_looked_at_is_neither_reserved_nor_written_to() {
        let (mut worker, log, _shelf) = serving("");
        let new = Shelf::new(1);
        let mut disk = worker.group().unwrap().disks().remove(0);
        (disk.id, disk.name) = (Shelf::id(0), "no-such-disk".to_owned());
        disk.path = "/dev/no-such-disk".into();
        let (tell, told) = std::sync::mpsc::channel();
        new.disk(0).hook = Some(Box::new(move |_, _, command| {
            let _ = tell.send(format!("{command:?}"));
        }));
        let add = |edit: &mut Edit<'_>, member: &NewMember| edit.add_member(member);
        for wipe in [false, true] {
            let refused = worker.take_in(
                new.fence(0),
                vec![disk.clone()],
                wipe,
                None,
                "orthrus: disk add",
                &add,
            );
            let why = refused.unwrap_err().to_string();
            assert!(why.contains("opening for writing"), "{why}");
        }
        let sent: Vec<String> = told.try_iter().collect();
        assert!(sent.iter().all(|command| command == "Read"), "{sent:?}");
        assert!(new.disk(0).keys().is_empty());
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn a_disk_leaves_by_a_name_that_only_one_has() {
        let (mut worker, log, _shelf) = serving("");
        let mut members = worker.claim.as_ref().unwrap().fence.members().to_vec();
        members[1].name = "disk0".to_owned();
        let fence = Fence::new(members, std::sync::Arc::new(std::thread::sleep)).unwrap();
        worker.claim.as_mut().unwrap().fence = fence;
        let why = worker.remove_disk("disk0").unwrap_err().to_string();
        assert!(why.contains("several"), "{why}");
        assert!(taken(&log).is_empty());
        assert!(worker.remove_disk("naa.02").is_err());
        assert_eq!(taken(&log), ["metadata", "wipe"]);
        let members = worker.claim.as_ref().unwrap().fence.members().iter();
        let left: Vec<&DiskId> = members.map(|member| &member.id).collect();
        assert_eq!(left, [&Shelf::id(0), &Shelf::id(1)]);
    }

    #[test]
    fn a_disk_stays_when_the_metadata_cannot_say_that_it_leaves() {
        let (mut worker, log, shelf) = serving("metadata");
        assert!(worker.remove_disk("disk2").is_err());
        assert_eq!(taken(&log), ["metadata"]);
        assert!(shelf.all().all(|disk| !disk.keys().is_empty()));
        assert_eq!(worker.claim.as_ref().unwrap().fence.members().len(), 3);
    }

    #[test]
    fn what_is_no_member_is_named_with_those_that_are() {
        let (mut worker, log, _shelf) = serving("");
        let why = worker.remove_disk("sdz").unwrap_err().to_string();
        assert!(
            why.contains("\"sdz\"") && why.contains("disk0, disk1, disk2"),
            "{why}"
        );
        let why = worker.add_disk("sdz", false).unwrap_err().to_string();
        assert!(why.contains("no disk \"sdz\""), "{why}");
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn the_disks_of_a_pool_that_is_not_served_here_stay_as_they_are() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        for refused in [worker.remove_disk("disk0"), worker.add_disk("sdz", true)] {
            assert!(
                matches!(refused, Err(MemberError::Change(ChangeError::NotServed))),
                "{refused:?}"
            );
        }
        assert!(taken(&log).is_empty());
    }
}
