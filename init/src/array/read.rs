//! Reading an array on its members, without assembling it.
//!
//! A head that does not hold a pool may not assemble its arrays: the kernel would write their superblocks. It still has to
//! know whose the volume group on them is. What is read here is what the kernel would read: from a member that has it, or
//! computed from all others where that one is missing. After a crash of the owner copies and parity may disagree about
//! what was being written: what is read this way decides nothing, and is read again from the array after the claim.
//!
//! Of an array with a journal the last writes may be in the journal alone for a moment. They are looked for on the array,
//! once it runs.

use std::collections::BTreeMap;
use std::io;

use super::decision::{Decision, Slot};
use super::geometry::{Geometry, Kind};
use super::layout::Place;
use super::superblock::Features;
use super::syndrome::{Piece, one_by_p, one_by_q, one_of_two};
use super::{Array, Read};

/// Why bytes of an array cannot be read on its members.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A member fails.
    #[error("{disk}: {source}")]
    Io {
        /// The kernel's name of the disk.
        disk: String,
        /// Why.
        source: io::Error,
    },
    /// Striped over different numbers of members.
    #[error("a raid0 of members of different sizes is read only when it runs")]
    Zones,
    /// Too many are missing.
    #[error("sector {sector}: more members are missing than parity makes up for")]
    Lost {
        /// The sector of the array.
        sector: u64,
    },
    /// Beyond its end.
    #[error("beyond the end of the array")]
    End,
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> io::Error {
        match error {
            // A reservation conflict is still seen as one.
            ReadError::Io { source, .. } if source.raw_os_error().is_some() => source,
            ReadError::End => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            other => io::Error::other(other),
        }
    }
}

/// A member as it is read.
struct Source<'a> {
    disk: &'a str,
    /// First sector of its data.
    data_offset: u64,
    /// Its data end here, in sectors of the data.
    data_size: u64,
}

/// The array, as far as its fresh members have it.
pub struct ArrayReader<'a> {
    geometry: Geometry,
    sources: BTreeMap<u32, (usize, Source<'a>)>,
}

impl<'a> ArrayReader<'a> {
    /// For an array and what was decided of it.
    ///
    /// # Errors
    /// [`ReadError::Zones`].
    pub fn new(array: &'a Array, decision: &Decision) -> Result<ArrayReader<'a>, ReadError> {
        let mut sources = BTreeMap::new();
        for (slot, what) in decision.slots.iter().enumerate() {
            let Slot::Fresh(index) = *what else {
                continue;
            };
            let member = &array.members[index];
            // Which of its blocks are bad is in a list that is not read here: the others have them.
            if member.superblock.features.any(Features::BAD_BLOCKS) {
                continue;
            }
            let source = Source {
                disk: &member.disk.name,
                data_offset: member.superblock.data_offset,
                data_size: member.superblock.data_size,
            };
            sources.insert(slot as u32, (index, source));
        }
        let geometry = decision.geometry;
        let lengths: Vec<u64> = sources
            .values()
            .map(|(_, source)| source.data_size)
            .collect();
        if geometry.kind == Kind::Raid0 && Geometry::is_in_zones(geometry.chunk, &lengths) {
            return Err(ReadError::Zones);
        }
        Ok(ArrayReader { geometry, sources })
    }

    /// Length of the array in bytes.
    pub fn bytes(&self) -> u64 {
        self.geometry.sectors * 512
    }

    /// The same as if these members (places among the array's) were not there.
    #[must_use]
    pub fn without(mut self, members: &[usize]) -> ArrayReader<'a> {
        self.sources
            .retain(|_, (index, _)| !members.contains(index));
        self
    }

    /// Reads bytes of the array. `disk` reads those of a member, by its place among the array's members.
    ///
    /// # Errors
    /// What cannot be read, of which disk.
    pub fn read(
        &self,
        offset: u64,
        length: usize,
        disk: &mut dyn FnMut(usize, u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<Vec<u8>, ReadError> {
        let end = offset.checked_add(length as u64).ok_or(ReadError::End)?;
        if end > self.bytes() {
            return Err(ReadError::End);
        }
        let mut bytes = Vec::with_capacity(length);
        let mut at = offset;
        while at < end {
            let (sector, within) = (at / 512, at % 512);
            let run = self.geometry.run(sector).saturating_mul(512) - within;
            let count = run.min(end - at) as usize;
            bytes.extend(self.piece(sector, within, count, disk)?);
            at += count as u64;
        }
        Ok(bytes)
    }

    /// A [`Read`] of the array's bytes.
    pub fn reader<'r>(
        &'r self,
        disk: &'r mut dyn FnMut(usize, u64, usize) -> io::Result<Vec<u8>>,
    ) -> Box<Read<'r>> {
        Box::new(move |offset, length| Ok(self.read(offset, length, disk)?))
    }

    /// Bytes that are together on each member that has them.
    fn piece(
        &self,
        sector: u64,
        within: u64,
        count: usize,
        disk: &mut dyn FnMut(usize, u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<Vec<u8>, ReadError> {
        let mut from = |slot: u32, there: u64| {
            let (index, source) = self.sources.get(&slot)?;
            let end = there * 512 + within + count as u64;
            if end > source.data_size * 512 {
                return None;
            }
            let place = (source.data_offset + there) * 512 + within;
            Some(disk(*index, place, count).map_err(|error| ReadError::Io {
                disk: source.disk.to_owned(),
                source: error,
            }))
        };
        match self.geometry.place(sector) {
            Place::Copies(copies) => {
                let mut failure = ReadError::Lost { sector };
                for (slot, there) in copies {
                    match from(slot, there) {
                        Some(Ok(bytes)) => return Ok(bytes),
                        Some(Err(error)) => failure = error,
                        None => {}
                    }
                }
                Err(failure)
            }
            Place::Parity {
                data,
                pieces,
                p,
                q,
                sector: there,
            } => {
                let failure = match from(data, there) {
                    Some(Ok(bytes)) => return Ok(bytes),
                    Some(Err(error)) => error,
                    None => ReadError::Lost { sector },
                };
                let mut power = 0;
                let (mut others, mut missing) = (Vec::new(), Vec::new());
                for (slot, its) in pieces {
                    if slot == data {
                        power = its;
                        continue;
                    }
                    match from(slot, there) {
                        Some(Ok(bytes)) => others.push(Piece { power: its, bytes }),
                        _ => missing.push(its),
                    }
                }
                let mut parity = |slot: u32| from(slot, there)?.ok();
                let computed = match missing[..] {
                    [] => match (parity(p), q) {
                        (Some(p), _) => Some(one_by_p(&others, p)),
                        (None, Some(q)) => parity(q).map(|q| one_by_q(power, &others, q)),
                        (None, None) => None,
                    },
                    [other] => {
                        let parities = parity(p).zip(q.and_then(parity));
                        parities.map(|(p, q)| one_of_two(power, other, &others, p, q))
                    }
                    _ => None,
                };
                computed.ok_or(failure)
            }
        }
    }
}
