//! Two heads that find a pool free together, where nothing but their procedure decides who has it.

use orthrus_hb::PoolState;
use orthrus_hb::ledger::Record;

use crate::clock::SECOND;
use crate::shelf::Word;
use crate::world::World;

impl World {
    /// Both were halted in order, and boot together without hearing each other.
    pub(super) fn both_boot_apart(&mut self) -> String {
        self.cut_all();
        let off = self.rng.range(5 * SECOND, 10 * SECOND);
        for who in [0, 1] {
            let off = off + self.rng.below(2 * SECOND);
            self.crash(who, off);
        }
        for pool in 0..self.clients.len() {
            self.is_let_go(pool);
        }
        self.director.stay = 60 * SECOND;
        self.director.alone = true;
        "both heads halt, and boot together while all cables are cut".to_owned()
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
