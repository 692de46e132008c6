//! PID 1 of a head: it performs what `orthrus-hb` decides.
//!
//! One heartbeat thread ([`reactor`]) owns the links, the core and the hardware watchdog, and never
//! waits on a disk; workers ([`worker`]) do what can block and report outcomes. A library and a thin
//! `main.rs`, so that tests and tools can use the parsers on any machine.

pub mod array;
pub mod background;
pub mod boot;
#[cfg(test)]
mod chance;
pub mod clients;
pub mod clock;
pub mod config;
pub mod console;
pub mod disk;
pub mod export;
pub mod fence;
pub mod filesystem;
pub mod halt;
pub mod health;
pub mod helper;
pub mod inbox;
pub mod ledger;
pub mod link;
pub mod log;
pub mod modules;
pub mod mounts;
pub mod multipath;
pub mod net;
pub mod operator;
pub mod reactor;
pub mod serial;
pub mod settings;
pub mod signal;
pub mod source;
pub mod state;
pub mod status;
pub mod sync;
pub mod sys;
pub mod volume;
pub mod watchdog;
pub mod worker;

/// What an idempotent step found: whether the kernel had to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The step changed the kernel's state.
    Changed,
    /// The state was as wanted already.
    Already,
}
