//! The duties of PID 1 towards signals and children.
//!
//! All signals are blocked before the first thread starts, and one thread, the main one, waits for
//! them: no handler ever runs in the middle of something. The kernel also gives orphans to PID 1,
//! so whatever dies is reaped here.

use std::io;

use rustix::{
    process::{WaitOptions, wait},
    system::{RebootCommand, reboot},
};

use crate::helper;
use crate::sys::signal;

/// An orderly halt that somebody asked for by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltRequest {
    /// Ctrl-Alt-Del, or SIGTERM.
    Reboot,
    /// SIGPWR (power failing) or SIGUSR2 (as BusyBox's init has it).
    Poweroff,
}

/// Blocks all signals and turns Ctrl-Alt-Del from an instant reset into a request.
/// To be called first of all in `main`, before any thread exists.
pub fn prepare() -> io::Result<()> {
    signal::block_all()?;
    // Refused to everybody but a real PID 1: nothing is lost then.
    match reboot(RebootCommand::CadOff) {
        Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Reaps children and hands on requests, for ever. Meant for the main thread.
///
/// `on_request` must return soon: it tells the reactor, and does not do the work itself.
pub fn run(mut on_request: impl FnMut(HaltRequest)) -> io::Error {
    loop {
        match signal::wait() {
            Ok(libc::SIGCHLD) => reap(),
            Ok(number) => {
                if let Some(request) = request(number) {
                    on_request(request);
                }
            }
            Err(error) => return error,
        }
    }
}

fn request(number: i32) -> Option<HaltRequest> {
    match number {
        libc::SIGINT | libc::SIGTERM => Some(HaltRequest::Reboot),
        libc::SIGPWR | libc::SIGUSR2 => Some(HaltRequest::Poweroff),
        _ => None,
    }
}

/// Takes every child that has ended; signals of the same number merge, so one SIGCHLD may be many. A helper is its
/// starter's.
fn reap() {
    let Some(_none) = helper::none_runs() else {
        return;
    };
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        tracing::debug!(pid = pid.as_raw_nonzero().get(), ?status, "a child ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_alt_del_is_an_orderly_reboot_and_strange_signals_are_nothing() {
        assert_eq!(request(libc::SIGINT), Some(HaltRequest::Reboot));
        assert_eq!(request(libc::SIGPWR), Some(HaltRequest::Poweroff));
        assert_eq!(request(libc::SIGHUP), None);
        assert_eq!(request(libc::SIGWINCH), None);
    }
}
