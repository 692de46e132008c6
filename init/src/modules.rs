//! Kernel modules, in dependency order, only those that the hardware and configuration ask for.
