//! Lines of device-mapper tables: the same that `lvchange -ay` loads for the same metadata (`libdm/libdm-deptree.c`).
//!
//! All lengths are sectors of 512 bytes, the unit of device-mapper. What a line refers to is a disk, or another device
//! of the plan that has no number yet.

use std::fmt::Write as _;

use super::cache::CacheTarget;
use super::integrity::IntegrityTarget;
use super::mirror::MirrorTarget;
use super::raid::RaidTarget;
use super::thin::ThinPoolTarget;
use super::vdo::VdoTarget;
use super::writecache::WritecacheTarget;
use crate::sys::dm::TableLine;

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// First sector in the device.
    pub start: u64,
    /// Length in sectors.
    pub length: u64,
    /// Where it goes.
    pub target: Target,
}

/// What a device stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// A disk, by its number.
    Disk((u32, u32)),
    /// An earlier device of the plan, by its index.
    Device(usize),
}

/// A sector of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// On what.
    pub device: Backing,
    /// First sector there.
    pub start: u64,
}

/// Writes a device as device-mapper takes it: `254:3`.
pub type Show<'a> = dyn Fn(Backing) -> String + 'a;

/// A device-mapper target with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every access fails.
    Error,
    /// Reads zeros.
    Zero,
    /// `DEVICE START`
    Linear(Place),
    /// `COUNT CHUNK (DEVICE START)...`
    Striped {
        /// Sectors on one device before the next one's turn.
        chunk: u64,
        /// The devices.
        places: Vec<Place>,
    },
    /// RAID.
    Raid(RaidTarget),
    /// The older mirror.
    Mirror(MirrorTarget),
    /// `ORIGIN`: what is written is copied to all snapshots first.
    Origin(Backing),
    /// `ORIGIN COW P CHUNK`
    Snapshot {
        /// The layer below the origin.
        origin: Backing,
        /// Where copies go.
        cow: Backing,
        /// Sectors of one copy.
        chunk: u32,
    },
    /// `ORIGIN COW P CHUNK`: an origin that gets back what a snapshot has. What is not copied yet is taken from the snapshot's
    /// store; what is written is copied to all other snapshots first.
    Merge {
        /// The layer below the origin.
        origin: Backing,
        /// The store of that snapshot.
        cow: Backing,
        /// Sectors of one copy.
        chunk: u32,
    },
    /// Space of thin volumes.
    ThinPool(ThinPoolTarget),
    /// `POOL ID [EXTERNAL]`
    Thin {
        /// The pool.
        pool: Backing,
        /// The number there.
        id: u32,
        /// Where blocks come from that the pool has not.
        external: Option<Backing>,
    },
    /// A cache.
    Cache(CacheTarget),
    /// A cache for writes.
    Writecache(WritecacheTarget),
    /// Checksums.
    Integrity(IntegrityTarget),
    /// Deduplication.
    Vdo(VdoTarget),
}

impl Target {
    /// The name of the target.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Error => "error",
            Target::Zero => "zero",
            Target::Linear(_) => "linear",
            Target::Striped { .. } => "striped",
            Target::Raid(_) => "raid",
            Target::Mirror(_) => "mirror",
            Target::Origin(_) => "snapshot-origin",
            Target::Snapshot { .. } => "snapshot",
            Target::Merge { .. } => "snapshot-merge",
            Target::ThinPool(_) => "thin-pool",
            Target::Thin { .. } => "thin",
            Target::Cache(_) => "cache",
            Target::Writecache(_) => "writecache",
            Target::Integrity(_) => "integrity",
            Target::Vdo(_) => "vdo",
        }
    }

    /// Its parameters, as lvm2 writes them.
    pub fn parameters(&self, show: &Show<'_>) -> String {
        match self {
            Target::Error | Target::Zero => String::new(),
            Target::Linear(place) => place.shown(show),
            Target::Striped { chunk, places } => {
                let mut text = format!("{} {chunk}", places.len());
                for place in places {
                    let _ = write!(text, " {}", place.shown(show));
                }
                text
            }
            Target::Raid(raid) => raid.parameters(show),
            Target::Mirror(mirror) => mirror.parameters(show),
            Target::Origin(real) => show(*real),
            Target::Snapshot { origin, cow, chunk } | Target::Merge { origin, cow, chunk } => {
                format!("{} {} P {chunk}", show(*origin), show(*cow))
            }
            Target::ThinPool(pool) => pool.parameters(show),
            Target::Thin { pool, id, external } => {
                let external = external.map(|device| format!(" {}", show(device)));
                format!("{} {id}{}", show(*pool), external.unwrap_or_default())
            }
            Target::Cache(cache) => cache.parameters(show),
            Target::Writecache(cache) => cache.parameters(show),
            Target::Integrity(integrity) => integrity.parameters(show),
            Target::Vdo(vdo) => vdo.parameters(show),
        }
    }
}

impl Place {
    /// `DEVICE START`
    pub(super) fn shown(&self, show: &Show<'_>) -> String {
        format!("{} {}", show(self.device), self.start)
    }
}

impl Line {
    /// As it is given to the kernel.
    pub fn table_line(&self, show: &Show<'_>) -> TableLine {
        TableLine {
            start: self.start,
            length: self.length,
            kind: self.target.kind().to_owned(),
            parameters: self.target.parameters(show),
        }
    }
}
