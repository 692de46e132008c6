//! Tests only: a shelf in memory with the rules of SPC for each I_T nexus, and the vices of real ones.
//!
//! Besides registrations it knows the writes that are under way: a PREEMPT leaves them, a PREEMPT AND
//! ABORT drops them, and they land when time passes. So a test can ask what fencing is for: does a byte of a
//! former owner reach a disk after the claim?

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::reservations::Answer;
use super::{COMMAND_LIFETIME, Fence, Member, Route};
use crate::disk::DiskId;
use path::Path;

mod path;

/// One initiator port as a disk sees it.
pub type Nexus = u32;

/// A command, for hooks and for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Read,
    Register(u64),
    Reserve(u64),
    Release(u64, u8),
    Preempt { victim: u64, abort: bool },
    Write,
}

type Hook = Box<dyn FnMut(&mut State, Nexus, Command) + Send>;
type PauseHook = Box<dyn FnMut(Duration) + Send>;

#[derive(Default)]
pub struct State {
    pub registrants: Vec<(Nexus, u64)>,
    pub holder: Option<(Nexus, u8)>,
    pub generation: u32,
    /// Paths with a write that the disk has accepted and not yet carried out.
    pub under_way: Vec<Nexus>,
    /// Paths whose writes reached the medium.
    pub written: Vec<Nexus>,
    /// All commands that change something, in order.
    pub log: Vec<(Nexus, Command)>,
    /// The target answers ILLEGAL REQUEST to PREEMPT AND ABORT.
    pub no_abort: bool,
    /// It says that it keeps reservations without power.
    pub keeps: bool,
    /// Each command that was carried out is answered by this instead of success.
    pub lie: Option<Answer>,
    /// Every command fails.
    pub dead: bool,
    /// Paths by which nothing arrives.
    pub cut: Vec<Nexus>,
    /// Somebody holds the disk by the older RESERVE, which lets nobody else even ask.
    pub locked: bool,
    /// Another host has registered under the identifier of this one.
    pub shared: bool,
    /// Paths whose session was renewed: their registration is shown and does not count.
    pub renewed: Vec<Nexus>,
    /// As the kernel's target has it: who comes from the port of the reservation's holder by another session, of another ISID,
    /// counts as not registered, whatever it registered. The sessions of a port are 1000 apart.
    pub isids: bool,
    /// Another part of this kernel uses the disk.
    pub busy: bool,
    /// Commands that change something wait until the gate is opened.
    pub gate: Option<Arc<Gate>>,
    /// So do those that only look.
    pub mute: Option<Arc<Gate>>,
    /// So does opening it.
    pub jammed: Option<Arc<Gate>>,
    /// Everything by these paths waits, and of writes the disk has been told.
    pub slow: Vec<(Nexus, Arc<Gate>)>,
    /// Paths with a write that the disk is at.
    pub at_work: Vec<Nexus>,
    /// It was told to abort a write that it was at, of the path by which it was told: the kernel's target answers
    /// nobody after that.
    pub hangs: bool,
    /// Runs before each command, with the world in its hands.
    pub hook: Option<Hook>,
}

/// Something that a command waits for, as on a dead disk.
#[derive(Default)]
pub struct Gate(Mutex<bool>, Condvar);

impl Gate {
    pub fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.lock().unwrap();
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }
}

impl State {
    pub fn key_of(&self, nexus: Nexus) -> Option<u64> {
        let mut found = self.registrants.iter().filter(|(n, _)| *n == nexus);
        Some(found.next()?.1)
    }

    fn counts(&self, nexus: Nexus) -> bool {
        self.key_of(nexus).is_some() && !self.renewed.contains(&nexus)
    }

    fn is_mismatched(&self, nexus: Nexus) -> bool {
        let of_port = |holder| holder != nexus && holder % 1000 == nexus % 1000;
        self.isids && self.holder.is_some_and(|(holder, _)| of_port(holder))
    }

    pub fn keys(&self) -> Vec<u64> {
        self.registrants.iter().map(|(_, key)| *key).collect()
    }

    pub fn holder_key(&self) -> Option<u64> {
        self.key_of(self.holder?.0)
    }

    /// What a head that crashed in the middle of its work leaves behind.
    pub fn owned_by(&mut self, nexus: Nexus, key: u64) {
        self.registrants.push((nexus, key));
        self.holder = Some((nexus, 5));
        self.under_way.push(nexus);
    }

    /// This path's registration goes, as when it unregisters.
    pub fn leave(&mut self, nexus: Nexus) {
        self.registrants.retain(|(n, _)| *n != nexus);
        self.holder = self.holder.filter(|(n, _)| *n != nexus);
    }

    /// The power of the disk goes and comes back: it forgets who was registered.
    pub fn forget(&mut self) {
        self.registrants.clear();
        self.renewed.clear();
        (self.holder, self.generation, self.keeps) = (None, 0, false);
    }

    pub fn may_write(&self, nexus: Nexus) -> bool {
        match self.holder {
            None => true,
            // Write exclusive, exclusive access: the holder alone.
            Some((holder, 1 | 3)) => holder == nexus && self.counts(nexus),
            Some(_) => self.counts(nexus) && !self.is_mismatched(nexus),
        }
    }

    fn register(&mut self, nexus: Nexus, old: Option<u64>, new: u64) -> Answer {
        let current = self.key_of(nexus).filter(|_| self.counts(nexus));
        if let Some(old) = old
            && old != current.unwrap_or(0)
        {
            return Answer::Conflict;
        }
        self.generation += 1;
        if self.renewed.contains(&nexus) {
            // The old session's registration stays, on a nexus that nobody has any more.
            let dead = nexus + 1000;
            self.renewed.retain(|n| *n != nexus);
            for entry in self.registrants.iter_mut().filter(|(n, _)| *n == nexus) {
                entry.0 = dead;
            }
            if let Some((holder, _)) = self.holder.as_mut().filter(|(n, _)| *n == nexus) {
                *holder = dead;
            }
        }
        match self.registrants.iter_mut().find(|(n, _)| *n == nexus) {
            Some(entry) if new != 0 => entry.1 = new,
            Some(_) => {
                self.registrants.retain(|(n, _)| *n != nexus);
                if self.holder.is_some_and(|(n, _)| n == nexus) {
                    self.holder = None;
                }
            }
            None if new != 0 => self.registrants.push((nexus, new)),
            None => {}
        }
        Answer::Good
    }

    fn preempt(&mut self, nexus: Nexus, own: u64, victim: u64, abort: bool) -> Answer {
        if abort && self.no_abort {
            return Answer::Refused;
        }
        if self.is_mismatched(nexus) {
            return Answer::Conflict;
        }
        if self.key_of(nexus) != Some(own) || !self.counts(nexus) || !self.keys().contains(&victim)
        {
            return Answer::Conflict;
        }
        let of_victim = |n: &Nexus| self.key_of(*n) == Some(victim);
        self.hangs |=
            abort && own == victim && self.at_work.iter().any(|n| *n == nexus && of_victim(n));
        self.generation += 1;
        let held = self.holder_key() == Some(victim);
        let victims: Vec<Nexus> = self
            .registrants
            .iter()
            // A holder that preempts itself keeps its own; who preempts its own key and does not hold loses it with the rest.
            .filter(|(n, key)| *key == victim && (*n != nexus || !held))
            .map(|(n, _)| *n)
            .collect();
        self.registrants.retain(|(n, _)| !victims.contains(n));
        if held {
            self.holder = Some((nexus, 5));
        }
        if abort {
            self.under_way.retain(|n| !victims.contains(n));
        }
        Answer::Good
    }

    fn carry_out(&mut self, nexus: Nexus, command: Command, old: Option<u64>) -> Answer {
        match command {
            Command::Register(new) => self.register(nexus, old, new),
            Command::Reserve(key) => match self.holder {
                _ if self.key_of(nexus) != Some(key) || !self.counts(nexus) => Answer::Conflict,
                Some(holder) if holder != (nexus, 5) => Answer::Conflict,
                _ => {
                    self.holder = Some((nexus, 5));
                    Answer::Good
                }
            },
            Command::Release(key, kind) => {
                if self.key_of(nexus) != Some(key) || !self.counts(nexus) {
                    return Answer::Conflict;
                }
                match self.holder {
                    Some((n, held)) if n == nexus && held == kind => self.holder = None,
                    Some((n, _)) if n == nexus => return Answer::Refused,
                    _ => {}
                }
                Answer::Good
            }
            Command::Preempt { victim, abort } => {
                let own = old.unwrap_or(0);
                self.preempt(nexus, own, victim, abort)
            }
            Command::Read | Command::Write => Answer::Good,
        }
    }
}

/// Disks that several heads see.
#[derive(Clone)]
pub struct Shelf {
    disks: Vec<Arc<Mutex<State>>>,
    waited: Arc<Mutex<Duration>>,
    /// Runs when a claim pauses.
    pub on_pause: Arc<Mutex<Option<PauseHook>>>,
}

impl Shelf {
    /// Of disks that keep reservations without power.
    pub fn new(disks: usize) -> Shelf {
        let disk = |_| {
            Arc::new(Mutex::new(State {
                keeps: true,
                ..State::default()
            }))
        };
        Shelf {
            disks: (0..disks).map(disk).collect(),
            waited: Arc::default(),
            on_pause: Arc::default(),
        }
    }

    pub fn disk(&self, index: usize) -> MutexGuard<'_, State> {
        self.disks[index].lock().unwrap()
    }

    pub fn all(&self) -> impl Iterator<Item = MutexGuard<'_, State>> {
        self.disks.iter().map(|disk| disk.lock().unwrap())
    }

    pub fn waited(&self) -> Duration {
        *self.waited.lock().unwrap()
    }

    /// Who that disk is.
    pub fn id(index: usize) -> DiskId {
        DiskId(format!("naa.{index:02}"))
    }

    /// One path to one disk.
    pub fn route(&self, index: usize, nexus: Nexus) -> Route {
        let state = self.disks[index].clone();
        let id = Self::id(index);
        let path = Path { nexus, id, state };
        Route::new(format!("path{nexus}"), (0, nexus), Arc::new(path))
    }

    /// The fence of a head whose path to every disk is `nexus`.
    pub fn fence(&self, nexus: Nexus) -> Fence {
        self.fence_by(&[nexus])
    }

    /// The fence of a head that has these paths to every disk. The disks are given in reverse: order must not
    /// depend on it.
    pub fn fence_by(&self, paths: &[Nexus]) -> Fence {
        let shelf = self.clone();
        let pause = move |time| {
            *shelf.waited.lock().unwrap() += time;
            if let Some(hook) = &mut *shelf.on_pause.lock().unwrap() {
                hook(time);
            }
            if time >= COMMAND_LIFETIME {
                // What is under way has landed, or never will.
                for mut disk in shelf.all() {
                    let landed = std::mem::take(&mut disk.under_way);
                    disk.written.extend(landed);
                }
            } else {
                std::thread::sleep(time / 10);
            }
        };
        let pause: Arc<dyn Fn(Duration) + Send + Sync> = Arc::new(pause);
        let members = (0..self.disks.len()).rev().map(|index| {
            let routes = paths.iter().map(|nexus| self.route(index, *nexus));
            let name = format!("disk{index}");
            Member::with_pause(name, Self::id(index), routes.collect(), pause.clone())
        });
        Fence::new(members.collect(), pause.clone()).unwrap()
    }
}
