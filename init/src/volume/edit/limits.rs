//! What no kernel takes, nor lvm2, of a group as it would be written: the last look at an edit before it gets to the disks.
//!
//! Each edit has its own reasons to refuse, with words that fit what was asked for. This is for what they overlook: metadata are
//! written before the kernel sees a table of theirs, and a pool with a table that it refuses is imported by no head. Only what an edit makes
//! wrong counts; what others wrote stays as it is.

use super::super::text::Section;
use super::super::write::Metadata;
use super::EditError;
use super::layout::{MOST_REGION, Raid, region_for};
use super::tree;

/// Segments of these types are alone in their table (`DM_TARGET_SINGLETON` of dm-integrity, dm-thin and dm-vdo), those of RAID by what
/// lvm2 reads.
const ALONE: [&str; 3] = ["integrity", "thin-pool", "vdo-pool"];

/// The longest device, in sectors: the kernel has its bytes in a signed number (`loff_t`).
const MOST_SECTORS: u64 = (1 << 54) - 1;

/// All that is wrong in a group.
pub(super) fn broken(metadata: &Metadata) -> Vec<EditError> {
    let extent = tree::number(&metadata.body, "extent_size").unwrap_or(0);
    let all = metadata.volumes();
    let extents = metadata
        .members()
        .filter_map(|(_, member)| tree::number(member, "pe_count"));
    let extents = extents.fold(0, u64::saturating_add);
    let too_many = (extents > u64::from(u32::MAX)).then(|| {
        EditError::Size(format!(
            "the group would have {extents} extents, and lvm2 counts to {}: disks of that size want a group with larger ones",
            u32::MAX
        ))
    });
    let wrong = all.filter_map(|(name, volume)| {
        let why = volume_is_broken(metadata, volume, extent)?;
        let lv = name.to_owned();
        Some(EditError::Refused { lv, why })
    });
    too_many.into_iter().chain(wrong).collect()
}

fn volume_is_broken(metadata: &Metadata, volume: &Section, extent: u64) -> Option<String> {
    let mut kinds = tree::segments(volume).filter_map(|segment| tree::word(segment, "type"));
    let is_alone = |kind: &str| ALONE.contains(&kind) || Raid::of_kind(kind).is_some();
    if let (true, Some(kind)) = (
        tree::segments(volume).count() > 1,
        kinds.find(|kind| is_alone(kind)),
    ) {
        return Some(format!("have another segment beside one of type {kind:?}"));
    }
    let segment = tree::segments(volume).next()?;
    let sectors = tree::extents(volume).saturating_mul(extent);
    if sectors > MOST_SECTORS {
        return Some("be longer than 8 EiB, which no kernel has".to_owned());
    }
    let length_of = |part: &str| {
        let mut volumes = metadata.volumes();
        let found = volumes.find(|(name, _)| *name == part);
        found.map(|(_, volume)| tree::extents(volume))
    };
    match tree::word(segment, "type")? {
        "integrity" => {
            let data = tree::number(segment, "data_sectors").unwrap_or(0);
            (data < sectors).then(|| "be longer than its checksums are for".to_owned())
        }
        "thin-pool" => {
            let data = tree::word(segment, "pool").and_then(length_of);
            let is_short = data.is_some_and(|data| data < tree::extents(volume));
            is_short.then(|| "be longer than its data".to_owned())
        }
        kind => {
            let level = Raid::of_kind(kind)?;
            region_is_wrong(segment, level, sectors)
                .or_else(|| images_are_short(segment, level, tree::extents(volume), &length_of))
        }
    }
}

/// `validate_region_size` of dm-raid.c.
fn region_is_wrong(segment: &Section, level: Raid, sectors: u64) -> Option<String> {
    let region = tree::number(segment, "region_size").filter(|_| level != Raid::Raid0)?;
    let chunk = tree::number(segment, "stripe_size").unwrap_or(0);
    let is_possible = region.is_power_of_two()
        && region_for(region, sectors) == region
        && region <= sectors
        && (chunk..=MOST_REGION).contains(&region);
    (!is_possible)
        .then(|| format!("have regions of {region} sectors, which its size does not allow"))
}

fn images_are_short(
    segment: &Section,
    level: Raid,
    extents: u64,
    length_of: &dyn Fn(&str) -> Option<u64>,
) -> Option<String> {
    let parts = tree::references(segment).into_iter();
    let images: Vec<&str> = parts.filter(|part| part.contains("_rimage_")).collect();
    let shortest = images.iter().filter_map(|image| length_of(image)).min()?;
    let count = images.len() as u64;
    let room = match (level, tree::number(segment, "data_copies")) {
        (Raid::Raid10, Some(copies)) => shortest.saturating_mul(count) / copies.max(1),
        (Raid::Raid10, None) => shortest.saturating_mul(count) / 2,
        _ => shortest.saturating_mul(level.data(count)),
    };
    (extents > room).then(|| "be longer than its images".to_owned())
}
