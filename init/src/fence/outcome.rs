//! How a claim ends: what holds now, what had to be done for it, or why not.

use std::fmt;
use std::time::Duration;

use orthrus_hb::{Epoch, Key};

use super::reservations::{Answer, ReadError, WriteRefused};
use super::stranger::{CLEAR, Stranger};

/// A claim that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its key, registered on every member.
    pub key: Key,
    /// Whether every disk says that it keeps reservations through a loss of power.
    pub persistent: bool,
    /// What had to be done, for the log.
    pub notes: Vec<Note>,
}

impl Claimed {
    /// A key of the peer's was taken off: it had not let go.
    pub fn has_preempted(&self) -> bool {
        let mut notes = self.notes.iter();
        notes.any(|note| matches!(note, Note::Aborted { .. } | Note::Preempted { .. }))
    }
}

/// Something that a claim did besides registering and reserving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A key was removed and its commands aborted.
    Aborted {
        /// The kernel's name of the disk.
        disk: String,
        /// The key.
        victim: Key,
    },
    /// A key was removed; that its commands were aborted is not known.
    Preempted {
        /// The kernel's name of the disk.
        disk: String,
        /// The key.
        victim: Key,
        /// How PREEMPT AND ABORT was answered last.
        abort: Answer,
    },
    /// The key of this claim took the place of one that this head had left on the same path.
    Replaced {
        /// The kernel's name of the disk.
        disk: String,
        /// The key that is no more.
        former: Key,
    },
    /// A reservation that was not of our type gave way to ours.
    Retyped {
        /// The kernel's name of the disk.
        disk: String,
        /// The key under which it was held.
        key: Key,
        /// SPC's number of its type.
        kind: u8,
    },
    /// Writes that were not known to have ended were waited for.
    Waited {
        /// How long the claim waited for writes that might still be under way.
        time: Duration,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Aborted { disk, victim } => {
                write!(f, "{disk}: removed key {victim} and aborted its commands")
            }
            Note::Preempted {
                disk,
                victim,
                abort,
            } => write!(
                f,
                "{disk}: removed key {victim} without abort (PREEMPT AND ABORT: {abort})"
            ),
            Note::Replaced { disk, former } => write!(
                f,
                "{disk}: replaced key {former}, which an earlier boot or claim of this head had left there"
            ),
            Note::Retyped { disk, key, kind } => write!(
                f,
                "{disk}: was reserved with another type ({kind}) under key {key}, and is now with ours"
            ),
            Note::Waited { time } => write!(
                f,
                "waited {:.1} s for writes of a former owner that were not known to have ended",
                time.as_secs_f32()
            ),
        }
    }
}

/// What an operator does about a disk that does not do its work.
pub(super) const LOOK_AFTER_IT: &str = "check its power and its cables; if it is broken, pull it out: `status` then names the order \
    with which the pool goes on without it, where its volumes can";

/// What ends that a path may not write though the read-back is fine.
fn way_to_write(refused: &WriteRefused) -> &'static str {
    match refused {
        WriteRefused::Conflict => {
            "its session was broken since it registered, or somebody took the key off: if it comes again, check this head's cables to \
             the disk, or boot the other head if it is off, which takes the pool if it can write there"
        }
        WriteRefused::Failed(_) => LOOK_AFTER_IT,
        WriteRefused::Paths { .. } => {
            "`disks` shows the paths: pull out the disk that does not belong there"
        }
    }
}

impl ClaimError {
    /// The peer is at the disks, and will have them or has them.
    pub(super) fn is_lost_to_the_peer(&self) -> bool {
        matches!(
            self,
            ClaimError::HeldByPeer { .. } | ClaimError::LostRace { .. }
        )
    }
}

/// Why a claim failed, and what an operator can do about it: that it is tried again is said elsewhere. Our key is off all disks
/// that could be reached, but for those that an earlier boot had reserved and that have to stay so.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A mount, array or device-mapper device in this kernel uses the disk.
    #[error(
        "{disk}: in use in this head's own kernel: what is left there of an earlier attempt ends with a reboot"
    )]
    InUse {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// The disk could not be opened exclusively.
    #[error("{disk}: cannot be opened: {trouble}; {}", LOOK_AFTER_IT)]
    Hold {
        /// The kernel's name of the disk.
        disk: String,
        /// Why not.
        trouble: std::io::Error,
    },
    /// Somebody who is no head of this cluster uses it.
    #[error("{disk}: {stranger}")]
    Stranger {
        /// The kernel's name of the disk.
        disk: String,
        /// Who.
        stranger: Stranger,
    },
    /// The peer holds it and nothing entitles us to take it.
    #[error("{disk}: held by the peer, epoch {epoch}")]
    HeldByPeer {
        /// The kernel's name of the disk.
        disk: String,
        /// The peer's epoch.
        epoch: Epoch,
    },
    /// The peer claimed at the same time and was first.
    #[error("{disk}: the peer was first, with epoch {epoch}")]
    LostRace {
        /// The kernel's name of the disk.
        disk: String,
        /// The winner's epoch.
        epoch: Epoch,
    },
    /// Our registration was removed while we claimed.
    #[error(
        "{disk}: our registration was removed during the claim, by the other head, which has the pool then, or by another host: \
         see that none is cabled to the shelf"
    )]
    Overtaken {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// The reservations could not be read.
    #[error("{disk}: {source}; {}", source.way_out())]
    Read {
        /// The kernel's name of the disk.
        disk: String,
        /// Why not.
        source: ReadError,
    },
    /// A key that has to go stays.
    #[error(
        "{disk}: PREEMPT has no effect on key {victim}, answered {answer}: boot the other head if it is off, which may be able to remove \
         it, and takes the pool then; without it, once nothing uses the disk any more, {}",
        CLEAR
    )]
    Unremovable {
        /// The kernel's name of the disk.
        disk: String,
        /// The key.
        victim: Key,
        /// How PREEMPT was answered last.
        answer: Answer,
    },
    /// A command has no effect on this disk.
    #[error(
        "{disk}: {step} has no effect, answered {answer}: take the power from the disk or its target, and give it back; if that does not \
         help, it is no disk for a pool, and `status` names the order that goes on without it once it is pulled out"
    )]
    NoEffect {
        /// The kernel's name of the disk.
        disk: String,
        /// The command.
        step: &'static str,
        /// How it was answered last.
        answer: Answer,
    },
    /// The registrations never came to rest.
    #[error(
        "{disk}: registrations keep changing: some host goes on registering there; find it by the disk's keys (`sg_persist --in \
         --read-full-status /dev/DISK`) and end that"
    )]
    Restless {
        /// The kernel's name of the disk.
        disk: String,
    },
    /// The read-back at the end shows something else than our key alone.
    #[error(
        "{disk}: read-back shows {found}: the disk lost its reservation during the claim, or another host changed it; check its power, \
         and see that no other host is cabled to the shelf"
    )]
    ReadBack {
        /// The kernel's name of the disk.
        disk: String,
        /// What it shows.
        found: String,
    },
    /// The read-back is fine and yet this path may not write.
    #[error("{disk}: {source}; {}", way_to_write(source))]
    CannotWrite {
        /// The kernel's name of the disk.
        disk: String,
        /// Why not.
        source: WriteRefused,
    },
    /// The disk did not answer in time.
    #[error("{disk}: does not answer within {} s; {}", limit.as_secs(), LOOK_AFTER_IT)]
    TimedOut {
        /// The kernel's name of the disk.
        disk: String,
        /// The limit.
        limit: Duration,
    },
}
