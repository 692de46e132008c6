//! A new disk for one that was lost, while the pool is served: claimed, written into the group, and rebuilt.
//!
//! ```text
//! claim of the new disk ─► label ─► metadata: member in, images moved, member out ─► read again
//!   ─► watch of all ─► devices          and when all is rebuilt: metadata without the word
//! ```
//!
//! Decisions:
//! - The new disk is claimed under the epoch and key of the pool's claim before a byte is written to it, and once it is
//!   in the metadata every claim takes it like any other.
//! - Images on it carry lvm2's word `REBUILD` until they are whole. A takeover before that begins the rebuild anew. lvm2 takes the
//!   word away as soon as the kernel has the images; whoever dies before the kernel has written its own superblock there leaves a
//!   volume that it refuses.
//! - Only a member that an owner has marked as missing is replaced, and only after the pool was imported without it:
//!   until then the kernel has the lost disk in its tables.

use orthrus_hb::Authority;
use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use super::create::{CreateError, chosen, unclaimed};
use crate::disk::{self, Disk};
use crate::fence::{Fence, FenceError};
use crate::sync::lock;
use crate::volume::bare::{BareDisk, BareError};
use crate::volume::edit::apply::ApplyError;
use crate::volume::write::BlockDevice;
use crate::volume::{self, Uuid};

/// Why a disk was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// There is none to replace.
    #[error("no member of the pool is marked as missing: there is nothing to replace")]
    NoneLost,
    /// Not here, or not now.
    #[error("{0}")]
    Change(#[from] ChangeError),
    /// The new disk cannot be had.
    #[error("{0}")]
    Create(#[from] CreateError),
    /// A pool on a lease.
    #[error(
        "the pool is held by a lease: replace the disk with lvm2 on one host, while neither head holds the pool"
    )]
    Lease,
}

impl Worker {
    /// Puts a disk, by name or identity, in the place of the member that is marked as missing.
    pub(super) fn replace_disk(&mut self, name: &str, wipe: bool) -> Result<String, ReplaceError> {
        self.may_change()?;
        let claim = self.claim.as_ref().ok_or(ChangeError::NotServed)?;
        if claim.lease.is_some() {
            return Err(ReplaceError::Lease);
        }
        let lost = claim.group.pvs.iter().find(|pv| pv.is_missing);
        let lost = lost.ok_or(ReplaceError::NoneLost)?.uuid;
        let seen: Vec<Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let disks = chosen(&seen, &[name.to_owned()])?;
        self.spare_pools(&volume::read_groups(&seen), &disks)?;
        let fence = Fence::open(&disks).map_err(CreateError::Fence)?;
        // It says no more than that nobody else has the disk: the claim is the pool's.
        unclaimed(&fence.survey(), self.config.cluster_id, self.me)?;
        let request = self.request(claim.key.epoch, Authority::Free);
        let claimed = fence.claim(&request).map_err(CreateError::Claim)?;
        let put = self.put_in(lost, &disks[0], wipe);
        if is_unsettled(&put) {
            // It may be a member by now, and then it must be fenced like the others.
            self.join(fence)?;
            return put.map(|()| String::new());
        }
        if let Err(error) = put {
            if let Err(stays) = fence.release(claimed.key) {
                warn!(pool = self.pool().name, "{stays}");
            }
            return Err(error);
        }
        self.join(fence)?;
        self.follow()?;
        let said = format!(
            "{} takes the place of the lost disk, and is rebuilt",
            disks[0].name
        );
        info!(pool = self.pool().name, "{said}");
        Ok(said)
    }

    /// Label and metadata.
    fn put_in(&self, lost: Uuid, disk: &Disk, wipe: bool) -> Result<(), ReplaceError> {
        let open = || BlockDevice::open(disk);
        let bare = |source| {
            CreateError::Bare(BareError::Io {
                disk: disk.name.clone(),
                step: "opening for writing",
                source,
            })
        };
        let mut medium = open().map_err(bare)?;
        let mut new = BareDisk {
            name: &disk.name,
            device: disk.path.to_str().unwrap_or_default(),
            bytes: disk.bytes,
            medium: &mut medium,
        };
        if wipe {
            new.wipe().map_err(CreateError::Bare)?;
        }
        let id = Uuid::random().map_err(CreateError::Random)?;
        let member = new.make(id).map_err(CreateError::Bare)?;
        let author = self.author(format!("orthrus: disk replace {lost}"));
        let mut group = self.group()?.clone();
        // Its disk among those that are opened, which is all that the writer takes from here.
        if let Some(pv) = group.pvs.iter_mut().find(|pv| pv.uuid == lost) {
            pv.is_missing = false;
            pv.disk = Some(disk.clone());
        }
        let changed = self.host.edit(&group, &author, &|edit| {
            edit.add_member(&member)?;
            edit.replace_member(lost, id)?;
            edit.remove_member(lost)
        });
        self.written(changed)?;
        Ok(())
    }

    /// The new member is watched and released with the others.
    fn join(&mut self, new: Fence) -> Result<(), ReplaceError> {
        let Some(claim) = &mut self.claim else {
            return Err(ChangeError::NotServed.into());
        };
        let all = claim
            .fence
            .with(new)
            .map_err(|error: FenceError| CreateError::Fence(error))?;
        let watch = all.watch(claim.key, self.on_loss.clone());
        claim.fence = all;
        let before = lock(&self.watch).replace((claim.key.epoch, watch));
        drop(before);
        Ok(())
    }

    /// How far volumes are that are made equal, and of those that are done the word `REBUILD` goes.
    pub(super) fn look_at_rebuilds(&mut self) {
        let Some(claim) = self.claim.as_ref().filter(|_| self.served.is_some()) else {
            return;
        };
        let progress = match self.host.progress(&claim.group) {
            Ok(progress) => progress,
            Err(error) => return warn!(pool = self.pool().name, "{error}"),
        };
        let done: Vec<String> = claim
            .group
            .rebuilding()
            .into_iter()
            .filter(|name| !claim.rebuilt.contains(name))
            .filter(|name| progress.iter().any(|one| one.lv == *name && one.is_whole))
            .collect();
        for volume in &mut lock(&self.report).volumes {
            let under_way = progress
                .iter()
                .find(|one| one.lv == volume.name && !one.is_whole);
            volume.resync = under_way.map(|one| one.percent);
        }
        if done.is_empty() {
            return;
        }
        let author = self.author(format!("orthrus: rebuilt {}", done.join(", ")));
        let settled = self.host.edit(&claim.group, &author, &|edit| {
            done.iter().try_for_each(|name| edit.rebuilt(name))
        });
        if let Err(error) = self.written(settled) {
            self.note_metadata(format!("a rebuild is done, and not noted: {error}"));
            return;
        }
        for name in &done {
            info!(pool = self.pool().name, "volume {name} is rebuilt");
        }
        if let Some(claim) = &mut self.claim {
            // What is active has the word in its tables still: the group stays as it is until the next import.
            claim.rebuilt.extend(done);
        }
    }
}

/// The metadata were written on some disks, and which text counts is not known.
fn is_unsettled(put: &Result<(), ReplaceError>) -> bool {
    match put {
        Err(ReplaceError::Change(ChangeError::Apply(ApplyError::Write(error)))) => {
            error.is_unsettled()
        }
        _ => false,
    }
}
