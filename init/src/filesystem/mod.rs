//! File systems on a pool's volumes: what is there ([`probe`]), made and checked by the image's helpers ([`ext4`]),
//! mounted and taken down ([`mount`]).
//!
//! Only the owner may do any of this, after the claim and before it lets go: a mount replays a journal, which writes. What
//! is not recognised is never made into something else, but for the volume that is ours by name, and only where it is
//! empty or where an unfinished making of ours says so.

pub mod ext4;
pub mod mount;
pub mod probe;

pub use ext4::{MakeError, Tables, check, make};
pub use mount::{MountError, grow, mount, unmount};
pub use probe::{Found, probe};

/// A file system that can be made for a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4.
    Ext4,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 1] = [Kind::Ext4];

    /// What the operator and the kernel call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
        }
    }
}
