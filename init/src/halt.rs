//! The ways out: immediate reset, orderly reboot and poweroff, and what a panic does.
//!
//! A head that lost its fence, or cannot trust itself, leaves through [`Reset`]: one byte to
//! `/proc/sysrq-trigger`, opened at boot. Not `reboot(2)`, which runs notifiers that may write RAID
//! superblocks and flush caches of disks that belong to the peer by now. Never `sync`, for the same
//! reason and because it can hang for ever.
//!
//! The trigger file obeys no `kernel.sysrq` mask, so it works although the magic keys (and a serial
//! BREAK, which a pulled console cable sends) are turned off.
//!
//! [`Crash`] is no way out: a rehearsal of a kernel that leaves none.

use std::{
    fs::File,
    io::{self, Write as _},
    panic::PanicHookInfo,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::system::RebootCommand;
use thiserror::Error;

/// Why an orderly way out failed: the machine is still running.
#[derive(Debug, Error)]
#[error("{action}: the kernel refused: {errno}")]
pub struct HaltError {
    /// What was asked for.
    pub action: &'static str,
    /// The kernel's answer.
    pub errno: io::Error,
}

/// The reset could not be prepared.
#[derive(Debug, Error)]
#[error("immediate reset: cannot open {path}: {errno}")]
pub struct ResetError {
    /// The trigger file.
    pub path: String,
    /// The kernel's answer.
    pub errno: io::Error,
}

/// The immediate reset, prepared at boot so that it needs no memory, no path and no lock later.
#[derive(Clone, Debug)]
pub struct Reset {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trigger: File,
    /// The kernel's log, for the one line that says why. Absent on a machine without one.
    kmsg: Option<File>,
}

impl Reset {
    /// Prepares the reset; `/proc` must be mounted.
    pub fn open() -> Result<Reset, ResetError> {
        Reset::open_at(Path::new("/proc/sysrq-trigger"), Path::new("/dev/kmsg"))
    }

    pub(crate) fn open_at(trigger: &Path, kmsg: &Path) -> Result<Reset, ResetError> {
        let options = {
            let mut options = File::options();
            options.write(true);
            options
        };
        let trigger_file = options.open(trigger).map_err(|errno| ResetError {
            path: trigger.display().to_string(),
            errno,
        })?;
        let kmsg = options.open(kmsg).ok();
        Ok(Reset {
            inner: Arc::new(Inner {
                trigger: trigger_file,
                kmsg,
            }),
        })
    }

    /// Resets the machine now. Does not sync, does not allocate, does not return.
    ///
    /// `why` is printed at emergency level, so that it reaches the console even now. It costs some
    /// milliseconds at 115200 baud, no more than the line that the kernel prints for the reset itself.
    pub fn reset_now(&self, why: &str) -> ! {
        self.say(why);
        self.trigger();
        // The kernel did not even take the byte: its own orderly reset is worse than ours, and better
        // than staying. When that fails too, the watchdog ends it, because nobody feeds it any more.
        let _ = rustix::system::reboot(RebootCommand::Restart);
        loop {
            std::thread::park_timeout(Duration::from_secs(1));
        }
    }

    fn trigger(&self) {
        let _ = (&self.inner.trigger).write_all(b"b");
    }

    fn say(&self, why: &str) {
        let Some(mut kmsg) = self.inner.kmsg.as_ref() else {
            return;
        };
        // One write is one record; a buffer on the stack, because the heap may be what broke.
        let mut record = heapless::String::<160>::new();
        let _ = record.push_str("<0>orthrus: resetting now: ");
        for character in why.chars() {
            if record.push(character).is_err() {
                break;
            }
        }
        let _ = kmsg.write_all(record.as_bytes());
    }

    /// Makes every panic, in any thread, end in the reset: a head that lost a thread is neither
    /// serving nor standby, and its peer can do better.
    pub fn on_panic(&self) {
        let reset = self.clone();
        std::panic::set_hook(Box::new(move |panic| reset.reset_now(&describe(panic))));
    }
}

/// A crash of the kernel after which nothing runs and nothing resets the machine but the hardware watchdog: a rehearsal. It stops in its
/// own panic, as one does that is stuck with its interrupts off: unlike a head without its heartbeat thread its kernel answers no client.
#[derive(Debug)]
pub struct Crash(File);

impl Crash {
    /// Has the kernel stay in its next panic, and opens the way to it.
    ///
    /// # Errors
    /// The file that the kernel does not let us open or write.
    pub fn prepare() -> Result<Crash, CrashError> {
        let settings = Path::new("/proc/sys/kernel/panic");
        Crash::prepare_at(settings, Path::new("/proc/sysrq-trigger"))
    }

    fn prepare_at(timeout: &Path, trigger: &Path) -> Result<Crash, CrashError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            |errno| CrashError { path, errno }
        };
        let opened = File::options().write(true).open(trigger);
        let trigger = opened.map_err(failed(trigger))?;
        // The seconds after which it would reset by itself; 0 is never.
        std::fs::write(timeout, "0").map_err(failed(timeout))?;
        Ok(Crash(trigger))
    }

    /// Does it after a moment, in which the answer to whoever asked for it goes out.
    ///
    /// # Errors
    /// The errno of starting a thread.
    pub fn begin(self) -> io::Result<()> {
        let crash = move || {
            std::thread::sleep(ANSWER_TIME);
            tracing::warn!("rehearsal: the kernel stops here");
            if let Err(error) = self.now() {
                tracing::error!(%error, "the kernel does not crash");
            }
        };
        let spawned = std::thread::Builder::new().name("rehearsal".to_owned());
        spawned.spawn(crash).map(drop)
    }

    fn now(&self) -> io::Result<()> {
        (&self.0).write_all(b"c")
    }
}

/// How long an answer may take to reach its console.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// The crash could not be prepared: nothing has happened.
#[derive(Debug, Error)]
#[error("crash: cannot write {path}: {errno}")]
pub struct CrashError {
    /// The file.
    pub path: String,
    /// The kernel's answer.
    pub errno: io::Error,
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let what = panic
        .payload()
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    match panic.location() {
        Some(place) => format!(
            "panic in {thread} at {}:{}: {what}",
            place.file(),
            place.line()
        ),
        None => format!("panic in {thread}: {what}"),
    }
}

/// Restarts the machine, as the last step of an orderly halt: the caller has released its pools.
pub fn reboot() -> Result<std::convert::Infallible, HaltError> {
    finish("reboot", RebootCommand::Restart)
}

/// Turns the machine off, as the last step of an orderly halt: the caller has released its pools. The kernel
/// stops the watchdog, which would start the machine again.
pub fn poweroff() -> Result<std::convert::Infallible, HaltError> {
    finish("poweroff", RebootCommand::PowerOff)
}

fn finish(
    action: &'static str,
    command: RebootCommand,
) -> Result<std::convert::Infallible, HaltError> {
    match rustix::system::reboot(command) {
        Err(errno) => Err(HaltError {
            action,
            errno: errno.into(),
        }),
        // The kernel does not return from these when it accepts them; nothing is left to run here.
        Ok(()) => loop {
            std::thread::park();
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_writes_one_b_and_says_why_in_one_bounded_record() {
        let directory = tempfile::TempDir::new().unwrap();
        let dir = directory.path();
        let (trigger, kmsg) = (dir.join("trigger"), dir.join("kmsg"));
        std::fs::write(&trigger, "").unwrap();
        std::fs::write(&kmsg, "").unwrap();
        let reset = Reset::open_at(&trigger, &kmsg).unwrap();
        reset.say(&"lost the fence ".repeat(40));
        reset.trigger();
        assert_eq!(std::fs::read(&trigger).unwrap(), b"b");
        let said = std::fs::read_to_string(&kmsg).unwrap();
        assert!(
            said.starts_with("<0>orthrus: resetting now: lost the fence"),
            "{said}"
        );
        assert!(said.len() <= 160);
    }

    #[test]
    fn a_kernel_that_is_crashed_would_stay_so() {
        let directory = tempfile::TempDir::new().unwrap();
        let dir = directory.path();
        let (timeout, trigger) = (dir.join("panic"), dir.join("trigger"));
        std::fs::write(&timeout, "10").unwrap();
        let missing = Crash::prepare_at(&timeout, &trigger).unwrap_err();
        assert!(missing.to_string().contains("trigger"), "{missing}");
        assert_eq!(
            std::fs::read(&timeout).unwrap(),
            b"10",
            "nothing has happened"
        );
        std::fs::write(&trigger, "").unwrap();
        let crash = Crash::prepare_at(&timeout, &trigger).unwrap();
        assert_eq!(std::fs::read(&timeout).unwrap(), b"0");
        assert_eq!(std::fs::read(&trigger).unwrap(), b"");
        crash.now().unwrap();
        assert_eq!(std::fs::read(&trigger).unwrap(), b"c");
    }

    #[test]
    fn missing_trigger_is_an_error_that_names_it() {
        let error = Reset::open_at(Path::new("/nonexistent/trigger"), Path::new("/dev/null"));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/trigger")
        );
    }
}
