//! One disk of the shelf: SCSI-3 persistent reservations, *write exclusive, registrants only*.
//!
//! Rules of SPC-4 section 5.13: registrations belong to an I_T nexus; who is not registered may not
//! write while a reservation is held; PREEMPT removes every registrant of a key and takes over what
//! that key reserved; PREEMPT AND ABORT also drops the victims' commands. A write is checked when
//! the disk accepts it, and may reach the medium as much as [`LIFETIME`] later: that is why a claim
//! must abort, or wait.

use orthrus_hb::{Authority, Epoch};

use crate::clock::{SECOND, Time};
use crate::faults::Lie;
use crate::region::{Block, Region};
use crate::rng::Rng;

/// One path from one head to one disk; a new one when its session is renewed.
pub type Nexus = u32;

/// `COMMAND_LIFETIME` of the fence: longest time between the acceptance of a write and its end.
pub const LIFETIME: Time = 10 * SECOND;

/// What the initiator sends.
#[derive(Clone, Debug)]
pub enum Command {
    /// Keys and reservation, read together.
    Read,
    /// The slots of the ledger's copy.
    ReadLedger,
    Register {
        old: Option<u64>,
        new: u64,
    },
    Reserve(u64),
    Release(u64),
    Preempt {
        own: u64,
        victim: u64,
        abort: bool,
        authority: Authority,
    },
    Write(Write),
}

/// A write and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub who: usize,
    pub boot: u32,
    /// Number of the claim that it belongs to, which grows with each attempt by either head.
    pub attempt: u64,
    pub content: Content,
}

#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// The first block with its own contents: the claim's proof.
    Proof,
    /// A record of the ledger.
    Record(RecordWrite),
    /// A client's.
    Data { block: usize, version: u64 },
}

/// A record and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordWrite {
    pub epoch: u32,
    pub sequence: u64,
    pub place: usize,
    pub block: Block,
    pub word: Word,
}

/// Who says what by a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The heartbeat thread, that it lives and holds the pool.
    Beat,
    /// The worker, that it claims the pool by a lease.
    Claims,
    /// The worker, that nothing is held by a lease any more.
    LetsGo,
}

/// What the initiator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Good,
    Conflict,
    /// ILLEGAL REQUEST.
    Refused,
    /// Anything else, or nothing.
    Failed,
    Seen(Seen),
    Slots(Box<Region>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub keys: Vec<u64>,
    pub holder: Option<u64>,
    /// The ledger's copy, where that was read.
    pub region: Option<Box<Region>>,
}

/// A write that the disk has accepted.
pub struct Accepted {
    pub id: u64,
    pub nexus: Nexus,
    pub write: Write,
}

pub struct Disk {
    pub registrants: Vec<(Nexus, u64)>,
    pub holder: Option<Nexus>,
    pub accepted: Vec<Accepted>,
    /// Its copy of the ledger, if it has one.
    pub region: Option<Box<Region>>,
    /// The epoch in its metadata.
    pub stamp: Epoch,
    /// What the ledger showed at the last fault.
    pub past: Option<Box<Region>>,
    /// Reads of it do not show what was written.
    pub lie: Option<Lie>,
    /// It has no reservations: whoever writes may.
    pub plain: bool,
    /// The target does not know PREEMPT AND ABORT.
    pub no_abort: bool,
    /// Keeps reservations without power.
    pub persistent: bool,
    pub powered: bool,
    /// By head: whether its cable to the shelf is in.
    pub reachable: [bool; 2],
    /// By head: its commands get no further until then, and then all of them are carried out.
    pub silent_until: [Time; 2],
    /// Longest extra time of a command on its way here.
    pub slow: Time,
    /// Commands from before it was mended may still be on their way.
    pub behind_until: Time,
    /// Longest extra time of a write between its acceptance and the medium.
    pub lingers: Time,
}

impl Disk {
    pub fn new(no_abort: bool, persistent: bool) -> Disk {
        Disk {
            registrants: Vec::new(),
            holder: None,
            accepted: Vec::new(),
            region: None,
            stamp: Epoch::NONE,
            past: None,
            lie: None,
            plain: false,
            no_abort,
            persistent,
            powered: true,
            reachable: [true; 2],
            silent_until: [0; 2],
            slow: 0,
            behind_until: 0,
            lingers: 0,
        }
    }

    pub fn answers(&self, who: usize) -> bool {
        self.powered && self.reachable[who]
    }

    /// And does so at once.
    pub fn answers_now(&self, who: usize, now: Time) -> bool {
        self.answers(who) && self.silent_until[who] <= now
    }

    pub fn key_of(&self, nexus: Nexus) -> Option<u64> {
        let mut found = self.registrants.iter().filter(|(n, _)| *n == nexus);
        found.next().map(|(_, key)| *key)
    }

    pub fn has_key(&self, key: u64) -> bool {
        self.registrants.iter().any(|(_, k)| *k == key)
    }

    pub fn may_write(&self, nexus: Nexus) -> bool {
        self.plain || self.holder.is_none() || self.key_of(nexus).is_some()
    }

    pub fn see(&self) -> Seen {
        Seen {
            keys: self.registrants.iter().map(|(_, key)| *key).collect(),
            holder: self.holder.and_then(|nexus| self.key_of(nexus)),
            region: None,
        }
    }

    /// Carries out anything but a write.
    pub fn execute(&mut self, nexus: Nexus, command: &Command) -> Answer {
        match *command {
            Command::Read => Answer::Seen(self.see()),
            Command::Register { old, new } => self.register(nexus, old, new),
            Command::Reserve(key) => match self.holder {
                _ if self.key_of(nexus) != Some(key) => Answer::Conflict,
                Some(holder) if holder != nexus => Answer::Conflict,
                _ => {
                    self.holder = Some(nexus);
                    Answer::Good
                }
            },
            Command::Release(key) => {
                if self.key_of(nexus) != Some(key) {
                    return Answer::Conflict;
                }
                self.holder = self.holder.filter(|holder| *holder != nexus);
                Answer::Good
            }
            Command::Preempt {
                own, victim, abort, ..
            } => self.preempt(nexus, own, victim, abort),
            Command::ReadLedger => match &self.region {
                Some(region) => Answer::Slots(region.clone()),
                None => Answer::Refused,
            },
            Command::Write(_) => Answer::Failed,
        }
    }

    fn register(&mut self, nexus: Nexus, old: Option<u64>, new: u64) -> Answer {
        if old.is_some_and(|old| old != self.key_of(nexus).unwrap_or(0)) {
            return Answer::Conflict;
        }
        if new == 0 {
            self.registrants.retain(|(n, _)| *n != nexus);
            self.holder = self.holder.filter(|holder| *holder != nexus);
        } else if let Some(entry) = self.registrants.iter_mut().find(|(n, _)| *n == nexus) {
            entry.1 = new;
        } else {
            self.registrants.push((nexus, new));
        }
        Answer::Good
    }

    fn preempt(&mut self, nexus: Nexus, own: u64, victim: u64, abort: bool) -> Answer {
        if abort && self.no_abort {
            return Answer::Refused;
        }
        if self.key_of(nexus) != Some(own) || !self.has_key(victim) {
            return Answer::Conflict;
        }
        let held = self.holder.and_then(|holder| self.key_of(holder)) == Some(victim);
        let victims: Vec<Nexus> = self
            .registrants
            .iter()
            .filter(|(n, key)| *key == victim && *n != nexus)
            .map(|(n, _)| *n)
            .collect();
        self.registrants.retain(|(n, _)| !victims.contains(n));
        if held {
            self.holder = Some(nexus);
        }
        if abort {
            self.accepted.retain(|task| !victims.contains(&task.nexus));
        }
        Answer::Good
    }

    /// A write to the ledger's copy is carried out.
    pub fn record(&mut self, place: usize, block: Block) {
        if let Some(region) = &mut self.region {
            region.0[place] = block;
        }
    }

    /// The power goes: what was accepted and not carried out is gone, or a part of it.
    pub fn lose_power(&mut self, rng: &mut Rng) {
        self.powered = false;
        for accepted in std::mem::take(&mut self.accepted) {
            if let Content::Record(record) = accepted.write.content
                && let Some(region) = &mut self.region
            {
                region.tear(record.place, &record.block, rng);
            }
        }
        if !self.persistent {
            self.registrants.clear();
            self.holder = None;
        }
    }
}
