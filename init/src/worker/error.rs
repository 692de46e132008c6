//! Why a job failed, in words for the operator and in kind for the core.

use orthrus_hb::{Epoch, Failure};

use crate::disk::DiskError;
use crate::export::{ExportError, PlanError};
use crate::fence::release::ReleaseError;
use crate::fence::{ClaimError, FenceError};
use crate::ledger::WriteStuck;
use crate::net::NetError;
use crate::volume::{Refusal, VolumeError};

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The volume group is on no disk that this head sees.
    #[error("volume group {vg} is on none of the disks that this head sees{detail}")]
    NoGroup {
        /// Its name.
        vg: String,
        /// Disks that could not be read, if any.
        detail: String,
    },
    /// The volume group is left alone.
    #[error("{0}")]
    Refused(Refusal),
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
    /// A key that was not registered by a head of this cluster.
    #[error(
        "{disk}: key {key:#018x} is a stranger's: another cluster or host uses the disk. Orthrus never \
         removes it; end that use there, or remove the key with `sg_persist --out --clear`"
    )]
    Stranger {
        /// The disk.
        disk: String,
        /// The key.
        key: u64,
    },
    /// The members changed while they were claimed.
    #[error("the members of volume group {vg} changed during the claim")]
    Changed {
        /// The volume group.
        vg: String,
    },
    /// An import without a claim: the core never asks for one.
    #[error("the pool is not claimed under epoch {0}")]
    NotClaimed(Epoch),
    /// The disks cannot be fenced.
    #[error("{0}")]
    Fence(#[from] FenceError),
    /// The claim failed.
    #[error("{0}")]
    Claim(#[from] ClaimError),
    /// Keys could not be taken off.
    #[error("{0}")]
    Release(#[from] ReleaseError),
    /// A write to the ledger is under way, so that the keys cannot go.
    #[error("{0}")]
    Ledger(#[from] WriteStuck),
    /// A disk failed.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// A volume could not be activated or deactivated.
    #[error("{0}")]
    Volume(#[from] VolumeError),
    /// An export could not be opened or closed.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// The network failed.
    #[error("{0}")]
    Net(#[from] NetError),
}

impl JobError {
    /// What the core needs to know of it.
    pub fn kind(&self) -> Failure {
        match self {
            JobError::Claim(ClaimError::HeldByPeer { epoch, .. })
            | JobError::Claim(ClaimError::LostRace { epoch, .. }) => Failure::HeldByPeer(*epoch),
            JobError::Stranger { .. } | JobError::Claim(ClaimError::Stranger { .. }) => {
                Failure::Stranger
            }
            JobError::NoGroup { .. }
            | JobError::Refused(_)
            | JobError::Plan(_)
            | JobError::Changed { .. }
            | JobError::Fence(_) => Failure::Refused,
            _ => Failure::Device,
        }
    }
}
