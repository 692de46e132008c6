//! The world: true time, the queue of what happens next, and what happens between heads and disks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use orthrus_hb::{ClusterId, Done, Failure, HeadId, Key, LinkId};

use crate::check::Checks;
use crate::client::Client;
use crate::clock::{MS, SECOND, Time};
use crate::faults::Director;
use crate::machine::{Halt, Machine};
use crate::network::Path;
use crate::rng::Rng;
use crate::shelf::{Accepted, Answer, Command, Content, Disk, LIFETIME, Nexus, Write};

/// Lines of a trace that are kept.
const TRACE_MAX: usize = 4000;

/// A command on its way to a disk, or its answer on the way back.
#[derive(Clone, Debug)]
pub struct Io {
    pub who: usize,
    pub boot: u32,
    pub nexus: Nexus,
    pub disk: usize,
    pub command: Command,
    pub origin: Origin,
}

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    Task { pool: usize, id: u64 },
    Watch,
    Client { pool: usize },
}

pub enum Event {
    Wake {
        who: usize,
        boot: u32,
    },
    Boot {
        who: usize,
        boot: u32,
    },
    Resume {
        who: usize,
        boot: u32,
    },
    Watchdog {
        who: usize,
        boot: u32,
        since: Time,
    },
    Frame {
        to: usize,
        link: LinkId,
        bytes: Box<[u8]>,
    },
    /// A command reaches its disk.
    Arrive(Box<Io>),
    /// An accepted write reaches the medium.
    Land {
        id: u64,
        io: Box<Io>,
    },
    Reply {
        io: Box<Io>,
        answer: Answer,
    },
    TaskPause {
        who: usize,
        boot: u32,
        pool: usize,
        id: u64,
    },
    StageLimit {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
    },
    KernelStep {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
    },
    KernelFails {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
        result: Result<Done, Failure>,
    },
    Look {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
    },
    Client {
        pool: usize,
    },
    /// A head that was halted too long must have ended.
    Gone {
        who: usize,
        boot: u32,
    },
    /// The second of two faults; the number of the first.
    Second {
        first: u64,
    },
    /// The director looks whether to break or mend something, and the slow checks are made.
    Direct,
}

impl Event {
    /// Which boot of which head it is for, if it needs that head's kernel to run.
    fn needs(&self) -> Option<(usize, u32)> {
        match *self {
            Event::Wake { who, boot }
            | Event::TaskPause { who, boot, .. }
            | Event::StageLimit { who, boot, .. }
            | Event::KernelStep { who, boot, .. }
            | Event::KernelFails { who, boot, .. }
            | Event::Look { who, boot, .. } => Some((who, boot)),
            Event::Reply { ref io, .. } => Some((io.who, io.boot)),
            _ => None,
        }
    }
}

struct Entry(Time, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub struct World {
    pub now: Time,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    /// Source of numbers that are never used twice.
    pub ids: u64,
    pub rng: Rng,
    pub cluster: ClusterId,
    pub machines: [Machine; 2],
    pub homes: Vec<HeadId>,
    pub disks: Vec<Disk>,
    disks_per_pool: usize,
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
    pub resets: u64,
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
        let mut world = World {
            now: SECOND,
            queue: BinaryHeap::new(),
            order: 0,
            ids: 10,
            cluster: ClusterId::from_name("sim"),
            machines,
            homes,
            disks: (0..disks)
                .map(|_| Disk::new(no_abort, persistent))
                .collect(),
            disks_per_pool,
            paths: Default::default(),
            clients: (0..pools).map(|_| Client::default()).collect(),
            watch_resets: seed.is_multiple_of(2),
            renews_sessions: rng.chance(400),
            flaky: if rng.chance(300) { 20 } else { 0 },
            checks: Checks::new(pools),
            director: Director::new(pools, &mut rng),
            resets: 0,
            tracing: tracing.then(VecDeque::new),
            rng,
        };
        for who in [0, 1] {
            for nexus in &mut world.machines[who].nexus {
                *nexus = who as Nexus + 1;
            }
            let off = world.rng.range(0, 30 * SECOND);
            world.crash(who, off);
        }
        for pool in 0..pools {
            world.at(world.now, Event::Client { pool });
        }
        world.at(world.now, Event::Direct);
        world
    }

    /// Runs to the end, or to the first violation.
    pub fn run(&mut self) -> Result<(), String> {
        while !self.director.is_over() {
            let Some(Reverse(Entry(time, _, event))) = self.queue.pop() else {
                break;
            };
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
            Event::Frame { to, link, bytes } => self.deliver(to, link, bytes),
            Event::Arrive(io) => self.arrive(io),
            Event::Land { id, io } => self.land(id, io),
            Event::Reply { io, answer } => match io.origin {
                Origin::Task { pool, id } => self.advance_task(io.who, pool, id, Some(answer)),
                Origin::Watch => {}
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
            Event::Client { pool } => self.client(pool),
            Event::Gone { who, boot } => {
                let machine = &self.machines[who];
                if machine.boot == boot && machine.beats() {
                    self.checks.fail(format!("I1: {who} goes on after a gap"));
                }
            }
            Event::Second { first } => self.second(first),
            Event::Direct => self.direct(),
        }
    }

    /// A head sends a command to a disk.
    pub fn submit(&mut self, who: usize, disk: usize, command: Command, origin: Origin) {
        let machine = &self.machines[who];
        let (boot, nexus) = (machine.boot, machine.nexus[disk]);
        let io = Box::new(Io {
            who,
            boot,
            nexus,
            disk,
            command,
            origin,
        });
        let wire = self.rng.range(30, 300) + self.slowness(disk);
        self.at(self.now + wire, Event::Arrive(io));
    }

    fn slowness(&mut self, disk: usize) -> Time {
        match self.disks[disk].slow {
            0 => 0,
            most => self.rng.below(most),
        }
    }

    fn reply(&mut self, io: Box<Io>, answer: Answer) {
        let wire = self.rng.range(30, 300);
        self.at(self.now + wire, Event::Reply { io, answer });
    }

    fn arrive(&mut self, io: Box<Io>) {
        let disk = &self.disks[io.disk];
        // The session that sent it is gone, and with it the command.
        if self.machines[io.who].boot != io.boot {
            return;
        }
        if self.machines[io.who].nexus[io.disk] != io.nexus || !disk.answers(io.who) {
            let after = self.rng.range(MS, SECOND);
            self.at(
                self.now + after,
                Event::Reply {
                    io,
                    answer: Answer::Failed,
                },
            );
            return;
        }
        let silent_until = disk.silent_until[io.who];
        if silent_until > self.now {
            // It waits in the head's own adapter, and ends with it.
            if self.machines[io.who].head.is_none() {
                return;
            }
            // Looked at again and again, since the silence may be mended before its time.
            let next = silent_until.min(self.now + 50 * MS);
            return self.at(next, Event::Arrive(io));
        }
        let reads = matches!(io.command, Command::Read);
        let writes = matches!(io.command, Command::Write(_));
        if !reads && self.rng.chance(self.flaky) {
            // A unit attention, or a command that was lost: no effect.
            return self.reply(io, Answer::Failed);
        }
        let answer = self.execute(&io);
        match answer {
            Some(_) if !reads && !writes && self.rng.chance(self.flaky) => {
                // Carried out, retried by the kernel, and answered by what the retry met.
                let answer = self.rng.pick(&[0, 1]);
                let answer = [Answer::Conflict, Answer::Failed][answer].clone();
                self.reply(io, answer);
            }
            Some(answer) => self.reply(io, answer),
            None => {}
        }
    }

    /// Carries out a command at its disk. `None`: a write that was accepted and will land.
    pub fn execute(&mut self, io: &Io) -> Option<Answer> {
        let (now, disk) = (self.now, io.disk);
        let pool = disk / self.disks_per_pool;
        match io.command {
            Command::Write(write) => {
                if !self.disks[disk].may_write(io.nexus) {
                    return Some(Answer::Conflict);
                }
                self.ids += 1;
                let (id, nexus) = (self.ids, io.nexus);
                self.disks[disk]
                    .accepted
                    .push(Accepted { id, nexus, write });
                let data = matches!(write.content, Content::Data { .. });
                // Most are quick; a few clients' meet the disk's own error recovery.
                let service = match data && self.rng.chance(3) {
                    true => self.rng.below(LIFETIME - SECOND),
                    false => {
                        self.rng.range(50, 3 * MS) + self.rng.below(self.disks[disk].lingers.max(1))
                    }
                };
                self.at(
                    now + service,
                    Event::Land {
                        id,
                        io: Box::new(io.clone()),
                    },
                );
                None
            }
            Command::Preempt {
                own,
                victim,
                authority,
                ..
            } => {
                let there = self.disks[disk].has_key(victim);
                let answer = self.disks[disk].execute(io.nexus, &io.command);
                if there && !self.disks[disk].has_key(victim) {
                    self.trace(|| {
                        format!(
                            "{} disk {disk}: {own:x} removes {victim:x}: {:?}",
                            io.who, io.command
                        )
                    });
                    let cluster = self.cluster;
                    let keys = (own, victim);
                    self.checks
                        .preempted(pool, keys, authority, cluster, &self.machines);
                }
                Some(answer)
            }
            Command::Register { .. } | Command::Reserve(_) | Command::Release(_) => {
                let answer = self.disks[disk].execute(io.nexus, &io.command);
                self.trace(|| format!("{} disk {disk}: {:x?}: {answer:?}", io.who, io.command));
                Some(answer)
            }
            Command::Read => Some(self.disks[disk].execute(io.nexus, &io.command)),
        }
    }

    fn land(&mut self, id: u64, io: Box<Io>) {
        let accepted = &mut self.disks[io.disk].accepted;
        let Some(place) = accepted.iter().position(|task| task.id == id) else {
            // Aborted, or lost with the power: the initiator finds out in time.
            self.at(
                self.now + SECOND,
                Event::Reply {
                    io,
                    answer: Answer::Failed,
                },
            );
            return;
        };
        let write = accepted.remove(place).write;
        self.landed(io.disk, write);
        self.reply(io, Answer::Good);
    }

    fn landed(&mut self, disk: usize, write: Write) {
        let pool = disk / self.disks_per_pool;
        let forgotten = self.checks.held[pool].is_some_and(|held| {
            let (cluster, epoch) = (self.cluster, held.epoch);
            let head = self.machines[held.who].id;
            !self.disks[disk].has_key(
                Key {
                    cluster,
                    head,
                    epoch,
                }
                .to_bits(),
            )
        });
        self.checks.landed(pool, &write, forgotten);
        match write.content {
            Content::Proof => {}
            Content::Stamp => self.disks[disk].stamp = write.epoch,
            Content::Data { block, version } => {
                let block = &mut self.clients[pool].blocks[block];
                block.medium = version;
                self.checks.promised(block);
            }
        }
    }
}
