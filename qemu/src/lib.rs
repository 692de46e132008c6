//! The lab: two heads, a shelf, cables and a client, with faults on demand.
//!
//! Reading order: [`lab`] is what tests and the command line use; [`artifacts`] builds what a lab runs
//! from; [`supervisor`] is the process that holds a running one, inside [`namespace`]s of its own;
//! [`vm`] and [`cable`] are what it holds; [`guest`] runs inside its client and its LIO shelf; [`torture`]
//! breaks it, row by row or by the dice.
//!
//! A program that starts labs calls [`supervisor::enter_if_asked`] first thing in `main`.

pub mod accel;
pub mod agent_link;
pub mod artifacts;
pub mod bench;
pub mod cable;
pub mod cli;
pub mod client;
pub mod clock;
pub mod conditions;
pub mod config;
pub mod console;
pub mod control;
pub mod cpio;
pub mod demo;
pub mod disks;
pub mod esp;
pub mod frame;
pub mod guest;
pub mod headview;
pub mod io;
pub mod lab;
pub mod maker;
pub mod names;
pub mod namespace;
pub mod progress;
pub mod qmp;
pub mod report;
pub mod request;
mod room;
pub mod shelf;
pub mod socket;
pub mod spec;
pub mod state;
pub mod supervisor;
pub mod terminal;
pub mod torture;
pub mod vm;

pub use lab::Lab;
