//! What can happen next, and the commands that are under way between heads and disks.

use embassy_time::Instant;
use orthrus_hb::{Done, Failure, LinkId};

use crate::clock::Time;
use crate::faults::Part;
use crate::network::Sent;
use crate::shelf::{Answer, Command, Nexus};

/// A command on its way to a disk, or its answer on the way back.
#[derive(Clone, Debug)]
pub struct Io {
    pub who: usize,
    pub boot: u32,
    pub nexus: Nexus,
    pub disk: usize,
    pub command: Command,
    pub origin: Origin,
}

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    Task {
        pool: usize,
        id: u64,
    },
    Watch,
    Client {
        pool: usize,
    },
    /// A reader of the ledger; when it asked, by its head's clock and in true time.
    Reader {
        pool: usize,
        copy: usize,
        begun: Instant,
        submitted: Time,
    },
    Writer {
        pool: usize,
        copy: usize,
    },
}

pub enum Event {
    Wake {
        who: usize,
        boot: u32,
    },
    Boot {
        who: usize,
        boot: u32,
    },
    Resume {
        who: usize,
        boot: u32,
    },
    Watchdog {
        who: usize,
        boot: u32,
        since: Time,
    },
    /// A hardware watchdog would fire, had it not been fed.
    Hungry {
        who: usize,
        boot: u32,
    },
    Frame {
        to: usize,
        link: LinkId,
        frame: Sent,
    },
    /// A command reaches its disk.
    Arrive(Box<Io>),
    /// An accepted write reaches the medium.
    Land {
        id: u64,
        io: Box<Io>,
    },
    Reply {
        io: Box<Io>,
        answer: Answer,
    },
    TaskPause {
        who: usize,
        boot: u32,
        pool: usize,
        id: u64,
    },
    StageLimit {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
    },
    KernelStep {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
    },
    KernelFails {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
        result: Result<Done, Failure>,
    },
    Look {
        who: usize,
        boot: u32,
        pool: usize,
        serial: u64,
    },
    /// A reader of the ledger reads again.
    Read {
        who: usize,
        boot: u32,
        pool: usize,
        copy: usize,
    },
    /// An idle worker looks whether it could serve the pool.
    IdleLook {
        who: usize,
        boot: u32,
        pool: usize,
    },
    /// A head looks what of it is broken.
    Health {
        who: usize,
        boot: u32,
    },
    /// An operator wants a pool to be made, as long as it is not.
    Make {
        pool: usize,
    },
    Client {
        pool: usize,
    },
    /// A part of a longer fault; the number of the fault.
    Part {
        fault: u64,
        part: Part,
    },
    /// A head that was halted too long must have ended.
    Gone {
        who: usize,
        boot: u32,
    },
    /// The director looks whether to break or mend something, and the slow checks are made.
    Direct,
}

impl Event {
    /// Which boot of which head it is for, if it needs that head's kernel to run.
    pub fn needs(&self) -> Option<(usize, u32)> {
        match *self {
            Event::Wake { who, boot }
            | Event::TaskPause { who, boot, .. }
            | Event::StageLimit { who, boot, .. }
            | Event::KernelStep { who, boot, .. }
            | Event::KernelFails { who, boot, .. }
            | Event::Look { who, boot, .. }
            | Event::Read { who, boot, .. }
            | Event::IdleLook { who, boot, .. }
            | Event::Health { who, boot } => Some((who, boot)),
            Event::Reply { ref io, .. } => Some((io.who, io.boot)),
            _ => None,
        }
    }
}

pub struct Entry(pub Time, pub u64, pub Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}
