//! What makes the heartbeat thread run on time: locked memory, a touched stack, real-time priority; and what keeps all that is
//! locked small.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};

/// Stack that the heartbeat thread has in memory before it starts beating. Its deepest call (a frame
/// with its MAC, a log line) uses a small part of it.
const STACK_BYTES: usize = 128 * 1024;

/// Keeps in memory whatever is touched, from now on and for ever.
///
/// Only what is touched (`MCL_ONFAULT`): filling all mappings at once would fill the whole stack of every
/// thread, 2 MiB each, which a head's memory budget cannot afford. The program itself is in the initramfs,
/// so even a first touch waits for no disk; a thread that must not wait at all calls [`touch_stack`] first.
pub fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    Ok(())
}

/// Arenas of the allocator. By default it makes up to eight a processor, and what many short threads (one a disk, for each
/// look) leave in each of them stays in memory. None of these threads is in a hurry for memory; the heartbeat asks for none.
const ARENAS: libc::c_int = 2;

/// Keeps the allocator from spreading over the memory. Before the first thread.
pub fn few_arenas() {
    // SAFETY: it sets a number of the allocator's; a value that is not taken is not an error.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

/// Brings the first [`STACK_BYTES`] of the calling thread's stack into memory.
#[inline(never)]
pub fn touch_stack() {
    let mut area = [0u8; STACK_BYTES];
    std::hint::black_box(&mut area);
}

/// Gives the calling thread real-time priority (`SCHED_FIFO`, 1 to 99).
///
/// Threads that it starts do not inherit it (`SCHED_RESET_ON_FORK`): one is enough to starve a CPU.
pub fn set_realtime(priority: u8) -> io::Result<()> {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = libc::c_int::from(priority);
    // SAFETY: thread 0 is the caller, and the kernel only reads the structure.
    let done = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameters,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
