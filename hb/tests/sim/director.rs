//! What is done to the world, and when.
//!
//! A run has one of two manners:
//! - *calm*: one fault at a time. Each begins when all is well, stays for a while, and is mended;
//!   then all must be well again within [`BUDGET`] (I3), after one takeover a pool at most (I4).
//! - *storm*: faults overlap as they come. Safety is checked throughout; when the storm is over and
//!   everything is mended, all must be well within [`BUDGET`] and stay so.
//!
//! None of these bounds is the budget for a client's stall after a crash, which is a second more than `dead`: that is held by
//! [`outage`](crate::outage), as far as it is the core's and the fence's, where all was well before and disks answer as they
//! should. After other single faults that end an owner there are four seconds (`hurry` in [`faults`](crate::faults)). What
//! the kernel needs to activate and export, and a client to come back, is not known here and measured in the lab.

use orthrus_hb::{PoolState, Timing};

use crate::clock::{MS, SECOND, Time};
use crate::event::Event;
use crate::faults::Part;
use crate::lease::LEASE;
use crate::rng::Rng;
use crate::world::World;

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

/// What may follow from the fault that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Anything,
    /// One head goes on whatever becomes of the other: they do not end each other.
    OneLives,
    /// No pool moves: so many claims there were before it.
    Nothing {
        claims: u64,
    },
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
    pub blamed: [bool; 2],
    pub expect: Expect,
    /// No second fault with this one.
    pub alone: bool,
    /// How many faults strike together.
    pub together: u32,
    /// How long the fault stands at least.
    pub stay: Time,
    /// How long a pool may go unserved now.
    pub patience: Time,
    /// Since when a healthy head could serve a pool that is not served.
    unserved: Vec<Option<Time>>,
    pub faults: u64,
    /// Number of the fault that stands.
    current: u64,
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
            expect: Expect::Anything,
            alone: false,
            together: 1,
            stay: 0,
            patience: PATIENCE,
            unserved: vec![None; pools],
            faults: 0,
            current: 0,
            last: String::new(),
        }
    }

    /// All is well, and has been for a while.
    pub fn is_well(&self) -> bool {
        matches!(self.phase, Phase::Well { .. })
    }

    /// The fault of this number was not mended, nor another one begun.
    pub fn stands(&self, fault: u64, now: Time) -> bool {
        let storm = self.manner == Manner::Storm && now + LOOK < self.until;
        fault == self.current && (storm || matches!(self.phase, Phase::Fault { .. }))
    }

    /// Faults go on to come, and no one of them is looked at by itself.
    pub fn storms(&self, now: Time) -> bool {
        self.manner == Manner::Storm && now + LOOK < self.until
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
                    until: now + self.budget(),
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
                    self.budget() / SECOND
                ));
            }
            (Phase::Mended { .. }, Some(_)) => {}
            (Phase::Mended { until }, None) => {
                self.director.phase = Phase::Well { since: now, until };
            }
            // A fault of half a second may show only now.
            (Phase::Well { since, until }, Some(_)) if now < since + self.well_for() => {
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
                    until: now + self.budget(),
                };
            }
            (Phase::Fault { .. } | Phase::Over, _) => {}
        }
    }

    /// How long all must be well to count. A lease may still end by what was under way when a slow disk was mended.
    fn well_for(&self) -> Time {
        match self.plain {
            true => WELL + LEASE.as_micros(),
            false => WELL,
        }
    }

    /// From the mending of the last fault to service. A head may be silent, and then barred, when it is mended.
    fn budget(&self) -> Time {
        BUDGET + 2 * self.lease_wait() + 8 * self.longer()
    }

    /// What comes on top of a limit that was made for a `dead` of a second: the longest silence that is waited for by a head
    /// that may trust itself, and what a duel takes.
    pub fn longer(&self) -> Time {
        let (is, design) = (self.timing, Timing::default());
        let wait = |timing: Timing| timing.dead.max(timing.ledger_dead) + timing.duel_wait;
        let more = wait(is).checked_sub(wait(design));
        more.map_or(0, |more| more.as_micros())
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
            self.newest_messages_were_heard();
            self.director.phase = Phase::Over;
        }
        if over || now < since + self.well_for() {
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
        if let Expect::Nothing { claims } = self.director.expect
            && calm
            && claims != self.checks.claims
        {
            let last = &self.director.last;
            self.checks.fail(format!("I4: a pool moved after {last}"));
        }
        self.director.expect = Expect::Anything;
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

    fn slow_checks(&mut self) {
        for pool in 0..self.clients.len() {
            let calm = self.director.manner == Manner::Calm;
            match self.unserved(pool).filter(|_| calm) {
                None => self.director.unserved[pool] = None,
                Some(problem) => {
                    let since = *self.director.unserved[pool].get_or_insert(self.now);
                    // Whoever was just refused, or came too late, waits once more.
                    let stalls = match self.director.patience {
                        PATIENCE => 4 * self.longer(),
                        _ => 0,
                    };
                    let patience = self.director.patience + 2 * self.lease_wait() + stalls;
                    if self.now > since + patience {
                        let last = &self.director.last;
                        let patience = patience / SECOND;
                        self.checks
                            .fail(format!("I3: {patience} s after {last}: {problem}"));
                    }
                }
            }
        }
        let none_runs = self.machines.iter().all(|machine| machine.head.is_none());
        let calm = self.director.manner == Manner::Calm;
        if calm && none_runs && self.director.expect == Expect::OneLives {
            let last = &self.director.last;
            self.checks
                .fail(format!("I4: both heads ended after {last}"));
        }
        self.look_at_fences();
        self.look_at_outages();
        for who in [0, 1] {
            self.look_at_rests(who);
            for pool in 0..self.clients.len() {
                let machine = &self.machines[who];
                let Some(head) = machine.head.as_ref().filter(|_| machine.beats()) else {
                    self.checks.fence(who, pool, false, self.now);
                    continue;
                };
                let state = head.pools()[pool].state();
                let holds = matches!(state, PoolState::Importing | PoolState::Serving);
                let lost = holds
                    && !self.plain
                    && machine.late < 200 * MS
                    && self.disks_of(pool).any(|disk| {
                        let state = &self.disks[disk];
                        state.answers_now(who, self.now)
                            && state.key_of(machine.nexus[disk]).is_none()
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
        self.director.current = self.director.faults;
        self.director.together = 1;
        self.director.alone = false;
        self.outages.disturbed();
        let mut fault = self.fault();
        if self.rng.chance(300) && !self.director.alone {
            self.director.together += 1;
            let later = self.rng.pick(&[0, 1, 2]);
            if later > 0 {
                // Strikes while the first one is being dealt with.
                let after = self.rng.pick(&[20 * MS, 300 * MS, 1200 * MS, 20 * SECOND]);
                let at = self.now + self.rng.below(after);
                let part = Part::Second;
                let number = self.director.current;
                self.at(
                    at,
                    Event::Part {
                        fault: number,
                        part,
                    },
                );
                fault += " and, soon, another";
            } else {
                fault = format!("{fault} and {}", self.fault());
            }
            self.outages.disturbed();
            self.director.blamed = [true; 2];
            self.director.patience = PATIENCE;
            self.director.expect = Expect::Anything;
        }
        self.trace(|| format!("=== {fault}"));
        self.director.last = fault;
        self.keep_copies();
    }

    /// The second of two faults.
    pub fn second(&mut self) {
        self.director.faults += 1;
        let fault = self.fault();
        self.outages.disturbed();
        self.director.blamed = [true; 2];
        self.director.patience = PATIENCE;
        self.director.expect = Expect::Anything;
        self.trace(|| format!("=== {fault}"));
        let last = format!(" ({fault})");
        self.director.last += &last;
    }

    /// Everything that is broken is mended; what runs goes on to run.
    fn mend(&mut self) {
        self.trace(|| "=== mended".to_owned());
        // Whoever crashed may be up again before such a silence is over.
        if self.longer() > 0 {
            self.outages.disturbed();
        }
        for path in self.paths.iter_mut().flatten() {
            path.cut = false;
            path.calm();
        }
        for disk in &mut self.disks {
            disk.powered = true;
            disk.reachable = [true; 2];
            // What is on its way takes as long as it was going to.
            disk.behind_until = self.now + std::mem::take(&mut disk.slow);
            disk.lingers = 0;
            disk.lie = None;
            disk.silent_until = [0; 2];
        }
        // Whoever boots now goes first where it is home, and waits for what its last boot wrote.
        self.director.patience = PATIENCE;
        self.carrier = [true; 2];
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
}
