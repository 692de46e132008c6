//! Which extents of the members are free, and taking some.

use super::super::text::{Section, Value};
use super::super::uuid::Uuid;
use super::super::write::{Metadata, id_of};
use super::tree;
use super::{EditError, Stretch};

const SECTOR: u64 = 512;

/// Free extents of all members that new ones may be taken from.
pub(super) struct Space {
    rooms: Vec<Room>,
}

struct Room {
    /// What the text calls the member: `pv0`.
    name: String,
    pv: Uuid,
    /// Where extent 0 begins, in sectors.
    data_start: u64,
    extent_sectors: u64,
    /// First extents and lengths, ascending, with gaps between them.
    free: Vec<(u64, u64)>,
    is_open: bool,
}

/// Extents of one member in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub member: String,
    pub start: u64,
    pub extents: u64,
}

/// The extents of a member that segments have, as first extent and length.
pub(super) fn taken(metadata: &Metadata, member: &str) -> Vec<(u64, u64)> {
    let mut taken = Vec::new();
    for (_, volume) in metadata.volumes() {
        for segment in tree::segments(volume) {
            let length = tree::number(segment, "extent_count").unwrap_or(0);
            let length = match tree::word(segment, "type") {
                Some("striped") => {
                    length / tree::number(segment, "stripe_count").unwrap_or(1).max(1)
                }
                _ => length,
            };
            for (_, value) in segment {
                let Value::List(list) = value else { continue };
                for pair in list.windows(2) {
                    if let [Value::Text(name), Value::Number(start)] = pair
                        && name == member
                        && let Ok(start) = u64::try_from(*start)
                    {
                        taken.push((start, length));
                    }
                }
            }
        }
    }
    taken.sort_unstable();
    taken
}

/// The same of all members.
pub(super) fn taken_on_all(metadata: &Metadata) -> Vec<(Uuid, Vec<(u64, u64)>)> {
    let members = metadata.members();
    members
        .filter_map(|(name, section)| Some((id_of(section)?, taken(metadata, name))))
        .collect()
}

/// Whether a stretch lies in extents that are taken now and were not before. Extent 0 begins at this sector.
pub(super) fn is_new(
    stretch: &Stretch,
    data_start: u64,
    extent_sectors: u64,
    before: &[(Uuid, Vec<(u64, u64)>)],
    now: &[(Uuid, Vec<(u64, u64)>)],
) -> bool {
    let extent = extent_sectors.saturating_mul(SECTOR);
    let Some(start) = stretch.start.checked_sub(data_start.saturating_mul(SECTOR)) else {
        return false;
    };
    let (first, end) = (
        start / extent,
        start.saturating_add(stretch.bytes).div_ceil(extent),
    );
    let of = |all: &[(Uuid, Vec<(u64, u64)>)]| {
        let own = all.iter().filter(|(pv, _)| *pv == stretch.pv);
        let own: Vec<(u64, u64)> = own.flat_map(|(_, taken)| taken.iter().copied()).collect();
        own
    };
    let was_taken = of(before)
        .iter()
        .any(|(begin, length)| *begin < end && first < begin.saturating_add(*length));
    // In ascending order, and no two overlap.
    let mut covered = first;
    for (begin, length) in of(now) {
        if begin <= covered {
            covered = covered.max(begin.saturating_add(length));
        }
    }
    !was_taken && covered >= end
}

impl Space {
    /// What is free on members that are here, take new extents, and are none of `avoid`.
    pub fn of(metadata: &Metadata, avoid: &[String]) -> Result<Space, EditError> {
        let extent_sectors = tree::number(&metadata.body, "extent_size").unwrap_or(0);
        let room = |(name, section): (&str, &Section)| {
            let malformed =
                EditError::Malformed("a physical volume lacks its identity or its size");
            let (Some(pv), Some(data_start), Some(extents)) = (
                id_of(section),
                tree::number(section, "pe_start"),
                tree::number(section, "pe_count"),
            ) else {
                return Err(malformed);
            };
            let mut free = Vec::new();
            let mut next = 0;
            for (start, length) in taken(metadata, name) {
                if start > next {
                    free.push((next, start - next));
                }
                next = next.max(start.saturating_add(length));
            }
            if extents > next {
                free.push((next, extents - next));
            }
            let missing = ["flags", "status"];
            let missing = missing.iter().any(|key| tree::has(section, key, "MISSING"));
            let is_open = tree::has(section, "status", "ALLOCATABLE")
                && !missing
                && !avoid.iter().any(|known| known == name);
            Ok(Room {
                name: name.to_owned(),
                pv,
                data_start,
                extent_sectors,
                free,
                is_open,
            })
        };
        let rooms: Result<Vec<Room>, EditError> = metadata.members().map(room).collect();
        Ok(Space { rooms: rooms? })
    }

    /// Extents anywhere: in one piece if there is one, else in the first ones that there are.
    pub fn anywhere(&mut self, extents: u64) -> Result<Vec<Piece>, EditError> {
        let whole = self.open().find(|room| room.fits(extents));
        if let Some(room) = whole {
            return Ok(room.take(extents));
        }
        let free = self.free();
        if free < extents {
            return Err(EditError::NoSpace {
                wanted: extents,
                how: "anywhere",
                free,
            });
        }
        let mut pieces = Vec::new();
        let mut wanted = extents;
        for room in self.open() {
            let part = wanted.min(room.total());
            if part > 0 {
                pieces.extend(room.take(part));
                wanted -= part;
            }
        }
        Ok(pieces)
    }

    /// For each of `count` legs, on a member of its own, extents for each of its parts.
    pub fn apart(
        &mut self,
        count: usize,
        parts: &[u64],
    ) -> Result<Vec<Vec<Vec<Piece>>>, EditError> {
        let each: u64 = parts.iter().sum();
        let chosen: Vec<&mut Room> = {
            let (whole, split): (Vec<_>, Vec<_>) = self
                .open()
                .filter(|room| room.total() >= each)
                .partition(|room| room.fits(each));
            whole.into_iter().chain(split).take(count).collect()
        };
        if chosen.len() < count {
            let free = chosen.len() as u64 * each;
            return Err(EditError::NoSpace {
                wanted: count as u64 * each,
                how: "on members of their own",
                free,
            });
        }
        let legs = chosen.into_iter();
        Ok(legs
            .map(|room| parts.iter().map(|part| room.take(*part)).collect())
            .collect())
    }

    /// Extents on one member.
    pub fn on(&mut self, member: &str, extents: u64) -> Option<Vec<Piece>> {
        let room = self.open().find(|room| room.name == member)?;
        (room.total() >= extents).then(|| room.take(extents))
    }

    /// Members with room for so many extents, by the names that they have in the text.
    pub fn with_room(&mut self, extents: u64) -> Vec<String> {
        let rooms = self.open().filter(|room| room.total() >= extents);
        rooms.map(|room| room.name.clone()).collect()
    }

    /// Extents in one piece that begins at a multiple of so many bytes, on the first member that has such a one.
    pub fn whole(&mut self, extents: u64, align: u64) -> Option<Piece> {
        self.open().find_map(|room| room.take_whole(extents, align))
    }

    /// The bytes of a piece, at most so many.
    pub fn stretch(&self, piece: &Piece, most: u64) -> Option<Stretch> {
        let room = self.rooms.iter().find(|room| room.name == piece.member)?;
        let extent = room.extent_sectors.checked_mul(SECTOR)?;
        let start = room.data_start.checked_mul(SECTOR)?;
        Some(Stretch {
            pv: room.pv,
            start: piece.start.checked_mul(extent)?.checked_add(start)?,
            bytes: piece.extents.saturating_mul(extent).min(most),
        })
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Room> {
        self.rooms.iter_mut().filter(|room| room.is_open)
    }

    fn free(&mut self) -> u64 {
        self.open().map(|room| room.total()).sum()
    }
}

impl Room {
    fn total(&self) -> u64 {
        self.free.iter().map(|(_, length)| length).sum()
    }

    fn fits(&self, extents: u64) -> bool {
        self.free.iter().any(|(_, length)| *length >= extents)
    }

    fn take_whole(&mut self, extents: u64, align: u64) -> Option<Piece> {
        let extent = self.extent_sectors.checked_mul(SECTOR)?;
        let first = self.data_start.checked_mul(SECTOR)?;
        let is_aligned = |start: u64| {
            let start = start
                .checked_mul(extent)
                .and_then(|at| at.checked_add(first));
            start.is_some_and(|start| start.is_multiple_of(align))
        };
        let (index, start) = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, (_, length))| *length >= extents)
            .find_map(|(index, (start, length))| {
                // Alignment comes again after so many extents, if at all.
                let last = (start + length - extents).min(start.saturating_add(align / SECTOR));
                let start = (*start..=last).find(|start| is_aligned(*start))?;
                Some((index, start))
            })?;
        let (begin, length) = self.free.remove(index);
        let (end, taken) = (begin + length, start + extents);
        let rest = [(begin, start - begin), (taken, end - taken)];
        let rest = rest.into_iter().filter(|(_, length)| *length > 0);
        self.free.splice(index..index, rest);
        Some(Piece {
            member: self.name.clone(),
            start,
            extents,
        })
    }

    /// Extents that are known to be there: the first stretch that holds all of them, or else the first ones.
    fn take(&mut self, extents: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut wanted = extents;
        while wanted > 0 {
            let whole = self.free.iter().position(|(_, length)| *length >= wanted);
            let index = whole.unwrap_or(0);
            let Some((start, length)) = self.free.get_mut(index) else {
                break;
            };
            let part = wanted.min(*length);
            pieces.push(Piece {
                member: self.name.clone(),
                start: *start,
                extents: part,
            });
            (*start, *length) = (*start + part, *length - part);
            if *length == 0 {
                self.free.remove(index);
            }
            wanted -= part;
        }
        pieces
    }
}
