//! One disk by several paths: each path is a nexus of its own to the disk, with a registration of its own.
//!
//! All of them register the same key, and the disk counts that key once for each ([`Seen::keys`]). So the steps of a claim
//! see nothing new: PREEMPT by one path removes the peer's key whichever paths registered it, and the reservation stays the
//! head's while any path holds it. What is different is done here: which path is asked, that all of them are registered
//! and can write, and that they lead to one disk at all.
//!
//! Decisions:
//! - A path that does not answer when the claim begins has no part in it. It is not registered, so it cannot write.
//! - A path registers once, within the claim. One that was left out, or whose registration was taken away since, stays out until
//!   the next claim: REGISTER needs no right, so that one sent by an owner that is just being preempted would make it
//!   a writer beside the new one. (REGISTER AND MOVE would be refused then. Not every disk has it.)
//! - A key goes by PREEMPT of ourselves first, which needs no path but the one that sends it: a path that is dead cannot take its
//!   registration back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orthrus_hb::Key;

use super::COMMAND_LIFETIME;
use super::reservations::{
    Answer, Capabilities, Hold, ReadError, Reservations, Seen, WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    WriteRefused,
};
use super::watch::{Why, judge};

/// One path to a disk.
pub struct Route {
    /// The kernel's name of its block device.
    pub name: String,
    /// Its device number.
    pub number: (u32, u32),
    /// Its reservations.
    pub path: Arc<dyn Reservations>,
    /// Why it has no part in the claim any more.
    out: OnceLock<String>,
    /// Its last read failed: others are asked first.
    is_failing: AtomicBool,
}

impl Route {
    /// One that has a part in the claim.
    pub fn new(name: String, number: (u32, u32), path: Arc<dyn Reservations>) -> Route {
        Route {
            name,
            number,
            path,
            out: OnceLock::new(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Whether it has a part in the claim: its writes are ours.
    pub fn is_in_use(&self) -> bool {
        self.out.get().is_none()
    }

    /// Why it has none.
    pub fn why_out(&self) -> Option<&str> {
        self.out.get().map(String::as_str)
    }

    /// From here on it has none, until the next claim. The first reason stands.
    pub fn leave_out(&self, why: String) {
        let _ = self.out.set(why);
    }

    /// How its last read ended.
    pub fn note_read(&self, failed: bool) {
        self.is_failing.store(failed, Ordering::SeqCst);
    }

    /// Its last read failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::SeqCst)
    }
}

/// The paths of a disk together.
pub struct Routes(pub Vec<Arc<Route>>);

impl Routes {
    /// Those that have a part in the claim, the ones that failed last at the end.
    fn in_use(&self) -> Vec<&Arc<Route>> {
        let in_use = self.0.iter().filter(|route| route.is_in_use());
        let mut routes: Vec<&Arc<Route>> = in_use.collect();
        routes.sort_by_key(|route| route.is_failing());
        routes
    }

    /// The answer of the first path that has one.
    fn ask(&self, ask: impl Fn(&dyn Reservations) -> Answer) -> Answer {
        let mut last = Answer::Refused;
        for route in self.in_use() {
            last = ask(route.path.as_ref());
            if !matches!(last, Answer::Failed(_)) {
                break;
            }
        }
        last
    }

    /// Takes `key` off all paths.
    fn unregister(&self, key: u64) -> Answer {
        let seen = self.read().map(|seen| seen.keys).unwrap_or_default();
        let several = seen.iter().filter(|one| **one == key).count() > 1;
        let mut all = Answer::Conflict;
        for route in self.in_use() {
            if several && !preempt_ourselves(route.path.as_ref(), key) {
                continue;
            }
            route.path.release(key, WRITE_EXCLUSIVE_REGISTRANTS_ONLY);
            let answer = route.path.register(Some(key), 0);
            if all != Answer::Good {
                all = answer;
            }
            // Of a single registration the other paths are asked as well: a claim may just have found out that they are to
            // another disk.
            if several && answer == Answer::Good {
                break;
            }
        }
        all
    }
}

/// Makes the path that sends it the only one with `key`, which it has registered; commands of the others are aborted where
/// the disk can. Whether it was carried out.
///
/// Only for a key that is to go: where somebody else holds the disk, the sender's registration may go as well.
fn preempt_ourselves(path: &dyn Reservations, key: u64) -> bool {
    let aborted = path.preempt(key, key, true);
    aborted == Answer::Good || path.preempt(key, key, false) == Answer::Good
}

/// Why no other path of a disk can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It does not answer.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The disk is not ours any more, which is for the watch to act upon.
    #[error("{0}")]
    Lost(Why),
    /// The others could not be kept from writing.
    #[error("taking the failed path's registration away has no effect, answered {0}")]
    NoEffect(Answer),
}

/// How often the others' registrations are taken away: the first commands after it may be answered by what happened before.
const MOST_TRIES: u32 = 4;

/// Makes one path the only one of a disk that may write, and waits for what the others had under way: what is sent by it
/// afterwards stays. For the owner with `key`; `pause` waits.
///
/// # Errors
/// It is not. The others may have been left out all the same.
pub fn use_alone(
    routes: &[Arc<Route>],
    to: usize,
    key: Key,
    pause: &dyn Fn(Duration),
) -> Result<(), ChangeError> {
    let route = &routes[to];
    let seen = route.path.read().inspect_err(|_| route.note_read(true))?;
    judge(&seen, key).map_err(ChangeError::Lost)?;
    // Before the command: a conflict that they meet from then on is our own doing.
    for other in routes.iter().filter(|other| !Arc::ptr_eq(other, route)) {
        other.leave_out("failed, and is used again when the pool is claimed anew".to_owned());
    }
    let number = key.to_bits();
    let (mut answer, mut aborts) = (Answer::Good, true);
    for _ in 0..MOST_TRIES {
        answer = route.path.preempt(number, number, aborts);
        let seen = route.path.read()?;
        judge(&seen, key).map_err(ChangeError::Lost)?;
        if seen.keys.iter().filter(|one| **one == number).count() == 1 {
            if !aborts || answer != Answer::Good {
                // What the disk had accepted was perhaps not aborted.
                pause(COMMAND_LIFETIME);
            }
            return Ok(());
        }
        aborts &= answer != Answer::Refused;
    }
    Err(ChangeError::NoEffect(answer))
}

impl Reservations for Routes {
    fn hold(&self) -> std::io::Result<Hold> {
        let mut files = Vec::new();
        for route in self.in_use() {
            files.extend(route.path.hold()?.0);
        }
        Ok(Hold(files))
    }

    fn read(&self) -> Result<Seen, ReadError> {
        let mut first = None;
        for route in self.in_use() {
            match route.path.read() {
                // It is the disk that says so, by whichever path.
                answer @ (Ok(_) | Err(ReadError::Reserved)) => return answer,
                Err(error) => first.get_or_insert(error),
            };
        }
        Err(first.unwrap_or(ReadError::Unsupported))
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let routes = self.in_use().into_iter();
        routes
            .into_iter()
            .find_map(|route| route.path.capabilities())
    }

    fn register(&self, old: Option<u64>, new: u64) -> Answer {
        if let (Some(key), 0) = (old, new) {
            return self.unregister(key);
        }
        let routes = self.in_use().into_iter();
        let answers: Vec<Answer> = routes.map(|route| route.path.register(old, new)).collect();
        let bad = answers.into_iter().find(|answer| *answer != Answer::Good);
        bad.unwrap_or(Answer::Good)
    }

    fn reserve(&self, key: u64) -> Answer {
        self.ask(|path| path.reserve(key))
    }

    fn release(&self, key: u64, kind: u8) -> Answer {
        // It takes effect by the path that holds, and is answered well by the others.
        let routes = self.in_use().into_iter();
        let answers: Vec<Answer> = routes.map(|route| route.path.release(key, kind)).collect();
        let bad = answers.into_iter().find(|answer| *answer != Answer::Good);
        bad.unwrap_or(Answer::Good)
    }

    fn preempt(&self, own: u64, victim: u64, abort: bool) -> Answer {
        self.ask(|path| path.preempt(own, victim, abort))
    }

    /// Of each path; and that each shows as many registrations as there are paths. Were they to different disks, each would
    /// show its own alone.
    fn prove_write(&self) -> Result<(), WriteRefused> {
        let routes = self.in_use();
        let most = routes.len();
        let (mut proved, mut failed) = (Vec::new(), Vec::new());
        for route in routes {
            match route.path.prove_write() {
                Ok(()) => proved.push(route),
                Err(refused @ WriteRefused::Failed(_)) => failed.push((route, refused)),
                Err(refused) => return Err(refused),
            }
        }
        if let (Some((_, refused)), true) = (failed.first(), proved.is_empty()) {
            return Err(*refused);
        }
        let registered = proved.len();
        for route in &proved {
            let seen = route.path.read();
            let shown = seen.map(|seen| seen.keys.len()).unwrap_or_default();
            // One that failed may have registered before.
            if !(registered..=most).contains(&shown) {
                return Err(WriteRefused::Paths { shown, registered });
            }
        }
        for (route, refused) in failed {
            route.leave_out(format!("when the pool was claimed its {refused}"));
        }
        Ok(())
    }

    fn failures(&self) -> Option<u64> {
        // Asked of each path by itself.
        None
    }
}
