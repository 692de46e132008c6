//! The ways out: immediate reset, orderly reboot and poweroff.
