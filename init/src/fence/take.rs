//! One disk of a claim: read, do the next step, read again, until only our key is left. What is done is
//! decided in [`steps`].

use orthrus_hb::{Authority, Key};

use super::claim::Attempt;
use super::outcome::{ClaimError, Note};
use super::reservations::{Answer, Seen, WRITE_EXCLUSIVE_REGISTRANTS_ONLY};
use super::steps::{self, Claimant, Next, Stop};
use super::{Member, NOTICE};
use crate::disk::turn;

/// Steps on one disk after which a claim gives up: a clean one needs four, each leftover key one more.
const MOST_STEPS: u32 = 64;

/// How often one and the same step is tried in a row before it counts as impossible on this disk.
const MOST_TRIES: u32 = 4;

/// How often PREEMPT AND ABORT may stay without effect, when it is not refused outright, before PREEMPT
/// alone is used: the first command after a preemption by others is often answered by a unit attention.
const ABORT_TRIES: u32 = 2;

/// How long a read of ours is waited for that the next command could abort: many times what it takes.
const TURN_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

/// How often, and how long each time, the winner waits for a loser to let go: a second in all.
const BACK_OFFS: u32 = 20;
const BACK_OFF: std::time::Duration = std::time::Duration::from_millis(50);

/// What happened on one disk.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) notes: Vec<Note>,
    /// Writes of a former owner may still be under way.
    pub(super) unaborted: bool,
}

/// Makes one disk ours and ours alone.
pub(super) fn take(member: &Member, attempt: &Attempt) -> Result<Taken, ClaimError> {
    until_done(member, attempt, false)
}

/// The read-back of a disk that was taken: `Ok` only when it shows that it still is ours and ours alone.
///
/// A rival that registers late and finds that it lost is waited for or removed, like in [`take`]; else a
/// claim would fail by its very loser, and nobody would win. Nothing that was ours is taken a second time.
pub(super) fn confirm(member: &Member, attempt: &Attempt) -> Result<Taken, ClaimError> {
    until_done(member, attempt, true)
}

fn until_done(member: &Member, attempt: &Attempt, confirming: bool) -> Result<Taken, ClaimError> {
    let disk = || member.name.clone();
    let key = attempt.claimant.key;
    let mut work = Work::new(member, key);
    let mut registered = confirming;
    let mut back_offs = 0;
    let mut noticed = false;
    for _ in 0..MOST_STEPS {
        if attempt.is_given_up() {
            break;
        }
        let seen = member.path.read().map_err(|source| ClaimError::Read {
            disk: disk(),
            source,
        })?;
        work.find(&seen);
        work.settle(&seen);
        registered |= seen.keys.contains(&key.to_bits());
        match steps::next(&attempt.claimant, &seen, registered) {
            Next::Done => return Ok(work.done()),
            Next::Stop(stop) => return Err(stopped(stop, disk())),
            Next::BackOff { loser } if back_offs == BACK_OFFS => {
                return Err(ClaimError::HeldByPeer {
                    disk: disk(),
                    epoch: loser.epoch,
                });
            }
            Next::BackOff { .. } => {
                back_offs += 1;
                (attempt.pause)(BACK_OFF);
            }
            Next::Register | Next::Reserve | Next::Release { .. } if confirming => {
                return Err(ClaimError::ReadBack {
                    disk: disk(),
                    found: describe(&seen),
                });
            }
            Next::Preempt { victim }
                if !noticed && deserves_notice(&attempt.claimant, &seen, victim) =>
            {
                noticed = true;
                (attempt.pause)(NOTICE);
            }
            step => work.send(step)?,
        }
    }
    Err(ClaimError::Restless { disk: disk() })
}

/// Whether `victim` holds the pool as far as this disk shows, and may be a peer that still runs and serves: see [`NOTICE`].
/// A peer that says itself that it holds nothing has nobody to answer.
fn deserves_notice(claimant: &Claimant, seen: &Seen, victim: Key) -> bool {
    claimant.arbiter
        && victim.head != claimant.key.head
        && seen
            .holder
            .is_some_and(|holder| holder.key == victim.to_bits())
        && matches!(
            claimant.authority,
            Authority::PeerDead | Authority::Operator
        )
}

fn stopped(stop: Stop, disk: String) -> ClaimError {
    match stop {
        Stop::Stranger(stranger) => ClaimError::Stranger { disk, stranger },
        Stop::Peer(epoch) => ClaimError::HeldByPeer { disk, epoch },
        Stop::LostRace(epoch) => ClaimError::LostRace { disk, epoch },
        Stop::Overtaken => ClaimError::Overtaken { disk },
    }
}

fn describe(seen: &Seen) -> String {
    let keys: Vec<String> = seen.keys.iter().map(|key| format!("{key:#018x}")).collect();
    let holder = seen.holder.map_or("nobody".to_owned(), |holder| {
        format!("{:#018x} with type {}", holder.key, holder.kind)
    });
    format!("registered: {}; holder: {holder}", keys.join(", "))
}

fn name(step: Next) -> &'static str {
    match step {
        Next::Register => "REGISTER",
        Next::Reserve => "RESERVE",
        Next::Release { .. } => "RELEASE",
        Next::Preempt { .. } => "PREEMPT",
        Next::BackOff { .. } | Next::Done | Next::Stop(_) => "nothing",
    }
}

/// What was tried on one disk, and what came of it.
struct Work<'a> {
    member: &'a Member,
    key: Key,
    taken: Taken,
    last: Option<Next>,
    tries: u32,
    /// How the last command was answered.
    answer: Answer,
    /// The key being removed, and how PREEMPT AND ABORT was answered for it last.
    victim: Option<(Key, Answer)>,
    /// The answer that made us give PREEMPT AND ABORT up on this disk.
    no_abort: Option<Answer>,
    /// What this head had left there, as it stands before ours is registered.
    earlier: Vec<Key>,
    /// A reservation that is not of our type, and the key under which it was found.
    other_type: Option<(Key, u8)>,
}

impl<'a> Work<'a> {
    fn new(member: &'a Member, key: Key) -> Work<'a> {
        let taken = Taken {
            notes: Vec::new(),
            unaborted: false,
        };
        Work {
            member,
            key,
            taken,
            last: None,
            tries: 0,
            answer: Answer::Good,
            victim: None,
            no_abort: None,
            earlier: Vec::new(),
            other_type: None,
        }
    }

    /// Looks for what is about to go without a PREEMPT of ours that would tell of it.
    fn find(&mut self, seen: &Seen) {
        let ours = |number| Key::from_bits(number, self.key.cluster);
        if let Some(holder) = seen.holder
            && holder.kind != WRITE_EXCLUSIVE_REGISTRANTS_ONLY
            && let Some(key) = ours(holder.key)
        {
            // As it was before REGISTER put another key in the place of its.
            self.other_type.get_or_insert((key, holder.kind));
        }
        let own = seen.keys.iter().filter_map(|number| ours(*number));
        let mut own: Vec<Key> = own.filter(|key| key.head == self.key.head).collect();
        own.sort_unstable_by_key(|key| key.epoch);
        own.dedup();
        if !own.contains(&self.key) {
            self.earlier = own;
            return;
        }
        // What is still there is of another path, and removed next.
        for former in std::mem::take(&mut self.earlier) {
            if !own.contains(&former) {
                let disk = self.member.name.clone();
                self.taken.notes.push(Note::Replaced { disk, former });
            }
        }
    }

    /// The disk is ours, with our type.
    fn done(mut self) -> Taken {
        if let Some((key, kind)) = self.other_type {
            let disk = self.member.name.clone();
            self.taken.notes.push(Note::Retyped { disk, key, kind });
        }
        self.taken
    }

    /// Sends a step's command. Whether it worked shows when the disk is read again.
    fn send(&mut self, step: Next) -> Result<(), ClaimError> {
        let (path, own) = (&self.member.path, self.key.to_bits());
        self.tries = match self.last == Some(step) {
            true => self.tries + 1,
            false => 1,
        };
        self.last = Some(step);
        if self.tries > MOST_TRIES {
            let (disk, answer) = (self.member.name.clone(), self.answer);
            return Err(match step {
                Next::Preempt { victim } => ClaimError::Unremovable {
                    disk,
                    victim,
                    answer,
                },
                step => ClaimError::NoEffect {
                    disk,
                    step: name(step),
                    answer,
                },
            });
        }
        self.answer = match step {
            Next::Register => path.register(None, own),
            Next::Reserve => path.reserve(own),
            Next::Release { kind } => path.release(own, kind),
            Next::Preempt { victim } => self.preempt(victim),
            // Not commands.
            Next::BackOff { .. } | Next::Done | Next::Stop(_) => return Ok(()),
        };
        tracing::debug!(disk = %self.member.name, command = name(step), answer = %self.answer);
        Ok(())
    }

    /// PREEMPT AND ABORT; PREEMPT alone once that turned out not to work on this disk.
    fn preempt(&mut self, victim: Key) -> Answer {
        if let Some((tried, answer)) = self.victim
            && tried == victim
            && (answer == Answer::Refused || self.tries > ABORT_TRIES)
        {
            self.no_abort.get_or_insert(answer);
        }
        let abort = self.no_abort.is_none();
        // Whether it came or not: a read that does not come back is of a disk on which all this is in vain.
        let _turn = turn::take_within(&self.member.id, TURN_LIMIT);
        let (own, number) = (self.key.to_bits(), victim.to_bits());
        let answer = self.member.path.preempt(own, number, abort);
        self.victim = Some((victim, self.no_abort.unwrap_or(answer)));
        answer
    }

    /// Notes a victim that is seen to be gone. Only a PREEMPT AND ABORT that itself answered success counts as
    /// an abort: after any other answer it is not known what removed the key.
    fn settle(&mut self, seen: &Seen) {
        let Some((victim, abort)) = self.victim else {
            return;
        };
        let number = victim.to_bits();
        if seen.keys.contains(&number) || seen.holder.is_some_and(|holder| holder.key == number) {
            return;
        }
        self.victim = None;
        let disk = self.member.name.clone();
        if abort == Answer::Good && self.no_abort.is_none() {
            self.taken.notes.push(Note::Aborted { disk, victim });
            return;
        }
        // The loser of this very race never got so far as to write.
        self.taken.unaborted |= victim.epoch < self.key.epoch;
        self.taken.notes.push(Note::Preempted {
            disk,
            victim,
            abort,
        });
    }
}
