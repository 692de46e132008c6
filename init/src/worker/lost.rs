//! A member that died under its owner: it is marked as missing in the metadata, so that a takeover does without it.
//!
//! A claim takes all members, or two heads that see a half each could both serve. Only an owner may say that one does not
//! count any more, and only while it holds all others: after that no head serves with what is on the lost one, which
//! falls behind with the next write. Were it not said, a dead disk and then a dead head would be the end of a pool that
//! lost nothing.
//!
//! Decisions:
//! - It is marked after [`MARK_AFTER`]: by then the better head has the pool, if there is one that sees the disk.
//! - It is marked only when the pool can be served without it. A disk that volumes need is waited for.
//! - Nor is it marked when the kernel's RAID does without an image that is needed then, be its disk here or not: see
//!   [`super::fallen`].
//! - What is active stays as it is: the kernel's RAID knows which of its images is dead. The next import leaves it out.
//! - A disk that comes back is not taken back by itself: what is on it is old.

use std::thread;
use std::time::Duration;

use orthrus_hb::Epoch;
use tracing::warn;

use super::Worker;
use super::fallen::{as_active, said_of, trusting};
use super::parity::{note_parity_word, parity_word};
use crate::disk::DiskId;
use crate::fence::Watch;
use crate::sync::lock;
use crate::volume::VolumeGroup;
use crate::volume::edit::Edit;
use crate::volume::edit::apply::ApplyError;
use crate::volume::write::WriteError;

/// How long a member may not answer. Longer than a disk's own error recovery, and than its owner takes to hand the pool to
/// a head that sees more.
pub(super) const MARK_AFTER: Duration = Duration::from_secs(30);

impl Worker {
    /// Marks members that are lost, if the pool can do without them.
    pub(super) fn mark_lost(&mut self) {
        self.mark(&self.lost_for(MARK_AFTER));
    }

    /// The claim's disks that were not read back for so long though others were.
    pub(super) fn lost_for(&self, limit: Duration) -> Vec<DiskId> {
        let slot = lock(&self.watch);
        let watch = slot.iter().map(|(_, watch)| watch);
        watch.flat_map(|watch| watch.lost_for(limit)).collect()
    }

    pub(super) fn mark(&mut self, silent: &[DiskId]) {
        let held = self.claim.as_ref().filter(|_| self.served.is_some());
        // A lease has no reservations to be read back, and its slots are on certain disks.
        let Some(claim) = held.filter(|claim| claim.lease.is_none()) else {
            return;
        };
        let Some((mut group, lost)) = claim.group.without_disks(silent) else {
            return;
        };
        // Which are no reason against it any more. One whose store is on the lost disk cannot be written down before it: that
        // takes more than half of the members.
        let given_up = self.given_up(claim);
        for lv in &mut group.lvs {
            lv.is_lost |= claim.lost_snapshots.contains(&lv.name) || given_up.contains(&lv.name);
        }
        let names = claim.fence.names_of(silent);
        if let Some(refusal) = trusting(&group).refusal(&self.config.cluster) {
            let what =
                format!("{names}: is lost, and the pool cannot be served without it: {refusal}");
            self.note_metadata(what);
            return;
        }
        // What is left may be images that the kernel threw out before: by themselves they would be taken for all that there is.
        let progress = match self.host.progress(&claim.group) {
            Ok(progress) => progress,
            Err(error) => {
                let what = format!(
                    "{names}: is lost, and not marked so: what the kernel's RAID counts on is not known: {error}"
                );
                self.note_metadata(what);
                return;
            }
        };
        let active = as_active(claim, &group, &progress);
        if active.refusal(&self.config.cluster).is_some() {
            let what = format!(
                "{names}: is lost, and the pool cannot be served without it: images of RAID that are left are old, or not equal yet: {}; \
                 connect {names} again",
                said_of(claim, &progress, silent)
            );
            self.note_metadata(what);
            return;
        }
        let parity_word = parity_word(&group);
        let author = self.author(format!("orthrus: lost {names}"));
        let mark = |edit: &mut Edit<'_>| {
            given_up
                .iter()
                .try_for_each(|name| edit.lose_snapshot(name))?;
            lost.iter().try_for_each(|pv| edit.set_missing(*pv, true))?;
            if let Some(is_in_use) = parity_word {
                edit.use_parity(is_in_use);
            }
            Ok(())
        };
        match self.host.edit(&group, &author, &mark) {
            Ok(written) => {
                note_parity_word(&mut group, parity_word);
                self.go_on_without(group, silent);
                if let Some(claim) = &mut self.claim {
                    claim.lost_snapshots.extend(given_up);
                }
                for failure in &written.failures {
                    self.note_metadata(format!("{failure}: its copy of the metadata is behind"));
                }
            }
            Err(ApplyError::Write(WriteError::Fenced(failure))) => self.fenced(&failure.disk),
            Err(error) => {
                self.note_metadata(format!(
                    "{names}: is lost, and cannot be marked so: {error}"
                ));
            }
        }
    }

    /// From here on the claim is of the others.
    fn go_on_without(&mut self, group: VolumeGroup, lost: &[DiskId]) {
        let Some(claim) = &mut self.claim else { return };
        let Some(fence) = claim.fence.without(lost) else {
            return;
        };
        let watch = fence.watch(claim.key, self.on_loss.clone());
        let before = lock(&self.watch).replace((claim.key.epoch, watch));
        end_watch(before);
        let names = claim.fence.names_of(lost);
        claim.fence.unpin(lost);
        self.ledger.give_up(lost);
        claim.fence = fence;
        claim.group = group;
        claim.marked = true;
        let degraded = claim.group.degraded();
        let mut report = lock(&self.report);
        for volume in &mut report.volumes {
            volume.degraded |= degraded.contains(&volume.name);
        }
        drop(report);
        self.report_without(lost);
        self.note_metadata(format!(
            "{names}: lost, and marked as missing: the pool is served without it, and so it is after a takeover; replace it"
        ));
    }

    /// These are among the pool's disks no more.
    pub(super) fn report_without(&self, gone: &[DiskId]) {
        let gone: Vec<String> = gone.iter().map(DiskId::to_string).collect();
        let mut report = lock(&self.report);
        report.disks.retain(|disk| !gone.contains(&disk.id));
    }
}

/// A probe of a disk that is gone may never return, and who drops the watch waits for it.
pub(super) fn end_watch(watch: Option<(Epoch, Watch)>) {
    let dropped = thread::Builder::new()
        .name("unwatch".to_owned())
        .spawn(move || drop(watch));
    if let Err(error) = dropped {
        warn!(%error, "a lost disk is still watched");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::order::{Log, owner, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::{HIDDEN, Made, VISIBLE};

    /// An owner of two disks that serves this group, loses the first, and what it wrote then.
    fn lose(made: &Made) -> (Worker, Vec<String>) {
        let (mut worker, log) = served(made.group());
        worker.mark(&[Shelf::id(0)]);
        (worker, taken(&log))
    }

    /// An owner of two disks that serves this group.
    pub(in super::super) fn served(mut group: VolumeGroup) -> (Worker, Log) {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        for (index, pv) in group.pvs.iter_mut().enumerate() {
            let disk = pv.disk.as_mut().unwrap();
            disk.id = Shelf::id(index);
            // What it is called is another one's name by now.
            disk.name = "disk1".to_owned();
        }
        worker.claim.as_mut().unwrap().group = group;
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log)
    }

    #[test]
    fn a_lost_disk_is_marked_once_and_not_watched_or_released_any_more() {
        let made = Made::on(2).raid("vol0", "raid1", &[0, 1]);
        let (mut worker, wrote) = lose(&made);
        assert_eq!(wrote, ["metadata"]);
        let claim = worker.claim.as_ref().unwrap();
        assert!(claim.marked && claim.group.pvs[0].is_missing);
        let names: Vec<&str> = claim
            .fence
            .members()
            .iter()
            .map(|m| m.name.as_str())
            .collect();
        assert_eq!(names, ["disk1"]);
        let slot = lock(&worker.watch);
        assert_eq!(slot.as_ref().unwrap().1.oldest().unwrap().0, "disk1");
        drop(slot);
        let report = lock(&worker.report);
        assert!(report.volumes.iter().any(|volume| volume.degraded));
        assert!(
            report
                .notes
                .iter()
                .any(|note| note.contains("marked as missing"))
        );
        drop(report);
        // A second time there is nothing to be written.
        worker.mark(&[Shelf::id(0)]);
        assert_eq!(worker.claim.as_ref().unwrap().fence.members().len(), 1);
    }

    #[test]
    fn the_store_of_a_snapshot_that_is_lost_is_nothing_to_wait_for() {
        let tie = "type = \"snapshot\"\nchunk_size = 8\norigin = \"vol0\"\ncow_store = \"snap\"";
        let made = Made::on(2)
            .linear("snap", HIDDEN, 0, 2)
            .simple("vol0", 1)
            .volume("snapshot0", VISIBLE, 4, tie);
        let (mut worker, wrote) = lose(&made);
        assert!(wrote.is_empty(), "{wrote:?}");
        let claim = worker.claim.as_mut().unwrap();
        claim.lost_snapshots.insert("snap".to_owned());
        worker.mark(&[Shelf::id(0)]);
        let claim = worker.claim.as_ref().unwrap();
        assert!(claim.marked && claim.group.pvs[0].is_missing);
    }

    #[test]
    fn a_snapshot_that_the_kernel_gave_up_with_the_disk_is_written_down_with_it() {
        // The kernel's word on this one is that it is invalid.
        let tie = "type = \"snapshot\"\nchunk_size = 8\norigin = \"vol0\"\ncow_store = \"over\"";
        let made = Made::on(2)
            .linear("over", HIDDEN, 0, 2)
            .simple("vol0", 1)
            .volume("snapshot0", VISIBLE, 4, tie);
        let (worker, wrote) = lose(&made);
        assert_eq!(wrote, ["metadata"]);
        let claim = worker.claim.as_ref().unwrap();
        assert!(claim.marked && claim.group.pvs[0].is_missing);
        assert!(claim.lost_snapshots.contains("over"));
    }

    #[test]
    fn a_disk_is_not_given_up_while_the_kernel_does_without_the_other_image() {
        let (worker, wrote) = lose(&Made::on(2).raid("fallen", "raid1", &[0, 1]));
        assert!(wrote.is_empty(), "{wrote:?}");
        let claim = worker.claim.as_ref().unwrap();
        assert!(!claim.marked && claim.fence.members().len() == 2);
        let report = lock(&worker.report);
        let mut notes = report.notes.iter().filter(|note| note.contains("is lost"));
        let note = notes.next().unwrap();
        for word in ["disk0: is lost", "volume fallen on disk1", "connect disk0"] {
            assert!(note.contains(word), "{note}");
        }
    }

    #[test]
    fn what_was_rebuilt_since_the_import_counts_again() {
        let made = Made::on(2).raid("mended", "raid1", &[0, 1]);
        let group = VolumeGroup::parse(&made.text().replace(
            "mended_rimage_1 {\nid = \"lv0000-0000-0000-0000-0000-0000-000004\"\nstatus = [",
            "mended_rimage_1 {\nid = \"lv0000-0000-0000-0000-0000-0000-000004\"\nstatus = [\"REBUILD\", ",
        ));
        let mut group = group.unwrap();
        group.pvs = made.group().pvs;
        assert_eq!(group.rebuilding(), ["mended"]);
        for is_noted in [false, true] {
            let (mut worker, log) = served(group.clone());
            let claim = worker.claim.as_mut().unwrap();
            claim.rebuilt = is_noted.then(|| "mended".to_owned()).into_iter().collect();
            worker.mark(&[Shelf::id(0)]);
            assert_eq!(worker.claim.as_ref().unwrap().marked, is_noted);
            assert_eq!(taken(&log).len(), usize::from(is_noted));
        }
    }

    #[test]
    fn a_disk_that_a_volume_cannot_do_without_is_waited_for() {
        let (worker, wrote) = lose(&Made::on(2).simple("vol0", 0));
        assert!(wrote.is_empty(), "{wrote:?}");
        let claim = worker.claim.as_ref().unwrap();
        assert!(!claim.marked && claim.fence.members().len() == 2);
        let report = lock(&worker.report);
        assert!(
            report
                .notes
                .iter()
                .any(|note| note.contains("cannot be served without it"))
        );
    }
}
