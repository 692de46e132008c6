//! One head as a machine: its core, its clock, what waits for it, and how it can fail to run.
//!
//! [`World::run_head`] is the loop of `init/src/reactor.rs`, in its order.

use std::collections::VecDeque;

use orthrus_hb::{
    Accepted, Action, Command, Config, FRAME_MAX_BYTES, Head, HeadId, Health, Incarnation, LinkId,
    Outcome, PoolConfig, PoolId, PoolState, Refusal, ResetReason,
};

use crate::clock::{Clock, MS, NEVER, SECOND, Time};
use crate::event::Event;
use crate::ledger::News;
use crate::messages::Messages;
use crate::network::{self, Path, Sent};
use crate::shelf::Nexus;
use crate::watchdog::Watchdog;
use crate::worker::Worker;
use crate::world::{SECRET, World};

/// Frames that wait in the kernel for a head that does not read them.
const QUEUE_MAX: [usize; 2] = [64, 200];
/// `FRAMES_MAX` of the reactor.
pub const FRAMES_MAX: usize = 64;
/// The hardware watchdog's time.
pub const WATCHDOG: Time = 10 * SECOND;

/// How a machine fails to run without being dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// All of it is stopped and its clock goes on.
    Paused,
    /// All of it and its clock are stopped.
    Frozen,
    /// The heartbeat thread is stuck; the kernel and the workers go on.
    Stuck,
}

pub struct Machine {
    pub id: HeadId,
    /// `None`: without power, or on its way up.
    pub head: Option<Head>,
    /// Number of this boot; events for another are void.
    pub boot: u32,
    /// Number of the boot that is awaited, when there is no head.
    pub next_boot: u32,
    /// When it did, in true time.
    pub booted: Time,
    pub clock: Clock,
    pub drift_ppm: i64,
    pub halt: Option<(Halt, Time)>,
    /// Longest ordinary delay of its loop.
    pub late: Time,
    pub inbox: [VecDeque<Sent>; 2],
    pub outcomes: VecDeque<Outcome>,
    /// What of it is broken, as told or on its way to its core; by pool.
    pub health: Vec<Health>,
    pub unwell: VecDeque<(usize, Health)>,
    /// When its core took the last frame of the peer from each link, in true time.
    pub heard: [Option<Time>; 2],
    /// When it took the last that was newer than all before it, of both links.
    pub news: Option<Time>,
    pub workers: Vec<Worker>,
    /// By disk.
    pub nexus: Vec<Nexus>,
    /// What happened while it was stopped.
    pub deferred: Vec<Event>,
    pub next_wake: Time,
    /// This boot of it.
    pub incarnation: Incarnation,
    /// Where a lease depends on it.
    pub watchdog: Option<Watchdog>,
    /// It asked for a reset, which hangs: nothing but its watchdog ends it.
    pub is_ending: bool,
    /// By pool: up to which record its core was told that they are in the ledger.
    recorded: Vec<u64>,
    /// It halts once it is at rest.
    pub retiring: bool,
    /// What it told its peer, and was told.
    pub messages: Messages,
}

impl Machine {
    pub fn new(id: HeadId, disks: usize, drift_ppm: i64) -> Machine {
        Machine {
            id,
            head: None,
            boot: 0,
            next_boot: 0,
            booted: 0,
            clock: Clock::new(0, drift_ppm),
            drift_ppm,
            halt: None,
            late: 0,
            inbox: [VecDeque::new(), VecDeque::new()],
            outcomes: VecDeque::new(),
            health: Vec::new(),
            unwell: VecDeque::new(),
            heard: [None; 2],
            news: None,
            workers: Vec::new(),
            nexus: vec![0; disks],
            deferred: Vec::new(),
            next_wake: NEVER,
            incarnation: Incarnation([0; 8]),
            watchdog: None,
            is_ending: false,
            recorded: Vec::new(),
            retiring: false,
            messages: Messages::default(),
        }
    }

    /// Its kernel and workers run.
    pub fn runs(&self) -> bool {
        self.head.is_some() && !matches!(self.halt, Some((Halt::Paused | Halt::Frozen, _)))
    }

    /// Its heartbeat thread runs, too.
    pub fn beats(&self) -> bool {
        self.head.is_some() && self.halt.is_none()
    }
}

impl World {
    /// It begins to run, as a standby that knows nothing.
    pub fn boot(&mut self, who: usize) {
        let pools = self.clients.len();
        let homes: Vec<PoolConfig> = self.homes.iter().map(|&home| PoolConfig { home }).collect();
        let config = Config {
            cluster: self.cluster,
            me: self.machines[who].id,
            secret: SECRET,
            digest: 1,
            timing: self.timing,
            pools: heapless::Vec::from_slice(&homes).expect("at most MAX_POOLS"),
        };
        let incarnation = Incarnation(self.rng.bits().to_be_bytes());
        let machine = &mut self.machines[who];
        machine.boot = machine.next_boot;
        machine.booted = self.now;
        machine.clock = Clock::new(self.now, machine.drift_ppm);
        machine.halt = None;
        machine.inbox.iter_mut().for_each(VecDeque::clear);
        machine.outcomes.clear();
        let copies = self.copies.iter();
        machine.workers = copies.map(|copies| Worker::new(copies.len())).collect();
        machine.health = vec![Health::default(); pools];
        machine.unwell.clear();
        machine.heard = [None; 2];
        machine.news = None;
        machine.deferred.clear();
        machine.next_wake = NEVER;
        machine.retiring = false;
        machine.incarnation = incarnation;
        machine.messages.booted(incarnation);
        machine.is_ending = false;
        machine.recorded = vec![0; pools];
        let now = machine.clock.read(self.now);
        machine.head = Some(Head::new(config, incarnation, now));
        // A new session: what the last boot left at the disks is dropped. Where it is not, it goes on until it is done.
        for disk in 0..self.disks.len() {
            let old = self.machines[who].nexus[disk];
            if !self.plain {
                self.disks[disk].accepted.retain(|task| task.nexus != old);
            }
            if self.renews_sessions {
                self.ids += 1;
                self.machines[who].nexus[disk] = self.ids as Nexus;
            }
        }
        self.trace(|| format!("{who} boots"));
        self.checks.booted(who);
        self.begin_health(who);
        self.arm_watchdog(who);
        self.wake(who, self.now);
    }

    /// It ends here; it boots again after a while, or never for [`NEVER`].
    pub fn crash(&mut self, who: usize, off: Time) {
        self.paths[who].iter_mut().for_each(Path::archive);
        let machine = &mut self.machines[who];
        machine.head = None;
        machine.halt = None;
        machine.next_boot += 1;
        let boot = machine.next_boot;
        if off != NEVER {
            self.at(self.now + off, Event::Boot { who, boot });
        }
    }

    pub fn reset(&mut self, who: usize, why: &str) {
        self.trace(|| format!("{who} resets: {why}"));
        let off = self.rng.range(3 * SECOND, 15 * SECOND);
        self.crash(who, off);
    }

    /// Makes its loop run at a time, or a little later.
    pub fn wake(&mut self, who: usize, at: Time) {
        let late = match self.machines[who].late {
            0 => 0,
            most => self.rng.below(most),
        };
        let at = at.max(self.now) + late;
        let machine = &mut self.machines[who];
        if at < machine.next_wake {
            machine.next_wake = at;
            let boot = machine.boot;
            self.at(at, Event::Wake { who, boot });
        }
    }

    pub fn halt(&mut self, who: usize, halt: Halt, time: Time) {
        let machine = &mut self.machines[who];
        if !machine.beats() {
            return;
        }
        machine.halt = Some((halt, self.now));
        let (boot, since) = (machine.boot, self.now);
        self.at(self.now + time, Event::Resume { who, boot });
        if halt == Halt::Stuck && self.machines[who].watchdog.is_none() {
            self.at(self.now + WATCHDOG, Event::Watchdog { who, boot, since });
        }
    }

    pub fn resume(&mut self, who: usize) {
        let now = self.now;
        let machine = &mut self.machines[who];
        if machine.is_ending {
            return;
        }
        let Some((halt, since)) = machine.halt.take() else {
            return;
        };
        let head = machine.head.as_ref();
        let holds = head.is_some_and(|head| {
            let states = head.pools().iter().map(|pool| pool.state());
            let mut held =
                states.filter(|s| [PoolState::Importing, PoolState::Serving].contains(s));
            held.next().is_some()
        });
        // A clock that stood still shows no gap; there the watch must see what happened.
        if halt != Halt::Frozen && holds && now - since > self.timing.dead.as_micros() + 100 * MS {
            let boot = machine.boot;
            self.at(now + SECOND, Event::Gone { who, boot });
        }
        let machine = &mut self.machines[who];
        if halt == Halt::Frozen {
            machine.clock.stood_still(since, now);
        }
        self.checks.breaker.clock_went_astray(now);
        // Its threads run again, in any order.
        for event in std::mem::take(&mut self.machines[who].deferred) {
            let later = self.rng.below(2 * MS);
            self.at(now + later, event);
        }
        self.machines[who].next_wake = NEVER;
        let later = self.rng.below(2 * MS);
        self.wake(who, now + later);
    }

    /// A frame arrives at its port.
    pub fn deliver(&mut self, to: usize, link: LinkId, frame: Sent) {
        let machine = &mut self.machines[to];
        if machine.head.is_none() || machine.inbox[link.index()].len() >= QUEUE_MAX[link.index()] {
            return;
        }
        machine.inbox[link.index()].push_back(frame);
        if machine.beats() {
            self.wake(to, self.now);
        }
    }

    pub fn run_head(&mut self, who: usize) {
        let time = self.now;
        let machine = &mut self.machines[who];
        machine.next_wake = NEVER;
        let now = machine.clock.read(time);
        let Some(head) = machine.head.as_mut() else {
            return;
        };
        for link in LinkId::ALL {
            for _ in 0..FRAMES_MAX {
                let Some(frame) = machine.inbox[link.index()].pop_front() else {
                    break;
                };
                let newest = |head: &Head| (head.peer().incarnation(), head.peer().received());
                let before = newest(head);
                // The core counts what it rejects.
                if head.handle_frame(link, &frame.bytes, now).is_ok() {
                    self.checks.breaker.read(frame.at, time);
                    machine.heard[link.index()] = Some(time);
                    // The release before numbers the frames of each link by themselves.
                    if self.elder.is_some() || newest(head) != before {
                        machine.news = Some(time);
                    }
                }
            }
        }
        for (pool, worker) in machine.workers.iter_mut().enumerate() {
            let id = PoolId(pool as u8);
            match worker.ledger.take_news(now, time) {
                Some(News::Sight(sight)) => head.handle_ledger(id, &sight, now),
                Some(News::NoLedger) => head.handle_no_ledger(id, now),
                None => {}
            }
        }
        while let Some((pool, health)) = machine.unwell.pop_front() {
            head.handle_health(PoolId(pool as u8), health, now);
        }
        while let Some(outcome) = machine.outcomes.pop_front() {
            head.handle_outcome(&outcome, now);
        }
        for (pool, worker) in machine.workers.iter().enumerate() {
            if let Some(watch) = worker.watch.as_ref().filter(|watch| watch.lost) {
                head.handle_fence_lost(PoolId(pool as u8), watch.epoch, now);
            }
        }
        // Elsewhere nothing depends on it.
        if self.plain {
            let told = machine.workers.iter().zip(&mut machine.recorded);
            for (pool, (worker, told)) in told.enumerate() {
                if let Some(sequence) = worker.ledger.recorded().filter(|s| s != told) {
                    *told = sequence;
                    head.handle_recorded(PoolId(pool as u8), sequence, now);
                }
            }
        }
        let mut feeds = false;
        if now >= head.poll_timeout() {
            head.handle_timeout(now);
            if let Some(watchdog) = &mut machine.watchdog
                && head.may_feed_watchdog(now)
            {
                watchdog.feed(time);
                feeds = true;
            }
        }
        if feeds {
            self.look_at_terms(who, true);
        }
        self.perform(who);
    }

    /// Actions, frames, jobs, messages, events: in this order.
    fn perform(&mut self, who: usize) {
        let time = self.now;
        let machine = &mut self.machines[who];
        let now = machine.clock.read(time);
        let Some(head) = machine.head.as_mut() else {
            return;
        };
        let mut jobs = Vec::new();
        let mut reset = None;
        while let Some(action) = head.poll_action() {
            match action {
                Action::Run(job) => jobs.push(job),
                Action::Reset(reason) => reset = Some(reason),
            }
        }
        if let Some(reason) = reset {
            return self.reset_for(who, reason);
        }
        let mut sent = Vec::new();
        let mut buffer = [0; FRAME_MAX_BYTES];
        for link in LinkId::ALL {
            while let Some(mut length) = head.poll_transmit(link, now, &mut buffer) {
                if self.elder.is_some() {
                    length = network::as_version_2(link, &mut buffer, length);
                }
                let path = &mut self.paths[who][link.index()];
                let flights = path.send(link, &buffer[..length], time, &mut self.rng);
                sent.extend(flights.into_iter().flatten().map(|flight| (link, flight)));
            }
        }
        let message = head.poll_message().map(<[u8]>::to_vec);
        while let Some(event) = head.poll_event() {
            if let orthrus_hb::Event::Pool { from, to, .. } = event {
                self.changes
                    .insert((from.name().to_owned(), to.name().to_owned()));
            }
            if let Some(trace) = &mut self.tracing {
                trace.push_back(format!("{:>12.6} {who} {event:?}", time as f64 / 1e6));
            }
        }
        let deadline = machine.clock.when(head.poll_timeout(), time);
        let more = machine.inbox.iter().any(|queue| !queue.is_empty());
        for (link, flight) in sent {
            let (to, frame) = (1 - who, flight.frame);
            self.at(flight.arrives, Event::Frame { to, link, frame });
        }
        for job in jobs {
            self.trace(|| format!("{who} pool {}: {:?} {}", job.pool.0, job.work, job.epoch));
            self.start_job(who, job);
        }
        self.offer_records(who);
        if let Some(message) = message {
            self.hear(who, &message);
        }
        self.checks.looked(who, &self.machines);
        self.look_at_terms(who, false);
        self.wake(who, if more { time } else { deadline });
    }

    fn reset_for(&mut self, who: usize, reason: ResetReason) {
        self.resets += 1;
        if self.reset_hangs(who) {
            return;
        }
        self.reset(who, &format!("{reason:?}"));
    }

    /// An operator's command.
    pub fn command(&mut self, who: usize, command: Command) -> Option<Result<Accepted, Refusal>> {
        let machine = &mut self.machines[who];
        if !machine.beats() {
            return None;
        }
        let now = machine.clock.read(self.now);
        let answer = machine.head.as_mut()?.handle_command(command, now);
        if answer == Ok(Accepted::Readmitted) {
            self.checks.breaker.readmitted(1 - who);
        }
        self.trace(|| format!("{who} operator: {command:?} -> {answer:?}"));
        self.perform(who);
        Some(answer)
    }

    /// It is told to let go of everything, and halts when it has.
    pub fn retire(&mut self, who: usize) {
        let machine = &mut self.machines[who];
        if !machine.beats() {
            return;
        }
        let now = machine.clock.read(self.now);
        if let Some(head) = machine.head.as_mut() {
            head.retire(now);
            machine.retiring = true;
            self.trace(|| format!("{who} retires"));
            self.perform(who);
        }
    }
}
