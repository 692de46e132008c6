//! The disks that this head sees: identity, size, write cache.
