//! Tests only: a shelf in memory with the rules of SPC for each I_T nexus, and the vices of real ones.
//!
//! Besides registrations it knows the writes that are under way: a PREEMPT leaves them, a PREEMPT AND
//! ABORT drops them, and they land when time passes. So a test can ask what fencing is for: does a byte of a
//! former owner reach a disk after the claim?

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::reservations::{
    Answer, Capabilities, Hold, Holder, ReadError, Reservations, Seen, Trouble, WriteRefused,
};
use super::{COMMAND_LIFETIME, Fence, Member};
use crate::disk::DiskId;

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
    /// Somebody holds the disk by the older RESERVE, which lets nobody else even ask.
    pub locked: bool,
    /// Paths whose session was renewed: their registration is shown and does not count.
    pub renewed: Vec<Nexus>,
    /// Another part of this kernel uses the disk.
    pub busy: bool,
    /// Commands that change something wait until the gate is opened.
    pub gate: Option<Arc<Gate>>,
    /// So do those that only look.
    pub mute: Option<Arc<Gate>>,
    /// So does opening it.
    pub jammed: Option<Arc<Gate>>,
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
            Some(_) => self.counts(nexus),
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
        if self.key_of(nexus) != Some(own) || !self.counts(nexus) || !self.keys().contains(&victim)
        {
            return Answer::Conflict;
        }
        self.generation += 1;
        let victims: Vec<Nexus> = self
            .registrants
            .iter()
            .filter(|(n, key)| *key == victim && *n != nexus)
            .map(|(n, _)| *n)
            .collect();
        let held = self.holder_key() == Some(victim);
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

    /// The fence of a head whose path to every disk is `nexus`. The disks are given in reverse: order must not
    /// depend on it.
    pub fn fence(&self, nexus: Nexus) -> Fence {
        let members = self.disks.iter().enumerate().rev().map(|(index, state)| {
            let path = Path {
                nexus,
                state: state.clone(),
            };
            Member {
                name: format!("disk{index}"),
                id: DiskId(format!("naa.{index:02}")),
                path: Arc::new(path),
            }
        });
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
        Fence::new(members.collect(), Arc::new(pause)).unwrap()
    }
}

struct Path {
    nexus: Nexus,
    state: Arc<Mutex<State>>,
}

impl Path {
    fn enter(&self, command: Command) -> Result<MutexGuard<'_, State>, Trouble> {
        let gate = {
            let state = self.state.lock().unwrap();
            match command {
                Command::Read => state.mute.clone(),
                _ => state.gate.clone(),
            }
        };
        if let Some(gate) = gate {
            gate.pass();
        }
        let mut state = self.state.lock().unwrap();
        if let Some(mut hook) = state.hook.take() {
            hook(&mut state, self.nexus, command);
            state.hook.get_or_insert(hook);
        }
        if state.dead {
            return Err(Trouble::Errno(libc::EIO));
        }
        Ok(state)
    }

    fn out(&self, command: Command, old: Option<u64>) -> Answer {
        let mut state = match self.enter(command) {
            Ok(state) => state,
            Err(trouble) => return Answer::Failed(trouble),
        };
        state.log.push((self.nexus, command));
        match (state.carry_out(self.nexus, command, old), state.lie) {
            (Answer::Good, Some(lie)) => lie,
            (answer, _) => answer,
        }
    }
}

impl Reservations for Path {
    fn hold(&self) -> io::Result<Hold> {
        let jammed = self.state.lock().unwrap().jammed.clone();
        if let Some(gate) = jammed {
            gate.pass();
        }
        match self.state.lock().unwrap().busy {
            true => Err(io::Error::from_raw_os_error(libc::EBUSY)),
            false => Ok(Hold(None)),
        }
    }

    fn read(&self) -> Result<Seen, ReadError> {
        let state = self.enter(Command::Read).map_err(|trouble| {
            let step = "READ KEYS";
            ReadError::Call { step, trouble }
        })?;
        if state.locked {
            return Err(ReadError::Reserved);
        }
        let holder = state.holder.and_then(|(nexus, kind)| {
            let key = match kind {
                7 | 8 => 0,
                _ => state.key_of(nexus)?,
            };
            Some(Holder { key, kind })
        });
        Ok(Seen {
            generation: state.generation,
            keys: state.keys(),
            holder,
        })
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let state = self.state.lock().unwrap();
        state.keeps.then(|| Capabilities {
            persist_capable: true,
            persist_active: !state.registrants.is_empty(),
        })
    }

    fn register(&self, old: Option<u64>, new: u64) -> Answer {
        self.out(Command::Register(new), old)
    }

    fn reserve(&self, key: u64) -> Answer {
        self.out(Command::Reserve(key), None)
    }

    fn release(&self, key: u64, kind: u8) -> Answer {
        self.out(Command::Release(key, kind), None)
    }

    fn preempt(&self, own: u64, victim: u64, abort: bool) -> Answer {
        self.out(Command::Preempt { victim, abort }, Some(own))
    }

    fn prove_write(&self) -> Result<(), WriteRefused> {
        let mut state = self.enter(Command::Write).map_err(WriteRefused::Failed)?;
        match state.may_write(self.nexus) {
            false => Err(WriteRefused::Conflict),
            true => {
                state.written.push(self.nexus);
                Ok(())
            }
        }
    }

    fn failures(&self) -> Option<u64> {
        None
    }

    fn probe_conflict(&self) -> Result<(), WriteRefused> {
        let state = self.enter(Command::Read).map_err(WriteRefused::Failed)?;
        match state.may_write(self.nexus) {
            false => Err(WriteRefused::Conflict),
            true => Ok(()),
        }
    }
}
