//! Notices when the host itself stalled: a measurement from such a time says nothing about heads.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const TICK: Duration = Duration::from_millis(20);
/// Lateness that is recorded: a quarter of what it takes to call a peer dead.
const STALL: Duration = Duration::from_millis(250);
const STALLS_MAX: usize = 1000;

/// A stretch in which a sleeping thread of the host did not get to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stall {
    /// When it ended, in milliseconds of the Unix epoch.
    pub ended_unix_ms: u64,
    /// How much too late the thread ran.
    pub late_ms: u64,
}

/// The record of stalls.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<Vec<Stall>>>);

impl Clock {
    /// Starts watching.
    pub fn start() -> Self {
        let clock = Self::default();
        let record = Arc::clone(&clock.0);
        thread::spawn(move || {
            loop {
                let began = Instant::now();
                thread::sleep(TICK);
                let late = began.elapsed().saturating_sub(TICK);
                if late >= STALL {
                    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                    if record.len() < STALLS_MAX {
                        record.push(Stall {
                            ended_unix_ms: unix_ms(),
                            late_ms: late.as_millis() as u64,
                        });
                    }
                }
            }
        });
        clock
    }

    /// What was seen so far.
    pub fn stalls(&self) -> Vec<Stall> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Now, in milliseconds of the Unix epoch.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// A time of day (UTC) with milliseconds, for reports.
pub fn time_of_day(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000 % 86_400, unix_ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
