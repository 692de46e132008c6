//! What can go wrong while metadata are written, and on which disk, in which step.

use std::fmt;
use std::io;

use super::super::uuid::Uuid;
use super::ring::TooLarge;

/// A step on one disk, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening it.
    Open,
    /// Reading the label, the headers and the texts.
    Read,
    /// Filling new volumes with zeroes.
    Zero,
    /// Putting the new text behind the current one.
    WriteText,
    /// Waiting until it is on the medium.
    FlushText,
    /// Reading it back.
    ReadText,
    /// Making it the current one.
    WriteHeader,
    /// Waiting until that is on the medium.
    FlushHeader,
    /// Reading that back.
    ReadHeader,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Open => "opening for writing",
            Phase::Read => "reading the metadata",
            Phase::Zero => "zeroing",
            Phase::WriteText => "writing the text",
            Phase::FlushText => "flushing the text",
            Phase::ReadText => "reading the text back",
            Phase::WriteHeader => "writing the header",
            Phase::FlushHeader => "flushing the header",
            Phase::ReadHeader => "reading the header back",
        })
    }
}

/// A disk on which a step failed.
#[derive(Debug, thiserror::Error)]
#[error("{disk}: {phase}: {source}")]
pub struct Failure {
    /// The kernel's name of the disk.
    pub disk: String,
    /// The step.
    pub phase: Phase,
    /// Why.
    pub source: io::Error,
}

impl Failure {
    /// The disk refused it for a reservation: this head is fenced.
    pub fn is_conflict(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EBADE)
    }
}

/// Why metadata were not written. Unless it is said, nothing has changed on any disk that a reader would see.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No area holds metadata of the group.
    #[error("no metadata of the volume group can be read{}", list(.failures))]
    NoMetadata {
        /// Disks that could not be read.
        failures: Vec<Failure>,
    },
    /// A member's area holds metadata of another group.
    #[error("{disk}: its metadata are of volume group {other}, too: two groups claim the disk")]
    OtherGroup {
        /// The kernel's name of the disk.
        disk: String,
        /// The other one.
        other: Uuid,
    },
    /// A disk for a new group holds metadata.
    #[error("{disk}: has metadata already")]
    Occupied {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// A member is not among the disks.
    #[error("physical volume {pv} is not here")]
    Absent {
        /// Its identity.
        pv: Uuid,
    },
    /// A stretch of a new volume could not be zeroed; the group has not changed.
    #[error("{0}")]
    NotZeroed(Failure),
    /// Areas hold different metadata of the same age.
    #[error("disks carry different metadata of the same age (seqno {seqno})")]
    Disagreement {
        /// The age.
        seqno: u64,
    },
    /// An area lies where it cannot be.
    #[error("{disk}: metadata area at {start}: {what}")]
    Misplaced {
        /// The kernel's name of the disk.
        disk: String,
        /// Where the area is, in bytes.
        start: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The new text has no room.
    #[error("{disk}: metadata area at {start}: {source}")]
    TooLarge {
        /// The kernel's name of the disk.
        disk: String,
        /// Where the area is, in bytes.
        start: u64,
        /// How large.
        source: TooLarge,
    },
    /// The new text says something that we would not read back. A fault of this program.
    #[error("the new metadata are not what they should be: {0}")]
    Invalid(String),
    /// The sequence number cannot grow.
    #[error("the sequence number of the metadata has come to its end")]
    SequenceEnd,
    /// Too few disks took the new text, so that it was not made the current one on any.
    #[error("the new metadata are on {good} of {all} disks, which is not enough; nothing has changed{}", list(.failures))]
    TooFew {
        /// Disks that have the text.
        good: usize,
        /// Disks that should.
        all: usize,
        /// The others.
        failures: Vec<Failure>,
    },
    /// The text was made the current one on too few disks. Whether it counts is decided by who reads next: the newest
    /// that is found does.
    #[error("the new metadata count on {good} of {all} disks, which is not enough; what was changed may be so or not{}", list(.failures))]
    Unsettled {
        /// Disks on which it is the current one.
        good: usize,
        /// Disks on which it should be.
        all: usize,
        /// The others.
        failures: Vec<Failure>,
    },
    /// A reservation conflict: this head is fenced, and must reset. It is not known what was written.
    #[error("reservation conflict: {0}")]
    Fenced(Failure),
}

fn list(failures: &[Failure]) -> String {
    match failures.is_empty() {
        true => String::new(),
        false => {
            let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
            format!(" ({})", texts.join("; "))
        }
    }
}

impl WriteError {
    /// Whether what was changed may be so or not.
    pub fn is_unsettled(&self) -> bool {
        matches!(self, WriteError::Unsettled { .. })
    }
}
