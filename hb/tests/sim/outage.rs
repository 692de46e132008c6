//! I3: how long a pool is without service after a single crash of its owner, when all was well before. More than
//! [`budget`] is a violation like any other; the longest is printed, so that it is seen when it grows.
//!
//! From the crash to the other head's exports. Activating and exporting take in the simulator what
//! [`World::kernel_stepped`] is given by the dice, so of a takeover's time this shows the core's part and the fence's: the
//! silence that must pass, the survey, the notice, the claim and its read-back. What the kernel takes, and
//! the client until it notices, is measured in the lab. Time is virtual, so the bound holds or does not on any machine.
//!
//! A second head that holds a pool of its own waits 0.6 s longer for a first one that died (`duel_wait`), and is through with
//! its claim after 1.8 s: with all that the dice may give the kernel a pool of the first was seen to be exported after 2.01 s
//! (seed 2584). There the dice come on top of the budget ([`Outage::limit`]).

use orthrus_hb::{Rest, Timing};

use crate::clock::{SECOND, Time};
use crate::director::Manner;
use crate::worker::{KERNEL_STEP_MAX, STEPS_TO_EXPORT};
use crate::world::World;

/// A crash of less may be over before the other head has the pool.
const LONG: Time = 30 * SECOND;

/// What a client may feel of a crash: `dead`, which the ledger may have for itself, and a second.
fn budget(timing: &Timing) -> Time {
    timing.dead.max(timing.ledger_dead).as_micros() + SECOND
}

/// A pool is without service, because its owner crashed.
#[derive(Clone, Copy)]
struct Outage {
    died: usize,
    since: Time,
    /// The second head holds a pool of its own, so it waits for the first to go first (`duel_wait`).
    yields: bool,
}

impl Outage {
    /// Whoever goes second has so little left that the dice of activating and exporting may use it up. What is not known
    /// here is no fault of the core, so they come on top: without them it must keep the budget as well.
    fn limit(&self, timing: &Timing) -> Time {
        let budget = budget(timing);
        match self.yields {
            true => budget + STEPS_TO_EXPORT * KERNEL_STEP_MAX,
            false => budget,
        }
    }
}

/// By pool: what is open, if anything is.
#[derive(Default)]
pub struct Outages {
    open: Vec<Option<Outage>>,
    /// How long those lasted that are over.
    pub lasted: Vec<Time>,
}

impl Outages {
    pub fn new(pools: usize) -> Outages {
        Outages {
            open: vec![None; pools],
            lasted: Vec::new(),
        }
    }

    /// Something else breaks: from here on it would be counted, too.
    pub fn disturbed(&mut self) {
        self.open.fill(None);
    }
}

impl World {
    /// A head is about to die, for so long.
    pub fn outage_begins(&mut self, who: usize, off: Time) {
        let calm = self.director.manner == Manner::Calm && self.is_ordinary();
        if !calm || self.plain || off <= LONG {
            return;
        }
        let pools = 0..self.clients.len();
        let yields = who == 0 && pools.clone().any(|pool| self.serves(1, pool));
        for pool in pools {
            let outage = Outage {
                died: who,
                since: self.now,
                yields,
            };
            self.outages.open[pool] = self.serves(who, pool).then_some(outage);
        }
    }

    /// Whoever was fenced again and again lets its peer be for longer, and says so. What lasts too long need not end to be
    /// seen.
    pub fn look_at_outages(&mut self) {
        for pool in 0..self.clients.len() {
            let mut heads = self.machines.iter().filter_map(|m| m.head.as_ref());
            if heads.any(|head| head.pools()[pool].rest() == Some(Rest::Barred)) {
                self.outages.open[pool] = None;
            }
            if let Some(outage) = self.outages.open[pool] {
                self.keeps_budget(pool, outage);
            }
        }
    }

    fn keeps_budget(&mut self, pool: usize, outage: Outage) {
        let (lasted, limit) = (self.now - outage.since, outage.limit(&self.timing));
        if lasted > limit {
            let (died, lasted, limit) = (outage.died, seconds(lasted), seconds(limit));
            self.checks.fail(format!(
                "I3: pool {pool} is without service for {lasted:.2} s after {died} crashed, all else being well: \
                 more than {limit:.2} s"
            ));
        }
    }

    /// A head has exported a pool.
    pub fn outage_ends(&mut self, who: usize, pool: usize) {
        let open = self.outages.open[pool].take();
        if let Some(outage) = open.filter(|outage| outage.died != who) {
            // Of those times that can be compared.
            if self.timing.dead == Timing::default().dead {
                self.outages.lasted.push(self.now - outage.since);
            }
            self.keeps_budget(pool, outage);
        }
    }
}

fn seconds(time: Time) -> f64 {
    time as f64 / SECOND as f64
}

/// One line of them all, if there were any.
pub fn summary(mut lasted: Vec<Time>) -> Option<String> {
    lasted.sort_unstable();
    let longest = seconds(*lasted.last()?);
    let median = seconds(lasted[lasted.len() / 2]);
    Some(format!(
        "{} times a pool whose owner crashed, all else being well, was served again by its peer: after {median:.2} s in \
         the median, {longest:.2} s at most (allowed: {:.2} s, and of a head that goes second what the kernel takes)",
        lasted.len(),
        seconds(budget(&Timing::default())),
    ))
}
