//! RAID: `LEVEL COUNT CHUNK [OPTION...] IMAGES (METADATA DATA)...` (`_raid_emit_segment_line`, for versions of the
//! target from 1.11 on, in the order of the kernel's own documentation).
//!
//! An image that the metadata mark as being rebuilt is rebuilt, as with lvm2. Nothing is said of a first
//! synchronization: whether there was one is in MD's superblocks.

use std::fmt::Write as _;

use super::line::{Backing, Show};
use crate::volume::group::RaidLevel;

/// A RAID target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaidTarget {
    /// Level and layout.
    pub level: RaidLevel,
    /// Sectors of a stripe on one image.
    pub chunk: u32,
    /// Images that are rebuilt whatever their superblock says.
    pub rebuild: Vec<usize>,
    /// In KiB per second and image; zero for MD's own.
    pub min_recovery_rate: u32,
    /// In KiB per second and image; zero for MD's own.
    pub max_recovery_rate: u32,
    /// Images that are read only when they must be.
    pub write_mostly: Vec<usize>,
    /// Writes that those may lag behind.
    pub write_behind: u32,
    /// Sectors that one bit of the bitmap stands for.
    pub region: u32,
    /// Copies of a raid10.
    pub copies: Option<u32>,
    /// Room before the data; one stands for none.
    pub data_offset: u32,
    /// Superblock and data of each image.
    pub images: Vec<(Option<Backing>, Option<Backing>)>,
}

impl RaidTarget {
    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let mut options = String::new();
        let mut count = 1;
        let mut option = |name: &str, value: u64| {
            count += 2;
            let _ = write!(options, " {name} {value}");
        };
        for image in &self.rebuild {
            option("rebuild", *image as u64);
        }
        let one = |name, value| (value > 0).then_some((name, u64::from(value)));
        let rates = [
            one("min_recovery_rate", self.min_recovery_rate),
            one("max_recovery_rate", self.max_recovery_rate),
        ];
        for (name, value) in rates.into_iter().flatten() {
            option(name, value);
        }
        for image in &self.write_mostly {
            option("write_mostly", *image as u64);
        }
        let rest = [
            one("max_write_behind", self.write_behind),
            one("region_size", self.region),
            one("raid10_copies", self.copies.unwrap_or(0)),
        ];
        for (name, value) in rest.into_iter().flatten() {
            option(name, value);
        }
        match self.data_offset {
            0 => {}
            // So that the kernel may choose.
            1 => option("data_offset", 0),
            offset => option("data_offset", u64::from(offset)),
        }
        let level = self.level.kernel_name();
        let mut text = format!(
            "{level} {count} {}{options} {}",
            self.chunk,
            self.images.len()
        );
        let shown = |device: Option<Backing>| device.map_or_else(|| "-".to_owned(), show);
        for (metadata, data) in &self.images {
            let _ = write!(text, " {} {}", shown(*metadata), shown(*data));
        }
        text
    }
}
