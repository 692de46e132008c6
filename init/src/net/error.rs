//! A step of the network that failed: on what, which, why.

use rustix::io::Errno;

/// One failed step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {step}: {errno}")]
pub struct NetError {
    /// The interface, address or connection.
    pub device: String,
    /// What was being done to it.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
}

impl NetError {
    pub(crate) fn new(device: impl ToString, step: &'static str, errno: Errno) -> NetError {
        NetError {
            device: device.to_string(),
            step,
            errno,
        }
    }
}
