//! Classic snapshots (`lib/snapshot/snapshot.c`): changed blocks of an origin are copied aside before they change.

use super::entries::{Entries, Names};
use super::error::GroupError;

/// The tag of a store that the kernel has given up, which its header may not say. lvm2 keeps it, and does nothing of it.
pub const LOST_TAG: &str = "orthrus.snapshot_lost";

/// What binds an origin to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The volume that it was taken of.
    pub origin: usize,
    /// The volume with the copies, which is the snapshot's name too.
    pub cow: usize,
    /// Sectors of one copy.
    pub chunk_sectors: u32,
    /// It is being merged back into its origin.
    pub is_merging: bool,
}

impl Snapshot {
    pub(super) fn parse(entries: &Entries<'_>, names: &Names<'_>) -> Result<Snapshot, GroupError> {
        let merging = entries.optional_lv("merging_store", names)?;
        let cow = match (merging, entries.optional_lv("cow_store", names)?) {
            (Some(cow), None) | (None, Some(cow)) => cow,
            _ => return Err(entries.missing("cow_store", "name of one volume")),
        };
        Ok(Snapshot {
            origin: entries.lv("origin", names)?,
            cow,
            chunk_sectors: entries.small("chunk_size")?,
            is_merging: merging.is_some(),
        })
    }
}
