//! Locks between threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock. What is behind our locks is plain data, and a thread that panicked has reset the
/// machine: poison means nothing here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
