//! What a disk is when it shows several things at once: superblocks in more than one place, or one and the label of a physical volume.
//!
//! Who may write to a volume writes what he likes, and where his volume covers a place in which a superblock would be, he makes the disk
//! look like a member of an array: one that holds the last blocks of a disk, or of the data of an array with its superblocks in front;
//! and of an array that is striped and has its superblocks at the end, one whose blocks are the first of a member. Whoever makes
//! an array or a physical volume on a LUN does the latter without meaning any harm. What a client writes must not take
//! a pool down, and must not let this head write where it has no business.
//!
//! So a superblock that lies where the data of something else are is not believed by itself:
//!
//! - A label alone speaks against nothing: with superblocks at the end it is that of the physical volume on the array. That one ends before the
//!   superblock, or is larger than the disk. One whose extents reach over the superblock, on this disk, is on the disk itself, and the
//!   superblock is a client's ([`reach`]). One behind the last extent no client could write: it counts.
//! - Of two superblocks the one counts that is not in the data of the other one. Where each is in the other's data it is the one
//!   in front, as arrays are made that way unless somebody asks for another one. Where neither is, both are an error, as before.
//! - What was set aside is kept as a rival, since the disk alone cannot tell: the thing in front may be forged as well, as data of a striped
//!   array. It counts after all when another disk is a member of the same array by a superblock that nothing speaks against (of
//!   an array with superblocks at the end that is at least the disk with the label of what is on it), and the array counts on this
//!   member and has it nowhere else. A client who knows the identity of an array can otherwise give its own pool's disk away to it.
//!   [`crate::volume::read_groups`] sees all disks and asks for that.
//! - Nothing is written back to a disk with a rival ([`super::spare_block`]): a block that is free in the one thing is data in the other. A
//!   loss of the fence is then seen there by reading back alone, as with every array that has no free block.
//!
//! What remains: an array that was made over a physical volume which was not wiped, whose extents reached over the place of the superblock.
//! It is taken for the physical volume: its legs are two with the same identity, and refused, with both things named. (On such an array
//! the physical volume is longer than the array; lvm2 refuses it too.) And a striped array of which only members are here on which a client forged a thing
//! that fits exactly. And a disk that lvm2 took out of its group, with what a client wrote at its end left there, speaks for the same thing on other
//! disks; the ends of one that this firmware takes out are wiped.
//!
//! Rejected: the superblock always, as it was: any client of a volume at the end of a disk could take the pool down, and have blocks written
//! back to what they were a moment before. The label always: a leg would be written behind its array's back. The size in the label instead
//! of the extents: what is left of an array behind the last extent would be passed over in silence. Trust in hints as `device =
//! "/dev/md0"`: it is old where it matters. The roles, names and event counts of the
//! superblock itself: whoever forges one of them forges all; those of the other members are asked.

use super::place::{self, Found};
use super::{MemberError, Read};
use crate::volume::reach;

/// What is to be thought of the superblocks on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The disk is a member by this one, as far as the disk itself tells.
    pub found: Option<Found>,
    /// Those that were set aside.
    pub rivals: Vec<Found>,
}

/// Looks at a disk of so many bytes, or an array.
///
/// # Errors
/// The disk's; or there are two of which neither can be data of the other's array: one is left over, and which cannot be told.
pub fn look(bytes: u64, read: &mut Read<'_>) -> Result<Sight, MemberError> {
    let mut rivals = place::all(bytes, read)?;
    if rivals.is_empty() {
        return Ok(Sight::default());
    }
    if let Some(data) = reach::data(bytes, read)?
        && rivals.iter().all(|one| one.is_in(&data))
    {
        let found = None;
        return Ok(Sight { found, rivals });
    }
    let is_free = |one: &Found| {
        let mut others = rivals.iter().filter(|other| other.place != one.place);
        !others.any(|other| other.data(bytes).is_some_and(|data| one.is_in(&data)))
    };
    let places = 0..rivals.len();
    let free: Vec<usize> = places.filter(|index| is_free(&rivals[*index])).collect();
    let believed = match free[..] {
        [] => 0,
        [one] => one,
        [one, other, ..] => {
            return Err(MemberError::Two(rivals[one].version, rivals[other].version));
        }
    };
    let found = Some(rivals.remove(believed));
    Ok(Sight { found, rivals })
}
