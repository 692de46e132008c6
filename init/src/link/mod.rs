//! The ways to hear the peer: a serial line and an Ethernet port.
//!
//! A cable carries whole frames and nothing else is known of it here: whether a frame counts is
//! decided by the core. Nothing in this folder blocks, allocates after it was opened, or retries: a
//! frame that cannot be sent now is worth nothing later.

pub mod ether;
pub mod serial;

use std::io;
use std::os::fd::BorrowedFd;

/// One cable to the peer.
pub trait Cable: Send {
    /// What to poll for readability.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Sends a frame, or drops it when the line cannot take it now.
    ///
    /// # Errors
    /// What the device says when it is broken; a full queue is not an error.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;

    /// Gives the next frame that has arrived, in `buffer`; `None` when there is none.
    ///
    /// # Errors
    /// What the device says when it is broken.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
}
