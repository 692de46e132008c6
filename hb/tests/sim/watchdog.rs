//! The hardware watchdog of a head on whose disks pools are held by a lease: `init/src/watchdog.rs`, and where the
//! heartbeat thread feeds it.
//!
//! It has a clock of its own, runs from the boot on, and resets the machine whatever hangs in it: the heartbeat thread,
//! a worker, the kernel, or the reset that the head itself asked for. It stands still only with the power, which ends the
//! machine as well.

use crate::clock::{SECOND, Time};
use crate::event::Event;
use crate::machine::Halt;
use crate::rng::Rng;
use crate::world::World;

/// Periods that are found in the field: drivers round, and boards have fixed ones.
const PERIODS: [Time; 4] = [10 * SECOND, 10 * SECOND, 20 * SECOND, 30 * SECOND];
/// Deviation of its clock at most, in millionths.
const DRIFT: u64 = 1000;
/// Resets that a head asks for and that hang, in a thousand.
const RESET_HANGS: u64 = 50;

/// What a machine has, in every boot of it.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    /// As its driver tells it.
    pub period: Time,
    /// The same in true time.
    real: Time,
    /// It is real hardware and could be armed.
    pub armed: bool,
    /// When it was fed last.
    fed: Time,
}

impl Watchdog {
    pub fn new(armed: bool, rng: &mut Rng) -> Watchdog {
        let period = rng.pick(&PERIODS);
        let millionths = 1_000_000 - DRIFT + rng.below(2 * DRIFT);
        Watchdog {
            period,
            real: period * millionths / 1_000_000,
            armed,
            fed: 0,
        }
    }

    pub fn feed(&mut self, now: Time) {
        self.fed = now;
    }
}

impl World {
    /// A boot arms it.
    pub fn arm_watchdog(&mut self, who: usize) {
        let (now, boot) = (self.now, self.machines[who].boot);
        if let Some(watchdog) = self.machines[who].watchdog.as_mut().filter(|w| w.armed) {
            watchdog.feed(now);
            let at = now + watchdog.real;
            self.at(at, Event::Hungry { who, boot });
        }
    }

    /// It would fire now, if it had not been fed since.
    pub fn look_at_watchdog(&mut self, who: usize, boot: u32) {
        let machine = &self.machines[who];
        let Some(watchdog) = machine.watchdog.filter(|_| machine.boot == boot) else {
            return;
        };
        if machine.head.is_none() {
            return;
        }
        match watchdog.fed + watchdog.real {
            at if at > self.now => self.at(at, Event::Hungry { who, boot }),
            _ => self.reset(who, "its watchdog was not fed"),
        }
    }

    /// The reset that a head asks for hangs now and then; what of it still runs goes on until the watchdog fires.
    pub fn reset_hangs(&mut self, who: usize) -> bool {
        let hangs =
            self.machines[who].watchdog.is_some_and(|w| w.armed) && self.rng.chance(RESET_HANGS);
        if hangs {
            self.trace(|| format!("{who} asks for a reset, which hangs"));
            let machine = &mut self.machines[who];
            machine.halt = Some((Halt::Stuck, self.now));
            machine.is_ending = true;
        }
        hangs
    }
}
