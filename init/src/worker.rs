//! Performs the core's actions on a pool and reports their outcomes.
