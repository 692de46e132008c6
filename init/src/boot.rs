//! The phases of boot, in order, from the first mount to standby.
