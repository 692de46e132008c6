//! The heartbeat thread: links, core, watchdog; it never waits on a disk.
