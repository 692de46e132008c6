//! Heads that die, hang, or have trouble in their kernels.

use orthrus_hb::{Command, LinkId, PoolId};

use crate::clock::{MS, SECOND};
use crate::event::Event;
use crate::machine::Halt;
use crate::worker::Trouble;
use crate::world::World;

use super::Draw;

impl World {
    pub(super) fn dies(&mut self, draw: &Draw) -> String {
        let (who, time) = (draw.who, draw.time);
        self.outage_begins(who, time);
        self.crash(who, time);
        self.blame([who == 0, who == 1]);
        if time > 30 * SECOND {
            self.hurry(4 * SECOND);
        }
        if self.rng.chance(300) {
            self.replay(who);
        }
        format!("crash of {who} for {} ms", time / MS)
    }

    pub(super) fn power_fails(&mut self, draw: &Draw) -> String {
        let shelf = self.rng.chance(500);
        for who in [0, 1] {
            let off = draw.time + self.rng.range(0, 30 * SECOND);
            self.crash(who, off);
        }
        if shelf {
            self.cut_power();
            self.disks.iter_mut().for_each(|disk| disk.powered = true);
        }
        format!("power loss of both, and the shelf: {shelf}")
    }

    pub(super) fn halts(&mut self, draw: &Draw) -> String {
        let (who, time) = (draw.who, draw.time);
        let halt = match self.rng.pick(&[Halt::Paused, Halt::Frozen, Halt::Stuck]) {
            // With its watchdog, a virtual machine: no lease covers that.
            Halt::Frozen if self.plain => Halt::Paused,
            halt => halt,
        };
        self.halt(who, halt, time);
        self.blame([who == 0, who == 1]);
        if time > 30 * SECOND && halt != Halt::Stuck {
            self.hurry(4 * SECOND);
        }
        format!("{who} is {halt:?} for {} ms", time / MS)
    }

    pub(super) fn kernel_is_in_trouble(&mut self, draw: &Draw) -> String {
        let (who, pool) = (draw.who, draw.pool);
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

    /// What a head sent lately is played back to its peer.
    pub(super) fn replay(&mut self, sender: usize) {
        for link in LinkId::ALL {
            let path = &self.paths[sender][link.index()];
            let recorded = path.archived.iter().chain(&path.recorded).cloned();
            for frame in recorded.collect::<Vec<_>>() {
                let at = self.now + self.rng.below(10 * SECOND);
                let to = 1 - sender;
                self.at(at, Event::Frame { to, link, frame });
            }
        }
    }
}
