//! Signal masks and waiting, which `rustix` leaves to the C library.

use std::{io, mem::MaybeUninit};

/// Faults of the program itself. Blocking them would only hide their cause: the kernel kills anyway.
const FAULTS: [libc::c_int; 5] = [
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGTRAP,
];

fn all_but_faults() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    let mut set = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    };
    for fault in FAULTS {
        // SAFETY: the set is initialised, and the number is a signal's.
        unsafe { libc::sigdelset(&raw mut set, fault) };
    }
    set
}

/// Blocks every signal but faults in the calling thread and in all threads that it starts from now on.
/// To be called before the first thread, so that only [`wait`] ever sees a signal.
pub fn block_all() -> io::Result<()> {
    let set = all_but_faults();
    // SAFETY: the set is initialised; the old mask is not asked for.
    let errno =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(())
}

/// Waits for one of the signals that [`block_all`] blocked, and returns its number.
pub fn wait() -> io::Result<i32> {
    let set = all_but_faults();
    loop {
        // SAFETY: the set is initialised, and no information beyond the number is asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        if signal > 0 {
            return Ok(signal);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
