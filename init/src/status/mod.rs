//! What this head knows of itself and its peer, as consoles show it.
//!
//! - [`Snapshot`]: the core's view, published by the heartbeat thread.
//! - [`Report`]: a pool's view, kept by its worker: what it consists of, what went wrong, in words.
//! - [`Status`]: both joined with the configuration, once as a structure for JSON, once as text.
//!
//! `status` always says whether the box is redundant right now, and if not, why and what to do.

mod ledger;
mod report;
mod snapshot;
mod text;
mod usage;
mod view;

pub use ledger::LedgerStatus;
pub use report::{
    Array, Busy, DefaultRaid, Disk, LOOK_LIMIT, Merge, ORDER_LIMIT, Path, Report, Share,
    ShareClients, State, Volume,
};
pub use snapshot::{LinkSnapshot, PoolSnapshot, Snapshot};
pub use usage::Usage;
pub use view::{LinkStatus, PoolStatus, Problem, Sources, Status, WatchdogStatus};
