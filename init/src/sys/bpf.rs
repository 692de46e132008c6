//! The `bpf` system call, `include/uapi/linux/bpf.h`: as much of it as one small program on a port takes.
//!
//! A map of one number that both we and the kernel's program see, a program, and its place on a port. Instructions
//! are made in `net::gate`, where they can be read; the kernel's verifier checks them before it takes them.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

// `enum bpf_cmd`.
const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
#[cfg(test)]
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// `BPF_F_MMAPABLE`.
const MAPPABLE: u32 = 1 << 10;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
/// `BPF_TCX_EGRESS` of `enum bpf_attach_type`, in Linux from 6.6 on.
const TCX_EGRESS: u32 = 47;

/// What the kernel maps of the map's one number: a page.
const PAGE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and source.
    pub code: u8,
    /// The destination's register in the low half, the source's in the high one.
    pub registers: u8,
    /// Distance of a jump, or of a load.
    pub offset: i16,
    /// The operand.
    pub immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// `union bpf_attr`, as far as any call here fills it; the kernel takes the rest for zero.
#[repr(C, align(8))]
struct Attributes([u8; 72]);

impl Attributes {
    fn new() -> Attributes {
        Attributes([0; 72])
    }

    fn put32(mut self, at: usize, value: u32) -> Attributes {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn put64(mut self, at: usize, value: u64) -> Attributes {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn put_pointer<T>(self, at: usize, to: *const T) -> Attributes {
        self.put64(at, to.expose_provenance() as u64)
    }

    /// # Safety
    /// The pointers in it must be valid for what the command does with them.
    unsafe fn call(&mut self, command: libc::c_int) -> Result<libc::c_long, Errno> {
        // SAFETY: the kernel reads and writes at most the length that it is given; for the rest the caller speaks.
        let done = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                self.0.len() as libc::c_uint,
            )
        };
        match done {
            0.. => Ok(done),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    }

    /// # Safety
    /// As of [`Attributes::call`], for a command that answers with a descriptor.
    unsafe fn open(&mut self, command: libc::c_int) -> Result<OwnedFd, Errno> {
        // SAFETY: by the caller.
        let fd = unsafe { self.call(command) }?;
        let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
        // SAFETY: the kernel just made this descriptor for us; nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// A number that programs in the kernel read while we change it, without a system call.
pub struct Number {
    map: OwnedFd,
    page: NonNull<c_void>,
}

// SAFETY: the page is only ever used as one atomic number, and stays mapped as long as this lives.
unsafe impl Send for Number {}
// SAFETY: as above.
unsafe impl Sync for Number {}

impl Number {
    /// A new one, zero.
    pub fn new() -> Result<Number, Errno> {
        let mut attributes = Attributes::new()
            .put32(0, ARRAY)
            .put32(4, 4) // size of a key
            .put32(8, 8) // size of a value
            .put32(12, 1) // entries
            .put32(16, MAPPABLE);
        // SAFETY: no pointer in it.
        let map = unsafe { attributes.open(MAP_CREATE) }?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                PAGE.get(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &map,
                0,
            )
        }?;
        let page = NonNull::new(page).ok_or(Errno::FAULT)?;
        Ok(Number { map, page })
    }

    /// Changes it.
    pub fn set(&self, value: u64) {
        self.cell().store(value, Ordering::Relaxed);
    }

    /// What it is.
    #[cfg(test)]
    pub fn value(&self) -> u64 {
        self.cell().load(Ordering::Relaxed)
    }

    fn cell(&self) -> &AtomicU64 {
        // SAFETY: the page is aligned, mapped as long as `self` lives, and both sides use the number in one piece.
        unsafe { AtomicU64::from_ptr(self.page.as_ptr().cast()) }
    }

    /// For the instruction that loads its address.
    pub fn descriptor(&self) -> i32 {
        self.map.as_fd().as_raw_fd()
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nothing borrows from it.
        let _ = unsafe { rustix::mm::munmap(self.page.as_ptr(), PAGE.get()) };
    }
}

/// A program that the kernel took.
pub struct Program(OwnedFd);

impl Program {
    /// Has a program checked and taken, for the way out of a port. A refusal is `EACCES` or `EINVAL`.
    pub fn load(instructions: &[Instruction]) -> Result<Program, Errno> {
        let license = c"Dual MIT/GPL";
        let count = u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?;
        let mut attributes = Attributes::new()
            .put32(0, SCHED_CLS)
            .put32(4, count)
            .put_pointer(8, instructions.as_ptr())
            .put_pointer(16, license.as_ptr())
            .put32(68, TCX_EGRESS);
        // SAFETY: the kernel reads as many instructions as it is told, and the licence to its zero; both outlive this.
        unsafe { attributes.open(PROG_LOAD) }.map(Program)
    }

    /// Puts it on the way out of a port, where it stays as long as what is returned lives.
    pub fn attach(&self, interface: u32) -> Result<Attached, Errno> {
        let program = self.0.as_raw_fd().cast_unsigned();
        let mut attributes = Attributes::new()
            .put32(0, program)
            .put32(4, interface)
            .put32(8, TCX_EGRESS);
        // SAFETY: no pointer in it.
        unsafe { attributes.open(LINK_CREATE) }.map(Attached)
    }

    /// What it says of a frame.
    #[cfg(test)]
    pub fn run(&self, frame: &[u8]) -> Result<i32, Errno> {
        let mut attributes = Attributes::new()
            .put32(0, self.0.as_raw_fd().cast_unsigned())
            .put32(8, frame.len() as u32)
            .put_pointer(16, frame.as_ptr())
            .put32(32, 1); // once
        // SAFETY: the kernel reads the frame, and writes nothing but into the attributes.
        unsafe { attributes.call(PROG_TEST_RUN) }?;
        let said = [4, 5, 6, 7].map(|at| attributes.0[at]);
        Ok(i32::from_ne_bytes(said))
    }
}

/// A program on a port; dropped, it is gone from there.
pub struct Attached(#[expect(dead_code, reason = "held, not used")] OwnedFd);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_and_numbers_are_those_of_the_kernel_header() {
        let Some(kernel) = super::super::headers::evaluate(
            &["linux/bpf.h"],
            &[
                "BPF_MAP_CREATE",
                "BPF_PROG_LOAD",
                "BPF_PROG_TEST_RUN",
                "BPF_LINK_CREATE",
                "BPF_MAP_TYPE_ARRAY",
                "BPF_F_MMAPABLE",
                "BPF_PROG_TYPE_SCHED_CLS",
                "offsetof(union bpf_attr, max_entries)",
                "offsetof(union bpf_attr, map_flags)",
                "offsetof(union bpf_attr, insns)",
                "offsetof(union bpf_attr, license)",
                "offsetof(union bpf_attr, expected_attach_type)",
                "offsetof(union bpf_attr, link_create.target_ifindex)",
                "offsetof(union bpf_attr, link_create.attach_type)",
                "offsetof(union bpf_attr, test.retval)",
                "offsetof(union bpf_attr, test.data_size_in)",
                "offsetof(union bpf_attr, test.data_in)",
                "offsetof(union bpf_attr, test.repeat)",
                "sizeof(struct bpf_insn)",
            ],
        ) else {
            return;
        };
        let ours = [
            MAP_CREATE as u64,
            PROG_LOAD as u64,
            PROG_TEST_RUN as u64,
            LINK_CREATE as u64,
            u64::from(ARRAY),
            u64::from(MAPPABLE),
            u64::from(SCHED_CLS),
            12,
            16,
            8,
            16,
            68,
            4,
            8,
            4,
            8,
            16,
            32,
            size_of::<Instruction>() as u64,
        ];
        assert_eq!(kernel, ours);
    }
}
