//! A pool from bare disks: a volume group with the ledger's copies and the volume of the state, and no other volume yet.
//!
//! Which disks it can be made of, and what is written to them; when that is done is a matter of [`super::making`].

use orthrus_hb::{ClusterId, Epoch, HeadId, Refusal};

use super::Worker;
use super::orders::NewPool;
use crate::disk::{self, Disk, DiskError, DiskId};
use crate::fence::stranger::CLEAR;
use crate::fence::{ClaimError, Fence, FenceError, Stranger, Survey};
use crate::volume::bare::{BareDisk, BareError};
use crate::volume::edit::apply::{self, ApplyError};
use crate::volume::edit::{EditError, Layout, Raid, enough_disks, new_group};
use crate::volume::flushes::SWALLOWED;
use crate::volume::write::{BlockDevice, WriteError};
use crate::volume::{self, Groups, Uuid, VolumeGroup};

/// Of an extent, in sectors: 4 MiB, lvm2's default.
const EXTENT: u64 = 8192;

/// Disks that a pool can be made of.
pub(super) struct Free {
    pub disks: Vec<Disk>,
    pub fence: Fence,
    /// The greatest epoch in a key on them.
    pub greatest: Epoch,
    /// What is on these is what is left of a pool that was destroyed.
    leftovers: Vec<DiskId>,
}

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
    /// A disk that is held is called what it was called when it was claimed.
    #[error("{name} is what several disks are called: say the identity, one of {ids}")]
    Ambiguous {
        /// The name.
        name: String,
        /// Who they are.
        ids: String,
    },
    /// Twice the same.
    #[error("{0} is named twice")]
    Twice(String),
    /// Clients would see a volume's blocks change their size as it grows onto it.
    #[error(
        "{disk}: has blocks of {bytes} bytes, and {other} of {others}; a pool is of disks with blocks of one size"
    )]
    Blocks {
        /// The disk.
        disk: String,
        /// Its smallest unit.
        bytes: u32,
        /// Another one of the pool.
        other: String,
        /// That one's.
        others: u32,
    },
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
    /// A disk is not bare, or fails.
    #[error("{0}")]
    Bare(#[from] BareError),
    /// Its write cache cannot be turned off.
    #[error("{0}, and {SWALLOWED}")]
    Cache(#[from] DiskError),
    /// The kernel has no random numbers.
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
    /// The group cannot be made of these disks.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// The group could not be written.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// The core does not take it up.
    #[error("{0}")]
    Refused(Refusal),
    /// The core dropped it.
    #[error(
        "it was not this head's turn: the peer looks for the pool, or makes it, or is not heard well; nothing was changed"
    )]
    NoTurn,
    /// The core asks for what nobody wants any more.
    #[error("nobody waits for the pool to be made")]
    NoOrder,
}

impl Worker {
    /// The disks by these names or identities, if a pool can be made of them. Changes nothing.
    pub(super) fn free_disks(&self, new: &NewPool) -> Result<Free, CreateError> {
        let seen: Vec<Disk> = disk::scan().into_iter().filter_map(Result::ok).collect();
        let groups = volume::read_groups(&seen);
        let vg = &self.pool().vg;
        if self.claim.is_some() || groups.find(vg, &self.config.cluster).is_some() {
            return Err(CreateError::Exists(vg.clone()));
        }
        let disks = wanted(&seen, new)?;
        self.spare_pools(&groups, &disks)?;
        let fence = Fence::open(&disks, self.identity())?;
        let greatest = unclaimed(&fence.survey(), self.config.cluster_id, self.me)?;
        // All of them before the first one is written to.
        let destroyed = groups.destroyed.iter().flat_map(VolumeGroup::disks);
        let leftovers: Vec<DiskId> = destroyed.map(|disk| disk.id).collect();
        let mut media = open(&disks)?;
        for (disk, bare) in disks.iter().zip(&mut bare_disks(&disks, &mut media)) {
            if !new.wipe && !leftovers.contains(&disk.id) {
                bare.check()?;
            }
        }
        Ok(Free {
            disks,
            fence,
            greatest,
            leftovers,
        })
    }

    pub(super) fn make_group(
        &self,
        vg: &str,
        free: &Free,
        new: &NewPool,
    ) -> Result<(), CreateError> {
        let disks = &free.disks[..];
        if disks.len() > 1 {
            let outcomes = disk::disable_write_caches(disks).into_iter();
            outcomes.collect::<Result<Vec<_>, _>>()?;
        }
        let mut media = open(disks)?;
        let mut bare = bare_disks(disks, &mut media);
        let mut members = Vec::new();
        for (disk, bare) in disks.iter().zip(&mut bare) {
            if new.wipe || free.leftovers.contains(&disk.id) {
                bare.wipe()?;
            }
            members.push(bare.make(Uuid::random().map_err(CreateError::Random)?)?);
        }
        let group = new_group(vg, Uuid::random().map_err(CreateError::Random)?, EXTENT)?;
        let author = self.author(format!("orthrus: pool create {}", self.pool().name));
        let state = match disks.len() {
            1 => Layout::Linear,
            _ => Layout::Raid(Raid::Raid1, 2),
        };
        let opened = disks
            .iter()
            .map(|disk| (disk.name.clone(), BlockDevice::open(disk)));
        let written = apply::create(opened.collect(), group, &author, |edit| {
            members
                .iter()
                .try_for_each(|member| edit.add_member(member))?;
            edit.create_reserved(state)?;
            edit.set_default(new.layout)
        });
        if let Err(ApplyError::Write(WriteError::Fenced(failure))) = &written {
            self.fenced(&failure.disk);
        }
        written?;
        Ok(())
    }

    /// That no disk is in a group that is a pool of ours, whatever may be wiped.
    pub(super) fn spare_pools(&self, groups: &Groups, disks: &[Disk]) -> Result<(), CreateError> {
        let is_pool = |name: &str| self.config.pools.iter().any(|pool| pool.vg == name);
        let cluster = &self.config.cluster;
        // Another box's, of the same name, can be wiped as anything else.
        let pools = groups.groups.iter().filter(|group| is_pool(&group.name));
        for group in pools.filter(|group| group.is_of(cluster) || group.system_id.is_none()) {
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

/// Opens disks for writing.
fn open(disks: &[Disk]) -> Result<Vec<BlockDevice>, BareError> {
    let opened = disks.iter().map(|disk| {
        BlockDevice::open(disk).map_err(|source| BareError::Io {
            disk: disk.name.clone(),
            step: "opening for writing",
            source,
        })
    });
    opened.collect()
}

fn bare_disks<'a>(
    disks: &'a [Disk],
    media: &'a mut [BlockDevice],
) -> Vec<BareDisk<'a, BlockDevice>> {
    let pairs = disks.iter().zip(media);
    let bare = pairs.map(|(disk, medium)| BareDisk {
        name: &disk.name,
        device: disk.path.to_str().unwrap_or_default(),
        bytes: disk.bytes,
        medium,
    });
    bare.collect()
}

/// The disks that a pool is to be of, if there can be one of them with such volumes.
fn wanted(seen: &[Disk], new: &NewPool) -> Result<Vec<Disk>, CreateError> {
    let disks = chosen(seen, &new.disks)?;
    enough_disks(new.layout, disks.len())?;
    of_one_block_size(&disks)?;
    Ok(disks)
}

/// That all of these have blocks of the first one's size.
pub(super) fn of_one_block_size(disks: &[Disk]) -> Result<(), CreateError> {
    let Some((first, rest)) = disks.split_first() else {
        return Ok(());
    };
    match rest
        .iter()
        .find(|disk| disk.logical_block != first.logical_block)
    {
        None => Ok(()),
        Some(disk) => Err(CreateError::Blocks {
            disk: disk.name.clone(),
            bytes: disk.logical_block,
            other: first.name.clone(),
            others: first.logical_block,
        }),
    }
}

/// The disks that are meant, by the kernel's name or by identity.
pub(super) fn chosen(seen: &[Disk], names: &[String]) -> Result<Vec<Disk>, CreateError> {
    let mut disks: Vec<Disk> = Vec::new();
    for wanted in names {
        let is_meant = |disk: &&Disk| disk.name == *wanted || disk.id.to_string() == *wanted;
        let meant: Vec<&Disk> = seen.iter().filter(is_meant).collect();
        let disk = match meant[..] {
            [disk] => disk,
            [] => {
                let names: Vec<&str> = seen.iter().map(|disk| disk.name.as_str()).collect();
                return Err(CreateError::NoDisk {
                    wanted: wanted.clone(),
                    seen: names.join(", "),
                });
            }
            _ => {
                let ids: Vec<String> = meant.iter().map(|disk| disk.id.to_string()).collect();
                return Err(CreateError::Ambiguous {
                    name: wanted.clone(),
                    ids: ids.join(", "),
                });
            }
        };
        if disks.iter().any(|known| known.id == disk.id) {
            return Err(CreateError::Twice(wanted.clone()));
        }
        disks.push(disk.clone());
    }
    Ok(disks)
}

/// That nobody holds the disks; the greatest epoch in a key on them.
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
        // Left by attempts of both that neither could undo: each is in the other's way.
        let ours = survey
            .keys(cluster)
            .find(|(other, key)| *other == disk && key.head == me);
        let what = match ours {
            None => format!(
                "has the key {key} of the peer, which may have died as it took the disk: if nothing is served there, say it on the peer; for a disk \
                 of a pool after a `handover` to it"
            ),
            Some((_, ours)) => format!(
                "has keys of both heads, {key} and {ours}: if nothing is served there, {CLEAR}"
            ),
        };
        return Err(in_use(disk, what));
    }
    Ok(survey.greatest_epoch(cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str) -> Disk {
        Disk {
            name: name.to_owned(),
            path: format!("/dev/{name}").into(),
            number: (8, 0),
            id: DiskId(format!("naa.{name}")),
            vendor: String::new(),
            model: String::new(),
            bytes: 64 << 20,
            logical_block: 512,
            write_cache: crate::disk::WriteCache::WriteThrough,
            sequence: 0,
            paths: Vec::new(),
        }
    }

    #[test]
    fn a_name_that_two_disks_have_is_no_disks_and_an_identity_is() {
        let mut seen = ["sda", "sdb", "sdc"].map(disk);
        // It was claimed as what another one is called by now.
        seen[2].name = "sda".to_owned();
        let chosen = |wanted: &str| chosen(&seen, &[wanted.to_owned()]);
        let why = chosen("sda").unwrap_err().to_string();
        assert!(why.contains("naa.sda, naa.sdc"), "{why}");
        assert_eq!(chosen("sdb").unwrap()[0].id, seen[1].id);
        assert_eq!(chosen("naa.sdc").unwrap()[0].id, seen[2].id);
        assert!(matches!(chosen("sdc"), Err(CreateError::NoDisk { .. })));
    }

    #[test]
    fn a_pool_has_the_disks_that_its_volumes_take() {
        let seen = ["sda", "sdb", "sdc", "sdd"].map(disk);
        let made = |count: usize, layout| {
            let names = seen[..count].iter().map(|disk| disk.name.clone());
            let new = NewPool {
                disks: names.collect(),
                wipe: true,
                layout,
            };
            wanted(&seen, &new).map(|disks| disks.len())
        };
        let why = made(4, Layout::Raid(Raid::Raid6, 5)).unwrap_err();
        let said = "raid6 on 5 disks: 5 disks at least are wanted, and there are 4";
        assert_eq!(why.to_string(), said);
        assert!(made(1, Layout::Raid(Raid::Raid1, 2)).is_err());
        for (count, layout) in [
            (1, Layout::Linear),
            (2, Layout::Raid(Raid::Raid1, 2)),
            (4, Layout::Raid(Raid::Raid5, 3)),
        ] {
            assert_eq!(made(count, layout).unwrap(), count);
        }
    }

    #[test]
    fn a_pool_is_of_disks_with_blocks_of_one_size() {
        let mut disks = ["sda", "sdb", "sdc"].map(disk);
        assert!(of_one_block_size(&disks).is_ok());
        assert!(of_one_block_size(&[]).is_ok());
        disks[1].logical_block = 4096;
        let error = of_one_block_size(&disks).unwrap_err().to_string();
        let said = format!(
            "{}: has blocks of 4096 bytes, and {} of 512",
            disks[1].name, disks[0].name
        );
        assert!(error.starts_with(&said), "{error}");
    }
}
