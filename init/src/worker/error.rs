//! Why a job failed, in words for the operator and in kind for the core.

use orthrus_hb::{Epoch, Failure};

use super::create::CreateError;
use super::remedy::{self, CLAIMED_ANEW, RESETS, SEE_LOG, SEE_PORT};
use super::shares::SharesError;
use crate::array::AssembleError;
use crate::disk::{DiskError, WriteCache};
use crate::export::{ExportError, PlanError};
use crate::fence::lease::LeaseError;
use crate::fence::release::ReleaseError;
use crate::fence::reservations::ReadError;
use crate::fence::{ClaimError, FenceError, Stranger};
use crate::filesystem::MountError;
use crate::ledger::{SlotError, WriteStuck};
use crate::modules::ModuleError;
use crate::multipath::device::PathsError;
use crate::net::{NetError, Taken};
use crate::volume::bare::BareError;
use crate::volume::edit::apply::ApplyError;
use crate::volume::flushes::SWALLOWED;
use crate::volume::write::WriteError;
use crate::volume::{Refusal, VolumeError};

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The volume group is on no disk that this head sees.
    #[error(
        "volume group {vg} is on none of the disks that this head sees{detail}: check its cables to the shelf; `pool create` makes one of \
         bare disks"
    )]
    NoGroup {
        /// Its name.
        vg: String,
        /// Disks that could not be read, if any.
        detail: String,
    },
    /// The volume group is none any more.
    #[error(
        "volume group {vg} was destroyed, and not all of its disks are wiped: `pool create` takes them as they are"
    )]
    Destroyed {
        /// Its name.
        vg: String,
    },
    /// The volume group is left alone.
    #[error("{refusal}{detail}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Disks that could not be read, if any.
        detail: String,
    },
    /// Configuration and volumes do not fit.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// Keys or reservations of a disk cannot be read.
    #[error("{disk}: {why}")]
    Survey {
        /// The disk.
        disk: String,
        /// Why not.
        why: String,
    },
    /// Somebody who is no head of this cluster uses a disk.
    #[error("{disk}: {stranger}")]
    Stranger {
        /// The disk.
        disk: String,
        /// Who.
        stranger: Stranger,
    },
    /// The members changed while they were claimed.
    #[error(
        "the members of volume group {vg} changed during the claim, by the head that held it or by another host: if it comes again, see \
         that no other host is cabled to the shelf"
    )]
    Changed {
        /// The volume group.
        vg: String,
    },
    /// An import without a claim: the core never asks for one.
    #[error("the pool is not claimed under epoch {0}; {CLAIMED_ANEW}")]
    NotClaimed(Epoch),
    /// The pool was not made.
    #[error("{0}")]
    Create(Box<CreateError>),
    /// The paths of a disk are still joined.
    #[error("{0}; {SEE_LOG}")]
    Paths(#[from] PathsError),
    /// The disks cannot be fenced.
    #[error("{0}")]
    Fence(#[from] FenceError),
    /// The claim failed.
    #[error("{0}")]
    Claim(#[from] ClaimError),
    /// The disks have no reservations, and there is no lease.
    #[error("{0}")]
    Lease(#[from] LeaseError),
    /// The disks have no reservations, and the ledger cannot stand in for them.
    #[error("the disks have no reservations, and a lease on them cannot be had: {0}")]
    Slots(#[from] SlotError),
    /// The state volume could not be taken down.
    #[error("{0}; {SEE_LOG}")]
    State(#[from] MountError),
    /// Keys could not be taken off.
    #[error("{0}; {RESETS}")]
    Release(#[from] ReleaseError),
    /// A write to the ledger is under way, so that the keys cannot go.
    #[error("{0}; {RESETS}")]
    Ledger(#[from] WriteStuck),
    /// A disk failed.
    #[error("{0}; {way}", way = remedy::of_disk(.0))]
    Disk(#[from] DiskError),
    /// What a disk under MD acknowledges may be lost, and its failed flush would not be heard of.
    #[error("{disk}: its write cache stays {found}, {what} is on it, and {SWALLOWED}")]
    CacheUnderMd {
        /// The kernel's name of the disk.
        disk: String,
        /// What it says of its cache.
        found: WriteCache,
        /// The array or the volume.
        what: String,
    },
    /// What the operator said is lost could not be marked so: nothing may run without it.
    #[error("the lost disk cannot be marked as missing: {0}; {way}", way = remedy::of_apply(.0))]
    NotMarked(ApplyError),
    /// A service address is a stranger's on the clients' network.
    #[error("{0}")]
    Taken(#[from] Taken),
    /// The metadata could not be written.
    #[error("{0}; {way}", way = remedy::of_write(.0))]
    Metadata(#[from] WriteError),
    /// The kernel cannot do what the volumes ask for.
    #[error("{0}; {way}", way = remedy::of_module(.0))]
    Module(#[from] ModuleError),
    /// An array could not be started or stopped.
    #[error("{0}")]
    Array(#[from] AssembleError),
    /// A volume could not be activated or deactivated.
    #[error("{0}{way}", way = remedy::of_volume(.0))]
    Volume(#[from] VolumeError),
    /// An export could not be opened or closed.
    #[error("{0}; {way}", way = remedy::of_export(.0))]
    Export(#[from] ExportError),
    /// Shares could not be opened or closed.
    #[error("{0}; {way}", way = remedy::of_shares(.0))]
    Shares(#[from] SharesError),
    /// The network failed.
    #[error("{0}; {SEE_PORT}")]
    Net(#[from] NetError),
}

impl From<CreateError> for JobError {
    fn from(error: CreateError) -> JobError {
        JobError::Create(Box::new(error))
    }
}

impl JobError {
    /// Of a disk that a survey could not ask.
    pub fn survey(disk: &str, why: &ReadError) -> JobError {
        JobError::Survey {
            disk: disk.to_owned(),
            why: format!("{why}; {}", why.way_out()),
        }
    }

    /// What the core needs to know of it.
    pub fn kind(&self) -> Failure {
        match self {
            JobError::Create(error) => match &**error {
                CreateError::Claim(error) => claim_kind(error),
                CreateError::Bare(BareError::Io { .. })
                | CreateError::Random(_)
                | CreateError::Apply(_) => Failure::Device,
                _ => Failure::Refused,
            },
            JobError::Claim(error) => claim_kind(error),
            JobError::Lease(LeaseError::HeldByPeer { epoch } | LeaseError::LostRace { epoch }) => {
                Failure::HeldByPeer(*epoch)
            }
            JobError::Stranger { .. } => Failure::Stranger,
            JobError::NoGroup { .. }
            | JobError::Destroyed { .. }
            | JobError::Refused { .. }
            | JobError::Plan(_)
            | JobError::Changed { .. }
            | JobError::CacheUnderMd { .. }
            | JobError::Lease(LeaseError::NoWatchdog | LeaseError::NoTerms { .. })
            | JobError::Slots(SlotError::Absent)
            | JobError::Fence(_) => Failure::Refused,
            _ => Failure::Device,
        }
    }
}

fn claim_kind(error: &ClaimError) -> Failure {
    match error {
        ClaimError::HeldByPeer { epoch, .. } | ClaimError::LostRace { epoch, .. } => {
            Failure::HeldByPeer(*epoch)
        }
        ClaimError::Stranger { .. } => Failure::Stranger,
        _ => Failure::Device,
    }
}
