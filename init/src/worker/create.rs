//! A pool from bare disks: a volume group with the ledger's copies and the volume of the state, and no other volume yet.
//!
//! There is no owner yet, and writing needs a fence: for as long as it takes the disks are claimed as those of a pool that
//! nobody holds, then they are let go, and the core finds a pool like any other.

use std::time::Duration;

use orthrus_hb::{Authority, ClusterId, Epoch, HeadId};
use tracing::info;

use super::Worker;
use crate::clock;
use crate::disk::{self, Disk};
use crate::fence::release::ReleaseError;
use crate::fence::{
    COMMAND_LIFETIME, ClaimError, ClaimRequest, Fence, FenceError, Stranger, Survey,
};
use crate::volume::bare::{BareDisk, BareError};
use crate::volume::edit::apply::{self, ApplyError};
use crate::volume::edit::{EditError, Layout, Raid, new_group};
use crate::volume::write::BlockDevice;
use crate::volume::{self, Groups, Uuid};

/// Of an extent, in sectors: 4 MiB, lvm2's default.
const EXTENT: u64 = 8192;

/// Why a pool was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// It is there.
    #[error("volume group {0} is on the disks already")]
    Exists(String),
    /// No disk of that name or identity.
    #[error("no disk {wanted:?} is seen; there are: {seen}")]
    NoDisk {
        /// What was asked for.
        wanted: String,
        /// The disks that are there.
        seen: String,
    },
    /// Twice the same.
    #[error("{0} is named twice")]
    Twice(String),
    /// Not to be wiped by a slip.
    #[error("{disk}: is a member of volume group {group}, which is a pool of this configuration")]
    OfPool {
        /// The disk.
        disk: String,
        /// The volume group.
        group: String,
    },
    /// Nothing to fence with.
    #[error(
        "the disks have no reservations: make the volume group with lvm2 on one host while both heads are off, with \
         the copies of the ledger and the state's volume"
    )]
    NoReservations,
    /// Somebody uses it.
    #[error("{disk}: {what}")]
    InUse {
        /// The disk.
        disk: String,
        /// By whom.
        what: String,
    },
    /// They cannot be claimed.
    #[error("{0}")]
    Fence(#[from] FenceError),
    /// They cannot be claimed.
    #[error("{0}")]
    Claim(#[from] ClaimError),
    /// They are written, and still claimed.
    #[error("the pool is made, and {0}")]
    Release(#[from] ReleaseError),
    /// A disk is not bare, or fails.
    #[error("{0}")]
    Bare(#[from] BareError),
    /// The kernel has no random numbers.
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
    /// The group cannot be made of these disks.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// The group could not be written.
    #[error("{0}")]
    Apply(#[from] ApplyError),
}

impl Worker {
    /// Makes the pool's volume group of these disks, by name or identity; what to say of it.
    pub(super) fn create_pool(&self, names: &[String], wipe: bool) -> Result<String, CreateError> {
        let seen: Vec<Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let groups = volume::read_groups(&seen);
        let vg = self.pool().vg.clone();
        if self.claim.is_some() || groups.find(&vg).is_some() {
            return Err(CreateError::Exists(vg));
        }
        let disks = chosen(&seen, names)?;
        self.spare_pools(&groups, &disks)?;
        let fence = Fence::open(&disks)?;
        let survey = fence.survey();
        let epoch = unclaimed(&survey, self.config.cluster_id, self.me)?;
        let claimed = fence.claim(&ClaimRequest {
            cluster: self.config.cluster_id,
            head: self.me,
            epoch,
            authority: Authority::Free,
            command_lifetime: COMMAND_LIFETIME,
            up: Duration::from_millis(clock::now().as_millis()),
        })?;
        let made = self.make_group(&vg, &disks, wipe);
        let released = fence.release(claimed.key);
        made?;
        released?;
        let said = format!("volume group {vg} is made of {} disks", disks.len());
        info!(pool = self.pool().name, "{said}");
        Ok(format!(
            "{said}; the pool is served as soon as the heads have seen it"
        ))
    }

    fn make_group(&self, vg: &str, disks: &[Disk], wipe: bool) -> Result<(), CreateError> {
        let open = || {
            let opened = disks
                .iter()
                .map(|disk| (disk.name.clone(), BlockDevice::open(disk)));
            opened.collect::<Vec<_>>()
        };
        let mut media = Vec::new();
        for (disk, medium) in open() {
            let step = "opening for writing";
            media.push(medium.map_err(|source| BareError::Io { disk, step, source })?);
        }
        let mut bare: Vec<BareDisk<'_, BlockDevice>> = disks
            .iter()
            .zip(&mut media)
            .map(|(disk, medium)| BareDisk {
                name: &disk.name,
                device: disk.path.to_str().unwrap_or_default(),
                bytes: disk.bytes,
                medium,
            })
            .collect();
        // All of them before the first one is written to.
        if !wipe {
            bare.iter_mut().try_for_each(BareDisk::check)?;
        }
        let mut members = Vec::new();
        for disk in &mut bare {
            if wipe {
                disk.wipe()?;
            }
            members.push(disk.make(Uuid::random().map_err(CreateError::Random)?)?);
        }
        let group = new_group(vg, Uuid::random().map_err(CreateError::Random)?, EXTENT)?;
        let author = self.author(format!("orthrus: pool create {}", self.pool().name));
        let state = match disks.len() {
            1 => Layout::Linear,
            _ => Layout::Raid(Raid::Raid1, 2),
        };
        apply::create(open(), group, &author, |edit| {
            members
                .iter()
                .try_for_each(|member| edit.add_member(member))?;
            edit.create_reserved(state)
        })?;
        Ok(())
    }

    /// That no disk is in a group that is a pool of ours, whatever may be wiped.
    pub(super) fn spare_pools(&self, groups: &Groups, disks: &[Disk]) -> Result<(), CreateError> {
        let is_pool = |name: &str| self.config.pools.iter().any(|pool| pool.vg == name);
        for group in groups.groups.iter().filter(|group| is_pool(&group.name)) {
            let members = group.disks();
            let taken = disks
                .iter()
                .find(|disk| members.iter().any(|one| one.id == disk.id));
            if let Some(disk) = taken {
                return Err(CreateError::OfPool {
                    disk: disk.name.clone(),
                    group: group.name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The disks that are meant, by the kernel's name or by identity.
pub(super) fn chosen(seen: &[Disk], names: &[String]) -> Result<Vec<Disk>, CreateError> {
    let mut disks: Vec<Disk> = Vec::new();
    for wanted in names {
        let is_meant = |disk: &&Disk| disk.name == *wanted || disk.id.to_string() == *wanted;
        let disk = seen.iter().find(is_meant).ok_or_else(|| {
            let names: Vec<&str> = seen.iter().map(|disk| disk.name.as_str()).collect();
            CreateError::NoDisk {
                wanted: wanted.clone(),
                seen: names.join(", "),
            }
        })?;
        if disks.iter().any(|known| known.id == disk.id) {
            return Err(CreateError::Twice(wanted.clone()));
        }
        disks.push(disk.clone());
    }
    Ok(disks)
}

/// The epoch for a claim of disks that nobody holds.
pub(super) fn unclaimed(
    survey: &Survey,
    cluster: ClusterId,
    me: HeadId,
) -> Result<Epoch, CreateError> {
    let in_use = |disk: &str, what: String| CreateError::InUse {
        disk: disk.to_owned(),
        what,
    };
    if survey.has_none() {
        return Err(CreateError::NoReservations);
    }
    if let Some((disk, why)) = survey.failure() {
        return Err(in_use(disk, why.to_string()));
    }
    if let Some((disk, stranger)) = survey.stranger(cluster) {
        return Err(in_use(disk, Stranger::to_string(&stranger)));
    }
    // A key of this head is what is left of an attempt that its reset ended, and is replaced.
    if let Some((disk, key)) = survey.newest_of(cluster, me.peer()) {
        let what = format!(
            "has the key {key} of the peer: if nothing is served there, say it on the peer"
        );
        return Err(in_use(disk, what));
    }
    survey
        .greatest_epoch(cluster)
        .next()
        .ok_or_else(|| in_use("all", "epochs are used up".to_owned()))
}
