//! Disks that are slow, silent or gone, for one head or for both.

use orthrus_hb::{Command, PoolId};

use crate::clock::{MS, SECOND};
use crate::health;
use crate::shelf::Nexus;
use crate::world::World;

use super::Draw;

/// More takeovers than there can be while one fault stands.
pub(super) const MANY: u32 = 100;

impl World {
    pub(super) fn cut_power(&mut self) {
        for disk in &mut self.disks {
            disk.lose_power(&mut self.rng);
        }
        self.note_all_keys();
    }

    pub(super) fn note_all_keys(&mut self) {
        for pool in 0..self.clients.len() {
            self.note_keys(pool);
        }
    }

    pub(super) fn shelf_loses_power(&mut self, draw: &Draw) -> String {
        self.cut_power();
        if draw.time < 2 * SECOND {
            self.disks.iter_mut().for_each(|disk| disk.powered = true);
        }
        format!(
            "power loss of the shelf, persistent: {}",
            self.disks[0].persistent
        )
    }

    pub(super) fn disk_is_slow(&mut self, draw: &Draw) -> String {
        self.disks[draw.disk].slow = self.rng.below(4 * SECOND);
        self.blame([self.plain; 2]);
        if self.plain {
            // Renewals that come too late end a lease, on either head, as often as they do.
            self.director.together += MANY;
        }
        format!("disk {} is slow", draw.disk)
    }

    pub(super) fn disks_are_silent(&mut self, draw: &Draw) -> String {
        let heads = self.rng.pick(&[[true, true], [true, false], [false, true]]);
        let all = self.rng.chance(300);
        let Draw { disk, time, .. } = *draw;
        for index in 0..self.disks.len() {
            for head in [0, 1] {
                if heads[head] && (all || index == disk) {
                    self.disks[index].silent_until[head] = self.now + time;
                }
            }
        }
        // An owner whose release does not end resets, and is fenced.
        self.blame(heads);
        if self.rng.chance(400) {
            // The pool is wanted just where its disks do not answer.
            let to = usize::from(!heads[0]);
            let command = Command::Takeover(PoolId(draw.pool as u8));
            let at = self.rng.range(0, 2);
            self.command([to, 1 - to][at as usize], command);
            self.blame([true; 2]);
            self.director.stay = 200 * SECOND;
        }
        format!(
            "disk {disk}, all: {all}, answers nothing for {} ms",
            time / MS
        )
    }

    pub(super) fn path_is_lost(&mut self, draw: &Draw) -> String {
        let Draw { who, disk, .. } = *draw;
        let all = self.rng.chance(300);
        for index in 0..self.disks.len() {
            if all || index == disk {
                self.disks[index].reachable[who] = false;
            }
        }
        self.blame([who == 0, who == 1]);
        format!("{who} loses its path to disk {disk}, all: {all}")
    }

    /// The whole path, for long: the other head must serve soon.
    pub(super) fn shelf_path_is_lost(&mut self, draw: &Draw) -> String {
        let who = draw.who;
        let silent = self.rng.chance(500);
        for disk in &mut self.disks {
            match silent {
                true => disk.silent_until[who] = self.now + 600 * SECOND,
                false => disk.reachable[who] = false,
            }
        }
        self.blame([who == 0, who == 1]);
        self.director.stay = 60 * SECOND;
        // Three seconds to find out, a look of its thread, two to settle, five to let go, a death.
        // An owner without a ledger takes longer to believe in a silence.
        let doubts = match silent && self.copies.iter().any(Vec::is_empty) {
            true => health::ALL_SILENT_WITHOUT_LEDGER - health::ALL_SILENT,
            false => 0,
        };
        self.hurry(14 * SECOND + doubts);
        format!("{who} loses its path to the shelf, silent: {silent}")
    }

    /// Each head sees the pool without one of its disks, and not without the same.
    pub(super) fn each_sees_a_part(&mut self) -> String {
        for pool in 0..self.clients.len() {
            let disks = self.disks_of(pool);
            if disks.len() < 2 {
                continue;
            }
            let first = self.rng.index(disks.len());
            let second = (first + 1 + self.rng.index(disks.len() - 1)) % disks.len();
            self.disks[disks.start + first].reachable[0] = false;
            self.disks[disks.start + second].reachable[1] = false;
        }
        if self.rng.chance(500) {
            let who = self.rng.index(2);
            let off = self.rng.range(SECOND, 60 * SECOND);
            self.crash(who, off);
        }
        "each head sees a part of its pools".to_owned()
    }

    pub(super) fn session_is_renewed(&mut self, draw: &Draw) -> String {
        let Draw { who, disk, .. } = *draw;
        self.ids += 1;
        self.machines[who].nexus[disk] = self.ids as Nexus;
        self.blame([who == 0, who == 1]);
        format!("session of {who} with disk {disk} is renewed")
    }
}
