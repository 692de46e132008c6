//! One segment of a volume: its length, and the line that it becomes.

use super::build::{Builder, Layer};
use super::cache::CacheTarget;
use super::integrity::IntegrityTarget;
use super::line::{Backing, Line, Place, Target};
use super::mirror::MirrorTarget;
use super::names::{layer_name, layer_uuid};
use super::raid::RaidTarget;
use super::support::{PlanError, Work};
use super::thin::{MOST_METADATA, ThinPoolTarget};
use super::vdo::VdoTarget;
use super::writecache::WritecacheTarget;
use super::{Device, Purpose};
use crate::volume::group::{
    Area, Cache, CacheSettings, CacheVolume, Flag, Integrity, Mirror, Part, Raid, RaidLevel,
    Segment, SegmentKind, Thin, ThinPool, Vdo, VdoPool,
};
use crate::volume::health::Health;

impl Builder<'_> {
    /// The line of segment `number` of a volume, and its length in sectors.
    pub fn segment(
        &mut self,
        index: usize,
        number: usize,
        segment: &Segment,
    ) -> Result<(u64, Target), PlanError> {
        let lv = self.lv(index);
        let length = self.sectors(lv, segment.extents)?;
        let target = match &segment.kind {
            SegmentKind::Error => Target::Error,
            SegmentKind::Zero => Target::Zero,
            SegmentKind::Striped {
                chunk_sectors,
                stripes,
            } => {
                let places = self.places(index, number, stripes)?;
                match &places[..] {
                    [place] => Target::Linear(*place),
                    _ => Target::Striped {
                        chunk: *chunk_sectors,
                        places,
                    },
                }
            }
            SegmentKind::Raid(raid) => {
                let length = self.sectors(lv, segment.extents - raid.reshape_total())?;
                return Ok((length, Target::Raid(self.raid(index, raid)?)));
            }
            SegmentKind::Mirror(mirror) => self.mirror(index, number, mirror)?,
            SegmentKind::ThinPool(pool) => Target::ThinPool(self.pool(index, pool)?),
            SegmentKind::Thin(thin) => self.thin(index, thin)?,
            SegmentKind::Cache(cache) => Target::Cache(self.cache(index, cache)?),
            SegmentKind::Writecache(cache) => Target::Writecache(WritecacheTarget {
                origin: self.whole(cache.origin)?,
                cache: self.whole(cache.cache)?,
                block_bytes: cache.block_bytes,
                settings: cache.settings.clone(),
            }),
            SegmentKind::Integrity(integrity) => {
                return Ok((integrity.data_sectors, self.integrity(integrity)?));
            }
            SegmentKind::VdoPool(pool) => {
                let length = self.sectors(lv, u64::from(pool.virtual_extents))?;
                let length = length.checked_add(2 * u64::from(pool.header_sectors));
                let length = length.ok_or_else(|| PlanError::TooLarge {
                    lv: lv.name.clone(),
                })?;
                return Ok((length, Target::Vdo(self.vdo(pool)?)));
            }
            SegmentKind::Vdo(vdo) => Target::Linear(self.vdo_place(index, vdo)?),
            // Neither has a device. Nothing that is wanted leads here.
            SegmentKind::Snapshot(_) | SegmentKind::CachePool(_) => {
                return Err(PlanError::Unsupported {
                    lv: lv.name.clone(),
                    kind: "without a device".to_owned(),
                });
            }
            SegmentKind::Other(kind) => {
                return Err(PlanError::Unsupported {
                    lv: lv.name.clone(),
                    kind: kind.clone(),
                });
            }
        };
        Ok((length, target))
    }

    fn mirror(
        &mut self,
        index: usize,
        number: usize,
        mirror: &Mirror,
    ) -> Result<Target, PlanError> {
        let log = mirror.log.map(|log| self.whole(log)).transpose()?;
        let images = self.places(index, number, &mirror.images)?;
        Ok(match &images[..] {
            // One image is left of a conversion.
            [place] => Target::Linear(*place),
            _ => Target::Mirror(MirrorTarget {
                log,
                region: mirror.region_sectors,
                images,
            }),
        })
    }

    fn thin(&mut self, index: usize, thin: &Thin) -> Result<Target, PlanError> {
        if self.thin_pool(thin.pool).is_none() {
            return Err(self.wrong_kind(index, thin.pool, "thin pool"));
        }
        Ok(Target::Thin {
            external: thin.external.map(|lv| self.layer(lv)).transpose()?,
            pool: self.layer(thin.pool)?,
            id: thin.device_id,
        })
    }

    fn integrity(&mut self, integrity: &Integrity) -> Result<Target, PlanError> {
        Ok(Target::Integrity(IntegrityTarget {
            metadata: integrity.metadata.map(|lv| self.whole(lv)).transpose()?,
            origin: self.whole(integrity.origin)?,
            tag_bytes: integrity.tag_bytes,
            mode: integrity.mode,
            block_bytes: integrity.block_bytes,
            hash: integrity.hash.clone(),
            recalculates: integrity.recalculates,
            settings: integrity.settings.clone(),
            allows_discards: integrity.allows_discards,
        }))
    }

    /// A volume's own device.
    fn whole(&mut self, index: usize) -> Result<Backing, PlanError> {
        Ok(Backing::Device(self.device(index, Layer::Top)?))
    }

    /// The layer of a volume that others stand on.
    fn layer(&mut self, index: usize) -> Result<Backing, PlanError> {
        Ok(Backing::Device(self.device(index, self.layer_of(index))?))
    }

    fn wrong_kind(&self, index: usize, other: usize, kind: &'static str) -> PlanError {
        PlanError::WrongKind {
            lv: self.lv(index).name.clone(),
            other: self.lv(other).name.clone(),
            kind,
        }
    }

    fn places(
        &mut self,
        index: usize,
        number: usize,
        areas: &[Area],
    ) -> Result<Vec<Place>, PlanError> {
        let places = areas.iter().enumerate();
        places
            .map(|(stripe, area)| self.place(index, number, stripe, *area))
            .collect()
    }

    fn place(
        &mut self,
        index: usize,
        number: usize,
        stripe: usize,
        area: Area,
    ) -> Result<Place, PlanError> {
        let lv = self.lv(index);
        match area {
            Area::Lv { lv: other, extent } => Ok(Place {
                start: self.sectors(lv, extent)?,
                device: self.whole(other)?,
            }),
            Area::Pv { pv, extent } => {
                let volume = &self.group.pvs[pv];
                let Some(disk) = self.presence.disk(self.group, pv) else {
                    return self.lost(index, number, stripe, pv);
                };
                let device = Backing::Disk(disk.number);
                let start = self.sectors(lv, extent)?.checked_add(volume.data_start);
                let start = start.ok_or_else(|| PlanError::TooLarge {
                    lv: lv.name.clone(),
                })?;
                Ok(Place { device, start })
            }
        }
    }

    /// What stands for a stretch of a lost disk in an image of a RAID volume: a device on which everything fails, as
    /// with lvm2, so that MD finds no superblock there and goes on without the image.
    fn lost(
        &mut self,
        index: usize,
        number: usize,
        stripe: usize,
        pv: usize,
    ) -> Result<Place, PlanError> {
        let lv = self.lv(index);
        let is_image = matches!(
            self.links.part(index),
            Some(Part::RaidImage | Part::RaidMetadata)
        );
        if !self.choice.degraded || !is_image {
            return Err(PlanError::Incomplete {
                lv: lv.name.clone(),
                pv: self.group.pvs[pv].uuid,
            });
        }
        let length = self.sectors(lv, lv.segments[number].extents)?;
        let suffix = format!("missing_{number}_{stripe}");
        let device = self.extra(Device {
            name: layer_name(&self.group.name, &lv.name, &suffix),
            uuid: layer_uuid(&self.group.uuid, &lv.uuid, Some(&suffix)),
            lines: vec![Line {
                start: 0,
                length,
                target: Target::Error,
            }],
            is_read_only: false,
            purpose: Purpose::Internal,
            lv: index,
            is_degraded: true,
            check: None,
        });
        Ok(Place { device, start: 0 })
    }

    fn raid(&mut self, index: usize, raid: &Raid) -> Result<RaidTarget, PlanError> {
        self.check_redundancy(index)?;
        let mut images = Vec::new();
        for image in &raid.images {
            let (data, meta) = (self.lv(image.data), image.meta.map(|lv| self.lv(lv)));
            let is_open = meta.is_some_and(|meta| meta.is_visible);
            if is_open || (data.is_visible && data.is_writable) {
                return Err(PlanError::UnderWay {
                    lv: self.lv(index).name.clone(),
                    work: Work::Split,
                });
            }
            // Split off for a while, and the changes since then are noted (lvconvert --trackchanges).
            if data.is_visible {
                images.push((None, None));
                continue;
            }
            let data = self.whole(image.data)?;
            let meta = image.meta.map(|lv| self.whole(lv)).transpose()?;
            images.push((meta, Some(data)));
        }
        let flagged = |flag| -> Vec<usize> {
            let marked = raid.images.iter().enumerate();
            let marked = marked.filter(|(_, image)| self.lv(image.data).flags.has(flag));
            marked.map(|(place, _)| place).collect()
        };
        let is_raid0 = raid.level.is_raid0();
        let only = |is_meant, images| if is_meant { images } else { Vec::new() };
        let or_zero = |number| if is_raid0 { 0 } else { number };
        let is_raid1 = raid.level == RaidLevel::Raid1;
        Ok(RaidTarget {
            level: raid.level,
            chunk: raid.chunk_sectors,
            rebuild: only(!is_raid0, flagged(Flag::Rebuild)),
            min_recovery_rate: or_zero(raid.min_recovery_rate),
            max_recovery_rate: or_zero(raid.max_recovery_rate),
            write_mostly: only(is_raid1, flagged(Flag::WriteMostly)),
            write_behind: if is_raid1 { raid.write_behind } else { 0 },
            region: or_zero(raid.region_sectors),
            copies: (raid.level == RaidLevel::Raid10).then_some(raid.copies),
            data_offset: or_zero(raid.data_offset),
            images,
        })
    }

    /// A RAID volume that lost more than it can do without.
    fn check_redundancy(&self, index: usize) -> Result<(), PlanError> {
        if self.health[index] != Health::Broken {
            return Ok(());
        }
        let lost = self.presence.first_lost(self.group, &self.links, index);
        match lost {
            None => Ok(()),
            Some(pv) => Err(PlanError::Incomplete {
                lv: self.lv(index).name.clone(),
                pv: self.group.pvs[pv].uuid,
            }),
        }
    }

    fn pool(&mut self, index: usize, pool: &ThinPool) -> Result<ThinPoolTarget, PlanError> {
        let metadata = self.whole(pool.metadata)?;
        if pool.crops_metadata
            && let Backing::Device(device) = metadata
        {
            let lines = &mut self.devices[device].lines;
            crop(lines);
            lines.retain(|line| line.length > 0);
        }
        Ok(ThinPoolTarget {
            metadata,
            data: self.whole(pool.data)?,
            chunk: pool.chunk_sectors,
            zeroes: pool.zeroes,
            discards: pool.discards,
            errors_when_full: self.lv(index).flags.has(Flag::ErrorWhenFull),
        })
    }

    fn cache(&mut self, index: usize, cache: &Cache) -> Result<CacheTarget, PlanError> {
        let (metadata, data, settings): (_, _, &CacheSettings) = match &cache.volume {
            Some(volume) => {
                let [metadata, data] = self.cache_stretches(index, cache.pool, volume)?;
                (metadata, data, &volume.settings)
            }
            None => {
                let segments = self.lv(cache.pool).segments.iter();
                let pool = segments
                    .map(|segment| &segment.kind)
                    .find_map(|kind| match kind {
                        SegmentKind::CachePool(pool) => pool.settings.as_ref().map(|s| (pool, s)),
                        _ => None,
                    });
                let Some((pool, settings)) = pool else {
                    return Err(self.wrong_kind(index, cache.pool, "cache pool that can be used"));
                };
                let data = self.whole(pool.data)?;
                (self.whole(pool.metadata)?, data, settings)
            }
        };
        let origin = self.whole(cache.origin)?;
        Ok(CacheTarget::new(
            [metadata, data, origin],
            settings,
            cache.is_cleaning,
        ))
    }

    /// Metadata and data of a cache on one volume, as devices of their own.
    fn cache_stretches(
        &mut self,
        index: usize,
        pool: usize,
        volume: &CacheVolume,
    ) -> Result<[Backing; 2], PlanError> {
        let device = self.whole(pool)?;
        let room = self.sectors(self.lv(pool), self.lv(pool).extents())?;
        let stretches = [
            ("cmeta", volume.metadata, volume.metadata_id),
            ("cdata", volume.data, volume.data_id),
        ];
        let mut backings = Vec::new();
        for (suffix, (start, length), id) in stretches {
            if start.checked_add(length).is_none_or(|end| end > room) {
                return Err(PlanError::TooLarge {
                    lv: self.lv(pool).name.clone(),
                });
            }
            let uuid = id.unwrap_or(self.lv(pool).uuid);
            let target = Target::Linear(Place { device, start });
            backings.push(self.extra(Device {
                name: layer_name(&self.group.name, &self.lv(pool).name, suffix),
                uuid: layer_uuid(&self.group.uuid, &uuid, Some(suffix)),
                lines: vec![Line {
                    start: 0,
                    length,
                    target,
                }],
                is_read_only: !self.lv(index).is_writable,
                purpose: Purpose::Internal,
                lv: pool,
                is_degraded: false,
                check: None,
            }));
        }
        Ok([backings[0], backings[1]])
    }

    fn vdo(&mut self, pool: &VdoPool) -> Result<VdoTarget, PlanError> {
        let data = self.lv(pool.data);
        Ok(VdoTarget {
            data_blocks: self.sectors(data, data.extents())? / 8,
            data: self.whole(pool.data)?,
            pool: pool.clone(),
        })
    }

    fn vdo_place(&mut self, index: usize, vdo: &Vdo) -> Result<Place, PlanError> {
        let segments = self.lv(vdo.pool).segments.iter();
        let header = segments
            .map(|segment| &segment.kind)
            .find_map(|kind| match kind {
                SegmentKind::VdoPool(pool) => Some(pool.header_sectors),
                _ => None,
            });
        let Some(header) = header else {
            return Err(self.wrong_kind(index, vdo.pool, "VDO pool"));
        };
        let start = self.sectors(self.lv(index), vdo.extent)?;
        Ok(Place {
            start: start.saturating_add(u64::from(header)),
            device: self.layer(vdo.pool)?,
        })
    }
}

/// Cuts a table off at the most that the kernel uses of thin metadata.
fn crop(lines: &mut [Line]) {
    let mut end: u64 = 0;
    for line in lines {
        end = end.saturating_add(line.length);
        if let Some(over) = end.checked_sub(MOST_METADATA).filter(|over| *over > 0) {
            line.length = line.length.saturating_sub(over);
            end = MOST_METADATA;
        }
    }
}
