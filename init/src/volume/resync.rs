//! RAID volumes that were not stopped in order: what was being written is made equal again.
//!
//! MD notes in a bitmap which regions may differ between images before it writes there, and clears a bit some seconds after the last
//! write. mdadm's superblocks say besides that an array was not stopped; dm-raid's have no word for that. Its bitmap is loaded from
//! `array_resync_offset` on (`bitmap_load`), which is the end in a volume that was equal once, so that not one of the regions is made
//! equal (Linux 6.12, seen). After each crash mirrors would stay different where a write was under way, and parity that does not fit
//! would compute wrong data of *other* blocks, acknowledged long ago, when a disk is lost later.
//!
//! So the superblocks get before the volume is activated what they have in one that is made equal for the first time: an offset of
//! zero. MD then makes equal what the bitmap says, and nothing else.
//!
//! Decisions:
//! - Only the eight bytes of the offset change, in all superblocks, and each write is within one block of the disk: whoever dies
//!   here leaves superblocks that say either. The next import asks again.
//! - Parity is left alone unless every image is there and has all: MD starts no *dirty degraded* array. With a lost image the bits stay
//!   set (`bitmap_endwrite` keeps them for its return), whether it was stopped in order or not.
//! - While a raid10 has an image that lacks something, nothing of it is made equal, also where MD would by itself. It recovers such
//!   an image from its twin, but when all is made equal it reads every image that did not fail, that one as well, and the first of two
//!   is right (`raid10_sync_request`, `sync_request_write`): what was acknowledged since would be overwritten with what is old.
//! - A raid1 with such an image is made equal from the beginning, or not at all. From there MD writes that image like the others; from
//!   anywhere else dm-raid asks for a comparison, which writes to it what happens to be in memory (`raid_preresume`, `process_checks`).
//! - Images that the table has to be rebuilt are MD's: it takes all others for equal (`size_check` of `raid_ctr`).
//! - As an image is recovered, MD clears the bits of what it passes (`start_sync`), also where other images differ. Parity fits then,
//!   since whole stripes are computed. Mirrors are compared when all have all: see `worker::unsure`.
//! - So a raid10 with such an image is told of, where its bitmaps have bits, and is to be compared as a whole later: MD recovers that
//!   image in moments, and nothing would tell afterwards that another pair was written as the owner died.
//! - What cannot be read or written is the kernel's to say: it reads the same block a moment later, and goes on without that image.

use std::io;

use tracing::{info, warn};

use super::group::RaidLevel;
use super::mapper::Mapper;
use super::plan::{Backing, Device, RaidTarget, Target};

/// `DM_RAID_MAGIC`.
const MAGIC: &[u8] = b"DmRd";
/// `BITMAP_MAGIC`.
const BITMAP_MAGIC: &[u8] = b"bitm";
/// Bytes from the superblock to the bitmap (`super_validate`).
const BITMAP_AT: u64 = 4096;
/// Bytes of the bitmap's own head.
const BITMAP_HEAD: u64 = 256;
/// `BITMAP_STALE`: all of it counts as set.
const STALE: u32 = 1 << 1;
/// An offset that stands for all.
const ALL: u64 = u64::MAX;
/// Where `array_position` is.
const POSITION: usize = 12;
/// Where `array_resync_offset` is.
const RESYNC_OFFSET: usize = 40;
/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;
/// What is written: the least that every disk takes.
const BLOCK: usize = 4096;

/// What an image's superblock says (`struct dm_raid_superblock`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Superblock {
    events: u64,
    /// Which image it is.
    position: u32,
    /// A bit for each image that failed.
    failed: [u64; 4],
    /// How much of this image is rebuilt.
    recovery: u64,
    /// How much of all images is equal.
    resync: u64,
    /// The layout is being changed.
    is_reshaped: bool,
}

impl Superblock {
    fn parse(block: &[u8]) -> Option<Superblock> {
        let number = |at: usize| Some(u64::from_le_bytes(block.get(at..at + 8)?.try_into().ok()?));
        if !block.starts_with(MAGIC) {
            return None;
        }
        let short = |at: usize| Some(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?));
        // Those written before 1.9 of dm-raid have zero there, as one that began at the first sector would.
        let is_extended = block.get(4..8)? != [0; 4];
        Some(Superblock {
            events: number(16)?,
            position: short(POSITION)?,
            failed: [number(24)?, number(120)?, number(128)?, number(136)?],
            recovery: number(32)?,
            resync: number(RESYNC_OFFSET)?,
            is_reshaped: is_extended && number(64)? != ALL,
        })
    }

    fn knows_failed(&self, image: u32) -> bool {
        let word = self.failed.get(image as usize / 64);
        word.is_some_and(|word| word >> (image % 64) & 1 != 0)
    }
}

/// Whether a bitmap says that regions may differ. What is no bitmap says nothing.
fn may_differ(read: &dyn Fn(u64, u64) -> io::Result<Vec<u8>>, events: u64) -> io::Result<bool> {
    let head = read(BITMAP_AT, BITMAP_HEAD)?;
    let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let short = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default());
    let region = u64::from(short(52)) / 512;
    if !head.starts_with(BITMAP_MAGIC) || region == 0 {
        return Ok(false);
    }
    // Older than the superblock: MD takes all of it for set.
    if short(48) & STALE != 0 || long(24) < events {
        return Ok(true);
    }
    let bits = long(40).div_ceil(region);
    let mut done = 0;
    while done < bits {
        let length = (bits - done).div_ceil(8).min(PIECE);
        let mut bytes = read(BITMAP_AT + BITMAP_HEAD + done / 8, length)?;
        let left = bits - done;
        // Behind the last one they are set in a bitmap that was new once.
        if left < length * 8
            && let Some(last) = bytes.last_mut()
        {
            *last &= (1 << (left % 8)) - 1;
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        done += length * 8;
    }
    Ok(false)
}

/// Whether the newest superblocks say that this image failed.
fn is_failed(images: &[Option<(Superblock, bool)>], image: usize) -> bool {
    u32::try_from(image)
        .is_ok_and(|image| newest(images).any(|(superblock, _)| superblock.knows_failed(image)))
}

/// Those that were written last.
fn newest(images: &[Option<(Superblock, bool)>]) -> impl Iterator<Item = &(Superblock, bool)> {
    let known = images.iter().flatten();
    let events = known.clone().map(|(superblock, _)| superblock.events).max();
    known.filter(move |(superblock, _)| Some(superblock.events) == events)
}

/// Whether images differ, for all that is known, which MD does not make equal: the other pairs of a raid10 of which an image lacks
/// something.
fn stays_unequal(target: &RaidTarget, images: &[Option<(Superblock, bool)>]) -> bool {
    let differs = newest(images).any(|(one, has_bits)| *has_bits || one.resync != ALL);
    let is_behind = images.iter().flatten().any(|(one, _)| {
        let mut newest = newest(images);
        one.recovery != ALL
            || newest
                .any(|(other, _)| other.events > one.events || other.knows_failed(one.position))
    });
    matches!(target.level, RaidLevel::Raid10) && is_behind && differs
}

/// The offset that the superblocks are to have, if it is another one than they have; of each image what its superblock says, where it
/// has one, and whether its bitmap has bits.
fn wanted(target: &RaidTarget, images: &[Option<(Superblock, bool)>]) -> Option<u64> {
    let known = || images.iter().flatten().map(|(superblock, _)| superblock);
    if !target.rebuild.is_empty() || known().any(|superblock| superblock.is_reshaped) {
        return None;
    }
    let is_dirty = newest(images).any(|(_, has_bits)| *has_bits);
    let newest = || newest(images).map(|(superblock, _)| superblock);
    let is_begun = newest().all(|superblock| superblock.resync == 0);
    let is_over = newest().all(|superblock| superblock.resync == ALL);
    // One that is here: MD knows by the newest what failed, and makes that equal when it comes back.
    let lacks = |superblock: &Superblock| {
        superblock.recovery != ALL
            || newest().any(|newest| newest.knows_failed(superblock.position))
    };
    let is_behind = known().any(lacks);
    let (is_due, offset) = match target.level {
        RaidLevel::Parity(..) => {
            let has_failed = known().any(|superblock| superblock.failed != [0; 4]);
            let is_whole = images.iter().all(Option::is_some) && !is_behind && !has_failed;
            (is_dirty && is_whole, 0)
        }
        RaidLevel::Raid10 if is_behind => (!is_over, ALL),
        _ if is_behind => (is_dirty || !is_over, 0),
        _ => (is_dirty, 0),
    };
    (is_due && !(offset == 0 && is_begun)).then_some(offset)
}

/// Has a RAID volume made equal where it was written when it was not stopped. To be called while what it stands on is active and it
/// is not; `number` tells that of an earlier device of the plan. `true`: it is to be compared as a whole when all its images have all.
pub(super) fn after_a_crash(
    mapper: &dyn Mapper,
    device: &Device,
    number: &dyn Fn(usize) -> (u32, u32),
) -> bool {
    let mut is_unequal = false;
    for line in &device.lines {
        match &line.target {
            Target::Raid(target) if !target.level.is_raid0() => {
                is_unequal |= of_target(mapper, device, target, number);
            }
            _ => {}
        }
    }
    is_unequal
}

fn of_target(
    mapper: &dyn Mapper,
    device: &Device,
    target: &RaidTarget,
    number: &dyn Fn(usize) -> (u32, u32),
) -> bool {
    let name = device.name.as_str();
    let of_image = |metadata: Option<Backing>| match metadata {
        Some(Backing::Device(index)) => Some(number(index)),
        _ => None,
    };
    let places: Vec<Option<(u32, u32)>> = target
        .images
        .iter()
        .map(|(metadata, _)| of_image(*metadata))
        .collect();
    let look = |place: (u32, u32)| -> io::Result<Option<(Superblock, bool)>> {
        let read = |offset, length: u64| mapper.read(place, offset, length as usize);
        let Some(superblock) = Superblock::parse(&read(0, 512)?) else {
            return Ok(None);
        };
        Ok(Some((superblock, may_differ(&read, superblock.events)?)))
    };
    let images: Vec<Option<(Superblock, bool)>> = places
        .iter()
        .map(|place| {
            look((*place)?).unwrap_or_else(|error| {
                // In the place of a lost image is what fails.
                if !device.is_degraded {
                    warn!(volume = name, %error, "a superblock cannot be read");
                }
                None
            })
        })
        .collect();
    // One that is here and does not show its superblock now may be one that failed, which the kernel reads a moment later.
    let unread = places.iter().zip(&images).enumerate();
    let mut unread = unread.filter(|(_, (place, image))| place.is_some() && image.is_none());
    let is_hidden = !device.is_degraded
        && matches!(target.level, RaidLevel::Raid10)
        && unread.any(|(image, _)| is_failed(&images, image));
    if is_hidden {
        return true;
    }
    let is_unequal = stays_unequal(target, &images);
    let Some(offset) = wanted(target, &images) else {
        return is_unequal;
    };
    match offset {
        ALL => info!(
            volume = name,
            "an image lacks something: it is made equal, and the others are not"
        ),
        _ => info!(
            volume = name,
            "was not stopped: where it was written its images are made equal again"
        ),
    }
    let known = places.iter().zip(&images);
    for place in known.filter_map(|(place, image)| image.and(*place)) {
        let begun = mapper.read(place, 0, BLOCK).and_then(|mut block| {
            block[RESYNC_OFFSET..RESYNC_OFFSET + 8].copy_from_slice(&offset.to_le_bytes());
            mapper.write(place, 0, &block)
        });
        if let Err(error) = begun {
            warn!(volume = name, %error, "a superblock cannot be written");
        }
    }
    is_unequal
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Sectors of a region.
    const REGION: u32 = 128;

    /// An image's superblock and bitmap of so many regions, those of them that may differ given.
    pub(in super::super) fn image(
        events: u64,
        recovery: u64,
        resync: u64,
        regions: u64,
        set: &[u64],
    ) -> Vec<u8> {
        let mut bytes = vec![0; 192 << 10];
        let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        put(0, MAGIC);
        put(4, &[1]);
        put(16, &events.to_le_bytes());
        put(32, &recovery.to_le_bytes());
        put(RESYNC_OFFSET, &resync.to_le_bytes());
        put(64, &ALL.to_le_bytes());
        let bitmap = BITMAP_AT as usize;
        put(bitmap, BITMAP_MAGIC);
        put(bitmap + 24, &events.to_le_bytes());
        put(bitmap + 40, &(regions * u64::from(REGION)).to_le_bytes());
        put(bitmap + 52, &(REGION * 512).to_le_bytes());
        let bits = bitmap + BITMAP_HEAD as usize;
        // As the kernel leaves what is behind the last one.
        for bit in regions..regions.next_multiple_of(4096) {
            bytes[bits + bit as usize / 8] |= 1 << (bit % 8);
        }
        for bit in set {
            bytes[bits + *bit as usize / 8] |= 1 << (bit % 8);
        }
        bytes
    }

    pub(in super::super) fn resync_of(image: &[u8]) -> u64 {
        Superblock::parse(image).unwrap().resync
    }

    fn differs(image: &[u8]) -> bool {
        let read = |offset: u64, length: u64| {
            assert!(length <= PIECE);
            Ok(image[offset as usize..(offset + length) as usize].to_vec())
        };
        let superblock = Superblock::parse(image).unwrap();
        may_differ(&read, superblock.events).unwrap()
    }

    fn target(level: &str, images: usize) -> RaidTarget {
        RaidTarget {
            level: RaidLevel::from_name(level).unwrap(),
            chunk: 128,
            rebuild: Vec::new(),
            min_recovery_rate: 0,
            max_recovery_rate: 0,
            write_mostly: Vec::new(),
            write_behind: 0,
            region: REGION,
            copies: None,
            data_offset: 0,
            images: vec![(None, None); images],
        }
    }

    #[test]
    fn every_bit_of_a_bitmap_counts_and_none_behind_the_last_one() {
        for regions in [1, 7, 8, 9, 4096, 4097, 600_000] {
            assert!(!differs(&image(4, ALL, ALL, regions, &[])), "{regions}");
            for bit in [0, regions / 2, regions - 1] {
                assert!(differs(&image(4, ALL, ALL, regions, &[bit])), "{bit}");
            }
        }
    }

    #[test]
    fn a_bitmap_that_is_older_than_its_superblock_counts_as_set_and_what_is_none_says_nothing() {
        let mut old = image(4, ALL, ALL, 64, &[]);
        old[16] = 5;
        assert!(differs(&old));
        let mut stale = image(4, ALL, ALL, 64, &[]);
        stale[BITMAP_AT as usize + 48] = 2;
        assert!(differs(&stale));
        for at in [0, 52] {
            let mut none = image(4, ALL, ALL, 64, &[3]);
            none[BITMAP_AT as usize + at..][..4].fill(0);
            assert!(!differs(&none));
        }
        assert_eq!(Superblock::parse(&[0; 512]), None);
        assert_eq!(Superblock::parse(b"DmRd"), None);
    }

    const CLEAN: Superblock = Superblock {
        events: 8,
        position: 0,
        failed: [0; 4],
        recovery: ALL,
        resync: ALL,
        is_reshaped: false,
    };

    fn with(change: &dyn Fn(&mut Superblock)) -> Option<(Superblock, bool)> {
        let mut other = CLEAN;
        change(&mut other);
        Some((other, true))
    }

    #[test]
    fn images_are_made_equal_where_that_is_known_to_be_due_and_md_can() {
        let (quiet, dirty) = (Some((CLEAN, false)), with(&|_| {}));
        let half = with(&|one| one.recovery = 512);
        let begun = with(&|one| one.resync = 0);
        let under_way = with(&|one| one.resync = 512);
        let old = with(&|one| one.events = 7);
        // The third of them, which is not here.
        let failed = with(&|one| one.failed = [4, 0, 0, 0]);
        let reshaped = with(&|one| one.is_reshaped = true);
        let due = Some(0);
        for (images, raid1, raid10, parity) in [
            ([quiet; 3], None, None, None),
            ([dirty; 3], due, due, due),
            // A bitmap that not all have yet.
            ([quiet, dirty, quiet], due, due, due),
            ([old, quiet, quiet], None, None, None),
            ([begun; 3], None, None, None),
            ([under_way; 3], due, due, due),
            ([dirty, dirty, half], due, None, None),
            ([dirty, dirty, None], due, due, None),
            ([failed, failed, None], due, due, None),
            ([reshaped, dirty, dirty], None, None, None),
            ([None; 3], None, None, None),
        ] {
            for (level, due) in [
                ("raid1", raid1),
                ("raid10", raid10),
                ("raid5_ls", parity),
                ("raid4", parity),
            ] {
                assert_eq!(
                    wanted(&target(level, 3), &images),
                    due,
                    "{level} {images:?}"
                );
            }
            let mut rebuilt = target("raid10", 3);
            rebuilt.rebuild = vec![2];
            assert_eq!(wanted(&rebuilt, &images), None);
        }
    }

    #[test]
    fn of_a_raid10_that_lacks_something_the_other_pairs_may_differ_after_a_crash() {
        let (quiet, dirty) = (Some((CLEAN, false)), with(&|_| {}));
        let half = with(&|one| one.recovery = 512);
        let old = with(&|one| one.events = 7);
        let failed = with(&|one| one.failed = [1, 0, 0, 0]);
        for (images, unequal) in [
            ([quiet; 3], false),
            // MD makes these equal.
            ([dirty; 3], false),
            ([dirty, dirty, None], false),
            ([half, dirty, dirty], true),
            ([old, dirty, dirty], true),
            ([old, failed, failed], true),
            // It was stopped in order.
            ([old, quiet, quiet], false),
            ([None; 3], false),
        ] {
            for (level, is_raid10) in [("raid10", true), ("raid1", false), ("raid5_ls", false)] {
                let stays = stays_unequal(&target(level, 3), &images);
                assert_eq!(stays, unequal && is_raid10, "{level} {images:?}");
            }
        }
    }

    #[test]
    fn what_is_old_is_never_copied_over_what_is_new() {
        // The first image: where it was thrown out, its own superblock says nothing of it, and is older or not.
        for (first, word) in [(0, 0), (65, 1)] {
            let others = |resync: u64| {
                with(&|one| {
                    one.position = 7;
                    one.resync = resync;
                    one.failed[word] = 1 << (first % 64);
                })
            };
            let thrown_out = |resync: u64| {
                with(&|one| {
                    one.position = first;
                    one.resync = resync;
                    one.events = 5;
                })
            };
            let half = |resync: u64| {
                with(&|one| {
                    one.recovery = 512;
                    one.resync = resync;
                })
            };
            let whole = |resync: u64| with(&|one| one.resync = resync);
            let quiet = |image: Option<(Superblock, bool)>| image.map(|(one, _)| (one, false));
            for (resync, raid10, raid1, raid1_quiet) in [
                (ALL, None, Some(0), None),
                (512, Some(ALL), Some(0), Some(0)),
                (0, Some(ALL), None, None),
            ] {
                for images in [
                    [thrown_out(resync), others(resync), others(resync)],
                    [half(resync), whole(resync), whole(resync)],
                ] {
                    assert_eq!(wanted(&target("raid10", 3), &images), raid10, "{images:?}");
                    assert_eq!(wanted(&target("raid1", 3), &images), raid1, "{images:?}");
                    assert_eq!(wanted(&target("raid5_ls", 3), &images), None);
                    let images = images.map(quiet);
                    assert_eq!(wanted(&target("raid10", 3), &images), raid10);
                    assert_eq!(wanted(&target("raid1", 3), &images), raid1_quiet);
                }
            }
        }
    }
}
