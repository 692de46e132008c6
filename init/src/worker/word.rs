//! The operator's word that a disk is lost for good, while no head holds the pool.
//!
//! A pool that was not held when a disk of it died is served by nobody: a claim takes all members, and the mark that one does
//! not count any more is an owner's. Which head sees all that is left, and that no other one has the rest, only a person knows
//! then (DESIGN section 5: "or the operator says so").
//!
//! ```text
//! disk lost ─► surveys and claims go without the disk ─► import: metadata say that it is missing ─► stamp, volumes
//! ```
//!
//! Decisions:
//! - It changes no disk: the claim is made by the core as always, and what it rests on is written first of all. An import that
//!   cannot write it fails, since volumes that run without a disk make what is on that disk old.
//! - It is taken only for a disk that this head does not see, and that all volumes can do without; and not while any disk that it sees
//!   does not answer, whosever that is: a disk that hangs is known by nothing but its own label, and would be taken for lost.
//! - No kernel can be asked then which images of RAID it threw out before: the last owner wrote it down (see [`super::fallen`]), and an
//!   image that is old is nothing that volumes can do with.
//! - It is over after [`VALID_FOR`], and with a reset: a word that waits for a takeover weeks later would throw away what the peer
//!   has written to that disk meanwhile. It says nothing of a disk that is back.
//! - It is not taken while the peer holds the pool, and is over when anybody else has claimed it since: two heads that each go without
//!   what the other one has would serve two pools, one after the other. A claim of the peer's that is under way as the disks
//!   are looked at is such a claim: the core is asked before and after, and the epoch of a claim under way is not known but new.

use embassy_time::{Duration, Instant};
use orthrus_hb::{Epoch, LedgerState, Liveness, PoolState};
use tracing::warn;

use super::Worker;
use super::claim::stamped_epoch;
use super::error::JobError;
use crate::clock;
use crate::fence::{Fence, FenceError};
use crate::status::Snapshot;
use crate::sync::lock;
use crate::volume::edit::Edit;
use crate::volume::edit::apply::ApplyError;
use crate::volume::write::WriteError;
use crate::volume::{Refusal, Uuid, VolumeGroup};

/// How long it waits for a claim: longer than two heads that boot wait for one another.
pub(super) const VALID_FOR: Duration = Duration::from_secs(600);

/// That a physical volume counts as lost.
pub(super) struct Word {
    pv: Uuid,
    until: Instant,
    /// The greatest epoch that was known then, or that this head itself tried since. A greater one is another owner's, who may have
    /// written to the disk, or gone without just those that are here.
    known: Epoch,
}

/// Why it is not taken.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// An owner knows by itself.
    #[error(
        "this head holds the pool: a disk that dies is marked as missing by itself, within a minute"
    )]
    Held,
    /// It is none, or here.
    #[error(
        "{wanted:?} is no physical volume of the pool that is missing here; missing are: {missing}"
    )]
    NotMissing {
        /// What was asked for.
        wanted: String,
        /// What is missing.
        missing: String,
    },
    /// It may be one that is here.
    #[error(
        "{} is here and does not answer: it may be the one that seems to be missing. Check its power and its cables; if it is broken, \
         pull it out, and say it again", .0.join(", ")
    )]
    Silent(Vec<String>),
    /// What is left is not enough.
    #[error("the pool cannot be served without it: {0}")]
    Needed(Refusal),
    /// The members of a lease are fixed.
    #[error(
        "the disks have no reservations, and a lease needs all of them: vgreduce --removemissing on a host with lvm2"
    )]
    Lease,
    /// The others cannot be looked at.
    #[error("{0}")]
    Fence(#[from] FenceError),
    /// The core speaks against it.
    #[error("{0}")]
    Core(&'static str),
    /// The peer came first.
    #[error("the peer claims the pool just now: see `pools`, and say it again if it is still so")]
    Claimed,
    /// The group cannot be read.
    #[error("{0}")]
    Read(#[from] Box<JobError>),
}

impl Worker {
    /// Takes the word for a physical volume, by its identity.
    pub(super) fn disk_lost(&mut self, name: &str) -> Result<String, WordError> {
        if self.claim.is_some() {
            return Err(WordError::Held);
        }
        let before = known_of(&lock(&self.snapshot), self.index).map_err(WordError::Core)?;
        let (group, _) = self.find_group().map_err(Box::new)?;
        let id = may_be_lost(&group, &self.config.cluster, name)?;
        let survey = Fence::open(&group.disks(), self.identity())?.survey();
        if survey.has_none() {
            return Err(WordError::Lease);
        }
        let after = known_of(&lock(&self.snapshot), self.index).map_err(WordError::Core)?;
        let theirs = survey.newest_of(self.config.cluster_id, self.me.peer());
        if is_claimed(before, after, theirs.map(|(_, key)| key.epoch)) {
            return Err(WordError::Claimed);
        }
        self.words.push(Word {
            pv: id,
            until: clock::now() + VALID_FOR,
            known: after
                .epoch
                .max(survey.greatest_epoch(self.config.cluster_id))
                .max(self.ledger.greatest_epoch(&group))
                .max(stamped_epoch(&group)),
        });
        let pool = self.pool().name.as_str();
        warn!(pool, "physical volume {id} is lost, by the operator's word");
        Ok(format!(
            "physical volume {id} counts as lost: for {} minutes the pool can be claimed here without it, and whoever claims it \
             marks it as missing",
            VALID_FOR.as_secs() / 60
        ))
    }

    /// A group as the operator says that it is.
    pub(super) fn heed(&self, group: &mut VolumeGroup) {
        for pv in &mut group.pvs {
            let is_said = self.words.iter().any(|word| word.pv == pv.uuid);
            // Nor is it said of one that may be back, and is slow.
            pv.is_missing |= is_said && pv.disk.is_none() && group.silent.is_empty();
        }
    }

    /// Words whose time is over count no more. Not while the pool is held: the claim rests on them.
    pub(super) fn forget_words(&mut self) {
        if self.claim.is_none() {
            let now = clock::now();
            self.words.retain(|word| word.until > now);
        }
    }

    /// Before a claim under this epoch: words that another one's claim came after count no more.
    pub(super) fn weigh_words(&mut self, epoch: Epoch) {
        self.forget_words();
        let pool = self.pool().name.clone();
        self.words.retain_mut(|word| {
            let is_next = epoch.0 <= word.known.0.saturating_add(1);
            if !is_next {
                warn!(
                    pool,
                    "the pool was claimed since it was said that physical volume {} is lost: say it again if it is still so",
                    word.pv
                );
            }
            word.known = word.known.max(epoch);
            is_next
        });
    }

    /// What `disk lost` could end, for a group that is refused.
    pub(super) fn hint_of_word(&self, group: &VolumeGroup, refusal: &Refusal) -> String {
        match refusal {
            Refusal::MissingDisk { uuid, .. }
                if may_be_lost(group, &self.config.cluster, &uuid.to_string()).is_ok() =>
            {
                format!(
                    "; if it is lost for good, `disk lost {} {uuid}` lets the pool be served without it",
                    self.pool().name
                )
            }
            _ => String::new(),
        }
    }

    /// Writes down which members the claim goes without by the operator's word.
    pub(super) fn mark_by_word(&mut self) -> Result<(), JobError> {
        let Some(claim) = &self.claim else {
            return Ok(());
        };
        let pvs = claim.group.pvs.iter().filter(|pv| pv.is_missing);
        let lost: Vec<Uuid> = pvs
            .map(|pv| pv.uuid)
            .filter(|id| self.words.iter().any(|word| word.pv == *id))
            .collect();
        if lost.is_empty() {
            // Those that were not needed say nothing of a later loss.
            self.words.clear();
            return Ok(());
        }
        let names: Vec<String> = lost.iter().map(Uuid::to_string).collect();
        let names = names.join(", ");
        let author = self.author(format!("orthrus: disk lost {names}"));
        let mark = |edit: &mut Edit<'_>| lost.iter().try_for_each(|id| edit.set_missing(*id, true));
        match self.host.edit(&claim.group, &author, &mark) {
            Ok(written) => {
                for failure in &written.failures {
                    self.note_metadata(format!("{failure}: its copy of the metadata is behind"));
                }
            }
            Err(ApplyError::Write(WriteError::Fenced(failure))) => {
                self.fenced(&failure.disk);
                return Err(WriteError::Fenced(failure).into());
            }
            Err(error) => return Err(JobError::NotMarked(error)),
        }
        self.words.clear();
        self.note_metadata(format!(
            "physical volume {names}: lost by the operator's word, and marked as missing: the pool is served without it, and so \
             it is after a takeover; replace it"
        ));
        Ok(())
    }
}

/// What the core knows of the claims of a pool that nobody may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// The greatest epoch of one that is over.
    epoch: Epoch,
    /// That of one that the peer is at, or would be: it says the same while it only looks at the disks.
    claiming: Option<Epoch>,
}

/// See [`Known`]; who holds the pool would mark a disk by itself, and its mark may be on just the disks that this head does not see.
fn known_of(snapshot: &Snapshot, pool: usize) -> Result<Known, &'static str> {
    let Some(pool) = snapshot.pools.get(pool) else {
        return Err("nothing is known of it yet: try again in a moment");
    };
    let peer = match (snapshot.liveness, pool.peer) {
        (Liveness::Alive, peer) => peer,
        _ => None,
    };
    if peer.is_some_and(|(state, _)| state.answers()) {
        return Err(
            "the peer holds the pool: a disk that dies is marked as missing by itself. Mend this head's path to it",
        );
    }
    if pool.ledger == LedgerState::Ticking {
        return Err(
            "the peer lives, its ledger ticks, and no cable says what it holds: join a cable first",
        );
    }
    let (epoch, claiming) = match peer {
        Some((PoolState::Claiming, theirs)) => (pool.epoch, Some(theirs)),
        Some((_, theirs)) => (pool.epoch.max(theirs), None),
        None => (pool.epoch, None),
    };
    Ok(Known { epoch, claiming })
}

/// Whether the peer has claimed the pool while its disks were looked at, or is at it. `key` is its newest on them.
fn is_claimed(before: Known, after: Known, key: Option<Epoch>) -> bool {
    // It tells of a claim before it registers for it.
    let is_its = |claim: Epoch| key.is_some_and(|key| key >= claim);
    before.epoch != after.epoch || after.claiming.is_some_and(is_its)
}

/// The physical volume of that identity, if it is missing, and the volumes can do without it and all others that are.
fn may_be_lost(group: &VolumeGroup, cluster: &str, name: &str) -> Result<Uuid, WordError> {
    let missing = |pv: &&crate::volume::PhysicalVolume| pv.disk.is_none() && !pv.is_missing;
    let all: Vec<Uuid> = group.pvs.iter().filter(missing).map(|pv| pv.uuid).collect();
    let Some(id) = all.iter().find(|id| id.to_string() == name) else {
        let names: Vec<String> = all.iter().map(Uuid::to_string).collect();
        return Err(WordError::NotMissing {
            wanted: name.to_owned(),
            missing: match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            },
        });
    };
    if !group.silent.is_empty() {
        return Err(WordError::Silent(group.silent.clone()));
    }
    let mut left = group.clone();
    for pv in &mut left.pvs {
        pv.is_missing |= pv.disk.is_none();
    }
    match left.refusal(cluster) {
        Some(refusal) => Err(WordError::Needed(refusal)),
        None => Ok(*id),
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::{Done, Health};

    use super::super::order::{owner, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::status::PoolSnapshot;
    use crate::volume::tests::made::Made;

    fn ids(group: &VolumeGroup) -> Vec<String> {
        group.pvs.iter().map(|pv| pv.uuid.to_string()).collect()
    }

    #[test]
    fn a_disk_may_be_lost_only_if_it_is_not_here_and_nothing_needs_it() {
        let made = Made::on(3).raid("vol0", "raid1", &[0, 1]).simple("vol1", 2);
        let group = made.group_with(&[0, 2]);
        let ids = ids(&group);
        assert_eq!(
            may_be_lost(&group, "lab", &ids[1]).unwrap().to_string(),
            ids[1]
        );
        let why = may_be_lost(&group, "lab", &ids[0]).unwrap_err().to_string();
        assert!(why.contains(&ids[1]), "it is here: {why}");
        let needed = made.group_with(&[0, 1]);
        assert!(matches!(
            may_be_lost(&needed, "lab", &ids[2]),
            Err(WordError::Needed(_))
        ));
        // Each of two halves by itself could go, but not both.
        let both = made.group_with(&[2]);
        for id in &ids[..2] {
            let refused = may_be_lost(&both, "lab", id);
            assert!(matches!(refused, Err(WordError::Needed(_))), "{refused:?}");
        }
    }

    #[test]
    fn no_disk_is_given_up_while_one_that_is_here_does_not_answer() {
        let (worker, _log) = owner(&Shelf::new(2), "");
        let mut group = Made::on(2).raid("vol0", "raid1", &[0, 1]).group_with(&[0]);
        let id = ids(&group).remove(1);
        let hint = |group: &VolumeGroup| {
            let refusal = group.refusal("lab").unwrap();
            worker.hint_of_word(group, &refusal)
        };
        assert!(hint(&group).contains("disk lost tank"));
        assert!(may_be_lost(&group, "lab", &id).is_ok());
        group.silent = vec!["sdb (naa.1)".to_owned()];
        assert_eq!(hint(&group), "");
        let refused = may_be_lost(&group, "lab", &id).unwrap_err();
        assert!(matches!(refused, WordError::Silent(_)), "{refused:?}");
        for word in ["sdb (naa.1)", "does not answer", "cables", "pull it out"] {
            assert!(refused.to_string().contains(word), "{refused}");
        }
    }

    #[test]
    fn no_disk_is_given_up_when_the_image_that_is_left_is_old() {
        let mut group = Made::on(2).raid("vol0", "raid1", &[0, 1]).group_with(&[0]);
        let id = ids(&group).remove(1);
        assert!(may_be_lost(&group, "lab", &id).is_ok());
        let image = group.lvs.iter_mut().find(|lv| lv.name == "vol0_rimage_0");
        image.unwrap().is_behind = true;
        let refused = may_be_lost(&group, "lab", &id);
        assert!(matches!(refused, Err(WordError::Needed(_))), "{refused:?}");
    }

    /// An owner of the first of two disks, who goes without the second by the operator's word.
    fn told(fails: &'static str) -> (Worker, super::super::order::Log) {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, fails);
        let mut group = Made::on(2).raid("vol0", "raid1", &[0, 1]).group_with(&[0]);
        worker.words.push(Word {
            pv: group.pvs[1].uuid,
            until: clock::now() + VALID_FOR,
            known: Epoch(4),
        });
        assert!(group.refusal("lab").is_some());
        worker.heed(&mut group);
        assert_eq!(group.refusal("lab"), None);
        worker.claim.as_mut().unwrap().group = group;
        (worker, log)
    }

    #[test]
    fn the_mark_is_written_before_anything_is_activated() {
        let (mut worker, log) = told("");
        assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
        assert_eq!(taken(&log)[..3], ["metadata", "stamp", "volumes on"]);
        assert!(worker.words.is_empty(), "it is written");
    }

    #[test]
    fn nothing_is_activated_when_the_mark_cannot_be_written() {
        let (mut worker, log) = told("metadata");
        assert!(matches!(
            worker.import(Epoch(1)),
            Err(JobError::NotMarked(_))
        ));
        assert_eq!(taken(&log), ["metadata"]);
        assert_eq!(worker.words.len(), 1, "the next attempt may");
    }

    #[test]
    fn a_word_is_over_after_its_time_and_says_nothing_of_a_disk_that_is_back() {
        let (mut worker, _log) = told("");
        let made = Made::on(2).raid("vol0", "raid1", &[0, 1]);
        let mut whole = made.group();
        worker.heed(&mut whole);
        assert!(!whole.pvs[1].is_missing);
        let mut slow = made.group_with(&[0]);
        slow.silent = vec!["sd1 (naa.1)".to_owned()];
        worker.heed(&mut slow);
        assert!(!slow.pvs[1].is_missing);
        worker.words[0].until = clock::now();
        worker.forget_words();
        assert_eq!(worker.words.len(), 1, "the claim rests on it");
        worker.claim = None;
        worker.forget_words();
        assert!(worker.words.is_empty());
    }

    #[test]
    fn a_word_is_over_when_another_one_claimed_since() {
        let (mut worker, _log) = told("");
        worker.claim = None;
        // The next one, and this head's own attempts after it.
        for epoch in [5, 6] {
            worker.weigh_words(Epoch(epoch));
            assert_eq!(worker.words.len(), 1, "{epoch}");
        }
        // 7 was the peer's.
        worker.weigh_words(Epoch(8));
        assert!(worker.words.is_empty());
    }

    #[test]
    fn no_disk_is_given_up_while_the_peer_may_hold_the_pool() {
        let none = LedgerState::None;
        let known = |epoch, claiming: Option<u32>| Known {
            epoch: Epoch(epoch),
            claiming: claiming.map(Epoch),
        };
        let (alive, dead) = (Liveness::Alive, Liveness::Dead);
        let rests = look(alive, PoolState::Faulted, none);
        assert_eq!(rests, Ok(known(7, None)));
        // Its epoch is that of a claim to come.
        let looks = look(alive, PoolState::Claiming, none);
        assert_eq!(looks, Ok(known(4, Some(7))));
        let gone = look(dead, PoolState::Serving, none);
        assert_eq!(gone, Ok(known(4, None)));
        for state in [
            PoolState::Importing,
            PoolState::Serving,
            PoolState::Releasing,
        ] {
            assert!(look(alive, state, none).is_err(), "{state:?}");
        }
        assert!(look(dead, PoolState::Serving, LedgerState::Ticking).is_err());
        assert!(known_of(&Snapshot::default(), 0).is_err());
    }

    /// What is known of a pool of which this head has epoch 4, and the peer tells of 7.
    fn look(
        liveness: Liveness,
        state: PoolState,
        ledger: LedgerState,
    ) -> Result<Known, &'static str> {
        let mut snapshot = Snapshot {
            liveness,
            ..Snapshot::default()
        };
        let pool = PoolSnapshot {
            answers: false,
            state: PoolState::Faulted,
            epoch: Epoch(4),
            rest: None,
            fault: None,
            peer: Some((state, Epoch(7))),
            ledger,
            health: Health::default(),
            peer_health: Health::default(),
        };
        assert!(snapshot.pools.push(pool).is_ok());
        known_of(&snapshot, 0)
    }

    #[test]
    fn a_claim_of_the_peers_that_is_under_way_is_nothing_that_was_known() {
        let known = |epoch, claiming: Option<u32>| Known {
            epoch: Epoch(epoch),
            claiming: claiming.map(Epoch),
        };
        let key = |epoch| Some(Epoch(epoch));
        // It rests, whatever an earlier boot of it left on the disks; or only looks at them.
        assert!(!is_claimed(known(4, None), known(4, None), None));
        assert!(!is_claimed(known(4, None), known(4, None), key(5)));
        assert!(!is_claimed(known(4, Some(5)), known(4, Some(5)), key(4)));
        assert!(!is_claimed(known(4, None), known(4, Some(5)), None));
        // It has registered for it.
        assert!(is_claimed(known(4, Some(5)), known(4, Some(5)), key(5)));
        assert!(is_claimed(known(4, None), known(4, Some(5)), key(5)));
        // It was at it, and let go meanwhile.
        assert!(is_claimed(known(4, Some(5)), known(5, None), None));
        assert!(is_claimed(known(4, None), known(5, None), key(5)));
    }

    #[test]
    fn a_word_that_was_not_needed_says_nothing_of_a_later_loss() {
        let (mut worker, _log) = told("");
        let whole = Made::on(2).raid("vol0", "raid1", &[0, 1]).group();
        worker.claim.as_mut().unwrap().group = whole;
        assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
        assert!(worker.words.is_empty());
    }
}
