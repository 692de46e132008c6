//! Why an array is left as it is, each with the way out.

use super::geometry::GeometryError;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// None of the disks is in a slot of it: spares, and disks that failed.
    #[error("none of its disks that are here holds any of its data: connect its members")]
    NoMember,
    /// Two disks went on without one another.
    #[error(
        "{one} and {other} went on without one another and hold different data: mdadm --zero-superblock on the one that \
         is given up, on another host, decides"
    )]
    Diverged {
        /// One disk.
        one: String,
        /// The other one.
        other: String,
    },
    /// One is a copy of the other.
    #[error(
        "{one} and {other} say that they are the same member: one is a copy of the other, take it away"
    )]
    SameMember {
        /// One disk.
        one: String,
        /// The other one.
        other: String,
    },
    /// Two for one slot.
    #[error(
        "{one} and {other} are both in slot {slot}: mdadm --zero-superblock on the one that is not to be in it, on another host, decides"
    )]
    SameSlot {
        /// One disk.
        one: String,
        /// The other one.
        other: String,
        /// The slot.
        slot: u32,
    },
    /// Two members disagree on what the array is.
    #[error(
        "{one} and {other} disagree on the shape of the array: mdadm --zero-superblock on the one that is wrong, on another host, decides"
    )]
    Disagreement {
        /// One disk.
        one: String,
        /// The other one.
        other: String,
    },
    /// A change of shape is under way.
    #[error("a reshape is under way: let mdadm finish it on another host")]
    Reshape,
    /// A member is being copied to another one.
    #[error("the member in slot {slot} is being replaced: let mdadm finish it on another host")]
    Replacement {
        /// The slot.
        slot: u32,
    },
    /// It is used by several hosts.
    #[error(
        "it is a clustered array: mdadm --grow --bitmap=internal on another host makes it an ordinary one"
    )]
    Clustered,
    /// Not a shape that is known here.
    #[error(
        "{0}: copy what is on it to an array or a volume that can be served, on another host with mdadm"
    )]
    Geometry(#[from] GeometryError),
    /// A raid0 in zones that does not say how.
    #[error(
        "a raid0 of members of different sizes that does not say how they are laid out: mdadm --assemble \
         --update=layout-original or layout-alternate on another host, whichever its kernel wrote"
    )]
    Zones,
    /// Too many members are lost.
    #[error("{} of {disks} members are missing or out of date, and what is left is not enough (slots {}): connect them; if they are out of date, \
         mdadm --assemble --force on another host takes them as they are", missing.len(), list(missing))]
    NotEnough {
        /// Slots without a member that can be used.
        missing: Vec<u32>,
        /// Slots of the array.
        disks: u32,
    },
    /// The write hole.
    #[error(
        "a member is missing and it was not stopped in order: what was being written may have left parity that does not \
         fit, and with it data of the missing member that are wrong. `dirty_degraded = true` in the pool's part of the configuration allows it"
    )]
    DirtyDegraded,
    /// The journal is part of the data.
    #[error(
        "its journal is missing, in which the last of its writes may be: connect it; if it is lost, mdadm --assemble --force on another host \
         goes on without"
    )]
    NoJournal,
}

fn list(slots: &[u32]) -> String {
    let slots: Vec<String> = slots.iter().map(u32::to_string).collect();
    slots.join(", ")
}
