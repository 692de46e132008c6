//! The claim: the arbiter alone first, then all other disks at once, then everything is read back.
//!
//! ```text
//! hold exclusively ─ survey ─ no key as new as ours ─ arbiter (register, notice, preempt)
//!                 ─ the rest, in parallel ─ wait out what was not aborted ─ read back ─ prove that we can write
//! ```
//!
//! Whatever fails, our key is taken off every disk again, the arbiter last: as long as that is ours nobody else
//! gets half a shelf. But not where an earlier boot of this head had one before, unless the peer says that it holds nothing, or
//! somebody else turns out to be there: what kept a peer's writes from that disk must not go with a claim that fails.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orthrus_hb::Key;

use super::outcome::{ClaimError, Claimed, Note};
use super::reservations::{Capabilities, Hold};
use super::steps::Claimant;
use super::take::{confirm, take};
use super::{ClaimRequest, Fence, Member, Survey, leftover, release};
use crate::disk::{DiskId, parallel};

/// How often everything is read back, when each time a key had to be removed again whose commands could not
/// be aborted. Twice is a coincidence; more is somebody who registers over and over.
const MOST_ROUNDS: u32 = 3;

/// One attempt to claim; shared with the threads that work for it.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) claimant: Claimant,
    pub(super) pause: Arc<dyn Fn(Duration) + Send + Sync>,
    limit: Duration,
    /// Set when the claim was given up: a thread that comes back later lets its disk go; these stay reserved.
    given_up: Arc<OnceLock<BTreeMap<DiskId, Key>>>,
}

impl Attempt {
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get().is_some()
    }
}

impl Fence {
    /// Claims all members. `Ok` means: read back on every one of them, only our key is registered, it holds the
    /// reservation, our writes pass, and no write of a former owner is under way.
    ///
    /// Blocks for up to about a minute; a healthy shelf takes milliseconds. Whatever was read from the disks
    /// before is to be forgotten afterwards.
    pub fn claim(&self, request: &ClaimRequest) -> Result<Claimed, ClaimError> {
        // Until the claim is through, so that nothing is activated meanwhile either.
        let _holds = self.hold()?;
        let survey = self.survey();
        let key = choose_key(&survey, request)?;
        let attempt = Attempt {
            claimant: Claimant {
                key,
                authority: request.authority,
                covers: request.covers,
                arbiter: true,
            },
            pause: self.pause.clone(),
            limit: self.limit,
            given_up: Arc::default(),
        };
        let outcome = self.carry_out(&attempt, &survey, request);
        if let Err(error) = &outcome {
            let kept = attempt
                .given_up
                .get_or_init(|| kept(&survey, request, error));
            for (disk, trouble) in self.let_go(key, kept) {
                tracing::error!(%disk, %trouble, "key of the failed claim is still registered");
            }
        }
        outcome
    }

    /// Opens every member exclusively, which fails as long as anything in this kernel uses it.
    ///
    /// # Errors
    /// The member, and what uses it or what the call said.
    pub fn hold(&self) -> Result<Vec<Hold>, ClaimError> {
        let held = parallel::each(&self.members, self.limit, |member| member.path.hold());
        let held = self.members.iter().zip(held).map(|(member, held)| {
            let disk = member.name.clone();
            match held {
                Some(Ok(hold)) => Ok(hold),
                Some(Err(trouble)) if trouble.raw_os_error() == Some(libc::EBUSY) => {
                    Err(ClaimError::InUse { disk })
                }
                Some(Err(trouble)) => Err(ClaimError::Hold { disk, trouble }),
                None => Err(ClaimError::TimedOut {
                    disk,
                    limit: self.limit,
                }),
            }
        });
        held.collect()
    }

    fn carry_out(
        &self,
        attempt: &Attempt,
        survey: &Survey,
        request: &ClaimRequest,
    ) -> Result<Claimed, ClaimError> {
        let key = attempt.claimant.key;
        let (arbiter, others) = self.members.split_at(1);
        let mut taken = each(arbiter, attempt, take)?;
        let mut rest = attempt.clone();
        rest.claimant.arbiter = false;
        taken.extend(each(others, &rest, take)?);

        let mut notes = Vec::new();
        // The survey names the disks in the same order.
        let waits = survey.disks.iter().zip(&taken);
        let waits = waits.map(|(before, taken)| leftover::wait(before, taken, request));
        let mut wait = waits.max().unwrap_or_default();
        for round in 0..=MOST_ROUNDS {
            for disk in std::mem::take(&mut taken) {
                if disk.unaborted {
                    wait = request.command_lifetime;
                }
                for note in disk.notes {
                    tracing::warn!("{note}");
                    notes.push(note);
                }
            }
            if round > 0 && wait.is_zero() {
                break;
            }
            if round == MOST_ROUNDS {
                let disk = arbiter.first().map(|member| member.name.clone());
                return Err(ClaimError::Restless {
                    disk: disk.unwrap_or_default(),
                });
            }
            let time = std::mem::take(&mut wait);
            if !time.is_zero() {
                tracing::warn!(?time, "waiting for writes that were not aborted");
                (self.pause)(time);
                notes.push(Note::Waited { time });
            }
            // The arbiter is read last: what it says is the latest word on a race.
            taken = each(others, &rest, confirm)?;
            taken.extend(each(arbiter, attempt, confirm)?);
        }
        let capabilities = each(&self.members, attempt, prove_write)?;
        let persistent = capabilities
            .iter()
            .all(|disk| disk.is_some_and(|c| c.persist_active));
        Ok(Claimed {
            epoch: key.epoch,
            key,
            persistent,
            notes,
        })
    }
}

/// The key of the claim, unless what the survey shows forbids one. Touches nothing.
fn choose_key(survey: &Survey, request: &ClaimRequest) -> Result<Key, ClaimError> {
    if let Some((disk, source)) = survey.failure() {
        return Err(ClaimError::Read {
            disk: disk.to_owned(),
            source: source.clone(),
        });
    }
    if let Some((disk, stranger)) = survey.stranger(request.cluster) {
        return Err(ClaimError::Stranger {
            disk: disk.to_owned(),
            stranger,
        });
    }
    if let Some((disk, key)) = survey.newest_of(request.cluster, request.head.peer())
        && (!request.authority.covers_peer() || key.epoch > request.covers)
    {
        return Err(ClaimError::HeldByPeer {
            disk: disk.to_owned(),
            epoch: key.epoch,
        });
    }
    let rival = survey
        .keys(request.cluster)
        .find(|(_, key)| key.epoch >= request.epoch);
    if let Some((disk, key)) = rival {
        return Err(ClaimError::LostRace {
            disk: disk.to_owned(),
            epoch: key.epoch,
        });
    }
    Ok(Key {
        cluster: request.cluster,
        head: request.head,
        epoch: request.epoch,
    })
}

/// The disks that stay reserved for us when the claim has failed, each with the key that we had there before.
fn kept(survey: &Survey, request: &ClaimRequest, error: &ClaimError) -> BTreeMap<DiskId, Key> {
    if !request.keeps || error.is_lost_to_the_peer() {
        return BTreeMap::new();
    }
    let disks = survey.disks.iter().filter_map(|disk| {
        let ours = disk
            .keys(request.cluster)
            .filter(|key| key.head == request.head);
        Some((disk.id.clone(), ours.max_by_key(|key| key.epoch)?))
    });
    disks.collect()
}

/// Runs `work` on each disk in parallel; the first failure, in the order of the disks, is the claim's.
fn each<T, W>(members: &[Member], attempt: &Attempt, work: W) -> Result<Vec<T>, ClaimError>
where
    T: Send + 'static,
    W: Fn(&Member, &Attempt) -> Result<T, ClaimError> + Copy + Send + 'static,
{
    let limit = attempt.limit;
    let attempt = attempt.clone();
    let outcomes = parallel::each(members, limit, move |member| {
        let outcome = work(member, &attempt);
        if let Some(kept) = attempt.given_up.get() {
            // We come back too late, and the undo may have run before our last command took effect.
            let _ = release::let_go_unless_kept(member, attempt.claimant.key, kept);
        }
        outcome
    });
    let timed_out = |member: &Member| ClaimError::TimedOut {
        disk: member.name.clone(),
        limit,
    };
    members
        .iter()
        .zip(outcomes)
        .map(|(member, outcome)| outcome.unwrap_or_else(|| Err(timed_out(member))))
        .collect()
}

/// The last step. What the disk can do is asked here because it tells that reservations are kept without
/// power only once somebody registered with that wish.
fn prove_write(member: &Member, _attempt: &Attempt) -> Result<Option<Capabilities>, ClaimError> {
    let proven = member.path.prove_write();
    proven.map_err(|source| ClaimError::CannotWrite {
        disk: member.name.clone(),
        source,
    })?;
    Ok(member.path.capabilities())
}
