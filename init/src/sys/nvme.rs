//! One NVMe command to a namespace or its controller by passthrough, `include/uapi/linux/nvme_ioctl.h`.
//!
//! A positive return is the status that the controller answered with, not a failure of the call: `rustix::ioctl::Updater` would drop
//! it, so the calls implement `Ioctl` themselves. The kernel tries such a command once.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// `struct nvme_passthru_cmd`.
#[repr(C)]
#[derive(Default)]
struct Passthrough {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dword_2: u32,
    dword_3: u32,
    metadata: u64,
    data: u64,
    metadata_length: u32,
    data_length: u32,
    dword_10: u32,
    dword_11: u32,
    dword_12: u32,
    dword_13: u32,
    dword_14: u32,
    dword_15: u32,
    timeout_ms: u32,
    result: u32,
}

// The size is part of the ioctls' numbers: a wrong layout must not compile.
const _: () = assert!(size_of::<Passthrough>() == 72);

const ID: Opcode = opcode::none(b'N', 0x40);
const ADMIN_CMD: Opcode = opcode::read_write::<Passthrough>(b'N', 0x41);
const IO_CMD: Opcode = opcode::read_write::<Passthrough>(b'N', 0x43);

/// To whom a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// The controller.
    Admin,
    /// The namespace.
    Io,
}

/// A command, without its data. Which way these go is in the lowest two bits of the opcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub opcode: u8,
    /// The namespace; zero for a command that is about none.
    pub namespace: u32,
    /// Dword 10 of the submission.
    pub dword_10: u32,
    /// Dword 11.
    pub dword_11: u32,
}

/// What came back: status type and code, as they stand in the lowest eleven bits of the status field; zero is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

/// The bits of the status field that are type and code: above them stand hints on trying again.
const TYPE_AND_CODE: i32 = 0x7ff;

struct Call<'a> {
    opcode: Opcode,
    argument: &'a mut Passthrough,
}

// SAFETY: the opcodes are built from the size of the structure that is passed, whose layout is that of the header (tested), and its
// `data` points to memory that `execute` borrows exclusively, for `data_length` bytes, while the call lasts.
unsafe impl Ioctl for Call<'_> {
    type Output = Status;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self.argument).cast()
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        _argument: *mut c_void,
    ) -> rustix::io::Result<Status> {
        // Within eleven bits.
        Ok(Status((out & TYPE_AND_CODE) as u16))
    }
}

/// Sends `command`. `data` is what the controller reads or fills, by the command; the kernel aborts it after `timeout`, and resets the
/// controller if that does not help.
pub fn execute(
    disk: BorrowedFd<'_>,
    queue: Queue,
    command: Command,
    data: &mut [u8],
    timeout: Duration,
) -> rustix::io::Result<Status> {
    let Ok(data_length) = u32::try_from(data.len()) else {
        return Err(rustix::io::Errno::INVAL);
    };
    let mut argument = Passthrough {
        opcode: command.opcode,
        namespace: command.namespace,
        data: data.as_mut_ptr().expose_provenance() as u64,
        data_length,
        dword_10: command.dword_10,
        dword_11: command.dword_11,
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        ..Passthrough::default()
    };
    let opcode = match queue {
        Queue::Admin => ADMIN_CMD,
        Queue::Io => IO_CMD,
    };
    let argument = &mut argument;
    // SAFETY: see the implementation of `Ioctl`; a file that is no NVMe disk answers an errno.
    unsafe { rustix::ioctl::ioctl(disk, Call { opcode, argument }) }
}

struct Id;

// SAFETY: the call has no argument; its return is the number.
unsafe impl Ioctl for Id {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        ID
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _argument: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(out).map_err(|_| rustix::io::Errno::RANGE)
    }
}

/// The number of the namespace that a block device is; an errno for any other.
pub fn namespace(disk: BorrowedFd<'_>) -> rustix::io::Result<u32> {
    // SAFETY: see the implementation of `Ioctl`.
    unsafe { rustix::ioctl::ioctl(disk, Id) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn layout_and_numbers_are_those_of_the_kernel_header() {
        let Some(kernel) = super::super::headers::evaluate(
            &["sys/ioctl.h", "linux/nvme_ioctl.h"],
            &[
                "sizeof(struct nvme_passthru_cmd)",
                "offsetof(struct nvme_passthru_cmd, nsid)",
                "offsetof(struct nvme_passthru_cmd, addr)",
                "offsetof(struct nvme_passthru_cmd, data_len)",
                "offsetof(struct nvme_passthru_cmd, cdw10)",
                "offsetof(struct nvme_passthru_cmd, cdw11)",
                "offsetof(struct nvme_passthru_cmd, timeout_ms)",
                "offsetof(struct nvme_passthru_cmd, result)",
                "NVME_IOCTL_ID",
                "NVME_IOCTL_ADMIN_CMD",
                "NVME_IOCTL_IO_CMD",
            ],
        ) else {
            return;
        };
        let ours = [
            size_of::<Passthrough>() as u64,
            offset_of!(Passthrough, namespace) as u64,
            offset_of!(Passthrough, data) as u64,
            offset_of!(Passthrough, data_length) as u64,
            offset_of!(Passthrough, dword_10) as u64,
            offset_of!(Passthrough, dword_11) as u64,
            offset_of!(Passthrough, timeout_ms) as u64,
            offset_of!(Passthrough, result) as u64,
            u64::from(ID),
            u64::from(ADMIN_CMD),
            u64::from(IO_CMD),
        ];
        assert_eq!(kernel, ours);
    }

    #[test]
    fn numbers_are_those_seen_on_a_running_kernel() {
        assert_eq!(ID, 0x4e40);
        assert_eq!(ADMIN_CMD, 0xc048_4e41);
        assert_eq!(IO_CMD, 0xc048_4e43);
    }

    #[test]
    fn a_file_that_is_no_namespace_is_an_errno() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(namespace(file.as_fd()).is_err());
        let (command, time) = (Command::default(), Duration::from_secs(1));
        for queue in [Queue::Admin, Queue::Io] {
            assert!(execute(file.as_fd(), queue, command, &mut [0; 8], time).is_err());
        }
    }
}
