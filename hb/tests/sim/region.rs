//! A copy of the ledger on a disk, as bytes: what two heads and a loss of power may make of it.
//!
//! Of a block only the record at its start is kept; it lies in the first of the block's sectors, so a write that
//! is torn between two sectors changes either all of it or nothing. Some disks tear a sector, too.

use orthrus_hb::ledger::{BLOCK_BYTES, RECORD_BYTES, SLOT_BLOCKS};

use crate::rng::Rng;

const SECTOR_BYTES: usize = 512;
const _: () = assert!(RECORD_BYTES <= SECTOR_BYTES);

/// Tears within a sector, in a thousand tears.
const WITHIN_A_SECTOR: u64 = 200;

/// The part of a block that holds a record.
pub type Block = [u8; RECORD_BYTES];

/// The slots of both heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(pub [Block; SLOT_BLOCKS]);

impl Region {
    /// Never written.
    pub fn new() -> Region {
        Region([[0; RECORD_BYTES]; SLOT_BLOCKS])
    }

    /// The power goes during a write of a block: half of its sectors are new.
    pub fn tear(&mut self, place: usize, new: &Block, rng: &mut Rng) {
        let old = &mut self.0[place];
        if rng.chance(WITHIN_A_SECTOR) {
            *old = mixed(old, new, rng);
        } else if rng.index(BLOCK_BYTES / SECTOR_BYTES) < BLOCK_BYTES / SECTOR_BYTES / 2 {
            *old = *new;
        }
    }
}

/// The beginning of one and the rest of another.
pub fn mixed(old: &Block, new: &Block, rng: &mut Rng) -> Block {
    let mut block = *old;
    let at = rng.index(RECORD_BYTES);
    block[..at].copy_from_slice(&new[..at]);
    block
}
