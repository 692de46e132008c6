//! A volume group that others made gets what a pool has that was made here: the ledger's copies and the volume of the state,
//! as far as there is room.
//!
//! ```text
//! metadata: all of it at once ─► read again ─► device ─► state mounted, shares open ─► ledger written
//! ```
//!
//! Everything else it has already: whoever claims it sets the system ID ([`super::stamp`]), and what speaks against
//! serving it speaks against a claim.
//!
//! Decisions:
//! - On the owner, under its claim, and while it serves: nothing that clients use is touched.
//! - One write of metadata. A crash before it has changed nothing but free extents; one after it leaves a pool whose next owner
//!   finds copies of zeroes and an empty volume, as in a pool that was just made.
//! - Where there is no room for all of it the pool gets the rest, and the order says what it lacks. The state volume is a mirror where the
//!   pool has two disks: else the loss of one of them would be the loss of all.
//! - What fails before the state is mounted is undone. After that it stays, since clients' records may be on it.

use tracing::{info, warn};

use super::Worker;
use super::change::{ChangeError, no_cache_under_md};
use super::error::JobError;
use crate::status;
use crate::sync::lock;
use crate::volume::edit::Edit;
use crate::volume::{Uuid, VolumeGroup, reserved};

/// Why a pool lacks what it lacks.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Not here, or not now.
    #[error("{0}")]
    Change(#[from] ChangeError),
    /// Neither head can serve it.
    #[error("{0}")]
    Refused(JobError),
    /// There is no room.
    #[error("nothing was changed: {0}")]
    NoRoom(String),
}

impl Worker {
    /// Adds what the pool lacks; what to say of it.
    pub(super) fn adopt(&mut self) -> Result<String, AdoptError> {
        match self.begin_change() {
            // Why nobody serves it is more to the point than that this head does not.
            Err(ChangeError::NotServed) if self.claim.is_none() => {
                self.read_group().map_err(AdoptError::Refused)?;
                return Err(ChangeError::NotServed.into());
            }
            may => may?,
        }
        self.settle()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        if claim.lease.is_some() {
            return Err(ChangeError::Lease.into());
        }
        let before = claim.group.clone();
        let on_arrays = before.pvs.iter().filter(|pv| pv.array.is_some());
        let arrays: Vec<Uuid> = on_arrays.map(|pv| pv.uuid).collect();
        let author = self.author(format!("orthrus: pool import {}", self.pool().name));
        let try_with = |state| -> Result<VolumeGroup, ChangeError> {
            let complete = |edit: &mut Edit<'_>| edit.complete_reserved(&arrays, state);
            Ok(self.host.try_edit(&before, &author, &complete)?)
        };
        let mut wanted = try_with(true)?;
        let cached = no_cache_under_md(&wanted).err();
        if cached.is_some() {
            wanted = try_with(false)?;
        }
        let added = names(&before, &wanted);
        let lacks = lacks(&wanted, cached.as_ref());
        if added.is_empty() {
            return match lacks {
                None => Ok("the pool has its ledger and its state volume already".to_owned()),
                Some(lacks) => Err(AdoptError::NoRoom(lacks)),
            };
        }
        let complete = |edit: &mut Edit<'_>| edit.complete_reserved(&arrays, cached.is_none());
        let written = self.host.edit(&before, &author, &complete);
        self.written(written)?;
        if let Err(error) = self.follow() {
            if self.open_state_place().is_err() {
                self.take_back_reserved(&added);
            }
            return Err(error.into());
        }
        let mut said = format!("{} made", added.join(", "));
        if let Some(lacks) = lacks {
            said = format!("{said}; {lacks}");
        }
        info!(pool = self.pool().name, "{said}");
        Ok(said)
    }

    /// What was written down and cannot be used goes again. The ledger is not written yet.
    fn take_back_reserved(&mut self, added: &[String]) {
        let author = self.author("orthrus: undo of pool import".to_owned());
        let undone = (|| -> Result<(), ChangeError> {
            // Known there only when it was made.
            self.host
                .deactivate_volume(self.group()?, reserved::STATE)?;
            lock(&self.report).state_volume = Some(status::State::default());
            let remove = |edit: &mut Edit<'_>| added.iter().try_for_each(|name| edit.remove(name));
            self.written(self.host.edit(self.group()?, &author, &remove))?;
            self.follow()
        })();
        if let Err(error) = undone {
            warn!(pool = self.pool().name, "undo of pool import: {error}");
        }
    }
}

/// The volumes of the firmware's that the one has and the other has not.
fn names(before: &VolumeGroup, after: &VolumeGroup) -> Vec<String> {
    let ours = after.visible().map(|volume| &volume.name);
    let mut new: Vec<String> = ours
        .filter(|name| reserved::is_reserved(name))
        .filter(|name| before.lvs.iter().all(|volume| volume.name != **name))
        .cloned()
        .collect();
    new.sort();
    new
}

/// What a pool still lacks, and why.
fn lacks(group: &VolumeGroup, cached: Option<&ChangeError>) -> Option<String> {
    let has = |name: &str| group.lvs.iter().any(|volume| volume.name == name);
    let disks = group.pvs.iter().filter(|pv| pv.array.is_none()).count();
    let copies = group.lvs.iter().filter(|lv| reserved::is_ledger(&lv.name));
    let copies = copies.count();
    let mut lacks = Vec::new();
    if copies < disks.min(reserved::COPIES) {
        lacks.push(format!(
            "it has {copies} copies of the ledger: no other disk has room for one, {} KiB in one piece",
            orthrus_hb::ledger::REGION_BYTES / 1024
        ));
    } else if copies == 0 {
        lacks.push("it has no ledger: all its members are arrays".to_owned());
    }
    if !has(reserved::STATE) {
        lacks.push(match cached {
            Some(why) => format!("it has no state volume: {why}"),
            None if disks == group.pvs.len() && disks > 1 => {
                "it has no state volume: no two disks have room for its mirror, 8 MiB and an extent each".to_owned()
            }
            None => "it has no state volume: there is no room for it, 8 MiB".to_owned(),
        });
    }
    (!lacks.is_empty()).then(|| lacks.join("; "))
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::order::{Log, owner_of, taken};
    use super::*;
    use crate::disk::WriteCache;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::{Made, VISIBLE};

    fn serving(made: &Made, fails: &'static str) -> (Worker, Log) {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner_of(&shelf, fails, Some(made));
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log)
    }

    /// A group whose two disks are full but for so many extents each.
    fn full(but: usize) -> Made {
        let made = Made::on(2).linear("a", VISIBLE, 0, 1000 - but);
        made.linear("b", VISIBLE, 1, 1000 - but)
    }

    #[test]
    fn a_pool_that_is_not_served_here_is_left_alone_and_why_is_said() {
        let shelf = Shelf::new(2);
        let made = Made::on(2);
        let (mut worker, log) = owner_of(&shelf, "", Some(&made));
        let refused = worker.adopt();
        assert!(
            matches!(refused, Err(AdoptError::Change(ChangeError::NotServed))),
            "{refused:?}"
        );
        // Held by nobody: no disk of this machine has the group, and that is what is said.
        worker.claim = None;
        let refused = worker.adopt();
        assert!(
            matches!(&refused, Err(AdoptError::Refused(_))),
            "{refused:?}"
        );
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn what_is_written_down_and_cannot_be_used_goes_again() {
        let (mut worker, log) = serving(&Made::on(2).simple("vol0", 0), "");
        lock(&worker.report).state_volume = Some(status::State::default());
        // No disk of this machine has the group, so that it cannot be read again.
        let failed = worker.adopt();
        assert!(
            matches!(failed, Err(AdoptError::Change(ChangeError::Read(_)))),
            "{failed:?}"
        );
        assert_eq!(taken(&log), ["metadata", "volume off", "metadata"]);
        // Clients' records may be on one that is open.
        let (mut worker, log) = serving(&Made::on(2).simple("vol0", 0), "");
        assert!(worker.adopt().is_err());
        assert_eq!(taken(&log), ["metadata"]);
    }

    #[test]
    fn metadata_that_cannot_be_written_are_not_undone() {
        let (mut worker, log) = serving(&Made::on(2).simple("vol0", 0), "metadata");
        let failed = worker.adopt();
        assert!(
            matches!(failed, Err(AdoptError::Change(ChangeError::Apply(_)))),
            "{failed:?}"
        );
        assert_eq!(taken(&log), ["metadata"]);
    }

    #[test]
    fn a_pool_that_has_all_is_told_so_and_one_that_is_full_why() {
        let all = Made::on(2)
            .simple("orthrus_ledger0", 0)
            .simple("orthrus_ledger1", 1)
            .raid("orthrus_state", "raid1", &[0, 1]);
        let (mut worker, log) = serving(&all, "");
        assert!(worker.adopt().unwrap().contains("already"));
        let (mut worker, _) = serving(&full(0), "");
        let why = worker.adopt().unwrap_err().to_string();
        assert!(
            why.contains("0 copies of the ledger") && why.contains("no state volume: no two disks"),
            "{why}"
        );
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn what_is_lacking_after_it_is_named_with_its_reason() {
        let after = |made: &Made, cached: Option<&ChangeError>| {
            let (worker, _) = serving(made, "");
            let group = worker.claim.as_ref().unwrap().group.clone();
            let author = worker.author(String::new());
            let wanted = worker
                .host
                .try_edit(&group, &author, &|edit| {
                    edit.complete_reserved(&[], cached.is_none())
                })
                .unwrap();
            (names(&group, &wanted), lacks(&wanted, cached))
        };
        let (added, nothing) = after(&Made::on(2), None);
        let both = ["orthrus_ledger0", "orthrus_ledger1"];
        assert_eq!(added, [&both[..], &["orthrus_state"]].concat());
        assert_eq!(nothing, None);
        let (added, why) = after(&full(3), None);
        assert_eq!(added, both);
        assert!(why.unwrap().contains("no two disks have room"));
        let (added, why) = after(&Made::on(2), Some(&ChangeError::Marked));
        assert_eq!(added, both);
        assert!(why.unwrap().contains("handover"));
    }

    #[test]
    fn no_mirror_comes_to_be_on_a_disk_whose_cache_stays() {
        let (mut worker, log) = serving(&Made::on(2).simple("vol0", 0), "metadata");
        let group = &mut worker.claim.as_mut().unwrap().group;
        let disk = group.pvs[1].disk.as_mut().unwrap();
        disk.name = "no-such-disk".to_owned();
        disk.write_cache = WriteCache::WriteBack;
        let group = group.clone();
        let author = worker.author(String::new());
        let wanted = worker
            .host
            .try_edit(&group, &author, &|edit| edit.complete_reserved(&[], true))
            .unwrap();
        let why = no_cache_under_md(&wanted).unwrap_err();
        let said = lacks(&wanted, Some(&why));
        assert_eq!(said, None, "with one it lacks nothing");
        // It goes on without the state volume.
        assert!(worker.adopt().is_err());
        assert_eq!(taken(&log), ["metadata"]);
    }
}
