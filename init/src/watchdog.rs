//! The hardware watchdog, fed by the heartbeat thread only.
