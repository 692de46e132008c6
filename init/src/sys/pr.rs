//! The block layer's persistent reservation ioctls, `include/uapi/linux/pr.h`.
//!
//! A positive return is a status of the command, not a failure of the call (`PR_STS_*` in
//! `include/linux/pr.h` of the kernel): `rustix::ioctl::Setter` would drop it, so the calls implement
//! `Ioctl` themselves. A call can block for as long as the kernel retries a dead disk (30 s and more).

use std::ffi::c_void;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// `PR_WRITE_EXCLUSIVE_REG_ONLY`: the kernel's number, which SPC calls 5.
pub const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: u32 = 3;

/// Ignore the key registered before (`PR_FL_IGNORE_KEY`).
const IGNORE_KEY: u32 = 1;

/// What the disk said: zero is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// The command was carried out.
    pub const GOOD: Status = Status(0);
    /// `PR_STS_RESERVATION_CONFLICT`.
    pub const CONFLICT: Status = Status(0x18);
}

#[repr(C)]
struct Registration {
    old_key: u64,
    new_key: u64,
    flags: u32,
    pad: u32,
}

#[repr(C)]
struct Reservation {
    key: u64,
    kind: u32,
    flags: u32,
}

#[repr(C)]
struct Preemption {
    old_key: u64,
    new_key: u64,
    kind: u32,
    flags: u32,
}

/// One of the calls: its number and its argument, which the kernel only reads.
struct Call<T> {
    opcode: Opcode,
    argument: T,
}

// SAFETY: each opcode below is built from the size of the very structure that is passed, the layouts
// are those of linux/pr.h (tested), and the kernel does not write to the argument.
unsafe impl<T> Ioctl for Call<T> {
    type Output = Status;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.argument).cast()
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        _argument: *mut c_void,
    ) -> rustix::io::Result<Status> {
        Ok(Status(out))
    }
}

const REGISTER: Opcode = opcode::write::<Registration>(b'p', 200);
const RESERVE: Opcode = opcode::write::<Reservation>(b'p', 201);
const RELEASE: Opcode = opcode::write::<Reservation>(b'p', 202);
const PREEMPT: Opcode = opcode::write::<Preemption>(b'p', 203);
const PREEMPT_ABORT: Opcode = opcode::write::<Preemption>(b'p', 204);

fn call<T>(disk: BorrowedFd<'_>, opcode: Opcode, argument: T) -> rustix::io::Result<Status> {
    // SAFETY: see the implementation of `Ioctl`; on a file that is no block device, or a disk that
    // has no reservations, the kernel answers an errno and touches nothing.
    unsafe { rustix::ioctl::ioctl(disk, Call { opcode, argument }) }
}

/// Registers `new` for this path, in place of `old`; whatever is registered when `old` is `None`.
/// A `new` of zero unregisters.
pub fn register(disk: BorrowedFd<'_>, old: Option<u64>, new: u64) -> rustix::io::Result<Status> {
    let argument = Registration {
        old_key: old.unwrap_or(0),
        new_key: new,
        flags: if old.is_none() { IGNORE_KEY } else { 0 },
        pad: 0,
    };
    call(disk, REGISTER, argument)
}

/// Reserves the disk with our registered `key`.
pub fn reserve(disk: BorrowedFd<'_>, key: u64) -> rustix::io::Result<Status> {
    let argument = Reservation {
        key,
        kind: WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
        flags: 0,
    };
    call(disk, RESERVE, argument)
}

/// Releases our reservation, which is of the kernel's type `kind`.
pub fn release(disk: BorrowedFd<'_>, key: u64, kind: u32) -> rustix::io::Result<Status> {
    let argument = Reservation {
        key,
        kind,
        flags: 0,
    };
    call(disk, RELEASE, argument)
}

/// Removes the registrations with `victim`, taking over the reservation if it is theirs; with
/// `abort`, their commands are aborted too. The kernel calls our own key the old one.
pub fn preempt(
    disk: BorrowedFd<'_>,
    own: u64,
    victim: u64,
    abort: bool,
) -> rustix::io::Result<Status> {
    let argument = Preemption {
        old_key: own,
        new_key: victim,
        kind: WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
        flags: 0,
    };
    call(disk, if abort { PREEMPT_ABORT } else { PREEMPT }, argument)
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn layouts_and_numbers_are_those_of_the_kernel_header() {
        let Some(kernel) = super::super::headers::evaluate(
            &["sys/ioctl.h", "linux/pr.h"],
            &[
                "sizeof(struct pr_registration)",
                "offsetof(struct pr_registration, flags)",
                "sizeof(struct pr_reservation)",
                "offsetof(struct pr_reservation, type)",
                "sizeof(struct pr_preempt)",
                "offsetof(struct pr_preempt, type)",
                "IOC_PR_REGISTER",
                "IOC_PR_RESERVE",
                "IOC_PR_RELEASE",
                "IOC_PR_PREEMPT",
                "IOC_PR_PREEMPT_ABORT",
                "PR_WRITE_EXCLUSIVE_REG_ONLY",
                "PR_FL_IGNORE_KEY",
            ],
        ) else {
            return;
        };
        let ours = [
            size_of::<Registration>() as u64,
            offset_of!(Registration, flags) as u64,
            size_of::<Reservation>() as u64,
            offset_of!(Reservation, kind) as u64,
            size_of::<Preemption>() as u64,
            offset_of!(Preemption, kind) as u64,
            u64::from(REGISTER),
            u64::from(RESERVE),
            u64::from(RELEASE),
            u64::from(PREEMPT),
            u64::from(PREEMPT_ABORT),
            u64::from(WRITE_EXCLUSIVE_REGISTRANTS_ONLY),
            u64::from(IGNORE_KEY),
        ];
        assert_eq!(kernel, ours);
    }

    #[test]
    fn numbers_are_those_seen_on_a_running_kernel() {
        assert_eq!(REGISTER, 0x4018_70c8);
        assert_eq!(RESERVE, 0x4010_70c9);
        assert_eq!(RELEASE, 0x4010_70ca);
        assert_eq!(PREEMPT, 0x4018_70cb);
        assert_eq!(PREEMPT_ABORT, 0x4018_70cc);
    }

    #[test]
    fn a_file_that_is_no_disk_is_an_errno() {
        use std::os::fd::AsFd;
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(register(file.as_fd(), None, 1).is_err());
    }
}
