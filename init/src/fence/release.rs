//! Letting go: of a pool that is handed over, or of a claim that failed.

use orthrus_hb::Key;

use super::reservations::{Answer, ReadError};
use super::{Fence, Member};
use crate::Step;
use crate::disk::{parallel, paths};

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
        let (steps, failures) = self.let_go_all(key);
        match failures.into_iter().next() {
            Some((disk, trouble)) => Err(ReleaseError { disk, trouble }),
            None if steps.contains(&Step::Changed) => Ok(Step::Changed),
            None => Ok(Step::Already),
        }
    }

    /// The same for a claim that failed: the disks where it did not work.
    pub(super) fn let_go(&self, key: Key) -> Vec<(String, StillRegistered)> {
        self.let_go_all(key).1
    }

    fn let_go_all(&self, key: Key) -> (Vec<Step>, Vec<(String, StillRegistered)>) {
        let (arbiter, others) = self.members.split_at(1);
        let (mut steps, mut failures) = (Vec::new(), Vec::new());
        for members in [others, arbiter] {
            let outcomes = parallel::each(members, self.limit, move |member| let_go(member, key));
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

/// Takes `key` off one disk. Names the key to be removed, so that another one of this path stays.
pub(super) fn let_go(member: &Member, key: Key) -> Result<Step, StillRegistered> {
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
