//! Reservations of NVMe namespaces: the firmware's fence against the kernel's own target, in one small machine with the newest kernel
//! that Debian has for the release, as the release's own has none ([`bed`]); what is tried there is in [`cases`].

mod bed;
mod cases;

pub use bed::Bed;
pub use cases::{CASES, Case};
