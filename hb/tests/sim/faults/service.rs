//! What a head serves its clients with: the better head must serve, and equals must not move.

use crate::clock::{MS, SECOND};
use crate::event::Event;
use crate::world::World;

use super::{Draw, Part};

impl World {
    pub(super) fn network_is_lost(&mut self, draw: &Draw) -> String {
        let who = draw.who;
        self.carrier[who] = false;
        // A write that the disk itself has trouble with makes a release fail: a reset.
        self.blame([who == 0, who == 1]);
        self.director.stay = 45 * SECOND;
        // A look of its thread, two seconds to settle, five for a client's write that does not end, a death.
        self.hurry(14 * SECOND);
        format!("{who} loses its clients' network")
    }

    /// For less than the owner waits before it lets go, and longer than a look apart.
    pub(super) fn network_flaps(&mut self, draw: &Draw) -> String {
        let (who, fault) = (draw.who, self.director.faults);
        let mut at = self.now;
        for _ in 0..self.rng.range(1, 6) {
            for up in [false, true] {
                let part = Part::Carrier { who, up };
                self.at(at, Event::Part { fault, part });
                at += match up {
                    false => self.rng.range(100 * MS, 1400 * MS),
                    true => self.rng.range(1100 * MS, 5 * SECOND),
                };
            }
        }
        self.director.stay = at - self.now;
        self.expect_nothing();
        format!("the clients' network of {who} comes and goes")
    }

    /// The same is broken on both.
    pub(super) fn both_are_equally_broken(&mut self) -> String {
        let network = self.rng.chance(500);
        for who in [0, 1] {
            if network {
                self.carrier[who] = false;
            } else {
                self.disks
                    .iter_mut()
                    .for_each(|disk| disk.reachable[who] = false);
            }
        }
        self.director.stay = self.rng.range(20 * SECOND, 120 * SECOND);
        // No lease is renewed then.
        if network || !self.plain {
            self.expect_nothing();
        }
        format!("both heads are equally broken, network: {network}")
    }
}
