//! What clients registered for persistent reservations of their own: given back by an import, or the LUN is held back.
//!
//! A cluster of clients that shut one of its members out by a reservation goes on as if that one could not write. So a LUN is not served
//! without registrations that are known to have been there (invariant I6): the one that was shut out would write beside the others.
//!
//! Decisions:
//! - That a LUN had some is said by a tag of the volume group, [`RESERVED_TAG`], and not by the state volume alone: most pools have clients that never
//!   ask for any, and are not to lose their service with a small file system that nobody needs. It is written by the first look after
//!   the first registration, and taken off after the last one is gone: a write of metadata, but rare. A head that dies before that look, with a state
//!   volume that is damaged as well, leaves it unsaid.
//! - A registration of who is no client is left out, as one that was shut out must not hold against the others. Not so while it is not known who is: with the
//!   list of clients that were let in at a console unread, or a line of it not understood, such a LUN is held back.
//! - A LUN that clients use is never taken from them for it: the kernel of this head has their registrations.
//! - The way out is `serve_without_reservations` in the configuration, and no order: who serves next must know as well.

use std::mem;

use tracing::{error, info};

use super::Worker;
use crate::export::iscsi::reservations::Unrestored;
use crate::export::{ExportPlan, LunPlan};
use crate::status;
use crate::sync::lock;
use crate::volume::VolumeGroup;
use crate::volume::write::stamp::RESERVED_TAG;

/// What a note begins with that is over when it is said.
const UNSAID: &str = "that clients have persistent reservations is not noted on the disks";

/// LIO answers clients as if it kept what they register. No problem that costs redundancy: most clients never ask for it.
pub(super) const NOWHERE_TO_KEEP: &str = "the pool has no state volume: persistent reservations of its LUNs' clients end with a takeover or a \
    handover, whatever the clients asked for; `pool import` makes one, and keeps what they have registered by then";

impl Worker {
    /// Says that nothing keeps what clients of LUNs register, until something does.
    pub(super) fn note_nowhere_to_keep(&self, targets: &[ExportPlan]) {
        let has_luns = targets.iter().any(|target| !target.luns.is_empty());
        let none = status::State::default();
        let is_so = has_luns && lock(&self.report).state_volume.as_ref() == Some(&none);
        match is_so {
            true => self.note_metadata(NOWHERE_TO_KEEP.to_owned()),
            false => lock(&self.report)
                .notes
                .retain(|note| note != NOWHERE_TO_KEEP),
        }
    }

    /// Has LUNs get back what clients registered, and takes out of the plans those that must not be offered without it.
    pub(super) fn restore_registrations(&self, targets: &mut [ExportPlan]) {
        let place = self.open_state_place();
        let (mut lost, mut held) = (Vec::new(), Vec::new());
        let unknown_clients = self.unknown_clients();
        for target in targets {
            target.unknown_clients.clone_from(&unknown_clients);
            match &place {
                Ok(place) => self.host.keep_reservations(target, place),
                Err(why) => target.keep_no_reservations(why),
            }
            for lun in mem::take(&mut target.luns) {
                let name = format!("LUN {} of {}", lun.lun, target.iqn);
                let Some((is_known, why)) = self.lacks(&lun) else {
                    target.luns.push(lun);
                    continue;
                };
                let is_served = !is_known
                    || self.pool().serve_without_reservations
                    || self.is_offered(&target.iqn, &lun);
                if is_served {
                    lost.push(format!("{name}: {why}"));
                    target.luns.push(lun);
                } else {
                    held.push(format!(
                        "{name} is not offered: its clients registered for persistent reservations, and what they registered cannot be given \
                         back: {why}"
                    ));
                    target.held.push(lun);
                }
            }
        }
        let mut report = lock(&self.report);
        for held in held.iter().filter(|held| !report.luns_held.contains(held)) {
            error!(pool = self.pool().name, "{held}");
        }
        report.luns_held = held;
        // What was said of an import stands as long as it does.
        for problem in lost {
            if !report.lost_reservations.contains(&problem) {
                report.lost_reservations.push(problem);
            }
        }
    }

    /// Why a LUN gets nothing back that clients may have registered, and whether they are known to have.
    fn lacks(&self, lun: &LunPlan) -> Option<(bool, String)> {
        let why = lun.unrestored.as_ref()?;
        let claim = self.claim.as_ref();
        let is_known = claim.is_some_and(|claim| has_tag(&claim.group, &lun.serial));
        match why {
            Unrestored::Damaged(_) | Unrestored::UnknownClient { .. } => {
                Some((true, why.to_string()))
            }
            Unrestored::Cut(_) => Some((is_known, why.to_string())),
            Unrestored::NoFile | Unrestored::NoPlace(_) => {
                is_known.then(|| (true, why.to_string()))
            }
        }
    }

    /// Whether clients have a LUN by now.
    fn is_offered(&self, iqn: &str, lun: &LunPlan) -> bool {
        let targets = self.served.iter().flat_map(|served| &served.targets);
        let mut luns = targets
            .filter(|target| target.iqn == iqn)
            .flat_map(|target| &target.luns);
        luns.any(|one| one.lun == lun.lun && one.serial == lun.serial)
    }

    /// Notes on the disks which LUNs have clients that are registered.
    pub(super) fn note_registrations(&mut self) {
        let (Some(claim), Some(served)) = (&self.claim, &self.served) else {
            return;
        };
        let Ok(place) = self.open_state_place() else {
            return;
        };
        // What is there is not known until the kernel followed.
        if claim.behind.is_some() {
            return;
        }
        let luns = served.targets.iter().flat_map(|target| &target.luns);
        let mut changes = Vec::new();
        for lun in luns {
            let has = self.host.has_registrations(&place, &lun.serial);
            if has.is_some_and(|has| has != has_tag(&claim.group, &lun.serial)) {
                changes.push((lun.serial.clone(), has == Some(true)));
            }
        }
        if changes.is_empty() {
            return;
        }
        let author = self.author("orthrus: clients' persistent reservations".to_owned());
        let edited = self.host.edit(&claim.group, &author, &|edit| {
            for (serial, is_reserved) in &changes {
                edit.note_reserved(serial, *is_reserved);
            }
            Ok(())
        });
        let seqno = edited.as_ref().ok().map(|written| written.seqno);
        let pool = self.pool().name.clone();
        match (self.written(edited), seqno, &mut self.claim) {
            (Ok(()), Some(seqno), Some(claim)) => {
                claim.group.seqno = seqno;
                for (serial, is_reserved) in &changes {
                    let tag = format!("{RESERVED_TAG}{serial}");
                    claim.group.tags.retain(|one| *one != tag);
                    claim.group.tags.extend(is_reserved.then_some(tag));
                    info!(
                        pool,
                        serial,
                        is_reserved,
                        "clients' persistent reservations are noted on the disks"
                    );
                }
                let mut report = lock(&self.report);
                report.notes.retain(|note| !note.starts_with(UNSAID));
            }
            (Err(error), ..) => self.note_metadata(format!("{UNSAID}: {error}")),
            (Ok(()), ..) => {}
        }
    }
}

fn has_tag(group: &VolumeGroup, serial: &str) -> bool {
    let mut tags = group.tags.iter();
    tags.any(|tag| tag.strip_prefix(RESERVED_TAG) == Some(serial))
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{owner, owner_failing_later, taken};
    use super::*;
    use crate::fence::shelf::Shelf;

    fn offered(worker: &Worker) -> usize {
        let served = worker.served.as_ref().unwrap();
        served.targets[0].luns.len()
    }

    fn serial(worker: &Worker) -> String {
        let served = worker.served.as_ref().unwrap();
        let lun = served.targets[0].numbered().next();
        lun.unwrap().serial.clone()
    }

    fn tags(worker: &Worker) -> &[String] {
        &worker.claim.as_ref().unwrap().group.tags
    }

    fn serves_all(worker: &mut Worker) {
        let mut config = (*worker.config).clone();
        config.pools[0].serve_without_reservations = true;
        worker.config = config.into();
    }

    #[test]
    fn a_lun_whose_clients_had_registered_is_not_served_without_the_state_volume_and_another_one_is()
     {
        let shelf = Shelf::new(2);
        let (mut worker, _) = owner(&shelf, "state on");
        worker.import(Epoch(1)).unwrap();
        assert_eq!(offered(&worker), 1);
        assert!(lock(&worker.report).luns_held.is_empty());
        let serial = serial(&worker);
        worker.release(true).unwrap();

        let (mut worker, log) = owner(&Shelf::new(2), "state on");
        let tag = |serial: &str| format!("{RESERVED_TAG}{serial}");
        worker.claim.as_mut().unwrap().group.tags = vec![tag("00"), tag(&serial)];
        worker.import(Epoch(1)).unwrap();
        assert_eq!(offered(&worker), 0);
        assert!(worker.lun("vol0").is_none() && worker.numbered_lun("vol0").is_some());
        // The rest is served, and the number stays taken.
        assert_eq!(taken(&log).last().map(String::as_str), Some("greeting"));
        assert!(worker.may_go("vol0").is_ok() && worker.keeps_numbers("a").is_err());
        let held = lock(&worker.report).luns_held.clone();
        assert!(
            held.len() == 1 && held[0].contains("the state volume is not used"),
            "{held:?}"
        );
        // Nobody said that none is registered any more.
        worker.note_registrations();
        assert_eq!(tags(&worker).len(), 2);
        worker
            .take_down(&mut super::super::laps::Laps::begin())
            .unwrap();
        assert!(lock(&worker.report).luns_held.is_empty());

        serves_all(&mut worker);
        worker.import(Epoch(1)).unwrap();
        assert_eq!(offered(&worker), 1);
        let lost = lock(&worker.report).lost_reservations.clone();
        assert!(
            lost.len() == 1 && lost[0].starts_with("LUN 0 of iqn"),
            "{lost:?}"
        );
    }

    #[test]
    fn a_file_of_reservations_that_is_damaged_holds_its_lun_back_and_a_first_change_that_was_cut_off_does_not()
     {
        for (what, is_known, served) in [
            ("damaged", false, 0),
            ("cut", false, 1),
            ("cut", true, 0),
            ("", false, 1),
            ("", true, 0),
            ("registered", true, 1),
        ] {
            let (mut worker, _, now) = owner_failing_later(&Shelf::new(2));
            worker.import(Epoch(1)).unwrap();
            let tag = format!("{RESERVED_TAG}{}", serial(&worker));
            worker
                .take_down(&mut super::super::laps::Laps::begin())
                .unwrap();
            let group = &mut worker.claim.as_mut().unwrap().group;
            group.tags.extend(is_known.then_some(tag));
            *now.lock().unwrap() = what;
            worker.import(Epoch(1)).unwrap();
            assert_eq!(offered(&worker), served, "{what:?} {is_known}");
            let report = lock(&worker.report);
            assert_eq!(report.luns_held.len(), 1 - served, "{what:?} {is_known}");
        }
    }

    #[test]
    fn a_lun_on_which_somebody_registered_is_held_back_while_it_is_not_known_who_is_let_in() {
        for (what, why) in [
            ("clients unread", "at a console cannot be read"),
            ("clients not understood", "1 lines of the list"),
        ] {
            let (mut worker, log, now) = owner_failing_later(&Shelf::new(2));
            *now.lock().unwrap() = what;
            worker.import(Epoch(1)).unwrap();
            assert_eq!(offered(&worker), 0, "{what}");
            // The rest is served.
            assert!(taken(&log).iter().any(|step| step == "greeting"));
            let held = lock(&worker.report).luns_held.clone();
            assert!(held.len() == 1 && held[0].contains(why), "{held:?}");
            worker
                .take_down(&mut super::super::laps::Laps::begin())
                .unwrap();
            *now.lock().unwrap() = "";
            worker.import(Epoch(1)).unwrap();
            assert_eq!(offered(&worker), 1, "{what}");
            assert!(lock(&worker.report).luns_held.is_empty());
        }
    }

    #[test]
    fn a_lun_that_clients_use_is_not_taken_from_them_by_a_file_that_cannot_be_read_now() {
        let (mut worker, _, now) = owner_failing_later(&Shelf::new(2));
        worker.import(Epoch(1)).unwrap();
        *now.lock().unwrap() = "damaged";
        let active = worker.host.activate(&worker.claim.as_ref().unwrap().group);
        let offer = worker.open_targets::<super::super::error::JobError>(&active.volumes.unwrap());
        offer.unwrap();
        assert_eq!(offered(&worker), 1);
        let lost = lock(&worker.report).lost_reservations.clone();
        assert!(lost.len() == 1 && lost[0].contains("aptpl_1"), "{lost:?}");
    }

    #[test]
    fn a_pool_of_luns_that_has_nowhere_to_keep_reservations_says_so_until_it_has() {
        let (mut worker, _) = owner(&Shelf::new(2), "");
        worker.import(Epoch(1)).unwrap();
        let said = |worker: &Worker| {
            let targets = &worker.served.as_ref().unwrap().targets;
            worker.note_nowhere_to_keep(targets);
            let notes = lock(&worker.report).notes.clone();
            notes.iter().filter(|note| *note == NOWHERE_TO_KEEP).count()
        };
        assert_eq!(said(&worker), 0);
        let state = lock(&worker.report).state_volume.take();
        lock(&worker.report).state_volume = Some(status::State::default());
        assert_eq!((said(&worker), said(&worker)), (1, 1));
        worker.served.as_mut().unwrap().targets[0].luns.clear();
        assert_eq!(said(&worker), 0, "nobody could register");
        lock(&worker.report).state_volume = state;
        assert_eq!(said(&worker), 0);
    }

    #[test]
    fn that_clients_are_registered_is_noted_on_the_disks_once_and_until_they_are_not() {
        let (mut worker, log, now) = owner_failing_later(&Shelf::new(2));
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        worker.note_registrations();
        assert!(taken(&log).is_empty() && tags(&worker).is_empty());
        for (what, noted) in [
            ("registered", true),
            ("damaged", true),
            ("registered", true),
            ("", false),
        ] {
            *now.lock().unwrap() = what;
            for _ in 0..2 {
                worker.note_registrations();
            }
            assert_eq!(tags(&worker).len(), usize::from(noted), "{what:?}");
        }
        assert_eq!(taken(&log), ["metadata", "metadata"]);
        *now.lock().unwrap() = "registered";
        worker.claim.as_mut().unwrap().behind = Some("not followed".to_owned());
        worker.note_registrations();
        assert!(taken(&log).is_empty());
    }
}
