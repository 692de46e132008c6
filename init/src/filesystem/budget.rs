//! The time that makings and checks of file systems have, all together.
//!
//! An import has a limit, past which its head resets, and the other one, with the same file systems before it, would do the same. So what
//! may take long in it shares one clock, which also runs while the helper of another pool is waited for. What it does not
//! reach is withheld, or served unchecked where nothing says that it is damaged; the rest of the pool is served.

use std::time::{Duration, Instant};

/// From the begin of an import on. What else is slow in one are the start of the server of shares and its end after a failed start, of
/// 12 s each, so that the import's limit (`Timing::import_limit`, 60 s) is kept.
pub const BUDGET: Duration = Duration::from_secs(25);

/// When it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    end: Instant,
}

impl Budget {
    /// One that begins then.
    pub fn begin(now: Instant) -> Budget {
        Budget { end: now + BUDGET }
    }

    /// One that is over: nothing that may take long is begun.
    pub fn spent(now: Instant) -> Budget {
        Budget { end: now }
    }

    /// What is left of it.
    pub fn left(self, now: Instant) -> Duration {
        self.end.saturating_duration_since(now)
    }
}
