//! The pool's worker on one head: what `init/src/worker` and `init/src/fence` do, in as few steps as can be
//! told apart from outside.
//!
//! ```text
//! survey    read all disks
//! claim     look, register at the arbiter ─ reserve or preempt it ─ the others ─ read back, stamp
//!           └── any failure: let go of all, but for what an earlier boot had reserved where the peer may not be done
//! import    activate ─ export
//! release   deactivate ─ let go, unless the peer may not be done
//! ```
//!
//! How far a worker gets in a beat is the explorer's to choose: one step or all, and whether its head takes in
//! at once what a look found.

use orthrus_hb::{Authority, Done, Epoch, Failure, Holder, Job, Outcome, Work};

use crate::lease::{Seen, Slots};
use crate::shelf::{DISKS, Disk};

/// Beats that a claim of what is free waits for another registrant to go away.
const BACK_OFFS: u8 = 2;

/// What goes wrong in the next job of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    SurveyHangs,
    ClaimFails,
    ClaimHangs,
    ImportFails,
    ImportHangs,
    ReleaseHangs,
}

impl Trouble {
    pub const ALL: [Trouble; 6] = [
        Trouble::SurveyHangs,
        Trouble::ClaimFails,
        Trouble::ClaimHangs,
        Trouble::ImportFails,
        Trouble::ImportHangs,
        Trouble::ReleaseHangs,
    ];
}

/// The kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Survey,
    Claim,
    Import,
    Release,
    Inspect,
    Make,
    Destroy,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Survey,
        Kind::Claim,
        Kind::Import,
        Kind::Release,
        Kind::Inspect,
        Kind::Make,
        Kind::Destroy,
    ];

    pub fn of(work: &Work) -> Kind {
        match work {
            Work::Survey => Kind::Survey,
            Work::Claim { .. } => Kind::Claim,
            Work::Import => Kind::Import,
            Work::Release => Kind::Release,
            Work::Inspect => Kind::Inspect,
            Work::Make => Kind::Make,
            Work::Destroy => Kind::Destroy,
        }
    }
}

/// How far a worker gets in one beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// To the end of its job.
    All,
    /// One step.
    One,
    /// To the end, and its head takes that in only a beat later.
    Late,
}

impl Pace {
    pub const ALL: [Pace; 3] = [Pace::All, Pace::One, Pace::Late];
}

/// What a step showed that the checks want to know.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// A key of the peer is about to be removed.
    Preempts { victim: Epoch, authority: Authority },
    /// The read-back was taken for good, and the stamp written.
    Claimed(Epoch),
    /// And the pool was written.
    Made,
    /// What was written of it is gone.
    Unmade,
    /// Nothing of the pool is left here, nor of our keys.
    Released,
}

/// What of the pool is not its disks' reservations.
pub struct Pool<'a> {
    /// The greatest epoch in the ledger.
    pub written: Epoch,
    /// It is not on the disks yet.
    pub bare: &'a mut bool,
    /// Its ledger, where a claim is by lease.
    pub slots: Option<Slots<'a>>,
}

#[derive(Clone, Hash)]
pub struct Worker {
    pub job: Option<Job>,
    pub step: u8,
    pub back_offs: u8,
    /// Of a claim by lease: the peer's record when it began.
    pub first: Option<Seen>,
    failure: Option<Failure>,
    /// By disk, of the claim under way: the key that this head had there before.
    had_key: [Option<Epoch>; DISKS],
    /// A look has found keys since the last one of ours was taken off.
    found: bool,
    pub trouble: Option<Trouble>,
    /// The claim whose keys are ours.
    pub claim: Option<Epoch>,
    /// Something of the pool exists in this kernel, so its writes may come at any time.
    pub active: bool,
    /// The watch found the fence lost.
    pub lost: bool,
}

impl Worker {
    pub fn new() -> Worker {
        Worker {
            job: None,
            step: 0,
            back_offs: 0,
            first: None,
            failure: None,
            had_key: [None; DISKS],
            found: false,
            trouble: None,
            claim: None,
            active: false,
            lost: false,
        }
    }

    pub fn begin(&mut self, job: Job) {
        assert!(self.job.is_none(), "a pool has one job at a time");
        *self = Worker {
            job: Some(job),
            step: 0,
            back_offs: 0,
            first: None,
            failure: None,
            ..self.clone()
        };
    }

    /// The paces that make a difference now.
    pub fn paces(&self) -> &'static [Pace] {
        match self.job {
            None => &[Pace::All],
            Some(job) if self.hangs(&job) => &[Pace::All],
            Some(job) => match job.work {
                Work::Survey | Work::Inspect => &[Pace::All, Pace::Late],
                Work::Claim { .. } | Work::Make | Work::Import | Work::Release | Work::Destroy => {
                    &[Pace::All, Pace::One]
                }
            },
        }
    }

    /// A claim is under way.
    pub fn claims(&self) -> bool {
        self.job
            .is_some_and(|job| Kind::of(&job.work) == Kind::Claim)
    }

    fn hangs(&self, job: &Job) -> bool {
        matches!(
            (self.trouble, job.work),
            (Some(Trouble::SurveyHangs), Work::Survey | Work::Inspect)
                | (Some(Trouble::ClaimHangs), Work::Claim { .. } | Work::Make)
                | (Some(Trouble::ImportHangs), Work::Import)
                | (Some(Trouble::ReleaseHangs), Work::Release | Work::Destroy)
        )
    }

    /// Works for one beat.
    pub fn run(
        &mut self,
        who: usize,
        disks: &mut [Disk; DISKS],
        mut pool: Pool<'_>,
        pace: Pace,
        mut deed: impl FnMut(Deed, &[Disk; DISKS]),
    ) -> Option<Outcome> {
        let job = self.job?;
        if self.hangs(&job) {
            return None;
        }
        loop {
            let waits = self.back_offs;
            let leased = match (&mut pool.slots, job.work, self.step) {
                (Some(slots), Work::Survey | Work::Claim { .. }, _)
                | (Some(slots), Work::Release, 1..) => {
                    self.step += 1;
                    Some(self.advance_by_lease(who, disks, slots, &job, &mut deed))
                }
                _ => None,
            };
            let result = match leased {
                Some(result) => result,
                None => self.advance(who, disks, pool.written, pool.bare, &job, &mut deed),
            };
            if let Some(result) = result {
                self.job = None;
                self.first = None;
                return Some(Outcome {
                    pool: job.pool,
                    ticket: job.ticket,
                    epoch: job.epoch,
                    result,
                });
            }
            if pace == Pace::One || self.back_offs != waits {
                return None;
            }
        }
    }

    fn advance(
        &mut self,
        who: usize,
        disks: &mut [Disk; DISKS],
        written: Epoch,
        bare: &mut bool,
        job: &Job,
        deed: &mut impl FnMut(Deed, &[Disk; DISKS]),
    ) -> Option<Result<Done, Failure>> {
        let step = self.step;
        self.step += 1;
        match (job.work, step) {
            // What is not there is not found, and what is there is not made again.
            (Work::Survey, _) if *bare => Some(Err(Failure::Refused)),
            (Work::Claim { .. }, 0) if *bare => Some(Err(Failure::Refused)),
            (Work::Inspect, _) | (Work::Make, 0) if !*bare => Some(Err(Failure::Refused)),
            (Work::Inspect, _) => Some(match survey(who, disks, written) {
                Done::Surveyed {
                    holder: Holder::Peer(held),
                    ..
                } => Err(Failure::HeldByPeer(held)),
                free => Ok(free),
            }),
            (Work::Make, _) => {
                let right = (Authority::Free, Epoch::NONE);
                let done = self.advance_claim(who, disks, job.epoch, right, deed);
                if done == Some(Ok(Done::Claimed)) {
                    *bare = false;
                    deed(Deed::Made, disks);
                }
                done
            }
            (Work::Survey, _) => {
                self.found |= disks.iter().any(|disk| disk.keys != [None; 2]);
                Some(Ok(survey(who, disks, written)))
            }
            (Work::Claim { authority, covers }, _) => {
                self.advance_claim(who, disks, job.epoch, (authority, covers), deed)
            }
            (Work::Import, _) if self.claim != Some(job.epoch) => Some(Err(Failure::Device)),
            (Work::Import, 0) => {
                self.active = true;
                None
            }
            (Work::Import, _) if self.trouble == Some(Trouble::ImportFails) => {
                self.trouble = None;
                Some(Err(Failure::Device))
            }
            (Work::Import, _) => Some(Ok(Done::Imported)),
            (Work::Release | Work::Destroy, 0) => {
                self.active = false;
                None
            }
            (Work::Release | Work::Destroy, _) => {
                if job.work == Work::Destroy {
                    *bare = true;
                    deed(Deed::Unmade, disks);
                }
                match job.peer_is_done || !self.found {
                    true => {
                        self.let_go(who, disks, job.epoch);
                        self.found = false;
                    }
                    false => (self.claim, self.lost) = (None, false),
                }
                deed(Deed::Released, disks);
                Some(Ok(Done::Released))
            }
        }
    }

    pub fn let_go(&mut self, who: usize, disks: &mut [Disk; DISKS], epoch: Epoch) {
        for disk in disks.iter_mut().rev() {
            disk.let_go(who, epoch);
        }
        self.claim = None;
        self.lost = false;
    }

    fn advance_claim(
        &mut self,
        who: usize,
        disks: &mut [Disk; DISKS],
        epoch: Epoch,
        (authority, covers): (Authority, Epoch),
        deed: &mut impl FnMut(Deed, &[Disk; DISKS]),
    ) -> Option<Result<Done, Failure>> {
        if let Some(failure) = self.failure {
            let is_lost = matches!(failure, Failure::HeldByPeer(_));
            let had_key = std::mem::take(&mut self.had_key);
            let may_write = |job: &Job| !job.peer_is_done && job.work != Work::Make;
            let peer_may_write = self.job.as_ref().is_some_and(may_write);
            for (disk, had_key) in disks.iter_mut().zip(had_key) {
                let keeps = !is_lost && peer_may_write && disk.is_held_by(who, epoch);
                match had_key.filter(|_| keeps) {
                    Some(former) => disk.keys[who] = Some(former),
                    None => disk.let_go(who, epoch),
                }
            }
            (self.claim, self.lost) = (None, false);
            return Some(Err(failure));
        }
        let result = match self.step - 1 {
            0 => {
                self.had_key = disks.map(|disk| disk.keys[who]);
                let peers = disks.iter().find_map(|disk| disk.keys[1 - who]);
                if let Some(held) = peers.filter(|held| !authority.covers_peer() || *held > covers)
                {
                    return Some(Err(Failure::HeldByPeer(held)));
                }
                if let Some(rival) = disks.iter().map(Disk::greatest).find(|e| *e >= epoch) {
                    return Some(Err(Failure::HeldByPeer(rival)));
                }
                disks[0].keys[who] = Some(epoch);
                Ok(())
            }
            1 => self.take(who, disks, 0, epoch, (authority, covers), deed),
            2 if self.trouble == Some(Trouble::ClaimFails) => {
                self.trouble = None;
                Err(Failure::Device)
            }
            2 => {
                let mut rest = 1..DISKS;
                rest.try_for_each(|disk| {
                    self.take(who, disks, disk, epoch, (authority, covers), deed)
                })
            }
            _ => match disks
                .iter()
                .all(|disk| disk.is_held_by(who, epoch) && disk.keys[1 - who].is_none())
            {
                true => {
                    disks.iter_mut().for_each(|disk| disk.stamp = epoch);
                    self.claim = Some(epoch);
                    self.had_key = [None; DISKS];
                    deed(Deed::Claimed(epoch), disks);
                    return Some(Ok(Done::Claimed));
                }
                false => Err(Failure::Device),
            },
        };
        if let Err(failure) = result {
            self.failure = Some(failure);
        }
        None
    }

    /// `steps::next` of the fence, until there is nothing to do.
    fn take(
        &mut self,
        who: usize,
        disks: &mut [Disk; DISKS],
        disk: usize,
        epoch: Epoch,
        (authority, covers): (Authority, Epoch),
        deed: &mut impl FnMut(Deed, &[Disk; DISKS]),
    ) -> Result<(), Failure> {
        let other = disks[disk].keys[1 - who];
        if let Some(newer) = other.filter(|other| *other > epoch) {
            return Err(Failure::HeldByPeer(newer));
        }
        if disks[disk].holder == Some(1 - who)
            && let Some(held) = other
            && (held == epoch || held > covers || !authority.covers_peer())
        {
            return Err(Failure::HeldByPeer(held));
        }
        if disks[disk].keys[who] != Some(epoch) {
            if disk == 0 {
                return Err(Failure::Device); // it was there, and was taken away
            }
            disks[disk].keys[who] = Some(epoch);
        }
        disks[disk].holder.get_or_insert(who);
        let Some(other) = other else { return Ok(()) };
        let ours = disks[disk].holder == Some(who);
        if ours && other == epoch && disk != 0 {
            return Err(Failure::HeldByPeer(other));
        }
        if ours && (other > covers || !authority.covers_peer()) {
            self.back_offs += 1;
            if self.back_offs > BACK_OFFS {
                return Err(Failure::HeldByPeer(other));
            }
            self.step -= 1;
            return Ok(());
        }
        let victim = other;
        deed(Deed::Preempts { victim, authority }, disks);
        disks[disk].preempt(who);
        Ok(())
    }

    /// The watch reads every disk back.
    pub fn watch(&mut self, who: usize, disks: &mut [Disk; DISKS]) {
        let Some(epoch) = self.claim else { return };
        for disk in disks {
            self.lost |= !disk.is_held_by(who, epoch);
            match disk.keys[1 - who] {
                Some(other) if other > epoch => self.lost = true,
                Some(_) if disk.is_held_by(who, epoch) => disk.preempt(who),
                _ => {}
            }
        }
    }
}

fn survey(who: usize, disks: &[Disk; DISKS], written: Epoch) -> Done {
    let held = disks.iter().filter_map(|disk| disk.keys[1 - who]).max();
    Done::Surveyed {
        greatest: disks
            .iter()
            .map(Disk::greatest)
            .max()
            .unwrap_or(Epoch::NONE)
            .max(written),
        holder: held.map_or(Holder::Nobody, Holder::Peer),
    }
}
