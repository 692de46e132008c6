//! What the text metadata means: a volume group, its physical and logical volumes.
//!
//! From here on names are safe: whatever is not a valid name of LVM2 is refused before it can become part of a
//! path or of a device-mapper name. References are indices that exist, stretches on disks do not overlap, and no
//! volume is a part of itself. What a kind of segment is has a file of its own; each reads itself from the text
//! (`lib/*/*.c` of lvm2, the `text_import` functions). Nothing is decided here about what may be activated.

mod cache;
mod entries;
mod error;
mod flags;
mod integrity;
mod links;
mod mirror;
mod parse;
mod raid;
mod segment;
mod snapshot;
mod thin;
mod vdo;
mod writecache;

use super::uuid::Uuid;
use crate::array::Judged;
use crate::disk::Disk;

pub use cache::{Cache, CacheMode, CachePool, CacheSettings, CacheVolume};
pub use error::GroupError;
pub use flags::{Flag, Flags};
pub use integrity::{Integrity, SETTINGS as INTEGRITY_SETTINGS};
pub use links::{Links, Part, needs_of};
pub use mirror::Mirror;
pub use raid::{BEHIND_TAG, Image, Raid, RaidLevel, UNSURE_TAG};
pub use segment::{Area, Segment, SegmentKind};
pub use snapshot::{LOST_TAG, Snapshot};
pub use thin::{Discards, Message, Thin, ThinPool};
pub use vdo::{Vdo, VdoPool};
pub use writecache::Writecache;

/// A volume group as the newest valid metadata describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Grows by one with each change of the metadata.
    pub seqno: u64,
    /// The host or cluster that it belongs to.
    pub system_id: Option<String>,
    /// `dlm`, `sanlock`: shared under a lock manager.
    pub lock_type: Option<String>,
    /// `RESIZEABLE`, `READ`, `WRITE`, `EXPORTED`, `CLUSTERED`, `PVMOVE`, ...
    pub status: Vec<String>,
    /// Its tags, one of which may be the epoch of the last claim: see `write::stamp`.
    pub tags: Vec<String>,
    /// Size of an extent in sectors of 512 bytes.
    pub extent_sectors: u64,
    /// All members that the metadata name.
    pub pvs: Vec<PhysicalVolume>,
    /// All logical volumes, the hidden parts of others too.
    pub lvs: Vec<LogicalVolume>,
    /// What was wrong when the disks were read.
    pub conflicts: Vec<Conflict>,
    /// Disks that are here and did not answer then, as `sdb (naa.5000c500a1b2c3d4)`: a member that seems to be missing may be one.
    pub silent: Vec<String>,
}

/// A member of a volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolume {
    /// Its identity, as on its label.
    pub uuid: Uuid,
    /// What it was called where the metadata were written last. For messages only.
    pub hint: Option<String>,
    /// The disk with that label, if it is here; an array stands for one.
    pub disk: Option<Disk>,
    /// The array, where it is on one.
    pub array: Option<Box<Judged>>,
    /// Marked by an earlier owner as missing: its data are old.
    pub is_missing: bool,
    /// Where its first extent begins, in sectors.
    pub data_start: u64,
    /// Its extents.
    pub extents: u64,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// It is something to use, and no part of another volume.
    pub is_visible: bool,
    /// Writes are allowed.
    pub is_writable: bool,
    /// What else is said about it.
    pub flags: Flags,
    /// An owner's kernel has given it up as the store of a snapshot.
    pub is_lost: bool,
    /// An owner's kernel has thrown it out as an image of RAID: what is on it is old until it is made equal.
    pub is_behind: bool,
    /// It is RAID that has all of its images, and whether they are equal was not looked at yet.
    pub is_unsure: bool,
    /// In order, without gaps.
    pub segments: Vec<Segment>,
}

/// Something that only shows when all disks are seen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Two disks carry the label of the same physical volume.
    SamePv {
        /// One disk.
        one: String,
        /// The other one.
        other: String,
    },
    /// Two volume groups have the same name.
    SameName {
        /// The other one.
        other: Uuid,
        /// Whose that is.
        system_id: Option<String>,
    },
    /// Two disks carry different metadata of the same age.
    Disagreement {
        /// The age.
        seqno: u64,
    },
    /// The newest metadata are only on disks that they themselves call missing.
    Stray {
        /// The age.
        seqno: u64,
    },
}

/// Whether LVM2 allows this as the name of a volume or a group.
pub fn is_name(name: &str) -> bool {
    let characters = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'_' | b'.' | b'-'));
    characters
        && (1..=127).contains(&name.len())
        && !name.starts_with('-')
        && !matches!(name, "." | "..")
}

impl VolumeGroup {
    /// The volumes to use, by name.
    pub fn visible(&self) -> impl Iterator<Item = &LogicalVolume> {
        self.lvs.iter().filter(|lv| lv.is_visible)
    }

    /// The disks of the members that are here, those of an array instead of it; a claim needs all of them (see
    /// [`VolumeGroup::refusal`]). One that an owner marked as missing is no member until it is taken back, whether it is here or
    /// not.
    pub fn disks(&self) -> Vec<Disk> {
        let members = self.pvs.iter().filter(|pv| !pv.is_missing);
        let disks = members.flat_map(|pv| match (&pv.array, &pv.disk) {
            (Some(array), _) => array.disks().cloned().collect(),
            (None, Some(disk)) => vec![disk.clone()],
            (None, None) => Vec::new(),
        });
        disks.collect()
    }

    /// What the metadata are on: the members themselves, be they disks or arrays.
    pub fn devices(&self) -> Vec<Disk> {
        let members = self.pvs.iter().filter(|pv| !pv.is_missing);
        members.filter_map(|pv| pv.disk.clone()).collect()
    }

    /// The arrays that members are on.
    pub fn arrays(&self) -> impl Iterator<Item = &Judged> {
        let members = self.pvs.iter().filter(|pv| !pv.is_missing);
        members.filter_map(|pv| pv.array.as_deref())
    }

    /// The same, of which more is known than before.
    pub fn arrays_mut(&mut self) -> impl Iterator<Item = &mut Judged> {
        let members = self.pvs.iter_mut().filter(|pv| !pv.is_missing);
        members.filter_map(|pv| pv.array.as_deref_mut())
    }

    /// Whether the group has this word in its status.
    pub fn has(&self, word: &str) -> bool {
        self.status.iter().any(|known| known == word)
    }

    /// The size of a volume in bytes.
    pub fn bytes_of(&self, lv: &LogicalVolume) -> u64 {
        self.sectors_of(lv).saturating_mul(512)
    }

    /// The size of a volume in sectors.
    pub fn sectors_of(&self, lv: &LogicalVolume) -> u64 {
        lv.extents().saturating_mul(self.extent_sectors)
    }
}

impl LogicalVolume {
    /// The length in extents.
    pub fn extents(&self) -> u64 {
        self.segments.iter().map(|segment| segment.extents).sum()
    }
}
