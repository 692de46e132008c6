//! The shape of an array: level, layout, chunk, slots and length, and how many members it can do without.

use std::collections::BTreeSet;

use super::layout::{Algorithm, Copies, Place};
use super::superblock::{Features, Superblock};

/// Sectors of a page: the smallest chunk of what has parity or copies (`setup_conf`, `setup_geo` of the kernel).
const PAGE: u64 = 8;

/// What is done with the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Striped, and nothing more.
    Raid0,
    /// All the same.
    Raid1,
    /// One parity, or two.
    Parity {
        /// 4, 5 or 6.
        level: u8,
        /// Where data and parity go.
        algorithm: Algorithm,
    },
    /// Striped copies.
    Raid10(Copies),
}

/// The shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// What is done with the members.
    pub kind: Kind,
    /// Sectors of a chunk; of a raid1 nothing is cut.
    pub chunk: u64,
    /// Slots.
    pub disks: u32,
    /// Sectors of the array.
    pub sectors: u64,
}

/// A shape that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Another kind of array.
    #[error("level {0} is not assembled here")]
    Level(i32),
    /// Another layout.
    #[error("layout {layout:#x} of raid{level} is not known")]
    Layout {
        /// The level.
        level: i32,
        /// The number of the layout.
        layout: u32,
    },
    /// Not a chunk that the kernel takes.
    #[error("a chunk of {0} sectors is none that the kernel takes")]
    Chunk(u32),
    /// Too few slots for the level.
    #[error("{disks} members are too few for raid{level}")]
    Disks {
        /// The level.
        level: i32,
        /// Slots.
        disks: u32,
    },
    /// Longer than a device can be.
    #[error("it is longer than can be")]
    Overflow,
}

impl Geometry {
    /// The shape that this superblock tells of. `members` are the lengths of all slots' data, for a raid0, of which the
    /// superblock says no length.
    ///
    /// # Errors
    /// What is not known here.
    pub fn new(superblock: &Superblock, members: &[u64]) -> Result<Geometry, GeometryError> {
        let (level, layout, disks) = (superblock.level, superblock.layout, superblock.raid_disks);
        let chunk = u64::from(superblock.chunk);
        let unknown = GeometryError::Layout { level, layout };
        let few = GeometryError::Disks { level, disks };
        let bad_chunk = GeometryError::Chunk(superblock.chunk);
        let (slots, size) = (u64::from(disks), superblock.size);
        let is_chunk = chunk.is_power_of_two() && chunk >= PAGE;
        let (kind, sectors) = match level {
            0 if chunk == 0 => return Err(bad_chunk),
            0 => {
                let mut sum = 0_u64;
                for length in members {
                    sum = sum
                        .checked_add(length / chunk * chunk)
                        .ok_or(GeometryError::Overflow)?;
                }
                (Kind::Raid0, Some(sum))
            }
            1 => (Kind::Raid1, Some(size)),
            4..=6 | 10 if !is_chunk => return Err(bad_chunk),
            4..=6 => {
                let parities = if level == 6 { 2 } else { 1 };
                let least = if level == 6 { 4 } else { 2 };
                let data = slots.checked_sub(parities).filter(|_| disks >= least);
                let algorithm = Algorithm::new(level, layout).ok_or(unknown)?;
                let kind = Kind::Parity {
                    level: level as u8,
                    algorithm,
                };
                (kind, (size / chunk * chunk).checked_mul(data.ok_or(few)?))
            }
            10 => {
                let copies = Copies::new(layout, disks, size / chunk).ok_or(unknown)?;
                if u64::from(copies.near) * u64::from(copies.far) > slots {
                    return Err(few);
                }
                let chunks = (size / chunk / u64::from(copies.far)).checked_mul(slots);
                let chunks = chunks.map(|chunks| chunks / u64::from(copies.near));
                (
                    Kind::Raid10(copies),
                    chunks.and_then(|chunks| chunks.checked_mul(chunk)),
                )
            }
            _ => return Err(GeometryError::Level(level)),
        };
        // Positions in bytes are computed with.
        let sectors = sectors.filter(|sectors| *sectors < 1 << 54);
        Ok(Geometry {
            kind,
            chunk,
            disks,
            sectors: sectors.ok_or(GeometryError::Overflow)?,
        })
    }

    /// Parity that is not known to be right makes data wrong when a member is lost.
    pub fn has_parity(&self) -> bool {
        matches!(self.kind, Kind::Parity { .. })
    }

    /// Whether all data are there with these slots alone.
    pub fn is_enough(&self, slots: &BTreeSet<u32>) -> bool {
        let missing = self.disks as usize - slots.len();
        match self.kind {
            Kind::Raid0 => missing == 0,
            Kind::Raid1 => !slots.is_empty(),
            Kind::Parity { level: 6, .. } => missing <= 2,
            Kind::Parity { .. } => missing <= 1,
            // The copies repeat after as many chunks as there are slots.
            Kind::Raid10(_) => (0..u64::from(self.disks)).all(|chunk| {
                let Place::Copies(copies) = self.place(chunk * self.chunk) else {
                    return false;
                };
                copies.iter().any(|(slot, _)| slots.contains(slot))
            }),
        }
    }

    /// The kernel's name of the module that does it.
    pub fn module(&self) -> &'static str {
        match self.kind {
            Kind::Raid0 => "raid0",
            Kind::Raid1 => "raid1",
            Kind::Parity { .. } => "raid456",
            Kind::Raid10(_) => "raid10",
        }
    }

    /// Whether a raid0 of members of these lengths is striped over different numbers of them in its course.
    pub fn is_in_zones(chunk: u64, members: &[u64]) -> bool {
        let rounded: BTreeSet<u64> = members.iter().map(|length| length / chunk.max(1)).collect();
        rounded.len() > 1
    }

    /// Whether it says how zones of a raid0 are laid out; without that the kernel refuses, since kernels differed.
    pub fn says_zones(superblock: &Superblock) -> bool {
        superblock.features.any(Features::RAID0_LAYOUT)
    }
}
