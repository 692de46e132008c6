//! What only disks without reservations make dangerous: two heads that find a pool free together, and writes of a boot
//! that is over.

use orthrus_hb::PoolState;
use orthrus_hb::ledger::Record;

use crate::clock::{MS, SECOND, Time};
use crate::event::Event;
use crate::shelf::{LIFETIME, Word};
use crate::world::World;

use super::Part;

/// Time of a command on its way to a slow disk.
const SLOW: Time = 900 * MS;

impl World {
    pub(super) fn only_without_reservations(&mut self) -> String {
        match self.rng.chance(500) {
            true => self.both_boot_apart(),
            false => self.both_reset_while_disks_linger(),
        }
    }

    /// Both were halted in order, and boot together without hearing each other.
    fn both_boot_apart(&mut self) -> String {
        self.cut_all();
        let off = self.rng.range(5 * SECOND, 10 * SECOND);
        // A look and a write take a moment, or nearly as long as they may.
        let slow = self.rng.pick(&[0, SLOW]);
        self.disks.iter_mut().for_each(|disk| disk.slow = slow);
        for who in [0, 1] {
            let off = off + self.rng.below(slow.max(4 * MS));
            self.crash(who, off);
        }
        for pool in 0..self.clients.len() {
            self.is_let_go(pool);
        }
        self.director.stay = 60 * SECOND;
        self.director.alone = true;
        format!(
            "both heads halt, and boot together while all cables are cut and disks need up to {} ms",
            slow / MS
        )
    }

    /// Whoever has the pool first may have had it before, and written what the disks are slow to carry out.
    fn both_reset_while_disks_linger(&mut self) -> String {
        let disks = self.disks.iter_mut();
        disks.for_each(|disk| disk.lingers = LIFETIME - SECOND);
        let at = self.now + self.rng.range(SECOND, 10 * SECOND);
        let fault = self.director.faults;
        self.at(
            at,
            Event::Part {
                fault,
                part: Part::Resets,
            },
        );
        self.director.stay = 40 * SECOND;
        self.director.alone = true;
        "disks are slow to write and, soon, both heads reset".to_owned()
    }

    pub(super) fn both_reset(&mut self) {
        self.trace(|| "=== both reset".to_owned());
        for who in [0, 1] {
            let off = self.rng.range(3 * SECOND, 6 * SECOND);
            self.crash(who, off);
        }
    }

    /// As a halt in order leaves a pool: nothing under way, and a record that lets go.
    fn is_let_go(&mut self, pool: usize) {
        let Some(held) = self.checks.held[pool] else {
            return;
        };
        let machine = &self.machines[held.who];
        let record = Record {
            head: machine.id,
            incarnation: machine.incarnation,
            state: PoolState::Standby,
            epoch: held.epoch,
            sequence: u64::MAX,
            lease: None,
        };
        let record = self.record_write(pool, &record, Word::LetsGo);
        for disk in self.disks_of(pool) {
            self.disks[disk].accepted.clear();
            self.disks[disk].record(record.place, record.block);
        }
        self.checks.let_go(pool, (held.who, held.boot), held.epoch);
    }
}
