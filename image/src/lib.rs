//! Builds the firmware: tools from Debian packages, the initramfs, the UKI and the flashable disk.
