//! Reservations of a real SCSI disk: set by the block layer's ioctls, read back by `SG_IO`.
//!
//! One thing the ioctl cannot do: it always asks the disk to keep a registration through a loss of power
//! (APTPL), and a target that cannot (tgt) then refuses to register at all. On such a refusal the same
//! command is sent without that wish, by `SG_IO`; `status` names the disk as one that forgets.
//!
//! What the disk answers is parsed in [`super::answers`].

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::answers::{parse_capabilities, parse_keys, parse_reservation};
use super::proof::{self, Proof};
use super::reservations::{
    Answer, Capabilities, Hold, ReadError, Reservations, STATUS_CONFLICT, Seen, Trouble,
    WriteRefused,
};
use crate::sys::{pr, sg};

/// PERSISTENT RESERVE IN.
const PR_IN: u8 = 0x5e;
/// PERSISTENT RESERVE OUT.
const PR_OUT: u8 = 0x5f;
const REGISTER: u8 = 0;
const REGISTER_AND_IGNORE: u8 = 6;
const READ_KEYS: u8 = 0;
const READ_RESERVATION: u8 = 1;
const REPORT_CAPABILITIES: u8 = 2;

/// How long a disk may take to say who is registered. It answers from memory, but not while it recovers from
/// an error of its own, for some 7 s (see [`super::COMMAND_LIFETIME`]). The kernel begins to recover the path
/// after this, up to a reset of the whole host adapter: other disks and clients pay for a time that is too short.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a registration may take, which some disks write to their medium: as long as the block layer's own.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(30);

/// A disk with a thousand registrants is none of ours.
const KEYS_BUFFER: usize = 8 + 8 * 1024;

/// After a reset or a preemption a disk answers the next command of each path with one *unit attention*
/// for each thing that happened; a few in a row are normal.
const ATTENTIONS: usize = 8;

const UNIT_ATTENTION: u8 = 6;
const ILLEGAL_REQUEST: u8 = 5;

/// A SCSI disk, open for commands.
pub struct Scsi {
    /// Where the kernel counts commands that failed.
    failures: PathBuf,
    proof: Proof,
    file: File,
}

impl Scsi {
    /// Opens the node of a disk that has one path, or of the path with this name.
    pub fn open(name: &str, node: &Path, logical_block: u32) -> io::Result<Scsi> {
        Ok(Scsi {
            failures: format!("/sys/block/{name}/device/ioerr_cnt").into(),
            proof: Proof::new(node, logical_block),
            file: proof::open(node, 0)?,
        })
    }

    fn pr_in(&self, step: &'static str, action: u8, data: &mut [u8]) -> Result<usize, ReadError> {
        let room = data.len();
        let length = u16::try_from(room).unwrap_or(u16::MAX).to_be_bytes();
        let command = [PR_IN, action, 0, 0, 0, 0, 0, length[0], length[1], 0];
        let reply = self
            .execute(&command, sg::Data::FromDisk(data), READ_TIMEOUT)
            .map_err(|errno| match Errno(errno).is_unsupported() {
                true => ReadError::Unsupported,
                false => ReadError::Call {
                    step,
                    trouble: Trouble::Errno(errno),
                },
            })?;
        match (reply.status, reply.host_status, reply.sense_code()) {
            (0, 0, _) => Ok(reply.received.min(room)),
            (2, 0, Some((ILLEGAL_REQUEST, _, _))) => Err(ReadError::Unsupported),
            // No persistent reservation forbids this question.
            (STATUS_CONFLICT, _, _) => Err(ReadError::Reserved),
            (status, host, sense) => Err(ReadError::Command {
                step,
                status,
                host,
                sense,
            }),
        }
    }

    /// Registers without asking the disk to keep it through a loss of power.
    fn register_volatile(&self, old: Option<u64>, new: u64) -> Answer {
        let action = match old {
            Some(_) => REGISTER,
            None => REGISTER_AND_IGNORE,
        };
        let mut parameters = [0; 24];
        parameters[..8].copy_from_slice(&old.unwrap_or(0).to_be_bytes());
        parameters[8..16].copy_from_slice(&new.to_be_bytes());
        let length = parameters.len() as u8;
        let command = [PR_OUT, action, 0, 0, 0, 0, 0, 0, length, 0];
        let data = sg::Data::ToDisk(&parameters);
        match self.execute(&command, data, REGISTER_TIMEOUT) {
            Err(errno) => Answer::Failed(Trouble::Errno(errno)),
            Ok(reply) => match (reply.status, reply.host_status, reply.sense_code()) {
                (0, 0, _) => Answer::Good,
                (STATUS_CONFLICT, _, _) => Answer::Conflict,
                (2, 0, Some((ILLEGAL_REQUEST, _, _))) => Answer::Refused,
                (status, _, _) => Answer::Failed(Trouble::Status(status.into())),
            },
        }
    }

    /// Sends a command, again while the disk wants to tell of something that happened before.
    fn execute(
        &self,
        command: &[u8],
        mut data: sg::Data<'_>,
        timeout: Duration,
    ) -> Result<sg::Reply, i32> {
        let mut attempt = 0;
        loop {
            let reply = sg::execute(self.file.as_fd(), command, &mut data, timeout)
                .map_err(|errno| errno.raw_os_error())?;
            let attention = matches!(reply.sense_code(), Some((UNIT_ATTENTION, _, _)));
            attempt += 1;
            if !attention || attempt >= ATTENTIONS {
                return Ok(reply);
            }
        }
    }
}

struct Errno(i32);

impl Errno {
    /// The kernel's ways to say that this is no SCSI disk, or that its driver has no reservations.
    fn is_unsupported(&self) -> bool {
        matches!(self.0, libc::ENOTTY | libc::EOPNOTSUPP | libc::ENOSYS)
    }
}

fn answer(result: rustix::io::Result<pr::Status>) -> Answer {
    match result {
        Ok(pr::Status::GOOD) => Answer::Good,
        Ok(pr::Status::CONFLICT) => Answer::Conflict,
        Ok(pr::Status(other)) => Answer::Failed(Trouble::Status(other)),
        // sd turns ILLEGAL REQUEST, invalid field, into EINVAL.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Answer::Refused,
        Err(errno) => Answer::Failed(Trouble::Errno(errno.raw_os_error())),
    }
}

impl Reservations for Scsi {
    fn hold(&self) -> io::Result<Hold> {
        self.proof.hold()
    }

    fn read(&self) -> Result<Seen, ReadError> {
        // Two commands: when a registration changed between them the generation tells, and both are
        // read again. (RESERVE does not count; who relies on the pair reads it again anyway.)
        for _ in 0..5 {
            let mut buffer = vec![0; KEYS_BUFFER];
            let length = self.pr_in("READ KEYS", READ_KEYS, &mut buffer)?;
            let (generation, keys) = parse_keys(&buffer[..length])?;
            let mut buffer = [0; 24];
            let length = self.pr_in("READ RESERVATION", READ_RESERVATION, &mut buffer)?;
            let (after, holder) = parse_reservation(&buffer[..length])?;
            if generation == after {
                return Ok(Seen {
                    generation,
                    keys,
                    holder,
                });
            }
        }
        Err(ReadError::Unstable)
    }

    fn capabilities(&self) -> Option<Capabilities> {
        let mut buffer = [0; 8];
        let length = self
            .pr_in("REPORT CAPABILITIES", REPORT_CAPABILITIES, &mut buffer)
            .ok()?;
        parse_capabilities(&buffer[..length])
    }

    fn register(&self, old: Option<u64>, new: u64) -> Answer {
        match answer(pr::register(self.file.as_fd(), old, new)) {
            Answer::Refused => self.register_volatile(old, new),
            answer => answer,
        }
    }

    fn reserve(&self, key: u64) -> Answer {
        answer(pr::reserve(self.file.as_fd(), key))
    }

    fn release(&self, key: u64, kind: u8) -> Answer {
        match kernel_type(kind) {
            Some(kind) => answer(pr::release(self.file.as_fd(), key, kind)),
            None => Answer::Refused,
        }
    }

    fn preempt(&self, own: u64, victim: u64, abort: bool) -> Answer {
        answer(pr::preempt(self.file.as_fd(), own, victim, abort))
    }

    fn prove_write(&self) -> Result<(), WriteRefused> {
        self.proof.prove()
    }

    fn probe_write(&self) -> Result<(), WriteRefused> {
        self.proof.probe()
    }

    fn failures(&self) -> Option<u64> {
        parse_count(&std::fs::read_to_string(&self.failures).ok()?)
    }
}

/// `0x1f`, as `show_iostat_ioerr_cnt` of `drivers/scsi/scsi_sysfs.c` prints it.
fn parse_count(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// The kernel's number of an SPC type.
fn kernel_type(kind: u8) -> Option<u32> {
    match kind {
        1 => Some(1),
        3 => Some(2),
        5 => Some(pr::WRITE_EXCLUSIVE_REGISTRANTS_ONLY),
        6 => Some(4),
        7 => Some(5),
        8 => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::reservations::WRITE_EXCLUSIVE_REGISTRANTS_ONLY;

    #[test]
    fn the_type_that_spc_calls_five_is_the_kernels_three() {
        assert_eq!(kernel_type(WRITE_EXCLUSIVE_REGISTRANTS_ONLY), Some(3));
    }

    #[test]
    fn failed_commands_are_counted_in_hexadecimal() {
        assert_eq!(parse_count("0x1f\n"), Some(0x1f));
        assert_eq!(parse_count("31\n"), None);
        assert_eq!(parse_count(""), None);
    }

    #[test]
    fn status_is_not_an_errno() {
        assert_eq!(answer(Ok(pr::Status(0x18))), Answer::Conflict);
        assert_eq!(
            answer(Ok(pr::Status(2))),
            Answer::Failed(Trouble::Status(2))
        );
        assert_eq!(answer(Err(rustix::io::Errno::INVAL)), Answer::Refused);
    }

    #[test]
    fn a_file_that_is_no_disk_has_no_reservations() {
        let scsi = Scsi {
            failures: "/dev/null".into(),
            proof: Proof::new(Path::new("/dev/null"), 512),
            file: proof::open(Path::new("/dev/null"), 0).unwrap(),
        };
        assert_eq!(scsi.read(), Err(ReadError::Unsupported));
        assert_eq!(scsi.capabilities(), None);
    }
}
