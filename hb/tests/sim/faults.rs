//! What is done to the world, and when.
//!
//! A run has one of two manners:
//! - *calm*: one fault at a time. Each begins when all is well, stays for a while, and is mended;
//!   then all must be well again within [`BUDGET`] (I3), after one takeover a pool at most (I4).
//! - *storm*: faults overlap as they come. Safety is checked throughout; when the storm is over and
//!   everything is mended, all must be well within [`BUDGET`] and stay so.

use orthrus_hb::{Command, HeadId, LinkId, Liveness, PoolId, PoolState, Rest};

use crate::clock::{MS, SECOND, Time};
use crate::machine::Halt;
use crate::rng::Rng;
use crate::shelf::{LIFETIME, Nexus};
use crate::worker::{Stage, Trouble};
use crate::world::{Event, World};

/// From the mending of the last fault to service: a boot, its waits, an import that was slow when it
/// began, an import or release that hangs up to its limit, one more boot, the longest pause between
/// attempts.
pub const BUDGET: Time = 240 * SECOND;
/// How long a pool may go unserved, while a fault stands, although a healthy head sees its disks.
const PATIENCE: Time = 150 * SECOND;
/// How long faults go on in one run.
const STORM: Time = 1200 * SECOND;
/// How often the director looks.
const LOOK: Time = 250 * MS;
/// How long all must be well to count.
const WELL: Time = 3 * SECOND;
/// How long all must stay well at the end.
const STAY: Time = 30 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Calm,
    Storm,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// All is mended and must become well by `until`.
    Mended {
        until: Time,
    },
    /// All is well since.
    Well {
        since: Time,
        until: Time,
    },
    /// A fault stands.
    Fault {
        until: Time,
    },
    Over,
}

pub struct Director {
    pub manner: Manner,
    phase: Phase,
    /// No new faults after this.
    until: Time,
    /// Storm: when the next fault comes.
    next: Time,
    /// Storm: mean time between faults.
    mean: Time,
    /// Takeovers, by pool, when the fault began.
    takeovers: Vec<u32>,
    /// The same, by the head that lost a pool.
    fenced: [u32; 2],
    /// Heads that may lose a pool by the fault that stands.
    blamed: [bool; 2],
    /// No second fault with this one.
    alone: bool,
    /// How many faults strike together.
    together: u32,
    /// How long the fault stands at least.
    stay: Time,
    /// How long a pool may go unserved now.
    patience: Time,
    /// Since when a healthy head could serve a pool that is not served.
    unserved: Vec<Option<Time>>,
    pub faults: u64,
    last: String,
}

impl Director {
    pub fn new(pools: usize, rng: &mut Rng) -> Director {
        let manner = rng.pick(&[Manner::Calm, Manner::Storm]);
        Director {
            manner,
            phase: Phase::Mended { until: BUDGET },
            until: STORM,
            next: rng.range(0, 60 * SECOND),
            mean: rng.pick(&[3, 8, 20, 40]) * SECOND,
            takeovers: Vec::new(),
            fenced: [0; 2],
            blamed: [true; 2],
            alone: false,
            together: 1,
            stay: 0,
            patience: PATIENCE,
            unserved: vec![None; pools],
            faults: 0,
            last: String::new(),
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }
}

impl World {
    pub fn direct(&mut self) {
        self.at(self.now + LOOK, Event::Direct);
        self.slow_checks();
        let now = self.now;
        let storms = self.director.manner == Manner::Storm && now < self.director.until;
        if storms {
            if now >= self.director.next {
                let mean = self.director.mean;
                self.director.next = now + self.rng.range(MS, 2 * mean);
                self.inject();
            }
            if now + LOOK >= self.director.until {
                self.mend();
                self.director.phase = Phase::Mended {
                    until: now + BUDGET,
                };
            }
            return;
        }
        let problem = self.problem();
        match (self.director.phase, problem) {
            (Phase::Mended { until }, Some(problem)) if now > until => {
                let last = &self.director.last;
                self.checks.fail(format!(
                    "I3: not well {} s after {last}: {problem}",
                    BUDGET / SECOND
                ));
            }
            (Phase::Mended { .. }, Some(_)) => {}
            (Phase::Mended { until }, None) => {
                self.director.phase = Phase::Well { since: now, until };
            }
            // A fault of half a second may show only now.
            (Phase::Well { since, until }, Some(_)) if now < since + WELL => {
                self.director.phase = Phase::Mended { until };
            }
            (Phase::Well { .. }, Some(problem)) => {
                self.checks
                    .fail(format!("I3: did not stay well: {problem}"));
            }
            (Phase::Well { since, .. }, None) => self.well(since),
            (Phase::Fault { until }, _) if now >= until => {
                self.mend();
                self.director.phase = Phase::Mended {
                    until: now + BUDGET,
                };
            }
            (Phase::Fault { .. } | Phase::Over, _) => {}
        }
    }

    fn well(&mut self, since: Time) {
        let (now, over) = (self.now, self.now >= self.director.until);
        if over && now >= since + STAY {
            for client in &self.clients {
                if client.last_acknowledged + 10 * SECOND < now {
                    self.checks
                        .fail("I3: the client waits although all is well".to_owned());
                }
            }
            self.director.phase = Phase::Over;
        }
        if over || now < since + WELL {
            return;
        }
        if self.director.manner == Manner::Calm {
            let taken = &self.checks.takeovers;
            let before = &self.director.takeovers;
            if let Some(pool) =
                (0..before.len()).find(|&pool| taken[pool] > before[pool] + self.director.together)
            {
                let (n, last) = (taken[pool] - before[pool], &self.director.last);
                self.checks
                    .fail(format!("I4: {n} takeovers of pool {pool} after {last}"));
            }
        }
        let calm = self.director.manner == Manner::Calm;
        for who in [0, 1] {
            let lost = self.checks.fenced[who] > self.director.fenced[who];
            if calm && lost && !self.director.blamed[who] {
                let last = &self.director.last;
                self.checks
                    .fail(format!("I4: {who} lost a pool after {last}"));
            }
        }
        self.director.takeovers = self.checks.takeovers.clone();
        self.director.fenced = self.checks.fenced;
        self.director.blamed = [true; 2];
        self.director.patience = PATIENCE;
        self.director.stay = 0;
        self.inject();
        let time = self
            .rng
            .pick(&[500 * MS, 3 * SECOND, 15 * SECOND, 60 * SECOND, 150 * SECOND]);
        let until = now + self.rng.range(0, time).max(self.director.stay);
        self.director.phase = Phase::Fault { until };
    }

    /// What keeps all from being well: both heads run and hear each other, each pool is served on one of
    /// them and the other stands by.
    fn problem(&self) -> Option<String> {
        for (who, machine) in self.machines.iter().enumerate() {
            let Some(head) = machine.head.as_ref().filter(|_| machine.beats()) else {
                return Some(format!("{who} does not run"));
            };
            if head.liveness() != Liveness::Alive {
                return Some(format!("{who} does not hear its peer"));
            }
        }
        for pool in 0..self.clients.len() {
            let states = [0, 1].map(|who| {
                let head = self.machines[who].head.as_ref().expect("it runs");
                (head.pools()[pool].state(), head.pools()[pool].rest())
            });
            let serving = (PoolState::Serving, None);
            let waiting = (PoolState::Standby, Some(Rest::PeerHolds));
            if states != [serving, waiting] && states != [waiting, serving] {
                return Some(format!("pool {pool}: {states:?}"));
            }
        }
        None
    }

    /// Why a pool that a healthy head could serve is not served, unless `status` has a listed reason.
    fn unserved(&self, pool: usize) -> Option<String> {
        let sees = |who: usize| {
            let mut disks = self.disks_of(pool);
            disks.all(|disk| {
                let disk = &self.disks[disk];
                disk.answers(who) && disk.silent_until[who] <= self.now && disk.slow == 0
            })
        };
        let healthy = |who: usize| {
            let machine = &self.machines[who];
            let troubled = machine.workers.get(pool).is_none_or(|worker| {
                worker.trouble.is_some() || matches!(worker.stage, Stage::Hung)
            });
            machine.beats() && sees(who) && !troubled && !machine.retiring
        };
        let state = |who: usize| {
            let head = self.machines[who].head.as_ref()?;
            Some((head.pools()[pool].state(), head.pools()[pool].rest()))
        };
        let able = [0, 1].into_iter().find(|&who| healthy(who))?;
        if [0, 1]
            .into_iter()
            .any(|who| self.machines[who].runs() && self.machines[who].workers[pool].exported)
        {
            return None;
        }
        match state(able)? {
            // Reasons of the closed list: the first ends with the peer's word, the second with `barred_dead`.
            (_, Some(Rest::HeldByUnheardPeer(_) | Rest::Barred)) => None,
            rest => Some(format!(
                "pool {pool}: {able} could serve it and is {rest:?}, its peer {:?}",
                state(1 - able)
            )),
        }
    }

    fn slow_checks(&mut self) {
        for pool in 0..self.clients.len() {
            let calm = self.director.manner == Manner::Calm;
            match self.unserved(pool).filter(|_| calm) {
                None => self.director.unserved[pool] = None,
                Some(problem) => {
                    let since = *self.director.unserved[pool].get_or_insert(self.now);
                    if self.now > since + self.director.patience {
                        let last = &self.director.last;
                        let patience = self.director.patience / SECOND;
                        self.checks
                            .fail(format!("I3: {patience} s after {last}: {problem}"));
                    }
                }
            }
        }
        for who in [0, 1] {
            for pool in 0..self.clients.len() {
                let machine = &self.machines[who];
                let Some(head) = machine.head.as_ref().filter(|_| machine.beats()) else {
                    self.checks.fence(who, pool, false, self.now);
                    continue;
                };
                let state = head.pools()[pool].state();
                let holds = matches!(state, PoolState::Importing | PoolState::Serving);
                let lost = holds
                    && machine.late < 200 * MS
                    && self.disks_of(pool).any(|disk| {
                        let state = &self.disks[disk];
                        let answers = state.answers(who) && state.silent_until[who] <= self.now;
                        answers && state.key_of(machine.nexus[disk]).is_none()
                    });
                self.checks.fence(who, pool, lost, self.now);
            }
            let machine = &self.machines[who];
            let rests = machine.head.as_ref().is_some_and(|head| head.is_at_rest());
            if machine.retiring && machine.beats() && rests {
                let off = self.rng.range(5 * SECOND, 60 * SECOND);
                self.trace(|| format!("{who} halts"));
                self.crash(who, off);
            }
            if self.rng.chance(20) {
                self.say(who);
            }
        }
    }

    fn inject(&mut self) {
        self.director.faults += 1;
        self.director.together = 1;
        self.director.alone = false;
        let mut fault = self.fault();
        if self.rng.chance(300) && !self.director.alone {
            let later = self.rng.pick(&[0, 1, 2]);
            if later > 0 {
                // Strikes while the first one is being dealt with.
                let after = self.rng.pick(&[20 * MS, 300 * MS, 1200 * MS, 20 * SECOND]);
                let at = self.now + self.rng.below(after);
                let first = self.director.faults;
                self.at(at, Event::Second { first });
                fault += " and, soon, another";
            } else {
                fault = format!("{fault} and {}", self.fault());
            }
            self.director.together += 1;
            self.director.blamed = [true; 2];
            self.director.patience = PATIENCE;
        }
        self.trace(|| format!("=== {fault}"));
        self.director.last = fault;
    }

    /// The second of two faults, unless all was mended meanwhile.
    pub fn second(&mut self, first: u64) {
        let same = self.director.faults == first;
        if !same || !matches!(self.director.phase, Phase::Fault { .. }) {
            return;
        }
        self.director.faults += 1;
        let (blamed, patience) = (self.director.blamed, self.director.patience);
        let fault = self.fault();
        self.director.blamed = blamed;
        self.director.patience = patience;
        self.trace(|| format!("=== {fault}"));
        let last = format!(" ({fault})");
        self.director.last += &last;
    }

    /// One fault. The shape of the code is the list of what can happen.
    fn fault(&mut self) -> String {
        let who = self.rng.index(2);
        let disk = self.rng.index(self.disks.len());
        let pool = self.rng.index(self.clients.len());
        let calm = self.director.manner == Manner::Calm;
        let time = self.rng.pick(&[
            300 * MS,
            900 * MS,
            1500 * MS,
            5 * SECOND,
            20 * SECOND,
            60 * SECOND,
        ]);
        let mut time = time + self.rng.below(time);
        if self.rng.chance(200) {
            time = 600 * SECOND;
        }
        match self.rng.below(20) {
            0 | 1 => {
                self.crash(who, time);
                self.director.blamed = [who == 0, who == 1];
                if time > 30 * SECOND {
                    self.hurry();
                }
                if self.rng.chance(300) {
                    self.replay(who);
                }
                format!("crash of {who} for {} ms", time / MS)
            }
            2 => {
                let shelf = self.rng.chance(500);
                for who in [0, 1] {
                    let off = time + self.rng.range(0, 30 * SECOND);
                    self.crash(who, off);
                }
                if shelf {
                    self.disks.iter_mut().for_each(|disk| disk.lose_power());
                    self.disks.iter_mut().for_each(|disk| disk.powered = true);
                }
                format!("power loss of both, and the shelf: {shelf}")
            }
            3 => {
                let disks = &mut self.disks;
                disks.iter_mut().for_each(|disk| disk.lose_power());
                if time < 2 * SECOND {
                    disks.iter_mut().for_each(|disk| disk.powered = true);
                }
                format!(
                    "power loss of the shelf, persistent: {}",
                    self.disks[0].persistent
                )
            }
            4 | 5 => {
                let halt = self.rng.pick(&[Halt::Paused, Halt::Frozen, Halt::Stuck]);
                self.halt(who, halt, time);
                self.director.blamed = [who == 0, who == 1];
                if time > 30 * SECOND && halt != Halt::Stuck {
                    self.hurry();
                }
                format!("{who} is {halt:?} for {} ms", time / MS)
            }
            6 | 7 => {
                let cut = self.rng.range(1, 16);
                for (bit, path) in self.paths.iter_mut().flatten().enumerate() {
                    path.cut = cut >> bit & 1 == 1;
                }
                // A head is taken for dead when nothing of it arrives.
                self.director.blamed = [cut & 3 == 3, cut & 12 == 12];
                format!("cut {cut:04b} of first serial, ether, second serial, ether")
            }
            8 => {
                self.paths
                    .iter_mut()
                    .flatten()
                    .for_each(|path| path.cut = true);
                "all cables are cut".to_owned()
            }
            9 | 10 => {
                let loss = self.rng.below(if calm { 300 } else { 950 });
                for path in self.paths.iter_mut().flatten() {
                    path.loss = loss;
                    path.duplicates = self.rng.below(300);
                    path.damage = self.rng.below(200);
                    path.delay = self.rng.below(if calm { 300 } else { 2000 }) * MS;
                }
                self.director.blamed = [false; 2];
                format!("noise on the cables, loss {loss}")
            }
            11 => {
                self.replay(who);
                self.director.blamed = [false; 2];
                format!("frames of {who} are played back")
            }
            12 => {
                self.disks[disk].slow = self.rng.below(4 * SECOND);
                self.director.blamed = [false; 2];
                format!("disk {disk} is slow")
            }
            13 => {
                let heads = self.rng.pick(&[[true, true], [true, false], [false, true]]);
                let all = self.rng.chance(300);
                for index in 0..self.disks.len() {
                    for head in [0, 1] {
                        if heads[head] && (all || index == disk) {
                            self.disks[index].silent_until[head] = self.now + time;
                        }
                    }
                }
                self.director.blamed = [false; 2];
                if self.rng.chance(400) {
                    // The pool is wanted just where its disks do not answer.
                    let to = usize::from(!heads[0]);
                    let command = Command::Takeover(PoolId(pool as u8));
                    let at = self.rng.range(0, 2);
                    self.command([to, 1 - to][at as usize], command);
                    self.director.blamed = [true; 2];
                    self.director.stay = 200 * SECOND;
                }
                format!(
                    "disk {disk}, all: {all}, answers nothing for {} ms",
                    time / MS
                )
            }
            14 => {
                let all = self.rng.chance(500);
                for index in 0..self.disks.len() {
                    if all || index == disk {
                        self.disks[index].reachable[who] = false;
                    }
                }
                self.director.blamed = [false; 2];
                format!("{who} loses its path to disk {disk}, all: {all}")
            }
            15 => {
                self.ids += 1;
                self.machines[who].nexus[disk] = self.ids as Nexus;
                self.director.blamed = [who == 0, who == 1];
                format!("session of {who} with disk {disk} is renewed")
            }
            16 => {
                let trouble = self
                    .rng
                    .pick(&[Trouble::Slow, Trouble::Fails, Trouble::Hangs]);
                let count = self.rng.below(6) as u32;
                if let Some(worker) = self.machines[who].workers.get_mut(pool) {
                    worker.trouble = Some((trouble, count));
                }
                let head = self.rng.index(2);
                self.command(head, Command::Takeover(PoolId(pool as u8)));
                // The import fails there, and its undoing as well.
                self.director.together += 1;
                format!("trouble in the kernel of {who}: {trouble:?}, {count}")
            }
            18 if matches!(self.director.phase, Phase::Well { .. }) => {
                // Nothing is left to preempt, and so nothing that aborts what the owner has under way. Only
                // when all is well: who hangs after it was fenced may write again to a shelf that
                // forgot the fence, and a head that never heard of it cannot know.
                self.director.alone = true;
                for disk in &mut self.disks {
                    disk.lingers = LIFETIME - SECOND;
                    disk.registrants.clear();
                    disk.holder = None;
                }
                self.halt(who, Halt::Stuck, time);
                format!("{who} is stuck, the shelf forgets and is slow to write")
            }
            17 => {
                let by = time;
                let now = self.now;
                if self.machines[who].halt.is_none() {
                    self.machines[who].clock.jump(now, by);
                }
                self.machines[who].late = self.rng.below(400 * MS);
                self.wake(who, now);
                self.director.blamed = [who == 0, who == 1];
                format!("clock of {who} jumps by {} ms, and it is late now", by / MS)
            }
            _ => {
                let id = PoolId(pool as u8);
                match self.rng.below(5) {
                    0 => drop(self.command(who, Command::Handover(id))),
                    1 => drop(self.command(who, Command::Takeover(id))),
                    2 => drop(self.command(who, Command::Giveback(id))),
                    3 => self.retire(who),
                    _ => {
                        self.command(0, Command::Takeover(id));
                        self.command(1, Command::Takeover(id));
                    }
                }
                // A write that the disk itself has trouble with makes a release fail: a reset.
                format!("an operator at {who}")
            }
        }
    }

    /// A fault that the other head must answer at once: `dead`, a duel's wait, and the claim.
    fn hurry(&mut self) {
        let ordinary = self.flaky == 0 && self.disks.iter().all(|disk| !disk.no_abort);
        if ordinary {
            self.director.patience = 4 * SECOND;
        }
    }

    /// What a head sent lately is played back to its peer.
    fn replay(&mut self, sender: usize) {
        for link in LinkId::ALL {
            let path = &self.paths[sender][link.index()];
            let recorded = path.archived.iter().chain(&path.recorded).cloned();
            for bytes in recorded.collect::<Vec<_>>() {
                let at = self.now + self.rng.below(10 * SECOND);
                let to = 1 - sender;
                self.at(at, Event::Frame { to, link, bytes });
            }
        }
    }

    /// Everything that is broken is mended; what runs goes on to run.
    fn mend(&mut self) {
        self.trace(|| "=== mended".to_owned());
        for path in self.paths.iter_mut().flatten() {
            path.cut = false;
            path.calm();
        }
        for disk in &mut self.disks {
            disk.powered = true;
            disk.reachable = [true; 2];
            disk.slow = 0;
            disk.lingers = 0;
            disk.silent_until = [0; 2];
        }
        self.flaky = 0;
        for who in [0, 1] {
            self.machines[who].late = 0;
            self.machines[who]
                .workers
                .iter_mut()
                .for_each(|worker| worker.trouble = None);
            if self.machines[who].halt.is_some() {
                self.resume(who);
            }
            if self.machines[who].head.is_none() {
                let off = self.rng.range(SECOND, 15 * SECOND);
                self.crash(who, off);
            }
        }
    }

    /// A short account of the world, for a failure.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{:?}, {} pools, {} disks",
            self.director.manner,
            self.homes.len(),
            self.disks.len()
        );
        let home = |home: &HeadId| usize::from(*home == HeadId::Second);
        let homes: Vec<usize> = self.homes.iter().map(home).collect();
        text += &format!(
            ", homes {homes:?}, renews sessions: {}",
            self.renews_sessions
        );
        for (who, machine) in self.machines.iter().enumerate() {
            let Some(head) = &machine.head else {
                text += &format!("\n  {who}: off");
                continue;
            };
            text += &format!("\n  {who}: {:?} {:?}", machine.halt, head.liveness());
            for (pool, worker) in head.pools().iter().zip(&machine.workers) {
                let (state, rest, epoch) = (pool.state(), pool.rest(), pool.epoch());
                text += &format!(
                    "; {state:?} {rest:?} {epoch}, worker {:?} {:?}",
                    worker.stage, worker.job
                );
            }
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let keys: Vec<String> = disk
                .registrants
                .iter()
                .map(|(n, k)| format!("{k:x}@{n}"))
                .collect();
            text += &format!(
                "\n  disk {index}: keys {keys:?} holder {:?} stamp {}",
                disk.holder, disk.stamp
            );
        }
        text
    }
}
