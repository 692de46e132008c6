//! Builds the firmware: tools from Debian packages, the initramfs, the UKI and the flashable disk;
//! and the lab's client image.
//!
//! Reading order is building order: [`workspace`] (where things go), [`apt`] (which packages, from
//! where), [`tree`] (packages unpacked under `target/cache`), [`tools`] (running what was unpacked),
//! [`kernel`], [`modules`] and [`helpers`] (what of Debian is taken), [`mkosi`] (putting images together),
//! [`firmware`], [`client`] and [`backported`] (the images). [`fingerprint`] says what need not be built again.
//! Nothing here installs, removes or configures a package of the host, or starts a service on it.

pub mod apt;
pub mod backported;
pub mod client;
pub mod fingerprint;
pub mod firmware;
pub mod helpers;
pub mod kernel;
pub mod mkosi;
pub mod modules;
pub mod progress;
pub mod tools;
pub mod tree;
pub mod workspace;

pub use client::ClientImage;
pub use firmware::Firmware;
pub use kernel::Kernel;
pub use tools::Tools;
pub use workspace::Workspace;
