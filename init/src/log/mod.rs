//! Log lines to the console, the kernel log and a ring.
//!
//! A thread that logs must never wait, because the heartbeat thread logs too and the console may be a
//! slow serial line. So a line is formatted into a fixed buffer on the caller's stack ([`layer`]) and
//! offered to a bounded queue ([`queue`]); neither allocates. One thread drains the queue into the
//! kernel log and the ring, where the console and `log` find it, each at its own pace. What did not fit
//! is counted, and said.
//!
//! The kernel's own warnings (a disk that fails, a link that drops) are read from `/dev/kmsg` into the
//! same ring ([`kmsg`]). In return the kernel is told to print nothing but emergencies to its consoles:
//! each line appears once, and never in the middle of what somebody types. What it says again and again is counted ([`repeat`]).
//!
//! While this head holds a pool the lines go to its flight record as well, on the pool's disks (`ledger`), which
//! follows the ring like any other reader.
//!
//! `tracing_subscriber::fmt` is not used: it formats into a heap buffer and writes in the caller.

mod kmsg;
mod layer;
mod line;
mod queue;
mod repeat;
mod ring;

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt as _};

use crate::sys::klog;
pub use line::{Level, Line, Source};
use repeat::Repeats;
pub use ring::Batch;
use ring::Ring;

/// Lines that the ring holds: some hours of a quiet head, a minute of a very bad one, about 200 KiB.
pub const RING_LINES: usize = 1000;

static RING: Mutex<Ring> = Mutex::new(Ring::new(RING_LINES));
static NEWS: Condvar = Condvar::new();

/// The log could not be started.
#[derive(Debug, Error)]
#[error("log: {step}: {errno}")]
pub struct LogError {
    /// What was being done.
    step: &'static str,
    /// The kernel's answer.
    errno: io::Error,
}

/// Starts the log: from here on `tracing` events arrive. Once, after the base mounts.
///
/// Without `/dev/kmsg` (a test, a container) the ring and the console still work.
pub fn start(level: LevelFilter) -> Result<(), LogError> {
    let failed = |step| move |errno| LogError { step, errno };
    queue::prepare().map_err(failed("make the queue's event"))?;
    // Refused when this is no head but somebody's desk: the kernel then goes on printing, no harm.
    let _ = klog::set_console_level(1);
    let spawn = |name: &str, run: fn()| {
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map(drop)
    };
    spawn("log", drain).map_err(failed("start the thread"))?;
    spawn("kernel-log", follow_kernel).map_err(failed("start the kernel's thread"))?;
    let subscriber = tracing_subscriber::registry().with(layer::RingLayer::new(level));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| failed("install")(io::ErrorKind::AlreadyExists.into()))
}

/// The last `lines` lines, oldest first.
pub fn recent(lines: usize) -> Vec<Line> {
    ring().recent(lines)
}

/// The lines from number `next` on, waiting up to `patience` for the first. Never more than `most`:
/// a reader that is behind by more is told how many it missed.
pub fn follow(next: u64, most: usize, patience: Duration) -> Batch {
    let guard = ring();
    let (guard, _) = NEWS
        .wait_timeout_while(guard, patience, |ring| ring.next() <= next)
        .unwrap_or_else(PoisonError::into_inner);
    guard.since(next, most)
}

/// The ring is plain data: a thread that panicked while holding it left it usable.
fn ring() -> MutexGuard<'static, Ring> {
    RING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(line: Line) {
    ring().push(line);
    NEWS.notify_all();
}

/// The thread between the queue and everybody who may be slow.
fn drain() {
    let mut kernel = kmsg::Writer::open();
    loop {
        queue::wait();
        let (lines, lost) = queue::take();
        for line in lines {
            kernel.write(&line);
            keep(line);
        }
        if lost > 0 {
            let text = format!("{lost} log lines were lost: more at once than the queue holds");
            let line = Line::now(Level::Warn, Source::Orthrus, text);
            kernel.write(&line);
            keep(line);
        }
    }
}

/// The thread that brings the kernel's warnings.
fn follow_kernel() {
    let mut reader = match kmsg::Reader::open() {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!("the kernel's log cannot be read, /dev/kmsg: {error}");
            return;
        }
    };
    let mut repeats = Repeats::default();
    loop {
        let next = reader.next_warning(repeats.wait(line::now_us()));
        repeats.due(line::now_us()).into_iter().for_each(keep);
        match next {
            Ok(line) => line
                .and_then(|line| repeats.take(line))
                .into_iter()
                .for_each(keep),
            Err(error) => {
                tracing::warn!("the kernel's log ends here, /dev/kmsg: {error}");
                return;
            }
        }
    }
}
