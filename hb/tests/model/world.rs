//! The state of everything, what may happen next, and the identity of a state.

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use orthrus_hb::ledger::Record;
use orthrus_hb::{Command, Done, Epoch, Incarnation, LinkId, Outcome, PoolId, PoolState, Rest};
use sha2::{Digest, Sha256};

use crate::check::Checks;
use crate::choice::{CABLES, Choice, DEAF, Order, READS};
use crate::forgery::Forgery;
use crate::late::Late;
use crate::machine::{Halt, Machine, incarnation};
use crate::shelf::{DISKS, Disk};
use crate::worker::{Kind, Pace, Trouble};

/// Faults that may still strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub crashes: u8,
    /// Pauses and freezes.
    pub halts: u8,
    pub cuts: u8,
    pub troubles: u8,
    pub commands: u8,
    pub ails: u8,
    pub forgeries: u8,
    pub repeats: u8,
    /// Frames that a cable holds back.
    pub lates: u8,
}

#[derive(Clone)]
pub struct World {
    pub machines: [Machine; 2],
    /// By sender and link.
    pub carries: [[bool; LinkId::ALL.len()]; 2],
    /// This head was heard by nobody since the beginning.
    pub unheard: Option<usize>,
    /// What a cable holds back.
    pub late: Option<Late>,
    pub disks: [Disk; DISKS],
    /// The pool is not on them yet.
    pub bare: bool,
    /// They have no reservations.
    pub plain: bool,
    /// By head, when the pool has one: the newest record.
    pub ledger: Option<[Option<Record>; 2]>,
    /// By head: it can read the ledger.
    pub reads: [bool; 2],
    pub budget: Budget,
    pub checks: Checks,
}

impl World {
    pub fn new(budget: Budget, disks: [Disk; DISKS], ledger: bool, checks: Checks) -> World {
        World {
            machines: [Machine::new(), Machine::new()],
            carries: [[true; LinkId::ALL.len()]; 2],
            unheard: None,
            late: None,
            disks,
            bare: false,
            plain: false,
            ledger: ledger.then_some([None; 2]),
            reads: [true; 2],
            budget,
            checks,
        }
    }

    /// All that may happen next, a plain beat first.
    pub fn choices(&self, into: &mut Vec<Choice>) {
        into.clear();
        self.beats(into);
        let Budget {
            crashes,
            halts,
            cuts,
            troubles,
            commands,
            ails,
            forgeries,
            repeats,
            lates,
        } = self.budget;
        for who in [0, 1] {
            let machine = &self.machines[who];
            let on = machine.head.is_some();
            if on && crashes > 0 {
                into.push(Choice::Crash(who));
            }
            if !on && machine.boots_in.is_none() {
                into.push(Choice::Boot(who));
            }
            if machine.beats() && halts > 0 {
                into.push(Choice::Halt(who, Halt::Paused));
                if !self.plain {
                    into.push(Choice::Halt(who, Halt::Frozen));
                }
            }
            if machine.halt.is_some() {
                into.push(Choice::Resume(who));
            }
            if !machine.ails && ails > 0 {
                into.push(Choice::Ail(who));
            }
            if machine.ails {
                into.push(Choice::Cure(who));
            }
            if on && troubles > 0 && machine.worker.trouble.is_none() {
                into.extend(Trouble::ALL.map(|trouble| Choice::Trouble(who, trouble)));
            }
            if machine.beats() && commands > 0 {
                let orders: &[Order] = match self.bare {
                    true => &[Order::Make],
                    // Where it is made it may be destroyed.
                    false if self.checks.made.is_some() => &[Order::Destroy],
                    false => &[Order::Handover, Order::Takeover],
                };
                into.extend(orders.iter().map(|o| Choice::Order(who, *o)));
            }
            if machine.beats() && forgeries > 0 {
                let ledger = self.ledger.is_some() && self.reads[who];
                let possible = |forgery: &Forgery| forgery.is_possible(machine, ledger);
                let forgeries = Forgery::ALL.into_iter().filter(possible);
                into.extend(forgeries.map(|forgery| Choice::Forge(who, forgery)));
            }
        }
        for (who, machine) in self.machines.iter().enumerate() {
            if machine.beats() && repeats > 0 && machine.outcome.is_none() {
                let told = |kind: &Kind| machine.told[*kind as usize].is_some();
                let kinds = Kind::ALL.into_iter().filter(told);
                into.extend(kinds.map(|kind| Choice::Repeat(who, kind)));
            }
        }
        if lates > 0 {
            self.holds(into);
        }
        if self
            .late
            .as_ref()
            .is_some_and(|late| self.machines[late.to].head.is_some())
        {
            into.push(Choice::Deliver);
        }
        if self.is_whole() && cuts > 0 {
            into.extend((1..=CABLES).map(Choice::Cut));
            if self.ledger.is_some() {
                let [a, b] = READS;
                let reads = [a, b, a | b];
                into.extend(reads.map(Choice::Cut));
                into.extend(reads.map(|reads| Choice::Cut(CABLES | reads)));
                // A head that hears nothing of the other, which hears it.
                into.extend(DEAF.map(Choice::Cut));
            }
        }
        if !self.is_whole() {
            into.push(Choice::Join);
        }
    }

    fn beats(&self, into: &mut Vec<Choice>) {
        let [a, b] = &self.machines;
        // The order tells only when both run.
        let orders: &[usize] = if a.beats() && b.beats() {
            &[0, 1]
        } else {
            &[0]
        };
        let paces = |machine: &Machine| match machine.beats() {
            true if self.plain && machine.worker.claims() => &[Pace::All],
            true => machine.worker.paces(),
            false => &[Pace::All],
        };
        for &first in orders {
            for &pace in paces(a) {
                for &other in paces(b) {
                    let paces = [pace, other];
                    into.push(Choice::Beat { first, paces });
                }
            }
        }
    }

    /// Does what was chosen. A panic is something that does not hold.
    pub fn apply(&mut self, choice: Choice) {
        let applied = std::panic::AssertUnwindSafe(|| self.apply_unguarded(choice));
        if std::panic::catch_unwind(applied).is_err() {
            self.checks.violation.get_or_insert("panic");
        }
    }

    fn apply_unguarded(&mut self, choice: Choice) {
        self.checks.struck |= choice.strikes();
        match choice {
            Choice::Beat { first, paces } => {
                for who in [first, 1 - first] {
                    self.run(who, paces[who]);
                    self.checks.state(&self.machines, &self.disks, self.plain);
                }
                return;
            }
            Choice::Crash(who) => {
                self.budget.crashes -= 1;
                self.checks.faults += 1;
                self.stop(who, None);
            }
            Choice::Boot(who) => self.boot(who),
            Choice::Halt(who, halt) => {
                self.budget.halts -= 1;
                self.checks.faults += 1;
                self.machines[who].halt = Some(halt);
            }
            Choice::Resume(who) => self.machines[who].halt = None,
            Choice::Ail(who) => {
                self.budget.ails -= 1;
                self.machines[who].ails = true;
            }
            Choice::Cure(who) => self.machines[who].ails = false,
            Choice::Cut(cut) => {
                self.budget.cuts -= 1;
                // Cables alone move nothing while the ledger can be read, and is the owner's.
                let moves = cut > CABLES || !self.is_ledger_current();
                self.checks.faults += i8::from(moves);
                self.reads = READS.map(|bit| cut & bit == 0);
                for (bit, carries) in self.carries.as_flattened_mut().iter_mut().enumerate() {
                    *carries = cut & 1 << bit == 0;
                }
            }
            Choice::Join => {
                self.unheard = None;
                self.carries.as_flattened_mut().fill(true);
                self.reads = [true; 2];
            }
            Choice::Hold(who, link) => self.hold(who, link),
            Choice::HoldAlone(who, link) => {
                self.hold(who, link);
                self.machines[who].inbox[1 - link.index()].clear();
            }
            Choice::Deliver => self.deliver(),
            Choice::Trouble(who, trouble) => {
                self.budget.troubles -= 1;
                self.checks.faults += 1;
                self.machines[who].worker.trouble = Some(trouble);
            }
            Choice::Order(who, order) => {
                self.budget.commands -= 1;
                self.order(who, order);
            }
            Choice::Repeat(who, kind) => {
                self.budget.repeats -= 1;
                self.repeat(who, kind);
                for machine in &mut self.machines {
                    if self.budget.repeats == 0 {
                        machine.told = Default::default();
                    }
                }
            }
            Choice::Forge(who, forgery) => {
                self.budget.forgeries -= 1;
                self.forge(who, forgery);
                if self.budget.forgeries == 0 {
                    self.machines
                        .iter_mut()
                        .for_each(|m| m.counted = Default::default());
                }
            }
        }
        self.checks.state(&self.machines, &self.disks, self.plain);
    }

    /// The ledger has a record of the last claim, or must have one since its owner holds it, and there is no other
    /// claim under way: one that was announced and has not written a record yet may be taken from when the cables are
    /// cut just then.
    fn is_ledger_current(&self) -> bool {
        let claims = |machine: &Machine| {
            let state = machine.pool().map(|pool| pool.state());
            state == Some(PoolState::Claiming)
        };
        let held = self.checks.held.filter(|held| !held.released);
        let current = self.ledger.zip(held).is_some_and(|(records, held)| {
            let written = records[held.who].is_some_and(|record| record.epoch == held.epoch);
            written || self.machines[held.who].worker.claim == Some(held.epoch)
        });
        current && !self.machines.iter().any(claims)
    }

    /// The newest record of a head, by what makes it another one.
    pub fn record(&self, who: usize) -> Option<(Incarnation, u64)> {
        let record = self.ledger?[who]?;
        Some((record.incarnation, record.sequence))
    }

    fn order(&mut self, who: usize, order: Order) {
        let machine = &mut self.machines[who];
        let now = machine.now();
        let Some(head) = machine.head.as_mut().map(Arc::make_mut) else {
            return;
        };
        let pool = PoolId(0);
        let command = match order {
            Order::Handover => Command::Handover(pool),
            Order::Takeover => Command::Takeover(pool),
            Order::Make => Command::Make(pool),
            Order::Destroy => Command::Destroy(pool),
        };
        let moves = matches!(order, Order::Handover | Order::Takeover);
        if head.handle_command(command, now).is_ok() && moves {
            self.checks.faults += 1; // the operator may be wrong about the peer
        }
        self.perform(who);
    }

    fn is_whole(&self) -> bool {
        let mut all = self.carries.as_flattened().iter().chain(&self.reads);
        all.all(|joined| *joined)
    }

    /// Each head hears the other on a cable, be it another one, and reads the ledger.
    fn is_joined(&self) -> bool {
        let hears = [0, 1].iter().all(|&who| self.is_heard(who));
        hears && self.reads == [true; 2]
    }

    /// A cable carries what this head sends.
    fn is_heard(&self, who: usize) -> bool {
        LinkId::ALL.iter().any(|&link| self.is_carried(who, link))
    }

    /// Nothing is broken that matters: the heads hear each other, and both run or are on their way up.
    pub fn is_healthy(&self) -> bool {
        let runs = |machine: &Machine| {
            let up = machine.head.is_some() || machine.boots_in.is_some();
            up && machine.halt.is_none() && machine.worker.trouble.is_none()
        };
        self.machines.iter().all(runs) && self.is_joined()
    }

    /// Whether this state may last.
    pub fn end(&self) -> End {
        let healthy = self.is_healthy();
        let serves = |who: usize| {
            let machine = &self.machines[who];
            let pool = machine.pool().filter(|_| machine.beats());
            pool.is_some_and(|pool| pool.state() == PoolState::Serving)
                && machine.worker.active
                && self
                    .disks
                    .iter()
                    .all(|disk| disk.is_held_by(who, machine.worker.claim.unwrap_or(Epoch::NONE)))
        };
        // The owner is worse off than the other, and could ask it and let go.
        let worse = |who: usize| {
            let both = self.machines.iter().all(Machine::beats);
            both && self.is_joined() && self.machines[who].ails && !self.machines[1 - who].ails
        };
        let rest = |who: usize| self.machines[who].pool().and_then(|pool| pool.rest());
        match (serves(0), serves(1)) {
            // It is served where it was made, unless something struck.
            (a, b) if !self.checks.struck && self.checks.made == Some(usize::from(a)) && a != b => {
                End::Elsewhere
            }
            (false, false) if self.bare => End::Explained,
            (true, true) => End::Unserved,
            (true, false) if worse(0) => End::Worse,
            (false, true) if worse(1) => End::Worse,
            (false, false) if healthy => End::Unserved,
            (true, false) if rest(1) == Some(Rest::PeerHolds) => End::Redundant,
            (false, true) if rest(0) == Some(Rest::PeerHolds) => End::Redundant,
            (true, false) | (false, true) if healthy => End::Lonely,
            (true, false) | (false, true) => End::Served,
            (false, false) if !self.machines.iter().any(Machine::beats) => End::Explained,
            (false, false) => match [0, 1].map(|who| self.reason(who)) {
                [Some(false), _] | [_, Some(false)] | [None, None] => End::Unserved,
                _ => End::Explained,
            },
        }
    }

    /// Whether what `status` of this head gives as the reason for not serving is of the closed list of those that may
    /// last, and true; `None` when it does not run, or just looks at the disks.
    fn reason(&self, who: usize) -> Option<bool> {
        let machine = &self.machines[who];
        let pool = machine.pool().filter(|_| machine.beats())?;
        if pool.rest().is_none() && pool.state() == PoolState::Standby {
            return None;
        }
        let told = self.checks.told[who];
        Some(match (pool.state(), pool.rest()) {
            (PoolState::Standby, Some(Rest::HeldByUnheardPeer(held))) => {
                let there = self
                    .disks
                    .iter()
                    .any(|disk| disk.keys[1 - who] == Some(held));
                // What it was told of is no obstacle, unless that was by a ledger that it cannot read any more. A claim is told
                // before it begins, but not to a head that does not run, nor over cables that are cut.
                there && (told < held || !self.reads[who])
            }
            (PoolState::Standby, Some(Rest::HeldByDeafPeer(held))) => {
                let keys = self.disks.iter().map(|disk| disk.keys[1 - who]);
                let records = self.ledger.map(|records| records[1 - who]);
                let record = records.flatten().filter(|record| record.state.may_hold());
                let mut held_by = keys.chain([record.map(|record| record.epoch)]);
                held_by.any(|epoch| epoch == Some(held)) && !self.is_heard(who)
            }
            (PoolState::Standby, Some(Rest::AwaitingLedger)) => {
                self.ledger.is_some() && !self.reads[who]
            }
            (PoolState::Faulted, _) => true,
            _ => false,
        })
    }

    /// Two worlds of one fingerprint have the same future.
    pub fn fingerprint(&self, sink: &mut Sink) -> [u64; 2] {
        sink.0.clear();
        for who in [0, 1] {
            self.hash_machine(who, sink);
        }
        (
            self.carries,
            self.reads,
            &self.disks,
            self.bare,
            self.plain,
            self.unheard,
            self.budget,
        )
            .hash(sink);
        self.checks.hash(sink);
        let digest = Sha256::digest(&sink.0);
        let word = |at: usize| {
            let bytes: [u8; 8] = digest[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        [word(0), word(8)]
    }

    fn hash_machine(&self, who: usize, sink: &mut Sink) {
        let (machine, peer) = (&self.machines[who], &self.machines[1 - who]);
        (machine.boots, machine.boots_in, machine.halt, machine.ails).hash(sink);
        // Numbers of records only grow, so of each it matters only whether it is news.
        let record = self.ledger.and_then(|records| records[who]);
        record
            .map(|record| Record {
                sequence: 0,
                ..record
            })
            .hash(sink);
        let seen = peer
            .head
            .as_ref()
            .and_then(|head| head.seen_record(PoolId(0)));
        let order = |record: Record| (record.epoch, record.sequence);
        record.map(order).cmp(&seen.map(order)).hash(sink);
        for frame in &machine.counted {
            let origin = frame.as_ref().map(|frame| (frame.incarnation, frame.echo));
            origin.hash(sink);
        }
        let to = |who: usize| self.late.as_ref().filter(|late| late.to == who);
        let (late, on_its_way) = (to(who), to(1 - who));
        let Some(head) = &machine.head else {
            // To a boot to come.
            late.map(|late| {
                (
                    late.link.index(),
                    late.frame.incarnation,
                    late.frame.echo,
                    late.frame.beat,
                )
            })
            .hash(sink);
            return;
        };
        head.fingerprint(machine.now(), sink);
        let mut worker = machine.worker.clone();
        for ticket in worker.job.iter_mut().map(|job| &mut job.ticket) {
            ticket.0 = machine.ticket - ticket.0;
        }
        // Of the record that a claim waits out only whether it still is what the ledger shows.
        let first = worker.first.take();
        let peers = self.ledger.and_then(|records| records[1 - who]);
        let shown = peers.map(|record| (record.incarnation, record.sequence));
        (first.is_some(), first == shown, machine.unfed).hash(sink);
        worker.hash(sink);
        if let Some(outcome) = machine.outcome {
            (machine.ticket - outcome.ticket.0).hash(sink);
            hash_outcome(&outcome, sink);
        }
        // Of these no ticket is waited for, whatever it is.
        for outcome in &machine.told {
            outcome.is_some().hash(sink);
            outcome
                .iter()
                .for_each(|outcome| hash_outcome(outcome, sink));
        }
        machine
            .outcome
            .map(|outcome| outcome.result.is_ok())
            .hash(sink);
        // What this head awaits, and how near it is: heard by the peer, or in an answer on its way.
        let me = incarnation(who, machine.boots);
        let mine = peer
            .head
            .as_ref()
            .filter(|peer| peer.peer().incarnation() == Some(me));
        for link in LinkId::ALL {
            let index = link.index();
            let theirs = on_its_way
                .filter(|late| late.link == link)
                .map(|late| &late.frame);
            let inbox = &machine.inbox[index];
            inbox.len().hash(sink);
            let held = late
                .filter(|late| late.link == link)
                .map(|late| &late.frame);
            held.is_some().hash(sink);
            for frame in inbox.iter().chain(held) {
                let known = head.peer().incarnation() == Some(frame.incarnation);
                let fresh = frame.sequence > head.peer().link(link).received();
                (frame.incarnation, frame.echo, frame.beat, known && fresh).hash(sink);
                (known && Some(frame.sequence) > head.peer().received()).hash(sink);
                // Where it stands among the words: the one that counts, and those on their way on either link.
                let others = machine.inbox.iter().flatten();
                let ahead = others.filter(|other| other.sequence < frame.sequence);
                ahead.count().hash(sink);
                (frame.sequence < head.said(PoolId(0))).hash(sink);
            }
            if let Some(frame) = &machine.counted[index] {
                let fresh = frame.sequence > head.peer().link(link).received();
                (frame.incarnation, frame.echo, frame.beat, fresh).hash(sink);
                (Some(frame.sequence) > head.peer().received()).hash(sink);
            }
            // Whether the peer hears it is asked by an owner that could be worse off.
            let acknowledged = head.peer().link(link).acknowledged();
            if machine.pool().is_some_and(|pool| !pool.health().is_good()) {
                let news = |heard: u64| heard > acknowledged;
                mine.map(|peer| news(peer.peer().link(link).received()))
                    .hash(sink);
                for frame in machine.inbox.iter().flatten() {
                    (frame.echo == Some(me) && news(frame.heard[index])).hash(sink);
                }
            }
            for marks in head.awaited_acknowledgements() {
                for frame in inbox.iter().chain(held) {
                    let answers =
                        LinkId::ALL.map(|link| frame.heard[link.index()] >= marks[link.index()]);
                    answers
                        .map(|answers| frame.echo == Some(me) && answers)
                        .hash(sink);
                }
                let heard = mine.map(|peer| peer.peer().link(link).received() >= marks[index]);
                heard.hash(sink);
                for frame in peer.inbox[index].iter().chain(theirs) {
                    (frame.sequence >= marks[index]).hash(sink);
                }
            }
        }
    }
}

fn hash_outcome(outcome: &Outcome, sink: &mut Sink) {
    outcome.epoch.hash(sink);
    match outcome.result {
        Ok(Done::Surveyed { greatest, holder }) => (greatest, holder).hash(sink),
        Ok(done) => std::mem::discriminant(&done).hash(sink),
        Err(failure) => failure.hash(sink),
    }
}

/// What a state that lasts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody serves, and nobody says why.
    Unserved,
    /// Nobody serves, and `status` says why.
    Explained,
    /// One head serves the pool that the other one just made.
    Elsewhere,
    /// One head serves, and the other, though nothing is broken, does not stand by.
    Lonely,
    /// The worse head serves.
    Worse,
    /// One head serves, and the other cannot stand by.
    Served,
    /// One head serves, the other stands by.
    Redundant,
}

/// Bytes of a state, to be digested.
pub struct Sink(pub Vec<u8>);

impl Hasher for Sink {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0 // never asked: see `World::fingerprint`
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (who, name) in ["a", "b"].into_iter().enumerate() {
            let machine = &self.machines[who];
            write!(f, "{name} ")?;
            let Some((head, pool)) = machine.head.as_ref().zip(machine.pool()) else {
                let boots = machine.boots_in;
                let when = boots.map_or("off".to_owned(), |left| format!("boots in {left}"));
                write!(f, "{when:<46} ")?;
                continue;
            };
            let mut said = String::new();
            write!(said, "{}", pool.state().name())?;
            if let Some(rest) = pool.rest() {
                write!(said, " {rest:?}")?;
            }
            write!(said, " e{} {:?}", pool.epoch(), head.liveness())?;
            if let Some(halt) = machine.halt {
                write!(said, " {halt:?}")?;
            }
            if machine.worker.active {
                said.push_str(" active");
            }
            write!(f, "{said:<46} ")?;
        }
        write!(f, "disks")?;
        for disk in &self.disks {
            let keys = disk.keys.map(|key| key.map_or(0, |epoch| epoch.0));
            let holder = disk.holder.map_or('-', |who| ['a', 'b'][who]);
            write!(f, " {}/{}{holder}", keys[0], keys[1])?;
        }
        Ok(())
    }
}
