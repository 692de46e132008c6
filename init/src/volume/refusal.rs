//! Why a volume group is left alone, in a sentence for the operator.
//!
//! One missing member is enough, whatever is on it: so two heads that each see a part of a group can never both serve.
//! Leaving a disk out of a claim (one that an owner marked as failed, that could not be activated by
//! itself, that the peer does not see either, or that the operator gives up) makes sense only for volumes that survive
//! it. Linear and striped ones do not, and others are refused; with RAID the exceptions come, here.

use std::fmt;

use super::group::{Conflict, SegmentKind, VolumeGroup};
use super::reserved;
use super::uuid::Uuid;

/// A reason not to touch a volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A member is not here.
    MissingDisk {
        /// Which one.
        uuid: Uuid,
        /// What it was called on the host that wrote the metadata.
        hint: Option<String>,
    },
    /// A member is marked as missing: it was absent while the group was changed.
    OutdatedDisk {
        /// Its identity.
        uuid: Uuid,
        /// The kernel's name of the disk.
        disk: String,
    },
    /// A disk is smaller than what is on it.
    ShortDisk {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// Under a cluster's lock manager.
    Clustered {
        /// `clvm`, `dlm`, `sanlock`.
        manager: String,
    },
    /// Belongs to another host.
    Foreign {
        /// Its system ID.
        system_id: String,
    },
    /// `vgexport`ed.
    Exported,
    /// A visible volume has a segment that is not supported.
    Unsupported {
        /// The volume.
        lv: String,
        /// Its type.
        kind: String,
    },
    /// See [`Conflict`].
    Conflict(Conflict),
}

/// The system ID of the volume groups of a cluster.
pub fn system_id(cluster: &str) -> String {
    format!("orthrus-{cluster}")
}

impl VolumeGroup {
    /// The first reason to leave the group alone; `cluster` is the name of ours.
    pub fn refusal(&self, cluster: &str) -> Option<Refusal> {
        if let Some(conflict) = self.conflicts.first() {
            return Some(Refusal::Conflict(conflict.clone()));
        }
        let has = |wanted: &str| self.status.iter().any(|word| word == wanted);
        if has("CLUSTERED") {
            let manager = "clvm".to_owned();
            return Some(Refusal::Clustered { manager });
        }
        if let Some(manager) = self.lock_type.clone().filter(|kind| kind != "none") {
            return Some(Refusal::Clustered { manager });
        }
        if let Some(foreign) = self
            .system_id
            .clone()
            .filter(|id| *id != system_id(cluster))
        {
            return Some(Refusal::Foreign { system_id: foreign });
        }
        if has("EXPORTED") {
            return Some(Refusal::Exported);
        }
        self.disk_refusal().or_else(|| self.volume_refusal())
    }

    fn disk_refusal(&self) -> Option<Refusal> {
        self.pvs.iter().find_map(|pv| {
            let Some(disk) = &pv.disk else {
                return Some(Refusal::MissingDisk {
                    uuid: pv.uuid,
                    hint: pv.hint.clone(),
                });
            };
            if pv.is_missing {
                return Some(Refusal::OutdatedDisk {
                    uuid: pv.uuid,
                    disk: disk.name.clone(),
                });
            }
            let sectors = pv.extents.checked_mul(self.extent_sectors);
            let end = sectors.and_then(|sectors| sectors.checked_add(pv.data_start));
            end.is_none_or(|end| end > disk.bytes / 512)
                .then(|| Refusal::ShortDisk {
                    disk: disk.name.clone(),
                })
        })
    }

    fn volume_refusal(&self) -> Option<Refusal> {
        // A ledger of a wrong shape is not used, and is no reason not to serve the others.
        let mut volumes = self.visible().filter(|lv| !reserved::is_ledger(&lv.name));
        volumes.find_map(|lv| {
            lv.segments.iter().find_map(|segment| match &segment.kind {
                SegmentKind::Striped { .. } => None,
                SegmentKind::Other(kind) => Some(Refusal::Unsupported {
                    lv: lv.name.clone(),
                    kind: kind.clone(),
                }),
            })
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::MissingDisk { uuid, hint } => {
                write!(f, "a disk is missing: physical volume {uuid}")?;
                match hint {
                    Some(hint) => write!(f, ", last seen as {hint:?}; connect it"),
                    None => f.write_str("; connect it"),
                }
            }
            Refusal::OutdatedDisk { uuid, disk } => write!(
                f,
                "{disk} (physical volume {uuid}) was missing while the volume group was changed: its \
                 data are old; vgextend --restoremissing on a host with lvm2 takes it back"
            ),
            Refusal::ShortDisk { disk } => {
                write!(f, "{disk} is smaller than the physical volume on it")
            }
            Refusal::Clustered { manager } => write!(
                f,
                "the volume group is under the lock manager {manager}: vgchange --lock-type none on the \
                 cluster that uses it gives it free"
            ),
            Refusal::Foreign { system_id } => write!(
                f,
                "the volume group belongs to the system ID {system_id:?}: vgchange --systemid \"\" on that \
                 host gives it free"
            ),
            Refusal::Exported => {
                f.write_str("the volume group is exported: vgimport on a host with lvm2 first")
            }
            Refusal::Unsupported { lv, kind } => write!(
                f,
                "volume {lv} has a segment of type {kind:?}; linear and striped are supported"
            ),
            Refusal::Conflict(Conflict::SamePv { one, other }) => write!(
                f,
                "{one} and {other} carry the same physical volume: one is a copy; disconnect it"
            ),
            Refusal::Conflict(Conflict::SameName { other }) => write!(
                f,
                "another volume group, {other}, has the same name: vgrename one on a host with lvm2"
            ),
            Refusal::Conflict(Conflict::Disagreement { seqno }) => write!(
                f,
                "disks carry different metadata of the same age (seqno {seqno}): two hosts changed the \
                 volume group"
            ),
        }
    }
}
