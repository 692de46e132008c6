//! Where a sector of an array is on its members: a pure calculation, in sectors of the members' data.
//!
//! What is written down here is the kernel's on-disk format (`raid5_compute_sector` of `drivers/md/raid5.c`,
//! `__raid10_find_phys` of `drivers/md/raid10.c`), held against arrays that mdadm and the kernel made.

use super::geometry::{Geometry, Kind};

/// How data and parity go round (`ALGORITHM_*` of `drivers/md/raid5.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The parity goes round, beginning where `first` says; Q behind it.
    Rotating(Rotation),
    /// The same over all slots but the last, which has the Q.
    RotatingSix(Rotation),
    /// Parity first, data behind.
    First,
    /// Parity last.
    Last,
    /// P first and Q last.
    FirstSix,
    /// DDF: as right asymmetric, with another order in the calculation of Q.
    ZeroRestart,
    /// DDF: as left asymmetric, beginning one later.
    NRestart,
    /// DDF: as left symmetric with Q before P.
    NContinue,
}

/// Which way the parity goes, and what the data do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// From the last slot to the first.
    pub is_left: bool,
    /// Data begin behind the parity and go round; else they begin at the first slot and step over it.
    pub is_symmetric: bool,
}

impl Algorithm {
    /// The layout with this number, of level 4, 5 or 6.
    pub fn new(level: i32, layout: u32) -> Option<Algorithm> {
        let rotation = |number: u32| Rotation {
            is_left: number.is_multiple_of(2),
            is_symmetric: number >= 2,
        };
        Some(match (level, layout) {
            // Whatever its layout says.
            (4, _) => Algorithm::Last,
            (5 | 6, 0..=3) => Algorithm::Rotating(rotation(layout)),
            (5 | 6, 4) => Algorithm::First,
            (5 | 6, 5) => Algorithm::Last,
            (6, 8) => Algorithm::ZeroRestart,
            (6, 9) => Algorithm::NRestart,
            (6, 10) => Algorithm::NContinue,
            (6, 16..=19) => Algorithm::RotatingSix(rotation(layout - 16)),
            (6, 20) => Algorithm::FirstSix,
            _ => return None,
        })
    }

    /// The slots of a piece of data, of P and of Q: of the `data`th piece of the `stripe`th stripe over so many slots.
    fn slots(self, is_six: bool, stripe: u64, data: u64, disks: u64) -> (u64, u64, Option<u64>) {
        let parities = if is_six { 2 } else { 1 };
        let pieces = disks - parities;
        // Slots that are next to one another round the end are P and Q.
        let behind = |p: u64| {
            let slot = match (is_six, p) {
                (true, p) if p == disks - 1 => data + 1,
                (true, p) if data >= p => data + 2,
                (false, p) if data >= p => data + 1,
                _ => data,
            };
            (slot, p, is_six.then_some((p + 1) % disks))
        };
        match self {
            Algorithm::Rotating(Rotation {
                is_left,
                is_symmetric,
            }) => {
                let turn = stripe % disks;
                let p = if is_left { disks - 1 - turn } else { turn };
                if is_symmetric {
                    let q = is_six.then_some((p + 1) % disks);
                    ((p + parities + data) % disks, p, q)
                } else {
                    behind(p)
                }
            }
            Algorithm::RotatingSix(Rotation {
                is_left,
                is_symmetric,
            }) => {
                let round = disks - 1;
                let turn = stripe % round;
                let p = if is_left { round - 1 - turn } else { turn };
                let slot = match is_symmetric {
                    true => (p + 1 + data) % round,
                    false if data >= p => data + 1,
                    false => data,
                };
                (slot, p, Some(round))
            }
            Algorithm::First => (data + parities, 0, is_six.then_some(1)),
            Algorithm::Last => (data, pieces, is_six.then_some(pieces + 1)),
            Algorithm::FirstSix => (data + 1, 0, Some(disks - 1)),
            Algorithm::ZeroRestart => behind(stripe % disks),
            Algorithm::NRestart => behind(disks - 1 - (stripe + 1) % disks),
            Algorithm::NContinue => {
                let p = disks - 1 - stripe % disks;
                ((p + 1 + data) % disks, p, Some((p + disks - 1) % disks))
            }
        }
    }
}

impl Algorithm {
    /// The slots of a stripe's data, each with the power that it has in Q (`raid6_d0`, `raid6_idx_to_slot`): they are counted
    /// from the one behind Q on, round the end; DDF counts slots, parities too.
    fn powers(self, disks: u64, p: u64, q: Option<u64>) -> Vec<(u32, u32)> {
        let is_ddf = matches!(
            self,
            Algorithm::ZeroRestart | Algorithm::NRestart | Algorithm::NContinue
        );
        let first = match q {
            Some(q) if !is_ddf => (q + 1) % disks,
            _ => 0,
        };
        let slots = (first..first + disks).map(|slot| slot % disks);
        let data = slots.filter(|slot| *slot != p && Some(*slot) != q);
        let data = data.enumerate();
        data.map(|(place, slot)| (slot as u32, if is_ddf { slot as u32 } else { place as u32 }))
            .collect()
    }
}

/// Copies of a raid10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Copies side by side.
    pub near: u32,
    /// Copies further on.
    pub far: u32,
    /// Further on means in the next stripe, and not in the next part of each member.
    pub is_offset: bool,
    /// Slots among which far copies stay.
    set: u64,
    /// Chunks from one far copy to the next.
    stride: u64,
}

impl Copies {
    /// The layout with this number, over so many slots of so many chunks.
    pub fn new(layout: u32, disks: u32, chunks: u64) -> Option<Copies> {
        let (near, far) = (layout & 0xff, layout >> 8 & 0xff);
        if near == 0 || far == 0 || layout >> 19 != 0 || disks == 0 {
            return None;
        }
        let set = match layout >> 17 {
            0 => disks,
            // An intermediate form with a mistake in it, which no mdadm made by default.
            2 => near * far,
            _ => return None,
        };
        let is_offset = layout & 1 << 16 != 0;
        let stride = if is_offset {
            1
        } else {
            let (near, far, disks) = (u64::from(near), u64::from(far), u64::from(disks));
            let data = (chunks / far).checked_mul(disks)? / near;
            data.checked_mul(near * far)?.div_ceil(disks) / far
        };
        Some(Copies {
            near,
            far,
            is_offset,
            set: u64::from(set),
            stride,
        })
    }

    /// Slots and chunks there of a chunk of the array.
    fn places(&self, chunk: u64, disks: u64) -> Vec<(u64, u64)> {
        let first = chunk * u64::from(self.near);
        let (mut slot, stripe) = (first % disks, first / disks);
        let mut row = if self.is_offset {
            stripe * u64::from(self.far)
        } else {
            stripe
        };
        // A last set takes what is left over.
        let last = (disks / self.set).saturating_sub(1) * self.set;
        let rest = disks % self.set;
        let mut places = Vec::new();
        for _ in 0..self.near {
            let (mut at, mut there) = (slot, row);
            places.push((at, there));
            for _ in 1..self.far {
                let set = at / self.set;
                at += u64::from(self.near);
                at = if rest != 0 && at > last {
                    (at - last) % (self.set + rest) + last
                } else {
                    at % self.set + self.set * set
                };
                there += self.stride;
                places.push((at, there));
            }
            slot += 1;
            if slot >= disks {
                slot = 0;
                row += 1;
            }
        }
        places
    }
}

/// Where a sector of the array is. Sectors are those of a member's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On each of these slots, at these sectors.
    Copies(Vec<(u32, u64)>),
    /// On one slot, and to be computed from the others.
    Parity {
        /// The slot that has it.
        data: u32,
        /// All slots of the stripe's data, each with the power of the generator that it has in Q.
        pieces: Vec<(u32, u32)>,
        /// The slot of P.
        p: u32,
        /// The slot of Q, if there is one.
        q: Option<u32>,
        /// The sector on all of them.
        sector: u64,
    },
}

impl Geometry {
    /// Where a sector is.
    pub fn place(&self, sector: u64) -> Place {
        let disks = u64::from(self.disks);
        let (chunk, within) = match self.kind {
            Kind::Raid1 => {
                return Place::Copies((0..self.disks).map(|slot| (slot, sector)).collect());
            }
            _ => (sector / self.chunk, sector % self.chunk),
        };
        match self.kind {
            Kind::Raid0 | Kind::Raid1 => {
                let at = chunk / disks * self.chunk + within;
                Place::Copies(vec![((chunk % disks) as u32, at)])
            }
            Kind::Parity { level, algorithm } => {
                let is_six = level == 6;
                let pieces = disks - if is_six { 2 } else { 1 };
                let (stripe, piece) = (chunk / pieces, chunk % pieces);
                let (data, p, q) = algorithm.slots(is_six, stripe, piece, disks);
                Place::Parity {
                    data: data as u32,
                    pieces: algorithm.powers(disks, p, q),
                    p: p as u32,
                    q: q.map(|q| q as u32),
                    sector: stripe * self.chunk + within,
                }
            }
            Kind::Raid10(copies) => {
                let places = copies.places(chunk, disks).into_iter();
                let places = places.map(|(slot, row)| (slot as u32, row * self.chunk + within));
                Place::Copies(places.collect())
            }
        }
    }

    /// Sectors from this one on that are together with it wherever it is.
    pub fn run(&self, sector: u64) -> u64 {
        match self.kind {
            Kind::Raid1 => self.sectors.saturating_sub(sector),
            _ => self.chunk - sector % self.chunk,
        }
    }
}
