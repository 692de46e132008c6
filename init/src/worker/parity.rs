//! RAID with parity that lacks an image: whether its last owner let go of it in order.
//!
//! Whoever dies while a stripe is written leaves parity that does not fit. With all images there that is made good at the next
//! activation (`volume::resync`). With one gone its data are computed from that parity, wrongly, and they may have been acknowledged
//! long ago: the *write hole*. dm-raid starts such a volume without a word. So the metadata have one, a tag of the group, from the moment
//! in which parity lacks an image while it is used to the moment in which it is used no more:
//!
//! ```text
//! a disk is marked as lost, an image is thrown out ─► tag ─► release, volumes off ─► no tag
//! import without an image ─► tag (with the epoch)        └► death ─► the claim is refused, unless `dirty_degraded = true`
//! ```
//!
//! Decisions:
//! - It is written with what is written then anyway; only the release writes once more.
//! - It speaks against a claim, not against standing by: an owner that lives lets go in order, and takes it off.
//! - A tag that could not be taken off stays, and is told of: the next claim is refused for nothing, rather than served for nothing.

use tracing::info;

use super::Worker;
use super::claim::Claim;
use super::error::JobError;
use crate::sync::lock;
use crate::volume::write::stamp::PARITY_TAG;
use crate::volume::{Refusal, VolumeGroup};

const NOT_SAID: &str =
    "volumes without an image are let go of in order, and that is not written down";
const ALLOWED: &str = "served as `dirty_degraded` allows it";
const REFUSED: &str = "their next claim is refused unless `dirty_degraded = true` allows it";

/// What a group is to say of its parity, where it says something else.
pub(super) fn parity_word(group: &VolumeGroup) -> Option<bool> {
    let is_in_use = !group.lacking_parity().is_empty();
    (is_in_use != has_tag(group)).then_some(is_in_use)
}

/// That this was written.
pub(super) fn note_parity_word(group: &mut VolumeGroup, word: Option<bool>) {
    match word {
        Some(true) => group.tags.push(PARITY_TAG.to_owned()),
        Some(false) => group.tags.retain(|tag| tag != PARITY_TAG),
        None => {}
    }
}

fn has_tag(group: &VolumeGroup) -> bool {
    group.tags.iter().any(|tag| tag == PARITY_TAG)
}

impl Worker {
    /// That no data of the group are computed from parity that may not fit, unless the configuration allows it.
    pub(super) fn may_use_parity(&self, group: &VolumeGroup) -> Result<(), JobError> {
        let Some(lv) = group.unsure_parity() else {
            return Ok(());
        };
        if !self.pool().dirty_degraded {
            return Err(JobError::Refused {
                refusal: Refusal::DirtyVolume { lv },
                detail: String::new(),
            });
        }
        self.note_metadata(format!(
            "volume {lv}: {ALLOWED}: without an image, and not let go of in order; data of the missing image may be wrong where it was being \
             written: check what is on it"
        ));
        Ok(())
    }

    /// The volumes are off.
    pub(super) fn end_use_of_parity(&mut self) {
        lock(&self.report)
            .notes
            .retain(|note| !note.contains(ALLOWED));
        let tagged = |claim: &&Claim| has_tag(&claim.group);
        let Some(claim) = self.claim.as_ref().filter(tagged) else {
            return;
        };
        // A disk that hangs must not hold a release.
        if self.is_any_silent() {
            return self.note_metadata(format!("{NOT_SAID}: a disk does not answer; {REFUSED}"));
        }
        let author = self.author("orthrus: parity is at rest".to_owned());
        let written = self.host.edit(&claim.group, &author, &|edit| {
            edit.use_parity(false);
            Ok(())
        });
        match self.written(written) {
            Ok(_) => {
                info!(
                    pool = self.pool().name,
                    "parity that lacks an image is at rest"
                );
                if let Some(claim) = &mut self.claim {
                    note_parity_word(&mut claim.group, Some(false));
                }
            }
            Err(error) => self.note_metadata(format!("{NOT_SAID}: {error}; {REFUSED}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::lost::tests::served;
    use super::super::order::taken;
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::tests::made::Made;

    fn is_in_use(worker: &Worker) -> bool {
        worker
            .claim
            .as_ref()
            .is_some_and(|claim| has_tag(&claim.group))
    }

    /// A parity volume and a mirror, the first disk lost.
    fn degraded(level: &str) -> VolumeGroup {
        let images: Vec<usize> = (0..5).collect();
        Made::on(5)
            .missing(0)
            .raid("vol", level, &images)
            .raid("mirror", "raid1", &[0, 1])
            .group()
    }

    #[test]
    fn parity_that_lacks_an_image_is_told_apart_from_what_is_whole_or_has_no_parity() {
        let names = |group: &VolumeGroup| group.lacking_parity().into_iter().collect::<Vec<_>>();
        for level in ["raid4", "raid5_ls", "raid6_zr"] {
            assert_eq!(names(&degraded(level)), ["vol"], "{level}");
        }
        let images: Vec<usize> = (0..5).collect();
        let whole = Made::on(5).raid("vol", "raid6_zr", &images);
        assert!(names(&whole.group()).is_empty());
        assert!(names(&Made::on(5).missing(0).raid("m", "raid1", &[0, 1]).group()).is_empty());
        let mut behind = whole.group();
        let image = behind.lvs.iter_mut().find(|lv| lv.name == "vol_rimage_3");
        image.unwrap().is_behind = true;
        assert_eq!(names(&behind), ["vol"]);
        let text = whole.text();
        let at = text.find("vol_rimage_3 {").unwrap();
        let rebuilt = text[at..].replacen("status = [", "status = [\"REBUILD\", ", 1);
        let mut rebuilt = VolumeGroup::parse(&format!("{}{rebuilt}", &text[..at])).unwrap();
        rebuilt.pvs = whole.group().pvs;
        assert_eq!(names(&rebuilt), ["vol"]);
    }

    #[test]
    fn a_claim_of_parity_that_was_not_let_go_of_is_refused_unless_that_is_allowed() {
        let (mut worker, _) = served(degraded("raid5_ls"));
        let mut group = degraded("raid5_ls");
        assert!(worker.may_use_parity(&group).is_ok());
        note_parity_word(&mut group, Some(true));
        let refused = worker.may_use_parity(&group).unwrap_err().to_string();
        for word in ["volume vol", "dirty_degraded = true"] {
            assert!(refused.contains(word), "{refused}");
        }
        // The disk is back, and was taken back.
        let mut whole = group.clone();
        whole.pvs[0].is_missing = false;
        assert!(worker.may_use_parity(&whole).is_ok());
        let mut config = (*worker.config).clone();
        config.pools[0].dirty_degraded = true;
        worker.config = config.into();
        let said = |worker: &Worker| {
            let report = lock(&worker.report);
            let notes = report.notes.iter();
            notes
                .filter(|note| note.contains("check what is on it"))
                .count()
        };
        for _ in 0..2 {
            assert!(worker.may_use_parity(&group).is_ok());
            assert_eq!(said(&worker), 1);
        }
        worker.end_use_of_parity();
        assert_eq!(said(&worker), 0);
    }

    #[test]
    fn what_was_written_at_the_loss_of_a_disk_is_taken_off_when_the_volumes_are_off() {
        let images: Vec<usize> = (0..5).collect();
        let made = Made::on(5).raid("vol", "raid6_zr", &images);
        let (mut worker, log) = served(made.group());
        assert!(!is_in_use(&worker));
        worker.mark(&[Shelf::id(0)]);
        assert!(is_in_use(&worker));
        assert_eq!(taken(&log), ["metadata"]);
        worker.release(true).unwrap();
        let said = taken(&log);
        let at = |what: &str| said.iter().position(|one| one == what);
        assert!(
            at("metadata").is_some() && at("volumes off") < at("metadata"),
            "{said:?}"
        );
        // A mirror costs no write.
        let (mut worker, log) = served(Made::on(2).raid("m", "raid1", &[0, 1]).group());
        worker.mark(&[Shelf::id(0)]);
        taken(&log);
        worker.release(true).unwrap();
        assert!(!taken(&log).contains(&"metadata".to_owned()));
    }

    #[test]
    fn an_import_says_so_with_its_epoch() {
        let (mut worker, log) = served(degraded("raid5_ls"));
        worker.stamp(Epoch(1)).unwrap();
        assert!(taken(&log).contains(&"stamp with parity in use".to_owned()));
    }
}
