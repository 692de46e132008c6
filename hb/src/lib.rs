//! The heartbeat and failover core of Orthrus: it decides, and never touches the system.
//!
//! No I/O, no clock read, no allocation. Time, frames, operator commands and outcomes go in; frames
//! to send, the next deadline and actions come out ([`head`]), so the same code runs in the
//! firmware, in a simulator and under a model checker.
//!
//! Reading order: [`head`] for the interface, [`pool`] for the decisions, [`peer`] and [`link`] for
//! what they rest on, [`wire`] for the bytes.
#![no_std]
#![forbid(unsafe_code)]

pub mod action;
pub mod command;
pub mod config;
pub mod epoch;
mod fences;
mod fingerprint;
pub mod head;
mod health;
pub mod key;
mod lease;
pub mod ledger;
pub mod link;
pub mod mac;
mod message;
pub mod peer;
pub mod pool;
pub mod sight;
mod told;
pub mod wire;

pub use action::{
    Action, Authority, Done, Failure, Holder, Job, Outcome, ResetReason, Ticket, Work,
};
pub use command::{Accepted, Command, Refusal};
pub use config::{Config, MAX_POOLS, PoolConfig, PoolId, Timing};
pub use epoch::Epoch;
pub use head::{Event, Head};
pub use health::Health;
pub use key::{ClusterId, HeadId, Key};
pub use link::{Hearing, Link, LinkId};
pub use message::MESSAGE_MAX_BYTES;
pub use peer::{Liveness, Peer};
pub use pool::{Fault, Pool, Rest};
pub use sight::{LedgerState, Sight};
pub use wire::{FRAME_MAX_BYTES, FrameError, Incarnation, PoolBeat, PoolState};
