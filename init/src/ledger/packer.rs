//! From log lines to blocks of the flight record: which lines, and which place of the ring.
//!
//! The ring goes on over boots: a block has a sequence number, and the next one goes behind the place of the newest.
//! The block that is being filled is written again and again, in turn to its own place and to the next: a write that
//! is torn by a loss of power costs what came since the one before, and not the last words.

use orthrus_hb::ledger::FLIGHT_BLOCKS;
use orthrus_hb::{HeadId, Incarnation};

use super::flight::{self, Block, TEXT_BYTES};
use crate::log::Line;

/// Fills blocks.
pub struct Packer {
    block: Block,
    /// Bytes of text in it.
    used: usize,
    /// Its own place in the ring.
    place: usize,
    /// It holds what was not given out yet.
    is_dirty: bool,
    /// The next version goes to the place behind.
    aside: bool,
}

impl Packer {
    /// Goes on behind `newest`: the sequence number and place of the newest block on the disk.
    pub fn new(
        head: HeadId,
        incarnation: Incarnation,
        booted_ms: Option<u64>,
        newest: Option<(u64, usize)>,
    ) -> Packer {
        let (sequence, place) = match newest {
            Some((sequence, place)) => (sequence.wrapping_add(1), after(place)),
            None => (0, 0),
        };
        Packer {
            block: Block {
                head,
                incarnation,
                sequence,
                first: 0,
                booted_ms,
                lines: Vec::new(),
            },
            used: 0,
            place,
            is_dirty: false,
            aside: false,
        }
    }

    /// Takes a line with its number. Gives out the block before it when that is full, with its place.
    pub fn add(&mut self, number: u64, line: &Line) -> Option<(usize, Block)> {
        let bytes = flight::bytes_of(line);
        let follows = self.block.first + self.block.lines.len() as u64 == number;
        let full = self.used + bytes > TEXT_BYTES || !follows;
        let closed = (full && !self.block.lines.is_empty()).then(|| self.close());
        if self.block.lines.is_empty() {
            self.block.first = number;
        }
        if bytes <= TEXT_BYTES {
            self.block.lines.push(line.clone());
            self.used += bytes;
            self.is_dirty = true;
        }
        closed
    }

    /// The block that is being filled, with the place for this version; `None` when nothing is new.
    pub fn flush(&mut self) -> Option<(usize, Block)> {
        if !std::mem::take(&mut self.is_dirty) {
            return None;
        }
        let place = match self.aside {
            true => after(self.place),
            false => self.place,
        };
        self.aside = !self.aside;
        Some((place, self.numbered()))
    }

    fn close(&mut self) -> (usize, Block) {
        let place = self.place;
        let block = self.numbered();
        self.block.lines.clear();
        (self.used, self.place, self.is_dirty, self.aside) = (0, after(place), false, false);
        (place, block)
    }

    fn numbered(&mut self) -> Block {
        let block = self.block.clone();
        self.block.sequence = self.block.sequence.wrapping_add(1);
        block
    }
}

fn after(place: usize) -> usize {
    (place + 1) % FLIGHT_BLOCKS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::log::{Level, Source};

    fn line(number: u64) -> Line {
        Line::new(number, Level::Info, Source::Orthrus, &"x".repeat(386))
    }

    fn packer(newest: Option<(u64, usize)>) -> Packer {
        Packer::new(HeadId::First, Incarnation([1; 8]), None, newest)
    }

    #[test]
    fn a_growing_block_never_overwrites_its_last_version() {
        let mut packer = packer(None);
        let mut last = None;
        for number in 0..8 {
            assert_eq!(packer.add(number, &line(number)), None);
            let (place, block) = packer.flush().unwrap();
            assert_ne!(Some(place), last);
            assert_eq!(
                (block.sequence, block.lines.len()),
                (number, number as usize + 1)
            );
            last = Some(place);
            assert_eq!(packer.flush(), None);
        }
    }

    #[test]
    fn the_ring_wraps_and_keeps_the_newest_lines() {
        let mut packer = packer(None);
        let mut disk: BTreeMap<usize, Block> = BTreeMap::new();
        let lines = 1000;
        for number in 0..lines {
            disk.extend(packer.add(number, &line(number)));
            if number % 3 == 0 {
                disk.extend(packer.flush());
            }
        }
        disk.extend(packer.flush());
        assert_eq!(disk.len(), FLIGHT_BLOCKS);
        let mut kept: Vec<u64> = disk
            .values()
            .flat_map(|block| block.first..block.first + block.lines.len() as u64)
            .collect();
        kept.sort_unstable();
        kept.dedup();
        let oldest = kept[0];
        assert!(kept.iter().copied().eq(oldest..lines), "a gap: {kept:?}");
        assert!(lines - oldest >= 100);
    }

    #[test]
    fn another_boot_goes_on_behind_the_newest_block() {
        let mut packer = packer(Some((41, FLIGHT_BLOCKS - 1)));
        packer.add(0, &line(0));
        let (place, block) = packer.flush().unwrap();
        assert_eq!((place, block.sequence), (0, 42));
    }

    #[test]
    fn lines_that_were_missed_begin_a_block() {
        let mut packer = packer(None);
        packer.add(5, &line(5));
        let (place, before) = packer.add(9, &line(9)).unwrap();
        assert_eq!((place, before.first, before.lines.len()), (0, 5, 1));
        let (place, block) = packer.flush().unwrap();
        assert_eq!((place, block.first), (1, 9));
    }
}
