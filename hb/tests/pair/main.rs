//! Two `Head`s against each other in virtual time: each test is one rule.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod boot;
mod deads;
mod done;
mod duel;
mod fitness;
mod frames;
mod halting;
mod handover;
mod hangs;
mod keys;
mod ledger;
mod making;
mod silence;
mod telling;
mod world;
