//! iSCSI exports through the kernel's LIO target, driven through configfs.
//!
//! An [`ExportPlan`] says what one target of a pool offers, derived from the configuration and the active volumes
//! alone, so that both heads make the same of it: target name, relative port, LUN numbers, serial numbers
//! and with them the WWNs (invariant I6). [`Lio`] makes the plan true and takes it back.
//!
//! ```text
//! import:   Lio::open  ─► net::add_address ─► net::announce ─► net::tickle
//! release:  net::remove_address ─► net::end_connections ─► Lio::close
//! ```
//!
//! Portals may be made while their address is absent (LIO binds with `IP_FREEBIND`), so everything is ready
//! before the first client can arrive, and no client sees a target that is half built.
//!
//! Reading order: `plan` (what), `identity` (serial numbers), `lio` (the steps), `action` (one step, its
//! undo, what "already" means), `sequence` (time limits), `tree` (configfs itself), `reservations` (those of
//! clients, kept on the pool).
//!
//! # Write cache
//!
//! A volume is reported with the cache that its device-mapper device has: LIO's iblock asks the queue
//! (`bdev_write_cache`) when a client asks it. `emulate_write_cache` is refused for iblock and means nothing
//! there. Nothing in here writes to `queue/write_cache` either: that would make the kernel drop flushes.

pub(super) mod action;
mod identity;
mod lio;
mod plan;
pub mod reservations;
pub(super) mod sequence;
pub(super) mod tree;

use super::{Cause, ExportError};
pub use identity::{naa_digits, unit_serial};
pub use lio::{Lio, STEP_LIMIT};
pub use plan::{ExportPlan, LunPlan, PlanError, Volume};

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;
