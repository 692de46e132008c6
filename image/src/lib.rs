//! Builds the firmware: tools from Debian packages, the initramfs, the UKI and the flashable disk;
//! and the lab's client image.
//!
//! Reading order is building order: [`workspace`] (where things go), [`apt`] (which packages, from
//! where), [`tree`] (packages unpacked under `target/cache`), [`tools`] (running what was unpacked).
//! Nothing here installs, removes or configures a package of the host, or starts a service on it.

pub mod apt;
pub mod progress;
pub mod tools;
pub mod tree;
pub mod workspace;

pub use tools::Tools;
pub use workspace::Workspace;
