//! Why a volume group is left alone, in a sentence for the operator.
//!
//! One missing member is enough, whatever is on it: so two heads that each see a part of a group can never both serve.
//! The one exception here is a member that an owner marked as missing when every volume can do without it: the mark
//! was written under a claim, and whoever reads it sees a disk that was claimed then. Such a disk is not claimed and
//! not used, be it here or not, so that both heads agree on the members. That disks which could not be activated by
//! themselves may be left out as well is worked out ([`super::health`]), and not used here yet: the arbiter must be
//! known to both heads, also when it is the disk that one of them does not see.

use std::fmt;

use super::group::{Conflict, VolumeGroup};
use super::plan::{Choice, Plan, PlanError};
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
    /// Something is missing, and disks that are here do not answer: it may be on them. A disk that is only slow must not be
    /// given up as a lost one.
    Silent {
        /// What, as part of a sentence.
        missing: String,
        /// The disks, with their identities.
        disks: Vec<String>,
    },
    /// A member of an array is not here, or was away, and nobody has written that the array does without it.
    MissingMember {
        /// The array.
        array: String,
        /// Its slots.
        slots: Vec<u32>,
    },
    /// Parity of an array may be wrong where data must be computed from it.
    DirtyArray {
        /// The array.
        array: String,
    },
    /// The same of a volume: it lacks an image, and was not let go of in order.
    DirtyVolume {
        /// The volume.
        lv: String,
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
    /// Disks are lost, and a volume cannot do without them.
    Lost {
        /// The volume.
        lv: String,
        /// The disk.
        pv: Uuid,
    },
    /// A volume cannot be made usable.
    Volume(PlanError),
    /// The whole group is in the middle of a move.
    Moving,
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
        let mut conflicts = self.conflicts.iter();
        if let Some(conflict) = conflicts.find(|conflict| !self.comes_before(conflict, cluster)) {
            return Some(self.or_silent(Refusal::Conflict(conflict.clone())));
        }
        if self.has("CLUSTERED") {
            let manager = "clvm".to_owned();
            return Some(Refusal::Clustered { manager });
        }
        // A lock type without a manager's name is as good as one with.
        if let Some(manager) = self.lock_type.clone().filter(|kind| kind != "none") {
            return Some(Refusal::Clustered { manager });
        }
        // An empty one is nobody's, to lvm2 as well.
        if let Some(foreign) = self
            .system_id
            .clone()
            .filter(|id| !id.is_empty() && *id != system_id(cluster))
        {
            return Some(Refusal::Foreign { system_id: foreign });
        }
        if self.has("EXPORTED") {
            return Some(Refusal::Exported);
        }
        if self.has("PVMOVE") {
            return Some(Refusal::Moving);
        }
        let missing = self.disk_refusal().map(|refusal| self.or_silent(refusal));
        missing.or_else(|| self.volume_refusal())
    }

    /// Whether the group is this cluster's by its system ID. One that nobody claimed yet is not.
    pub fn is_of(&self, cluster: &str) -> bool {
        self.system_id.as_deref() == Some(&*system_id(cluster))
    }

    /// Whether a conflict is with a group of the same name that is none of ours, while this one is: a disk of another box that somebody
    /// plugged in.
    fn comes_before(&self, conflict: &Conflict, cluster: &str) -> bool {
        match conflict {
            Conflict::SameName { system_id: of, .. } => {
                self.is_of(cluster) && of.as_deref() != Some(&*system_id(cluster))
            }
            _ => false,
        }
    }

    /// Groups with the same name that are none of this cluster's, of a group that is.
    pub fn namesakes(&self, cluster: &str) -> Vec<Uuid> {
        let conflicts = self.conflicts.iter();
        let others = conflicts.filter(|conflict| self.comes_before(conflict, cluster));
        let others = others.filter_map(|conflict| match conflict {
            Conflict::SameName { other, .. } => Some(*other),
            _ => None,
        });
        others.collect()
    }

    /// A reason that speaks of what is missing counts only when every disk that is here has said what it is.
    fn or_silent(&self, refusal: Refusal) -> Refusal {
        let missing = match &refusal {
            Refusal::MissingDisk { uuid, .. } => format!("physical volume {uuid}"),
            Refusal::MissingMember { array, .. } => {
                format!("what the MD array {array:?} lacks")
            }
            Refusal::Conflict(Conflict::Stray { .. }) => {
                "what the newest metadata count on".to_owned()
            }
            _ => return refusal,
        };
        match self.silent.is_empty() {
            true => refusal,
            false => Refusal::Silent {
                missing,
                disks: self.silent.clone(),
            },
        }
    }

    fn disk_refusal(&self) -> Option<Refusal> {
        let counted = self.pvs.iter().filter(|pv| !pv.is_missing);
        for pv in counted {
            let Some(disk) = &pv.disk else {
                return Some(Refusal::MissingDisk {
                    uuid: pv.uuid,
                    hint: pv.hint.clone(),
                });
            };
            if let Some(on) = &pv.array {
                // Not those that an owner's kernel marked as failed: they are no members any more.
                let absent: Vec<u32> = on.decision.absent().collect();
                if !absent.is_empty() {
                    return Some(Refusal::MissingMember {
                        array: on.array.name(),
                        slots: absent,
                    });
                }
            }
            let sectors = pv.extents.checked_mul(self.extent_sectors);
            let end = sectors.and_then(|sectors| sectors.checked_add(pv.data_start));
            if end.is_none_or(|end| end > disk.bytes / 512) {
                return Some(Refusal::ShortDisk {
                    disk: disk.name.clone(),
                });
            }
        }
        None
    }

    fn volume_refusal(&self) -> Option<Refusal> {
        let error = Plan::new(self, &Choice::serving()).err()?;
        let lost = self.pvs.iter().find(|pv| pv.is_missing);
        match (error, lost) {
            (PlanError::Incomplete { lv, pv: needed }, Some(pv)) => Some(match &pv.disk {
                // A disk that is back comes first: taking it back may be all that is to do.
                Some(disk) => Refusal::OutdatedDisk {
                    uuid: pv.uuid,
                    disk: disk.name.clone(),
                },
                None => Refusal::Lost { lv, pv: needed },
            }),
            (error, _) => Some(Refusal::Volume(error)),
        }
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
            Refusal::Silent { missing, disks } => write!(
                f,
                "{missing} is not found, and may be on a disk that is here: {} does not answer; check its power and its \
                 cables, and if it is broken, pull it out",
                disks.join(", ")
            ),
            Refusal::MissingMember { array, slots } => {
                let slots: Vec<String> = slots.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "members of the MD array {array:?} are missing or were away (slots {}), and it counts on them: connect \
                     them; if they are lost, mdadm --assemble --run on another host goes on without",
                    slots.join(", ")
                )
            }
            Refusal::DirtyArray { array } => write!(
                f,
                "MD array {array:?}: {}",
                crate::array::Refusal::DirtyDegraded
            ),
            Refusal::DirtyVolume { lv } => write!(
                f,
                "volume {lv}: an image of its RAID is missing, and its last owner did not let go of it in order: where it was being written \
                 parity may not fit, and with it data of the missing image that are wrong. `dirty_degraded = true` in the pool's part of the \
                 configuration allows it"
            ),
            Refusal::OutdatedDisk { uuid, disk } => write!(
                f,
                "{disk} (physical volume {uuid}) was missing while the volume group was changed: its \
                 data are old; vgextend --restoremissing on a host with lvm2 takes it back"
            ),
            Refusal::ShortDisk { disk } => write!(
                f,
                "{disk} is smaller than the physical volume on it: if it is a copy, connect the disk that it was made of, or copy to one \
                 that is as large; if it was made smaller, give it its size again where it is made"
            ),
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
            Refusal::Lost { lv, pv } => write!(
                f,
                "volume {lv} needs physical volume {pv}, which is not here and was marked as missing: what is left is not enough; connect the disk and take it back \
                 (vgextend --restoremissing on a host with lvm2)"
            ),
            Refusal::Volume(error) => error.fmt(f),
            Refusal::Moving => f.write_str(
                "the volume group is being moved from disk to disk: on a host with lvm2, let pvmove finish, or pvmove \
                 --abort",
            ),
            Refusal::Conflict(Conflict::SamePv { one, other }) => write!(
                f,
                "{one} and {other} carry the same physical volume: one is a copy; disconnect it"
            ),
            Refusal::Conflict(Conflict::Stray { seqno }) => write!(
                f,
                "the newest metadata (seqno {seqno}) are only on disks that they call missing: connect the others"
            ),
            Refusal::Conflict(Conflict::SameName { other, .. }) => write!(
                f,
                "another volume group, {other}, has the same name: vgrename one on a host with lvm2"
            ),
            Refusal::Conflict(Conflict::Disagreement { seqno }) => write!(
                f,
                "disks carry different metadata of the same age (seqno {seqno}): two hosts changed the \
                 volume group; leave one of them cabled to it, and vgcfgrestore there (lvm2) writes to all disks what is right"
            ),
        }
    }
}
