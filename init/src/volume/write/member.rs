//! One disk of the group: its areas, and the steps by which a text becomes the current one there.
//!
//! A step on a disk is a step on all areas in use of that disk, and fails when one of them does.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};

use super::super::area::{self, Header, Location};
use super::super::edit::Stretch;
use super::super::label::{self, Area};
use super::super::uuid::Uuid;
use super::error::{Failure, Phase};
use super::medium::{self, Medium};
use super::ring::Ring;
use crate::sync::lock;

/// Bytes that are zeroed by one write.
const ZEROES: usize = 1 << 20;

/// Texts that were read: of the same text on a hundred disks one is kept.
pub(super) type Texts = Mutex<HashSet<Arc<str>>>;

/// A disk with its metadata areas.
pub(super) struct Member<M> {
    /// The kernel's name.
    pub disk: String,
    medium: M,
    /// The label's uuid; `None` on a disk without a label.
    pub pv: Option<Uuid>,
    pub areas: Vec<MetadataArea>,
}

/// An area as it was found.
pub(super) struct MetadataArea {
    /// With the size that its own header gives, where that is whole.
    pub area: Area,
    pub content: Content,
    /// Where the current text is, whole or not.
    current: Option<Location>,
    /// Where the next one goes, once it is chosen.
    next: Option<Location>,
}

/// What an area holds.
pub(super) enum Content {
    /// It is not kept up to date: left alone.
    Ignored,
    /// Nothing yet.
    Empty,
    /// A text with a right checksum.
    Text(Arc<str>),
    /// Something that is none.
    Broken,
}

impl MetadataArea {
    /// Whether the group's metadata belong there.
    pub fn is_in_use(&self) -> bool {
        !matches!(self.content, Content::Ignored)
    }
}

impl<M: Medium> Member<M> {
    /// Reads the label, the headers and the texts.
    pub fn read(disk: String, mut medium: M, texts: &Texts) -> Result<Member<M>, Failure> {
        let found = read_areas(&mut medium, texts);
        match found {
            Ok((pv, areas)) => Ok(Member {
                disk,
                medium,
                pv,
                areas,
            }),
            Err(source) => Err(Failure {
                disk,
                phase: Phase::Read,
                source,
            }),
        }
    }

    /// Areas that the group's metadata belong to.
    pub fn in_use(&self) -> impl Iterator<Item = &MetadataArea> {
        self.areas.iter().filter(|area| area.is_in_use())
    }

    /// Chooses where the text goes. Nothing is written.
    pub fn choose(&mut self, text: &[u8]) -> Result<(), (u64, super::ring::TooLarge)> {
        let block = self.medium.block() as u64;
        for area in self.areas.iter_mut().filter(|area| area.is_in_use()) {
            let ring = Ring {
                size: area.area.size,
                block,
            };
            let current = area.current.map(|at| (at.offset(), at.length()));
            let length = text.len() as u64;
            let offset = ring.place(current, length);
            let offset = offset.map_err(|error| (area.area.start, error))?;
            area.next = Some(Location::new(area.area, offset, text));
        }
        Ok(())
    }

    /// Puts the text where nothing is current, flushes it and reads it back. No reader sees it yet.
    pub fn write_text(&mut self, text: &[u8]) -> Result<(), Failure> {
        for index in 0..self.areas.len() {
            let Some(next) = self.areas[index].next else {
                continue;
            };
            let mut rest = text;
            for stretch in next.stretches() {
                let (part, tail) = rest.split_at(stretch.size as usize);
                rest = tail;
                if part.is_empty() {
                    continue;
                }
                // Old text up to the end of the sector goes, as lvm2 does it.
                let mut bytes = part.to_vec();
                bytes.resize(part.len().next_multiple_of(area::HEADER), 0);
                let end = self.areas[index].area.start + self.areas[index].area.size;
                let room = (end - stretch.start) as usize;
                bytes.truncate(room.max(part.len()));
                let wrote = medium::write_bytes(&mut self.medium, stretch.start, &bytes);
                self.failed(Phase::WriteText, wrote)?;
            }
        }
        let flushed = self.medium.flush();
        self.failed(Phase::FlushText, flushed)?;
        for index in 0..self.areas.len() {
            let Some(next) = self.areas[index].next else {
                continue;
            };
            let back = read_text(&mut self.medium, &next);
            let same = back.and_then(|back| match back == text {
                true => Ok(()),
                false => Err(differs()),
            });
            self.failed(Phase::ReadText, same)?;
        }
        Ok(())
    }

    /// Makes the text the current one: one sector for each area, flushed and read back.
    pub fn write_header(&mut self) -> Result<(), Failure> {
        for index in 0..self.areas.len() {
            let area = &self.areas[index];
            let Some(next) = area.next else {
                continue;
            };
            let header = Header {
                area: area.area,
                is_ignored: false,
                current: Some(next),
            };
            let start = header.area.start;
            let wrote = medium::write_bytes(&mut self.medium, start, &header.sector());
            self.failed(Phase::WriteHeader, wrote)?;
            // One after the other, so that of two areas on a disk one is whole at any time.
            let flushed = self.medium.flush();
            self.failed(Phase::FlushHeader, flushed)?;
            let back = medium::read(&mut self.medium, start, area::HEADER);
            let same = back.and_then(|back| match back == header.sector() {
                true => Ok(()),
                false => Err(differs()),
            });
            self.failed(Phase::ReadHeader, same)?;
            self.areas[index].current = Some(next);
        }
        Ok(())
    }

    /// Fills stretches with zeroes and flushes.
    pub fn zero(&mut self, stretches: &[Stretch]) -> Result<(), Failure> {
        for stretch in stretches {
            let mut done = 0;
            while done < stretch.bytes {
                let part = (stretch.bytes - done).min(ZEROES as u64);
                let zeroes = vec![0; part as usize];
                let wrote = medium::write_bytes(&mut self.medium, stretch.start + done, &zeroes);
                self.failed(Phase::Zero, wrote)?;
                done += part;
            }
        }
        if stretches.is_empty() {
            return Ok(());
        }
        let flushed = self.medium.flush();
        self.failed(Phase::Zero, flushed)
    }

    /// Whether the header of every area in use names the new text, as far as can be read.
    pub fn has_new_header(&mut self) -> bool {
        let medium = &mut self.medium;
        self.areas
            .iter()
            .filter(|area| area.is_in_use())
            .all(|area| {
                let header = medium::read(medium, area.area.start, area::HEADER);
                header.is_ok_and(|header| {
                    let header = Header::parse(area.area, &header);
                    header.is_ok_and(|header| header.current == area.next)
                })
            })
    }

    fn failed(&self, phase: Phase, outcome: io::Result<()>) -> Result<(), Failure> {
        outcome.map_err(|source| Failure {
            disk: self.disk.clone(),
            phase,
            source,
        })
    }
}

/// What was written is not what is read back.
fn differs() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not what was written")
}

fn read_areas(
    medium: &mut impl Medium,
    texts: &Texts,
) -> io::Result<(Option<Uuid>, Vec<MetadataArea>)> {
    let bytes = medium::read(medium, 0, label::SCANNED)?;
    let invalid = |error: label::LabelError| io::Error::new(io::ErrorKind::InvalidData, error);
    let Some(label) = label::find(&bytes).map_err(invalid)? else {
        return Ok((None, Vec::new()));
    };
    let mut areas = Vec::new();
    for area in label.areas {
        areas.push(read_area(medium, area, texts)?);
    }
    Ok((Some(label.uuid), areas))
}

fn read_area(medium: &mut impl Medium, area: Area, texts: &Texts) -> io::Result<MetadataArea> {
    let found = |area, content, current| MetadataArea {
        area,
        content,
        current,
        next: None,
    };
    let bytes = medium::read(medium, area.start, area::HEADER)?;
    let Ok(header) = Header::parse(area, &bytes) else {
        return Ok(found(area, Content::Broken, None));
    };
    let area = header.area;
    if header.is_ignored {
        return Ok(found(area, Content::Ignored, None));
    }
    let Some(current) = header.current else {
        return Ok(found(area, Content::Empty, None));
    };
    let bytes = read_text(medium, &current)?;
    let content = match current.text(bytes) {
        Err(_) => Content::Broken,
        Ok(text) => {
            let mut texts = lock(texts);
            let known = texts.get(text.as_str()).cloned();
            Content::Text(known.unwrap_or_else(|| {
                let text: Arc<str> = text.into();
                texts.insert(text.clone());
                text
            }))
        }
    };
    Ok(found(area, content, Some(current)))
}

fn read_text(medium: &mut impl Medium, location: &Location) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for stretch in location.stretches() {
        if stretch.size > 0 {
            // At most area::MOST_TEXT, which fits.
            let length = usize::try_from(stretch.size).unwrap_or(usize::MAX);
            bytes.extend(medium::read(medium, stretch.start, length)?);
        }
    }
    Ok(bytes)
}
