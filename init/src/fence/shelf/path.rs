//! One head's path to one disk of the shelf in memory: what fencing calls, and what the disk does to it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::super::reservations::{
    Answer, Capabilities, Hold, Holder, ReadError, Reservations, Seen, Trouble, WriteRefused,
};
use super::{Command, Gate, Nexus, State};
use crate::disk::{DiskId, turn};

pub(super) struct Path {
    pub(super) nexus: Nexus,
    pub(super) id: DiskId,
    pub(super) state: Arc<Mutex<State>>,
}

impl Path {
    fn slow(&self) -> Option<Arc<Gate>> {
        let state = self.state.lock().unwrap();
        let mut slow = state.slow.iter();
        let (_, gate) = slow.find(|(nexus, _)| *nexus == self.nexus)?;
        Some(gate.clone())
    }

    fn enter(&self, command: Command) -> Result<MutexGuard<'_, State>, Trouble> {
        let gate = {
            let state = self.state.lock().unwrap();
            match command {
                Command::Read => state.mute.clone(),
                _ => state.gate.clone(),
            }
        };
        for gate in gate.into_iter().chain(self.slow()) {
            gate.pass();
        }
        let mut state = self.state.lock().unwrap();
        if let Some(mut hook) = state.hook.take() {
            hook(&mut state, self.nexus, command);
            state.hook.get_or_insert(hook);
        }
        if state.dead || state.cut.contains(&self.nexus) {
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
            false => Ok(Hold(Vec::new())),
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
        if state.shared {
            return Err(ReadError::SharedIdentifier);
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
        let is_held = self.state.lock().unwrap().holder_key() == Some(victim);
        if abort && is_held {
            // As the kernel's target has it, commands of this path would be aborted as well.
            let is_free = turn::take_within(&self.id, Duration::ZERO).is_some();
            assert!(!is_free, "{}: a read of ours may be under way", self.id);
        }
        self.out(Command::Preempt { victim, abort }, Some(own))
    }

    fn prove_write(&self) -> Result<(), WriteRefused> {
        if let Some(gate) = self.slow() {
            self.state.lock().unwrap().at_work.push(self.nexus);
            gate.pass();
            let mut state = self.state.lock().unwrap();
            state.at_work.retain(|nexus| *nexus != self.nexus);
        }
        let mut state = self.enter(Command::Write).map_err(WriteRefused::Failed)?;
        match state.may_write(self.nexus) {
            false => Err(WriteRefused::Conflict),
            true => {
                state.written.push(self.nexus);
                Ok(())
            }
        }
    }

    fn probe_write(&self) -> Result<(), WriteRefused> {
        self.prove_write()
    }

    fn failures(&self) -> Option<u64> {
        None
    }
}
