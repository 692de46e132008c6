//! A copy of the ledger that does not tell what was written to it: reads come back with a bit flipped, or show what lay
//! there once.
//!
//! Where another copy tells the truth nothing may come of either. A lone copy that shows an old state is as good as a silent
//! one, and worse: it also forgets epochs, which then only keys and heads know. So it lies by itself, with the cables
//! whole and nobody dying: that must move nothing.

use crate::clock::{MS, SECOND, Time};
use crate::event::Event;
use crate::region::Region;
use crate::world::World;

use super::{Draw, Part};

/// What a copy answers until then.
pub struct Lie {
    pub until: Time,
    pub kind: Kind,
}

pub enum Kind {
    /// So many reads in a thousand have one wrong bit, which another read has not.
    Flips(u64),
    /// What lay there once.
    Old(Box<Region>),
}

impl World {
    pub(super) fn a_copy_of_the_ledger_lies(&mut self, draw: &Draw) -> String {
        let (now, copies) = (self.now, self.copies[draw.pool].clone());
        let disk = copies[self.rng.index(copies.len())];
        let lone = copies.len() == 1;
        let flips = Kind::Flips(self.rng.pick(&[20, 100, 300]));
        let copy = &self.disks[disk];
        // As it is now, and stays so; or as it was at an earlier fault.
        let old = [&copy.region, &copy.past].map(Option::clone);
        let by_itself = self.calm() && self.director.together == 1;
        let kind = match (self.rng.index(3), old) {
            (1, [Some(now), _]) if !lone || by_itself => Kind::Old(now),
            (2, [_, Some(past)]) if !lone || by_itself => Kind::Old(past),
            _ => flips,
        };
        let old = matches!(kind, Kind::Old(_));
        let until = now + draw.time;
        self.disks[disk].lie = Some(Lie { until, kind });
        self.director.alone = true;
        self.director.stay = draw.time.min(60 * SECOND);
        let mut what = format!(
            "the copy on disk {disk}, one of {}, lies for {} ms, old: {old}",
            copies.len(),
            draw.time / MS
        );
        self.expect_nothing();
        if !(lone && old) && self.rng.chance(500) {
            let fault = self.director.faults;
            let at = now + self.rng.range(0, 10 * SECOND);
            self.at(
                at,
                Event::Part {
                    fault,
                    part: Part::Cut,
                },
            );
            self.director.stay = 60 * SECOND;
            self.taken_for_dead([true; 2]);
            what += ", and soon all cables are cut";
        }
        what
    }

    /// What a read of a copy shows.
    pub fn told_by_copy(&mut self, disk: usize, region: &mut Region) {
        let now = self.now;
        let Some(lie) = self.disks[disk].lie.as_ref().filter(|lie| now < lie.until) else {
            return;
        };
        match &lie.kind {
            Kind::Old(old) => *region = Region::clone(old),
            &Kind::Flips(often) => {
                if self.rng.chance(often) {
                    let block = self.rng.index(region.0.len());
                    let block = &mut region.0[block];
                    let byte = self.rng.index(block.len());
                    block[byte] ^= 1 << self.rng.below(8);
                }
            }
        }
    }

    /// A fault strikes: what the copies show now is old later.
    pub fn keep_copies(&mut self) {
        if self.lies {
            for disk in &mut self.disks {
                disk.past.clone_from(&disk.region);
            }
        }
    }
}
