//! How long a pool is without service after a single crash of its owner, when all was well before: printed, so that
//! it is seen when it grows.
//!
//! From the crash to the other head's exports. Activating and exporting take in the simulator what
//! [`World::kernel_stepped`] is given by the dice, so of a takeover's time this shows the core's part and the fence's: the
//! silence that must pass, the survey, the notice, the claim and its read-back. What the kernel takes, and
//! the client until it notices, is measured in the lab.

use orthrus_hb::Rest;

use crate::clock::{SECOND, Time};
use crate::director::Manner;
use crate::world::World;

/// A crash of less may be over before the other head has the pool.
const LONG: Time = 30 * SECOND;

/// By pool: who died that served it, and when.
#[derive(Default)]
pub struct Outages {
    open: Vec<Option<(usize, Time)>>,
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
        for pool in 0..self.clients.len() {
            let serves = self.serves(who, pool);
            self.outages.open[pool] = serves.then_some((who, self.now));
        }
    }

    /// Whoever was fenced again and again lets its peer be for longer, and says so.
    pub fn look_at_outages(&mut self) {
        for pool in 0..self.clients.len() {
            let mut heads = self.machines.iter().filter_map(|m| m.head.as_ref());
            if heads.any(|head| head.pools()[pool].rest() == Some(Rest::Barred)) {
                self.outages.open[pool] = None;
            }
        }
    }

    /// A head has exported a pool.
    pub fn outage_ends(&mut self, who: usize, pool: usize) {
        let open = self.outages.open[pool].take();
        if let Some((_, since)) = open.filter(|(died, _)| *died != who) {
            self.outages.lasted.push(self.now - since);
        }
    }
}

/// One line of them all, if there were any.
pub fn summary(mut lasted: Vec<Time>) -> Option<String> {
    lasted.sort_unstable();
    let longest = *lasted.last()? as f64 / SECOND as f64;
    let median = lasted[lasted.len() / 2] as f64 / SECOND as f64;
    Some(format!(
        "{} times a pool whose owner crashed, all else being well, was served again by its peer: after {median:.2} s in \
         the median, {longest:.2} s at most",
        lasted.len(),
    ))
}
