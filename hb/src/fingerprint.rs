//! What a state's identity is taken into.
//!
//! A head counts time and frames for as long as it runs, so no two of its states are equal. Two of them
//! behave equally all the same when what is left of each wait is equal, and this is what is hashed:
//! deadlines as what remains of them, elapsed times up to the limit that they are held against, and
//! numbers of frames and requests not at all, except whether what is waited for has come.
//!
//! Each `fingerprint` takes its struct apart field by field, so that a new field does not compile
//! until somebody has said what it means for the future.

use core::hash::{Hash, Hasher};

use embassy_time::{Duration, Instant};

/// A hasher, and the time that all times are relative to.
pub(crate) struct Print<'a, H> {
    pub(crate) hasher: &'a mut H,
    pub(crate) now: Instant,
}

impl<H: Hasher> Print<'_, H> {
    /// Something that means the same at any time.
    pub(crate) fn put(&mut self, value: impl Hash) {
        value.hash(self.hasher);
    }

    /// A deadline that is only ever asked whether it has come.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.put(deadline.saturating_duration_since(self.now).as_ticks());
    }

    /// A time span that is only ever held against limits of at most `limit`.
    pub(crate) fn span(&mut self, span: Duration, limit: Duration) {
        self.put(span.min(limit).as_ticks());
    }

    /// How long ago something was, held against limits of at most `limit`.
    pub(crate) fn since(&mut self, then: Instant, limit: Duration) {
        self.span(self.now.saturating_duration_since(then), limit);
    }
}
