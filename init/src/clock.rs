//! The one clock for what is decided: `CLOCK_BOOTTIME`, which goes on while a machine is suspended or its virtual
//! machine is stopped by a signal, so that a gap in our own running shows as a gap.

use embassy_time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Time since the kernel started.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative: the clock begins at zero.
    Instant::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

/// Times before this are those of a machine whose clock was never set: 2024.
const SANE_SECONDS: i64 = 1_704_067_200;

/// The time of day, in milliseconds since 1970, as far as it can be believed: for people, never for a decision.
pub fn unix_ms() -> Option<u64> {
    let time = clock_gettime(ClockId::Realtime);
    // Not negative where it is sane.
    (time.tv_sec >= SANE_SECONDS)
        .then(|| time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
}
