//! LVM2 on the pool's disks: read by ourselves, activated by device-mapper ioctls, never changed.
//!
//! From the disk upwards: [`label`] says that a disk is a physical volume, [`area`] where the text is,
//! [`text`] what it says, [`group`] what that means, [`health`] what is left of it, [`refusal`] why to leave it
//! alone, [`plan`] what device-mapper is told, [`active`] that it is done, [`release`] that it is gone again.
//! An array may stand for a disk (`on_arrays`), and how far the data of a physical volume go ([`reach`]) tells whether it does. Everything is read with `O_DIRECT` and nothing is remembered: after a claim
//! the caller reads again.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::array::place::Found;
use crate::array::{self, AssembleError, Judged, MemberError, Superblock};
use crate::disk::{Disk, direct, parallel, turn};
use texts::{Reader, Texts};
use write::stamp::DESTROYED_TAG;

pub mod active;
pub mod area;
pub mod bare;
mod crc;
pub mod edit;
mod ends;
pub mod flushes;
pub mod group;
pub mod health;
pub mod label;
mod mapper;
mod merge;
mod modules;
mod on_arrays;
pub mod plan;
mod progress;
pub mod reach;
pub mod refusal;
pub mod release;
pub mod reserved;
mod resync;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;
mod texts;
mod usage;
pub mod uuid;
pub mod write;

pub use active::{
    Activated, Active, VolumeError, activate, deactivate_volume, logical_block, pool_transaction,
    reactivate,
};
pub use group::{Conflict, LogicalVolume, PhysicalVolume, VolumeGroup};
pub use merge::{Merge, MergeState, merges};
pub use plan::{Choice, Plan};
pub use progress::{ImageState, Progress, compare, progress};
pub use refusal::{Refusal, system_id};
pub use release::{active_devices, deactivate};
pub use usage::{PoolUsage, StoreUsage, pool_usage, store_usage};
pub use uuid::Uuid;

/// How long all disks together may take to show their metadata.
const READ_LIMIT: Duration = Duration::from_secs(15);

/// What the disks hold.
#[derive(Debug, Default)]
pub struct Groups {
    /// Volume groups, by name.
    pub groups: Vec<VolumeGroup>,
    /// Those that were destroyed, and some of whose disks are not wiped.
    pub destroyed: Vec<VolumeGroup>,
    /// Disks with a label and no group.
    pub unused: Vec<String>,
    /// Disks, or copies of metadata on them, that cannot be read. A group is still found when
    /// another copy is whole.
    pub problems: Vec<Problem>,
}

/// Something that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{disk}: {trouble}")]
pub struct Problem {
    /// The kernel's name of the disk.
    pub disk: String,
    /// What is the matter.
    pub trouble: ReadTrouble,
}

/// Why metadata cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadTrouble {
    /// The disk fails.
    #[error("cannot read {what}: {source}")]
    Io {
        /// The label, the header of an area or its text.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Another host holds the disk so that nobody else may even read.
    #[error("cannot read {what}: another host holds an exclusive reservation")]
    Reserved {
        /// The label, the header of an area or its text.
        what: &'static str,
    },
    /// It is in an array, and nobody knows in which.
    #[error("{0}")]
    Member(MemberError),
    /// A superblock was not believed.
    #[error(
        "has an MD superblock ({0}) where data of the physical volume at its front are, and is taken for that physical volume. If it \
         is a member of an array: pvresize on the array, on another host, makes the physical volume as long as the array"
    )]
    SetAside(&'static str),
    /// It is an array that is left alone.
    #[error("MD array {name:?}: {refusal}")]
    Array {
        /// Its name.
        name: String,
        /// Why.
        refusal: array::Refusal,
    },
    /// What an array holds cannot be read on its members.
    #[error("cannot be read on its members: {0}")]
    Unassembled(array::ReadError),
    /// Whether it runs cannot be told.
    #[error("{0}")]
    Kernel(AssembleError),
    /// An array on an array.
    #[error("is itself a member of an MD array: arrays on arrays are not assembled here")]
    Nested,
    /// The disk does not answer.
    #[error("no answer within {} s; check its power and its cables", READ_LIMIT.as_secs())]
    TimedOut,
    /// The label is broken.
    #[error("{0}")]
    Label(#[from] label::LabelError),
    /// A metadata area is broken.
    #[error("{0}")]
    Area(#[from] area::AreaError),
    /// The text is broken.
    #[error("{0}")]
    Group(#[from] group::GroupError),
}

impl ReadTrouble {
    /// For `map_err`.
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> ReadTrouble {
        move |source| match source.raw_os_error() {
            // How the block layer says reservation conflict.
            Some(libc::EBADE) => ReadTrouble::Reserved { what },
            _ => ReadTrouble::Io { what, source },
        }
    }
}

/// What one disk holds.
#[derive(Debug, Default)]
struct Contents {
    /// It is a member of an array, and nothing else.
    member: Option<Superblock>,
    /// Superblocks that do not count unless another disk speaks for them.
    rivals: Vec<Found>,
    pv: Option<Uuid>,
    groups: Vec<Arc<VolumeGroup>>,
    troubles: Vec<ReadTrouble>,
}

/// Reads the labels and metadata of all disks, in parallel.
pub fn read_groups(disks: &[Disk]) -> Groups {
    read_groups_within(disks, READ_LIMIT)
}

fn read_groups_within(disks: &[Disk], limit: Duration) -> Groups {
    let texts = Texts::default();
    let reader = texts.reader();
    let contents = parallel::each(disks, limit, move |disk| match direct::open(&disk.path) {
        Ok(file) => {
            let mut read = |offset, length| {
                // Another pool's worker may be about to take the disk, as both are taken over.
                let _turn = turn::take_within(&disk.id, READ_LIMIT);
                direct::read(&file, offset, length)
            };
            read_disk(disk.bytes, &mut read, &reader)
        }
        Err(source) => Contents {
            troubles: vec![ReadTrouble::Io {
                what: "the disk",
                source,
            }],
            ..Contents::default()
        },
    });
    let contents = contents.into_iter().map(|contents| {
        contents.unwrap_or_else(|| Contents {
            troubles: vec![ReadTrouble::TimedOut],
            ..Contents::default()
        })
    });
    let mut contents: Vec<Contents> = contents.collect();
    let (arrays, problems) = on_arrays::read(disks, &mut contents, &texts);
    let mut places: Vec<Place> = disks.iter().map(Place::from).collect();
    for (place, inside) in arrays {
        places.push(place);
        contents.push(inside);
    }
    let mut groups = assemble(&places, contents);
    groups.problems.extend(problems);
    groups
}

/// What may be a physical volume: a disk, or an array that stands for one.
#[derive(Debug)]
struct Place {
    disk: Disk,
    array: Option<Box<Judged>>,
}

impl From<&Disk> for Place {
    fn from(disk: &Disk) -> Place {
        Place {
            disk: disk.clone(),
            array: None,
        }
    }
}

/// Reads bytes of a disk: offset and length in bytes.
type Read<'a> = dyn FnMut(u64, usize) -> io::Result<Vec<u8>> + 'a;

/// One disk: label, then every copy of the metadata on it.
fn read_disk(bytes: u64, read: &mut Read<'_>, texts: &Reader) -> Contents {
    let read = &mut ends::at_once(bytes, read);
    let mut contents = Contents::default();
    let found = array::look(bytes, read).and_then(|sight| {
        contents.rivals = sight.rivals;
        sight.found.map(|found| found.parse(bytes)).transpose()
    });
    match found {
        Ok(None) => {}
        Ok(member) => {
            contents.member = member;
            return contents;
        }
        // Whether its label is its own cannot be told.
        Err(error) => {
            contents.troubles.push(match error {
                MemberError::Io(error) => ReadTrouble::io("the places of MD's superblocks")(error),
                error => ReadTrouble::Member(error),
            });
            return contents;
        }
    }
    let found = read(0, label::SCANNED)
        .map_err(ReadTrouble::io("the label"))
        .and_then(|bytes| Ok(label::find(&bytes)?));
    let label = match found {
        Ok(Some(label)) => label,
        Ok(None) => return contents,
        Err(trouble) => {
            contents.troubles.push(trouble);
            return contents;
        }
    };
    contents.pv = Some(label.uuid);
    for area in label.areas {
        match read_area(read, area, texts) {
            Ok(Some(group)) => contents.groups.push(group),
            Ok(None) => {}
            Err(trouble) => contents.troubles.push(trouble),
        }
    }
    contents
}

fn read_area(
    read: &mut Read<'_>,
    area: label::Area,
    texts: &Reader,
) -> Result<Option<Arc<VolumeGroup>>, ReadTrouble> {
    let header = read(area.start, area::HEADER).map_err(ReadTrouble::io("a metadata header"))?;
    let Some(location) = area::parse_header(area, &header)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    for stretch in location.stretches() {
        if stretch.size > 0 {
            // At most area::MOST_TEXT, which fits.
            let length = usize::try_from(stretch.size).unwrap_or(usize::MAX);
            bytes.extend(read(stretch.start, length).map_err(ReadTrouble::io("metadata"))?);
        }
    }
    Ok(Some(texts.understand(location.text(bytes)?)?))
}

/// Puts together what the disks say: of each group the newest metadata count.
fn assemble(places: &[Place], contents: Vec<Contents>) -> Groups {
    let mut groups = Groups::default();
    let mut labels: BTreeMap<Uuid, Vec<&Place>> = BTreeMap::new();
    let mut newest: BTreeMap<Uuid, Arc<VolumeGroup>> = BTreeMap::new();
    let mut disagree: Vec<(Uuid, u64)> = Vec::new();
    // On which disks, by their labels, the newest copy of each group was found.
    let mut carriers: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    let mut silent: Vec<String> = Vec::new();
    for (place, contents) in places.iter().zip(contents) {
        let label = contents.pv;
        if let Some(pv) = label {
            labels.entry(pv).or_default().push(place);
        }
        let mut troubles = contents.troubles.iter();
        if troubles.any(|trouble| matches!(trouble, ReadTrouble::TimedOut)) {
            silent.push(format!("{} ({})", place.disk.name, place.disk.id));
        }
        let problems = contents.troubles.into_iter().map(|trouble| Problem {
            disk: place.disk.name.clone(),
            trouble,
        });
        groups.problems.extend(problems);
        for copy in contents.groups {
            let on = carriers.entry(copy.uuid).or_default();
            let Some(known) = newest.get_mut(&copy.uuid) else {
                on.extend(label);
                newest.insert(copy.uuid, copy);
                continue;
            };
            match copy.seqno.cmp(&known.seqno) {
                Ordering::Greater => *on = label.into_iter().collect(),
                Ordering::Equal => on.extend(label),
                Ordering::Less => {}
            }
            if copy.seqno > known.seqno {
                *known = copy;
            } else if copy.seqno == known.seqno && !Arc::ptr_eq(&copy, known) && copy != *known {
                disagree.push((copy.uuid, copy.seqno));
            }
        }
    }
    groups.groups = newest.into_values().map(Arc::unwrap_or_clone).collect();
    for group in &mut groups.groups {
        let newest = (group.uuid, group.seqno);
        let conflicts = disagree.iter().filter(|copies| **copies == newest);
        group
            .conflicts
            .extend(conflicts.map(|&(_, seqno)| Conflict::Disagreement { seqno }));
        // Whose members they are is on them, and nowhere else.
        group.silent.clone_from(&silent);
        let on = carriers.remove(&group.uuid).unwrap_or_default();
        let vouched = |pv: &PhysicalVolume| !pv.is_missing && on.contains(&pv.uuid);
        if !group.pvs.iter().any(vouched) {
            let seqno = group.seqno;
            group.conflicts.push(Conflict::Stray { seqno });
        }
        for pv in &mut group.pvs {
            match labels.remove(&pv.uuid).as_deref() {
                Some([place]) => {
                    pv.disk = Some(place.disk.clone());
                    pv.array.clone_from(&place.array);
                }
                Some([one, other, ..]) => group.conflicts.push(Conflict::SamePv {
                    one: one.disk.name.clone(),
                    other: other.disk.name.clone(),
                }),
                _ => {}
            }
        }
    }
    let unused = labels.into_values().flatten();
    groups.unused = unused.map(|place| place.disk.name.clone()).collect();
    let is_destroyed = |group: &VolumeGroup| group.tags.iter().any(|tag| tag == DESTROYED_TAG);
    let all = std::mem::take(&mut groups.groups);
    (groups.destroyed, groups.groups) = all.into_iter().partition(is_destroyed);
    groups.groups.sort_by(|a, b| a.name.cmp(&b.name));
    for same in groups
        .groups
        .chunk_by_mut(|one, other| one.name == other.name)
    {
        let all: Vec<(Uuid, Option<String>)> = same
            .iter()
            .map(|group| (group.uuid, group.system_id.clone()))
            .collect();
        for (index, group) in same.iter_mut().enumerate() {
            let others = all.iter().enumerate().filter(|(place, _)| *place != index);
            group
                .conflicts
                .extend(others.map(|(_, (other, system_id))| Conflict::SameName {
                    other: *other,
                    system_id: system_id.clone(),
                }));
        }
    }
    groups
}

impl Groups {
    /// The group with this name; of several the cluster's own, and where that is not one any of them, since all are refused.
    pub fn find(&self, name: &str, cluster: &str) -> Option<&VolumeGroup> {
        let named = || self.groups.iter().filter(|group| group.name == name);
        named()
            .find(|group| group.is_of(cluster))
            .or_else(|| named().next())
    }
}
