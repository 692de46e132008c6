//! Where the copies of a pool's ledger are: from the metadata to bytes of raw disks.
//!
//! A copy is an ordinary logical volume of a fixed name, [`NAMES`], on a disk of its own: visible, linear, in one
//! piece, writable. One of another shape is not used, and named as a problem. Nothing is remembered here: after a
//! claim the owner locates its copies anew, in metadata read after the claim.
//!
//! A copy whose disk is not here may tick where only the peer sees it, so that a pool with such a copy is not one
//! without a ledger. Unless an owner marked that disk as missing: from then on no claim writes there, and what is left on it is old.
//! The mark is believed only where every member that the same metadata count on is here: whoever took the disk back
//! since has written so on at least one of those, and the newest metadata would say it. A mark by the operator's word counts
//! as an owner's, for as long as the word does. A claim by lease believes neither: it wants every copy.

use orthrus_hb::ClusterId;
use orthrus_hb::ledger::{BLOCK_BYTES, FLIGHT_BLOCK, FLIGHT_BLOCKS, Place, REGION_BYTES};

use crate::disk::Disk;
use crate::volume::group::{Area, SegmentKind};
use crate::volume::{LogicalVolume, PhysicalVolume, Uuid, VolumeGroup, reserved};

/// Copies that a pool may have: two survive any one disk, the third one more; more cost only writes.
pub const COPIES: usize = 3;

/// The volumes' names.
pub const NAMES: [&str; COPIES] = ["orthrus_ledger0", "orthrus_ledger1", "orthrus_ledger2"];

/// Blocks of a region.
const BLOCKS: usize = FLIGHT_BLOCK + 2 * FLIGHT_BLOCKS;

/// Bytes of a sector, the unit of the metadata.
const SECTOR: u64 = 512;

/// One copy of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Which one, from 0.
    pub copy: usize,
    /// The disk that it is on.
    pub disk: Disk,
    /// What its records must say of where they belong.
    pub place: Place,
    /// The volume's identity: one that was removed and made again holds nothing of before.
    lv: Uuid,
    /// Its first byte on the disk.
    start: u64,
}

/// What the metadata say of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The copies that can be used from here, by number.
    pub regions: Vec<Region>,
    /// Copies whose disk is not here.
    pub absent: usize,
    /// Those among them that nobody writes any more: their disk is marked as missing.
    pub written_off: usize,
    /// Volumes with the ledger's name that are no copy of it, in words.
    pub misfits: Vec<String>,
}

impl Found {
    /// The pool has no ledger, as opposed to one that cannot be reached from here.
    pub fn is_none(&self) -> bool {
        self.regions.is_empty() && self.absent == self.written_off
    }
}

impl Region {
    /// Where a block begins on the disk; `None` for one outside of the region.
    pub fn offset_of(&self, block: usize) -> Option<u64> {
        let bytes = block.checked_mul(BLOCK_BYTES)?;
        (block < BLOCKS).then_some(self.start + bytes as u64)
    }

    /// Whether what was open for the other one serves for this one.
    pub fn is_same(&self, other: &Region) -> bool {
        let place = |region: &Region| (region.lv, region.start, region.disk.number);
        place(self) == place(other) && self.disk.id == other.disk.id && self.place == other.place
    }
}

/// Looks for the copies in a group's metadata.
pub fn locate(group: &VolumeGroup, cluster: ClusterId) -> Found {
    let mut found = Found::default();
    let is_known = knows_its_marks(group);
    for lv in group.lvs.iter().filter(|lv| reserved::is_ledger(&lv.name)) {
        let located = match NAMES.iter().position(|name| *name == lv.name) {
            Some(copy) => locate_one(group, lv, copy, cluster),
            None => Err(Misfit::Name),
        };
        match located {
            Ok(Located::Here(region)) => {
                let double = found.regions.iter().find(|r| r.disk.id == region.disk.id);
                match double {
                    Some(_) => found.misfits.push(Misfit::SameDisk.of(&lv.name)),
                    None => found.regions.push(*region),
                }
            }
            Ok(Located::Absent { is_marked }) => {
                found.absent += 1;
                found.written_off += usize::from(is_marked && is_known);
            }
            Err(misfit) => found.misfits.push(misfit.of(&lv.name)),
        }
    }
    found.regions.sort_by_key(|region| region.copy);
    found
}

/// Whether nothing newer than these metadata can hide on disks that are not here: those that they count on are all here.
fn knows_its_marks(group: &VolumeGroup) -> bool {
    let is_whole = |pv: &PhysicalVolume| {
        let array = pv.array.as_ref();
        pv.disk.is_some() && array.is_none_or(|on| on.decision.absent().next().is_none())
    };
    let mut counted = group.pvs.iter().filter(|pv| !pv.is_missing);
    group.silent.is_empty() && counted.all(is_whole)
}

/// Where a copy is.
enum Located {
    Here(Box<Region>),
    /// Its disk is not here; `is_marked` as missing, or it should be.
    Absent {
        is_marked: bool,
    },
}

/// Why a volume is no copy.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Misfit {
    #[error("the copies are called {}", NAMES.join(", "))]
    Name,
    #[error("it is hidden: a part of another volume")]
    Hidden,
    #[error("it is read-only")]
    ReadOnly,
    #[error("it is not linear, in one piece on one disk")]
    Shape,
    #[error("it is smaller than {} KiB", REGION_BYTES / 1024)]
    Small,
    #[error("it does not begin at a multiple of {BLOCK_BYTES} bytes")]
    Unaligned,
    #[error("its disk is smaller than the metadata say")]
    ShortDisk,
    #[error("its disk was missing when the volume group was changed")]
    OldDisk,
    #[error("its disk has another copy already")]
    SameDisk,
    #[error("it is on an MD array, which a standby cannot read in time")]
    Array,
}

impl Misfit {
    fn of(self, name: &str) -> String {
        format!("volume {name} is no copy of the ledger: {self}")
    }
}

fn locate_one(
    group: &VolumeGroup,
    lv: &LogicalVolume,
    copy: usize,
    cluster: ClusterId,
) -> Result<Located, Misfit> {
    if !lv.is_visible {
        return Err(Misfit::Hidden);
    }
    if !lv.is_writable {
        return Err(Misfit::ReadOnly);
    }
    let [segment] = &lv.segments[..] else {
        return Err(Misfit::Shape);
    };
    let SegmentKind::Striped { stripes, .. } = &segment.kind else {
        return Err(Misfit::Shape);
    };
    let [Area::Pv { pv, extent }] = stripes[..] else {
        return Err(Misfit::Shape);
    };
    let region = REGION_BYTES as u64;
    if group.bytes_of(lv) < region {
        return Err(Misfit::Small);
    }
    let pv = &group.pvs[pv];
    if pv.array.is_some() {
        return Err(Misfit::Array);
    }
    let Some(disk) = &pv.disk else {
        let is_marked = pv.is_missing;
        return Ok(Located::Absent { is_marked });
    };
    if pv.is_missing {
        return Err(Misfit::OldDisk);
    }
    let start = extent
        .checked_mul(group.extent_sectors)
        .and_then(|sectors| sectors.checked_add(pv.data_start)?.checked_mul(SECTOR))
        .ok_or(Misfit::ShortDisk)?;
    if start % BLOCK_BYTES as u64 != 0 {
        return Err(Misfit::Unaligned);
    }
    // That the volume is within its physical volume was checked where the metadata were read.
    let end = start.checked_add(region);
    if end.is_none_or(|end| end > disk.bytes) {
        return Err(Misfit::ShortDisk);
    }
    Ok(Located::Here(Box::new(Region {
        copy,
        disk: disk.clone(),
        place: Place::of_group(cluster, &group.uuid.to_string()),
        lv: lv.uuid,
        start,
    })))
}

/// The commands that make the copies that a group lacks, on a host with lvm2. The disks are named by the identity
/// of their physical volumes: that host calls them something else.
pub fn commands(group: &VolumeGroup) -> Vec<String> {
    let taken: Vec<usize> = group
        .lvs
        .iter()
        .filter(|lv| NAMES.contains(&lv.name.as_str()))
        .flat_map(|lv| &lv.segments)
        .flat_map(|segment| segment.areas().0)
        .filter_map(|area| match area {
            Area::Pv { pv, .. } => Some(*pv),
            Area::Lv { .. } => None,
        })
        .collect();
    let bytes = group.extent_sectors.saturating_mul(SECTOR).max(1);
    let extents = (REGION_BYTES as u64).div_ceil(bytes);
    let lacking = NAMES
        .iter()
        .filter(|name| group.lvs.iter().all(|lv| lv.name != **name));
    let free = group.pvs.iter().enumerate();
    let free = free.filter(|(index, pv)| pv.array.is_none() && !taken.contains(index));
    lacking
        .zip(free)
        .map(|(name, (_, pv))| {
            let (vg, uuid) = (&group.name, pv.uuid);
            format!(
                "lvcreate -an -Zn -Wn -l {extents} -n {name} {vg} $(pvs --noheadings -o pv_name -S pv_uuid={uuid})"
            )
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::disk::{DiskId, WriteCache};
    use crate::volume::group::{Flags, Segment};

    pub(crate) const EXTENT: u64 = 8192 * SECTOR;
    const DATA_START: u64 = 2048 * SECTOR;

    fn uuid(kind: &str, number: usize) -> Uuid {
        Uuid::from_compact(format!("{kind:0<31}{number}").as_bytes()).unwrap()
    }

    pub(crate) fn volume(name: &str, number: usize, pv: usize, extent: u64) -> LogicalVolume {
        LogicalVolume {
            name: name.to_owned(),
            uuid: uuid("lv", number),
            is_visible: true,
            is_writable: true,
            flags: Flags::default(),
            is_lost: false,
            is_behind: false,
            is_unsure: false,
            segments: vec![Segment {
                start: 0,
                extents: 1,
                kind: SegmentKind::Striped {
                    chunk_sectors: 0,
                    stripes: vec![Area::Pv { pv, extent }],
                },
            }],
        }
    }

    /// Four disks of 64 MiB, with a ledger on the last three.
    pub(crate) fn group() -> VolumeGroup {
        let pv = |number: usize| PhysicalVolume {
            uuid: uuid("pv", number),
            hint: None,
            disk: Some(Disk {
                name: format!("sd{number}"),
                path: format!("/dev/sd{number}").into(),
                number: (8, 16 * number as u32),
                id: DiskId(format!("naa.{number}")),
                vendor: String::new(),
                model: String::new(),
                bytes: 64 << 20,
                logical_block: 512,
                write_cache: WriteCache::WriteThrough,
                sequence: 0,
                paths: Vec::new(),
            }),
            array: None,
            is_missing: false,
            data_start: DATA_START / SECTOR,
            extents: 15,
        };
        let ledgers = NAMES.iter().enumerate();
        VolumeGroup {
            name: "tank".to_owned(),
            uuid: uuid("vg", 0),
            seqno: 1,
            system_id: None,
            lock_type: None,
            status: Vec::new(),
            tags: Vec::new(),
            extent_sectors: EXTENT / SECTOR,
            pvs: (0..4).map(pv).collect(),
            lvs: ledgers
                .map(|(copy, name)| volume(name, copy, copy + 1, 3))
                .collect(),
            conflicts: Vec::new(),
            silent: Vec::new(),
        }
    }

    pub(crate) fn cluster() -> ClusterId {
        ClusterId::from_name("lab")
    }

    fn misfit(change: impl FnOnce(&mut VolumeGroup)) -> String {
        let mut group = group();
        change(&mut group);
        let found = locate(&group, cluster());
        assert_eq!(found.regions.len(), 2, "{found:?}");
        found.misfits.join("; ")
    }

    #[test]
    fn a_region_is_where_the_metadata_put_the_volume() {
        let found = locate(&group(), cluster());
        assert_eq!((found.regions.len(), found.misfits.len()), (3, 0));
        let region = &found.regions[1];
        assert_eq!(region.disk.name, "sd2");
        assert_eq!(region.offset_of(0), Some(DATA_START + 3 * EXTENT));
        assert_eq!(
            region.offset_of(47),
            Some(DATA_START + 3 * EXTENT + 47 * 4096)
        );
    }

    #[test]
    fn no_block_lies_outside_of_the_region() {
        let region = &locate(&group(), cluster()).regions[0];
        assert_eq!(BLOCKS * BLOCK_BYTES, REGION_BYTES);
        assert_eq!(region.offset_of(BLOCKS), None);
        assert_eq!(region.offset_of(usize::MAX), None);
    }

    #[test]
    fn a_volume_of_another_shape_is_named_and_not_used() {
        let says = misfit(|group| group.lvs[0].name = "orthrus_ledger3".into());
        assert!(says.contains("orthrus_ledger3") && says.contains("orthrus_ledger0, "));
        assert!(misfit(|group| group.lvs[0].is_visible = false).contains("hidden"));
        assert!(misfit(|group| group.lvs[0].is_writable = false).contains("read-only"));
        let kind = SegmentKind::Other("raid1".into());
        assert!(misfit(|group| group.lvs[0].segments[0].kind = kind).contains("linear"));
        let says = misfit(|group| {
            let more = group.lvs[0].segments[0].clone();
            group.lvs[0].segments.push(more);
        });
        assert!(says.contains("linear"));
        assert!(misfit(|group| group.lvs[0] = volume(NAMES[0], 0, 2, 9)).contains("another copy"));
        assert!(misfit(|group| group.pvs[1].is_missing = true).contains("missing"));
        assert!(misfit(|group| group.pvs[1].data_start = 2049).contains("multiple"));
    }

    #[test]
    fn a_region_beyond_the_end_of_its_disk_is_not_used() {
        let short = DATA_START + 3 * EXTENT + REGION_BYTES as u64;
        let with = |bytes| {
            let mut group = group();
            group.pvs[1].disk.as_mut().unwrap().bytes = bytes;
            locate(&group, cluster())
        };
        assert_eq!(with(short).regions.len(), 3);
        assert!(with(short - 1).misfits[0].contains("smaller"));
        let says = misfit(|group| group.pvs[1].data_start = u64::MAX / 256);
        assert!(says.contains("smaller"));
    }

    #[test]
    fn a_small_volume_is_not_used() {
        let mut group = group();
        group.extent_sectors = 128;
        let found = locate(&group, cluster());
        assert!(found.is_none() && found.misfits[2].contains("192 KiB"));
    }

    #[test]
    fn a_ledger_on_disks_that_are_not_here_is_not_none() {
        let mut group = group();
        group.pvs.iter_mut().for_each(|pv| pv.disk = None);
        let found = locate(&group, cluster());
        assert_eq!((found.absent, found.is_none()), (3, false));
        group.lvs.clear();
        assert!(locate(&group, cluster()).is_none());
    }

    #[test]
    fn a_ledger_on_disks_that_an_owner_marked_as_missing_is_none() {
        let mut group = group();
        // The only copy is on sd1, which died and was marked.
        group.lvs.truncate(1);
        group.pvs[1].disk = None;
        assert!(!locate(&group, cluster()).is_none(), "nobody wrote it off");
        group.pvs[1].is_missing = true;
        let found = locate(&group, cluster());
        assert!(found.is_none(), "{found:?}");
        assert_eq!((found.absent, found.written_off), (1, 1));
        // Another one that is not marked may tick where the peer sees it.
        group.lvs.push(volume(NAMES[1], 1, 2, 3));
        group.pvs[2].disk = None;
        assert!(!locate(&group, cluster()).is_none());
    }

    #[test]
    fn a_mark_is_not_believed_while_newer_metadata_may_be_elsewhere() {
        let mut group = group();
        group.lvs.truncate(1);
        (group.pvs[1].disk, group.pvs[1].is_missing) = (None, true);
        // Whoever took sd1 back may have written so to sd3 alone, and tick on sd1 since.
        let sd3 = group.pvs[3].disk.take();
        assert!(!locate(&group, cluster()).is_none());
        group.pvs[3].disk = sd3;
        group.silent.push("sd9".into());
        assert!(!locate(&group, cluster()).is_none(), "sd9 may be sd1");
        group.silent.clear();
        assert!(locate(&group, cluster()).is_none());
        // A copy that can be read is one, whatever became of the others.
        group.lvs.push(volume(NAMES[1], 1, 2, 3));
        assert!(!locate(&group, cluster()).is_none());
    }

    #[test]
    fn commands_make_what_is_lacking_on_disks_without_a_copy() {
        let mut group = group();
        assert!(commands(&group).is_empty());
        group.lvs.remove(1);
        let [command] = &commands(&group)[..] else {
            panic!()
        };
        let uuid = group.pvs[0].uuid;
        assert_eq!(
            *command,
            format!(
                "lvcreate -an -Zn -Wn -l 1 -n orthrus_ledger1 tank \
                 $(pvs --noheadings -o pv_name -S pv_uuid={uuid})"
            )
        );
        group.lvs.clear();
        assert_eq!(commands(&group).len(), 3);
        group.extent_sectors = 8;
        assert!(commands(&group)[0].contains(" -l 48 "));
    }
}
