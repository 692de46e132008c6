//! Reservations of an NVMe namespace, by the commands themselves.
//!
//! What the disk answers is parsed in [`super::report`].
//!
//! Decisions:
//! - Passthrough for all of them, not only to read back. Through the block layer's ioctls, which SCSI disks are reserved with, a
//!   registration can neither be taken off nor replaced whatever it is: `nvme_pr_register` of 6.12 sends *register* for both, with a
//!   new key of zero, and where the namespace keeps no registrations it still wishes for it (CPTPL) and is refused.
//! - A registration is a *host's*, by the identifier that it gave its controller, and not a path's. Linux tells a controller that
//!   identifier for fabrics only. To one on the bus, which starts with zero and then refuses every reservation, it is told here
//!   (feature 81h): made of cluster and head ([`Identity`]), so that it differs between heads and is the same after a reboot. One that is there
//!   already stays: it may be told once. Whether the heads have the same by mistake shows in the report, where our identifier then
//!   stands with a key that is not this head's: no survey and no claim gets past that.
//! - A controller that was reset has forgotten the identifier, and is not told again until the next claim: its writes meet the reservation then,
//!   and the head resets. Rejected: to tell it again from the watch, when writes may have failed already.
//! - Of hosts with identifiers of 64 bits (before NVMe 1.3) nothing is asked: such a controller counts as one without reservations.
//! - A head that reaches a namespace by several controllers tells the one that the kernel picks: the others' writes are refused, so that such
//!   a disk is no disk for a pool, and a claim or its watch says so.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use orthrus_hb::{ClusterId, Epoch, HeadId, Key};

use super::proof::{self, Proof};
use super::report::{self, HostId, REPORT, REPORT_BYTES, Report};
use super::reservations::{
    Answer, Capabilities, Hold, ReadError, Reservations, Seen, Trouble,
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY, WriteRefused,
};
use crate::sys::nvme::{self, Command, Queue, Status};

/// Opcodes of the namespace's queue.
const REGISTER: u8 = 0x0d;
const RESERVATION_REPORT: u8 = 0x0e;
const ACQUIRE: u8 = 0x11;
const RELEASE: u8 = 0x15;
/// Opcodes of the controller's.
const IDENTIFY: u8 = 0x06;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;

/// Actions of [`REGISTER`].
const ACTION_REGISTER: u32 = 0;
const ACTION_UNREGISTER: u32 = 1;
const ACTION_REPLACE: u32 = 2;
/// Actions of [`ACQUIRE`].
const ACTION_ACQUIRE: u32 = 0;
const ACTION_PREEMPT: u32 = 1;
const ACTION_PREEMPT_AND_ABORT: u32 = 2;

/// IEKEY: whatever key was registered before.
const IGNORE_KEY: u32 = 1 << 3;
/// CPTPL: registrations are kept through a loss of power from now on.
const PERSIST: u32 = 3 << 30;

/// Identify's CNS.
const OF_NAMESPACE: u32 = 0;
const OF_CONTROLLER: u32 = 1;
const IDENTIFY_BYTES: usize = 4096;

/// The feature Host Identifier, and EXHID: of 128 bits.
const HOST_IDENTIFIER: u32 = 0x81;
const OF_128_BITS: u32 = 1;

/// Status types and codes.
const GOOD: Status = Status(0);
const INVALID_OPCODE: Status = Status(0x001);
const INVALID_FIELD: Status = Status(0x002);
const CONFLICT: Status = Status(0x083);

/// As for SCSI disks: it answers from memory. The kernel aborts the command then, and resets the controller if that takes as long again.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long anything else may take, which may be written to the medium, or wait for the commands that it aborts: the kernel's own for a
/// command.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The identifier of a head, by which controllers on the bus know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    cluster: ClusterId,
    head: HeadId,
}

impl Identity {
    /// Of this head.
    pub fn new(cluster: ClusterId, head: HeadId) -> Identity {
        Identity { cluster, head }
    }

    /// A word, and the beginning of the head's keys: legible where other tools show it, and never zero.
    fn host(self) -> HostId {
        let mut host = *b"orthrus\0\0\0\0\0\0\0\0\0";
        let (cluster, head, epoch) = (self.cluster, self.head, Epoch::NONE);
        let key = Key {
            cluster,
            head,
            epoch,
        };
        host[8..].copy_from_slice(&key.to_bits().to_be_bytes());
        host
    }

    fn has(self, key: u64) -> bool {
        Key::from_bits(key, self.cluster).is_some_and(|key| key.head == self.head)
    }
}

/// Sends commands to one namespace and its controller; a test answers itself.
trait Device: Send + Sync {
    fn execute(
        &self,
        queue: Queue,
        command: Command,
        data: &mut [u8],
        timeout: Duration,
    ) -> Result<Status, Trouble>;
}

impl Device for File {
    fn execute(
        &self,
        queue: Queue,
        command: Command,
        data: &mut [u8],
        timeout: Duration,
    ) -> Result<Status, Trouble> {
        let sent = nvme::execute(self.as_fd(), queue, command, data, timeout);
        sent.map_err(|errno| Trouble::Errno(errno.raw_os_error()))
    }
}

/// Whether a block device of this name is an NVMe namespace.
pub(super) fn is_nvme(name: &str) -> bool {
    name.starts_with("nvme")
}

/// An NVMe namespace, open for commands.
pub(super) struct Namespace {
    commands: Commands<File>,
    proof: Proof,
}

impl Namespace {
    pub(super) fn open(node: &Path, block: u32, identity: Identity) -> io::Result<Namespace> {
        let file = proof::open(node, 0)?;
        let number = nvme::namespace(file.as_fd())?;
        Ok(Namespace {
            commands: Commands::new(file, number, identity),
            proof: Proof::new(node, block),
        })
    }
}

/// What was found out of a namespace that has reservations.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// By which its controller knows this host.
    host: HostId,
    /// It can keep registrations through a loss of power.
    can_persist: bool,
}

/// The commands of reservations.
struct Commands<D> {
    device: D,
    namespace: u32,
    identity: Identity,
    /// `None` of one that has no reservations. What could not be found out is asked again.
    known: OnceLock<Option<Known>>,
}

impl<D: Device> Commands<D> {
    fn new(device: D, namespace: u32, identity: Identity) -> Commands<D> {
        Commands {
            device,
            namespace,
            identity,
            known: OnceLock::new(),
        }
    }

    fn known(&self) -> Result<Known, ReadError> {
        let known = match self.known.get() {
            Some(known) => *known,
            None => {
                let found = self.find_out()?;
                *self.known.get_or_init(|| found)
            }
        };
        known.ok_or(ReadError::Unsupported)
    }

    fn find_out(&self) -> Result<Option<Known>, ReadError> {
        let malformed = |step| ReadError::Malformed {
            step,
            what: "answer is cut short",
        };
        let step = "IDENTIFY CONTROLLER";
        let mut identify = vec![0; IDENTIFY_BYTES];
        self.admin(step, IDENTIFY, 0, (OF_CONTROLLER, 0), &mut identify)?;
        if !report::has_reservations(&identify).ok_or_else(|| malformed(step))? {
            return Ok(None);
        }
        let step = "IDENTIFY NAMESPACE";
        let place = self.namespace;
        self.admin(step, IDENTIFY, place, (OF_NAMESPACE, 0), &mut identify)?;
        let (has_type, can_persist) = report::can(&identify).ok_or_else(|| malformed(step))?;
        if !has_type {
            return Ok(None);
        }
        let host = self.host()?;
        Ok(Some(Known { host, can_persist }))
    }

    /// The identifier by which the controller knows this host, which is told it if it knows none.
    fn host(&self) -> Result<HostId, ReadError> {
        let feature = (HOST_IDENTIFIER, OF_128_BITS);
        let ask = || {
            let mut host = HostId::default();
            let step = "GET FEATURES (host identifier)";
            self.admin(step, GET_FEATURES, 0, feature, &mut host)?;
            Ok(host)
        };
        let is_none = |host: &HostId| host.iter().all(|byte| *byte == 0);
        let found = ask()?;
        if !is_none(&found) {
            return Ok(found);
        }
        let step = "SET FEATURES (host identifier)";
        let mut ours = self.identity.host();
        let told = self.admin(step, SET_FEATURES, 0, feature, &mut ours);
        // Refused where it was told meanwhile, for another namespace of the same controller.
        let found = ask()?;
        if is_none(&found) {
            told?;
            let what = "the controller did not take the identifier of this head";
            return Err(ReadError::Malformed { step, what });
        }
        Ok(found)
    }

    fn admin(
        &self,
        step: &'static str,
        opcode: u8,
        namespace: u32,
        (dword_10, dword_11): (u32, u32),
        data: &mut [u8],
    ) -> Result<(), ReadError> {
        let command = Command {
            opcode,
            namespace,
            dword_10,
            dword_11,
        };
        let sent = self
            .device
            .execute(Queue::Admin, command, data, READ_TIMEOUT);
        done(step, sent)
    }

    fn report(&self) -> Result<Report, ReadError> {
        let known = self.known()?;
        let mut data = vec![0; REPORT_BYTES];
        let command = Command {
            opcode: RESERVATION_REPORT,
            namespace: self.namespace,
            // NUMD counts words of four bytes, from zero; EDS: host identifiers of 128 bits.
            dword_10: (REPORT_BYTES / 4 - 1) as u32,
            dword_11: 1,
        };
        let sent = self
            .device
            .execute(Queue::Io, command, &mut data, READ_TIMEOUT);
        if matches!(sent, Ok(INVALID_OPCODE)) {
            return Err(ReadError::Unsupported);
        }
        done(REPORT, sent)?;
        let report = report::parse(&data)?;
        let mut registered = report.hosts.iter().zip(&report.seen.keys);
        let is_foreign =
            |(host, key): (&HostId, &u64)| *host == known.host && !self.identity.has(*key);
        match registered.any(is_foreign) {
            true => Err(ReadError::SharedIdentifier),
            false => Ok(report),
        }
    }

    /// A command that changes reservations, with the two keys that it goes by.
    fn change(&self, opcode: u8, dword_10: u32, keys: [u64; 2]) -> Answer {
        let mut data = [0; 16];
        data[..8].copy_from_slice(&keys[0].to_le_bytes());
        data[8..].copy_from_slice(&keys[1].to_le_bytes());
        // A release has one.
        let length = if opcode == RELEASE { 8 } else { 16 };
        let command = Command {
            opcode,
            namespace: self.namespace,
            dword_10,
            dword_11: 0,
        };
        let data = &mut data[..length];
        match self.device.execute(Queue::Io, command, data, TIMEOUT) {
            Ok(GOOD) => Answer::Good,
            Ok(CONFLICT) => Answer::Conflict,
            Ok(INVALID_OPCODE | INVALID_FIELD) => Answer::Refused,
            Ok(Status(other)) => Answer::Failed(Trouble::Status(other.into())),
            Err(trouble) => Answer::Failed(trouble),
        }
    }

    fn register(&self, old: Option<u64>, new: u64) -> Answer {
        let persist = match self.known() {
            Ok(known) if known.can_persist => PERSIST,
            Ok(_) => 0,
            Err(ReadError::Call { trouble, .. }) => return Answer::Failed(trouble),
            Err(_) => return Answer::Refused,
        };
        let ignore = if old.is_none() { IGNORE_KEY } else { 0 };
        let keys = [old.unwrap_or(0), new];
        if new == 0 {
            return self.change(REGISTER, ACTION_UNREGISTER | ignore, keys);
        }
        if old.is_none() {
            // A host that has registered another key is not let register this one, and one that has none cannot replace it.
            let answer = self.change(REGISTER, ACTION_REGISTER | persist, keys);
            if answer != Answer::Conflict {
                return answer;
            }
        }
        self.change(REGISTER, ACTION_REPLACE | ignore | persist, keys)
    }

    fn acquire(&self, action: u32, keys: [u64; 2]) -> Answer {
        match of_type(WRITE_EXCLUSIVE_REGISTRANTS_ONLY) {
            Some(kind) => self.change(ACQUIRE, action | kind, keys),
            None => Answer::Refused,
        }
    }
}

/// RTYPE, where it stands in dword 10.
fn of_type(kind: u8) -> Option<u32> {
    report::nvme_type(kind).map(|kind| u32::from(kind) << 8)
}

fn done(step: &'static str, sent: Result<Status, Trouble>) -> Result<(), ReadError> {
    let trouble = match sent {
        Ok(GOOD) => return Ok(()),
        Ok(Status(status)) => Trouble::Status(status.into()),
        Err(trouble) => trouble,
    };
    Err(ReadError::Call { step, trouble })
}

impl Reservations for Namespace {
    fn hold(&self) -> io::Result<Hold> {
        self.proof.hold()
    }

    fn read(&self) -> Result<Seen, ReadError> {
        self.commands.report().map(|report| report.seen)
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let known = self.commands.known().ok()?;
        Some(Capabilities {
            persist_capable: known.can_persist,
            persist_active: self.commands.report().ok()?.persists,
        })
    }

    fn register(&self, old: Option<u64>, new: u64) -> Answer {
        self.commands.register(old, new)
    }

    fn reserve(&self, key: u64) -> Answer {
        self.commands.acquire(ACTION_ACQUIRE, [key, 0])
    }

    fn release(&self, key: u64, kind: u8) -> Answer {
        match of_type(kind) {
            Some(kind) => self.commands.change(RELEASE, kind, [key, 0]),
            None => Answer::Refused,
        }
    }

    fn preempt(&self, own: u64, victim: u64, abort: bool) -> Answer {
        let action = match abort {
            true => ACTION_PREEMPT_AND_ABORT,
            false => ACTION_PREEMPT,
        };
        self.commands.acquire(action, [own, victim])
    }

    fn prove_write(&self) -> Result<(), WriteRefused> {
        self.proof.prove()
    }

    fn probe_write(&self) -> Result<(), WriteRefused> {
        self.proof.probe()
    }

    fn failures(&self) -> Option<u64> {
        // Not counted where every kernel shows it: the probe comes by time alone.
        None
    }
}

#[cfg(test)]
mod tests;
