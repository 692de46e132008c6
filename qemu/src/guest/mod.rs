//! The agent inside the lab's own guests (the client, the LIO shelf, the disk maker): what it is
//! asked and how. Heads have no agent: they are the product, and are spoken to as an operator would.
//!
//! The agent is deliberately dumb. It mounts, loads modules, brings up the network and then runs
//! commands for the lab, many at once, over one virtio serial port ([`crate::frame`]). What those
//! commands are is decided on the host, where it can be read in one place.

pub mod agent;
pub mod boot;
pub mod device;
pub mod exec;
pub mod modules;
pub mod tag;
pub mod verify;
pub mod writer;

use serde::{Deserialize, Serialize};

/// Name of the virtio serial port between the lab and the agent.
pub const PORT: &str = "org.orthrus.lab";

/// Where the agent's own binary is found once the guest's root is in place.
pub const SELF: &str = "/run/guest";

/// A command to be run in a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
}
