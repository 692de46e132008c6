//! Letting go: of a pool that is handed over, or of a claim that failed.

use std::collections::BTreeMap;

use orthrus_hb::Key;

use super::reservations::{Answer, Holder, ReadError};
use super::{Fence, Member};
use crate::Step;
use crate::disk::{DiskId, parallel, paths};

/// How often a command that had no effect is sent again.
const MOST_TRIES: u32 = 4;

/// Why our key is still on a disk, or may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StillRegistered {
    /// The disk does not tell.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// Unregistering has no effect: the target binds our key to a session that is gone. The key no longer lets
    /// anybody write; the next claim removes it.
    #[error("REGISTER has no effect, answered {0}")]
    NoEffect(Answer),
    /// No answer.
    #[error("no answer in time")]
    TimedOut,
}

/// Why a release failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{disk}: {trouble}")]
pub struct ReleaseError {
    /// The kernel's name of the first disk that failed; the others have been let go where they could be.
    pub disk: String,
    /// What is the matter with it.
    pub trouble: StillRegistered,
}

impl Fence {
    /// Takes `key` off every member, releasing what it reserves, the arbiter last. Idempotent.
    ///
    /// Only when no mount, array or device-mapper device of the pool exists any more.
    pub fn release(&self, key: Key) -> Result<Step, ReleaseError> {
        let (steps, failures) = self.let_go_all(key, &BTreeMap::new());
        match failures.into_iter().next() {
            Some((disk, trouble)) => Err(ReleaseError { disk, trouble }),
            None if steps.contains(&Step::Changed) => Ok(Step::Changed),
            None => Ok(Step::Already),
        }
    }

    /// The same for a claim that failed, but for the disks that are kept: those where it did not work.
    pub(super) fn let_go(
        &self,
        key: Key,
        kept: &BTreeMap<DiskId, Key>,
    ) -> Vec<(String, StillRegistered)> {
        self.let_go_all(key, kept).1
    }

    /// Ends the use of every member, and leaves `key` and what it reserves as they are.
    pub fn leave(&self) {
        for member in &self.members {
            paths::unpin(&member.id);
        }
    }

    fn let_go_all(
        &self,
        key: Key,
        kept: &BTreeMap<DiskId, Key>,
    ) -> (Vec<Step>, Vec<(String, StillRegistered)>) {
        let (arbiter, others) = self.members.split_at(1);
        let (mut steps, mut failures) = (Vec::new(), Vec::new());
        for members in [others, arbiter] {
            let kept = kept.clone();
            let outcomes = parallel::each(members, self.limit, move |member| {
                let_go_unless_kept(member, key, &kept)
            });
            for (member, outcome) in members.iter().zip(outcomes) {
                match outcome.unwrap_or(Err(StillRegistered::TimedOut)) {
                    Ok(step) => {
                        paths::unpin(&member.id);
                        steps.push(step);
                    }
                    Err(trouble) => failures.push((member.name.clone(), trouble)),
                }
            }
        }
        (steps, failures)
    }
}

/// The same as [`let_go`], but what `key` reserves on one of the kept disks stays reserved, under the key from before: that number
/// was told and written down, and the peer may remove it when this head is dead.
pub(super) fn let_go_unless_kept(
    member: &Member,
    key: Key,
    kept: &BTreeMap<DiskId, Key>,
) -> Result<Step, StillRegistered> {
    let number = key.to_bits();
    let reserves = |holder: Holder| holder.key == number;
    if let Some(former) = kept.get(&member.id)
        && member.path.read()?.holder.is_some_and(reserves)
    {
        // With this claim's it is as safe.
        member.path.register(Some(number), former.to_bits());
        return Ok(Step::Changed);
    }
    let_go(member, key)
}

/// Takes `key` off one disk. Names the key to be removed, so that another one of this path stays.
fn let_go(member: &Member, key: Key) -> Result<Step, StillRegistered> {
    let number = key.to_bits();
    let mut answer = Answer::Good;
    for tries in 0..=MOST_TRIES {
        let seen = member.path.read()?;
        if !seen.keys.contains(&number) {
            return Ok(match tries {
                0 => Step::Already,
                _ => Step::Changed,
            });
        }
        if tries == MOST_TRIES {
            break;
        }
        if let Some(holder) = seen.holder
            && holder.key == number
            && member.routes.len() == 1
        {
            // Several paths see to it in their order. Unregistering releases too; asked for by itself first, since some targets want it so.
            member.path.release(number, holder.kind);
        }
        answer = member.path.register(Some(number), 0);
    }
    Err(StillRegistered::NoEffect(answer))
}
