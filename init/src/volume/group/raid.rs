//! RAID volumes (`lib/raid/raid.c`): pairs of hidden volumes, one for data and mostly one for MD's superblock and
//! bitmap.

use super::entries::{Entries, Names};
use super::error::{GroupError, nonsense};
use crate::volume::text::Value;

/// `DEFAULT_RAID_MAX_IMAGES`: MD's superblock has no more bits.
const MOST_IMAGES: usize = 253;

/// The tag of an image that the kernel has thrown out, which its own superblock does not say. lvm2 keeps it, and does nothing of it.
pub const BEHIND_TAG: &str = "orthrus.image_behind";

/// The tag of a RAID volume whose images are to be compared. lvm2 keeps it, and does nothing of it.
pub const UNSURE_TAG: &str = "orthrus.images_unsure";

/// A level with its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaidLevel {
    /// Striped, without redundancy and without superblocks.
    Raid0,
    /// The same with superblocks.
    Raid0Meta,
    /// Every image is whole.
    Raid1,
    /// Striped over mirrors.
    Raid10,
    /// Parity: the kernel's name of level and layout, and how many images may be lost.
    Parity(&'static str, usize),
}

/// Names in the metadata, names for the kernel, images that may be lost.
const PARITY: [(&str, &str, usize); 16] = [
    ("raid4", "raid4", 1),
    ("raid5", "raid5_ls", 1),
    ("raid5_n", "raid5_n", 1),
    ("raid5_la", "raid5_la", 1),
    ("raid5_ra", "raid5_ra", 1),
    ("raid5_ls", "raid5_ls", 1),
    ("raid5_rs", "raid5_rs", 1),
    ("raid6", "raid6_zr", 2),
    ("raid6_zr", "raid6_zr", 2),
    ("raid6_nr", "raid6_nr", 2),
    ("raid6_nc", "raid6_nc", 2),
    ("raid6_n_6", "raid6_n_6", 2),
    ("raid6_ls_6", "raid6_ls_6", 2),
    ("raid6_rs_6", "raid6_rs_6", 2),
    ("raid6_la_6", "raid6_la_6", 2),
    ("raid6_ra_6", "raid6_ra_6", 2),
];

impl RaidLevel {
    /// From the type of a segment.
    pub fn from_name(name: &str) -> Option<RaidLevel> {
        match name {
            "raid0" => Some(RaidLevel::Raid0),
            "raid0_meta" => Some(RaidLevel::Raid0Meta),
            "raid1" => Some(RaidLevel::Raid1),
            "raid10" | "raid10_near" => Some(RaidLevel::Raid10),
            _ => PARITY
                .iter()
                .find(|(known, _, _)| *known == name)
                .map(|(_, kernel, lost)| RaidLevel::Parity(kernel, *lost)),
        }
    }

    /// What dm-raid calls it.
    pub fn kernel_name(self) -> &'static str {
        match self {
            RaidLevel::Raid0 | RaidLevel::Raid0Meta => "raid0",
            RaidLevel::Raid1 => "raid1",
            RaidLevel::Raid10 => "raid10",
            RaidLevel::Parity(name, _) => name,
        }
    }

    /// Whether it has neither bitmap nor redundancy.
    pub fn is_raid0(self) -> bool {
        matches!(self, RaidLevel::Raid0 | RaidLevel::Raid0Meta)
    }

    /// Images that hold parity.
    pub fn parity(self) -> usize {
        match self {
            RaidLevel::Parity(_, parity) => parity,
            _ => 0,
        }
    }
}

/// A RAID volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raid {
    /// Level and layout.
    pub level: RaidLevel,
    /// Its images, in order.
    pub images: Vec<Image>,
    /// Sectors on one image before the next one's turn; zero where there are no stripes.
    pub chunk_sectors: u32,
    /// Sectors that one bit of the bitmap stands for.
    pub region_sectors: u32,
    /// Copies of each block of a raid10.
    pub copies: u32,
    /// Writes that a write-mostly image may lag behind.
    pub write_behind: u32,
    /// Slowest resynchronization, in KiB per second and image; zero for MD's default.
    pub min_recovery_rate: u32,
    /// Fastest resynchronization; zero for MD's default.
    pub max_recovery_rate: u32,
    /// Where data begin on each image, when a reshape left room before them; the kernel is told zero for one.
    pub data_offset: u32,
    /// Extents of each image that a reshape left unused.
    pub reshape_extents: u64,
}

/// An image of a RAID volume: indices of logical volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Superblock and bitmap.
    pub meta: Option<usize>,
    /// Data.
    pub data: usize,
}

impl Raid {
    pub(super) fn parse(
        lv: &str,
        level: RaidLevel,
        entries: &Entries<'_>,
        names: &Names<'_>,
        extents: u64,
    ) -> Result<Raid, GroupError> {
        let count = match (
            entries.optional_number("device_count")?,
            entries.optional_number("stripe_count")?,
        ) {
            (Some(count), None) | (None, Some(count)) => count,
            _ => return Err(nonsense(lv, "the number of its images is not said once")),
        };
        let images = images(lv, level, entries, names)?;
        if images.len() as u64 != count {
            return Err(nonsense(lv, "its images are not as many as it says"));
        }
        if images.len() > MOST_IMAGES || images.len() <= level.parity() {
            return Err(nonsense(lv, "it has too many or too few images"));
        }
        let raid = Raid {
            level,
            chunk_sectors: entries.small_or_zero("stripe_size")?,
            region_sectors: entries.small_or_zero("region_size")?,
            copies: entries.small_or_zero("data_copies")?.max(2),
            write_behind: entries.small_or_zero("writebehind")?,
            min_recovery_rate: entries.small_or_zero("min_recovery_rate")?,
            max_recovery_rate: entries.small_or_zero("max_recovery_rate")?,
            // Zero means that the kernel is told so, and no entry that it is told nothing.
            data_offset: match entries.has("data_offset") {
                true => entries.small_or_zero("data_offset")?.max(1),
                false => 0,
            },
            reshape_extents: u64::from(entries.small_or_zero("reshape_count")?),
            images,
        };
        if !level.is_raid0() && raid.region_sectors == 0 {
            return Err(nonsense(lv, "its regions have no size"));
        }
        if raid.reshape_total() >= extents {
            return Err(nonsense(lv, "it has more room to reshape than length"));
        }
        Ok(raid)
    }

    /// Extents of the volume's length that are room for a reshape and not for data.
    pub fn reshape_total(&self) -> u64 {
        let data = self.images.len().saturating_sub(self.level.parity()) as u64;
        self.reshape_extents.saturating_mul(data)
    }

    /// Whether the volume can do without these images, by their index.
    ///
    /// Of mirrors one is enough, and of a raid10 one of each pair (lvm2's `_partial_raid_lv_is_redundant`, which
    /// knows pairs only); of parity levels as many may be lost as there are parity images.
    pub fn survives(&self, lost: &dyn Fn(usize) -> bool) -> bool {
        let count = self.images.len();
        let missing = (0..count).filter(|index| lost(*index)).count();
        match self.level {
            _ if missing == 0 => true,
            RaidLevel::Raid0 | RaidLevel::Raid0Meta => false,
            RaidLevel::Raid1 => missing < count,
            RaidLevel::Parity(_, parity) => missing <= parity,
            // With an odd count a pair goes on at the front, hence twice around.
            RaidLevel::Raid10 => (0..count).all(|pair| {
                let place = |offset: usize| (2 * pair + offset) % count;
                !(lost(place(0)) && lost(place(1)))
            }),
        }
    }
}

/// The list of images. Volumes for superblocks are known by their name, as lvm2 does.
fn images(
    lv: &str,
    level: RaidLevel,
    entries: &Entries<'_>,
    names: &Names<'_>,
) -> Result<Vec<Image>, GroupError> {
    let key = match level {
        RaidLevel::Raid0 => "raid0_lvs",
        _ => "raids",
    };
    let Some(Value::List(list)) = entries.section.get(key) else {
        return Err(entries.missing(key, "list"));
    };
    let mut images = Vec::new();
    let mut meta = None;
    for value in list {
        let known = match value {
            Value::Text(name) => names.lvs.get_key_value(name.as_str()),
            _ => None,
        };
        let Some((name, index)) = known else {
            return Err(nonsense(lv, "an image of it is no volume"));
        };
        match meta {
            None if name.contains("_rmeta_") => meta = Some(*index),
            meta_before => {
                images.push(Image {
                    meta: meta_before,
                    data: *index,
                });
                meta = None;
            }
        }
    }
    match meta {
        None => Ok(images),
        Some(_) => Err(nonsense(lv, "an image of it has no data")),
    }
}
