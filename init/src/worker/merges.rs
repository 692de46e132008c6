//! A volume gets back what a snapshot with a store has, while the pool is served.
//!
//! ```text
//! begin:  LUNs of both ─► both devices ─► metadata: merging ─► read again ─► origin as snapshot-merge ─► LUN
//! end:    the kernel says that it is over ─► metadata without the snapshot ─► read again ─► origin as it was, under its clients
//! ```
//!
//! What `lvconvert --merge` does, and what lvm2 ends with. From the moment on at which the metadata say so the origin has what the
//! snapshot had; the kernel copies it back meanwhile. A takeover goes on with it, since whoever activates the group begins where the
//! other one stopped, and a merge that was over when its owner died is ended by the next one's first look.
//!
//! Decisions:
//! - The end is written by the look of an owner, and only when the kernel says that nothing is left to be copied: a store that goes
//!   before takes a part of the origin with it.
//! - A merge that the kernel gave up stands as it is. The origin has all that it should have, a part of it in the store, and the next
//!   activation begins again.
//! - How far it is counts from this owner's first look on: what was to be copied before is written nowhere.

use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use crate::status;
use crate::sync::lock;
use crate::volume::edit::VolumeOrder;
use crate::volume::group::SegmentKind;
use crate::volume::{Merge, MergeState};

impl Worker {
    /// Has the kernel give a volume back what a snapshot of it has; what to say of it.
    pub(super) fn begin_merge(
        &mut self,
        name: &str,
        order: &VolumeOrder,
    ) -> Result<String, ChangeError> {
        let origin = self
            .classic_origin(name)
            .ok_or_else(|| ChangeError::NoOrigin(name.to_owned()))?;
        self.give_back(&origin, name, order, |worker| worker.has_what_it_had(name))?;
        self.find_merges();
        Ok(format!(
            "{origin} has what {name} had, which is no more; the kernel copies it back meanwhile: `pools` shows how far that is"
        ))
    }

    /// That a snapshot was not given up by the kernel.
    fn has_what_it_had(&self, name: &str) -> Result<(), ChangeError> {
        match self.is_lost_snapshot(name)? {
            true => Err(ChangeError::LostSnapshot(name.to_owned())),
            false => Ok(()),
        }
    }

    /// How far merges are when the pool is imported: an operator who asks right then learns that there are some.
    pub(super) fn find_merges(&mut self) {
        let merges = self.merges();
        self.report_merges(&merges);
    }

    /// Between two jobs: how far merges are, and those that are over are ended.
    pub(super) fn look_at_merges(&mut self) {
        let served = self.claim.as_ref().filter(|_| self.served.is_some());
        let Some(claim) = served.filter(|claim| claim.group.merging().next().is_some()) else {
            return;
        };
        // It may be the end of one that the kernel does not follow.
        if claim.behind.is_some() && self.begin_change().is_err() {
            return;
        }
        let merges = self.merges();
        self.report_merges(&merges);
        // What is active has a disk in its tables that is lost: see `ChangeError::Marked`.
        if self.may_change().is_err() {
            return;
        }
        for merge in merges.iter().filter(|one| one.state == MergeState::Over) {
            let (origin, snapshot) = (&merge.origin, &merge.snapshot);
            let unended = format!(
                "the merge of snapshot {snapshot} into {origin} is over, and cannot be ended"
            );
            match self.end_merge(snapshot) {
                Ok(()) => {
                    let mut report = lock(&self.report);
                    report.notes.retain(|note| !note.starts_with(&unended));
                    info!(
                        pool = self.pool().name,
                        "{origin} has all that snapshot {snapshot} had: the merge is over"
                    );
                }
                Err(error) => self.note_metadata(format!("{unended}: {error}")),
            }
        }
    }

    /// A merge leaves the metadata, and with it the snapshot: nothing of the origin is in the store.
    pub(super) fn end_merge(&mut self, snapshot: &str) -> Result<(), ChangeError> {
        self.begin_change()?;
        let is_there = self.group()?.merging().any(|(name, _)| name == snapshot);
        if !is_there {
            // What was brought in line just now was its end.
            return Ok(());
        }
        let author = self.author(format!("orthrus: merged {snapshot}"));
        let written = self
            .host
            .edit(self.group()?, &author, &|edit| edit.end_merge(snapshot));
        self.written(written)?;
        self.follow()
    }

    /// Whether a snapshot is being merged of whose store the kernel takes nothing, so that it can go.
    pub(super) fn is_void_merge(&self, name: &str) -> bool {
        let merges = self.merges();
        let mut merges = merges.iter().filter(|one| one.snapshot == name);
        merges.any(|one| one.state == MergeState::Void)
    }

    fn merges(&self) -> Vec<Merge> {
        let claim = self.claim.as_ref().filter(|_| self.served.is_some());
        let Some(claim) = claim.filter(|claim| claim.group.merging().next().is_some()) else {
            return Vec::new();
        };
        self.host.merges(&claim.group).unwrap_or_else(|error| {
            warn!(pool = self.pool().name, "{error}");
            Vec::new()
        })
    }

    fn report_merges(&mut self, merges: &[Merge]) {
        let Some(served) = &mut self.served else {
            return;
        };
        let mut shown = Vec::new();
        for merge in merges {
            let percent = match merge.state {
                MergeState::UnderWay(left) => {
                    let first = served.merging.entry(merge.snapshot.clone()).or_insert(left);
                    percent(*first, left)
                }
                MergeState::Over => 100,
                // Told as an alarm.
                MergeState::Failed | MergeState::Void => continue,
            };
            let snapshot = merge.snapshot.clone();
            shown.push((&merge.origin, status::Merge { snapshot, percent }));
        }
        for volume in &mut lock(&self.report).volumes {
            let its = shown.iter().find(|(origin, _)| **origin == volume.name);
            volume.merge = its.map(|(_, merge)| merge.clone());
        }
    }

    /// Merges that the kernel has given up.
    pub(super) fn failed_merges(&self) -> Vec<status::Problem> {
        let pool = self.pool().name.as_str();
        let problem = |merge: &Merge| {
            let (origin, snapshot) = (&merge.origin, &merge.snapshot);
            let (what, todo) = match merge.state {
                MergeState::Failed => (
                    format!(
                        "the merge of snapshot {snapshot} into {origin} stopped at an error of a disk: {origin} has what {snapshot} had, \
                         a part of it in the snapshot's store alone"
                    ),
                    format!(
                        "see `log` and mend the disk; `handover {pool}` begins the merge again"
                    ),
                ),
                MergeState::Void => (
                    format!(
                        "snapshot {snapshot} is lost, and nothing of it is merged into {origin}, which has what it had itself"
                    ),
                    format!("`snapshot remove {pool}/{snapshot}`"),
                ),
                MergeState::UnderWay(_) | MergeState::Over => return None,
            };
            Some(status::Problem { what, todo })
        };
        self.merges().iter().filter_map(problem).collect()
    }

    /// The volume that one with a store is a snapshot of.
    fn classic_origin(&self, name: &str) -> Option<String> {
        let group = self.group().ok()?;
        let mut segments = group.lvs.iter().flat_map(|lv| &lv.segments);
        let origin = segments.find_map(|segment| match &segment.kind {
            SegmentKind::Snapshot(one) if group.lvs.get(one.cow)?.name == name => Some(one.origin),
            _ => None,
        })?;
        Some(group.lvs.get(origin)?.name.clone())
    }
}

/// How much of what was to be copied at first is copied by now, rounded down.
fn percent(first: u64, left: u64) -> u8 {
    let done = first.saturating_sub(left).saturating_mul(100);
    u8::try_from(done.checked_div(first).unwrap_or(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{Log, owner_of, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::{HIDDEN, Made, VISIBLE};

    /// A volume with a snapshot of this name; `store` is what the metadata call its store.
    fn made(snapshot: &str, store: &str) -> Made {
        let tie = format!(
            "type = \"snapshot\"\nchunk_size = 8\norigin = \"vol0\"\n{store} = \"{snapshot}\""
        );
        let status = if store == "cow_store" {
            VISIBLE
        } else {
            HIDDEN
        };
        Made::on(2)
            .simple("vol0", 0)
            .linear(snapshot, HIDDEN, 1, 2)
            .volume("snapshot0", status, 4, &tie)
    }

    /// An owner of it that serves.
    fn with(snapshot: &str, store: &str, fails: &'static str) -> (Worker, Log) {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner_of(&shelf, fails, Some(&made(snapshot, store)));
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log)
    }

    fn restore(name: &str) -> VolumeOrder {
        VolumeOrder::Restore {
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_volume_is_its_clients_no_more_and_both_devices_are_gone_before_the_metadata_say_merging() {
        let off = ["LUN off", "volume off", "volume off", "metadata"];
        for (fails, done) in [
            ("", &off[..]),
            ("LUN off", &off[..1]),
            ("volume off", &off[..2]),
        ] {
            let (mut worker, log) = with("before", "cow_store", fails);
            // No disk of this machine has the group, so that it cannot be read again.
            assert!(worker.change(&restore("before")).is_err());
            assert_eq!(taken(&log), done, "{fails}");
        }
    }

    #[test]
    fn a_snapshot_that_was_lost_is_not_given_back() {
        // The kernel's word on this one is that it is invalid.
        let (mut worker, log) = with("over", "cow_store", "");
        let why = worker.change(&restore("over")).unwrap_err().to_string();
        assert!(why.contains("over is lost"), "{why}");
        let (mut noted, _) = with("before", "cow_store", "");
        let claim = noted.claim.as_mut().unwrap();
        claim.lost_snapshots.insert("before".to_owned());
        assert!(noted.change(&restore("before")).is_err());
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn what_is_being_merged_is_changed_by_nobody() {
        let (mut worker, log) = with("before", "merging_store", "");
        let name = || "before".to_owned();
        let origin = || "vol0".to_owned();
        for order in [
            restore("before"),
            VolumeOrder::RemoveSnapshot { name: name() },
            VolumeOrder::Remove { name: origin() },
            VolumeOrder::Grow {
                name: origin(),
                bytes: 1 << 30,
            },
            VolumeOrder::Snapshot {
                name: "zlater".to_owned(),
                origin: origin(),
                bytes: Some(1 << 20),
            },
        ] {
            let why = worker.change(&order).unwrap_err().to_string();
            assert!(why.contains("`pools`"), "{order:?}: {why}");
        }
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn a_merge_is_ended_when_the_kernel_says_that_it_is_over_and_not_before() {
        for (snapshot, wrote) in [
            ("done", &["metadata"][..]),
            ("before", &[]),
            ("failed", &[]),
            ("void", &[]),
        ] {
            let (mut worker, log) = with(snapshot, "merging_store", "");
            worker.look_at_merges();
            assert_eq!(taken(&log), wrote, "{snapshot}");
        }
        // One that is none in the metadata is nobody's to end, whatever the kernel says.
        let (mut worker, log) = with("done", "cow_store", "");
        worker.look_at_merges();
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn an_end_that_cannot_be_written_is_told_and_tried_again() {
        let (mut worker, log) = with("done", "merging_store", "metadata");
        for _ in 0..2 {
            worker.look_at_merges();
            assert_eq!(taken(&log), ["metadata"]);
        }
        let notes = lock(&worker.report).notes.clone();
        assert!(
            notes.iter().any(|note| note.contains("cannot be ended")),
            "{notes:?}"
        );
    }

    #[test]
    fn nothing_is_written_while_the_kernel_does_not_follow_or_has_a_lost_disk_in_its_tables() {
        let (mut worker, log) = with("done", "merging_store", "");
        worker.claim.as_mut().unwrap().behind = Some("an end before".to_owned());
        worker.look_at_merges();
        let (mut marked, also) = with("done", "merging_store", "");
        marked.claim.as_mut().unwrap().marked = true;
        marked.look_at_merges();
        assert!(taken(&log).is_empty() && taken(&also).is_empty());
    }

    #[test]
    fn how_far_it_is_stands_with_its_volume_and_counts_from_the_first_look() {
        let (mut worker, _log) = with("before", "merging_store", "");
        for (left, wanted) in [(400, 0), (300, 25), (1, 99)] {
            let merge = Merge {
                origin: "vol0".to_owned(),
                snapshot: "before".to_owned(),
                state: MergeState::UnderWay(left),
            };
            worker.report_merges(&[merge]);
            let volumes = lock(&worker.report).volumes.clone();
            let its = volumes.iter().find(|volume| volume.name == "vol0").unwrap();
            let merge = its.merge.as_ref().unwrap();
            assert_eq!((merge.snapshot.as_str(), merge.percent), ("before", wanted));
        }
        worker.report_merges(&[]);
        let volumes = lock(&worker.report).volumes.clone();
        assert!(volumes.iter().all(|volume| volume.merge.is_none()));
    }

    #[test]
    fn one_that_the_kernel_gave_up_is_told_with_what_ends_it() {
        for (snapshot, todo) in [
            ("failed", "`handover tank` begins"),
            ("void", "`snapshot remove tank/void`"),
        ] {
            let (worker, _log) = with(snapshot, "merging_store", "");
            let told = worker.failed_merges();
            assert!(
                matches!(&told[..], [one] if one.todo.contains(todo)),
                "{told:?}"
            );
        }
        let (worker, _log) = with("before", "merging_store", "");
        assert!(worker.failed_merges().is_empty());
        // Which may go.
        let (mut worker, log) = with("void", "merging_store", "");
        let order = VolumeOrder::RemoveSnapshot {
            name: "void".to_owned(),
        };
        assert!(worker.change(&order).is_err(), "no disk has the group");
        assert_eq!(taken(&log), ["metadata"]);
    }
}
