//! Why metadata cannot be changed as asked, in words for the operator.

/// Why an edit failed. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The metadata lack what they must have.
    #[error("the metadata cannot be changed: {0}")]
    Malformed(&'static str),
    /// The name is none, or stands for something else.
    #[error("{0:?} is no name for a volume: {1}")]
    Name(String, &'static str),
    /// There is one of this name.
    #[error("there is a volume {0} already")]
    Exists(String),
    /// There is none.
    #[error("there is no volume {0}")]
    NoVolume(String),
    /// There is no such member.
    #[error("the volume group has no physical volume {0}")]
    NoMember(String),
    /// A size of nothing, or one that the kind cannot have.
    #[error("{0}")]
    Size(String),
    /// More disks are wanted than there are.
    #[error("{layout}: {wanted} disks at least are wanted, and there are {disks}")]
    TooFewDisks {
        /// How it was to lie.
        layout: String,
        /// What that takes.
        wanted: u64,
        /// What there is.
        disks: usize,
    },
    /// What the group says of its new volumes.
    #[error(
        "this firmware does not know what the pool has for volumes of which nothing is said (its tag {0}): say --raid, or --raid linear"
    )]
    Default(String),
    /// Not enough free extents.
    #[error("{wanted} extents are wanted {how}, and {free} are free where they could be")]
    NoSpace {
        /// Extents.
        wanted: u64,
        /// In what way.
        how: &'static str,
        /// Extents.
        free: u64,
    },
    /// There is no room for a volume as the pool's default has it, which the order did not say.
    #[error("{why}; {layout} is the pool's default: say another with --raid, or --raid linear")]
    ByDefault {
        /// What is missing.
        why: Box<EditError>,
        /// The default.
        layout: String,
    },
    /// The volume is of a kind that cannot be changed here.
    #[error("volume {lv} is of type {kind:?}, which cannot be changed here")]
    Kind {
        /// The volume.
        lv: String,
        /// Its type.
        kind: String,
    },
    /// Something stands on it, or it is a part of something.
    #[error("volume {lv} {why}")]
    InUse {
        /// The volume.
        lv: String,
        /// By what.
        why: String,
    },
    /// The group could not be activated any more, by anybody.
    #[error("volume {lv} would {why}; nothing is changed")]
    Refused {
        /// The volume.
        lv: String,
        /// What the kernel, or lvm2, does not take.
        why: String,
    },
    /// A member holds extents that would be lost.
    #[error("physical volume {pv} {why}")]
    Member {
        /// Its identity.
        pv: String,
        /// What is in the way.
        why: String,
    },
}
