//! Snapshots with a store of their own, while the pool is served: how full the stores are, and which snapshots are lost.
//!
//! The kernel gives a snapshot up when its store is full or fails, and writes that into the store's header (`persistent_drop_snapshot`
//! of `dm-snap-persistent.c`). Where the store fails, that write fails, too: the kernel logs it and goes on. The other head, or the
//! next boot, which sees the disk again, finds a snapshot that calls itself good and lacks what was overwritten since. So it is
//! written down in the group, as a tag, and whoever activates the group then makes a device of it that fails all that comes
//! (`volume::plan`): its LUN keeps its number.
//!
//! Decisions:
//! - It is written by the look of an owner and before a release, and tried again while it cannot be. A head that dies within that
//!   time of a store that failed has not written it: nothing in the kernel waits for us.
//! - What is active stays as it is until the next change or import: to its clients a snapshot that the kernel gave up and one that
//!   fails are the same.
//! - One whose own client found no room for a write (`Overflow`) is not lost: what it has is right.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::claim::Claim;
use super::{POOL_FULL, Worker};
use crate::status;
use crate::volume::edit::Edit;
use crate::volume::{StoreUsage, VolumeError, VolumeGroup};

/// Snapshots that are written down as lost.
fn lost(claim: &Claim) -> BTreeSet<&str> {
    let group = claim.group.lvs.iter().filter(|lv| lv.is_lost);
    let group = group.map(|lv| lv.name.as_str());
    group
        .chain(claim.lost_snapshots.iter().map(String::as_str))
        .collect()
}

impl Worker {
    fn store_usage(&self, group: &VolumeGroup) -> Vec<StoreUsage> {
        self.host.store_usage(group).unwrap_or_else(|error| {
            warn!(pool = self.pool().name, "{error}");
            Vec::new()
        })
    }

    /// Stores that run full, and snapshots that are lost.
    pub(super) fn full_stores(&self) -> Vec<status::Problem> {
        let Some(claim) = self.claim.as_ref().filter(|_| self.served.is_some()) else {
            return Vec::new();
        };
        let pool = self.pool().name.as_str();
        let lost = lost(claim);
        let usage = self.store_usage(&claim.group);
        let usage = usage
            .iter()
            .map(|store| (store.snapshot.as_str(), store.percent));
        let usage = usage.filter(|(name, _)| !lost.contains(name));
        let lost = lost.iter().map(|name| (*name, None));
        let problem = |(name, percent): (&str, Option<u64>)| {
            let what = match percent {
                None => format!(
                    "snapshot {name} is lost: its store was full, or failed; its origin has all"
                ),
                Some(percent) if percent >= POOL_FULL => {
                    format!(
                        "the store of snapshot {name} is {percent} % full: the snapshot is lost when it is, its origin is not"
                    )
                }
                Some(_) => return None,
            };
            Some(status::Problem {
                what,
                todo: format!("`snapshot remove {pool}/{name}`"),
            })
        };
        usage.chain(lost).filter_map(problem).collect()
    }

    /// Whether a snapshot is written down as lost, or the kernel has given it up.
    pub(super) fn is_lost_snapshot(&self, name: &str) -> Result<bool, VolumeError> {
        let Some(claim) = &self.claim else {
            return Ok(false);
        };
        let usage = self.host.store_usage(&claim.group)?;
        let mut usage = usage.iter().filter(|store| store.snapshot == name);
        Ok(lost(claim).contains(name) || usage.any(|store| store.is_invalid))
    }

    /// Snapshots that the kernel has given up, and of which that is not written down.
    pub(super) fn given_up(&self, claim: &Claim) -> Vec<String> {
        let known = lost(claim);
        let is_there = |name: &str| claim.group.lvs.iter().any(|lv| lv.name == name);
        let usage = self.store_usage(&claim.group).into_iter();
        usage
            .filter(|store| store.is_invalid && !known.contains(store.snapshot.as_str()))
            .map(|store| store.snapshot)
            .filter(|name| is_there(name))
            .collect()
    }

    /// Writes down which snapshots the kernel has given up.
    pub(super) fn note_lost_snapshots(&mut self) {
        let Some(claim) = self.claim.as_ref() else {
            return;
        };
        let new = self.given_up(claim);
        if new.is_empty() {
            return;
        }
        let names = new.join(", ");
        let author = self.author(format!("orthrus: lost snapshot {names}"));
        let lose = |edit: &mut Edit<'_>| new.iter().try_for_each(|name| edit.lose_snapshot(name));
        let written = self.host.edit(&claim.group, &author, &lose);
        match self.written(written) {
            Ok(()) => {
                info!(
                    pool = self.pool().name,
                    "snapshot {names} is written down as lost"
                );
                if let Some(claim) = &mut self.claim {
                    // What is active has it in its tables still: the group stays as it is until the next import, or change.
                    claim.lost_snapshots.extend(new);
                }
            }
            Err(error) => self.note_metadata(format!(
                "snapshot {names} is lost, and that cannot be written down: {error}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::laps::Laps;
    use super::super::order::{owner, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::{HIDDEN, Made, VISIBLE};

    /// An owner that serves a volume with two snapshots, one of which the kernel has given up.
    fn with_lost(fails: &'static str) -> (Worker, super::super::order::Log) {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, fails);
        let mut made = Made::on(2).simple("vol0", 0);
        for (number, store) in ["small", "over"].into_iter().enumerate() {
            let tie = format!(
                "type = \"snapshot\"\nchunk_size = 8\norigin = \"vol0\"\ncow_store = \"{store}\""
            );
            made = made.linear(store, HIDDEN, 1, 2).volume(
                &format!("snapshot{number}"),
                VISIBLE,
                4,
                &tie,
            );
        }
        worker.claim.as_mut().unwrap().group = made.group();
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log)
    }

    fn problems(worker: &Worker) -> Vec<String> {
        let lost = worker.full_stores().into_iter();
        let lost = lost.filter(|problem| problem.what.contains("over is lost"));
        lost.map(|problem| problem.todo).collect()
    }

    #[test]
    fn a_snapshot_that_the_kernel_gave_up_is_written_down_once() {
        let (mut worker, log) = with_lost("");
        assert_eq!(problems(&worker), ["`snapshot remove tank/over`"]);
        worker.note_lost_snapshots();
        assert_eq!(taken(&log), ["metadata"]);
        worker.note_lost_snapshots();
        assert!(taken(&log).is_empty());
        assert_eq!(problems(&worker), ["`snapshot remove tank/over`"]);
    }

    #[test]
    fn one_that_cannot_be_written_down_is_tried_again() {
        let (mut worker, log) = with_lost("metadata");
        for _ in 0..2 {
            worker.note_lost_snapshots();
            assert_eq!(taken(&log), ["metadata"]);
        }
        let notes = lock_notes(&worker);
        assert!(
            notes
                .iter()
                .any(|note| note.contains("cannot be written down")),
            "{notes:?}"
        );
    }

    fn lock_notes(worker: &Worker) -> Vec<String> {
        crate::sync::lock(&worker.report).notes.clone()
    }

    #[test]
    fn it_is_written_down_before_the_volumes_go() {
        let (mut worker, log) = with_lost("");
        worker.take_down(&mut Laps::begin()).unwrap();
        let steps = taken(&log);
        let at = |step: &str| steps.iter().position(|one| one == step).unwrap();
        assert!(at("export off") < at("metadata"), "{steps:?}");
        assert!(at("metadata") < at("volumes off"), "{steps:?}");
    }

    #[test]
    fn one_that_was_lost_under_another_owner_is_shown() {
        let (mut worker, _log) = with_lost("");
        let group = &mut worker.claim.as_mut().unwrap().group;
        for lv in &mut group.lvs {
            lv.is_lost = lv.name == "small";
        }
        let shown = worker.full_stores();
        let small = shown.iter().filter(|one| one.what.contains("small"));
        let small: Vec<&str> = small.map(|one| one.what.as_str()).collect();
        assert!(
            matches!(small[..], [what] if what.contains("small is lost")),
            "{shown:?}"
        );
    }
}
