//! One head as a machine: the shipped core, its worker, and how it can fail to run.
//!
//! [`World::run`] is the loop of `init/src/reactor.rs`, in its order.

use std::collections::VecDeque;
use std::sync::Arc;

use embassy_time::Instant;
use orthrus_hb::wire::{self, Body, PoolBeat};
use orthrus_hb::{
    Action, ClusterId, Config, Epoch, FRAME_MAX_BYTES, Head, HeadId, Health, Incarnation,
    LedgerState, LinkId, Outcome, Pool, PoolConfig, PoolId, PoolState, Rest, Sight,
};

use crate::lease::Slots;
use crate::timing::{DEAD, QUEUE, RESET, WATCHDOG, at, timing};
use crate::worker::{self, Kind, Pace, Worker};
use crate::world::World;

pub const IDS: [HeadId; 2] = [HeadId::First, HeadId::Second];
pub const SECRET: [u8; 32] = [3; 32];
pub const CLUSTER: &str = "model";

/// How a machine stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Halt {
    /// Its clock goes on.
    Paused,
    /// Its clock stands still, too: nothing in it can tell.
    Frozen,
}

/// One boot of one head.
pub fn incarnation(who: usize, boots: u8) -> Incarnation {
    Incarnation([0, 0, 0, 0, 0, 0, who as u8 + 1, boots])
}

/// A frame under way, and what of it matters.
pub struct Frame {
    pub bytes: Box<[u8]>,
    pub incarnation: Incarnation,
    pub echo: Option<Incarnation>,
    pub sequence: u64,
    /// Ours, heard by the sender, by link.
    pub heard: [u64; LinkId::ALL.len()],
    pub beat: Option<PoolBeat>,
}

#[derive(Clone)]
pub struct Machine {
    /// `None`: without power, or on its way up. Shared between states until it runs: a head is large.
    pub head: Option<Arc<Head>>,
    /// How often it has booted.
    pub boots: u8,
    /// Beats to the next boot after a reset.
    pub boots_in: Option<u8>,
    pub halt: Option<Halt>,
    /// Its port for the clients has no link.
    pub ails: bool,
    /// Its clock, in beats.
    clock: u32,
    /// Its clock when it last ran.
    ran: u32,
    pub inbox: [VecDeque<Arc<Frame>>; LinkId::ALL.len()],
    /// By link, while something may still be forged: the frame that counted last, in whatever boot.
    pub counted: [Option<Arc<Frame>>; LinkId::ALL.len()],
    pub outcome: Option<Outcome>,
    /// By kind of job, while one may still come again: the last outcome of this boot.
    pub told: [Option<Outcome>; Kind::ALL.len()],
    /// Number of the last job.
    pub ticket: u32,
    pub worker: Worker,
    /// Beats since its watchdog was fed.
    pub unfed: u8,
}

impl Machine {
    pub fn new() -> Machine {
        Machine {
            head: None,
            boots: 0,
            boots_in: None,
            halt: None,
            ails: false,
            clock: 0,
            ran: 0,
            inbox: Default::default(),
            counted: Default::default(),
            outcome: None,
            told: [None; Kind::ALL.len()],
            ticket: 0,
            worker: Worker::new(),
            unfed: 0,
        }
    }

    pub fn now(&self) -> Instant {
        at(self.clock)
    }

    /// It runs, and its heart beats.
    pub fn beats(&self) -> bool {
        self.head.is_some() && self.halt.is_none()
    }

    pub fn pool(&self) -> Option<&Pool> {
        self.head.as_ref()?.pools().first()
    }

    /// What outcomes may change.
    fn shown(&self) -> Option<(PoolState, Option<Rest>, Epoch)> {
        let pool = self.pool()?;
        Some((pool.state(), pool.rest(), pool.epoch()))
    }

    /// Its time goes on, though it may not run.
    fn tick(&mut self) {
        if self.halt != Some(Halt::Frozen) {
            self.clock += 1;
        }
    }
}

impl World {
    pub fn boot(&mut self, who: usize) {
        let mut pools = heapless::Vec::new();
        let _ = pools.push(PoolConfig {
            home: HeadId::First,
        });
        let config = Config {
            cluster: ClusterId::from_name(CLUSTER),
            me: IDS[who],
            secret: SECRET,
            digest: 1,
            timing: timing(),
            pools,
        };
        let machine = &mut self.machines[who];
        *machine = Machine {
            boots: machine.boots + 1,
            ails: machine.ails,
            counted: std::mem::take(&mut machine.counted),
            ..Machine::new()
        };
        let me = incarnation(who, machine.boots);
        machine.head = Some(Arc::new(Head::new(config, me, machine.now())));
        self.checks.booted(who);
    }

    /// It ends here.
    pub fn stop(&mut self, who: usize, boots_in: Option<u8>) {
        let machine = &mut self.machines[who];
        *machine = Machine {
            boots: machine.boots,
            boots_in,
            ails: machine.ails,
            counted: std::mem::take(&mut machine.counted),
            ..Machine::new()
        };
        self.checks.ended(who);
    }

    /// One beat of one machine.
    pub fn run(&mut self, who: usize, pace: Pace) {
        let machine = &mut self.machines[who];
        machine.tick();
        if machine.head.is_none() {
            match machine.boots_in {
                Some(0) => self.boot(who),
                Some(left) => {
                    machine.boots_in = Some(left - 1);
                    return;
                }
                None => return,
            }
        }
        let machine = &mut self.machines[who];
        if self.plain {
            machine.unfed += 1;
            if u32::from(machine.unfed) > WATCHDOG {
                return self.stop(who, Some(RESET));
            }
        }
        if machine.halt.is_some() {
            return;
        }
        let gap = machine.clock - machine.ran;
        machine.ran = machine.clock;
        let held = machine.worker.active;
        let record = self.record(who);
        // Before the head, so that how far it gets is chosen for the job that it has.
        if pace != Pace::Late {
            self.work(who, pace);
        }
        self.take_in(who);
        if pace == Pace::Late {
            self.work(who, pace);
        }
        if !self.perform(who) {
            return;
        }
        if held && gap >= DEAD {
            self.checks.ran_on_after_gap();
        }
        if self.ledger.is_some() {
            let ticked = self.record(who) != record;
            let ticks = ticked || self.plain && !self.reads[who];
            self.checks
                .must_tick(who, &self.machines[who], ticks, &self.disks);
        }
        if self.plain {
            self.feed(who);
        }
        if self.unheard == Some(who) {
            self.checks.holds_on(&self.machines[who]);
        }
        self.checks.ran(who, &self.machines[who], &self.disks);
    }

    /// Its watchdog is fed, if it may be.
    fn feed(&mut self, who: usize) {
        let machine = &mut self.machines[who];
        let now = machine.now();
        if let Some(head) = &machine.head {
            let may_feed = head.may_feed_watchdog(now);
            if may_feed {
                machine.unfed = 0;
            }
            self.checks.leased(machine.worker.active, may_feed);
        }
    }

    /// Frames, outcomes, the watch, the deadline.
    fn take_in(&mut self, who: usize) {
        let machine = &mut self.machines[who];
        let now = machine.now();
        let Some(head) = machine.head.as_mut().map(Arc::make_mut) else {
            return;
        };
        let (mut told, mut newest) = (Epoch::NONE, false);
        for link in LinkId::ALL {
            for frame in machine.inbox[link.index()].drain(..) {
                let last = (head.peer().incarnation(), head.peer().received());
                if head.handle_frame(link, &frame.bytes, now).is_ok() {
                    told = told.max(frame.beat.map_or(Epoch::NONE, |beat| beat.epoch));
                    if last != (head.peer().incarnation(), head.peer().received()) {
                        newest = true;
                        self.checks.untold[who] = frame.beat.is_none();
                    }
                    if self.budget.forgeries > 0 {
                        machine.counted[link.index()] = Some(frame);
                    }
                }
            }
        }
        self.checks.heard(who, told, newest);
        self.checks.believes(who, head.peer().incarnation());
        if let Some(outcome) = machine.outcome.take() {
            head.handle_outcome(&outcome, now);
        }
        if let Some(epoch) = machine.worker.claim.filter(|_| machine.worker.lost) {
            head.handle_fence_lost(PoolId(0), epoch, now);
        }
        // A path on which the ledger cannot be read is broken.
        let (shelf, network) = (!self.reads[who], machine.ails);
        let health = Health { shelf, network };
        if head.pools().iter().any(|pool| pool.health() != health) {
            head.handle_health(PoolId(0), health, now);
        }
        if self.ledger.is_none() && head.ledger(PoolId(0)) != LedgerState::None {
            head.handle_no_ledger(PoolId(0), now);
        }
        if let Some(records) = self.ledger.filter(|_| self.reads[who]) {
            let peer = records[1 - who];
            let before = head.seen_record(PoolId(0));
            self.checks.read(who, before, peer);
            head.handle_ledger(PoolId(0), &Sight { peer, begun: now }, now);
        }
        if now >= head.poll_timeout() {
            head.handle_timeout(now);
        }
    }

    /// Actions, frames, jobs: in this order. `false` when it reset.
    pub fn perform(&mut self, who: usize) -> bool {
        let machine = &mut self.machines[who];
        let now = machine.now();
        let Some(head) = machine.head.as_mut().map(Arc::make_mut) else {
            return false;
        };
        let mut jobs = None;
        while let Some(action) = head.poll_action() {
            match action {
                Action::Run(job) => jobs = Some(job),
                Action::Reset(_) => {
                    self.stop(who, Some(RESET));
                    return false;
                }
            }
        }
        let mut sent = Vec::new();
        let mut buffer = [0; FRAME_MAX_BYTES];
        for link in LinkId::ALL {
            while let Some(length) = head.poll_transmit(link, now, &mut buffer) {
                sent.push((link, Box::from(&buffer[..length])));
            }
        }
        let record = head.poll_record(PoolId(0), now);
        while head.poll_event().is_some() {}
        let writes = match self.plain {
            true => self.reads[who],
            false => self.disks[0].may_write(who),
        };
        if let Some((records, record)) = self.ledger.as_mut().filter(|_| writes).zip(record) {
            records[who] = Some(record);
            if self.plain {
                head.handle_recorded(PoolId(0), record.sequence, now);
            }
        }
        for (link, bytes) in sent {
            self.send(who, link, bytes);
        }
        if let Some(job) = jobs {
            self.checks.job(who, &job.work, &self.machines, &self.disks);
            let machine = &mut self.machines[who];
            machine.ticket = job.ticket.0;
            machine.worker.begin(job);
        }
        true
    }

    fn send(&mut self, who: usize, link: LinkId, bytes: Box<[u8]>) {
        let carried = self.is_carried(who, link);
        let peer = &mut self.machines[1 - who];
        let inbox = &mut peer.inbox[link.index()];
        // A head that runs has emptied its queue by its next beat, so what is in it then is all fresh.
        let full = peer.halt.is_some() && inbox.len() >= QUEUE;
        if !carried || peer.head.is_none() || full {
            return;
        }
        let frame = wire::decode(&bytes, link, &SECRET).expect("what a head sends is a frame");
        let beat = match &frame.body {
            Body::Beat { pools, .. } => pools.first().copied(),
            Body::Fragment { .. } | Body::Received { .. } | Body::Fences => None,
        };
        let (incarnation, echo) = (frame.incarnation, frame.echo);
        let (sequence, heard) = (frame.sequence, frame.heard(link));
        inbox.push_back(Arc::new(Frame {
            bytes,
            incarnation,
            echo,
            sequence,
            heard,
            beat,
        }));
    }

    /// The last outcome of a kind comes once more.
    pub fn repeat(&mut self, who: usize, kind: Kind) {
        let machine = &mut self.machines[who];
        let (now, before) = (machine.now(), machine.shown());
        let told = machine.told[kind as usize];
        if let Some((head, outcome)) = machine.head.as_mut().map(Arc::make_mut).zip(told) {
            head.handle_outcome(&outcome, now);
        }
        self.checks.repeated(before != self.machines[who].shown());
        self.perform(who);
    }

    fn work(&mut self, who: usize, pace: Pace) {
        let records = self.ledger.iter().flatten().flatten();
        let written = records.map(|record| record.epoch).max();
        let written = written.unwrap_or(Epoch::NONE);
        let machine = &mut self.machines[who];
        let mut deeds = Vec::new();
        let kind = machine.worker.job.map(|job| Kind::of(&job.work));
        let (now, incarnation) = (machine.now(), incarnation(who, machine.boots));
        let slots = self.ledger.as_mut().filter(|_| self.plain);
        let slots = slots.map(|records| Slots {
            records,
            reachable: self.reads[who],
            id: IDS[who],
            incarnation,
            now,
        });
        // A key is removed or a claim completes at this very moment: what the other head is then counts.
        let (disks, bare) = (&mut self.disks, &mut self.bare);
        let around = worker::Pool {
            written,
            bare,
            slots,
        };
        let outcome = machine.worker.run(who, disks, around, pace, |deed, disks| {
            deeds.push((deed, *disks));
        });
        if let Some(kind) = kind.filter(|_| outcome.is_some() && self.budget.repeats > 0) {
            machine.told[kind as usize] = outcome;
        }
        machine.outcome = machine.outcome.take().or(outcome);
        if !self.plain {
            machine.worker.watch(who, &mut self.disks);
        }
        for (deed, disks) in deeds {
            self.checks.deed(who, deed, &self.machines[1 - who], &disks);
        }
    }
}
