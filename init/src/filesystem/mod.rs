//! File systems on a pool's volumes: what is there ([`probe`]), made and checked by the image's helpers ([`ext4`]),
//! mounted and taken down ([`mount`]).
//!
//! Only the owner may do any of this, after the claim and before it lets go: a mount replays a journal, which writes. What
//! is not recognised is never made into something else, but for the volume that is ours by name, and only where it is
//! empty or where an unfinished making of ours says so.

pub mod ext4;
pub mod mount;
pub mod probe;

pub use ext4::{MakeError, check, make};
pub use mount::{MountError, mount, unmount};
pub use probe::{Found, probe};
