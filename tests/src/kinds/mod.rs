//! Volumes of every kind, made by the real lvm2 in a machine of its own, and what the firmware makes of them there.
//!
//! Both activate the same metadata on the same disks under the same kernel, so their tables must be equal to the
//! letter, device numbers apart, and so must what is read through them. Read in this order: [`list`], the kinds;
//! [`bed`], the machine; [`tables`], what is compared; [`pool`], many of them in one pool for a lab;
//! [`speed`], how fast.

pub mod bed;
pub mod list;
pub mod pool;
pub mod speed;
pub mod tables;

pub use bed::Bed;
pub use list::{KINDS, Kind};
pub use pool::Pool;
