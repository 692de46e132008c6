//! MD's ioctls on an array's node, `include/uapi/linux/raid/md_u.h`, as far as an array with superblocks of version 1 is
//! put together by them. Starting it is done through `array_state` in sysfs, which can start it without writing anything.

use std::os::fd::BorrowedFd;

use rustix::io::Result;
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, ioctl, opcode};

/// `MD_MAJOR`.
const MAJOR: u8 = 9;

/// `mdu_array_info_t`. Only the version is given when superblocks say the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrayInfo {
    major_version: i32,
    minor_version: i32,
    patch_version: i32,
    ctime: u32,
    level: i32,
    size: i32,
    nr_disks: i32,
    raid_disks: i32,
    md_minor: i32,
    not_persistent: i32,
    utime: u32,
    state: i32,
    active_disks: i32,
    working_disks: i32,
    failed_disks: i32,
    spare_disks: i32,
    layout: i32,
    chunk_size: i32,
}

impl ArrayInfo {
    /// Slots of the array.
    pub fn slots(&self) -> u32 {
        self.raid_disks.unsigned_abs()
    }

    /// Members that are in a slot and have all its data.
    pub fn in_sync(&self) -> u32 {
        self.active_disks.unsigned_abs()
    }
}

/// `mdu_disk_info_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskInfo {
    number: i32,
    major: i32,
    minor: i32,
    raid_disk: i32,
    state: i32,
}

/// `MD_DISK_SYNC`, a bit's number.
const SYNC: i32 = 2;
/// `MD_DISK_WRITEMOSTLY` and `MD_DISK_FAILFAST`: of a member that is added to an array that runs, they are not taken from its superblock.
const WRITE_MOSTLY: i32 = 9;
const FAIL_FAST: i32 = 10;

impl DiskInfo {
    /// The member's device number; `None` where the array has no member of that number.
    pub fn device(&self) -> Option<(u32, u32)> {
        let device = (self.major.unsigned_abs(), self.minor.unsigned_abs());
        (device != (0, 0)).then_some(device)
    }

    /// The slot of which it has all data.
    pub fn slot_in_sync(&self) -> Option<u32> {
        let is_in_sync = self.state & 1 << SYNC != 0;
        u32::try_from(self.raid_disk).ok().filter(|_| is_in_sync)
    }
}

const GET_ARRAY_INFO: Opcode = opcode::read::<ArrayInfo>(MAJOR, 0x11);
const GET_DISK_INFO: Opcode = opcode::read::<DiskInfo>(MAJOR, 0x12);
const ADD_NEW_DISK: Opcode = opcode::write::<DiskInfo>(MAJOR, 0x21);
const SET_ARRAY_INFO: Opcode = opcode::write::<ArrayInfo>(MAJOR, 0x23);
const STOP_ARRAY: Opcode = opcode::none(MAJOR, 0x32);
const RESTART_ARRAY_RW: Opcode = opcode::none(MAJOR, 0x34);

/// Says which superblocks the members have: version 1 with this minor number.
pub fn set_version(array: BorrowedFd<'_>, minor: u8) -> Result<()> {
    let info = ArrayInfo {
        major_version: 1,
        minor_version: i32::from(minor),
        ..ArrayInfo::default()
    };
    // SAFETY: the kernel reads an mdu_array_info_t, whose layout this is (tested).
    unsafe { ioctl(array, Setter::<SET_ARRAY_INFO, _>::new(info)) }
}

/// Gives the array a member, of which the superblock says what it is. Nothing is written.
pub fn add(array: BorrowedFd<'_>, device: (u32, u32)) -> Result<()> {
    add_with(array, device, 0)
}

/// Gives an array that runs a member back, which is filled: with a bitmap, and a superblock that is not older than what the bitmap
/// knows, only by what was written meanwhile. Writes to all members.
pub fn add_again(
    array: BorrowedFd<'_>,
    device: (u32, u32),
    is_write_mostly: bool,
    is_fail_fast: bool,
) -> Result<()> {
    let state = i32::from(is_write_mostly) << WRITE_MOSTLY | i32::from(is_fail_fast) << FAIL_FAST;
    add_with(array, device, state)
}

fn add_with(array: BorrowedFd<'_>, (major, minor): (u32, u32), state: i32) -> Result<()> {
    let number = |number: u32| i32::try_from(number).map_err(|_| rustix::io::Errno::OVERFLOW);
    let info = DiskInfo {
        major: number(major)?,
        minor: number(minor)?,
        state,
        ..DiskInfo::default()
    };
    // SAFETY: the kernel reads an mdu_disk_info_t, whose layout this is (tested).
    unsafe { ioctl(array, Setter::<ADD_NEW_DISK, _>::new(info)) }
}

/// What the array is.
pub fn info(array: BorrowedFd<'_>) -> Result<ArrayInfo> {
    // SAFETY: the kernel fills an mdu_array_info_t of plain integers, whose layout this is (tested).
    unsafe { ioctl(array, Getter::<GET_ARRAY_INFO, ArrayInfo>::new()) }
}

/// The member of this number.
pub fn disk(array: BorrowedFd<'_>, number: u32) -> Result<DiskInfo> {
    let mut info = DiskInfo {
        number: i32::try_from(number).map_err(|_| rustix::io::Errno::OVERFLOW)?,
        ..DiskInfo::default()
    };
    // The number means an `_IOR`, and yet the kernel reads the number first.
    // SAFETY: the kernel reads and fills an mdu_disk_info_t of plain integers, whose layout this is (tested).
    unsafe {
        ioctl(
            array,
            rustix::ioctl::Updater::<GET_DISK_INFO, _>::new(&mut info),
        )
    }?;
    Ok(info)
}

/// Lets an array that waits for its first write run.
pub fn restart(array: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { ioctl(array, NoArg::<RESTART_ARRAY_RW>::new()) }
}

/// Stops the array and lets go of its members. `EBUSY` while anybody else has it open.
pub fn stop(array: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { ioctl(array, NoArg::<STOP_ARRAY>::new()) }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn layouts_and_numbers_are_those_of_the_kernel_header() {
        let Some(kernel) = super::super::headers::evaluate(
            &[
                "sys/ioctl.h",
                "linux/major.h",
                "linux/types.h",
                "linux/raid/md_p.h",
                "linux/raid/md_u.h",
            ],
            &[
                "sizeof(mdu_array_info_t)",
                "offsetof(mdu_array_info_t, minor_version)",
                "offsetof(mdu_array_info_t, raid_disks)",
                "offsetof(mdu_array_info_t, not_persistent)",
                "offsetof(mdu_array_info_t, state)",
                "offsetof(mdu_array_info_t, active_disks)",
                "offsetof(mdu_array_info_t, chunk_size)",
                "sizeof(mdu_disk_info_t)",
                "offsetof(mdu_disk_info_t, major)",
                "offsetof(mdu_disk_info_t, minor)",
                "offsetof(mdu_disk_info_t, raid_disk)",
                "offsetof(mdu_disk_info_t, state)",
                "GET_ARRAY_INFO",
                "GET_DISK_INFO",
                "ADD_NEW_DISK",
                "SET_ARRAY_INFO",
                "STOP_ARRAY",
                "RESTART_ARRAY_RW",
                "MD_DISK_SYNC",
                "MD_DISK_WRITEMOSTLY",
                "MD_DISK_FAILFAST",
            ],
        ) else {
            return;
        };
        let ours = [
            size_of::<ArrayInfo>() as u64,
            offset_of!(ArrayInfo, minor_version) as u64,
            offset_of!(ArrayInfo, raid_disks) as u64,
            offset_of!(ArrayInfo, not_persistent) as u64,
            offset_of!(ArrayInfo, state) as u64,
            offset_of!(ArrayInfo, active_disks) as u64,
            offset_of!(ArrayInfo, chunk_size) as u64,
            size_of::<DiskInfo>() as u64,
            offset_of!(DiskInfo, major) as u64,
            offset_of!(DiskInfo, minor) as u64,
            offset_of!(DiskInfo, raid_disk) as u64,
            offset_of!(DiskInfo, state) as u64,
            u64::from(GET_ARRAY_INFO),
            u64::from(GET_DISK_INFO),
            u64::from(ADD_NEW_DISK),
            u64::from(SET_ARRAY_INFO),
            u64::from(STOP_ARRAY),
            u64::from(RESTART_ARRAY_RW),
            SYNC as u64,
            WRITE_MOSTLY as u64,
            FAIL_FAST as u64,
        ];
        assert_eq!(kernel, ours);
    }

    #[test]
    fn a_file_that_is_no_array_is_an_errno() {
        use std::os::fd::AsFd;
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(info(file.as_fd()).is_err());
        assert!(disk(file.as_fd(), 0).is_err());
        assert!(stop(file.as_fd()).is_err());
    }
}
