//! Cables that are cut, noisy, or come and go.

use orthrus_hb::{LinkId, Timing};

use crate::clock::{MS, SECOND};
use crate::director::Expect;
use crate::event::Event;
use crate::world::World;

use super::disks::MANY;
use super::{Draw, Part};

/// How often an owner is cut off in one fence storm: often enough that both heads are barred before its end.
const ONE_WAY: u32 = 8;

impl World {
    pub(super) fn cables_are_cut(&mut self) -> String {
        let cut = self.rng.range(1, 16);
        for (bit, path) in self.paths.iter_mut().flatten().enumerate() {
            path.cut = cut >> bit & 1 == 1;
        }
        // A head is taken for dead when nothing of it arrives and no ledger shows that it lives.
        let silent = [cut & 3 == 3, cut & 12 == 12];
        self.taken_for_dead(silent);
        format!("cut {cut:04b} of first serial, ether, second serial, ether")
    }

    /// Each head hears the other by another cable, and one of them has something to ask of the other: what answers a
    /// frame must not hang on the cable that brought it.
    pub(super) fn cables_are_cut_crosswise_and_a_path_is_lost(&mut self, draw: &Draw) -> String {
        let serial = self.rng.index(2);
        for (who, paths) in self.paths.iter_mut().enumerate() {
            paths[LinkId::Serial.index()].cut = who == serial;
            paths[LinkId::Ether.index()].cut = who != serial;
        }
        let lost = self.shelf_path_is_lost(draw);
        self.director.alone = true;
        format!("of {serial} the serial line is cut, of its peer Ethernet, and {lost}")
    }

    pub(super) fn all_cables_are_cut(&mut self) -> String {
        self.cut_all();
        self.taken_for_dead([true; 2]);
        if self.rng.chance(300) {
            self.director.stay = 150 * SECOND;
        }
        "all cables are cut".to_owned()
    }

    pub(super) fn cut_all(&mut self) {
        let paths = self.paths.iter_mut().flatten();
        paths.for_each(|path| path.cut = true);
    }

    /// Nothing moves while every owner that falls silent can be seen in a ledger.
    pub(super) fn taken_for_dead(&mut self, silent: [bool; 2]) {
        let blamed = [0, 1].map(|who| silent[who] && !self.shows(who));
        let serves_any = |who| (0..self.clients.len()).any(|pool| self.serves(who, pool));
        if [0, 1].iter().all(|&who| !blamed[who] || !serves_any(who)) {
            self.expect_nothing();
        } else {
            self.director.expect = Expect::OneLives;
        }
        self.blame(blamed);
    }

    fn an_owner_dies_soon(&mut self, draw: &Draw) {
        let fault = self.director.faults;
        let off = draw.time.max(60 * SECOND);
        let at = self.now + self.rng.range(SECOND, 20 * SECOND);
        self.at(
            at,
            Event::Part {
                fault,
                part: Part::Death { off },
            },
        );
        self.director.together += 1;
        self.director.stay = 60 * SECOND;
        self.director.alone = true;
    }

    pub(super) fn all_cables_are_cut_and_an_owner_dies(&mut self, draw: &Draw) -> String {
        self.cut_all();
        self.an_owner_dies_soon(draw);
        // Where there is no ledger this moves a pool, and the head that lost it may be on its way up.
        if self.copies.iter().all(|copies| !copies.is_empty()) {
            self.hurry(5 * SECOND);
        }
        "all cables are cut and, soon, an owner dies".to_owned()
    }

    /// What a dead owner sent arrives for some seconds more, all of it older than what came by the other cable.
    pub(super) fn a_serial_line_holds_back_and_an_owner_dies(&mut self, draw: &Draw) -> String {
        let hold = self.rng.range(3 * SECOND, 12 * SECOND);
        for paths in &mut self.paths {
            paths[LinkId::Serial.index()].hold = hold;
        }
        self.an_owner_dies_soon(draw);
        // Frames of the release before tell nothing of their order.
        if self.elder.is_none() {
            self.hurry(5 * SECOND);
        }
        format!(
            "serial lines hold back for {} ms and, soon, an owner dies",
            hold / MS
        )
    }

    /// A head that just came up may have heard its peer and not read much yet, or have heard nothing at all: then
    /// the ledger alone tells it who lives.
    pub(super) fn cables_are_cut_at_a_boot(&mut self, draw: &Draw) -> String {
        let (who, fault) = (draw.who, self.director.faults);
        let off = self.rng.range(2 * SECOND, 20 * SECOND);
        self.crash(who, off);
        let after = off - SECOND + self.rng.below(6 * SECOND);
        let part = Part::Cut;
        self.at(self.now + after, Event::Part { fault, part });
        self.director.together += 1;
        self.director.stay = after + 20 * SECOND;
        let mut what = format!(
            "{who} is off for {} ms, and cables are cut when it is up",
            off / MS
        );
        if self.rng.chance(500) {
            let part = Part::Death { off: 600 * SECOND };
            let after = after + self.rng.range(5 * SECOND, 30 * SECOND);
            self.at(self.now + after, Event::Part { fault, part });
            self.director.together += 1;
            self.director.stay = after + 60 * SECOND;
            if self.copies.iter().all(|copies| !copies.is_empty()) {
                // A boot's wait and its look at the disks.
                self.hurry(25 * SECOND);
            }
            what += ", and then an owner dies";
        }
        what
    }

    pub(super) fn cables_are_noisy(&mut self) -> String {
        let calm = self.calm();
        let loss = self.rng.below(if calm { 300 } else { 950 });
        for path in self.paths.iter_mut().flatten() {
            path.loss = loss;
            path.duplicates = self.rng.below(300);
            path.damage = self.rng.below(200);
            path.delay = self.rng.below(if calm { 300 } else { 2000 }) * MS;
        }
        // Such noise is ordinary silence where `dead` is shorter than a second, and who chooses that has takeovers.
        let is_short = self.timing.dead < Timing::default().dead;
        self.blame([is_short; 2]);
        if is_short {
            self.director.together += MANY;
        }
        format!("noise on the cables, loss {loss}")
    }

    /// An owner is cut off for a moment, again and again.
    pub(super) fn heads_fence_each_other(&mut self) -> String {
        let fault = self.director.faults;
        self.director.alone = true;
        self.director.stay = 330 * SECOND;
        self.director.together += ONE_WAY;
        self.one_way(fault, ONE_WAY);
        "owners are cut off again and again".to_owned()
    }

    pub(super) fn one_way(&mut self, fault: u64, left: u32) {
        let Some(who) = self.owner(0) else { return };
        self.paths[who].iter_mut().for_each(|path| path.cut = true);
        self.trace(|| format!("=== {who} is not heard"));
        let after = self.rng.range(1200 * MS, 8 * SECOND);
        let part = Part::Joined { left };
        self.at(self.now + after, Event::Part { fault, part });
    }

    pub(super) fn joined(&mut self, fault: u64, left: u32) {
        self.trace(|| "=== cables are joined".to_owned());
        let paths = self.paths.iter_mut().flatten();
        paths.for_each(|path| path.cut = false);
        let Some(left) = left.checked_sub(1) else {
            return;
        };
        let after = self.rng.range(15 * SECOND, 30 * SECOND);
        let part = match left {
            0 => Part::Death { off: 60 * SECOND },
            _ => Part::OneWay { left },
        };
        self.at(self.now + after, Event::Part { fault, part });
    }
}
