//! What the text metadata means: a volume group, its physical and logical volumes.
//!
//! From here on names are safe: whatever is not a valid name of LVM2 is refused before it can become part of a
//! path or of a device-mapper name.

use super::text::{Section, TextError, Value, parse};
use super::uuid::Uuid;
use crate::disk::Disk;

/// A volume group as the newest valid metadata describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Grows by one with each change of the metadata.
    pub seqno: u64,
    /// The host or cluster that it belongs to.
    pub system_id: Option<String>,
    /// `dlm`, `sanlock`: shared under a lock manager.
    pub lock_type: Option<String>,
    /// `RESIZEABLE`, `READ`, `WRITE`, `EXPORTED`, `CLUSTERED`.
    pub status: Vec<String>,
    /// Its tags, one of which may be the epoch of the last claim: see `write::stamp`.
    pub tags: Vec<String>,
    /// Size of an extent in sectors of 512 bytes.
    pub extent_sectors: u64,
    /// All members that the metadata name.
    pub pvs: Vec<PhysicalVolume>,
    /// All logical volumes, the hidden parts of others too.
    pub lvs: Vec<LogicalVolume>,
    /// What was wrong when the disks were read.
    pub conflicts: Vec<Conflict>,
}

/// A member of a volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolume {
    /// Its identity, as on its label.
    pub uuid: Uuid,
    /// What it was called where the metadata were written last. For messages only.
    pub hint: Option<String>,
    /// The disk with that label, if it is here.
    pub disk: Option<Disk>,
    /// Marked by an earlier owner as missing: its data are old.
    pub is_missing: bool,
    /// Where its first extent begins, in sectors.
    pub data_start: u64,
    /// Its extents.
    pub extents: u64,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// It is something to use, and no part of another volume.
    pub is_visible: bool,
    /// Writes are allowed.
    pub is_writable: bool,
    /// In order, without gaps.
    pub segments: Vec<Segment>,
}

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

/// Where a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// On one physical volume after the other; linear when there is one.
    Striped {
        /// Sectors on one before the next one's turn; zero when there is one.
        chunk_sectors: u64,
        /// The stripes.
        stripes: Vec<Stripe>,
    },
    /// Something that this firmware cannot activate: `raid1`, `thin-pool`, ...
    Other(String),
}

/// One stripe of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripe {
    /// Index into the group's physical volumes.
    pub pv: usize,
    /// The first extent there.
    pub extent: u64,
}

/// Something that only shows when all disks are seen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Two disks carry the label of the same physical volume.
    SamePv {
        /// One disk.
        one: String,
        /// The other one.
        other: String,
    },
    /// Two volume groups have the same name.
    SameName {
        /// The other one.
        other: Uuid,
    },
    /// Two disks carry different metadata of the same age.
    Disagreement {
        /// The age.
        seqno: u64,
    },
}

/// Why a text is no volume group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The syntax is wrong.
    #[error("metadata text, {0}")]
    Text(#[from] TextError),
    /// An entry is missing or has the wrong kind.
    #[error("metadata text, {section}: {name} is missing or no {kind}")]
    Entry {
        /// The section it should be in.
        section: String,
        /// Its name.
        name: &'static str,
        /// What it should be.
        kind: &'static str,
    },
    /// A value makes no sense.
    #[error("metadata text, {section}: {what}")]
    Nonsense {
        /// The section it is in.
        section: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// Whether LVM2 allows this as the name of a volume or a group.
pub fn is_name(name: &str) -> bool {
    let characters = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'_' | b'.' | b'-'));
    characters
        && (1..=127).contains(&name.len())
        && !name.starts_with('-')
        && !matches!(name, "." | "..")
}

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
        let group = Entries { name, section };
        if group
            .optional_text("format")
            .is_some_and(|format| format != "lvm2")
        {
            return Err(nonsense(name, "its format is not lvm2"));
        }
        let mut pvs = Vec::new();
        let mut pv_names = Vec::new();
        for pv in group.sections("physical_volumes")? {
            pv_names.push(pv.name);
            pvs.push(parse_pv(&pv)?);
        }
        let status = group.list("status")?;
        let writable = status.iter().any(|word| word == "WRITE");
        let mut lvs = Vec::new();
        // A group without volumes has no such section.
        if section.contains_key("logical_volumes") {
            for lv in group.sections("logical_volumes")? {
                lvs.push(parse_lv(&lv, &pv_names, &pvs, writable)?);
            }
        }
        // Whatever their order in the text: LUNs are numbered by name.
        lvs.sort_by(|a: &LogicalVolume, b| a.name.cmp(&b.name));
        let extent_sectors = group.number("extent_size")?;
        if extent_sectors == 0 || extent_sectors > u64::from(u32::MAX) {
            return Err(nonsense(name, "its extents have no possible size"));
        }
        let text = |key| group.optional_text(key).filter(|text| !text.is_empty());
        Ok(VolumeGroup {
            name: name.clone(),
            uuid: group.uuid()?,
            seqno: group.number("seqno")?,
            system_id: text("system_id").map(str::to_owned),
            lock_type: text("lock_type").map(str::to_owned),
            status,
            // A group without tags has no such entry.
            tags: group.list("tags").unwrap_or_default(),
            extent_sectors,
            pvs,
            lvs,
            conflicts: Vec::new(),
        })
    }

    /// The volumes to use, by name.
    pub fn visible(&self) -> impl Iterator<Item = &LogicalVolume> {
        self.lvs.iter().filter(|lv| lv.is_visible)
    }

    /// The disks of all members that are here; a claim needs all of them (see [`VolumeGroup::refusal`]).
    pub fn disks(&self) -> Vec<Disk> {
        self.pvs.iter().filter_map(|pv| pv.disk.clone()).collect()
    }

    /// The size of a volume in bytes.
    pub fn bytes_of(&self, lv: &LogicalVolume) -> u64 {
        lv.extents()
            .saturating_mul(self.extent_sectors)
            .saturating_mul(512)
    }
}

impl LogicalVolume {
    /// The length in extents.
    pub fn extents(&self) -> u64 {
        self.segments.iter().map(|segment| segment.extents).sum()
    }
}

fn nonsense(section: &str, what: &'static str) -> GroupError {
    GroupError::Nonsense {
        section: section.to_owned(),
        what,
    }
}

fn parse_pv(pv: &Entries<'_>) -> Result<PhysicalVolume, GroupError> {
    let (data_start, extents) = (pv.number("pe_start")?, pv.number("pe_count")?);
    Ok(PhysicalVolume {
        uuid: pv.uuid()?,
        hint: pv.optional_text("device").map(str::to_owned),
        disk: None,
        // In "flags" since 2.02; older versions put it with the status.
        is_missing: ["flags", "status"].iter().any(|key| {
            pv.list(key)
                .is_ok_and(|words| words.iter().any(|word| word == "MISSING"))
        }),
        data_start,
        extents,
    })
}

fn parse_lv(
    lv: &Entries<'_>,
    pv_names: &[&str],
    pvs: &[PhysicalVolume],
    group_writable: bool,
) -> Result<LogicalVolume, GroupError> {
    if !is_name(lv.name) {
        return Err(nonsense(
            "logical_volumes",
            "the name of a volume is not allowed",
        ));
    }
    let status = lv.list("status")?;
    let has = |wanted: &str| status.iter().any(|word| word == wanted);
    let count = lv.number("segment_count")?;
    let mut segments = Vec::new();
    let mut next = 0;
    for index in 1..=count {
        let name = format!("segment{index}");
        let Some(Value::Section(section)) = lv.section.get(&name) else {
            return Err(nonsense(lv.name, "it has fewer segments than it says"));
        };
        let entries = Entries {
            name: &name,
            section,
        };
        let segment = parse_segment(lv.name, &entries, pv_names, pvs)?;
        if segment.start != next || segment.extents == 0 {
            return Err(nonsense(lv.name, "its segments leave gaps or overlap"));
        }
        next = segment
            .start
            .checked_add(segment.extents)
            .ok_or_else(|| nonsense(lv.name, "its segments are longer than any disk"))?;
        segments.push(segment);
    }
    if segments.is_empty() {
        return Err(nonsense(lv.name, "it has no segment"));
    }
    Ok(LogicalVolume {
        name: lv.name.to_owned(),
        uuid: lv.uuid()?,
        is_visible: has("VISIBLE"),
        is_writable: group_writable && has("WRITE"),
        segments,
    })
}

fn parse_segment(
    lv: &str,
    entries: &Entries<'_>,
    pv_names: &[&str],
    pvs: &[PhysicalVolume],
) -> Result<Segment, GroupError> {
    let (start, extents) = (
        entries.number("start_extent")?,
        entries.number("extent_count")?,
    );
    let kind = entries.text("type")?;
    // "striped+FLAG" carries a flag that older versions must not ignore: nor must we.
    if kind != "striped" {
        let kind = SegmentKind::Other(kind.to_owned());
        return Ok(Segment {
            start,
            extents,
            kind,
        });
    }
    let Some(Value::List(list)) = entries.section.get("stripes") else {
        return Err(entries.missing("stripes", "list"));
    };
    let mut stripes = Vec::new();
    for pair in list.chunks(2) {
        let [Value::Text(name), Value::Number(extent)] = pair else {
            return Err(nonsense(
                lv,
                "its stripes are not pairs of a volume and an extent",
            ));
        };
        let pv = pv_names.iter().position(|known| known == name);
        // A stripe may also be on another logical volume, a hidden one.
        let (Some(pv), Ok(extent)) = (pv, u64::try_from(*extent)) else {
            let kind = SegmentKind::Other("striped over volumes".to_owned());
            return Ok(Segment {
                start,
                extents,
                kind,
            });
        };
        stripes.push(Stripe { pv, extent });
    }
    if stripes.len() as u64 != entries.number("stripe_count")? || stripes.is_empty() {
        return Err(nonsense(lv, "its stripes are not as many as it says"));
    }
    let count = stripes.len() as u64;
    if extents % count != 0 {
        return Err(nonsense(lv, "its stripes have no equal length"));
    }
    for stripe in &stripes {
        let end = stripe.extent.checked_add(extents / count);
        if end.is_none_or(|end| end > pvs[stripe.pv].extents) {
            return Err(nonsense(lv, "a stripe goes beyond its physical volume"));
        }
    }
    let chunk_sectors = match count {
        1 => 0,
        _ => entries.number("stripe_size")?,
    };
    if count > 1 && chunk_sectors == 0 {
        return Err(nonsense(lv, "its stripes have no size"));
    }
    let kind = SegmentKind::Striped {
        chunk_sectors,
        stripes,
    };
    Ok(Segment {
        start,
        extents,
        kind,
    })
}

/// A section with its name, for errors that say where.
struct Entries<'a> {
    name: &'a str,
    section: &'a Section,
}

impl<'a> Entries<'a> {
    fn missing(&self, name: &'static str, kind: &'static str) -> GroupError {
        GroupError::Entry {
            section: self.name.to_owned(),
            name,
            kind,
        }
    }

    fn number(&self, key: &'static str) -> Result<u64, GroupError> {
        match self.section.get(key) {
            Some(Value::Number(number)) => {
                u64::try_from(*number).map_err(|_| self.missing(key, "positive number"))
            }
            _ => Err(self.missing(key, "number")),
        }
    }

    fn optional_text(&self, key: &str) -> Option<&'a str> {
        match self.section.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn text(&self, key: &'static str) -> Result<&'a str, GroupError> {
        self.optional_text(key)
            .ok_or_else(|| self.missing(key, "text"))
    }

    fn uuid(&self) -> Result<Uuid, GroupError> {
        Uuid::from_text(self.text("id")?).ok_or_else(|| self.missing("id", "uuid"))
    }

    /// A list of words; a single word may stand without brackets.
    fn list(&self, key: &'static str) -> Result<Vec<String>, GroupError> {
        let word = |value: &Value| match value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.missing(key, "list of words")),
        };
        match self.section.get(key) {
            Some(Value::List(list)) => list.iter().map(word).collect(),
            Some(value) => Ok(vec![word(value)?]),
            None => Err(self.missing(key, "list of words")),
        }
    }

    fn sections(&self, key: &'static str) -> Result<Vec<Entries<'a>>, GroupError> {
        let Some(Value::Section(section)) = self.section.get(key) else {
            return Err(self.missing(key, "section"));
        };
        let sections = section.iter().map(|(name, value)| match value {
            Value::Section(section) => Ok(Entries { name, section }),
            _ => Err(nonsense(key, "it holds something else than sections")),
        });
        sections.collect()
    }
}
