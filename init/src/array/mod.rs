//! Linux MD arrays on the pool's disks: read and judged by ourselves, assembled by ioctl after the claim only.
//!
//! From the disk upwards: [`place`] says where a superblock is, [`rivals`] whether it is a client's data, [`superblock`] what it says, [`geometry`] what shape that
//! is, [`decision`] which members count and whether the array can run, [`refusal`] why not. [`layout`] says where the
//! bytes of an array are on its members, [`read`] reads them there: so that a head that may not write yet learns what is
//! on an array without assembling it. Nothing here writes; nothing but [`assemble`] changes the kernel. A member that a takeover threw
//! out of an array is told from one that failed by [`decision`], and given back by [`assemble`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskId, WriteCache};

pub mod assemble;
pub mod condition;
pub mod decision;
pub mod geometry;
pub mod layout;
pub mod place;
pub mod read;
pub mod refusal;
pub mod rivals;
pub mod superblock;
mod syndrome;
#[cfg(test)]
pub(crate) mod tests;

pub use assemble::{AssembleError, Running, running, start, stop, take_back};
pub use condition::{Condition, condition};
pub use decision::{Decision, LeftOut, Slot};
pub use geometry::Geometry;
pub use place::spare_block;
pub use read::{ArrayReader, ReadError};
pub use refusal::Refusal;
pub use rivals::{Sight, look};
pub use superblock::{Superblock, SuperblockError};

/// Who an array is, whatever it is called: `set_uuid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArrayId(pub [u8; 16]);

impl fmt::Display for ArrayId {
    /// As mdadm prints it: four words of eight hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index > 0 && index % 4 == 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ArrayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A disk that says that it is a member of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The disk.
    pub disk: Disk,
    /// What it says.
    pub superblock: Superblock,
}

/// An array, as far as its members are seen. What that is worth is for [`Array::decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Who it is.
    pub id: ArrayId,
    /// All disks that say that they belong to it, in the order of the disks.
    pub members: Vec<Member>,
}

impl Array {
    /// What it is called: its name as its newest member has it, or its identity where that is no name that can be shown.
    pub fn name(&self) -> String {
        let newest = self
            .members
            .iter()
            .max_by_key(|member| member.superblock.events);
        let name = newest.and_then(|member| member.superblock.name.clone());
        name.unwrap_or_else(|| self.id.to_string())
    }
}

/// An array that can run, and how: what a volume group that is on it has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The array.
    pub array: Array,
    /// What was decided of it.
    pub decision: Decision,
    /// It runs in this kernel: what would speak against starting it is past.
    pub is_running: bool,
}

impl Judged {
    /// The disks that take part: what is claimed with a pool on the array.
    pub fn disks(&self) -> impl Iterator<Item = &Disk> {
        let taken = self.decision.taken.iter();
        taken.map(|index| &self.array.members[*index].disk)
    }

    /// To start it is to compute data from parity that may be wrong.
    pub fn may_be_wrong(&self) -> bool {
        self.decision.is_dirty_degraded && !self.is_running
    }

    /// Whether all data are there without these disks.
    pub fn can_do_without(&self, disks: &[DiskId]) -> bool {
        let slots = self.decision.slots.iter().enumerate();
        let left = slots.filter_map(|(slot, what)| match what {
            Slot::Fresh(index) => {
                let id = &self.array.members[*index].disk.id;
                (!disks.contains(id)).then_some(slot as u32)
            }
            _ => None,
        });
        self.decision.geometry.is_enough(&left.collect())
    }

    /// Whether one of these disks takes part in what runs.
    pub fn takes_part(&self, running: &Running, disks: &[DiskId]) -> bool {
        let mut members = self.disks().filter(|disk| disks.contains(&disk.id));
        members.any(|disk| running.unnamed > 0 || running.members.contains(&(disk.number, true)))
    }

    /// Members on these disks are no longer taken: the kernel has given them up.
    pub fn drop_members(&mut self, disks: &[DiskId]) {
        let members = &self.array.members;
        let is_lost = |index: &usize| disks.contains(&members[*index].disk.id);
        for slot in &mut self.decision.slots {
            if matches!(slot, Slot::Fresh(index) | Slot::Rebuilding(index) if is_lost(index)) {
                *slot = Slot::Empty;
            }
        }
        self.decision.taken.retain(|index| !is_lost(index));
    }

    /// Members that were thrown out, as far as superblocks tell it: their places among the members.
    pub fn thrown_out(&self) -> impl Iterator<Item = usize> {
        let left_out = self.decision.left_out.iter();
        let thrown_out = left_out.filter(|(_, why)| *why == LeftOut::ThrownOut);
        thrown_out.map(|(index, _)| *index)
    }

    /// One of them is being filled: it takes part from now on.
    pub fn took_back(&mut self, index: usize) {
        let decision = &mut self.decision;
        decision.left_out.retain(|(left_out, _)| *left_out != index);
        decision.taken.push(index);
        // Its own, or another one that is empty: the kernel chooses where there is no bitmap.
        let own = self.array.members[index].superblock.own_role();
        let is_own =
            |slot: usize| matches!(own, superblock::Role::Slot(of) if usize::from(of) == slot);
        let empty = |slot: &usize| decision.slots[*slot] == Slot::Empty;
        let slots = 0..decision.slots.len();
        let slot = slots.clone().find(|slot| is_own(*slot) && empty(slot));
        if let Some(slot) = slot.or_else(|| slots.clone().find(empty)) {
            decision.slots[slot] = Slot::Rebuilding(index);
        }
    }

    /// The kernel says that each member has all data.
    pub fn is_whole_again(&mut self) {
        for slot in &mut self.decision.slots {
            if let Slot::Rebuilding(index) = *slot {
                *slot = Slot::Fresh(index);
            }
        }
    }

    /// The array as a disk with something on it. Its node is there only while it runs, and its number is `(0, 0)` until then.
    pub fn device(&self, running: Option<&Running>) -> Disk {
        let name = running.map_or_else(
            || assemble::device_name(&self.array.id),
            |running| running.name.clone(),
        );
        let caches = || self.disks().map(|disk| disk.write_cache);
        let cache = match () {
            () if caches().any(|cache| cache == WriteCache::WriteBack) => WriteCache::WriteBack,
            () if caches().all(|cache| cache == WriteCache::WriteThrough) => {
                WriteCache::WriteThrough
            }
            () => WriteCache::Unknown,
        };
        Disk {
            path: Path::new("/dev").join(&name),
            name,
            number: running.map_or((0, 0), |running| running.number),
            // Of no use to a fence: an array is claimed by its members.
            id: DiskId(format!("md.{}", self.array.id)),
            vendor: String::new(),
            model: self.array.name(),
            bytes: self.decision.geometry.sectors * 512,
            logical_block: self
                .disks()
                .map(|disk| disk.logical_block)
                .max()
                .unwrap_or(512),
            write_cache: cache,
            sequence: 0,
            paths: Vec::new(),
        }
    }
}

/// Why a member cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The disk fails.
    #[error("cannot read the places of MD's superblocks: {0}")]
    Io(#[from] io::Error),
    /// It is a member, of an array of a kind that is left alone.
    #[error(
        "is a member of an MD array with superblock {0}, which is not assembled here. mdadm --assemble --update=metadata \
         on another host makes it 1.0"
    )]
    Version(&'static str),
    /// Two superblocks.
    #[error(
        "has two MD superblocks, {0} and {1}: one is left over, and which cannot be told. mdadm --zero-superblock \
         --metadata=VERSION on another host removes one"
    )]
    Two(&'static str, &'static str),
    /// It is a member, and its superblock cannot be trusted.
    #[error("MD superblock {version}: {source}")]
    Superblock {
        /// Version of the superblock.
        version: &'static str,
        /// What is the matter.
        source: SuperblockError,
    },
}

/// Reads bytes of a disk: offset and length in bytes.
pub type Read<'a> = dyn FnMut(u64, usize) -> io::Result<Vec<u8>> + 'a;

/// The superblock by which a disk of this many bytes is a member, as far as the disk itself tells; `None` if it is none.
///
/// # Errors
/// It cannot be read, or is a member of something that cannot be judged: such a disk is nothing else, either.
pub fn superblock_of(bytes: u64, read: &mut Read<'_>) -> Result<Option<Superblock>, MemberError> {
    let found = look(bytes, read)?.found;
    found.map(|found| found.parse(bytes)).transpose()
}

/// The superblock of a disk of this many bytes by which it is a member of that array; `None` if it is none.
///
/// # Errors
/// It cannot be read.
pub fn superblock_in(
    array: &ArrayId,
    bytes: u64,
    read: &mut Read<'_>,
) -> Result<Option<Superblock>, MemberError> {
    let sight = look(bytes, read)?;
    let found = sight.found.iter().chain(&sight.rivals);
    let mut parsed = found.filter_map(|found| found.parse(bytes).ok());
    Ok(parsed.find(|superblock| superblock.array == *array))
}

/// Puts together which arrays there are; the members of each in the order in which they came.
pub fn arrays(members: Vec<Member>) -> Vec<Array> {
    let mut by_id: BTreeMap<ArrayId, Vec<Member>> = BTreeMap::new();
    for member in members {
        by_id
            .entry(member.superblock.array)
            .or_default()
            .push(member);
    }
    let arrays = by_id.into_iter();
    arrays.map(|(id, members)| Array { id, members }).collect()
}
