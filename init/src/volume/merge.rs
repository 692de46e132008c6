//! How far snapshots are that the kernel merges into their origins (`snapshot-merge` of `dm-snap.c`).
//!
//! The kernel copies what the store has to the origin, the newest first, and takes each stretch out of the store's table when it is
//! there for good. The merge is over when nothing is left but the table: `sectors_allocated == metadata_sectors`, which is what lvm2
//! goes by as well (`_snap_target_percent`). Until then a part of what the origin has is in the store alone.

use super::active::{VolumeError, failed};
use super::group::{SegmentKind, VolumeGroup};
use super::mapper::Mapper;
use super::plan::{Backing, Choice, Plan, Target};
use crate::sys::dm::{Control, TableLine};

/// A snapshot that is being merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The volume that gets back what it had.
    pub origin: String,
    /// The snapshot.
    pub snapshot: String,
    /// What the kernel says of it.
    pub state: MergeState,
}

/// How far a merge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeState {
    /// So many sectors are still to be copied.
    UnderWay(u64),
    /// Nothing of the origin is in the store any more.
    Over,
    /// A read or write failed: the kernel copies nothing more. The origin has what it should have, a part of it in the store.
    Failed,
    /// The store's header says that it is worth nothing: the kernel takes nothing from it, and the origin has what it had itself.
    Void,
}

/// What the kernel says of all merges of a group that is active.
///
/// # Errors
/// Device-mapper's.
pub fn merges(group: &VolumeGroup) -> Result<Vec<Merge>, VolumeError> {
    if group.merging().next().is_none() {
        return Ok(Vec::new());
    }
    let control = Control::open().map_err(VolumeError::Control)?;
    merges_on(&control, group)
}

pub(super) fn merges_on(
    mapper: &dyn Mapper,
    group: &VolumeGroup,
) -> Result<Vec<Merge>, VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let mut found = Vec::new();
    for device in &plan.devices {
        let stores = device.lines.iter().filter_map(|line| match line.target {
            Target::Merge {
                cow: Backing::Device(store),
                ..
            } => Some(store),
            _ => None,
        });
        for store in stores {
            let status = mapper.target_status(&device.uuid);
            let status = status.map_err(failed(device, "target status"))?;
            found.extend(status.first().and_then(of_status).map(|state| Merge {
                origin: group.lvs[device.lv].name.clone(),
                snapshot: group.lvs[plan.devices[store].lv].name.clone(),
                state,
            }));
        }
    }
    Ok(found)
}

/// `USED/TOTAL METADATA`, in sectors, or a word (`snapshot_status`). `None` is not known to be anything, and an origin that has another
/// table by now is not being merged into.
fn of_status(line: &TableLine) -> Option<MergeState> {
    if line.kind != "snapshot-merge" {
        return None;
    }
    match line.parameters.trim() {
        "Merge failed" => return Some(MergeState::Failed),
        "Invalid" => return Some(MergeState::Void),
        _ => {}
    }
    let mut words = line.parameters.split_ascii_whitespace();
    let used: u64 = words.next()?.split_once('/')?.0.parse().ok()?;
    let metadata: u64 = words.next()?.parse().ok()?;
    match used.checked_sub(metadata)? {
        0 => Some(MergeState::Over),
        left => Some(MergeState::UnderWay(left)),
    }
}

impl VolumeGroup {
    /// The snapshots that the metadata call merging, and their origins, by name.
    pub fn merging(&self) -> impl Iterator<Item = (&str, &str)> {
        let segments = self.lvs.iter().flat_map(|lv| &lv.segments);
        segments.filter_map(|segment| match &segment.kind {
            SegmentKind::Snapshot(one) if one.is_merging => Some((
                self.lvs.get(one.cow)?.name.as_str(),
                self.lvs.get(one.origin)?.name.as_str(),
            )),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: &str, parameters: &str) -> Option<MergeState> {
        of_status(&TableLine {
            start: 0,
            length: 8,
            kind: kind.to_owned(),
            parameters: parameters.to_owned(),
        })
    }

    #[test]
    fn a_merge_is_over_when_nothing_but_the_table_is_left_and_not_before() {
        let merge = |parameters| said("snapshot-merge", parameters);
        assert_eq!(merge("16/8192 16"), Some(MergeState::Over));
        assert_eq!(merge("24/8192 16"), Some(MergeState::UnderWay(8)));
        assert_eq!(merge("8192/8192 40"), Some(MergeState::UnderWay(8152)));
        // Of a second table: the first one is full still.
        assert_eq!(merge("2072/8192 24"), Some(MergeState::UnderWay(2048)));
        assert_eq!(merge("Merge failed"), Some(MergeState::Failed));
        assert_eq!(merge("Invalid"), Some(MergeState::Void));
    }

    #[test]
    fn what_is_not_understood_is_no_end_of_a_merge() {
        for nonsense in [
            "",
            "Unknown",
            "Overflow",
            "16/8192",
            "8/8192 16",
            "x/8192 16",
            "16 16",
        ] {
            assert_eq!(said("snapshot-merge", nonsense), None, "{nonsense}");
        }
        for other in ["linear", "snapshot", "snapshot-origin", "raid"] {
            assert_eq!(said(other, "16/8192 16"), None, "{other}");
        }
    }
}
