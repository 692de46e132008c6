//! Mirrors that may differ where no bitmap says so: compared as a whole, as soon as all images have all.
//!
//! After a crash images are made equal where the bitmaps have bits (`volume::resync`). MD does not do that, or only wrongly, while an
//! image is recovered; and as it recovers that one it clears the bits for all of them. Two others in a raid1 of three, or another
//! pair of a raid10, would stay different where a write was under way, until somebody writes there: what a client reads would be
//! this at one time and that at another. Whether there was a crash nothing says any more then. So it is supposed of each volume that
//! was activated while an image of it lacked something:
//!
//! ```text
//! claim, an image lacks something ─► all have all ─► tag, then REBUILD goes ─► `repair` to dm-raid ─► at rest ─► no tag
//! ```
//!
//! Of a raid10 whose image fell as its owner was fenced only its superblocks tell, until it is activated: it gets the tag at once.
//!
//! Decisions:
//! - The tag is the volume's (`orthrus.images_unsure`), and is there before what says that an image lacked something goes. Whoever
//!   takes over between begins the comparison anew.
//! - A rebuild that began and ended under one claim is not followed by it: nobody died.
//! - The images count as they are meanwhile: each has all that was acknowledged.
//! - Parity needs none of this: an image that is recovered is computed with the rest of its stripe, which fits then.

use tracing::{info, warn};

use super::Worker;
use crate::volume::Progress;
use crate::volume::edit::Edit;

impl Worker {
    /// Writes down which volumes the import found to be compared, before a client is answered. Where it cannot be written, as for
    /// those that lacked an image at the claim.
    pub(super) fn note_unequal(&mut self, names: Vec<String>) {
        let Some(claim) = &mut self.claim else { return };
        let names: Vec<String> = {
            let is_tagged = |name: &String| {
                let mut lvs = claim.group.lvs.iter();
                lvs.any(|lv| lv.name == *name && lv.is_unsure)
            };
            names.into_iter().filter(|name| !is_tagged(name)).collect()
        };
        if !names.is_empty()
            && !self.tag_unsure(&names, true)
            && let Some(claim) = &mut self.claim
        {
            claim.unsure.extend(names);
        }
    }

    /// Writes down which volumes are to be compared, before it is written down that their images have all.
    pub(super) fn note_unsure(&mut self, progress: &[Progress]) {
        let Some(claim) = &mut self.claim else { return };
        let group = &claim.group;
        let taken_back = progress.iter().filter(|one| group.takes_back(one));
        claim.unsure.extend(taken_back.map(|one| one.lv.clone()));
        let whole = progress.iter().filter(|one| one.is_whole);
        let whole = whole.filter(|one| claim.unsure.contains(&one.lv));
        let names: Vec<String> = whole.map(|one| one.lv.clone()).collect();
        if !names.is_empty() && self.tag_unsure(&names, true) {
            let claim = self.claim.iter_mut();
            claim.for_each(|claim| claim.unsure.retain(|name| !names.contains(name)));
        }
    }

    /// Has those compared that are whole, and notes of which that is done.
    pub(super) fn compare_unsure(&mut self, progress: &[Progress]) {
        let Some(claim) = &mut self.claim else { return };
        let whole = progress.iter().filter(|one| one.is_whole);
        let whole: Vec<&str> = whole.map(|one| one.lv.as_str()).collect();
        let lvs = claim.group.lvs.iter().filter(|lv| lv.is_unsure);
        let tagged = lvs.filter(|lv| whole.contains(&lv.name.as_str()));
        let tagged: Vec<String> = tagged.map(|lv| lv.name.clone()).collect();
        let (done, new): (Vec<String>, Vec<String>) = tagged
            .into_iter()
            .partition(|name| claim.compared.contains(name));
        for name in new {
            match self.host.compare(&claim.group, &name) {
                Ok(()) => {
                    info!("volume {name}: its images are compared, and made equal");
                    claim.compared.insert(name);
                }
                Err(error) => warn!("volume {name}: its images are not compared: {error}"),
            }
        }
        if !done.is_empty() && self.tag_unsure(&done, false) {
            let claim = self.claim.iter_mut();
            claim.for_each(|claim| claim.compared.retain(|name| !done.contains(name)));
        }
    }

    /// Whether it could be written down.
    fn tag_unsure(&mut self, names: &[String], is_unsure: bool) -> bool {
        let Some(claim) = self.claim.as_ref() else {
            return false;
        };
        let said = match is_unsure {
            true => format!("images of {} are to be compared", names.join(", ")),
            false => format!("images of {} are equal", names.join(", ")),
        };
        // A disk that hangs must not hold the look up.
        if self.is_any_silent() {
            return false;
        }
        let author = self.author(format!("orthrus: {said}"));
        let note = |edit: &mut Edit<'_>| {
            let mut names = names.iter();
            names.try_for_each(|name| edit.set_unsure(name, is_unsure))
        };
        let written = self.host.edit(&claim.group, &author, &note);
        if let Err(error) = self.written(written) {
            self.note_metadata(format!("{said}, and that is not written down: {error}"));
            return false;
        }
        info!(pool = self.pool().name, "{said}: that is written down");
        if let Some(claim) = &mut self.claim {
            let lvs = claim.group.lvs.iter_mut();
            for lv in lvs.filter(|lv| names.contains(&lv.name)) {
                lv.is_unsure = is_unsure;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::lost::tests::served;
    use orthrus_hb::Epoch;

    use super::super::order::{Log, UNEQUAL, owner, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::volume::VolumeGroup;
    use crate::volume::group::Flag;
    use crate::volume::tests::made::Made;

    fn raid10(name: &str) -> VolumeGroup {
        Made::on(4).raid(name, "raid10", &[0, 1, 2, 3]).group()
    }

    /// A group of which one image is to be rebuilt, as it was claimed.
    fn rebuilt(made: &Made) -> VolumeGroup {
        let text = made.text();
        let at = text.find("_rimage_0 {").unwrap();
        let marked = text[at..].replacen("status = [", "status = [\"REBUILD\", ", 1);
        let mut group = VolumeGroup::parse(&format!("{}{marked}", &text[..at])).unwrap();
        group.pvs = made.group().pvs;
        assert!(group.lvs.iter().any(|lv| lv.flags.has(Flag::Rebuild)));
        group
    }

    fn looks(mut worker: Worker, log: &Log) -> Vec<Vec<String>> {
        worker.claim.as_mut().unwrap().unsure =
            worker.claim.as_ref().unwrap().group.lacking_mirrors();
        (0..3)
            .map(|_| {
                worker.look_at_rebuilds();
                taken(log)
            })
            .collect()
    }

    #[test]
    fn mirrors_are_compared_when_one_that_lacked_something_at_the_claim_has_all() {
        let made = Made::on(4).raid("rebuilt", "raid10", &[0, 1, 2, 3]);
        let (worker, log) = served(rebuilt(&made));
        // The tag, and only then that it is rebuilt; no tag, when it is at rest again.
        let expected: [&[&str]; 3] = [&["metadata", "compare", "metadata"], &["metadata"], &[]];
        assert_eq!(looks(worker, &log), expected);
        // Nothing may differ there but the image that was made equal; and parity fits.
        for made in [
            Made::on(2).raid("mended", "raid1", &[0, 1]),
            Made::on(3).raid("mended", "raid5_ls", &[0, 1, 2]),
        ] {
            let (worker, log) = served(rebuilt(&made));
            let expected: [&[&str]; 3] = [&["metadata"], &[], &[]];
            assert_eq!(looks(worker, &log), expected);
        }
    }

    #[test]
    fn what_was_to_be_compared_is_so_after_a_takeover() {
        let mut group = raid10("rebuilt");
        group
            .lvs
            .iter_mut()
            .for_each(|lv| lv.is_unsure = lv.name == "rebuilt");
        let (worker, log) = served(group);
        let expected: [&[&str]; 3] = [&["compare"], &["metadata"], &[]];
        assert_eq!(looks(worker, &log), expected);
    }

    #[test]
    fn what_the_import_finds_unequal_is_tagged_before_anybody_uses_it() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.claim.as_mut().unwrap().group = raid10(UNEQUAL);
        worker.import(Epoch(1)).unwrap();
        assert_eq!(taken(&log)[1..4], ["volumes on", "metadata", "state on"]);
        let is_unsure = |worker: &Worker| {
            let claim = worker.claim.as_ref().unwrap();
            let mut lvs = claim.group.lvs.iter();
            lvs.any(|lv| lv.name == UNEQUAL && lv.is_unsure) || claim.unsure.contains(UNEQUAL)
        };
        assert!(is_unsure(&worker));
        // Nor is it forgotten where that cannot be written.
        let (mut worker, _) = owner(&Shelf::new(2), "metadata");
        worker.claim.as_mut().unwrap().group = raid10(UNEQUAL);
        worker.import(Epoch(1)).unwrap();
        assert!(is_unsure(&worker));
    }

    #[test]
    fn an_image_that_the_kernel_takes_back_leaves_the_others_unsure() {
        let (mut worker, log) = served(raid10("taken"));
        worker.look_at_rebuilds();
        assert!(taken(&log).is_empty());
        let claim = worker.claim.as_ref().unwrap();
        assert!(claim.unsure.contains("taken"));
    }
}
