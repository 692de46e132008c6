//! What is left of each volume when disks are lost, and which disks a claim may do without. Pure.
//!
//! A disk counts as lost when it is not here, and also when it is here and the metadata call it missing: what is on it
//! is old, and it must be made equal before it is trusted. An image of RAID that the kernel threw out counts as lost as soon as
//! another one is: its own superblock does not say so, and alone it would be taken for all that there is.
//!
//! What lvm2 activates with `--activationmode degraded` is [`Health::Degraded`] here: RAID volumes with enough images,
//! none of them with checksums. Beyond lvm2, which looks at the volume itself only, a volume that stands on such a RAID
//! volume is degraded as well: a thin pool on a RAID volume outlives the loss of a disk. A cache for writes is not used
//! above anything that lacks a part, as with lvm2.

use std::collections::BTreeSet;

use super::group::{Area, Flag, Links, Raid, RaidLevel, SegmentKind, VolumeGroup};
use super::plan::{Choice, Device, Plan, Purpose, Target};
use super::reserved;
use super::uuid::Uuid;
use super::write::stamp::PARITY_TAG;
use crate::disk::{Disk, DiskId};

/// What is left of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All of it.
    Whole,
    /// Enough.
    Degraded,
    /// Not enough.
    Broken,
}

/// Which physical volumes can be used, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence(Vec<bool>);

impl Presence {
    /// Those whose disk is here and that no owner called missing.
    pub fn of(group: &VolumeGroup) -> Presence {
        let here = group.pvs.iter();
        Presence(here.map(|pv| pv.disk.is_some() && !pv.is_missing).collect())
    }

    /// These and no others.
    pub fn only(group: &VolumeGroup, pvs: &BTreeSet<usize>) -> Presence {
        Presence((0..group.pvs.len()).map(|pv| pvs.contains(&pv)).collect())
    }

    /// Whether this one can be used.
    pub fn has(&self, pv: usize) -> bool {
        self.0.get(pv).copied().unwrap_or(false)
    }

    /// Its disk, if it can be used.
    pub fn disk<'a>(&self, group: &'a VolumeGroup, pv: usize) -> Option<&'a Disk> {
        group.pvs[pv].disk.as_ref().filter(|_| self.has(pv))
    }

    /// A physical volume that a volume needs and that cannot be used.
    pub fn first_lost(&self, group: &VolumeGroup, links: &Links, lv: usize) -> Option<usize> {
        let needed = group.closure(links, lv);
        let mut pvs = needed.into_iter().flat_map(|lv| group.pvs_of(lv));
        pvs.find(|pv| !self.has(*pv))
    }
}

impl VolumeGroup {
    /// The physical volumes that a volume itself has stretches on.
    pub(super) fn pvs_of(&self, lv: usize) -> Vec<usize> {
        let areas = self.lvs[lv]
            .segments
            .iter()
            .flat_map(|segment| segment.areas().0);
        let pvs = areas.filter_map(|area| match area {
            Area::Pv { pv, .. } => Some(*pv),
            Area::Lv { .. } => None,
        });
        pvs.collect()
    }

    /// What is left of each volume by itself, by index. Snapshots and origins are not held against each other here.
    pub fn health(&self, presence: &Presence) -> Vec<Health> {
        let mut known = vec![None; self.lvs.len()];
        for lv in 0..self.lvs.len() {
            self.health_of(presence, lv, &mut known);
        }
        known
            .into_iter()
            .map(|health| health.unwrap_or(Health::Broken))
            .collect()
    }

    /// How deep this goes was limited where the group was read.
    fn health_of(&self, presence: &Presence, lv: usize, known: &mut Vec<Option<Health>>) -> Health {
        if let Some(health) = known[lv] {
            return health;
        }
        let mut health = match self.pvs_of(lv).iter().all(|pv| presence.has(*pv)) {
            true => Health::Whole,
            false => Health::Broken,
        };
        for segment in &self.lvs[lv].segments {
            let here = match &segment.kind {
                SegmentKind::Raid(raid) => self.raid_health(presence, raid, known),
                _ => {
                    let needs = super::group::needs_of(&segment.kind);
                    let below = needs
                        .into_iter()
                        .map(|need| self.health_of(presence, need, known));
                    let below = below.max().unwrap_or(Health::Whole);
                    match &segment.kind {
                        SegmentKind::Writecache(_) if below == Health::Degraded => Health::Broken,
                        _ => below,
                    }
                }
            };
            health = health.max(here);
        }
        known[lv] = Some(health);
        health
    }

    fn raid_health(
        &self,
        presence: &Presence,
        raid: &Raid,
        known: &mut Vec<Option<Health>>,
    ) -> Health {
        let mut images = Vec::new();
        for image in &raid.images {
            let parts = [Some(image.data), image.meta].into_iter().flatten();
            let health = parts.map(|lv| self.health_of(presence, lv, known)).max();
            images.push(health.unwrap_or(Health::Whole));
        }
        let has_checksums = raid.images.iter().any(|image| {
            let mut segments = self.lvs[image.data].segments.iter();
            segments.any(|segment| matches!(segment.kind, SegmentKind::Integrity(_)))
        });
        // One that is to be rebuilt, or is old, has nothing of its own: while all others are there it is as good as them, and lost
        // with any.
        let is_rebuilt = |image: usize| {
            let data = &self.lvs[raid.images[image].data];
            (data.flags.has(Flag::Rebuild) || data.is_behind) && images.contains(&Health::Broken)
        };
        let lost = |image: usize| images[image] == Health::Broken || is_rebuilt(image);
        if images.iter().all(|health| *health == Health::Whole) {
            Health::Whole
        } else if raid.survives(&lost) && !has_checksums {
            Health::Degraded
        } else {
            Health::Broken
        }
    }

    /// What is left of a volume with all that belongs to it: an origin's snapshots, a snapshot's origin.
    pub fn health_with_snapshots(&self, links: &Links, health: &[Health], lv: usize) -> Health {
        let snapshots = links.cows(lv).iter().copied();
        let origin = links.snapshot(lv).map(|(snapshot, _)| snapshot.origin);
        let all = snapshots.chain(origin).chain([lv]);
        all.map(|lv| health[lv]).max().unwrap_or(Health::Whole)
    }

    /// Whether these disks, left out of a claim, could not be activated by themselves: none of the volumes that
    /// clients may have, not even degraded.
    ///
    /// This is the second of the reasons for which DESIGN section 5 lets a disk be left out. It is safe because every
    /// head asks it of the same metadata: were two heads to serve, one with the disks that the other one leaves out,
    /// each would have to find that the other's disks are not enough, and have enough itself. One volume that
    /// survives on either side is reason enough against it. Of a mirror's two halves neither can be left out; of a
    /// raid5's disks any one can, since one alone is nothing.
    ///
    /// Disks that the metadata call missing count as good here: their own, older metadata may not say so.
    pub fn could_not_serve_alone(&self, left_out: &BTreeSet<usize>) -> bool {
        let Ok(links) = Links::new(self) else {
            return false;
        };
        let health = self.health(&Presence::only(self, left_out));
        let mut volumes = (0..self.lvs.len()).filter(|lv| {
            let volume = &self.lvs[*lv];
            // What is on no disk at all needs none.
            let stands_on_disks = || {
                let needed = self.closure(&links, *lv);
                needed.into_iter().any(|lv| !self.pvs_of(lv).is_empty())
            };
            volume.is_visible && !reserved::is_ledger(&volume.name) && stands_on_disks()
        });
        volumes.all(|lv| self.health_with_snapshots(&links, &health, lv) == Health::Broken)
    }

    /// The members that a claim may do without, of those that are not here, by index; `Err` names one that it needs.
    ///
    /// Either the metadata, written by an owner on a disk that is claimed, call it missing; or all that is left out
    /// could not be activated by itself. That what is left is enough to serve is not asked here.
    ///
    /// # Errors
    /// The index of a member that must be claimed.
    pub fn may_leave_out(&self) -> Result<BTreeSet<usize>, usize> {
        let with = |wanted: fn(&super::group::PhysicalVolume) -> bool| -> BTreeSet<usize> {
            let pvs = self.pvs.iter().enumerate();
            pvs.filter(|(_, pv)| wanted(pv)).map(|(pv, _)| pv).collect()
        };
        let marked = with(|pv| pv.is_missing);
        let absent = with(|pv| pv.disk.is_none() && !pv.is_missing);
        let left_out: BTreeSet<usize> = marked.union(&absent).copied().collect();
        match absent.first() {
            Some(first) if !self.could_not_serve_alone(&left_out) => Err(*first),
            _ => Ok(left_out),
        }
    }

    /// The group as if the members on these disks had been marked as missing, and who they are; `None` if there are none.
    pub fn without_disks(&self, disks: &[DiskId]) -> Option<(VolumeGroup, Vec<Uuid>)> {
        let mut group = self.clone();
        let mut lost = Vec::new();
        for pv in group.pvs.iter_mut().filter(|pv| !pv.is_missing) {
            let disk = pv.disk.as_ref();
            if disk.is_some_and(|disk| disks.contains(&disk.id)) {
                pv.is_missing = true;
                lost.push(pv.uuid);
            }
        }
        (!lost.is_empty()).then_some((group, lost))
    }

    /// Volumes of RAID with parity, by name, that are to be served and lack an image: it is not here, is old, or is to be rebuilt.
    pub fn lacking_parity(&self) -> BTreeSet<String> {
        let plan = Plan::new(self, &Choice::serving()).unwrap_or_default();
        let is_old = |lv: usize| {
            let images = self.images_of(&self.lvs[lv].name);
            images.into_iter().any(|image| self.lvs[image].is_behind)
        };
        let lacks = |device: &&Device| {
            device.lines.iter().any(|line| match &line.target {
                Target::Raid(raid) if matches!(raid.level, RaidLevel::Parity(..)) => {
                    device.is_degraded || !raid.rebuild.is_empty() || is_old(device.lv)
                }
                _ => false,
            })
        };
        let devices = plan.devices.iter().filter(lacks);
        devices
            .map(|device| self.lvs[device.lv].name.clone())
            .collect()
    }

    /// The first of them, if the last owner did not let go of it in order.
    pub fn unsure_parity(&self) -> Option<String> {
        let is_in_use = self.tags.iter().any(|tag| tag == PARITY_TAG);
        self.lacking_parity().into_iter().find(|_| is_in_use)
    }

    /// The volumes, by name, that are to be served and lack a disk.
    pub fn degraded(&self) -> BTreeSet<String> {
        let plan = Plan::new(self, &Choice::serving()).unwrap_or_default();
        let devices = plan.devices.iter();
        let devices =
            devices.filter(|device| device.is_degraded && device.purpose == Purpose::Volume);
        devices
            .map(|device| self.lvs[device.lv].name.clone())
            .collect()
    }
}
