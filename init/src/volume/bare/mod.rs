//! Bare disks: whether one is bare at all, and making a physical volume of it.
//!
//! A disk with anything recognisable on it is never written to unless the operator says so: then what was recognised goes
//! first, all of it, so that nobody recognises half of it later.

use std::io;

use super::area::Header;
use super::edit::NewMember;
use super::label::{self, Area};
use super::uuid::Uuid;
use super::write::Medium;

mod signature;

pub use signature::{Found, recognise};

const SECTOR: u64 = 512;
/// Where lvm2 puts the area: behind the label, at a page.
const AREA_START: u64 = 4096;
/// Where lvm2 has the first extent by default, behind one area.
const DATA_START: u64 = 1 << 20;
/// What a wipe overwrites at both ends of a disk: every place where [`recognise`] looks is within it.
const WIPED: u64 = 3 << 20;

/// Why a disk does not become a physical volume.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// Something is on it.
    #[error("{disk}: has {}: wipe it if that is to be lost", names(.found))]
    NotBare {
        /// The kernel's name of the disk.
        disk: String,
        /// What.
        found: Vec<Found>,
    },
    /// It cannot hold label, metadata and an extent.
    #[error("{disk}: has {bytes} bytes, which is too small")]
    Small {
        /// The kernel's name of the disk.
        disk: String,
        /// Its size.
        bytes: u64,
    },
    /// It fails.
    #[error("{disk}: {step}: {source}")]
    Io {
        /// The kernel's name of the disk.
        disk: String,
        /// What was done.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn names(found: &[Found]) -> String {
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// A disk that is to become a physical volume.
pub struct BareDisk<'a, M> {
    /// The kernel's name.
    pub name: &'a str,
    /// What it is called in the metadata, for people.
    pub device: &'a str,
    /// Its size.
    pub bytes: u64,
    /// The disk.
    pub medium: &'a mut M,
}

impl<M: Medium> BareDisk<'_, M> {
    /// Fails when anything is on it.
    ///
    /// # Errors
    /// What is on it, or the disk's.
    pub fn check(&mut self) -> Result<(), BareError> {
        self.is_large_enough()?;
        let (bytes, block) = (self.bytes, self.medium.block());
        let medium = &mut *self.medium;
        let found = recognise(bytes, block, &mut |offset, length| {
            medium.read(offset, length)
        });
        match self.io("looking what is on it", found)? {
            found if found.is_empty() => Ok(()),
            found => Err(BareError::NotBare {
                disk: self.name.to_owned(),
                found,
            }),
        }
    }

    /// Fails when it is too small, whatever is on it.
    ///
    /// # Errors
    /// That it is.
    pub fn is_large_enough(&self) -> Result<(), BareError> {
        match self.bytes < 2 * WIPED {
            true => Err(BareError::Small {
                disk: self.name.to_owned(),
                bytes: self.bytes,
            }),
            false => Ok(()),
        }
    }

    /// What it will be as a member.
    pub fn member(&self, id: Uuid) -> NewMember {
        NewMember {
            id,
            device: self.device.to_owned(),
            sectors: self.bytes / SECTOR,
            data_start: DATA_START / SECTOR,
        }
    }

    /// Overwrites whatever may be recognised, and looks again.
    ///
    /// # Errors
    /// Something is there still, or the disk's.
    pub fn wipe(&mut self) -> Result<(), BareError> {
        if self.bytes >= 2 * WIPED {
            let zeroes = vec![0; WIPED as usize];
            let block = self.medium.block() as u64;
            let last = (self.bytes - WIPED) / block * block;
            // The far end first: what is left of a wipe that is cut off is still recognised at the near one.
            for start in [last, 0] {
                let wrote = self.medium.write(start, &zeroes);
                self.io("wiping it", wrote)?;
                let flushed = self.medium.flush();
                self.io("wiping it", flushed)?;
            }
            let rest = self.bytes - last - WIPED;
            let rest = rest / block * block;
            if rest > 0 {
                let wrote = self.medium.write(last + WIPED, &zeroes[..rest as usize]);
                self.io("wiping it", wrote)?;
            }
        }
        self.check()
    }

    /// Makes it a physical volume with one empty metadata area, as `pvcreate` does; the label comes last.
    ///
    /// # Errors
    /// Something is on it, or the disk's.
    pub fn make(&mut self, id: Uuid) -> Result<NewMember, BareError> {
        self.check()?;
        let area = Area {
            start: AREA_START,
            size: DATA_START - AREA_START,
        };
        let header = Header {
            area,
            is_ignored: false,
            current: None,
        };
        let label = label::sector(1, &id, self.bytes, DATA_START, area);
        for (start, sector) in [(area.start, header.sector()), (SECTOR, label)] {
            let wrote = super::write::write_bytes(self.medium, start, &sector);
            self.io("writing the label", wrote)?;
            let flushed = self.medium.flush();
            self.io("writing the label", flushed)?;
        }
        Ok(self.member(id))
    }

    fn io<T>(&self, step: &'static str, outcome: io::Result<T>) -> Result<T, BareError> {
        outcome.map_err(|source| BareError::Io {
            disk: self.name.to_owned(),
            step,
            source,
        })
    }
}

#[cfg(test)]
mod tests;
