//! Images of RAID that the kernel threw out after an error, while their disks answer and the pool is served.
//!
//! MD writes that an image failed into the superblocks of the others. The image's own says nothing of it: were it alone, it would be
//! taken for all that there is, and clients were given what it had when it failed. So the kernel is asked before a disk counts as
//! lost (see [`super::lost`]) and before one is replaced; and what it says is written down in the group, as a tag, for whoever cannot
//! ask it: the next owner, when this head and the others' disks are gone, and the operator's word (see [`super::word`]).
//!
//! Decisions:
//! - It is not taken back by itself: a disk that failed a write may fail the next one. An import does that, as the kernel does with each
//!   new table: it finds in the superblocks of the others that the image failed, and makes it equal by the map of what was written
//!   meanwhile.
//! - It is written only while all disks answer. One that hangs would hold the look up, and is marked as missing in time.
//! - The tag goes when the kernel says that the volume is whole.

use std::time::Duration;

use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use super::claim::Claim;
use super::parity::{note_parity_word, parity_word};
use crate::disk::DiskId;
use crate::status;
use crate::sync::lock;
use crate::volume::edit::Edit;
use crate::volume::group::Flag;
use crate::volume::{Progress, VolumeGroup};

/// A disk that did not answer for so long may hang.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl Worker {
    /// How far RAID volumes are, and what of them the kernel does without; nothing while the pool is not served here.
    pub(super) fn raid_progress(&self) -> Vec<Progress> {
        let Some(claim) = self.claim.as_ref().filter(|_| self.served.is_some()) else {
            return Vec::new();
        };
        self.host.progress(&claim.group).unwrap_or_else(|error| {
            warn!(pool = self.pool().name, "{error}");
            Vec::new()
        })
    }

    /// What is served without an image whose disk is here.
    pub(super) fn fallen_images(&self) -> Vec<status::Problem> {
        let Some(claim) = &self.claim else {
            return Vec::new();
        };
        let pool = self.pool().name.as_str();
        let progress = self.raid_progress();
        let problem = |(_, volume, pvs): &(usize, &str, Vec<usize>)| {
            let disk = names_of(claim, pvs);
            status::Problem {
                what: format!(
                    "volume {volume} is served without {disk}: the kernel threw its image there out after an error, and what is on it \
                     is old; the next disk that fails may be one too many"
                ),
                todo: format!(
                    "see `log` for the error, and check the cables; `handover {pool}` makes it equal again (without a standby, `reboot` this \
                     head when its clients can wait). If that comes again, pull {disk} out: in a minute it is marked as missing, and \
                     `disk replace {pool} DISK` puts a new disk in"
                ),
            }
        };
        let fallen = claim.group.thrown_out(&progress);
        fallen.iter().map(problem).collect()
    }

    /// Writes down which images the kernel has thrown out, and of which that is over.
    pub(super) fn note_fallen(&mut self, progress: &[Progress]) {
        let Some(claim) = self.claim.as_ref() else {
            return;
        };
        let lvs = &claim.group.lvs;
        let fallen = claim.group.thrown_out(progress);
        let new = fallen.iter().map(|(image, ..)| (*image, true));
        let new = new.filter(|(image, _)| !lvs[*image].is_behind);
        let whole = progress
            .iter()
            .filter(|one| one.is_whole && !claim.unsure.contains(&one.lv));
        let over = whole.flat_map(|one| claim.group.images_of(&one.lv));
        let over = over.filter(|image| lvs[*image].is_behind);
        let changes: Vec<(usize, bool)> = new.chain(over.map(|image| (image, false))).collect();
        if changes.is_empty() || self.is_any_silent() {
            return;
        }
        let named: Vec<(String, bool)> = changes
            .iter()
            .map(|(image, is_behind)| (lvs[*image].name.clone(), *is_behind))
            .collect();
        let said = |(name, is_behind): &(String, bool)| match is_behind {
            true => format!("image {name} is old"),
            false => format!("image {name} has all again"),
        };
        let said: Vec<String> = named.iter().map(said).collect();
        let said = said.join(", ");
        let author = self.author(format!("orthrus: {said}"));
        let mut group = claim.group.clone();
        for (image, is_behind) in &changes {
            group.lvs[*image].is_behind = *is_behind;
        }
        let parity_word = parity_word(&group);
        let note = |edit: &mut Edit<'_>| {
            named
                .iter()
                .try_for_each(|(name, is_behind)| edit.set_behind(name, *is_behind))?;
            if let Some(is_in_use) = parity_word {
                edit.use_parity(is_in_use);
            }
            Ok(())
        };
        let written = self.host.edit(&claim.group, &author, &note);
        if let Err(error) = self.written(written) {
            return self.note_metadata(format!("{said}, and that is not written down: {error}"));
        }
        info!(pool = self.pool().name, "{said}: that is written down");
        // No table has a word of it.
        if let Some(claim) = &mut self.claim {
            for (image, is_behind) in changes {
                claim.group.lvs[image].is_behind = is_behind;
            }
            note_parity_word(&mut claim.group, parity_word);
        }
    }

    pub(super) fn is_any_silent(&self) -> bool {
        let slot = lock(&self.watch);
        let mut watches = slot.iter().map(|(_, watch)| watch);
        watches.any(|watch| !watch.silent(ANSWERS_WITHIN).is_empty())
    }

    /// That what the kernel counts on is enough to be served from, and that no rebuild would take for done what is not.
    pub(super) fn may_rebuild(&self) -> Result<(), ChangeError> {
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        let progress = self.host.progress(&claim.group)?;
        let lacking = claim.group.not_counted_on(&progress);
        // Those of which an image is to be rebuilt: no other one gets a new table.
        let lacks_lost = |volume: &str| {
            let mut own = lacking.iter().filter(|(lv, _)| *lv == volume);
            own.any(|(_, pvs)| pvs.iter().any(|pv| claim.group.pvs[*pv].is_missing))
        };
        let mut unequal = progress.iter().filter(|one| one.is_resync);
        if let Some(one) = unequal.find(|one| lacks_lost(&one.lv)) {
            return Err(ChangeError::Unequal {
                volume: one.lv.clone(),
                percent: one.percent,
            });
        }
        match as_active(claim, &claim.group, &progress).refusal(&self.config.cluster) {
            None => Ok(()),
            Some(_) => Err(ChangeError::Fallen {
                images: said_of(claim, &progress, &[]),
            }),
        }
    }
}

/// A group, with these members or fewer, as the kernel sees it.
pub(super) fn as_active(claim: &Claim, group: &VolumeGroup, progress: &[Progress]) -> VolumeGroup {
    let mut group = group.as_active(progress);
    // Of these the metadata do not say any more what the tables still do.
    for name in &claim.rebuilt {
        for image in group.images_of(name) {
            group.lvs[image].flags.clear(Flag::Rebuild);
        }
    }
    group
}

/// A group with images that have all, whatever is said of them.
pub(super) fn trusting(group: &VolumeGroup) -> VolumeGroup {
    let mut group = group.clone();
    for lv in &mut group.lvs {
        lv.is_behind = false;
        lv.flags.clear(Flag::Rebuild);
    }
    group
}

/// The images that the kernel does not count on, but for those on these disks, for a sentence.
pub(super) fn said_of(claim: &Claim, progress: &[Progress], but: &[DiskId]) -> String {
    let is_on = |pv: &usize| {
        let disk = claim.group.pvs[*pv].disk.as_ref();
        disk.is_none_or(|disk| but.contains(&disk.id))
    };
    let others = claim.group.not_counted_on(progress).into_iter();
    let said: Vec<String> = others
        .filter(|(_, pvs)| !pvs.iter().any(is_on))
        .map(|(volume, pvs)| format!("that of volume {volume} on {}", names_of(claim, &pvs)))
        .collect();
    said.join(", ")
}

/// The disks of members, as they were called when they were claimed.
fn names_of(claim: &Claim, pvs: &[usize]) -> String {
    let disks = pvs
        .iter()
        .filter_map(|pv| claim.group.pvs[*pv].disk.as_ref());
    let disks: Vec<DiskId> = disks.map(|disk| disk.id.clone()).collect();
    claim.fence.names_of(&disks)
}

#[cfg(test)]
mod tests {
    use super::super::lost::tests::served;
    use super::super::order::taken;
    use super::*;
    use crate::volume::tests::made::{HIDDEN, Made, VISIBLE};

    fn behind(worker: &Worker) -> Vec<&str> {
        let lvs = worker.claim.iter().flat_map(|claim| &claim.group.lvs);
        let lvs = lvs.filter(|lv| lv.is_behind);
        lvs.map(|lv| lv.name.as_str()).collect()
    }

    #[test]
    fn an_image_that_the_kernel_threw_out_is_named_and_written_down_once() {
        // Below a pool, too, which no client sees.
        let pool = "type = \"thin-pool\"\nmetadata = \"meta\"\npool = \"fallen\"\ntransaction_id = 0\nchunk_size = 128\n\
                    discards = \"passdown\"\nzero_new_blocks = 1";
        let visible = Made::on(2).raid("fallen", "raid1", &[0, 1]);
        let hidden = Made::on(2)
            .raid_with("fallen", HIDDEN, "raid1", &[0, 1], "")
            .part("meta", 0, 1)
            .volume("p", VISIBLE, 4, pool);
        for made in [visible, hidden] {
            let (mut worker, log) = served(made.group());
            worker.look_at_rebuilds();
            assert_eq!(taken(&log), ["metadata"]);
            assert_eq!(behind(&worker), ["fallen_rimage_1"]);
            worker.look_at_rebuilds();
            assert!(taken(&log).is_empty());
            let problems = worker.fallen_images();
            let [problem] = &problems[..] else {
                panic!("{problems:?}")
            };
            assert!(problem.what.contains("fallen is served without disk1"));
            assert!(problem.todo.contains("`handover tank`"));
            let report = lock(&worker.report);
            assert!(report.volumes.iter().all(|volume| volume.resync.is_none()));
        }
    }

    #[test]
    fn that_an_image_is_old_is_over_when_the_kernel_says_that_all_are_equal() {
        let (mut worker, log) = served(Made::on(2).raid("mended", "raid1", &[0, 1]).group());
        let lvs = &mut worker.claim.as_mut().unwrap().group.lvs;
        let image = lvs.iter_mut().find(|lv| lv.name == "mended_rimage_1");
        image.unwrap().is_behind = true;
        worker.look_at_rebuilds();
        assert_eq!(taken(&log), ["metadata"]);
        assert!(behind(&worker).is_empty() && worker.fallen_images().is_empty());
        worker.look_at_rebuilds();
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn nothing_is_said_of_an_image_on_a_disk_that_is_marked_as_missing() {
        let made = Made::on(2).missing(1).raid("fallen", "raid1", &[0, 1]);
        let (mut worker, log) = served(made.group());
        worker.look_at_rebuilds();
        assert!(taken(&log).is_empty() && worker.fallen_images().is_empty());
        assert!(worker.may_rebuild().is_ok());
    }

    #[test]
    fn no_disk_is_replaced_while_there_is_not_enough_to_rebuild_from() {
        let made = Made::on(2).missing(0).raid("fallen", "raid1", &[0, 1]);
        let (mut worker, log) = served(made.group());
        let refused = worker.replace_disk("sdz", false).unwrap_err().to_string();
        assert!(refused.contains("volume fallen on disk1"), "{refused}");
        assert!(taken(&log).is_empty());
    }

    #[test]
    fn no_disk_is_replaced_while_a_volume_is_made_equal() {
        let made = Made::on(5)
            .missing(4)
            .raid("unequal", "raid6_zr", &[0, 1, 2, 3, 4]);
        let (mut worker, log) = served(made.group());
        let refused = worker.replace_disk("sdz", false).unwrap_err().to_string();
        for word in ["volume unequal", "(3 %)", "wait until"] {
            assert!(refused.contains(word), "{refused}");
        }
        assert!(taken(&log).is_empty());
        // None of its images is on the lost disk.
        let images = [0, 1, 2, 3, 4];
        let elsewhere = Made::on(6).missing(5).raid("unequal", "raid6_zr", &images);
        assert!(served(elsewhere.group()).0.may_rebuild().is_ok());
    }
}
