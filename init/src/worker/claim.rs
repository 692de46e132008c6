//! Survey and claim: which disks are the pool's, whose they are, and making them ours.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::thread;
use std::time::Duration;

use orthrus_hb::ledger::{self, Record};
use orthrus_hb::{Authority, Done, Epoch, HeadId, Holder, Key};
use tracing::warn;

use super::Worker;
use super::error::JobError;
use super::lease::Lease;
use super::paths;
use crate::clock;
use crate::disk::{self, Disk, DiskError, DiskId, WriteCache};
use crate::fence::{COMMAND_LIFETIME, ClaimRequest, Claimed, Fence, Forgotten, Identity, Survey};
use crate::multipath::keeper::Keeper;
use crate::status;
use crate::sync::lock;
use crate::volume::write::stamp;
use crate::volume::{self, VolumeGroup};

/// In the words of what a survey found, and of nothing else that is noted.
const LOOKED: &str = "when this head looked";

/// How long after a claim could not be undone that is tried again.
const UNDO_INTERVAL: Duration = Duration::from_secs(1);

/// A claim that is held.
pub struct Claim {
    /// Its members, and their reservations where they have any.
    pub fence: Fence,
    /// What it rests on where they have none.
    pub lease: Option<Lease>,
    /// What is registered.
    pub key: Key,
    /// Read after the claim.
    pub group: VolumeGroup,
    /// A member was marked as missing since: it is still part of what is active.
    pub marked: bool,
    /// Why what is active may not be what the metadata say: nothing is changed until it is.
    pub behind: Option<String>,
    /// Its disks that have several paths.
    pub paths: Option<Keeper>,
    /// Volumes that were rebuilt since, and are noted so.
    pub rebuilt: BTreeSet<String>,
    /// Volumes with images that may come to differ unseen: see [`super::unsure`].
    pub unsure: BTreeSet<String>,
    /// Those that the kernel was told to compare.
    pub compared: BTreeSet<String>,
    /// Snapshots that were lost since, and are noted so.
    pub lost_snapshots: BTreeSet<String>,
    /// It took disks from a peer that had not let go.
    pub has_preempted: bool,
    /// Its disks whose members of arrays were thrown out while it was made, and are not taken back yet: see [`super::arrays`].
    pub thrown_out: Vec<DiskId>,
}

impl Worker {
    /// Looks, and changes nothing.
    pub(super) fn survey(&mut self) -> Result<Done, JobError> {
        self.forget_words();
        let group = self.read_group()?;
        let fence = Fence::open(&group.disks(), self.identity())?;
        self.report_disks(&group.disks(), &fence);
        let survey = fence.survey();
        if survey.has_none() {
            return self.survey_lease(&group);
        }
        if let Some((disk, why)) = survey.failure() {
            return Err(JobError::survey(disk, why));
        }
        let cluster = self.config.cluster_id;
        if let Some((disk, stranger)) = survey.stranger(cluster) {
            return Err(JobError::Stranger {
                disk: disk.to_owned(),
                stranger,
            });
        }
        // A disk that may have forgotten its keys says nothing of who had them.
        self.keys_found |= survey.keys(cluster).next().is_some() || survey.forgetful().is_some();
        let holder = match survey.newest_of(cluster, self.me.peer()) {
            Some((_, key)) => Holder::Peer(key.epoch),
            None => Holder::Nobody,
        };
        self.note_surveyed(&fence, &survey, stamped_epoch(&group), || {
            self.last_record(&group)
        });
        if survey.newest_of(cluster, self.me).is_none() {
            self.left_reserved = None;
        }
        let mut report = lock(&self.report);
        report.notes.extend(without_ledger(&group));
        report
            .notes
            .extend(said_of_namesakes(&group, &self.config.cluster));
        report.notes.extend(self.left_reserved.clone());
        drop(report);
        Ok(Done::Surveyed {
            // Keys may be gone with the shelf's power; what was written is not.
            greatest: survey
                .greatest_epoch(cluster)
                .max(self.ledger.greatest_epoch(&group))
                .max(stamped_epoch(&group)),
            holder,
        })
    }

    /// Takes the reservations of all members, under exactly this epoch.
    pub(super) fn take(
        &mut self,
        epoch: Epoch,
        (authority, covers): (Authority, Epoch),
        peer_is_done: bool,
    ) -> Result<Done, JobError> {
        self.weigh_words(epoch);
        let group = self.read_group()?;
        self.may_use_parity(&group)?;
        let fence = Fence::open(&group.disks(), self.identity())?;
        if fence.survey().has_none() {
            return self.take_lease(epoch, (authority, covers), group, fence);
        }
        let claimed = fence.claim(&ClaimRequest {
            covers,
            keeps: !peer_is_done,
            ..self.request(epoch, authority)
        })?;
        let key = claimed.key;
        fence.pin(&group.disks());
        self.note_claimed(&claimed);
        // From here on the core counts on the watch.
        *lock(&self.watch) = Some((epoch, fence.watch(key, self.on_loss.clone())));
        self.claim = Some(Claim {
            fence,
            lease: None,
            key,
            group: group.clone(),
            paths: None,
            marked: false,
            behind: None,
            rebuilt: BTreeSet::new(),
            unsure: group.lacking_mirrors(),
            compared: BTreeSet::new(),
            lost_snapshots: BTreeSet::new(),
            has_preempted: claimed.has_preempted(),
            thrown_out: Vec::new(),
        });
        self.settle_claim(&group, peer_is_done, Done::Claimed)
    }

    /// As whom this head reserves.
    pub(super) fn identity(&self) -> Identity {
        Identity::new(self.config.cluster_id, self.me)
    }

    /// It covers no key of the peer's, and keeps nothing when it fails.
    pub(super) fn request(&self, epoch: Epoch, authority: Authority) -> ClaimRequest {
        ClaimRequest {
            cluster: self.config.cluster_id,
            head: self.me,
            epoch,
            authority,
            covers: Epoch::NONE,
            keeps: false,
            command_lifetime: COMMAND_LIFETIME,
            up: Duration::from_millis(clock::now().as_millis()),
        }
    }

    /// What the operator should know of disks that can be claimed; `stamped` is the epoch that the metadata have, `last` reads the
    /// newest record of the ledger.
    pub(super) fn note_surveyed(
        &self,
        fence: &Fence,
        survey: &Survey,
        stamped: Epoch,
        last: impl FnOnce() -> Option<Record>,
    ) {
        let forgotten = fence.forgotten(survey, (self.config.cluster_id, stamped), last);
        let forgotten = forgotten.map(|forgotten| self.words_of(&forgotten));
        let mut report = lock(&self.report);
        if let Some(told) = forgotten.iter().find(|told| !report.notes.contains(told)) {
            warn!(pool = self.pool().name, "{told}");
        }
        report.notes = survey.forgetful().into_iter().chain(forgotten).collect();
    }

    fn words_of(&self, Forgotten { disks, record }: &Forgotten) -> String {
        format!(
            "{}: {LOOKED} nobody had registered there since the power came on, and the ledger says that head {} held the pool under epoch \
             {} and says nothing of letting go: most likely the shelf lost its power, and its reservations with it, or these are \
             copies of its disks",
            disks.join(", "),
            self.config.head(record.head).name,
            record.epoch,
        )
    }

    /// The newest record of either head; `None` as well when a copy cannot be read, which might have a newer one.
    fn last_record(&self, group: &VolumeGroup) -> Option<Record> {
        let copies: Option<Vec<Vec<Record>>> = self.ledger.records(group).into_iter().collect();
        let records = copies?.concat();
        let heads = [HeadId::First, HeadId::Second].into_iter();
        let newest = heads.filter_map(|head| ledger::newest(&records, head));
        newest.max_by_key(|record| record.epoch)
    }

    pub(super) fn note_claimed(&mut self, claimed: &Claimed) {
        let mut report = lock(&self.report);
        // The key that it tells of gave way to the claim's.
        if let Some(left) = self.left_reserved.take() {
            report.notes.retain(|note| *note != left);
        }
        // It stays while the pool is served: of which moment it speaks must be told.
        let before = format!("{LOOKED} (before epoch {})", claimed.epoch);
        for note in &mut report.notes {
            *note = note.replacen(LOOKED, &before, 1);
        }
        let forgetful = forgetful(claimed, &report.notes);
        report.notes.extend(forgetful);
        let notes = claimed.notes.iter().map(ToString::to_string);
        report.notes.extend(notes);
    }

    /// What the survey found forgotten is not told any more: the claim that it was told for is over, or was none.
    pub(super) fn unsay_forgotten(&self) {
        let mut report = lock(&self.report);
        report.notes.retain(|note| !note.contains(LOOKED));
    }

    /// After the claim: what was read before it is forgotten, and the disks' own caches go off.
    pub(super) fn settle_claim(
        &mut self,
        before: &VolumeGroup,
        peer_is_done: bool,
        done: Done,
    ) -> Result<Done, JobError> {
        let settled = self.settle_members(before);
        if settled.is_err() {
            let pool = self.pool().name.clone();
            until_undone(&pool, || self.release(peer_is_done));
        }
        settled.map(|()| done)
    }

    fn settle_members(&mut self, before: &VolumeGroup) -> Result<(), JobError> {
        self.join_paths(before);
        let group = self.read_group()?;
        let has_preempted = self.claim.as_ref().is_some_and(|claim| claim.has_preempted);
        let thrown_out = thrown_out(before, &group, has_preempted);
        let thrown_out = thrown_out.ok_or_else(|| JobError::Changed {
            vg: self.pool().vg.clone(),
        })?;
        let disks = group.disks();
        for (disk, outcome) in disks.iter().zip(disk::disable_write_caches(&disks)) {
            match outcome {
                Ok(_) => {}
                // Passed on honestly, where nothing keeps it back: the volumes report what their disks do, LIO reports that
                // to clients, and `disks` says so.
                Err(DiskError::CacheStays { found, .. }) => {
                    allows_cache(&group, disk, found)?;
                    let (pool, name) = (&self.pool().name, &disk.name);
                    warn!(
                        pool,
                        "{name}: its write cache stays {found}; clients are told"
                    );
                }
                // Not known: clients might be told that there is none, and lose what they do not flush.
                Err(error) => return Err(error.into()),
            }
        }
        let disks: Vec<Disk> = disks
            .into_iter()
            .map(|disk| disk::refresh(&disk).unwrap_or(disk))
            .collect();
        if let Some(claim) = &mut self.claim {
            // Before the import, which may take long: whoever hears no cable sees us tick meanwhile.
            self.ledger.begin(claim.key.epoch, &group);
            claim.group = group;
            claim.thrown_out = thrown_out;
        }
        if let Some(claim) = &self.claim {
            self.report_disks(&disks, &claim.fence);
        }
        Ok(())
    }

    /// The pool's volume group, whatever speaks against it; and what could not be read.
    pub(super) fn find_group(&self) -> Result<(VolumeGroup, String), JobError> {
        let mut disks: Vec<Disk> = Vec::new();
        let mut unreadable: Vec<String> = Vec::new();
        for disk in disk::scan() {
            match disk {
                Ok(disk) => disks.push(disk),
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        let found = volume::read_groups(&disks);
        unreadable.extend(found.problems.iter().map(ToString::to_string));
        let detail = match unreadable.is_empty() {
            true => String::new(),
            false => format!(" ({})", unreadable.join("; ")),
        };
        let vg = &self.pool().vg;
        let group = found.find(vg, &self.config.cluster);
        if group.is_none() && found.destroyed.iter().any(|group| group.name == *vg) {
            return Err(JobError::Destroyed { vg: vg.clone() });
        }
        let Some(mut group) = group.cloned() else {
            return Err(JobError::NoGroup {
                vg: vg.clone(),
                detail,
            });
        };
        self.heed(&mut group);
        Ok((group, detail))
    }

    /// The pool's volume group, complete and ours to use.
    pub(super) fn read_group(&self) -> Result<VolumeGroup, JobError> {
        let found = self.find_group();
        self.report_default(found.as_ref().ok().map(|(group, _)| group));
        let (group, detail) = found?;
        // Whatever speaks against serving it, the peer may tick there.
        self.ledger.follow(&group);
        if let Some(refusal) = group.refusal(&self.config.cluster) {
            let detail = format!("{}{detail}", self.hint_of_word(&group, &refusal));
            return Err(JobError::Refused { refusal, detail });
        }
        let risky = group.arrays().find(|on| on.may_be_wrong());
        let risky = risky.map(|on| on.array.name());
        if let Some(array) = risky.filter(|_| !self.pool().dirty_degraded) {
            let refusal = volume::Refusal::DirtyArray { array };
            return Err(JobError::Refused { refusal, detail });
        }
        // By a standby too: a takeover has no time for it, and a head that cannot is known before.
        self.host.prepare(&group)?;
        Ok(group)
    }

    pub(super) fn report_disks(&self, disks: &[Disk], fence: &Fence) {
        let members = fence.members().iter().enumerate();
        let reported = members.map(|(place, member)| {
            let disk = disks.iter().find(|disk| disk.id == member.id);
            let cache = disk.map(|disk| disk.write_cache);
            status::Disk {
                name: member.name.clone(),
                id: member.id.to_string(),
                write_cache: cache.map_or_else(String::new, |cache| cache.to_string()),
                arbiter: place == 0,
                paths: disk.map(paths::of_disk).unwrap_or_default(),
            }
        });
        lock(&self.report).disks = reported.collect();
    }
}

/// That a disk of a group may have its cache on.
pub(super) fn allows_cache(
    group: &VolumeGroup,
    disk: &Disk,
    found: WriteCache,
) -> Result<(), JobError> {
    match group.on_md(&disk.id) {
        None => Ok(()),
        Some(what) => Err(JobError::CacheUnderMd {
            disk: disk.name.clone(),
            found,
            what,
        }),
    }
}

/// Disks of a group as it was before its claim that it does without after it, since its former owner, which was being fenced and still
/// wrote, threw their members out of arrays: they are claimed like the others. `None` where anything else came or went.
fn thrown_out(
    before: &VolumeGroup,
    after: &VolumeGroup,
    has_preempted: bool,
) -> Option<Vec<DiskId>> {
    let arrays = after.arrays().filter(|_| has_preempted);
    let thrown_out: Vec<DiskId> = arrays
        .flat_map(|on| {
            let members = on.thrown_out().map(|index| &on.array.members[index]);
            members.map(|member| member.disk.id.clone())
        })
        .collect();
    let (before, after) = (ids(before), ids(after));
    let gone: Vec<DiskId> = before.difference(&after).cloned().collect();
    let is_explained = gone.iter().all(|id| thrown_out.contains(id));
    (is_explained && after.is_subset(&before)).then_some(gone)
}

/// The disks of a group; in no order, which for an array's is that of whose superblock was the newest at that moment.
pub(super) fn ids(group: &VolumeGroup) -> BTreeSet<DiskId> {
    group.disks().into_iter().map(|disk| disk.id).collect()
}

/// Why a group has no ledger that could have none.
fn without_ledger(group: &VolumeGroup) -> Option<String> {
    let on_arrays = group.arrays().count();
    (on_arrays > 0 && on_arrays == group.devices().len()).then(|| {
        "it is on MD arrays alone and has no ledger: all cables cut would mean a takeover from a living head. A small disk \
         that is in the group by itself can have one"
            .to_owned()
    })
}

/// That there are disks of another box whose group has the same name.
fn said_of_namesakes(group: &VolumeGroup, cluster: &str) -> Option<String> {
    let others = group.namesakes(cluster);
    let named: Vec<String> = others.iter().map(ToString::to_string).collect();
    (!named.is_empty()).then(|| {
        format!(
            "another volume group of its name, {}, is on disks that are not of this cluster, and is left alone: \
             disconnect them, or vgrename it on a host with lvm2",
            named.join(", ")
        )
    })
}

/// The epoch of the last claim, as the metadata have it.
pub(super) fn stamped_epoch(group: &VolumeGroup) -> Epoch {
    stamp::epoch(group.tags.iter().map(String::as_str))
}

/// That reservations which were just taken are not kept without power, unless the survey said it of disks that
/// cannot keep them: that a disk could is not yet that it does.
fn forgetful(claimed: &Claimed, said: &[String]) -> Option<String> {
    let is_said = said.iter().any(|note| note.contains(Survey::NO_PTPL));
    (!claimed.persistent && !is_said).then(|| {
        "not every disk keeps its reservations when the shelf loses power, though all say that they could: the \
         owner then resets, and whoever boots first takes the pool"
            .to_owned()
    })
}

/// Undoes a claim that failed. The core takes such a claim for one after which nothing is held, so that this does not return before
/// nothing is: a disk that is busy with its own recovery lets go in the end, and otherwise the claim's limit ends in a reset.
pub(super) fn until_undone<T, E: Display>(pool: &str, mut undo: impl FnMut() -> Result<T, E>) {
    while let Err(stays) = undo() {
        warn!(pool, "the claim failed, and is not undone yet: {stays}");
        thread::sleep(UNDO_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{ClusterId, Failure, HeadId};

    use super::super::order::group_on;
    use super::*;
    use crate::array::tests;
    use crate::volume::tests::made::Made;

    #[test]
    fn a_claim_that_preempted_stands_when_the_former_owner_threw_members_out_meanwhile() {
        let gone = |which: &[usize]| -> Vec<DiskId> {
            which
                .iter()
                .map(|index| DiskId(format!("naa.{index}")))
                .collect()
        };
        for (name, which) in [("raid1-10", &[0][..]), ("raid6-ls", &[0, 3])] {
            let before = group_on(tests::thrown_out(name, &[], 0));
            let after = group_on(tests::thrown_out(name, which, 2));
            assert_eq!(
                thrown_out(&before, &after, true),
                Some(gone(which)),
                "{name}"
            );
            // What was out before is not claimed, and of no concern.
            assert_eq!(thrown_out(&after, &after, true), Some(Vec::new()), "{name}");
            // It came back: it is not fenced.
            assert_eq!(thrown_out(&after, &before, true), None, "{name}");
            // It lacks too much.
            let long_ago = group_on(tests::thrown_out(name, which, 17));
            assert_eq!(thrown_out(&before, &long_ago, true), None, "{name}");
        }
        // Its disk is gone.
        let mirror = group_on(tests::thrown_out("raid1-12", &[], 0));
        let absent = group_on(tests::some_of("raid1-12", &[0, 1]));
        assert_eq!(thrown_out(&mirror, &absent, true), None);
    }

    #[test]
    fn a_member_that_failed_while_nobody_was_fenced_was_not_thrown_out_by_a_takeover() {
        let before = group_on(tests::thrown_out("raid6-ls", &[], 0));
        let after = group_on(tests::thrown_out("raid6-ls", &[0], 2));
        assert_eq!(thrown_out(&before, &after, false), None);
        assert_eq!(thrown_out(&before, &before, false), Some(Vec::new()));
    }

    #[test]
    fn a_cache_that_stays_is_refused_under_raid_and_told_of_elsewhere() {
        let group = Made::on(3)
            .raid("vol0", "raid1", &[0, 1])
            .simple("vol1", 2)
            .group();
        let disks = group.disks();
        let refused = allows_cache(&group, &disks[1], WriteCache::WriteBack).unwrap_err();
        assert_eq!(refused.kind(), Failure::Refused);
        let why = refused.to_string();
        assert!(why.contains("sd1") && why.contains("volume vol0"), "{why}");
        assert!(allows_cache(&group, &disks[2], WriteCache::WriteBack).is_ok());
    }

    #[test]
    fn a_shelf_that_could_keep_reservations_and_does_not_is_named() {
        let epoch = Epoch(1);
        let mut claimed = Claimed {
            epoch,
            key: Key {
                cluster: ClusterId::from_name("lab"),
                head: HeadId::First,
                epoch,
            },
            persistent: false,
            notes: Vec::new(),
        };
        assert!(forgetful(&claimed, &[]).is_some());
        let said = |note: &str| forgetful(&claimed, &[note.to_owned()]);
        assert_eq!(said("sda forgets (no PTPL)"), None);
        assert!(said("something else").is_some());
        claimed.persistent = true;
        assert_eq!(forgetful(&claimed, &[]), None);
    }
}
