//! Which volume is a part of which: found from the segments, since the text says it in one direction only.
//!
//! That nothing is a part of two, or of itself, is checked here once for all; whoever walks from volume to volume
//! afterwards comes to an end.

use super::error::{GroupError, nonsense};
use super::flags::Flag;
use super::segment::{Area, SegmentKind};
use super::snapshot::Snapshot;
use super::{LogicalVolume, VolumeGroup};

/// How many volumes may stand on each other. lvm2 makes no more than eight: a thin volume, its pool, a cache, a RAID
/// volume, checksums, what they are on.
const MOST_LEVELS: usize = 32;

/// What a volume is in the one that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Data of a RAID volume.
    RaidImage,
    /// Superblock and bitmap of a RAID volume.
    RaidMetadata,
    /// One half of a mirror.
    MirrorImage,
    /// What a mirror has copied.
    MirrorLog,
    /// Space of thin volumes.
    ThinData,
    /// Metadata of thin volumes.
    ThinMetadata,
    /// Blocks of a cache.
    CacheData,
    /// Metadata of a cache.
    CacheMetadata,
    /// Both of a cache, or the cache for writes.
    CacheVolume,
    /// What is cached.
    CacheOrigin,
    /// What is cached for writes.
    WritecacheOrigin,
    /// Data with checksums.
    IntegrityOrigin,
    /// Checksums.
    IntegrityMetadata,
    /// The store of a deduplicated volume.
    VdoData,
}

/// The relations of a group's volumes, by their index.
#[derive(Debug)]
pub struct Links {
    parts: Vec<Option<Part>>,
    /// The volumes with the copies of an origin's snapshots.
    cows: Vec<Vec<usize>>,
    /// Of a volume with copies: its snapshot, and the extents of that.
    snapshots: Vec<Option<(Snapshot, u64)>>,
    externals: Vec<bool>,
    /// Pools that something uses.
    used: Vec<bool>,
    visible: Vec<bool>,
}

impl Links {
    /// Finds them.
    ///
    /// # Errors
    /// Names a volume that is in two places at once, or a part of itself.
    pub fn new(group: &VolumeGroup) -> Result<Links, GroupError> {
        let count = group.lvs.len();
        let mut links = Links {
            parts: vec![None; count],
            cows: vec![Vec::new(); count],
            snapshots: vec![None; count],
            externals: vec![false; count],
            used: vec![false; count],
            visible: Vec::new(),
        };
        for lv in &group.lvs {
            for segment in &lv.segments {
                links.note(group, &segment.kind, segment.extents)?;
            }
        }
        links.visible = (0..count).map(|lv| links.visibility(group, lv)).collect();
        links.check_levels(group)?;
        Ok(links)
    }

    fn note(
        &mut self,
        group: &VolumeGroup,
        kind: &SegmentKind,
        extents: u64,
    ) -> Result<(), GroupError> {
        for (lv, part) in parts(kind) {
            if self.parts[lv].replace(part).is_some() {
                return Err(nonsense(&group.lvs[lv].name, "it is a part of two volumes"));
            }
        }
        match kind {
            SegmentKind::Snapshot(snapshot) => {
                let slot = &mut self.snapshots[snapshot.cow];
                if slot.replace((snapshot.clone(), extents)).is_some() {
                    let name = &group.lvs[snapshot.cow].name;
                    return Err(nonsense(name, "it is a snapshot of two volumes"));
                }
                self.cows[snapshot.origin].push(snapshot.cow);
            }
            SegmentKind::Thin(thin) => {
                self.used[thin.pool] = true;
                if let Some(external) = thin.external {
                    self.externals[external] = true;
                }
            }
            SegmentKind::Cache(cache) => self.used[cache.pool] = true,
            SegmentKind::Vdo(vdo) => self.used[vdo.pool] = true,
            _ => {}
        }
        Ok(())
    }

    /// lvm2's `lv_is_visible`, and what reading the text hides.
    fn visibility(&self, group: &VolumeGroup, lv: usize) -> bool {
        let volume = &group.lvs[lv];
        let is = |kind: fn(&SegmentKind) -> bool| volume.segments.iter().any(|s| kind(&s.kind));
        if is(|kind| matches!(kind, SegmentKind::Snapshot(_))) {
            return false;
        }
        if is(|kind| matches!(kind, SegmentKind::CachePool(_))) && self.used[lv] {
            return false;
        }
        if let Some((snapshot, _)) = &self.snapshots[lv] {
            let origin = &group.lvs[snapshot.origin];
            // A hidden origin is that of a sparse volume, which is the snapshot itself.
            return !origin.is_visible || !snapshot.is_merging;
        }
        match self.parts[lv] {
            // An image that was split off can be used, and read only.
            None | Some(Part::RaidImage | Part::RaidMetadata) => volume.is_visible,
            Some(_) => false,
        }
    }

    fn check_levels(&self, group: &VolumeGroup) -> Result<(), GroupError> {
        let mut heights = vec![None; group.lvs.len()];
        for lv in 0..group.lvs.len() {
            self.height(group, lv, 0, &mut heights)?;
        }
        Ok(())
    }

    /// Levels below a volume. A ring has no end, and is found by that.
    fn height(
        &self,
        group: &VolumeGroup,
        lv: usize,
        above: usize,
        heights: &mut Vec<Option<usize>>,
    ) -> Result<usize, GroupError> {
        if let Some(height) = heights[lv] {
            return Ok(height);
        }
        if above > MOST_LEVELS {
            let name = &group.lvs[lv].name;
            return Err(nonsense(
                name,
                "it is a part of itself, or stacked too high",
            ));
        }
        let mut height = 0;
        let below = needs(&group.lvs[lv]).into_iter();
        for next in below.chain(self.cows[lv].iter().copied()) {
            height = height.max(1 + self.height(group, next, above + 1, heights)?);
        }
        if height > MOST_LEVELS {
            return Err(nonsense(&group.lvs[lv].name, "it is stacked too high"));
        }
        heights[lv] = Some(height);
        Ok(height)
    }

    /// What this volume is in another one.
    pub fn part(&self, lv: usize) -> Option<Part> {
        self.parts[lv]
    }

    /// The volumes with the copies of this one's snapshots.
    pub fn cows(&self, lv: usize) -> &[usize] {
        &self.cows[lv]
    }

    /// Of a volume with copies: its snapshot, and how many extents that has.
    pub fn snapshot(&self, lv: usize) -> Option<&(Snapshot, u64)> {
        self.snapshots[lv].as_ref()
    }

    /// The volume with the copies of the snapshot that is being merged into this one, and how many sectors a copy has.
    pub fn merging(&self, lv: usize) -> Option<(usize, u32)> {
        self.cows[lv].iter().find_map(|cow| {
            let (snapshot, _) = self.snapshots[*cow].as_ref()?;
            snapshot
                .is_merging
                .then_some((*cow, snapshot.chunk_sectors))
        })
    }

    /// Whether thin volumes in a pool elsewhere came from this one.
    pub fn is_external(&self, lv: usize) -> bool {
        self.externals[lv]
    }

    /// Whether it is something to use, and no part.
    pub fn is_visible(&self, lv: usize) -> bool {
        self.visible[lv]
    }
}

/// The volumes that are parts by a segment, each with what it is there.
fn parts(kind: &SegmentKind) -> Vec<(usize, Part)> {
    match kind {
        SegmentKind::Raid(raid) => {
            let metadata = raid.images.iter().filter_map(|image| image.meta);
            let data = raid.images.iter().map(|image| image.data);
            metadata
                .map(|lv| (lv, Part::RaidMetadata))
                .chain(data.map(|lv| (lv, Part::RaidImage)))
                .collect()
        }
        SegmentKind::Mirror(mirror) => {
            let images = mirror.images.iter().filter_map(|area| match area {
                Area::Lv { lv, .. } => Some((*lv, Part::MirrorImage)),
                Area::Pv { .. } => None,
            });
            images
                .chain(mirror.log.map(|lv| (lv, Part::MirrorLog)))
                .collect()
        }
        SegmentKind::ThinPool(pool) => vec![
            (pool.data, Part::ThinData),
            (pool.metadata, Part::ThinMetadata),
        ],
        SegmentKind::CachePool(pool) => vec![
            (pool.data, Part::CacheData),
            (pool.metadata, Part::CacheMetadata),
        ],
        SegmentKind::Cache(cache) => {
            let mut parts = vec![(cache.origin, Part::CacheOrigin)];
            if cache.volume.is_some() {
                parts.push((cache.pool, Part::CacheVolume));
            }
            parts
        }
        SegmentKind::Writecache(cache) => vec![
            (cache.origin, Part::WritecacheOrigin),
            (cache.cache, Part::CacheVolume),
        ],
        SegmentKind::Integrity(integrity) => {
            let metadata = integrity.metadata.map(|lv| (lv, Part::IntegrityMetadata));
            [(integrity.origin, Part::IntegrityOrigin)]
                .into_iter()
                .chain(metadata)
                .collect()
        }
        SegmentKind::VdoPool(pool) => vec![(pool.data, Part::VdoData)],
        _ => Vec::new(),
    }
}

/// The volumes that a volume needs to work, by index; a thin volume's own origin is not one of them.
fn needs(lv: &LogicalVolume) -> Vec<usize> {
    let kinds = lv.segments.iter().map(|segment| &segment.kind);
    kinds.flat_map(needs_of).collect()
}

/// The volumes that a segment needs.
pub fn needs_of(kind: &SegmentKind) -> Vec<usize> {
    let mut needs: Vec<usize> = parts(kind).into_iter().map(|(lv, _)| lv).collect();
    match kind {
        SegmentKind::Striped { stripes, .. } => {
            needs.extend(stripes.iter().filter_map(|area| match area {
                Area::Lv { lv, .. } => Some(*lv),
                Area::Pv { .. } => None,
            }));
        }
        SegmentKind::Thin(thin) => needs.extend([thin.pool].into_iter().chain(thin.external)),
        SegmentKind::Cache(cache) if cache.volume.is_none() => needs.push(cache.pool),
        SegmentKind::Vdo(vdo) => needs.push(vdo.pool),
        _ => {}
    }
    needs
}

impl VolumeGroup {
    /// The volumes that a volume needs, all the way down, itself included, by index and each once.
    pub fn closure(&self, links: &Links, lv: usize) -> Vec<usize> {
        let mut seen = vec![false; self.lvs.len()];
        let mut found = Vec::new();
        let mut open = vec![lv];
        while let Some(lv) = open.pop() {
            if !std::mem::replace(&mut seen[lv], true) {
                found.push(lv);
                open.extend(needs(&self.lvs[lv]));
                // What is written to an origin goes to its snapshots first.
                open.extend(links.cows(lv));
                open.extend(links.snapshot(lv).map(|(snapshot, _)| snapshot.origin));
            }
        }
        found
    }

    /// The part of its own uuid that lvm2 gives a volume that is no layer (`build_dm_uuid`).
    ///
    /// Images of RAID volumes and mirrors, logs and checksums have none in the lvm2 that is in use (2.03.31 was looked
    /// at); the next one gives them `-real` and finds those without it as well, so that none is what both take.
    pub(in crate::volume) fn own_suffix(&self, links: &Links, lv: usize) -> Option<&'static str> {
        let volume = &self.lvs[lv];
        let is = |kind: fn(&SegmentKind) -> bool| volume.segments.iter().any(|s| kind(&s.kind));
        match links.part(lv) {
            Some(Part::CacheOrigin | Part::WritecacheOrigin) => Some("real"),
            Some(Part::CacheData) => Some("cdata"),
            Some(Part::CacheMetadata) => Some("cmeta"),
            Some(Part::CacheVolume) => Some("cvol"),
            None if volume.flags.has(Flag::CacheVol) => Some("cvol"),
            _ if is(|kind| matches!(kind, SegmentKind::ThinPool(_))) => Some("pool"),
            Some(Part::ThinData) => Some("tdata"),
            Some(Part::ThinMetadata) => Some("tmeta"),
            _ if is(|kind| matches!(kind, SegmentKind::VdoPool(_))) => Some("pool"),
            Some(Part::VdoData) => Some("vdata"),
            _ => None,
        }
    }
}
