//! What can break. The shape of the code is the list of it.
//!
//! Each fault says what may follow from it: which heads may lose a pool by force ([`World::blame`]), how long a
//! pool may go unserved, or that nothing at all may move ([`Expect::Nothing`]).

mod cables;
mod copies;
mod disks;
mod heads;
mod hung;
mod plain;
mod service;

pub use copies::Lie;

use orthrus_hb::{Command, PoolId};

use crate::clock::{MS, SECOND, Time};
use crate::director::{Expect, Manner};
use crate::event::Event;
use crate::machine::Halt;
use crate::world::World;

/// A later part of a fault.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// All cables are cut.
    Cut,
    /// An owner dies.
    Death { off: Time },
    /// Both heads reset.
    Resets,
    /// What the owner of the first pool sends is lost for a while; `left` more times.
    OneWay { left: u32 },
    /// And arrives again.
    Joined { left: u32 },
    /// The clients' port of a head loses its link, or gets it back.
    Carrier { who: usize, up: bool },
    /// A head lets go and turns itself off, in order.
    Halt { who: usize },
    /// The second of two faults.
    Second,
}

/// What a fault strikes, drawn before it is known which it is.
struct Draw {
    who: usize,
    disk: usize,
    pool: usize,
    time: Time,
}

impl World {
    /// One fault; what it was, in words.
    pub fn fault(&mut self) -> String {
        let who = self.rng.index(2);
        let disk = self.rng.index(self.disks.len());
        let pool = self.rng.index(self.clients.len());
        let time = self.rng.pick(&[
            300 * MS,
            900 * MS,
            1500 * MS,
            5 * SECOND,
            20 * SECOND,
            60 * SECOND,
        ]);
        let mut time = time + self.rng.below(time);
        if self.rng.chance(200) {
            time = 600 * SECOND;
        }
        let draw = Draw {
            who,
            disk,
            pool,
            time,
        };
        if self.plain && self.director.is_well() && self.rng.chance(200) {
            return self.only_without_reservations();
        }
        if self.lies && !self.copies[pool].is_empty() && self.rng.chance(150) {
            return self.a_copy_of_the_ledger_lies(&draw);
        }
        if self.hangs && self.director.is_well() && self.rng.chance(100) {
            return self.an_owner_hangs_on_its_path_and_its_peer_halts();
        }
        if self.crossed && self.director.is_well() && self.rng.chance(60) {
            return self.cables_are_cut_crosswise_and_a_path_is_lost(&draw);
        }
        match self.rng.below(30) {
            0 | 1 => self.dies(&draw),
            2 => self.power_fails(&draw),
            3 => self.shelf_loses_power(&draw),
            4 | 5 => self.halts(&draw),
            6 | 7 => self.cables_are_cut(),
            8 | 9 => self.all_cables_are_cut(),
            10 if self.buffered => self.a_serial_line_holds_back_and_an_owner_dies(&draw),
            10 => self.all_cables_are_cut_and_an_owner_dies(&draw),
            11 | 12 => self.cables_are_noisy(),
            28 | 29 => self.cables_are_cut_at_a_boot(&draw),
            13 => {
                self.replay(who);
                self.blame([false; 2]);
                format!("frames of {who} are played back")
            }
            14 => self.disk_is_slow(&draw),
            15 => self.disks_are_silent(&draw),
            16 => self.path_is_lost(&draw),
            17 => self.shelf_path_is_lost(&draw),
            18 => self.each_sees_a_part(),
            19 => self.session_is_renewed(&draw),
            20 => self.kernel_is_in_trouble(&draw),
            21 => self.clock_jumps(&draw),
            22 if self.director.is_well() && self.director.together == 1 => {
                self.shelf_forgets(&draw)
            }
            23 => self.network_is_lost(&draw),
            24 => self.network_flaps(&draw),
            25 if self.director.is_well() => self.both_are_equally_broken(),
            26 if self.director.is_well() && self.rng.chance(500) => self.heads_fence_each_other(),
            _ => self.operator_acts(&draw),
        }
    }

    /// A later part of a fault, unless all was mended meanwhile.
    pub fn part(&mut self, fault: u64, part: Part) {
        if !self.director.stands(fault, self.now) {
            return;
        }
        match part {
            Part::Cut => {
                self.trace(|| "=== all cables are cut".to_owned());
                self.cut_all();
            }
            Part::Death { off } => {
                let who = self.owner(0).unwrap_or(0);
                self.trace(|| format!("=== {who} dies"));
                self.crash(who, off);
            }
            Part::Resets => self.both_reset(),
            Part::OneWay { left } => self.one_way(fault, left),
            Part::Joined { left } => self.joined(fault, left),
            Part::Carrier { who, up } => {
                self.trace(|| format!("=== carrier of {who}: {up}"));
                self.carrier[who] = up;
            }
            Part::Halt { who } => self.retire(who),
            Part::Second => self.second(),
        }
    }

    /// The heads that may lose a pool by force.
    fn blame(&mut self, who: [bool; 2]) {
        self.director.blamed = who;
    }

    /// A fault that the other head must answer at once: `dead`, a duel's wait, and the claim. `patience`: where `dead` is a second.
    fn hurry(&mut self, patience: Time) {
        if self.is_ordinary() {
            self.director.patience = patience + self.longer();
        }
    }

    /// Disks know what they should, and do what they are told.
    pub fn is_ordinary(&self) -> bool {
        self.flaky == 0 && self.disks.iter().all(|disk| !disk.no_abort)
    }

    fn calm(&self) -> bool {
        self.director.manner == Manner::Calm
    }

    /// Nothing may move for what is done now.
    fn expect_nothing(&mut self) {
        self.blame([false; 2]);
        self.director.expect = Expect::Nothing {
            claims: self.checks.claims,
        };
    }

    /// The head that serves a pool.
    fn owner(&self, pool: usize) -> Option<usize> {
        [0, 1].into_iter().find(|&who| self.serves(who, pool))
    }

    /// A head's life shows in a ledger: it serves a pool that has one.
    fn shows(&self, who: usize) -> bool {
        let mut pools = 0..self.clients.len();
        pools.any(|pool| !self.copies[pool].is_empty() && self.serves(who, pool))
    }

    fn operator_acts(&mut self, draw: &Draw) -> String {
        let (who, id) = (draw.who, PoolId(draw.pool as u8));
        match self.rng.below(6) {
            0 => drop(self.command(who, Command::Handover(id))),
            1 => drop(self.command(who, Command::Takeover(id))),
            2 => drop(self.command(who, Command::Giveback(id))),
            3 => {
                self.retire(who);
                // Before it has heard of that; what it let go of it takes back at once.
                if self.director.storms(self.now) {
                    self.command(1 - who, Command::Handover(id));
                }
            }
            4 => drop(self.command(who, Command::Readmit)),
            _ => {
                self.command(0, Command::Takeover(id));
                self.command(1, Command::Takeover(id));
            }
        }
        // A write that the disk itself has trouble with makes a release fail: a reset.
        format!("an operator at {who}")
    }

    /// An operator wants a pool to be made, on either head, and again until it is; now and then on both. Amid a storm of
    /// faults pools that are there are destroyed, too.
    pub fn order_to_make(&mut self, pool: usize) {
        if !self.bare[pool] && self.director.storms(self.now) {
            let who = self.rng.index(2);
            self.command(who, Command::Destroy(PoolId(pool as u8)));
            let again = self.now + self.rng.range(10 * SECOND, 200 * SECOND);
            return self.at(again, Event::Make { pool });
        }
        if !self.bare[pool] {
            return;
        }
        if !self.director.storms(self.now) {
            self.take_off_what_both_left(pool);
        }
        let id = PoolId(pool as u8);
        let who = self.rng.index(2);
        self.command(who, Command::Make(id));
        if self.rng.chance(200) {
            self.command(1 - who, Command::Make(id));
        }
        let again = self.now + self.rng.range(SECOND, 20 * SECOND);
        self.at(again, Event::Make { pool });
    }

    /// Disks of a pool that was destroyed may have keys of both heads, whose attempts were cut off from them: each is in the other's
    /// way, and an operator takes them off from another host.
    fn take_off_what_both_left(&mut self, pool: usize) {
        let mut workers = self
            .machines
            .iter()
            .filter_map(|machine| machine.workers.get(pool));
        if !workers.all(|worker| worker.job.is_none()) {
            return;
        }
        let heads = [0, 1].map(|who| self.machines[who].id.number());
        for disk in self.disks_of(pool) {
            let state = &mut self.disks[disk];
            let has = |head| {
                let mut keys = state.registrants.iter();
                keys.any(|(_, key)| (key >> 32) as u8 == head)
            };
            if heads.into_iter().all(has) {
                (state.registrants, state.holder) = (Vec::new(), None);
                self.trace(|| format!("=== keys of both heads are taken off disk {disk}"));
            }
        }
    }

    fn clock_jumps(&mut self, draw: &Draw) -> String {
        let (who, by, now) = (draw.who, draw.time, self.now);
        if self.machines[who].halt.is_none() {
            let machine = &mut self.machines[who];
            machine.clock.jump(now, by);
            let workers = machine.workers.iter_mut();
            workers.for_each(|worker| worker.ledger.told.jumps += 1);
            self.checks.breaker.clock_went_astray(now);
        }
        self.machines[who].late = self.rng.below(400 * MS);
        self.wake(who, now);
        self.blame([who == 0, who == 1]);
        format!("clock of {who} jumps by {} ms, and it is late now", by / MS)
    }

    fn shelf_forgets(&mut self, draw: &Draw) -> String {
        let who = draw.who;
        // Nothing is left to preempt, and so nothing that aborts what the owner has under way. Only
        // when all is well: who hangs after it was fenced may write again to a shelf that
        // forgot the fence, and a head that never heard of it cannot know.
        self.director.alone = true;
        for disk in &mut self.disks {
            disk.lingers = crate::shelf::LIFETIME - SECOND;
            disk.registrants.clear();
            disk.holder = None;
        }
        self.note_all_keys();
        self.halt(who, Halt::Stuck, draw.time);
        format!("{who} is stuck, the shelf forgets and is slow to write")
    }
}
