//! The one clock: `CLOCK_BOOTTIME`, which goes on while a machine is suspended or its virtual
//! machine is stopped by a signal, so that a gap in our own running shows as a gap.

use embassy_time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Time since the kernel started.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative: the clock begins at zero.
    Instant::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}
