//! The serial console and the control port: one set of commands, two ways to reach it.
