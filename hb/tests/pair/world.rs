//! Two heads, two cables and one disk in virtual time.
//!
//! The disk knows one registrant at a time, which is all that a pool of one member needs: what is
//! under test here are the decisions. Work takes as long as a test says.

use std::collections::VecDeque;

use embassy_time::{Duration, Instant};
use orthrus_hb::{
    Accepted, Action, ClusterId, Command, Config, Done, Epoch, Event, FRAME_MAX_BYTES, Failure,
    Head, HeadId, Health, Holder, Incarnation, Job, LinkId, MAX_POOLS, Outcome, PoolConfig, PoolId,
    PoolState, Refusal, ResetReason, Rest, Sight, Timing, Work,
    ledger::{Lease, Record},
    wire::{self, Body},
};

pub const A: usize = 0;
pub const B: usize = 1;
pub const TANK: PoolId = PoolId(0);
pub const SECOND: PoolId = PoolId(1);
const SECRET: [u8; 32] = [3; 32];
const STEP: Duration = Duration::from_millis(10);
/// How often a head reads the ledger.
const LOOK: Duration = Duration::from_millis(100);
const IDS: [HeadId; 2] = [HeadId::First, HeadId::Second];

/// Who has registered and reserved the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registrant {
    Nobody,
    Head(usize, Epoch),
    Stranger,
}

pub struct Machine {
    pub head: Option<Head>,
    /// Its clock stands still and nothing of it runs.
    pub frozen: bool,
    /// Nothing of it runs, but its clock goes on.
    pub paused: bool,
    pub resets: Vec<ResetReason>,
    pub events: Vec<Event>,
    /// Its next import fails.
    pub import_fails: bool,
    /// All of them do, at something that no look at the disks tries.
    pub imports_never_work: bool,
    jobs: VecDeque<(Instant, Job)>,
    inbox: VecDeque<(Instant, LinkId, Vec<u8>)>,
    lost_time: Duration,
    boots: u8,
}

pub struct World {
    pub now: Instant,
    pub machines: [Machine; 2],
    pub disk: Registrant,
    /// `cut[from][link]`: what this head sends there is lost.
    pub cut: [[bool; 2]; 2],
    /// Every frame that was sent, for replays.
    pub recorded: Vec<(usize, LinkId, Vec<u8>)>,
    pub work_time: Duration,
    /// By link: how long a frame is under way.
    pub latency: [Duration; 2],
    pub timing: Timing,
    /// Claims that preempted somebody.
    /// Who was told to claim, and to let go, and whether of its peer nothing could be under way.
    pub told_to_claim: Vec<(usize, bool)>,
    pub let_go: Vec<(usize, bool)>,
    pub preempted: Vec<(usize, Epoch)>,
    /// The head that the pools prefer, from the next boot on.
    pub home: HeadId,
    /// Digests of the heads' configurations, from their next boot on.
    pub digests: [u32; 2],
    /// The pool does not exist yet: there are only disks.
    pub is_bare: bool,
    /// Pools after it, whose disks nobody can reach: beats tell of them, too.
    pub more_pools: usize,
    /// But for the disk of the first of them, if there is one.
    pub second_disk: Option<Registrant>,
    /// By head, link and pool: the epoch that this boot told last.
    said: [[[Epoch; MAX_POOLS]; 2]; 2],
    /// Each head makes it of disks of its own, so that no arbiter decides.
    pub apart: bool,
    /// By whom it was made, each time.
    pub made: Vec<usize>,
    /// The disk has no reservations: claims are leases.
    pub lease: Option<Lease>,
    /// By head: what it writes to the ledger does not get there.
    pub writes_lost: [bool; 2],
    /// The pool has a ledger.
    pub has_ledger: bool,
    /// By head: its reads of the ledger do not complete.
    pub blind: [bool; 2],
    /// By head: its newest record on the disk.
    pub records: [Option<Record>; 2],
    /// By head: it cannot reach the disk.
    pub unreachable: [bool; 2],
    /// By head: nobody reads its reservations back.
    pub unwatched: [bool; 2],
    /// By head: its releases never end.
    pub release_hangs: [bool; 2],
    /// By head: what of it is broken, through its boots.
    broken: [Health; 2],
    next_look: [Instant; 2],
    /// By head: it feeds its watchdog.
    pub feeds: [bool; 2],
}

impl Machine {
    fn arrives(&mut self, there: Instant, link: LinkId, bytes: Vec<u8>) {
        let at = self.inbox.partition_point(|frame| frame.0 <= there);
        self.inbox.insert(at, (there, link, bytes));
    }
}

impl World {
    /// Both heads off, nothing reserved, home is A.
    pub fn new() -> World {
        let machine = || Machine {
            head: None,
            frozen: false,
            paused: false,
            resets: Vec::new(),
            events: Vec::new(),
            import_fails: false,
            imports_never_work: false,
            jobs: VecDeque::new(),
            inbox: VecDeque::new(),
            lost_time: Duration::from_ticks(0),
            boots: 0,
        };
        World {
            now: Instant::from_secs(1000),
            machines: [machine(), machine()],
            disk: Registrant::Nobody,
            cut: [[false; 2]; 2],
            recorded: Vec::new(),
            work_time: Duration::from_millis(200),
            latency: [Duration::from_ticks(0); 2],
            timing: Timing::default(),
            told_to_claim: Vec::new(),
            let_go: Vec::new(),
            preempted: Vec::new(),
            home: HeadId::First,
            digests: [1; 2],
            is_bare: false,
            more_pools: 0,
            second_disk: None,
            said: Default::default(),
            apart: false,
            made: Vec::new(),
            lease: None,
            writes_lost: [false; 2],
            has_ledger: false,
            blind: [false; 2],
            records: [None; 2],
            unreachable: [false; 2],
            unwatched: [false; 2],
            release_hangs: [false; 2],
            broken: [Health::default(); 2],
            next_look: [Instant::from_secs(0); 2],
            feeds: [true; 2],
        }
    }

    /// The same with a ledger.
    pub fn serving_with_ledger() -> World {
        let mut world = World::new();
        world.has_ledger = true;
        world.boot(A);
        world.boot(B);
        world.until("a serves", |w| w.state(A) == PoolState::Serving);
        world.run(Duration::from_secs(2));
        world
    }

    /// Both booted, A serving, B standby.
    pub fn serving() -> World {
        let mut world = World::new();
        world.boot(A);
        world.boot(B);
        world.until("a serves", |w| w.state(A) == PoolState::Serving);
        world
    }

    pub fn boot(&mut self, who: usize) {
        self.said[who] = Default::default();
        let machine = &mut self.machines[who];
        machine.boots += 1;
        machine.jobs.clear();
        machine.inbox.clear();
        machine.paused = false;
        machine.frozen = false;
        machine.lost_time = Duration::from_ticks(0);
        let config = Config {
            cluster: ClusterId::from_name("test"),
            me: IDS[who],
            secret: SECRET,
            digest: self.digests[who],
            timing: self.timing,
            pools: std::iter::repeat_n(self.home, 1 + self.more_pools)
                .map(|home| PoolConfig { home })
                .collect(),
        };
        let incarnation = Incarnation([who as u8 + 1, machine.boots, 0, 0, 0, 0, 0, 9]);
        let mut head = Head::new(config, incarnation, self.now);
        head.handle_health(TANK, self.broken[who], self.now);
        if !self.has_ledger {
            head.handle_no_ledger(TANK, self.now);
        }
        for pool in 1..=self.more_pools {
            head.handle_no_ledger(PoolId(pool as u8), self.now);
        }
        machine.head = Some(head);
    }

    pub fn crash(&mut self, who: usize) {
        self.machines[who].head = None;
    }

    pub fn cut_cables(&mut self) {
        self.cut = [[true; 2]; 2];
    }

    pub fn head(&self, who: usize) -> &Head {
        self.machines[who].head.as_ref().expect("head is up")
    }

    pub fn state(&self, who: usize) -> PoolState {
        self.head(who).pools()[0].state()
    }

    pub fn command(&mut self, who: usize, command: Command) -> Result<Accepted, Refusal> {
        let now = self.clock(who);
        self.machines[who]
            .head
            .as_mut()
            .expect("head is up")
            .handle_command(command, now)
    }

    pub fn health(&mut self, who: usize, health: Health) {
        self.broken[who] = health;
        let now = self.clock(who);
        let head = self.machines[who].head.as_mut().expect("head is up");
        head.handle_health(TANK, health, now);
    }

    pub fn rest(&self, who: usize) -> Option<Rest> {
        self.head(who).pools()[0].rest()
    }

    /// Plays a recorded frame to a head.
    pub fn replay(&mut self, to: usize, link: LinkId, bytes: &[u8]) {
        self.machines[to].arrives(self.now, link, bytes.to_vec());
    }

    /// Runs until a condition holds. Two minutes of virtual time are more than any rule waits.
    pub fn until(&mut self, what: &str, condition: impl Fn(&World) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while !condition(self) {
            assert!(self.now < end, "never: {what}");
            self.step();
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn clock(&self, who: usize) -> Instant {
        self.now - self.machines[who].lost_time
    }

    fn step(&mut self) {
        self.now += STEP;
        for who in [A, B] {
            let machine = &mut self.machines[who];
            if machine.frozen {
                machine.lost_time += STEP;
            }
            if machine.head.is_some() && !machine.frozen && !machine.paused {
                self.run_head(who);
            }
        }
        let holders = [A, B].map(|who| {
            self.machines[who].head.is_some()
                && self.state(who) == PoolState::Serving
                && !self.machines[who].paused
                && !self.machines[who].frozen
        });
        assert_ne!(holders, [true, true], "two heads serve");
    }

    fn run_head(&mut self, who: usize) {
        let now = self.clock(who);
        let machine = &mut self.machines[who];
        let Some(head) = machine.head.as_mut() else {
            return;
        };
        let here = |frame: &(Instant, LinkId, Vec<u8>)| frame.0 <= self.now;
        while machine.inbox.front().is_some_and(here)
            && let Some((_, link, bytes)) = machine.inbox.pop_front()
        {
            let _ = head.handle_frame(link, &bytes, now);
        }
        if !self.unwatched[who]
            && let Some(epoch) = lost(who, head, self.disk)
        {
            head.handle_fence_lost(TANK, epoch, now);
        }
        if self.has_ledger && !self.blind[who] && self.now >= self.next_look[who] {
            self.next_look[who] = self.now + LOOK;
            let peer = self.records[1 - who];
            head.handle_ledger(TANK, &Sight { peer, begun: now }, now);
        }
        if now >= head.poll_timeout() {
            head.handle_timeout(now);
        }
        while machine.jobs.front().is_some_and(|(done, _)| *done <= now) {
            let (_, job) = machine.jobs.pop_front().unwrap();
            if matches!(job.work, Work::Release) && self.release_hangs[who] {
                continue;
            }
            match job.work {
                Work::Claim { .. } => self.told_to_claim.push((who, job.peer_is_done)),
                Work::Release => self.let_go.push((who, job.peer_is_done)),
                _ => {}
            }
            let mut always = machine.imports_never_work;
            let fails = match always {
                true => &mut always,
                false => &mut machine.import_fails,
            };
            let mut result = match (job.work, self.is_bare) {
                _ if self.unreachable[who] => Err(Failure::Device),
                _ if job.pool != TANK => match self.second_disk.as_mut() {
                    Some(disk) if job.pool == SECOND => {
                        perform(who, job, disk, &mut false, &mut self.preempted)
                    }
                    _ => Err(Failure::Device),
                },
                (Work::Make, _) if self.apart => {
                    self.disk = Registrant::Head(who, job.epoch);
                    Ok(Done::Claimed)
                }
                // What is not there is not found, and what is there is not made again.
                (Work::Survey | Work::Claim { .. }, true) | (Work::Inspect | Work::Make, false) => {
                    Err(Failure::Refused)
                }
                _ => perform(who, job, &mut self.disk, fails, &mut self.preempted),
            };
            if job.work == Work::Destroy && result == Ok(Done::Released) {
                self.is_bare = true;
            }
            if job.work == Work::Make && result == Ok(Done::Claimed) {
                self.is_bare = false;
                self.made.push(who);
            }
            if let Ok(Done::Surveyed { greatest, .. }) = &mut result {
                // The epochs of all records count, this head's own too.
                let records = self.records.iter().flatten().map(|record| record.epoch);
                *greatest = records.max().unwrap_or(Epoch::NONE).max(*greatest);
            }
            if let (Ok(Done::Claimed), Some(lease)) = (result, self.lease) {
                let submitted = now;
                result = Ok(Done::Leased { lease, submitted });
            }
            let Job {
                pool,
                ticket,
                epoch,
                ..
            } = job;
            head.handle_outcome(
                &Outcome {
                    pool,
                    ticket,
                    epoch,
                    result,
                },
                now,
            );
        }
        let mut jobs = Vec::new();
        while let Some(action) = head.poll_action() {
            match action {
                Action::Run(job) => jobs.push(job),
                Action::Reset(reason) => {
                    machine.resets.push(reason);
                    self.boot(who);
                    return;
                }
            }
        }
        if let Some(record) = head.poll_record(TANK, now)
            && self.disk == Registrant::Head(who, record.epoch)
            && !self.writes_lost[who]
        {
            self.records[who] = Some(record);
            head.handle_recorded(TANK, record.sequence, now);
        }
        self.feeds[who] = head.may_feed_watchdog(now);
        while let Some(event) = head.poll_event() {
            machine.events.push(event);
        }
        let mut sent = Vec::new();
        for link in LinkId::ALL {
            let mut buffer = [0; FRAME_MAX_BYTES];
            while let Some(length) = head.poll_transmit(link, now, &mut buffer) {
                sent.push((link, buffer[..length].to_vec()));
            }
        }
        for (link, bytes) in sent {
            let frame = wire::decode(&bytes, link, &SECRET).expect("a frame of its own");
            if let Body::Beat { pools, .. } = frame.body {
                for beat in pools {
                    self.said[who][link.index()][usize::from(beat.pool)] = beat.epoch;
                }
            }
            self.recorded.push((who, link, bytes.clone()));
            if !self.cut[who][link.index()] && self.machines[1 - who].head.is_some() {
                let there = self.now + self.latency[link.index()];
                self.machines[1 - who].arrives(there, link, bytes);
            }
        }
        for job in jobs {
            if matches!(job.work, Work::Claim { .. } | Work::Make) {
                let said = self.said[who].map(|pools| pools[job.pool.index()]);
                let Job { pool, epoch, .. } = job;
                assert_eq!(
                    said, [epoch; 2],
                    "{who} tells of its claim of {pool:?} first"
                );
            }
            let done = now + self.work_time;
            self.machines[who].jobs.push_back((done, job));
        }
    }
}

/// What a watcher would report: the epoch that this head serves under and does not hold any more.
fn lost(who: usize, head: &Head, disk: Registrant) -> Option<Epoch> {
    let pool = &head.pools()[0];
    let holds = matches!(pool.state(), PoolState::Importing | PoolState::Serving);
    (holds && disk != Registrant::Head(who, pool.epoch())).then(|| pool.epoch())
}

fn perform(
    who: usize,
    job: Job,
    disk: &mut Registrant,
    import_fails: &mut bool,
    preempted: &mut Vec<(usize, Epoch)>,
) -> Result<Done, Failure> {
    match (job.work, *disk) {
        (Work::Survey | Work::Inspect, Registrant::Nobody) => Ok(Done::Surveyed {
            greatest: Epoch::NONE,
            holder: Holder::Nobody,
        }),
        (Work::Survey | Work::Inspect, Registrant::Head(owner, epoch)) => {
            let holder = if owner == who {
                Holder::Nobody
            } else {
                Holder::Peer(epoch)
            };
            Ok(Done::Surveyed {
                greatest: epoch,
                holder,
            })
        }
        (Work::Survey | Work::Inspect, Registrant::Stranger) => Ok(Done::Surveyed {
            greatest: Epoch::NONE,
            holder: Holder::Stranger,
        }),
        (Work::Claim { authority, covers }, Registrant::Head(owner, epoch)) if owner != who => {
            if !authority.covers_peer() || epoch > covers || epoch >= job.epoch {
                return Err(Failure::HeldByPeer(epoch));
            }
            preempted.push((owner, epoch));
            *disk = Registrant::Head(who, job.epoch);
            Ok(Done::Claimed)
        }
        (Work::Make, Registrant::Head(owner, epoch)) if owner != who => {
            Err(Failure::HeldByPeer(epoch))
        }
        (Work::Claim { .. } | Work::Make, Registrant::Stranger) => Err(Failure::Stranger),
        (Work::Claim { .. } | Work::Make, _) => {
            *disk = Registrant::Head(who, job.epoch);
            Ok(Done::Claimed)
        }
        (Work::Import, _) if std::mem::take(import_fails) => Err(Failure::Device),
        (Work::Import, _) => Ok(Done::Imported),
        (Work::Release | Work::Destroy, _) => {
            if *disk == Registrant::Head(who, job.epoch) {
                *disk = Registrant::Nobody;
            }
            Ok(Done::Released)
        }
    }
}
