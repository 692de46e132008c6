//! What ext4 does while it is mounted, by ioctl (`include/uapi/linux/ext4.h`).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// `EXT4_IOC_RESIZE_FS`: `_IOW('f', 16, __u64)`, blocks.
const RESIZE_FS: libc::Ioctl = 0x4008_6610;

/// Makes a mounted file system so many of its blocks large; it takes as many as there are. Shrinking is refused.
pub fn resize(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as the borrow; the kernel reads eight bytes of a number that outlives the call.
    match unsafe { libc::ioctl(fd, RESIZE_FS, &raw const blocks) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
