//! What is not planned, and the way out.

use crate::volume::group::{Flag, Links, LogicalVolume, SegmentKind, VolumeGroup};
use crate::volume::uuid::Uuid;

/// Why a volume cannot be made usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A segment is of a kind that nobody here knows.
    #[error(
        "volume {lv} has a segment of type {kind:?}, which this firmware does not know: convert it with the lvm2 that \
         made it"
    )]
    Unsupported {
        /// The volume.
        lv: String,
        /// Its type.
        kind: String,
    },
    /// A word in its status that nobody here knows.
    #[error(
        "volume {lv} has the status {word:?}, which this firmware does not know: finish what it means with the lvm2 \
         that made it"
    )]
    UnknownStatus {
        /// The volume.
        lv: String,
        /// The word.
        word: String,
    },
    /// Something was begun and is not over.
    #[error("volume {lv}: {work}")]
    UnderWay {
        /// The volume.
        lv: String,
        /// What it is.
        work: Work,
    },
    /// A disk is not here, and the volume cannot do without.
    #[error("volume {lv} needs physical volume {pv}, which is not here: connect it")]
    Incomplete {
        /// The volume.
        lv: String,
        /// The disk.
        pv: Uuid,
    },
    /// It refers to a volume of the wrong kind.
    #[error(
        "volume {lv}: {other} is no {kind}: the metadata do not fit together; vgcfgrestore on a host with lvm2 writes those of before, \
         from a backup"
    )]
    WrongKind {
        /// The volume.
        lv: String,
        /// What it refers to.
        other: String,
        /// What that should be.
        kind: &'static str,
    },
    /// A number does not fit.
    #[error(
        "volume {lv} lies beyond any disk: vgcfgrestore on a host with lvm2 writes the metadata of before, from a backup"
    )]
    TooLarge {
        /// The volume.
        lv: String,
    },
}

/// What lvm2 may have been doing to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Work {
    /// `pvmove`
    #[error(
        "it is being moved from disk to disk: on a host with lvm2, let pvmove finish, or pvmove --abort"
    )]
    Move,
    /// Locked by something else than a move.
    #[error(
        "it is locked while it is being changed: finish the change (lvconvert) on a host with lvm2"
    )]
    Locked,
    /// `lvconvert --merge` of a thin snapshot, or one that neither lvm2 nor the kernel takes up: of two at once, into a volume that
    /// takes no writes or that of a sparse volume, or of a snapshot that an owner gave up.
    #[error(
        "a snapshot is being merged: activate it on a host with lvm2 and wait until the merge is over"
    )]
    Merge,
    /// A mirror gets another image.
    #[error(
        "a mirror is being converted: activate it on a host with lvm2 and wait until lvconvert is over"
    )]
    Convert,
    /// A RAID volume gets another layout.
    #[error(
        "its layout is being changed: activate it on a host with lvm2 and wait until the reshape is over"
    )]
    Reshape,
    /// A cache is being taken away.
    #[error("its cache is being taken away: lvconvert --uncache on a host with lvm2")]
    Uncache,
    /// Images became visible without being split off.
    #[error("an image of it is visible and writable: lvconvert --repair on a host with lvm2")]
    Split,
}

/// Whether a volume, without those that it stands on, can be planned.
pub(super) fn check(group: &VolumeGroup, links: &Links, index: usize) -> Result<(), PlanError> {
    let lv = &group.lvs[index];
    let name = || lv.name.clone();
    if let Some(word) = lv.flags.unknown.first() {
        let word = word.clone();
        return Err(PlanError::UnknownStatus { lv: name(), word });
    }
    if let Some(work) = work(lv) {
        return Err(PlanError::UnderWay { lv: name(), work });
    }
    if !merge_can_go_on(group, links, index) {
        let work = Work::Merge;
        return Err(PlanError::UnderWay { lv: name(), work });
    }
    for segment in &lv.segments {
        let SegmentKind::Other(kind) = &segment.kind else {
            continue;
        };
        return Err(
            match kind.contains("+RESHAPE") || kind.contains("+REMOVE_AFTER_RESHAPE") {
                true => PlanError::UnderWay {
                    lv: name(),
                    work: Work::Reshape,
                },
                false => PlanError::Unsupported {
                    lv: name(),
                    kind: kind.clone(),
                },
            },
        );
    }
    Ok(())
}

/// Whether a volume into which a snapshot is being merged, if there is one, can be planned so.
fn merge_can_go_on(group: &VolumeGroup, links: &Links, index: usize) -> bool {
    let Some((store, _)) = links.merging(index) else {
        return true;
    };
    let is_merging = |cow: &&usize| links.snapshot(**cow).is_some_and(|(one, _)| one.is_merging);
    let is_alone = links.cows(index).iter().filter(is_merging).count() == 1;
    let origin = &group.lvs[index];
    is_alone && origin.is_visible && origin.is_writable && !group.lvs[store].is_lost
}

fn work(lv: &LogicalVolume) -> Option<Work> {
    if lv.flags.has(Flag::Pvmove) {
        return Some(Work::Move);
    }
    if lv.flags.has(Flag::Locked) {
        return Some(Work::Locked);
    }
    // lvm2 knows these two by the name only as well.
    if lv.name.contains("_mimagetmp") {
        return Some(Work::Convert);
    }
    lv.segments.iter().find_map(|segment| match &segment.kind {
        SegmentKind::Mirror(mirror) if mirror.is_move => Some(Work::Move),
        SegmentKind::Thin(thin) if thin.merge.is_some() => Some(Work::Merge),
        SegmentKind::Cache(_) if lv.name.contains("_corig") => Some(Work::Uncache),
        _ => None,
    })
}
