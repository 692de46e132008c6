//! File systems on a pool's volumes: what is there ([`probe`]), made and checked by the image's helpers ([`make`]) in the time that there
//! is for it ([`budget`]), mounted, grown and taken down ([`mount`]), and found to take no writes any more ([`health`]).
//!
//! Only the owner may do any of this, after the claim and before it lets go: a mount replays a journal, which writes. What
//! is not recognised is never made into something else, but for the volume that is ours by name, and only where it is
//! empty or where an unfinished making of ours says so.

pub mod budget;
pub mod health;
pub mod make;
pub mod mount;
pub mod probe;

pub use budget::Budget;
pub use health::trouble;
pub use make::{MakeError, Use, check, check_whole, command, make};
pub use mount::{MountError, grow, mount, unmount};
pub use probe::{Found, probe};

/// A file system that can be made for a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4.
    Ext4,
    /// xfs.
    Xfs,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 2] = [Kind::Ext4, Kind::Xfs];

    /// What the operator and the kernel call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }
}
