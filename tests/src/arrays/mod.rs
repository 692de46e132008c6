//! Linux MD arrays: what mdadm makes, the firmware reads, judges and assembles alike, in one small machine.
//!
//! [`list`] has the arrays, [`bed`] the machine, [`fixture`] what is kept of them for the unit tests of `init/src/array`.

mod bed;
mod fixture;
mod list;

pub use bed::Bed;
pub use list::{ARRAYS, Array, STATES, State, THROWN, Thrown};
