//! What a pool offers to its clients: LUNs ([`iscsi`]) and shares ([`nfs`]), by the kernel's own servers.
//!
//! Both go by a plan: what is offered, made of the configuration and the active volumes alone, so that both heads make the
//! same of it (invariant I6). All exports of a pool open before its service address comes, and close after it went.
//! What can wait in the kernel for ever is given a limit here; past it a release ends in a reset.

mod error;
pub mod iscsi;
mod limit;
pub mod nfs;

pub use error::{Cause, ExportError};
pub use iscsi::{ExportPlan, Lio, LunPlan, PlanError, STEP_LIMIT, Volume, naa_digits, unit_serial};
