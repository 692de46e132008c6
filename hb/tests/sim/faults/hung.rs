//! An owner that nobody resets: its heart beats, nobody hears it, and its path to the shelf hangs, so that its watch learns
//! nothing either. What its kernel has under way is sent when the path is back, whoever the disks belong to by then.

use crate::clock::SECOND;
use crate::event::Event;
use crate::world::World;

use super::Part;

impl World {
    /// Its peer takes its pools, serves them for a while, and is halted, or halted and started again: all before the path is
    /// back.
    pub(super) fn an_owner_hangs_on_its_path_and_its_peer_halts(&mut self) -> String {
        let owner = self.owner(0).unwrap_or(0);
        let hangs = self.rng.range(30 * SECOND, 120 * SECOND);
        self.cut_all();
        for disk in &mut self.disks {
            disk.silent_until[owner] = self.now + hangs;
        }
        self.blame([true; 2]);
        self.director.alone = true;
        self.director.together += 2;
        self.director.stay = hangs + 60 * SECOND;
        let fault = self.director.faults;
        // The first one may come before the peer has taken anything.
        let mut at = self.now + self.rng.range(2 * SECOND, hangs / 2);
        for _ in 0..self.rng.range(1, 3) {
            let who = 1 - owner;
            let part = Part::Halt { who };
            self.at(at, Event::Part { fault, part });
            at += self.rng.range(20 * SECOND, 70 * SECOND);
        }
        format!(
            "{owner} is not heard and its path to the shelf hangs for {} s, and its peer is halted meanwhile",
            hangs / SECOND
        )
    }
}
