//! The clock of one head: runs a little too fast or too slow, jumps, and can stand still.

use embassy_time::Instant;

/// Microseconds of true time, which no head sees.
pub type Time = u64;

pub const MS: Time = 1000;
pub const SECOND: Time = 1000 * MS;
pub const NEVER: Time = Time::MAX;

const MILLION: u64 = 1_000_000;

/// Reads `local + (true time - origin) * rate`.
#[derive(Clone, Copy)]
pub struct Clock {
    origin: Time,
    local: u64,
    /// Local microseconds in a true second.
    rate: u64,
}

impl Clock {
    /// Begins at a boot.
    pub fn new(now: Time, drift_ppm: i64) -> Clock {
        Clock {
            origin: now,
            local: 2 * SECOND,
            rate: MILLION.saturating_add_signed(drift_ppm),
        }
    }

    pub fn read(&self, now: Time) -> Instant {
        Instant::from_micros(self.local + (now - self.origin) * self.rate / MILLION)
    }

    /// The first true time at which it shows `deadline`.
    pub fn when(&self, deadline: Instant, now: Time) -> Time {
        let left = deadline.as_micros().saturating_sub(self.local);
        now.max(self.origin + left * MILLION / self.rate + 1)
    }

    /// Stood still since `since`.
    pub fn stood_still(&mut self, since: Time, now: Time) {
        self.local = self.read(since).as_micros();
        self.origin = now;
    }

    pub fn jump(&mut self, now: Time, by: u64) {
        self.local = self.read(now).as_micros() + by;
        self.origin = now;
    }
}
