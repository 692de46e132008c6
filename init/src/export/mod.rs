//! iSCSI exports through the kernel's LIO target.

/// The digits of a unit serial number that make the NAA identifier.
pub(crate) fn naa_digits(serial: &str) -> &str {
    &serial[..serial.len().min(25)]
}
