//! The walk from the volumes that are wanted down to the disks.

use std::collections::HashMap;

use super::line::{Backing, Line, Place, Target};
use super::names::{device_name, device_uuid, layer_name, layer_uuid};
use super::support::{PlanError, check};
use super::thin::{PoolCheck, PoolMessage};
use super::{Device, Plan, Purpose};
use crate::volume::group::{
    Flag, GroupError, Links, LogicalVolume, Message, Part, SegmentKind, ThinPool, VolumeGroup,
};
use crate::volume::health::{Health, Presence};
use crate::volume::reserved;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Volumes too that are marked to be skipped, such as fresh thin snapshots: lvm2's `-K`.
    pub skipped: bool,
    /// RAID volumes that lack a part they can do without: lvm2's `--activationmode degraded`.
    pub degraded: bool,
}

impl Choice {
    /// What an owner serves.
    pub fn serving() -> Choice {
        Choice {
            skipped: false,
            degraded: true,
        }
    }
}

/// A device below or beside a volume's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layer {
    /// The volume's own.
    Top,
    /// An origin's, below what copies.
    Real,
    /// Where a snapshot's copies are.
    Cow,
    /// A thin pool's.
    ThinPool,
    /// A VDO pool's.
    VdoPool,
}

impl Layer {
    fn suffix(self) -> Option<&'static str> {
        match self {
            Layer::Top => None,
            Layer::Real => Some("real"),
            Layer::Cow => Some("cow"),
            Layer::ThinPool => Some("tpool"),
            Layer::VdoPool => Some("vpool"),
        }
    }
}

/// Puts a plan together.
pub(super) struct Builder<'a> {
    pub group: &'a VolumeGroup,
    pub links: Links,
    pub health: Vec<Health>,
    pub presence: Presence,
    pub choice: Choice,
    pub devices: Vec<Device>,
    built: HashMap<(usize, Layer), usize>,
}

impl Plan {
    /// What `vgchange -ay` makes of this group and the disks that are here.
    ///
    /// # Errors
    /// Names the first volume that cannot be made, and why.
    pub fn new(group: &VolumeGroup, choice: &Choice) -> Result<Plan, PlanError> {
        let mut builder = Builder::new(group, *choice)?;
        for index in builder.wanted() {
            builder.device(index, Layer::Top)?;
        }
        Ok(Plan {
            devices: builder.devices,
        })
    }
}

impl<'a> Builder<'a> {
    fn new(group: &'a VolumeGroup, choice: Choice) -> Result<Builder<'a>, PlanError> {
        // A group that was read has none of these errors: this one was changed by hand.
        let links = Links::new(group).map_err(|error: GroupError| PlanError::WrongKind {
            lv: group.name.clone(),
            other: error.to_string(),
            kind: "volume group",
        })?;
        let presence = Presence::of(group);
        let health = group.health(&presence);
        Ok(Builder {
            group,
            links,
            health,
            presence,
            choice,
            devices: Vec::new(),
            built: HashMap::new(),
        })
    }

    /// The volumes whose top devices are wanted: `_activate_lvs_in_vg`.
    fn wanted(&self) -> Vec<usize> {
        let mut wanted = Vec::new();
        for (index, lv) in self.group.lvs.iter().enumerate() {
            let is = |kind: fn(&SegmentKind) -> bool| lv.segments.iter().any(|s| kind(&s.kind));
            // These have no device, or come with what is on them.
            let is_store =
                is(|kind| matches!(kind, SegmentKind::CachePool(_) | SegmentKind::VdoPool(_)));
            if !lv.is_visible || is_store || reserved::is_ledger(&lv.name) {
                continue;
            }
            if lv.flags.has(Flag::ActivationSkip) && !self.choice.skipped {
                continue;
            }
            match self.links.snapshot(index) {
                None => wanted.push(index),
                // A snapshot comes with its origin; that of a sparse volume is hidden.
                Some((snapshot, _)) if !self.group.lvs[snapshot.origin].is_visible => {
                    wanted.push(snapshot.origin);
                }
                Some(_) => {}
            }
        }
        wanted
    }

    pub fn lv(&self, index: usize) -> &'a LogicalVolume {
        &self.group.lvs[index]
    }

    pub fn sectors(&self, lv: &LogicalVolume, extents: u64) -> Result<u64, PlanError> {
        let sectors = extents.checked_mul(self.group.extent_sectors);
        sectors.ok_or_else(|| PlanError::TooLarge {
            lv: lv.name.clone(),
        })
    }

    /// The pool that a volume is, if it is one.
    pub fn thin_pool(&self, index: usize) -> Option<&'a ThinPool> {
        match &self.lv(index).segments[..] {
            [segment] => match &segment.kind {
                SegmentKind::ThinPool(pool) => Some(pool),
                _ => None,
            },
            _ => None,
        }
    }

    /// The layer below a volume's own device, for what stands on that: `lv_layer`.
    pub fn layer_of(&self, index: usize) -> Layer {
        let is_vdo = |kind: &SegmentKind| matches!(kind, SegmentKind::VdoPool(_));
        let lv = self.lv(index);
        if self.thin_pool(index).is_some() {
            Layer::ThinPool
        } else if lv.segments.iter().any(|segment| is_vdo(&segment.kind)) {
            Layer::VdoPool
        } else if !self.links.cows(index).is_empty() || self.links.is_external(index) {
            Layer::Real
        } else {
            Layer::Top
        }
    }

    /// The device of a layer, with all that it stands on. Made once.
    pub fn device(&mut self, index: usize, layer: Layer) -> Result<usize, PlanError> {
        if let Some(known) = self.built.get(&(index, layer)) {
            return Ok(*known);
        }
        check(self.group, &self.links, index)?;
        let lines = match layer {
            Layer::Top => self.top(index)?,
            _ => self.lines(index)?,
        };
        let lv = self.lv(index);
        let is_new_pool = self
            .thin_pool(index)
            .is_some_and(|pool| pool.transaction_id == 0);
        let name = match layer.suffix() {
            None => device_name(&self.group.name, &lv.name),
            Some(suffix) => layer_name(&self.group.name, &lv.name, suffix),
        };
        // A pool that was never used is its own layer, by its uuid only.
        let suffix = match layer {
            Layer::Top if is_new_pool => Layer::ThinPool.suffix(),
            Layer::Top => self.group.own_suffix(&self.links, index),
            _ => layer.suffix(),
        };
        let part = self.links.part(index);
        let is_read_only = match (layer, part) {
            (Layer::Cow, _) | (_, Some(Part::RaidImage | Part::RaidMetadata)) => false,
            (Layer::Top, _) if self.layer_of(index) == Layer::ThinPool && !is_new_pool => true,
            (Layer::Top, _) if self.layer_of(index) == Layer::VdoPool => true,
            _ => !lv.is_writable,
        };
        let is_pool = self.layer_of(index) == Layer::ThinPool;
        let purpose = match layer {
            Layer::Top if lv.is_visible && is_pool => Purpose::Pool,
            Layer::Top if lv.is_visible => Purpose::Volume,
            _ => Purpose::Internal,
        };
        let has_pool = layer == Layer::ThinPool || (layer == Layer::Top && is_new_pool);
        let check = match (has_pool, self.thin_pool(index)) {
            (true, Some(pool)) => Some(self.pool_check(index, pool)?),
            _ => None,
        };
        let device = Device {
            name,
            uuid: layer_uuid(&self.group.uuid, &lv.uuid, suffix),
            lines,
            is_read_only,
            purpose,
            lv: index,
            is_degraded: self.health[index] == Health::Degraded,
            check,
        };
        Ok(self.push(device, (index, layer)))
    }

    fn push(&mut self, device: Device, key: (usize, Layer)) -> usize {
        let place = self.devices.len();
        self.devices.push(device);
        self.built.insert(key, place);
        place
    }

    /// A device that is no volume's own layer.
    pub fn extra(&mut self, device: Device) -> Backing {
        self.devices.push(device);
        Backing::Device(self.devices.len() - 1)
    }

    /// The table of a volume's own device, which may stand on a layer of the same volume.
    fn top(&mut self, index: usize) -> Result<Vec<Line>, PlanError> {
        let lv = self.lv(index);
        let length = self.sectors(lv, lv.extents())?;
        let one = |length, target| {
            Ok(vec![Line {
                start: 0,
                length,
                target,
            }])
        };
        if !self.links.cows(index).is_empty() {
            let real = Backing::Device(self.device(index, Layer::Real)?);
            for cow in self.links.cows(index).to_vec() {
                self.device(cow, Layer::Top)?;
            }
            let Some((store, chunk)) = self.links.merging(index) else {
                return one(length, Target::Origin(real));
            };
            // The others are there by now: what the merge writes is copied to them first.
            let cow = Backing::Device(self.device(store, Layer::Cow)?);
            let origin = real;
            return one(length, Target::Merge { origin, cow, chunk });
        }
        if let Some((snapshot, extents)) = self.links.snapshot(index).cloned() {
            // Of one that is being merged the store is its origin's. Of one that is lost the store's header may not say so.
            if snapshot.is_merging || lv.is_lost {
                return one(self.sectors(lv, extents)?, Target::Error);
            }
            let cow = Backing::Device(self.device(index, Layer::Cow)?);
            let origin = Backing::Device(self.device(snapshot.origin, Layer::Real)?);
            let chunk = snapshot.chunk_sectors;
            let length = self.sectors(lv, extents)?;
            return one(length, Target::Snapshot { origin, cow, chunk });
        }
        let is_new_pool = self
            .thin_pool(index)
            .is_some_and(|pool| pool.transaction_id == 0);
        match self.layer_of(index) {
            Layer::Top => self.lines(index),
            Layer::ThinPool if is_new_pool => self.lines(index),
            layer => {
                let device = Backing::Device(self.device(index, layer)?);
                // Of a VDO pool only its header shows: the rest would be of the volume's size.
                let length = match layer {
                    Layer::VdoPool => 8,
                    _ => length,
                };
                one(length, Target::Linear(Place { device, start: 0 }))
            }
        }
    }

    /// The table of what a volume's segments say.
    fn lines(&mut self, index: usize) -> Result<Vec<Line>, PlanError> {
        let lv = self.lv(index);
        let mut lines = Vec::new();
        let mut start = 0;
        for (number, segment) in lv.segments.iter().enumerate() {
            let (length, target) = self.segment(index, number, segment)?;
            lines.push(Line {
                start,
                length,
                target,
            });
            start = start
                .checked_add(length)
                .ok_or_else(|| PlanError::TooLarge {
                    lv: lv.name.clone(),
                })?;
        }
        Ok(lines)
    }

    fn pool_check(&self, index: usize, pool: &ThinPool) -> Result<PoolCheck, PlanError> {
        let thin = |lv: usize| {
            let mut segments = self.lv(lv).segments.iter();
            segments.find_map(|segment| match &segment.kind {
                SegmentKind::Thin(thin) => Some(thin),
                _ => None,
            })
        };
        let mut messages = Vec::new();
        for message in &pool.messages {
            messages.push(match message {
                Message::Delete(id) => PoolMessage {
                    text: format!("delete {id}"),
                    origin: None,
                },
                Message::Create(lv) => {
                    let volume = thin(*lv).ok_or_else(|| PlanError::WrongKind {
                        lv: self.lv(index).name.clone(),
                        other: self.lv(*lv).name.clone(),
                        kind: "thin volume",
                    })?;
                    let origin = volume.origin.and_then(|lv| Some((lv, thin(lv)?)));
                    match origin {
                        Some((lv, origin)) => PoolMessage {
                            text: format!("create_snap {} {}", volume.device_id, origin.device_id),
                            origin: Some(device_uuid(&self.group.uuid, &self.lv(lv).uuid)),
                        },
                        None => PoolMessage {
                            text: format!("create_thin {}", volume.device_id),
                            origin: None,
                        },
                    }
                }
            });
        }
        Ok(PoolCheck {
            transaction_id: pool.transaction_id,
            messages,
        })
    }
}
