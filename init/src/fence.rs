//! Persistent reservations: claim, read-back, watch, release.
