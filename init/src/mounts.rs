//! The file systems that a head needs to look at itself.
