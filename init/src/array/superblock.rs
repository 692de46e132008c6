//! What a superblock of version 1.x says (`struct mdp_superblock_1` of `include/uapi/linux/raid/md_p.h`).
//!
//! A superblock is parsed or refused, never half believed: what the kernel would refuse (`super_1_load` of
//! `drivers/md/md.c`) is refused here, and what would make it do something that nobody asked for, as going on with a
//! reshape, is in [`Features`] for [`super::decision`] to refuse.

use super::ArrayId;

/// Bytes of the fixed part; the roles follow.
const FIXED: usize = 256;
/// Roles that fit into the four kilobytes that are read.
const MOST_ROLES: u32 = (4096 - FIXED as u32) / 2;
/// What the kernel asks for at least, in sectors.
const LEAST_DATA: u64 = 10;
/// `MaxSector`: nothing is left to be made equal.
const NONE: u64 = u64::MAX;

/// Places in the structure.
pub(super) mod at {
    pub const FEATURES: usize = 8;
    pub const PAD0: usize = 12;
    pub const ARRAY: usize = 16;
    pub const NAME: usize = 32;
    pub const LEVEL: usize = 72;
    pub const LAYOUT: usize = 76;
    pub const SIZE: usize = 80;
    pub const CHUNK: usize = 88;
    pub const RAID_DISKS: usize = 92;
    pub const DATA_OFFSET: usize = 128;
    pub const DATA_SIZE: usize = 136;
    pub const SUPER_OFFSET: usize = 144;
    pub const RECOVERY_OFFSET: usize = 152;
    pub const DEV_NUMBER: usize = 160;
    pub const DEVICE: usize = 168;
    pub const DEVFLAGS: usize = 184;
    pub const UTIME: usize = 192;
    pub const EVENTS: usize = 200;
    pub const RESYNC_OFFSET: usize = 208;
    pub const MAX_DEV: usize = 220;
    pub const PAD3: usize = 224;
    pub const ROLES: usize = 256;
}

/// `MD_FEATURE_*`: what the superblock says beyond the plain case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u32);

impl Features {
    /// It has an internal bitmap of what may differ.
    pub const BITMAP: u32 = 1 << 0;
    /// The member is rebuilt up to its recovery offset only.
    pub const RECOVERY_OFFSET: u32 = 1 << 1;
    /// The array is being given another shape.
    pub const RESHAPE: u32 = 1 << 2;
    /// Some blocks of this member are known to be bad.
    pub const BAD_BLOCKS: u32 = 1 << 3;
    /// The member is being filled to take the place of another one.
    pub const REPLACEMENT: u32 = 1 << 4;
    /// The reshape goes backwards.
    pub const RESHAPE_BACKWARDS: u32 = 1 << 5;
    /// The data are being moved.
    pub const NEW_OFFSET: u32 = 1 << 6;
    /// The rebuilding follows the bitmap.
    pub const RECOVERY_BITMAP: u32 = 1 << 7;
    /// Several hosts use the array at once.
    pub const CLUSTERED: u32 = 1 << 8;
    /// Stripes are written to a journal first.
    pub const JOURNAL: u32 = 1 << 9;
    /// Partial parity is written before data.
    pub const PPL: u32 = 1 << 10;
    /// The same with several logs.
    pub const MULTIPLE_PPLS: u32 = 1 << 11;
    /// A raid0 says how its zones are laid out.
    pub const RAID0_LAYOUT: u32 = 1 << 12;
    /// All that are known: `MD_FEATURE_ALL`.
    pub const ALL: u32 = (1 << 13) - 1;

    /// Whether any of these is set.
    pub fn any(self, of: u32) -> bool {
        self.0 & of != 0
    }

    /// A change of shape is under way.
    pub fn is_reshape(self) -> bool {
        self.any(Self::RESHAPE | Self::RESHAPE_BACKWARDS | Self::NEW_OFFSET)
    }

    /// Parity is written ahead.
    pub fn has_ppl(self) -> bool {
        self.any(Self::PPL | Self::MULTIPLE_PPLS)
    }
}

/// What a device number does in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is in this slot of the array.
    Slot(u16),
    /// It is the journal.
    Journal,
    /// It failed.
    Faulty,
    /// It is a spare, or was removed: both are written alike.
    Spare,
}

impl Role {
    fn new(number: u16) -> Result<Role, SuperblockError> {
        match number {
            0xffff => Ok(Role::Spare),
            0xfffe => Ok(Role::Faulty),
            0xfffd => Ok(Role::Journal),
            0xff00.. => Err(SuperblockError::Role(number)),
            slot => Ok(Role::Slot(slot)),
        }
    }
}

/// A superblock that can be trusted as far as one disk can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Minor version: 0 at the end of the disk, 1 at its beginning, 2 four kilobytes behind that.
    pub minor: u8,
    /// Which array.
    pub array: ArrayId,
    /// The array's name, where it is one that can be shown.
    pub name: Option<String>,
    /// What it says beyond the plain case.
    pub features: Features,
    /// RAID level; negative ones are other kinds of arrays.
    pub level: i32,
    /// Layout, of which the meaning is the level's.
    pub layout: u32,
    /// Sectors of each member that are used; not of a raid0.
    pub size: u64,
    /// Sectors of a chunk.
    pub chunk: u32,
    /// Slots of the array.
    pub raid_disks: u32,
    /// The first sector of the data on this disk.
    pub data_offset: u64,
    /// Sectors from there that can be used for data.
    pub data_size: u64,
    /// Sectors of the data that are rebuilt, with [`Features::RECOVERY_OFFSET`].
    pub recovery_offset: u64,
    /// This member's number, by which the roles are kept.
    pub number: u32,
    /// Who this member is.
    pub device: [u8; 16],
    /// Reads go to others first.
    pub is_write_mostly: bool,
    /// An error is not waited for.
    pub is_fail_fast: bool,
    /// When it was written, by the clock of the machine: seconds.
    pub updated: u64,
    /// How often the array changed.
    pub events: u64,
    /// Data before this sector are known to be equal on all members; `None` when all are.
    pub resync_offset: Option<u64>,
    /// Roles by device number.
    pub roles: Vec<Role>,
}

/// Why a superblock cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Its length ends somewhere in it.
    #[error("cut off")]
    Short,
    /// Something newer.
    #[error("it has features that are not known here ({0:#x}); a newer kernel is needed")]
    Features(u32),
    /// Room that must be empty is not.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// A role that is none.
    #[error("a role that is not known ({0:#x})")]
    Role(u16),
    /// A slot beyond the array.
    #[error("slot {slot} of an array of {disks}")]
    SlotBeyond {
        /// The slot.
        slot: u16,
        /// Slots of the array.
        disks: u32,
    },
    /// More roles than fit, or more slots than roles.
    #[error("{0} members")]
    Members(u32),
    /// Data outside of the disk, over the superblock, or too few.
    #[error(
        "data at sector {offset}, {sectors} of them, do not fit on the disk beside the superblock"
    )]
    Data {
        /// First sector.
        offset: u64,
        /// Sectors.
        sectors: u64,
    },
    /// The array would use more than there is.
    #[error("the array uses {used} sectors of each member and this one has {has}")]
    Size {
        /// Sectors used.
        used: u64,
        /// Sectors there.
        has: u64,
    },
    /// Features that exclude one another.
    #[error("features that exclude one another ({0:#x})")]
    Contradiction(u32),
}

impl Superblock {
    /// Parses what [`super::place::all`] found, magic and checksum being right, on a disk of this many sectors.
    ///
    /// # Errors
    /// What is the matter.
    pub fn parse(bytes: &[u8], minor: u8, sectors: u64) -> Result<Superblock, SuperblockError> {
        let raw = Raw(bytes);
        let features = raw.u32(at::FEATURES)?;
        if features & !Features::ALL != 0 {
            return Err(SuperblockError::Features(features & !Features::ALL));
        }
        let padding = bytes.get(at::PAD3..at::ROLES);
        let is_blank = padding
            .ok_or(SuperblockError::Short)?
            .iter()
            .all(|byte| *byte == 0);
        if raw.u32(at::PAD0)? != 0 || !is_blank {
            return Err(SuperblockError::Reserved);
        }
        let (count, raid_disks) = (raw.u32(at::MAX_DEV)?, raw.u32(at::RAID_DISKS)?);
        // A slot's number is below that of the special roles.
        if count > MOST_ROLES || raid_disks == 0 || raid_disks > MOST_ROLES {
            return Err(SuperblockError::Members(count.max(raid_disks)));
        }
        let roles = (0..count as usize).map(|index| Role::new(raw.u16(at::ROLES + 2 * index)?));
        let roles = roles.collect::<Result<Vec<_>, _>>()?;
        let beyond = roles.iter().find_map(|role| match role {
            Role::Slot(slot) if u32::from(*slot) >= raid_disks => Some(*slot),
            _ => None,
        });
        let resync_offset = raw.u64(at::RESYNC_OFFSET)?;
        let superblock = Superblock {
            minor,
            array: ArrayId(raw.bytes(at::ARRAY)?),
            name: name(&raw.bytes::<32>(at::NAME)?),
            features: Features(features),
            level: raw.u32(at::LEVEL)? as i32,
            layout: raw.u32(at::LAYOUT)?,
            size: raw.u64(at::SIZE)?,
            chunk: raw.u32(at::CHUNK)?,
            raid_disks,
            data_offset: raw.u64(at::DATA_OFFSET)?,
            data_size: raw.u64(at::DATA_SIZE)?,
            recovery_offset: raw.u64(at::RECOVERY_OFFSET)?,
            number: raw.u32(at::DEV_NUMBER)?,
            device: raw.bytes(at::DEVICE)?,
            is_write_mostly: raw.bytes::<1>(at::DEVFLAGS)?[0] & 1 != 0,
            is_fail_fast: raw.bytes::<1>(at::DEVFLAGS)?[0] & 2 != 0,
            // 40 bits of seconds, then microseconds.
            updated: raw.u64(at::UTIME)? & ((1 << 40) - 1),
            events: raw.u64(at::EVENTS)?,
            resync_offset: (resync_offset != NONE).then_some(resync_offset),
            roles,
        };
        // While it is reshaped an array has the slots of before and after: it is not looked at any further.
        if let (Some(slot), false) = (beyond, superblock.features.is_reshape()) {
            let disks = raid_disks;
            return Err(SuperblockError::SlotBeyond { slot, disks });
        }
        superblock.check(raw.u64(at::SUPER_OFFSET)?, sectors)?;
        Ok(superblock)
    }

    fn check(&self, here: u64, sectors: u64) -> Result<(), SuperblockError> {
        let (offset, size) = (self.data_offset, self.data_size);
        let misplaced = SuperblockError::Data {
            offset,
            sectors: size,
        };
        // In blocks of four kilobytes: the superblock of a disk with such sectors takes a whole one.
        let length = (FIXED as u64 + 2 * self.roles.len() as u64)
            .div_ceil(512)
            .next_multiple_of(8);
        let end = offset.checked_add(size).ok_or(misplaced)?;
        let fits = if self.minor == 0 {
            end <= here
        } else {
            end <= sectors && offset >= here + length.min(8)
        };
        if !fits || size < LEAST_DATA {
            return Err(misplaced);
        }
        let is_member = matches!(self.own_role(), Role::Slot(_));
        if is_member && self.level != 0 && self.size > size {
            let (used, has) = (self.size, size);
            return Err(SuperblockError::Size { used, has });
        }
        let features = self.features;
        let exclusive = features.has_ppl() && features.any(Features::BITMAP | Features::JOURNAL)
            || features.any(Features::PPL) && features.any(Features::MULTIPLE_PPLS)
            || features.any(Features::RAID0_LAYOUT) && self.level != 0;
        if exclusive {
            return Err(SuperblockError::Contradiction(features.0));
        }
        Ok(())
    }

    /// What this superblock says of the device with that number.
    pub fn role_of(&self, number: u32) -> Role {
        let role = self.roles.get(number as usize);
        role.copied().unwrap_or(Role::Spare)
    }

    /// What it says of itself.
    pub fn own_role(&self) -> Role {
        self.role_of(self.number)
    }

    /// The device is in a slot, as this superblock has it.
    pub fn counts(&self, number: u32) -> bool {
        matches!(self.role_of(number), Role::Slot(_))
    }
}

/// Bytes with numbers in them, the lowest byte first.
struct Raw<'a>(&'a [u8]);

impl Raw<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], SuperblockError> {
        let bytes = self.0.get(at..at + N).ok_or(SuperblockError::Short)?;
        bytes.try_into().map_err(|_| SuperblockError::Short)
    }

    fn u16(&self, at: usize) -> Result<u16, SuperblockError> {
        Ok(u16::from_le_bytes(self.bytes(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32, SuperblockError> {
        Ok(u32::from_le_bytes(self.bytes(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64, SuperblockError> {
        Ok(u64::from_le_bytes(self.bytes(at)?))
    }
}

/// The name up to its zero; `None` where it has bytes that a terminal would not show as they are.
fn name(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let name = &bytes[..end.unwrap_or(bytes.len())];
    let is_plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_plain.then(|| String::from_utf8_lossy(name).into_owned())
}
