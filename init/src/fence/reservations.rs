//! What fencing asks of one disk, and the words for the answers.
//!
//! The claim is written against this trait, so that the same code runs on the kernel's ioctls
//! ([`super::scsi`]), on NVMe's commands ([`super::nvme`]) and on a shelf in memory that misbehaves on demand (`super::shelf`, tests).

use std::fmt;
use std::fs::File;
use std::io;
use std::time::Duration;

use super::outcome::LOOK_AFTER_IT;

/// The one type that a pool is reserved with: SPC's number of *write exclusive, registrants only*.
pub const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: u8 = 5;

/// SCSI's status for a reservation conflict.
pub const STATUS_CONFLICT: u8 = 0x18;

/// One disk as seen over this head's path. Calls may block for as long as the kernel retries.
pub trait Reservations: Send + Sync {
    /// Opens the disk so that nothing else in this kernel can be built on it while the hold lives; fails as
    /// long as a mount, an array or a device-mapper device is.
    fn hold(&self) -> io::Result<Hold>;
    /// All registrations and the reservation, read together.
    fn read(&self) -> Result<Seen, ReadError>;
    /// What the disk can do; `None` when it does not say.
    fn capabilities(&self) -> Option<Capabilities>;
    /// Registers `new` for this path: in place of `old`, or of whatever is there when `None`. Zero unregisters.
    fn register(&self, old: Option<u64>, new: u64) -> Answer;
    /// Reserves with our key, write exclusive for registrants only.
    fn reserve(&self, key: u64) -> Answer;
    /// Lets the reservation of this SPC type go.
    fn release(&self, key: u64, kind: u8) -> Answer;
    /// Removes the registrations with the key `victim`, and takes over what they reserved; with `abort`
    /// their commands are aborted as well.
    fn preempt(&self, own: u64, victim: u64, abort: bool) -> Answer;
    /// Whether this very path may write, asked within a claim, when nobody uses the disk yet: rewrites the first block with its own
    /// contents.
    ///
    /// Reading the keys does not show that. A target that binds a registration to a session shows our key
    /// after a reconnect, and refuses our writes. Nor does a command that writes nothing: the kernel's target lets
    /// everybody flush.
    fn prove_write(&self) -> Result<(), WriteRefused>;
    /// The same while the disk is in use: rewrites a block that nobody else writes, which was looked for within the claim. Good where
    /// there is none.
    fn probe_write(&self) -> Result<(), WriteRefused>;
    /// How many commands of this path, whoever's, the kernel saw fail since boot; `None` where it does not
    /// count. It grew: one of them may have met a reservation conflict.
    fn failures(&self) -> Option<u64>;
}

/// See [`Reservations::hold`]: the disk by each of its paths.
#[derive(Debug)]
pub struct Hold(pub Vec<File>);

/// The registrations and the reservation of a disk at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// PRGENERATION: counts changes of the registrations since power-on.
    pub generation: u32,
    /// Registered keys; a key stands here once for each path that registered it, of NVMe for each controller of the host that did.
    pub keys: Vec<u64>,
    /// Who holds the reservation.
    pub holder: Option<Holder>,
}

/// A reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Key of the holder; zero when all registrants hold it together.
    pub key: u64,
    /// SPC's number of the type.
    pub kind: u8,
}

/// From REPORT CAPABILITIES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It can keep reservations through a loss of power.
    pub persist_capable: bool,
    /// It does, since somebody registered with that wish.
    pub persist_active: bool,
}

/// How a command was answered. A hint only: a command that was carried out and then retried by the kernel
/// answers *conflict*, so what happened is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Carried out.
    Good,
    /// Reservation conflict.
    Conflict,
    /// The disk does not know the command, or not like this.
    Refused,
    /// Anything else; a status or an errno.
    Failed(Trouble),
}

/// Why a command got no proper answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `PR_STS_*` of the kernel; of an NVMe command its status type and code.
    Status(i32),
    /// Errno of the call.
    Errno(i32),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Status(status) => write!(f, "status {status:#x}"),
            Trouble::Errno(errno) => write!(f, "{}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Good => f.write_str("success"),
            Answer::Conflict => f.write_str("reservation conflict"),
            Answer::Refused => f.write_str("refused as unknown"),
            Answer::Failed(trouble) => trouble.fmt(f),
        }
    }
}

/// Why the reservations of a disk could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk has no persistent reservations.
    #[error("has no persistent reservations: nothing there keeps another head from writing")]
    Unsupported,
    /// The call failed.
    #[error("{step}: {trouble}")]
    Call {
        /// The command.
        step: &'static str,
        /// What the call said.
        trouble: Trouble,
    },
    /// No answer.
    #[error("does not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The older RESERVE command of another host lets nobody else even ask.
    #[error(
        "another host holds it by the older RESERVE command; it ends when that host lets go, or with a reset of the disk"
    )]
    Reserved,
    /// The disk answered with an error.
    #[error("{step}: status {status:#x}, host status {host:#x}, sense {sense:x?}")]
    Command {
        /// READ KEYS or READ RESERVATION.
        step: &'static str,
        /// SCSI status.
        status: u8,
        /// The kernel's host byte.
        host: u16,
        /// Sense key, code and qualifier.
        sense: Option<(u8, u8, u8)>,
    },
    /// The disk answered nonsense.
    #[error("{step}: {what}")]
    Malformed {
        /// The command.
        step: &'static str,
        /// What is wrong with the answer.
        what: &'static str,
    },
    /// The registrations changed during every attempt to read them.
    #[error("registrations keep changing")]
    Unstable,
    /// An NVMe controller takes this head and another host for one, or this head registered for another cluster.
    #[error(
        "the identifier by which it knows this head is registered with a key that is not this head's: what one of two hosts with \
         one identifier may do, the other may too"
    )]
    SharedIdentifier,
}

impl ReadError {
    /// What an operator can do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            ReadError::Unsupported => {
                "a pool is claimed only where all of its disks have them, or none has: take this one out of the group on a host with lvm2"
            }
            ReadError::Reserved => "see which host that is, and that none is cabled to the shelf",
            ReadError::Unstable => "see that no other host is cabled to the shelf",
            ReadError::SharedIdentifier => {
                "give each head a host identifier of its own (NVMe's feature 81h, `nvme get-feature -f 0x81`); if only this host has it, \
                 take the key off with `nvme resv-register --rrega=1 --iekey` from it"
            }
            ReadError::Call { .. }
            | ReadError::TimedOut(_)
            | ReadError::Command { .. }
            | ReadError::Malformed { .. } => LOOK_AFTER_IT,
        }
    }
}

/// Why a proof that we can write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// Somebody else's reservation forbids it.
    #[error("reservation conflict on a write: this path is not registered")]
    Conflict,
    /// The write failed otherwise.
    #[error("write failed: {0}")]
    Failed(Trouble),
    /// The paths do not lead to one disk, or not all of them are registered.
    #[error(
        "{registered} paths to it were registered, and one of them shows {shown} registrations: they are not all to this disk"
    )]
    Paths {
        /// Keys that a path shows.
        shown: usize,
        /// Paths that registered.
        registered: usize,
    },
}
