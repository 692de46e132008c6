//! The older mirror: `LOG COUNT [DEVICE] REGION IMAGES (DEVICE START)... 1 handle_errors` (`_mirror_emit_segment_line`).
//!
//! `handle_errors` is what lvm2 says where something watches its mirrors. Nothing here takes a failed image out, so a
//! write that fails on one then waits; without it the write would count, and what is read afterwards may be the other
//! image's old data.

use super::line::{Backing, Place, Show};

/// A mirror target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorTarget {
    /// Where it is noted what is equal; in memory only without one.
    pub log: Option<Backing>,
    /// Sectors that one bit of the log stands for.
    pub region: u32,
    /// The images.
    pub images: Vec<Place>,
}

impl MirrorTarget {
    pub(super) fn parameters(&self, show: &Show<'_>) -> String {
        let log = match self.log {
            Some(log) => format!("disk 2 {}", show(log)),
            None => "core 1".to_owned(),
        };
        let images: Vec<String> = self.images.iter().map(|place| place.shown(show)).collect();
        format!(
            "{log} {} {} {} 1 handle_errors",
            self.region,
            images.len(),
            images.join(" ")
        )
    }
}
