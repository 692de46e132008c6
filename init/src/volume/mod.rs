//! LVM2 metadata, read by ourselves, and device-mapper.
