//! The text as a whole: the group, its physical volumes, its logical volumes, and that all of it fits together.

use super::entries::{Entries, Names};
use super::error::{GroupError, nonsense};
use super::flags::Flags;
use super::links::Links;
use super::raid::{BEHIND_TAG, UNSURE_TAG};
use super::segment::{Area, Segment};
use super::snapshot::LOST_TAG;
use super::{LogicalVolume, PhysicalVolume, VolumeGroup, is_name};
use crate::volume::text::{Value, parse};

impl VolumeGroup {
    /// Reads the text of a metadata area. The disks of the members are found by who read the labels.
    pub fn parse(text: &str) -> Result<VolumeGroup, GroupError> {
        let top = parse(text)?;
        let mut sections = top.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name, section)),
            _ => None,
        });
        let (Some((name, section)), None) = (sections.next(), sections.next()) else {
            return Err(nonsense("top", "there is not exactly one volume group"));
        };
        if !is_name(name) {
            return Err(nonsense(
                "top",
                "the name of the volume group is not allowed",
            ));
        }
        let entries = Entries { name, section };
        let mut group = parse_header(&entries)?;
        // A group without volumes has no such section.
        let mut volumes = match entries.has("logical_volumes") {
            true => entries.sections("logical_volumes")?,
            false => Vec::new(),
        };
        // Whatever their order in the text: LUNs are numbered by name.
        volumes.sort_by(|a, b| a.name.cmp(b.name));
        let mut names = Names::default();
        for (index, lv) in volumes.iter().enumerate() {
            names.lvs.insert(lv.name, index);
        }
        for (index, pv) in entries.sections("physical_volumes")?.iter().enumerate() {
            names.pvs.insert(pv.name, index);
            group.pvs.push(parse_pv(pv)?);
        }
        let is_writable = group.has("WRITE") || group.has("WRITE_LOCKED");
        for lv in &volumes {
            group.lvs.push(parse_lv(lv, &names, is_writable)?);
        }
        check_places(&group)?;
        let links = Links::new(&group)?;
        for (index, lv) in group.lvs.iter_mut().enumerate() {
            lv.is_visible = links.is_visible(index);
            // An external origin is shared by those who came from it.
            lv.is_writable &= !links.is_external(index);
        }
        Ok(group)
    }
}

fn parse_header(group: &Entries<'_>) -> Result<VolumeGroup, GroupError> {
    if group
        .optional_text("format")
        .is_some_and(|format| format != "lvm2")
    {
        return Err(nonsense(group.name, "its format is not lvm2"));
    }
    let extent_sectors = group.number("extent_size")?;
    if extent_sectors == 0 || extent_sectors > u64::from(u32::MAX) {
        return Err(nonsense(group.name, "its extents have no possible size"));
    }
    let text = |key| group.optional_text(key).filter(|text| !text.is_empty());
    let mut status = group.list("status")?;
    status.extend(group.list_or_empty("flags")?);
    Ok(VolumeGroup {
        name: group.name.to_owned(),
        uuid: group.uuid("id")?,
        seqno: group.number("seqno")?,
        system_id: text("system_id").map(str::to_owned),
        lock_type: text("lock_type").map(str::to_owned),
        status,
        tags: group.list_or_empty("tags")?,
        extent_sectors,
        pvs: Vec::new(),
        lvs: Vec::new(),
        conflicts: Vec::new(),
        silent: Vec::new(),
    })
}

fn parse_pv(pv: &Entries<'_>) -> Result<PhysicalVolume, GroupError> {
    // In "flags" since 2.02; older versions put it with the status.
    let mut words = pv.list("status")?;
    words.extend(pv.list_or_empty("flags")?);
    Ok(PhysicalVolume {
        uuid: pv.uuid("id")?,
        hint: pv.optional_text("device").map(str::to_owned),
        disk: None,
        array: None,
        is_missing: words.iter().any(|word| word == "MISSING"),
        data_start: pv.number("pe_start")?,
        extents: u64::from(pv.small("pe_count")?),
    })
}

/// Whether it is a part of something is not known yet.
fn parse_lv(
    lv: &Entries<'_>,
    names: &Names<'_>,
    group_writable: bool,
) -> Result<LogicalVolume, GroupError> {
    if !is_name(lv.name) {
        return Err(nonsense(
            "logical_volumes",
            "the name of a volume is not allowed",
        ));
    }
    let (status, compatible) = (lv.list("status")?, lv.list_or_empty("flags")?);
    let has = |wanted: &str| status.iter().chain(&compatible).any(|word| word == wanted);
    let sections = lv.section.iter();
    let sections = sections.filter(|(_, value)| matches!(value, Value::Section(_)));
    let count = lv.number("segment_count")?;
    if sections.count() as u64 != count || count == 0 {
        return Err(nonsense(lv.name, "it has not as many segments as it says"));
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut next = 0;
    for index in 1..=count {
        let name = format!("segment{index}");
        let Some(Value::Section(section)) = lv.section.get(name.as_str()) else {
            return Err(nonsense(lv.name, "it has not as many segments as it says"));
        };
        let entries = Entries {
            name: &name,
            section,
        };
        let segment = Segment::parse(lv.name, &entries, names)?;
        if segment.start != next {
            return Err(nonsense(lv.name, "its segments leave gaps or overlap"));
        }
        next += segment.extents;
        if next > u64::from(u32::MAX) {
            return Err(nonsense(lv.name, "its segments are longer than any disk"));
        }
        if !segments.last_mut().is_some_and(|last| last.merge(&segment)) {
            segments.push(segment);
        }
    }
    let tags = lv.list_or_empty("tags")?;
    Ok(LogicalVolume {
        name: lv.name.to_owned(),
        uuid: lv.uuid("id")?,
        is_visible: has("VISIBLE"),
        // WRITE_LOCKED is what lvm2 writes for versions that must not write.
        is_writable: group_writable && (has("WRITE") || has("WRITE_LOCKED")),
        flags: Flags::new(&status, &compatible),
        is_lost: tags.iter().any(|tag| tag == LOST_TAG),
        is_behind: tags.iter().any(|tag| tag == BEHIND_TAG),
        is_unsure: tags.iter().any(|tag| tag == UNSURE_TAG),
        segments,
    })
}

/// Every stretch lies within what it is on, and no two share an extent of a disk.
fn check_places(group: &VolumeGroup) -> Result<(), GroupError> {
    let mut taken: Vec<(usize, u64, u64, usize)> = Vec::new();
    for (index, lv) in group.lvs.iter().enumerate() {
        for segment in &lv.segments {
            let (areas, length) = segment.areas();
            for area in areas {
                let (extent, room) = match *area {
                    Area::Pv { pv, extent } => {
                        taken.push((pv, extent, extent + length, index));
                        (extent, group.pvs[pv].extents)
                    }
                    Area::Lv { lv, extent } => (extent, group.lvs[lv].extents()),
                };
                if extent + length > room {
                    return Err(nonsense(&lv.name, "a stretch goes beyond what it is on"));
                }
            }
        }
    }
    taken.sort_unstable();
    for pair in taken.windows(2) {
        if let [(pv, _, end, _), (other, start, _, lv)] = pair
            && pv == other
            && start < end
        {
            let name = &group.lvs[*lv].name;
            return Err(nonsense(name, "it has extents of another volume"));
        }
    }
    Ok(())
}
