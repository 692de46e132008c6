//! What other shells (and the tests) ask of a running lab, and what it answers.
//!
//! One connection carries one request: an `Open` frame with a [`Request`] as JSON. It is answered by
//! a `Reply` (JSON) or a `Failure` (text); a request that runs something is answered by that
//! something's output and exit status.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cable::witness::Seen;
use crate::cable::{Cable, Cut};
use crate::clock::Stall;
use crate::io::IoReport;
use crate::names::{Head, Machine, ShelfKind};
use crate::spec::Pool;
use crate::vm::Power;

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How everything is: [`LabStatus`].
    Status,
    /// One console command: [`crate::control::Answer`].
    Tell {
        /// Whom.
        head: Head,
        /// The command.
        command: String,
        /// How long an answer is awaited.
        limit_ms: u64,
    },
    /// Kill machines, at once.
    Crash(Vec<Machine>),
    /// Start machines that are off.
    Boot(Vec<Machine>),
    /// Press a machine's reset button.
    Reset(Machine),
    /// Stop a machine; with its clock if frozen.
    Pause {
        /// Which.
        machine: Machine,
        /// QMP stop instead of SIGSTOP.
        frozen: bool,
    },
    /// Let a paused machine go on.
    Resume(Machine),
    /// Stop a head's heartbeat thread for ever.
    Hang(Head),
    /// Take a disk of the shelf away from a head, until that is started again.
    Unplug {
        /// Which head.
        head: Head,
        /// The disk's place, from 0.
        disk: usize,
    },
    /// Take one of a head's paths to the shelf out, or put it back: as a cable of an adapter that is told of it.
    Path {
        /// Which head.
        head: Head,
        /// The path, from 0.
        path: usize,
        /// Back in.
        plugged: bool,
    },
    /// Cut a cable.
    Cut(Cut),
    /// Join a cable again.
    Join {
        /// Which.
        cable: Cable,
        /// Only the direction towards this head.
        to: Option<Head>,
    },
    /// The shelf's power.
    Shelf {
        /// On or off.
        on: bool,
    },
    /// Log the client in to every pool's target.
    Login,
    /// Start the checked writer.
    IoStart(IoOptions),
    /// Stop it: [`IoReport`].
    IoStop,
    /// How it is doing: [`IoReport`].
    IoReport,
    /// Read back through the initiator: [`Verified`].
    Verify,
    /// Read back from the raw images: [`Verified`].
    VerifyRaw,
    /// Run a host command inside the lab's network.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// Working directory.
        cwd: PathBuf,
    },
    /// Run a command in the client.
    Client {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Run a command in the neighbour.
    Neighbour {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Attach to a machine's console.
    Console(Machine),
    /// Go on without the shell that started the lab.
    Detach,
    /// End the lab.
    Down,
}

/// How the checked writer writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IoOptions {
    /// The pool; the first if absent.
    pub pool: Option<String>,
    /// The LUN; the lowest if absent.
    pub lun: Option<u64>,
    /// A file on this share, and no LUN.
    pub share: Option<String>,
    /// This device of the client, and no LUN: whoever asks has connected it.
    #[serde(default)]
    pub device: Option<String>,
    /// Writes in flight.
    pub depth: u64,
    /// Pause of each of them after a write.
    pub pace_ms: u64,
    /// How many blocks are written, over and over.
    pub blocks: u64,
}

impl Default for IoOptions {
    fn default() -> Self {
        // Four in flight with 50 ms between: about 50 to 80 writes a second under emulation.
        Self {
            pool: None,
            lun: None,
            share: None,
            device: None,
            depth: 4,
            pace_ms: 50,
            blocks: 4096,
        }
    }
}

/// What a check of the acknowledged blocks found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Blocks that hold what was acknowledged, or something newer.
    pub blocks: u64,
    /// One sentence for each block that does not.
    pub lost: Vec<String>,
}

/// How everything is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabStatus {
    /// The lab's name.
    pub name: String,
    /// Its state directory.
    pub dir: PathBuf,
    /// The supervisor's pid.
    pub supervisor_pid: Option<u32>,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// The shelf.
    pub shelf: ShelfStatus,
    /// The heads, a first.
    pub heads: Vec<HeadStatus>,
    /// The client.
    pub client: ClientStatus,
    /// The pools as configured.
    pub pools: Vec<PoolStatus>,
    /// What is cut.
    pub cuts: Vec<String>,
    /// The checked writer, if it was started.
    pub io: Option<IoReport>,
    /// When the host itself stalled.
    pub stalls: Vec<Stall>,
}

/// A pool as the lab sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// What was configured.
    #[serde(flatten)]
    pub pool: Pool,
    /// The head that says that it serves it.
    pub owner: Option<Head>,
    /// Its epoch, as the owner says.
    pub epoch: Option<u64>,
    /// LUNs that the client sees.
    pub luns: Vec<u64>,
}

/// The shelf.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShelfStatus {
    /// Its kind.
    pub kind: ShelfKind,
    /// Whether it is on.
    pub on: bool,
    /// Its pid.
    pub pid: Option<u32>,
    /// The raw images.
    pub disks: Vec<PathBuf>,
    /// What was seen on the cables, by LUN: who holds each disk, and who writes to it.
    pub seen: Seen,
}

/// A head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadStatus {
    /// Which.
    pub head: Head,
    /// Its machine.
    pub power: Power,
    /// Its machine's pid.
    pub pid: Option<u32>,
    /// Its console's log.
    pub console_log: PathBuf,
    /// What its own `status --json` says; absent if it does not answer.
    pub report: Option<Value>,
    /// Why there is no report.
    pub silence: Option<String>,
}

/// The client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientStatus {
    /// Its machine.
    pub power: Power,
    /// Its machine's pid.
    pub pid: Option<u32>,
    /// Whether its agent answers.
    pub up: bool,
    /// Whether it is logged in to every target.
    pub logged_in: bool,
    /// Its console's log.
    pub console_log: PathBuf,
}
