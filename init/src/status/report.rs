//! A pool's view, kept by its worker for the consoles.

use std::net::IpAddr;
use std::time::Duration;

use embassy_time::Instant;
use serde::Serialize;

use super::Problem;
use crate::state::Owner;

/// What is known of a pool's disks and volumes on this head.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Its member disks, the arbiter first; empty before the first survey.
    pub disks: Vec<Disk>,
    /// The MD arrays that it is on, while it is served here.
    pub arrays: Vec<Array>,
    /// Its volumes, while it is served here.
    pub volumes: Vec<Volume>,
    /// How its new volumes lie when an order does not say it, where that is not linear: from its metadata, as this head read them last.
    pub default_raid: Option<DefaultRaid>,
    /// Its state volume, while it is served here.
    pub state_volume: Option<State>,
    /// Clients beside those of the configuration, while it is served here.
    pub clients_let_in: Vec<String>,
    /// Clients' own reservations that could not be given back, or are not kept safely.
    pub lost_reservations: Vec<String>,
    /// LUNs of the configuration that cannot be offered, and why.
    pub luns_withheld: Vec<String>,
    /// LUNs that are not offered because what their clients registered for persistent reservations cannot be read.
    pub luns_held: Vec<String>,
    /// Namespaces of the configuration that cannot be offered, and why.
    pub namespaces_withheld: Vec<String>,
    /// What is shared, while it is served here, and what should be.
    pub shares: Vec<Share>,
    /// Clients of the shares, while they are served here.
    pub share_clients: Option<ShareClients>,
    /// Why the last attempt to serve it here failed, in words; `None` when it did not.
    pub problem: Option<String>,
    /// Why this head is not fit to serve it now, as it finds out by a look from time to time.
    pub unready: Option<String>,
    /// Since when a look at its disks is under way; `None` while none is.
    #[serde(skip)]
    pub looking_since: Option<Instant>,
    /// The operator's order that its worker is at.
    pub busy: Option<Busy>,
    /// Routers to its clients' other networks that do not answer this head.
    pub silent_gateways: Vec<IpAddr>,
    /// Who is registered on its disks beside this head, which serves it.
    pub alarms: Vec<Problem>,
    /// Why the answers of a head that hangs are not held back, if they are not.
    pub ungated: Option<String>,
    /// What the operator should know though it works.
    pub notes: Vec<String>,
}

/// What a pool has for volumes of whose place nothing is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DefaultRaid {
    /// RAID.
    Known {
        /// `raid1`, `raid5`, ...
        level: &'static str,
        /// On how many disks each is.
        images: u64,
    },
    /// What stands there is not known to this firmware, in words: each order must say it.
    Unclear {
        /// Why.
        unclear: String,
    },
}

/// An operator's order that is being carried out. Meanwhile the worker does nothing else: no job of the core, no look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Busy {
    /// The command, as it is typed.
    pub what: String,
    /// Since when, in seconds since boot.
    pub since_s: u64,
}

/// How long an operator waits for what a worker does: some writes of metadata, on slow disks. What takes longer is a problem
/// even without an error, as a large disk that is wiped: it is in the way of a handover.
pub const ORDER_LIMIT: Duration = Duration::from_secs(60);

/// How long a look of a worker at the disks of a pool that is served here may take. What it asks of disks has limits of its own,
/// half of this together; what has none are calls into this head's kernel, and writes of metadata, of which a disk in its own error recovery
/// makes some ten seconds. Whoever is at it for longer is stuck, and will not carry out a release either.
pub const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// What became of the state volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// It is mounted here, and what clients need is kept there.
    pub is_open: bool,
    /// Why it is not, or why this head is not noted there as the owner, in words.
    pub problem: Option<String>,
    /// Who owned the pool, as it says, this head last; empty until this head is noted.
    pub owners: Vec<Owner>,
}

/// A share of the configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// What clients mount.
    pub name: String,
    /// Its volume.
    pub volume: String,
    /// Why it is not offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// Clients of shares.
#[derive(Clone, Debug, Serialize)]
pub struct ShareClients {
    /// Those that have opens or locks.
    pub known: usize,
    /// Those that may still reclaim theirs; the grace period lasts while there are some.
    pub awaited: usize,
    /// Why they would lose them in a takeover.
    pub problem: Option<String>,
}

/// A member disk.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// The kernel's name here, such as `sda`.
    pub name: String,
    /// Its identity, the same on both heads.
    pub id: String,
    /// State of its write cache.
    pub write_cache: String,
    /// Where races for the pool are decided.
    pub arbiter: bool,
    /// The ways to it, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Path>,
}

/// A way to a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Path {
    /// The kernel's name here, such as `sde`.
    pub name: String,
    /// What it is for at present, or why for nothing.
    pub state: String,
}

/// An MD array that runs here.
#[derive(Clone, Debug, Serialize)]
pub struct Array {
    /// What it is called, by its superblocks.
    pub name: String,
    /// Its device here.
    pub device: String,
    /// `raid1`, `raid5`, ...
    pub level: String,
    /// The kernel's word for its state: `clean`, `active`, ...
    pub state: String,
    /// Slots without a member that has all data.
    pub missing: u32,
    /// Its members are made equal: how far that is, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync: Option<u8>,
}

/// A volume that is served.
#[derive(Clone, Debug, Serialize)]
pub struct Volume {
    /// The logical volume.
    pub name: String,
    /// Its device here, such as `/dev/dm-0`.
    pub device: String,
    /// Its size.
    pub bytes: u64,
    /// Its LUN number, when it is exported.
    pub lun: Option<u32>,
    /// The target that it is a LUN of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its number as a namespace of NVMe, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<u32>,
    /// The unit serial number that clients see.
    pub serial: Option<String>,
    /// A disk of it is lost, and what is left is enough.
    pub degraded: bool,
    /// Its disks are made equal: how far that is, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync: Option<u8>,
    /// It gets back what a snapshot had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
}

/// A snapshot whose contents the kernel copies back to its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merge {
    /// The snapshot.
    pub snapshot: String,
    /// How far that is, in percent of what was to be copied when this head looked first.
    pub percent: u8,
}
