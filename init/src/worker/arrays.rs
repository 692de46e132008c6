//! MD arrays under a claimed pool: started before its metadata are written, looked after while it is served.
//!
//! Decisions:
//! - They are started by the import and not by the claim, as the first of what the head writes: until the claim has ended a
//!   write of ours that hangs and goes on would be stopped by nobody.
//! - What is started is what the superblocks said after the claim. The group is read again from the arrays, since only then do its
//!   members have nodes; that these are the same members is checked.
//! - A member that dies under its owner is marked by the kernel, in the superblocks of the others, with the first I/O that
//!   it fails. From then on the pool is served, watched and released without it, and a takeover leaves it out. Before this head
//!   is called unfit for it, that is: the other one reads the mark at once, and finds itself fit.
//! - An array that nobody writes to would not notice: it is written to when a member has been silent for long.
//! - A former owner that lives and writes while it is fenced finds its writes to the arbiter refused first, and calls that healthy
//!   member faulty on disks that it may still write to. The claim stands, and the array is served without that member at once; when
//!   its clients are served the member is given back to the kernel, which fills it. Which member that is, [`crate::array::decision`] and
//!   [`super::claim`] say: a fresh one of the pool when this head looked before its claim, called faulty when it looked after it, and the claim
//!   took disks from a peer that had not let go. One that fails its writes after all is called faulty again by this kernel, and
//!   once is all that is tried. Where the claim was undone in between, or this head died before, nobody can tell any more: that is an
//!   operator's to mend.
//! - An array with parity that was written to and lacks a member is not served unless the configuration allows it, whoever threw that out: the
//!   former owner went on without it, so that what it had half written may be wrong here as after any crash.

use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use super::Worker;
use super::claim::{Claim, ids};
use super::error::JobError;
use crate::array::assemble::device_name;
use crate::array::{Condition, LeftOut};
use crate::disk::DiskId;
use crate::status;
use crate::sync::lock;
use crate::volume::VolumeGroup;

/// How long a member may not answer that the kernel has given up: it is not looked at for a moment that it takes to
/// come back, and not for as long as makes this head unfit (`READ_BACK_LIMIT`).
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

impl Worker {
    /// Starts the arrays that the claimed group is on, and reads the group from them.
    pub(super) fn start_arrays(&mut self) -> Result<(), JobError> {
        let Some(claim) = &self.claim else {
            return Ok(());
        };
        let mut arrays = claim.group.arrays().peekable();
        if arrays.peek().is_none() {
            return Ok(());
        }
        for on in arrays {
            let (pool, name) = (self.pool().name.as_str(), on.array.name());
            for (index, why) in &on.decision.left_out {
                let disk = &on.array.members[*index].disk.name;
                let was_claimed = claim.thrown_out.contains(&on.array.members[*index].disk.id);
                match why {
                    _ if was_claimed => warn!(
                        pool,
                        "array {name}: the former owner threw {disk} out when it lost its disks; it is taken back when clients are served"
                    ),
                    LeftOut::Spare => info!(pool, "array {name}: {disk} is a spare and not used"),
                    _ => warn!(pool, "array {name}: {disk} is out of date and left out"),
                }
            }
        }
        let group = self
            .host
            .start_arrays(&claim.group, &|| self.read_arrays(&claim.group))?;
        if let Some(claim) = &mut self.claim {
            claim.group = group;
        }
        self.look_at_arrays();
        Ok(())
    }

    /// The claimed group as it is on the arrays that run.
    fn read_arrays(&self, before: &VolumeGroup) -> Result<VolumeGroup, JobError> {
        let group = self.read_group()?;
        if ids(&group) != ids(before) {
            return Err(JobError::Changed {
                vg: self.pool().vg.clone(),
            });
        }
        Ok(group)
    }

    /// How the arrays are, for the operator; and members that the kernel has given up are given up here.
    pub(super) fn look_at_arrays(&mut self) {
        let is_on_arrays = |claim: &Claim| claim.group.arrays().next().is_some();
        if !self.claim.as_ref().is_some_and(is_on_arrays) {
            return;
        }
        self.take_back_members();
        let silent = self.lost_for(GIVE_UP_AFTER);
        let gone = self.lost_for(super::lost::MARK_AFTER);
        let Some(claim) = &mut self.claim else { return };
        let conditions = match self.host.arrays(&claim.group) {
            Ok(conditions) => conditions,
            Err(error) => return warn!(pool = self.pool().name, "{error}"),
        };
        lock(&self.report).arrays = conditions.iter().map(report).collect();
        for on in claim.group.arrays_mut() {
            let name = device_name(&on.array.id);
            let mut own = conditions.iter().filter(|one| one.running.name == name);
            if own.any(|one| one.missing == 0) {
                on.is_whole_again();
            }
        }
        let claim = &*claim;
        for on in claim.group.arrays().filter(|on| on.can_do_without(&gone)) {
            let mut running = conditions.iter().map(|one| &one.running);
            if let Some(running) = running.find(|running| on.takes_part(running, &gone)) {
                self.host.touch(&on.device(Some(running)));
            }
        }
        // Only those that cost nothing: the kernel has written on the others that it does without them.
        let lost: Vec<DiskId> = claim
            .group
            .arrays()
            .flat_map(|on| on.disks())
            .filter(|disk| conditions.iter().any(|one| one.has_given_up(disk.number)))
            .map(|disk| disk.id.clone())
            // And those that no array has.
            .chain(claim.thrown_out.clone())
            .filter(|id| silent.contains(id))
            .collect();
        if !lost.is_empty() {
            self.go_on_without_members(&lost);
        }
    }

    /// Members that were thrown out by the former owner are filled again, as soon as clients are served. Each is tried once.
    fn take_back_members(&mut self) {
        if self.served.is_none() {
            return;
        }
        // One that does not answer would hold up the kernel's array.
        let silent = self.silent_for(GIVE_UP_AFTER);
        let pool = self.pool().name.clone();
        let Some(claim) = &mut self.claim else { return };
        let (wait, back): (Vec<DiskId>, Vec<DiskId>) = std::mem::take(&mut claim.thrown_out)
            .into_iter()
            .partition(|id| silent.contains(id));
        claim.thrown_out = wait;
        let mut failed = Vec::new();
        for on in claim.group.arrays_mut() {
            let left_out = on.decision.left_out.iter().map(|(index, _)| *index);
            let is_back = |index: &usize| back.contains(&on.array.members[*index].disk.id);
            let members: Vec<usize> = left_out.filter(is_back).collect();
            if members.is_empty() {
                continue;
            }
            let name = on.array.name();
            let outcomes = self.host.take_back(on, &members);
            for (index, outcome) in members.into_iter().zip(outcomes) {
                let disk = on.array.members[index].disk.name.clone();
                match outcome {
                    Ok(_) => {
                        on.took_back(index);
                        info!(pool, "array {name}: {disk} is taken back, and filled");
                    }
                    Err(error) => failed.push(format!(
                        "{disk}: the former owner threw it out of array {name} when it lost its disks, and it cannot be taken back: {error}; \
                         mdadm --add on another host, while neither head holds the pool, does that"
                    )),
                }
            }
        }
        for what in failed {
            self.note_metadata(what);
        }
    }

    fn silent_for(&self, limit: Duration) -> Vec<DiskId> {
        let slot = lock(&self.watch);
        let watch = slot.iter().map(|(_, watch)| watch);
        watch.flat_map(|watch| watch.silent(limit)).collect()
    }

    /// From here on the claim is of the others.
    fn go_on_without_members(&mut self, lost: &[DiskId]) {
        let pool = self.pool().name.clone();
        let Some(claim) = &mut self.claim else { return };
        let Some(fence) = claim.fence.without(lost) else {
            return;
        };
        for pv in &mut claim.group.pvs {
            if let Some(on) = &mut pv.array {
                on.drop_members(lost);
            }
        }
        let watch = fence.watch(claim.key, self.on_loss.clone());
        let before = lock(&self.watch).replace((claim.key.epoch, watch));
        // A probe of the lost disk may never return, and who drops the watch waits for it.
        let dropped = thread::Builder::new()
            .name("unwatch".to_owned())
            .spawn(move || drop(before));
        if let Err(error) = dropped {
            warn!(pool, %error, "a lost disk is still watched");
        }
        claim.thrown_out.retain(|id| !lost.contains(id));
        let names = claim.fence.names_of(lost);
        claim.fence.unpin(lost);
        claim.fence = fence;
        self.report_without(lost);
        let what = format!(
            "{names}: lost, and its array goes on without it, and so it does after a takeover; mdadm --add on another host, while \
             neither head holds the pool, puts a new disk in"
        );
        self.note_metadata(what);
    }
}

fn report(condition: &Condition) -> status::Array {
    status::Array {
        name: condition.name.clone(),
        device: condition.running.node().display().to_string(),
        level: condition.level.clone(),
        state: condition.running.state.clone(),
        missing: condition.missing,
        resync: condition.resync,
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{Done, Epoch};

    use super::super::order::{group_on, owner_of_array, taken};
    use super::*;
    use crate::array::{Slot, tests};
    use crate::fence::shelf::Shelf;

    /// Whose former owner threw the first member out.
    fn taken_over(shelf: &Shelf, fails: &'static str) -> (Worker, super::super::order::Log) {
        let (mut worker, log) = owner_of_array(shelf, fails);
        let mut array = tests::thrown_out("raid1-10", &[0], 2);
        for (index, member) in array.members.iter_mut().enumerate() {
            member.disk.id = Shelf::id(index);
        }
        let claim = worker.claim.as_mut().unwrap();
        claim.group = group_on(array);
        claim.thrown_out = vec![Shelf::id(0)];
        (worker, log)
    }

    fn slot(worker: &Worker) -> Slot {
        let claim = worker.claim.as_ref().unwrap();
        claim.group.arrays().next().unwrap().decision.slots[0]
    }

    #[test]
    fn a_member_that_the_former_owner_threw_out_is_taken_back_once_and_when_clients_are_served() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = taken_over(&shelf, "");
        worker.look_at_arrays();
        assert!(taken(&log).is_empty());
        worker.import(Epoch(1)).unwrap();
        let steps = taken(&log);
        assert!(!steps.iter().any(|step| step == "take back"), "{steps:?}");
        assert_eq!(slot(&worker), Slot::Empty);
        worker.look_at_arrays();
        // While both are claimed and watched.
        assert_eq!(taken(&log), ["take back"]);
        assert_eq!(slot(&worker), Slot::Rebuilding(0));
        let group = &worker.claim.as_ref().unwrap().group;
        assert_eq!(group.disks().len(), 2);
        worker.look_at_arrays();
        assert!(taken(&log).is_empty());
        assert_eq!(worker.release(true).unwrap(), Done::Released);
        assert!(shelf.all().all(|disk| disk.keys().is_empty()));
    }

    #[test]
    fn one_that_cannot_be_taken_back_is_named_and_not_tried_again() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = taken_over(&shelf, "take back");
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        worker.look_at_arrays();
        worker.look_at_arrays();
        assert_eq!(taken(&log), ["take back"]);
        assert_eq!(slot(&worker), Slot::Empty);
        let notes = lock(&worker.report).notes.clone();
        let is_told = |note: &String| note.contains("sd0") && note.contains("mdadm --add");
        assert!(notes.iter().any(is_told), "{notes:?}");
        // It is still claimed, and let go with the others.
        assert_eq!(worker.release(true).unwrap(), Done::Released);
        assert!(shelf.all().all(|disk| disk.keys().is_empty()));
    }

    #[test]
    fn one_that_was_out_before_the_claim_is_not_taken_back() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = taken_over(&shelf, "");
        worker.claim.as_mut().unwrap().thrown_out.clear();
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        worker.look_at_arrays();
        assert!(taken(&log).is_empty());
        assert_eq!(slot(&worker), Slot::Empty);
    }

    #[test]
    fn a_member_that_the_kernel_gave_up_is_not_watched_or_released_any_more() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner_of_array(&shelf, "");
        let claim = worker.claim.as_mut().unwrap();
        let on = claim.group.pvs[0].array.as_mut().unwrap();
        for (index, member) in on.array.members.iter_mut().enumerate() {
            member.disk.id = Shelf::id(index);
            // That both are called alike means nothing.
            member.disk.name = "disk1".to_owned();
        }
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        worker.go_on_without_members(&[Shelf::id(0)]);
        // The kernel has written it: nothing is left to be.
        assert!(taken(&log).is_empty());
        let claim = worker.claim.as_ref().unwrap();
        let members = claim.fence.members().iter();
        assert_eq!(
            members.map(|m| m.name.as_str()).collect::<Vec<_>>(),
            ["disk1"]
        );
        let disks = claim.group.disks();
        assert_eq!(
            disks.iter().map(|disk| &disk.id).collect::<Vec<_>>(),
            [&Shelf::id(1)]
        );
        let on = claim.group.pvs[0].array.as_ref().unwrap();
        assert_eq!(on.decision.slots[0], Slot::Empty);
        assert!(!claim.group.pvs[0].is_missing);
        let slot = lock(&worker.watch);
        assert_eq!(slot.as_ref().unwrap().1.oldest().unwrap().0, "disk1");
        drop(slot);
        let notes = lock(&worker.report).notes.clone();
        assert!(
            notes.iter().any(|note| note.contains("goes on without it")),
            "{notes:?}"
        );
        assert_eq!(worker.release(true).unwrap(), Done::Released);
    }
}
