//! What the lab tests share: a lab that is passed from test to test as long as it is whole, and the
//! steps that several of them take.
//!
//! Outcomes are passed, failed, or skipped with a reason. Waits are for conditions, with bounds that a
//! loaded machine does not reach; no figure of time is asserted.
//!
//! Beside them [`kinds`]: volumes as the real lvm2 makes them; [`arrays`]: arrays as mdadm does; [`reservations`]: of NVMe's; and `planted`: errors on purpose, which the tests of all tiers must notice.

pub mod arrays;
mod bench;
pub mod checkout;
pub mod kinds;
pub mod planted;
mod program;
pub mod reservations;
pub mod steps;

pub use bench::{Bench, DEAD_MS, lab_options};
