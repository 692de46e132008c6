//! Log lines to the console, the kernel log and a ring.
