//! From a kind of volume to its segments and its hidden parts, as lvm2 exports them (`lib/striped`, `lib/raid`).

use std::fmt;

use super::super::text::{Section, Value};
use super::space::{Piece, Space};
use super::tree::{self, text, texts, value};
use super::{Edit, EditError};

/// lvm2's default: 64 KiB, in sectors.
const CHUNK: u64 = 128;
/// lvm2's default size of a region of RAID: 2 MiB, in sectors.
const REGION: u64 = 4096;
/// The kernel's limit (`validate_region_size` of dm-raid.c, for MD's bitmap): a region is no smaller than this part of a volume.
const MOST_REGIONS: u64 = 1 << 21;
/// The largest region, in sectors: the kernel has its bytes in an `int` (`raid_preresume` of dm-raid.c).
pub(super) const MOST_REGION: u64 = 1 << 21;
/// Zeroed at the start of new data, so that nothing of an earlier life is recognised there.
const FRESH: u64 = 256 << 10;

/// How a volume lies on the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One extent after the other.
    Linear,
    /// Chunks in turn on so many members.
    Striped(u64),
    /// RAID of so many images, each on a member of its own.
    Raid(Raid, u64),
}

/// A level of RAID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raid {
    /// Stripes, by the RAID code.
    Raid0,
    /// Mirrors.
    Raid1,
    /// One parity, rotating left, symmetric.
    Raid5,
    /// Two parities.
    Raid6,
    /// Stripes over pairs of mirrors.
    Raid10,
}

impl Raid {
    /// All of them.
    pub const ALL: [Raid; 5] = [
        Raid::Raid0,
        Raid::Raid1,
        Raid::Raid5,
        Raid::Raid6,
        Raid::Raid10,
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Raid::Raid0 => "raid0",
            Raid::Raid1 => "raid1",
            Raid::Raid5 => "raid5",
            Raid::Raid6 => "raid6",
            Raid::Raid10 => "raid10",
        }
    }

    /// The type that the text gives.
    pub fn kind(self) -> &'static str {
        match self {
            Raid::Raid0 => "raid0",
            Raid::Raid1 => "raid1",
            Raid::Raid5 => "raid5_ls",
            Raid::Raid6 => "raid6_zr",
            Raid::Raid10 => "raid10",
        }
    }

    /// The fewest images, as lvm2 has it.
    pub fn fewest(self) -> u64 {
        match self {
            Raid::Raid0 | Raid::Raid1 => 2,
            Raid::Raid5 => 3,
            Raid::Raid6 => 5,
            Raid::Raid10 => 4,
        }
    }

    /// How many images' worth of data there are in so many images.
    pub fn data(self, images: u64) -> u64 {
        match self {
            Raid::Raid0 => images,
            Raid::Raid1 => 1,
            Raid::Raid5 => images.saturating_sub(1),
            Raid::Raid6 => images.saturating_sub(2),
            Raid::Raid10 => images / 2,
        }
    }

    /// Extents that each image's bitmap is of, in a volume of so many in all, and so many in each image: MD's of raid10 is of the volume
    /// (`resync_max_sectors`). lvm2 reckons with an image there too, and has too little room for it where extents are small.
    pub(super) fn mapped(self, volume: u64, image: u64) -> u64 {
        match self {
            Raid::Raid10 => volume,
            _ => image,
        }
    }

    /// The level of a segment's type, with its layouts.
    pub(super) fn of_kind(kind: &str) -> Option<Raid> {
        match kind {
            "raid0" | "raid0_meta" => Some(Raid::Raid0),
            "raid1" => Some(Raid::Raid1),
            "raid10" | "raid10_near" => Some(Raid::Raid10),
            _ if kind == "raid4" || kind.starts_with("raid5") => Some(Raid::Raid5),
            _ if kind.starts_with("raid6") => Some(Raid::Raid6),
            _ => None,
        }
    }
}

impl Layout {
    /// The extents come in multiples of this.
    pub fn multiple(self) -> u64 {
        match self {
            Layout::Linear => 1,
            Layout::Striped(stripes) => stripes,
            Layout::Raid(level, images) => level.data(images),
        }
    }

    /// How many members it takes at least.
    pub fn disks(self) -> u64 {
        match self {
            Layout::Linear => 1,
            Layout::Striped(stripes) => stripes,
            Layout::Raid(_, images) => images,
        }
    }

    /// Mirrors that outlive the loss of as many disks, whichever: for what is small, and without which this is of no use.
    pub fn mirrors(self) -> Layout {
        let images = match self {
            Layout::Linear | Layout::Striped(_) | Layout::Raid(Raid::Raid0, _) => {
                return Layout::Linear;
            }
            Layout::Raid(Raid::Raid1, images) => images,
            Layout::Raid(Raid::Raid5 | Raid::Raid10, _) => 2,
            Layout::Raid(Raid::Raid6, _) => 3,
        };
        Layout::Raid(Raid::Raid1, images)
    }

    pub(super) fn check(self) -> Result<(), EditError> {
        let size = |what: String| Err(EditError::Size(what));
        match self {
            Layout::Striped(stripes) if !(1..=128).contains(&stripes) => {
                size(format!("{stripes} stripes: from 1 to 128 are possible"))
            }
            Layout::Raid(level, images) if images < level.fewest() || images > 64 => size(format!(
                "{images} disks: {} takes from {} to 64",
                level.kind(),
                level.fewest()
            )),
            Layout::Raid(Raid::Raid10, images) if images % 2 != 0 => {
                size(format!("{images} disks: raid10 takes an even number"))
            }
            _ => Ok(()),
        }
    }
}

/// For a sentence.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Linear => f.write_str("linear"),
            Layout::Striped(stripes) => write!(f, "in stripes on {stripes} disks"),
            Layout::Raid(level, images) => write!(f, "{} on {images} disks", level.name()),
        }
    }
}

/// Extents of the metadata of one image, as lvm2 reckons (`_raid_rmeta_extents`): two superblocks and a bitmap, which is of so many
/// extents: see [`Raid::mapped`].
pub(super) fn meta_extents(mapped: u64, region: u64, extent: u64) -> u64 {
    let regions = mapped.saturating_mul(extent) / region.max(1);
    let bytes = 2 * 4096 + regions.div_ceil(8);
    bytes.div_ceil(512).div_ceil(extent.max(1))
}

/// The size of regions, in sectors, for a volume of so many: this one, or as many times twice that as the kernel wants. lvm2 does
/// the same when a volume grows (`_lv_extend_layered_lv`), and the kernel takes over what its bitmap says at the old size
/// (`raid_preresume` of dm-raid.c).
pub(super) fn region_for(region: u64, sectors: u64) -> u64 {
    let mut region = region.max(1);
    while region < sectors / MOST_REGIONS {
        region *= 2;
    }
    region
}

/// The same with a bitmap that fits into so many extents, if one does.
pub(super) fn region_with_room(region: u64, mapped: u64, room: u64, extent: u64) -> Option<u64> {
    let mut region = region;
    while meta_extents(mapped, region, extent) > room {
        region = region
            .checked_mul(2)
            .filter(|region| *region <= MOST_REGION)?;
    }
    Some(region)
}

/// A stretch that is on one member after the other.
pub(super) fn linear(start: u64, piece: &Piece) -> Section {
    tree::section([
        ("start_extent", value(start)),
        ("extent_count", value(piece.extents)),
        ("type", text("striped")),
        ("stripe_count", value(1)),
        (
            "stripes",
            Value::List(vec![text(&*piece.member), value(piece.start)]),
        ),
    ])
}

/// Pieces one behind the other, from this extent of the volume on.
pub(super) fn linears(mut start: u64, pieces: &[Piece]) -> Vec<Section> {
    let segment = |piece: &Piece| {
        let segment = linear(start, piece);
        start += piece.extents;
        segment
    };
    pieces.iter().map(segment).collect()
}

/// Stripes over legs; as many segments as it takes to have all legs in one piece in each.
pub(super) fn striped(mut start: u64, mut legs: Vec<Vec<Piece>>, chunk: u64) -> Vec<Section> {
    let mut segments = Vec::new();
    let count = legs.len() as u64;
    loop {
        let firsts = legs
            .iter()
            .map(|leg| leg.first().map(|piece| piece.extents));
        let Some(Some(length)) = firsts.min() else {
            return segments;
        };
        let mut stripes = Vec::new();
        for leg in &mut legs {
            let piece = &mut leg[0];
            stripes.extend([text(&*piece.member), value(piece.start)]);
            (piece.start, piece.extents) = (piece.start + length, piece.extents - length);
            if piece.extents == 0 {
                leg.remove(0);
            }
        }
        segments.push(tree::section([
            ("start_extent", value(start)),
            ("extent_count", value(length * count)),
            ("type", text("striped")),
            ("stripe_count", value(count)),
            ("stripe_size", value(chunk)),
            ("stripes", Value::List(stripes)),
        ]));
        start += length * count;
    }
}

impl Edit<'_> {
    /// Adds a volume with its hidden parts. `extents` is rounded up to what the layout can have.
    pub(super) fn build(
        &mut self,
        space: &mut Space,
        name: &str,
        is_visible: bool,
        extents: u64,
        layout: Layout,
    ) -> Result<u64, EditError> {
        layout.check()?;
        let multiple = layout.multiple();
        let extents = extents.checked_next_multiple_of(multiple).unwrap_or(0);
        if extents == 0 || extents > u64::from(u32::MAX) {
            return Err(EditError::Size(format!("{extents} extents are no size")));
        }
        let chunk = CHUNK.min(self.extent_sectors()?);
        let segments = match layout {
            Layout::Linear => {
                let pieces = space.anywhere(extents)?;
                self.zero_front(space, &pieces);
                linears(0, &pieces)
            }
            Layout::Striped(stripes) => {
                let legs = space.apart(stripes as usize, &[extents / stripes])?;
                let legs: Vec<Vec<Piece>> = legs.into_iter().flatten().collect();
                for leg in &legs {
                    self.zero_front(space, leg);
                }
                match &legs[..] {
                    [leg] => linears(0, leg),
                    _ => striped(0, legs, chunk),
                }
            }
            Layout::Raid(level, images) => {
                vec![self.raid(space, name, extents, level, images, chunk)?]
            }
        };
        self.add_volume(name, is_visible, segments);
        Ok(extents)
    }

    fn raid(
        &mut self,
        space: &mut Space,
        name: &str,
        extents: u64,
        level: Raid,
        images: u64,
        chunk: u64,
    ) -> Result<Section, EditError> {
        let extent = self.extent_sectors()?;
        let each = extents / level.data(images);
        let sectors = extents.saturating_mul(extent);
        let mut region = region_for(REGION, sectors);
        // Nor may one be larger than the volume, which small extents make possible.
        while region > sectors {
            region /= 2;
        }
        let has_meta = level != Raid::Raid0;
        let meta = if has_meta {
            meta_extents(level.mapped(extents, each), region, extent)
        } else {
            0
        };
        let legs = space.apart(images as usize, &[meta, each])?;
        let mut parts = Vec::new();
        for (index, leg) in legs.iter().enumerate() {
            let [meta, data] = &leg[..] else { continue };
            if has_meta {
                let part = format!("{name}_rmeta_{index}");
                self.zero(space, meta, u64::MAX);
                self.add_volume(&part, false, linears(0, meta));
                parts.push(part);
            }
            let part = format!("{name}_rimage_{index}");
            self.zero_front(space, data);
            self.add_volume(&part, false, linears(0, data));
            parts.push(part);
        }
        let mut segment = tree::section([
            ("start_extent", value(0)),
            ("extent_count", value(extents)),
            ("type", text(level.kind())),
        ]);
        let mut put = |key: &str, value| segment.insert(key.to_owned(), value);
        if has_meta {
            put("device_count", value(images));
            if level == Raid::Raid10 {
                put("data_copies", value(2));
            }
            put("region_size", value(region));
        } else {
            put("stripe_count", value(images));
        }
        if level != Raid::Raid1 {
            put("stripe_size", value(chunk));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        put(if has_meta { "raids" } else { "raid0_lvs" }, texts(&parts));
        Ok(segment)
    }

    /// Adds a volume of these segments.
    pub(super) fn add_volume(&mut self, name: &str, is_visible: bool, segments: Vec<Section>) {
        let mut status = vec!["READ", "WRITE"];
        if is_visible {
            status.push("VISIBLE");
        }
        let mut volume = tree::section([
            ("id", text((self.uuids)().to_string())),
            ("status", texts(&status)),
            ("flags", texts(&[])),
            ("creation_time", value(self.time)),
            ("creation_host", text(self.host)),
            ("segment_count", value(segments.len() as u64)),
        ]);
        for (index, segment) in (1..).zip(segments) {
            volume.insert(format!("segment{index}"), Value::Section(segment));
        }
        let volumes = self.metadata.body.entry("logical_volumes".to_owned());
        let volumes = volumes.or_insert_with(|| Value::Section(Section::new()));
        if let Value::Section(volumes) = volumes {
            volumes.insert(name.to_owned(), Value::Section(volume));
        }
    }

    /// The first [`FRESH`] bytes of what these pieces make have to be zero: the first one may be shorter.
    fn zero_front(&mut self, space: &Space, pieces: &[Piece]) {
        let mut wanted = FRESH;
        for piece in pieces {
            let Some(stretch) = space.stretch(piece, wanted).filter(|_| wanted > 0) else {
                return;
            };
            wanted -= stretch.bytes;
            self.zeroes.push(stretch);
        }
    }

    /// The first bytes of each piece have to be zero.
    pub(super) fn zero(&mut self, space: &Space, pieces: &[Piece], most: u64) {
        let stretches = pieces.iter().filter_map(|piece| space.stretch(piece, most));
        self.zeroes.extend(stretches);
    }
}
