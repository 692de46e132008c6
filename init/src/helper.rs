//! Helpers: the few programs beside PID 1, each for one purpose. The image says which (`image/src/helpers.rs`).
//!
//! A helper is given its arguments and nothing else: no environment, no input, a time in which it must end, in which another one is waited
//! for as well. What it
//! says goes into the log, when it matters. There is never more than one at a time, and while there is one nobody else may
//! reap children: PID 1 takes what ends, and would take the helper's status away from who waits for it.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Where they are in the image.
const PLACE: &str = "/helpers";
/// The dynamic linker among their libraries: it is what is started.
const LINKER: &str = "ld-linux-x86-64.so.2";
/// How often it is looked whether one has ended, and whether another one may begin.
const LOOK: Duration = Duration::from_millis(5);
/// How long one that was told to end is waited for: until then it holds its volume, and may write there.
const END_LIMIT: Duration = Duration::from_secs(1);
/// Of what one says this much is kept.
const SAID_MAX: u64 = 4096;

/// Held while a helper runs.
static RUNNING: Mutex<()> = Mutex::new(());

/// Why a helper did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It could not be started, or not waited for.
    #[error("{name}: {step}: {source}")]
    Run {
        /// The program.
        name: &'static str,
        /// What was being done.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// There was no time left for it.
    #[error("{name} was not started: there was no time left for it, other checks took it")]
    Busy {
        /// The program.
        name: &'static str,
    },
    /// It was ended, because it took too long.
    #[error("{name} did not end within {} s", limit.as_secs())]
    TooLong {
        /// The program.
        name: &'static str,
        /// How long it may take.
        limit: Duration,
    },
}

/// What a helper came to.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of what it said.
    pub said: String,
}

/// Runs a helper to its end.
pub fn run(name: &'static str, arguments: &[&str], limit: Duration) -> Result<Done, HelperError> {
    let place = Path::new(PLACE);
    let libraries = place.join("lib");
    let mut command = Command::new(libraries.join(LINKER));
    command.arg("--inhibit-cache").arg("--library-path");
    command.arg(&libraries).arg(place.join(name));
    run_command(name, command.args(arguments), limit)
}

fn run_command(
    name: &'static str,
    command: &mut Command,
    limit: Duration,
) -> Result<Done, HelperError> {
    let failed = |step| move |source| HelperError::Run { name, step, source };
    let begun = Instant::now();
    let _running = loop {
        let is_late = begun.elapsed() >= limit;
        match none_runs() {
            Some(guard) if !is_late => break guard,
            _ if is_late => return Err(HelperError::Busy { name }),
            _ => thread::sleep(LOOK),
        }
    };
    let child = command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(failed("start"))?;
    // It could wait for us to read, and we for it to end.
    let listener = child.stderr.take().map(|mut stderr| {
        thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.by_ref().take(SAID_MAX).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&said).trim().to_owned()
        })
    });
    let status =
        wait(&mut child, limit.saturating_sub(begun.elapsed())).map_err(failed("wait for it"))?;
    let Some(status) = status else {
        // Stuck in the kernel it does not end; its listener is left alone with it.
        let _ = child.kill();
        let _ = wait(&mut child, END_LIMIT);
        return Err(HelperError::TooLong { name, limit });
    };
    let said = listener.and_then(|listener| listener.join().ok());
    Ok(Done {
        status,
        said: said.unwrap_or_default(),
    })
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// For who reaps children: nobody else's while this is held, `None` while a helper runs. What ends meanwhile waits for
/// the next time.
pub fn none_runs() -> Option<MutexGuard<'static, ()>> {
    match RUNNING.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str, limit: Duration) -> Result<Done, HelperError> {
        run_command("sh", Command::new("/bin/sh").args(["-c", script]), limit)
    }

    #[test]
    fn status_and_words_come_back_and_no_environment_goes_in() {
        let done = shell("echo \"<$HOME>\" >&2; cat; exit 4", LIMIT).unwrap();
        assert_eq!(done.status.code(), Some(4));
        assert_eq!(done.said, "<>");
    }

    #[test]
    fn one_that_says_too_much_is_not_held_up() {
        let done = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2", LIMIT).unwrap();
        assert!(done.status.success());
        assert_eq!(done.said.len() as u64, SAID_MAX);
    }

    #[test]
    fn another_one_is_waited_for_within_the_time_that_there_is() {
        let (started, start) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn(move || {
            let _running = RUNNING.lock();
            started.send(()).unwrap();
            let _ = ended.recv();
        });
        start.recv().unwrap();
        let late = shell("exit 0", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(late, HelperError::Busy { .. }), "{late}");
        drop(end);
        other.join().unwrap();
        assert!(shell("exit 0", LIMIT).unwrap().status.success());
        let none = shell("exit 0", Duration::ZERO).unwrap_err();
        assert!(matches!(none, HelperError::Busy { .. }), "{none}");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let error = shell("exec sleep 600", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, HelperError::TooLong { .. }), "{error}");
        let missing = run_command("none", &mut Command::new("/helpers/none"), LIMIT);
        let text = missing.unwrap_err().to_string();
        assert_eq!(text, "none: start: No such file or directory (os error 2)");
    }
}
