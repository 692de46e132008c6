//! The lab: two heads, a shelf, cables and a client, with faults on demand.

pub mod accel;
pub mod cable;
pub mod control;
pub mod frame;
pub mod guest;
pub mod names;
pub mod qmp;
