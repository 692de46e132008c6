//! The world: true time, what there is in it, and the queue of what happens next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use embassy_time::Duration;
use orthrus_hb::{ClusterId, HeadId, Timing};

use crate::check::Checks;
use crate::client::Client;
use crate::clock::{SECOND, Time};
use crate::director::Director;
use crate::event::{Entry, Event, Origin};
use crate::machine::{Halt, Machine};
use crate::network::Path;
use crate::outage::Outages;
use crate::region::Region;
use crate::rng::Rng;
use crate::shelf::{Command, Disk, Nexus};
use crate::transitions::Changes;
use crate::watchdog::Watchdog;

/// Key of the MACs of frames and records.
pub const SECRET: [u8; 32] = [3; 32];

/// Lines of a trace that are kept.
const TRACE_MAX: usize = 4000;

/// What is left of the seed of a run on disks without reservations, divided by eight.
const PLAIN: u64 = 6;
/// The same of one whose ledgers' copies may show what was not written, or not any more.
const LIES: u64 = 0;
/// The same of one whose cables may be cut crosswise.
const CROSSED: u64 = 4;
/// And in which an owner may hang on its path, unheard.
const HANGS: u64 = 2;

/// By what is left of its seed, divided by this, a run has another `dead` than a second. None of the seeds that once failed.
const DEADS: u64 = 11;

/// `COPIES` of the ledger: at most.
pub const COPIES_MAX: usize = 3;

pub struct World {
    pub now: Time,
    /// Time in which neither head ran.
    pub quiet: Time,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    /// Source of numbers that are never used twice.
    pub ids: u64,
    pub rng: Rng,
    /// Both heads' times.
    pub timing: Timing,
    pub cluster: ClusterId,
    pub machines: [Machine; 2],
    pub homes: Vec<HeadId>,
    pub disks: Vec<Disk>,
    pub disks_per_pool: usize,
    /// By pool: the disks that carry a copy of its ledger; none where it has no ledger.
    pub copies: Vec<Vec<usize>>,
    /// By pool: it is not on the disks yet, and an operator makes it on one of the heads.
    pub bare: Vec<bool>,
    /// The disks have no reservations: pools are held by a lease in their ledgers.
    pub plain: bool,
    /// Copies of ledgers may lie.
    pub lies: bool,
    /// Cables may be cut so that each head hears the other by another one.
    pub crossed: bool,
    /// An owner's path to the shelf may hang while nobody hears it.
    pub hangs: bool,
    /// Claims by lease that went through, and those that took a pool from the other head.
    pub leases: u64,
    pub lease_takeovers: u64,
    /// Serial lines may have buffers that hold frames back.
    pub buffered: bool,
    /// Pools that were made.
    pub made: u64,
    /// By head: its port for the clients has a link.
    pub carrier: [bool; 2],
    /// A head whose release speaks the version before this one: nothing that came later passes between the two.
    pub elder: Option<usize>,
    /// By sender and link.
    pub paths: [[Path; 2]; 2],
    pub clients: Vec<Client>,
    /// A boot comes with new I_T nexuses, as over iSCSI; else they stay, as over SAS.
    pub renews_sessions: bool,
    /// The watch resets the head by itself; else only the heartbeat thread does, when it runs.
    pub watch_resets: bool,
    /// How often, in a thousand, a disk's answer is wrong or a command has no effect.
    pub flaky: u64,
    pub checks: Checks,
    pub director: Director,
    pub outages: Outages,
    pub resets: u64,
    /// Changes of pools' states.
    pub changes: Changes,
    pub tracing: Option<VecDeque<String>>,
}

impl World {
    pub fn new(seed: u64, tracing: bool) -> World {
        let mut rng = Rng::new(seed);
        let pools = 1 + usize::from(rng.chance(250));
        let disks_per_pool = 1 + rng.index(3);
        let no_abort = rng.chance(200);
        let persistent = rng.chance(700);
        let disks = pools * disks_per_pool;
        let drift = |rng: &mut Rng| rng.range(0, 2000) as i64 - 1000;
        let machines =
            [HeadId::First, HeadId::Second].map(|id| Machine::new(id, disks, drift(&mut rng)));
        let homes = (0..pools)
            .map(|_| rng.pick(&[HeadId::First, HeadId::Second]))
            .collect();
        let has_ledgers = rng.chance(700);
        let copies: Vec<Vec<usize>> = (0..pools)
            .map(|pool| {
                let most = match has_ledgers {
                    true => disks_per_pool.min(COPIES_MAX),
                    false => 0,
                };
                let count = rng.index(COPIES_MAX + 1).min(most);
                let mut disks: Vec<usize> =
                    (pool * disks_per_pool..(pool + 1) * disks_per_pool).collect();
                while disks.len() > count {
                    let surplus = rng.index(disks.len());
                    disks.remove(surplus);
                }
                disks
            })
            .collect();
        let elder = rng.chance(150).then(|| rng.index(2));
        let mut world = World {
            now: SECOND,
            quiet: 0,
            queue: BinaryHeap::new(),
            order: 0,
            ids: 10,
            // Nor this.
            timing: Timing::of(match seed % DEADS {
                7 => Duration::from_millis(300),
                9 => Duration::from_millis(2500),
                10 => Duration::from_secs(20),
                _ => Timing::default().dead,
            }),
            cluster: ClusterId::from_name("sim"),
            machines,
            homes,
            disks: (0..disks)
                .map(|_| Disk::new(no_abort, persistent))
                .collect(),
            disks_per_pool,
            copies,
            // Not by the dice: what other seeds do stays the same.
            bare: vec![seed % 8 == 5; pools],
            plain: seed % 8 == PLAIN,
            lies: seed % 8 == LIES,
            crossed: seed % 8 == CROSSED,
            hangs: seed % 8 == HANGS,
            leases: 0,
            lease_takeovers: 0,
            buffered: seed % 8 == 3,
            made: 0,
            carrier: [true; 2],
            elder,
            paths: Default::default(),
            clients: (0..pools).map(|_| Client::default()).collect(),
            watch_resets: seed.is_multiple_of(2),
            renews_sessions: rng.chance(400),
            flaky: if rng.chance(300) { 20 } else { 0 },
            checks: Checks::new(pools),
            director: Director::new(pools, &mut rng),
            outages: Outages::new(pools),
            resets: 0,
            changes: Changes::new(),
            tracing: tracing.then(VecDeque::new),
            rng,
        };
        if world.plain {
            world.have_leases();
        }
        for &disk in world.copies.iter().flatten() {
            world.disks[disk].region = Some(Box::new(Region::new()));
        }
        for who in [0, 1] {
            for nexus in &mut world.machines[who].nexus {
                *nexus = who as Nexus + 1;
            }
            let off = world.rng.range(0, 30 * SECOND);
            world.crash(who, off);
        }
        for pool in 0..pools {
            world.at(world.now, Event::Client { pool });
            if world.bare[pool] {
                world.at(world.now, Event::Make { pool });
            }
        }
        world.at(world.now, Event::Direct);
        world
    }

    /// A ledger for each pool, and watchdogs; some head has none that could be relied on.
    fn have_leases(&mut self) {
        self.disks.iter_mut().for_each(|disk| disk.plain = true);
        for pool in 0..self.copies.len() {
            let first = self.disks_of(pool).start;
            if self.copies[pool].is_empty() {
                self.copies[pool].push(first);
            }
        }
        let unarmed = self.rng.chance(200).then(|| self.rng.index(2));
        for who in [0, 1] {
            let watchdog = Watchdog::new(unarmed != Some(who), &mut self.rng);
            self.machines[who].watchdog = Some(watchdog);
        }
    }

    /// Runs to the end, or to the first violation.
    pub fn run(&mut self) -> Result<(), String> {
        while !self.director.is_over() {
            let Some(Reverse(Entry(time, _, event))) = self.queue.pop() else {
                break;
            };
            if self.machines.iter().all(|machine| !machine.runs()) {
                self.quiet += time - self.now;
            }
            self.now = time;
            self.happen(event);
            if let Some(violation) = self.checks.violation.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    pub fn at(&mut self, time: Time, event: Event) {
        self.order += 1;
        self.queue
            .push(Reverse(Entry(time.max(self.now), self.order, event)));
    }

    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.tracing {
            if trace.len() == TRACE_MAX {
                trace.pop_front();
            }
            trace.push_back(format!("{:>12.6} {}", self.now as f64 / 1e6, line()));
        }
    }

    /// The disks of a pool, the arbiter first.
    pub fn disks_of(&self, pool: usize) -> Range<usize> {
        pool * self.disks_per_pool..(pool + 1) * self.disks_per_pool
    }

    fn happen(&mut self, event: Event) {
        if let Some((who, boot)) = event.needs() {
            let machine = &mut self.machines[who];
            if machine.boot != boot || machine.head.is_none() {
                return;
            }
            if !machine.runs() {
                machine.deferred.push(event);
                return;
            }
        }
        match event {
            Event::Wake { who, .. } => {
                let machine = &self.machines[who];
                if self.now >= machine.next_wake && machine.beats() {
                    self.run_head(who);
                }
            }
            Event::Boot { who, boot } => {
                if self.machines[who].head.is_none() && self.machines[who].next_boot == boot {
                    self.boot(who);
                }
            }
            Event::Resume { who, boot } => {
                if self.machines[who].boot == boot && self.machines[who].head.is_some() {
                    self.resume(who);
                }
            }
            Event::Watchdog { who, boot, since } => {
                let machine = &self.machines[who];
                if machine.boot == boot && machine.halt == Some((Halt::Stuck, since)) {
                    self.reset(who, "the watchdog was not fed");
                }
            }
            Event::Hungry { who, boot } => self.look_at_watchdog(who, boot),
            Event::Frame { to, link, frame } => self.deliver(to, link, frame),
            Event::Arrive(io) => self.arrive(io),
            Event::Land { id, io } => self.land(id, io),
            Event::Reply { io, answer } => match io.origin {
                Origin::Task { pool, id } => self.advance_task(io.who, pool, id, Some(answer)),
                Origin::Watch => {}
                Origin::Reader { .. } => self.ledger_read(io.who, io.origin, &answer),
                Origin::Writer { pool, copy } => {
                    self.ledger_written(io.who, pool, copy, &answer);
                }
                Origin::Client { pool } => {
                    if let Command::Write(write) = io.command {
                        self.client_answered(pool, write, &answer);
                    }
                }
            },
            Event::TaskPause { who, pool, id, .. } => self.advance_task(who, pool, id, None),
            Event::StageLimit {
                who, pool, serial, ..
            } => self.stage_limit(who, pool, serial),
            Event::KernelStep {
                who, pool, serial, ..
            } => self.kernel_stepped(who, pool, serial),
            Event::KernelFails {
                who,
                pool,
                serial,
                result,
                ..
            } => {
                self.kernel_fails(who, pool, serial, result);
            }
            Event::Look {
                who, pool, serial, ..
            } => self.look(who, pool, serial),
            Event::Read {
                who, pool, copy, ..
            } => self.read_ledger(who, pool, copy),
            Event::IdleLook { who, pool, .. } => self.idle_look(who, pool),
            Event::Health { who, .. } => self.look_at_health(who),
            Event::Part { fault, part } => self.part(fault, part),
            Event::Client { pool } => self.client(pool),
            Event::Gone { who, boot } => {
                let machine = &self.machines[who];
                if machine.boot == boot && machine.beats() {
                    self.checks.fail(format!("I1: {who} goes on after a gap"));
                }
            }
            Event::Make { pool } => self.order_to_make(pool),
            Event::Direct => self.direct(),
        }
    }
}
