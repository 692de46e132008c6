//! A stretch of a logical volume, of some kind, and where it is.

use super::cache::{Cache, CachePool};
use super::entries::{Entries, Names};
use super::error::{GroupError, nonsense};
use super::integrity::Integrity;
use super::mirror::Mirror;
use super::raid::{Raid, RaidLevel};
use super::snapshot::Snapshot;
use super::thin::{Thin, ThinPool};
use super::vdo::{Vdo, VdoPool};
use super::writecache::Writecache;

/// A stretch of a logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first extent in the volume.
    pub start: u64,
    /// Its length in extents.
    pub extents: u64,
    /// Where it is.
    pub kind: SegmentKind,
}

/// Where a segment is. Volumes are indices into the group's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// On one area after the other; linear when there is one.
    Striped {
        /// Sectors on one before the next one's turn; zero when there is one.
        chunk_sectors: u64,
        /// The stripes.
        stripes: Vec<Area>,
    },
    /// Nowhere: every access fails.
    Error,
    /// Nowhere: reads zeros.
    Zero,
    /// RAID by the kernel's MD.
    Raid(Raid),
    /// The older mirror.
    Mirror(Mirror),
    /// Space and metadata of thin volumes.
    ThinPool(ThinPool),
    /// A thin volume.
    Thin(Thin),
    /// Not a volume by itself: it binds an origin to its snapshot.
    Snapshot(Snapshot),
    /// Data and metadata of a cache; no device by itself.
    CachePool(CachePool),
    /// A volume with a cache.
    Cache(Cache),
    /// A volume with a cache for writes.
    Writecache(Writecache),
    /// A volume with checksums.
    Integrity(Integrity),
    /// The store of a deduplicated volume.
    VdoPool(VdoPool),
    /// A deduplicated volume.
    Vdo(Vdo),
    /// Something that this firmware does not know.
    Other(String),
}

/// Where a stretch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// On a physical volume.
    Pv {
        /// Index into the group's physical volumes.
        pv: usize,
        /// The first extent there.
        extent: u64,
    },
    /// On a logical volume.
    Lv {
        /// Index into the group's logical volumes.
        lv: usize,
        /// The first extent there.
        extent: u64,
    },
}

impl Segment {
    /// Reads one segment of the volume `lv`.
    pub(super) fn parse(
        lv: &str,
        entries: &Entries<'_>,
        names: &Names<'_>,
    ) -> Result<Segment, GroupError> {
        let (start, extents) = (
            u64::from(entries.small("start_extent")?),
            u64::from(entries.small("extent_count")?),
        );
        if extents == 0 {
            return Err(nonsense(lv, "a segment of it is empty"));
        }
        let whole = entries.text("type")?;
        let (kind, words) = match whole.split_once('+') {
            Some((kind, words)) => (kind, words),
            None => (whole, ""),
        };
        // "type+WORD" carries what older versions must not ignore: nor must we.
        let understood = |allowed: &[&str]| {
            words
                .split('+')
                .all(|word| word.is_empty() || allowed.contains(&word))
        };
        let other = || SegmentKind::Other(whole.to_owned());
        let kind = match kind {
            "striped" if understood(&[]) => striped(lv, entries, names, extents)?,
            "error" if understood(&[]) => SegmentKind::Error,
            "zero" if understood(&[]) => SegmentKind::Zero,
            "mirror" if understood(&[]) => SegmentKind::Mirror(Mirror::parse(lv, entries, names)?),
            "snapshot" if understood(&[]) => {
                SegmentKind::Snapshot(Snapshot::parse(entries, names)?)
            }
            "thin" if understood(&[]) => SegmentKind::Thin(Thin::parse(entries, names)?),
            "thin-pool" if understood(&["CROP_METADATA"]) => {
                SegmentKind::ThinPool(ThinPool::parse(entries, names)?)
            }
            "cache-pool" if understood(&["METADATA_FORMAT"]) => {
                SegmentKind::CachePool(CachePool::parse(entries, names)?)
            }
            "cache" if understood(&["CACHE_USES_CACHEVOL", "METADATA_FORMAT"]) => {
                SegmentKind::Cache(Cache::parse(entries, names)?)
            }
            "writecache" if understood(&[]) => {
                SegmentKind::Writecache(Writecache::parse(entries, names)?)
            }
            "integrity" if understood(&[]) => {
                SegmentKind::Integrity(Integrity::parse(entries, names)?)
            }
            "vdo-pool" if understood(&[]) => SegmentKind::VdoPool(VdoPool::parse(entries, names)?),
            "vdo" if understood(&[]) => SegmentKind::Vdo(Vdo::parse(entries, names)?),
            name => match RaidLevel::from_name(name) {
                Some(level) if understood(&[]) => {
                    SegmentKind::Raid(Raid::parse(lv, level, entries, names, extents)?)
                }
                _ => other(),
            },
        };
        Ok(Segment {
            start,
            extents,
            kind,
        })
    }

    /// The areas that are stretches of a given length, and that length in extents: what can be held against the
    /// length of what they are on. Empty for kinds whose parts are whole volumes.
    pub fn areas(&self) -> (&[Area], u64) {
        match &self.kind {
            SegmentKind::Striped { stripes, .. } => {
                (stripes, self.extents / (stripes.len() as u64).max(1))
            }
            SegmentKind::Mirror(mirror) => (&mirror.images, self.extents),
            _ => (&[], 0),
        }
    }

    /// Appends `next` when it merely goes on where this one ends, as lvm2 does when it reads.
    pub(super) fn merge(&mut self, next: &Segment) -> bool {
        let own = self.extents;
        let (
            SegmentKind::Striped {
                chunk_sectors,
                stripes,
            },
            SegmentKind::Striped {
                chunk_sectors: other_chunk,
                stripes: others,
            },
        ) = (&self.kind, &next.kind)
        else {
            return false;
        };
        let each = own / (stripes.len() as u64).max(1);
        let goes_on = stripes.len() == others.len()
            && chunk_sectors == other_chunk
            && stripes.iter().zip(others).all(|(one, other)| {
                matches!((one, other), (Area::Pv { pv, extent }, Area::Pv { pv: p, extent: e })
                    if pv == p && extent + each == *e)
            });
        if goes_on {
            self.extents += next.extents;
        }
        goes_on
    }
}

fn striped(
    lv: &str,
    entries: &Entries<'_>,
    names: &Names<'_>,
    extents: u64,
) -> Result<SegmentKind, GroupError> {
    let stripes = entries.areas("stripes", names)?;
    let count = stripes.len() as u64;
    if count != entries.number("stripe_count")? {
        return Err(nonsense(lv, "its stripes are not as many as it says"));
    }
    if !extents.is_multiple_of(count) {
        return Err(nonsense(lv, "its stripes have no equal length"));
    }
    let chunk_sectors = match count {
        1 => 0,
        _ => u64::from(entries.small("stripe_size")?),
    };
    if count > 1 && chunk_sectors == 0 {
        return Err(nonsense(lv, "its stripes have no size"));
    }
    Ok(SegmentKind::Striped {
        chunk_sectors,
        stripes,
    })
}
