//! Device-mapper tables: the same lines that `lvchange -ay` loads for the same metadata.
//!
//! All lengths are sectors of 512 bytes, the unit of device-mapper.

use std::fmt;

use super::group::{LogicalVolume, SegmentKind, VolumeGroup};
use super::uuid::Uuid;

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// First sector in the volume.
    pub start: u64,
    /// Length in sectors.
    pub length: u64,
    /// Where it goes.
    pub target: Target,
}

/// A device-mapper target with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `linear DEVICE START`
    Linear(Place),
    /// `striped COUNT CHUNK (DEVICE START)...`
    Striped {
        /// Sectors on one device before the next one's turn.
        chunk: u64,
        /// The devices.
        places: Vec<Place>,
    },
}

/// A sector of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Device number.
    pub device: (u32, u32),
    /// First sector there.
    pub start: u64,
}

impl Target {
    /// The name of the target.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Linear(_) => "linear",
            Target::Striped { .. } => "striped",
        }
    }

    /// Its parameters as the kernel wants and reports them.
    pub fn parameters(&self) -> String {
        match self {
            Target::Linear(place) => place.to_string(),
            Target::Striped { chunk, places } => {
                let places: Vec<String> = places.iter().map(Place::to_string).collect();
                format!("{} {chunk} {}", places.len(), places.join(" "))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.device.0, self.device.1, self.start)
    }
}

impl fmt::Display for Line {
    /// As `dmsetup table` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, length, target) = (self.start, self.length, &self.target);
        write!(
            f,
            "{start} {length} {} {}",
            target.kind(),
            target.parameters()
        )
    }
}

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A segment is of a kind that is not supported.
    #[error("segment type {0} is not supported")]
    Unsupported(String),
    /// A disk is not here.
    #[error("physical volume {0} is not here")]
    Missing(Uuid),
    /// A number does not fit.
    #[error("a segment lies beyond any disk")]
    TooLarge,
}

/// The table of a volume.
pub fn table(group: &VolumeGroup, lv: &LogicalVolume) -> Result<Vec<Line>, TableError> {
    lv.segments
        .iter()
        .map(|segment| {
            let (chunk, stripes) = match &segment.kind {
                SegmentKind::Striped {
                    chunk_sectors,
                    stripes,
                } => (*chunk_sectors, stripes),
                SegmentKind::Other(kind) => return Err(TableError::Unsupported(kind.clone())),
            };
            let sectors = |extents: u64| {
                extents
                    .checked_mul(group.extent_sectors)
                    .ok_or(TableError::TooLarge)
            };
            let mut places = Vec::new();
            for stripe in stripes {
                let pv = &group.pvs[stripe.pv];
                let disk = pv.disk.as_ref().ok_or(TableError::Missing(pv.uuid))?;
                let start = sectors(stripe.extent)?.checked_add(pv.data_start);
                places.push(Place {
                    device: disk.number,
                    start: start.ok_or(TableError::TooLarge)?,
                });
            }
            let target = match &places[..] {
                [place] => Target::Linear(*place),
                _ => Target::Striped { chunk, places },
            };
            Ok(Line {
                start: sectors(segment.start)?,
                length: sectors(segment.extents)?,
                target,
            })
        })
        .collect()
}

/// The device-mapper name, as LVM2 makes it: hyphens of either name are doubled, one stands between.
pub fn device_name(group: &str, lv: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), lv.replace('-', "--"))
}

/// What the device-mapper uuids of all volumes of a group begin with.
pub fn uuid_prefix(group: &Uuid) -> String {
    format!("LVM-{}", group.compact())
}

/// The device-mapper uuid of a volume.
pub fn device_uuid(group: &Uuid, lv: &Uuid) -> String {
    format!("{}{}", uuid_prefix(group), lv.compact())
}
