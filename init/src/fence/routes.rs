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
//! - PREEMPT AND ABORT, not PREEMPT alone, takes a failed path's registration away: a write that came back to us as an error of the
//!   path may have been accepted by the disk all the same, and would land after what is written by the next path.
//! - It aborts every command with the key, those of the path that sends it as well. The kernel's target then waits until all of
//!   them were acknowledged, in the very thread that would hear so for that path (`target_put_cmd_and_wait`,
//!   `iscsit_ack_from_expstatsn`): one of our own under way there hangs that session, and behind its login the whole portal, for
//!   ever. So each path has a [`Turn`]: whoever sends a command of ours by it beside dm-multipath takes it first, and a path
//!   is changed to only while nothing else of ours is on it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use orthrus_hb::Key;

use super::reservations::{
    Answer, Capabilities, Hold, ReadError, Reservations, Seen, WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    WriteRefused,
};
use super::watch::{Why, judge};
use super::{COMMAND_LIFETIME, PATH_LIMIT};
use crate::disk::{DiskId, parallel, turn};
use crate::sync::lock;

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
    /// When it was asked what it answered last.
    answered: Mutex<Option<Instant>>,
    /// Since when it is somebody's turn to send commands by it.
    taken: Mutex<Option<Instant>>,
    freed: Condvar,
}

/// While it lives nobody else sends a command of ours by that path, but for the device that joins the paths.
pub struct Turn<'a>(&'a Route);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) = None;
        self.0.freed.notify_all();
    }
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
            answered: Mutex::default(),
            taken: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits for the turn, as long as it takes or for `limit`; `None` when it did not come.
    pub fn turn(&self, limit: Option<Duration>) -> Option<Turn<'_>> {
        let begun = Instant::now();
        let mut taken = lock(&self.taken);
        while taken.is_some() {
            taken = match limit {
                None => self
                    .freed
                    .wait(taken)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let left = limit.checked_sub(begun.elapsed())?;
                    let waited = self.freed.wait_timeout(taken, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *taken = Some(Instant::now());
        Some(Turn(self))
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

    /// It was read by, and asked then.
    pub fn note_answer(&self, asked: Instant) {
        let mut answered = lock(&self.answered);
        *answered = (*answered).max(Some(asked));
        drop(answered);
        self.is_failing.store(false, Ordering::SeqCst);
    }

    /// Its last read failed.
    pub fn note_failure(&self) {
        self.is_failing.store(true, Ordering::SeqCst);
    }

    /// Whether it answered what it was asked after that.
    pub fn has_answered_since(&self, at: Instant) -> bool {
        lock(&self.answered).is_some_and(|asked| asked >= at)
    }

    /// Its last read failed, or what was sent by it does not come back.
    pub fn is_failing(&self) -> bool {
        let hangs = |since: Instant| since.elapsed() >= PATH_LIMIT;
        self.is_failing.load(Ordering::SeqCst) || lock(&self.taken).is_some_and(hangs)
    }
}

/// The paths of a disk together.
pub struct Routes {
    disk: DiskId,
    routes: Vec<Arc<Route>>,
    /// What was registered last.
    key: AtomicU64,
    /// Waits.
    pause: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Routes {
    /// Of these.
    pub fn new(
        disk: DiskId,
        routes: Vec<Arc<Route>>,
        pause: Arc<dyn Fn(Duration) + Send + Sync>,
    ) -> Routes {
        Routes {
            disk,
            routes,
            key: AtomicU64::new(0),
            pause,
        }
    }

    /// Those that have a part in the claim, the ones that failed last at the end.
    fn in_use(&self) -> Vec<Arc<Route>> {
        let in_use = self.routes.iter().filter(|route| route.is_in_use());
        let mut routes: Vec<Arc<Route>> = in_use.cloned().collect();
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

    /// Those of the claim that answer, and what the first of them shows. Each but the last has a limit, since one that hangs
    /// is worth no more than one that fails.
    fn that_answer(&self) -> Result<(Vec<Arc<Route>>, Seen), ReadError> {
        let mut routes = self.in_use();
        let mut first = None;
        while !routes.is_empty() {
            let seen = match routes.len() {
                1 => Some(routes[0].path.read()),
                _ => within(&routes[..1], |route| {
                    let asked = Instant::now();
                    let seen = route.path.read();
                    // However late: one that came back was slow, with its disk perhaps, and does not hang.
                    match &seen {
                        Ok(_) | Err(ReadError::Reserved) => route.note_answer(asked),
                        Err(_) => route.note_failure(),
                    }
                    seen
                })
                .remove(0),
            };
            if seen.is_none() {
                // It is not waited for again while it hangs.
                routes[0].note_failure();
            }
            match seen.unwrap_or(Err(ReadError::TimedOut(PATH_LIMIT))) {
                Ok(seen) => {
                    routes.retain(|route| !route.is_failing());
                    return Ok((routes, seen));
                }
                // It is the disk that says so, by whichever path.
                Err(ReadError::Reserved) => return Err(ReadError::Reserved),
                Err(error) => drop(first.get_or_insert(error)),
            }
            routes.remove(0);
        }
        Err(first.unwrap_or(ReadError::Unsupported))
    }

    /// Takes `key` off all paths: those that answer let it go by themselves. Where one does not, another one takes it away from all
    /// others first, while it still has the reservation: without one its own would go as well.
    fn unregister(&self, key: u64) -> Answer {
        let Ok((routes, _)) = self.that_answer() else {
            return self.ask(|path| path.register(Some(key), 0));
        };
        let Some((last, others)) = routes.split_first() else {
            // It failed meanwhile: the next try asks anew.
            return Answer::Conflict;
        };
        let mut all_answer = routes.len() == self.in_use().len();
        if all_answer {
            let heard = within(others, |route| route.path.read().is_ok());
            all_answer = heard.iter().all(|heard| *heard == Some(true));
        }
        let mut gone = Vec::new();
        if all_answer {
            gone = within(others, move |route| route.path.register(Some(key), 0));
        }
        if count(last.path.as_ref(), key) > 1 && !self.preempt_ourselves(last.path.as_ref(), key) {
            return Answer::Conflict;
        }
        last.path.release(key, WRITE_EXCLUSIVE_REGISTRANTS_ONLY);
        match last.path.register(Some(key), 0) {
            Answer::Good => Answer::Good,
            // A claim may just have found out that they are to different disks.
            _ if gone.contains(&Some(Answer::Good)) => Answer::Good,
            answer => answer,
        }
    }

    /// Within the claim: some path that has no part in it is registered. None but the first stays.
    fn keep_alone(
        &self,
        first: &Route,
        others: &[Arc<Route>],
        key: u64,
    ) -> Result<(), WriteRefused> {
        for other in others {
            let why = "when the pool was claimed a failed path's registration was taken away, and its own with that";
            other.leave_out(why.to_owned());
        }
        self.preempt_ourselves(first.path.as_ref(), key);
        match count(first.path.as_ref(), key) {
            1 => Ok(()),
            shown => Err(WriteRefused::Paths {
                shown,
                registered: 1,
            }),
        }
    }

    /// Makes the path that sends it the only one with `key`, which it has registered; what the others had sent is aborted, or
    /// waited for where the disk cannot. Whether it was carried out.
    ///
    /// Where somebody else holds the disk, the sender's registration may go as well.
    fn preempt_ourselves(&self, path: &dyn Reservations, key: u64) -> bool {
        {
            let _turn = turn::take_within(&self.disk, OTHERS_LIMIT);
            if path.preempt(key, key, true) == Answer::Good {
                return true;
            }
        }
        let is_gone = path.preempt(key, key, false) == Answer::Good;
        if is_gone {
            // Before the last key goes: nobody waits for the writes of a head that let go.
            (self.pause)(COMMAND_LIFETIME);
        }
        is_gone
    }
}

/// How often a path shows a key.
fn count(path: &dyn Reservations, key: u64) -> usize {
    let keys = path.read().map(|seen| seen.keys).unwrap_or_default();
    keys.iter().filter(|one| **one == key).count()
}

/// What each path answers within [`PATH_LIMIT`].
fn within<T: Send + 'static>(
    routes: &[Arc<Route>],
    ask: impl Fn(&Route) -> T + Clone + Send + 'static,
) -> Vec<Option<T>> {
    parallel::each(routes, PATH_LIMIT, move |route: &Arc<Route>| ask(route))
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
    /// A command of ours is on the path and does not come back.
    #[error("a command on it does not come back")]
    Busy,
}

/// How often the others' registrations are taken away: the first commands after it may be answered by what happened before.
const MOST_TRIES: u32 = 4;

/// How long a command of ours may take to come back by the path that is to be used, before another one is looked for.
const TURN_LIMIT: Duration = PATH_LIMIT;

/// How long those on the other paths are waited for. They may be dead, and their commands come back when the kernel gives them up:
/// what the disk has of them is aborted then, and the sender waits.
const OTHERS_LIMIT: Duration = Duration::from_secs(1);

/// Makes one path the only one of a disk that may write, and waits for what the others had under way: what is sent by it
/// afterwards stays. For the owner with `key`; `pause` waits.
///
/// # Errors
/// It is not. The others may have been left out all the same.
pub fn use_alone(
    disk: &DiskId,
    routes: &[Arc<Route>],
    to: usize,
    key: Key,
    pause: &dyn Fn(Duration),
) -> Result<(), ChangeError> {
    let was_aborted = fence_others(disk, routes, to, key)?;
    if !was_aborted {
        // What the disk had accepted was perhaps not aborted.
        pause(COMMAND_LIFETIME);
    }
    Ok(())
}

/// Takes the others' registrations away; whether what they had under way is known to be gone.
fn fence_others(
    disk: &DiskId,
    routes: &[Arc<Route>],
    to: usize,
    key: Key,
) -> Result<bool, ChangeError> {
    let route = &routes[to];
    let _disks_turn = turn::take_within(disk, OTHERS_LIMIT);
    let _turn = route.turn(Some(TURN_LIMIT)).ok_or(ChangeError::Busy)?;
    let seen = route.path.read().inspect_err(|_| route.note_failure())?;
    judge(&seen, key).map_err(ChangeError::Lost)?;
    let others = || routes.iter().filter(|other| !Arc::ptr_eq(other, route));
    // Before the command: a conflict that they meet from then on is our own doing, and nothing more is sent by them.
    for other in others() {
        other.leave_out("failed, and is used again when the pool is claimed anew".to_owned());
    }
    let begun = Instant::now();
    for other in others() {
        drop(other.turn(Some(OTHERS_LIMIT.saturating_sub(begun.elapsed()))));
    }
    let number = key.to_bits();
    let (mut answer, mut aborts) = (Answer::Good, true);
    for _ in 0..MOST_TRIES {
        answer = route.path.preempt(number, number, aborts);
        let seen = route.path.read()?;
        judge(&seen, key).map_err(ChangeError::Lost)?;
        if seen.keys.iter().filter(|one| **one == number).count() == 1 {
            return Ok(aborts && answer == Answer::Good);
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
        self.that_answer().map(|(_, seen)| seen)
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
        self.key.store(new, Ordering::SeqCst);
        let (mut registered, mut failed) = (false, Vec::new());
        for route in self.in_use() {
            // The first answer may be about what happened before.
            let mut answer = route.path.register(old, new);
            for _ in 1..MOST_TRIES {
                if answer != Answer::Good {
                    answer = route.path.register(old, new);
                }
            }
            match answer {
                Answer::Good => registered = true,
                answer => failed.push((route, answer)),
            }
        }
        match failed.first() {
            // The key that another path shows says nothing of this one.
            _ if registered => {
                for (route, answer) in failed {
                    route.leave_out(format!(
                        "when the pool was claimed its registration was answered {answer}"
                    ));
                }
                Answer::Good
            }
            Some((_, answer)) => *answer,
            None => Answer::Conflict,
        }
    }

    fn reserve(&self, key: u64) -> Answer {
        self.ask(|path| path.reserve(key))
    }

    fn release(&self, key: u64, kind: u8) -> Answer {
        let Ok((routes, _)) = self.that_answer() else {
            return self.ask(|path| path.release(key, kind));
        };
        // It takes effect by the path that holds, and is answered well by the others.
        let answers = within(&routes, move |route| route.path.release(key, kind)).into_iter();
        let mut answers = answers.flatten();
        let bad = answers.find(|answer| *answer != Answer::Good);
        bad.unwrap_or(Answer::Good)
    }

    fn preempt(&self, own: u64, victim: u64, abort: bool) -> Answer {
        self.ask(|path| path.preempt(own, victim, abort))
    }

    /// Of each path; and that each shows our key as often as there are paths. Were they to different disks, each would
    /// show its own alone; and where one that failed had registered before, it may not write any more.
    fn prove_write(&self) -> Result<(), WriteRefused> {
        let key = self.key.load(Ordering::SeqCst);
        let (mut proved, mut failed) = (Vec::new(), Vec::new());
        for route in self.in_use() {
            match route.path.prove_write() {
                Ok(()) => proved.push(route),
                Err(refused @ WriteRefused::Failed(_)) => failed.push((route, refused)),
                Err(refused) => return Err(refused),
            }
        }
        if let (Some((_, refused)), true) = (failed.first(), proved.is_empty()) {
            return Err(*refused);
        }
        for (route, refused) in failed {
            route.leave_out(format!("when the pool was claimed its {refused}"));
        }
        let registered = proved.len();
        let mut most = registered;
        for route in &proved {
            let shown = count(route.path.as_ref(), key);
            if shown < registered {
                return Err(WriteRefused::Paths { shown, registered });
            }
            most = most.max(shown);
        }
        match proved.split_first() {
            Some((first, others)) if most > registered => self.keep_alone(first, others, key),
            _ => Ok(()),
        }
    }

    fn probe_write(&self) -> Result<(), WriteRefused> {
        // Asked of each path by itself, as the next.
        Ok(())
    }

    fn failures(&self) -> Option<u64> {
        None
    }
}
