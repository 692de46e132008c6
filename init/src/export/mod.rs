//! iSCSI exports through the kernel's LIO target.
