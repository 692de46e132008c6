//! The work on one disk of a claim, a survey or a release: the fence's procedure as an abstraction.
//!
//! It must stay equal to `init/src/fence` in what it sends and when it gives up (`steps`, `take`,
//! `release` there): the simulator runs the shipped core, and the fence only as well as this file
//! copies it.

use orthrus_hb::{Authority, ClusterId, Epoch, Failure, HeadId, Key};

use crate::clock::{MS, Time};
use crate::shelf::{Answer, Command, Content, RecordWrite, Seen, Write};

/// Of `take` there.
pub const MOST_STEPS: u32 = 64;
pub const MOST_TRIES: u32 = 4;
pub const ABORT_TRIES: u32 = 2;
pub const BACK_OFFS: u32 = 20;
pub const BACK_OFF: Time = 50 * MS;
/// `NOTICE` of the fence: the arbiter's holder sees our registration, and ends before it is preempted.
pub const NOTICE: Time = 200 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads keys and reservation; in the group's stage, metadata.
    Look,
    /// Reads the ledger's copy.
    Slots,
    /// Puts a record onto the ledger's copy.
    Record(RecordWrite),
    /// Makes the disk ours.
    Take { arbiter: bool },
    /// It still is ours alone, or whoever raced us is gone by then.
    ReadBack { arbiter: bool },
    /// A write passes.
    Prove,
    /// Takes our key off.
    LetGo,
}

/// Who works, and by what right.
#[derive(Clone, Copy, Debug)]
pub struct Claimant {
    pub cluster: ClusterId,
    pub who: usize,
    pub boot: u32,
    pub attempt: u64,
    pub key: Key,
    pub authority: Authority,
    /// The greatest epoch of a key that this right covers.
    pub covers: Epoch,
}

impl Claimant {
    fn may_remove(&self, key: Key) -> bool {
        self.authority.covers_peer() && key.epoch <= self.covers
    }
}

/// What to do now.
pub enum Next {
    Send(Command),
    Pause(Time),
    Finished(Result<Seen, Failure>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Read,
    Register,
    Reserve,
    Preempt(u64),
    BackOff,
    Unreserve,
    Unregister,
    Write,
}

/// One disk's share of a stage.
pub struct Task {
    pub id: u64,
    /// Index in the pool.
    pub disk: usize,
    pub kind: Kind,
    pub claimant: Claimant,
    /// The stage went on without it: it lets the disk go when it comes back.
    pub given_up: bool,
    /// Under which key of ours the disk stays reserved, should the claim fail.
    pub keeps: Option<Key>,
    /// It does.
    kept: bool,
    pub outcome: Option<Result<Seen, Failure>>,
    /// A former owner's writes may still be under way.
    pub unaborted: bool,
    /// Heads whose commands were aborted.
    pub aborted: Vec<HeadId>,
    sent: Step,
    last: Option<Step>,
    tries: u32,
    steps: u32,
    back_offs: u32,
    registered: bool,
    /// An owner that may live was given time to find out.
    noticed: bool,
    /// The key being removed, and whether PREEMPT AND ABORT answered success for it last.
    victim: Option<(u64, Answer)>,
    no_abort: bool,
}

impl Task {
    pub fn new(id: u64, disk: usize, kind: Kind, claimant: Claimant) -> Task {
        Task {
            id,
            disk,
            kind,
            claimant,
            given_up: false,
            keeps: None,
            kept: false,
            outcome: None,
            unaborted: false,
            aborted: Vec::new(),
            noticed: false,
            sent: Step::Read,
            last: None,
            tries: 0,
            steps: 0,
            back_offs: 0,
            registered: matches!(kind, Kind::ReadBack { .. }),
            victim: None,
            no_abort: false,
        }
    }

    /// Its first command.
    pub fn begin(&mut self) -> Command {
        match self.kind {
            Kind::Prove => self.write(Content::Proof),
            Kind::Record(record) => self.write(Content::Record(record)),
            Kind::Slots => {
                self.sent = Step::Read;
                Command::ReadLedger
            }
            Kind::Look | Kind::Take { .. } | Kind::ReadBack { .. } | Kind::LetGo => {
                self.sent = Step::Read;
                Command::Read
            }
        }
    }

    /// A pause is over.
    pub fn resume(&mut self) -> Next {
        self.read()
    }

    /// The last command was answered.
    pub fn advance(&mut self, answer: Answer) -> Next {
        match self.sent {
            Step::Read => match answer {
                Answer::Seen(seen) => self.looked(seen),
                Answer::Slots(region) => Next::Finished(Ok(Seen {
                    region: Some(region),
                    ..Seen::default()
                })),
                _ => Next::Finished(Err(Failure::Device)),
            },
            Step::Write => match answer {
                Answer::Good => Next::Finished(Ok(Seen::default())),
                _ => Next::Finished(Err(Failure::Device)),
            },
            Step::Unreserve => {
                self.sent = Step::Unregister;
                self.unregister()
            }
            Step::Preempt(victim) => {
                self.victim = Some((victim, answer));
                self.read()
            }
            Step::Register | Step::Reserve | Step::Unregister | Step::BackOff => self.read(),
        }
    }

    fn write(&mut self, content: Content) -> Command {
        self.sent = Step::Write;
        Command::Write(Write {
            who: self.claimant.who,
            boot: self.claimant.boot,
            attempt: self.claimant.attempt,
            content,
        })
    }

    fn read(&mut self) -> Next {
        if self.given_up && self.kind != Kind::LetGo {
            return Next::Finished(Err(Failure::Device));
        }
        self.sent = Step::Read;
        Next::Send(Command::Read)
    }

    fn unregister(&self) -> Next {
        let old = Some(self.claimant.key.to_bits());
        Next::Send(Command::Register { old, new: 0 })
    }

    fn looked(&mut self, seen: Seen) -> Next {
        match self.kind {
            Kind::Look => Next::Finished(Ok(seen)),
            Kind::LetGo => self.let_go(&seen),
            Kind::Take { arbiter } | Kind::ReadBack { arbiter } => self.take(&seen, arbiter),
            Kind::Prove | Kind::Slots | Kind::Record(_) => Next::Finished(Err(Failure::Device)),
        }
    }

    fn let_go(&mut self, seen: &Seen) -> Next {
        let own = self.claimant.key.to_bits();
        if self.kept || !seen.keys.contains(&own) {
            return Next::Finished(Ok(seen.clone()));
        }
        if let Some(former) = self.keeps.filter(|_| seen.holder == Some(own)) {
            (self.kept, self.sent) = (true, Step::Unregister);
            let (old, new) = (Some(own), former.to_bits());
            return Next::Send(Command::Register { old, new });
        }
        self.tries += 1;
        if self.tries > MOST_TRIES {
            return Next::Finished(Err(Failure::Device));
        }
        if seen.holder == Some(own) {
            self.sent = Step::Unreserve;
            return Next::Send(Command::Release(own));
        }
        self.sent = Step::Unregister;
        self.unregister()
    }

    fn take(&mut self, seen: &Seen, arbiter: bool) -> Next {
        let key = self.claimant.key;
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Next::Finished(Err(Failure::Device));
        }
        self.settle(seen);
        self.registered |= seen.keys.contains(&key.to_bits());
        let step = match self.next(seen, arbiter) {
            Ok(Some(step)) => step,
            Ok(None) => return Next::Finished(Ok(seen.clone())),
            Err(failure) => return Next::Finished(Err(failure)),
        };
        if step == Step::BackOff {
            self.back_offs += 1;
            self.sent = step;
            return Next::Pause(BACK_OFF);
        }
        let confirming = matches!(self.kind, Kind::ReadBack { .. });
        if confirming && matches!(step, Step::Register | Step::Reserve) {
            return Next::Finished(Err(Failure::Device));
        }
        if let Step::Preempt(victim) = step
            && !self.noticed
            && arbiter
            && self.deserves_notice(seen, victim)
        {
            self.noticed = true;
            self.sent = Step::BackOff;
            return Next::Pause(NOTICE);
        }
        self.tries = if self.last == Some(step) {
            self.tries + 1
        } else {
            1
        };
        self.last = Some(step);
        if self.tries > MOST_TRIES {
            return Next::Finished(Err(Failure::Device));
        }
        self.sent = step;
        let own = key.to_bits();
        Next::Send(match step {
            Step::Register => Command::Register {
                old: None,
                new: own,
            },
            Step::Reserve => Command::Reserve(own),
            Step::Preempt(victim) => self.preempt(victim),
            _ => Command::Read,
        })
    }

    /// Whether `victim` holds the pool, and may be a peer that still runs and serves.
    fn deserves_notice(&self, seen: &Seen, victim: u64) -> bool {
        let Claimant { key, authority, .. } = self.claimant;
        let head = Key::from_bits(victim, self.claimant.cluster).map(|victim| victim.head);
        head != Some(key.head)
            && seen.holder == Some(victim)
            && matches!(authority, Authority::PeerDead | Authority::Operator)
    }

    /// `steps::next` of the fence.
    fn next(&self, seen: &Seen, arbiter: bool) -> Result<Option<Step>, Failure> {
        let key = self.claimant.key;
        let own = key.to_bits();
        let ours = |bits: u64| Key::from_bits(bits, self.claimant.cluster).ok_or(Failure::Stranger);
        let holder = seen.holder.map(ours).transpose()?;
        let mut others = Vec::new();
        for &bits in seen.keys.iter().filter(|&&bits| bits != own) {
            others.push(ours(bits)?);
        }
        let present = others.iter().copied().chain(holder);
        if let Some(newer) = present
            .into_iter()
            .find(|k| *k != key && k.epoch > key.epoch)
        {
            return Err(Failure::HeldByPeer(newer.epoch));
        }
        if let Some(holder) = holder.filter(|holder| *holder != key) {
            let foreign = holder.head != key.head && !self.claimant.may_remove(holder);
            if holder.epoch == key.epoch || foreign {
                return Err(Failure::HeldByPeer(holder.epoch));
            }
        }
        if !seen.keys.contains(&own) {
            return match self.registered {
                true => Err(Failure::Device),
                false => Ok(Some(Step::Register)),
            };
        }
        match (holder, others.first()) {
            (None, _) => Ok(Some(Step::Reserve)),
            (Some(holder), _) if holder != key => Ok(Some(Step::Preempt(holder.to_bits()))),
            (Some(_), None) => Ok(None),
            (Some(_), Some(other)) if other.epoch == key.epoch && !arbiter => {
                Err(Failure::HeldByPeer(other.epoch))
            }
            (Some(_), Some(&other))
                if other.head == key.head || self.claimant.may_remove(other) =>
            {
                Ok(Some(Step::Preempt(other.to_bits())))
            }
            (Some(_), Some(other)) if self.back_offs == BACK_OFFS => {
                Err(Failure::HeldByPeer(other.epoch))
            }
            (Some(_), Some(_)) => Ok(Some(Step::BackOff)),
        }
    }

    fn preempt(&mut self, victim: u64) -> Command {
        if let Some((tried, answer)) = &self.victim
            && *tried == victim
            && (*answer == Answer::Refused || self.tries > ABORT_TRIES)
        {
            self.no_abort = true;
        }
        Command::Preempt {
            own: self.claimant.key.to_bits(),
            victim,
            abort: !self.no_abort,
            authority: self.claimant.authority,
        }
    }

    /// A victim is gone: were its commands aborted?
    fn settle(&mut self, seen: &Seen) {
        let Some((victim, answer)) = &self.victim else {
            return;
        };
        if seen.keys.contains(victim) || seen.holder == Some(*victim) {
            return;
        }
        let aborted = *answer == Answer::Good && !self.no_abort;
        let key = Key::from_bits(*victim, self.claimant.cluster);
        match key {
            Some(key) if aborted => self.aborted.push(key.head),
            Some(key) => self.unaborted |= key.epoch < self.claimant.key.epoch,
            None => self.unaborted |= !aborted,
        }
        self.victim = None;
    }
}
