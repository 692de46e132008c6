//! The heartbeat and failover core of Orthrus: it decides, and never touches the system.
//!
//! No I/O, no clock read, no allocation. Time, frames, operator commands and outcomes go in; frames
//! to send, the next deadline and actions come out, so the same code runs in the firmware, in a
//! simulator and under a model checker.
#![no_std]
#![forbid(unsafe_code)]

pub mod epoch;
pub mod key;

pub use epoch::Epoch;
pub use key::{ClusterId, HeadId, Key};
