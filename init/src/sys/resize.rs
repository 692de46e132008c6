//! More room for file systems while they are mounted, by ioctl (`include/uapi/linux/ext4.h`, `fs/xfs/libxfs/xfs_fs.h`).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// `EXT4_IOC_RESIZE_FS`: `_IOW('f', 16, __u64)`, blocks.
const EXT4_RESIZE_FS: libc::Ioctl = 0x4008_6610;
/// `XFS_IOC_FSGEOMETRY_V1`: `_IOR('X', 100, struct xfs_fsop_geom_v1)`.
const XFS_GEOMETRY: libc::Ioctl = 0x8070_5864;
/// `XFS_IOC_FSGROWFSDATA`: `_IOW('X', 110, struct xfs_growfs_data)`.
const XFS_GROW_DATA: libc::Ioctl = 0x4010_586e;

/// `struct xfs_fsop_geom_v1`: 112 bytes, of which these are needed.
const GEOMETRY_BYTES: usize = 112;
const AT_IMAXPCT: usize = 28;
const AT_DATA_BLOCKS: usize = 32;

/// `struct xfs_growfs_data`.
#[repr(C)]
struct GrowData {
    blocks: u64,
    inodes_percent: u32,
    pad: u32,
}

/// Makes a mounted ext4 so many of its blocks large. Shrinking is refused.
pub fn ext4(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads eight bytes of a number that outlives the call.
    unsafe { call(directory, EXT4_RESIZE_FS, (&raw const blocks).cast()) }
}

/// Makes a mounted xfs so many of its blocks large; one that is as large already is left. Shrinking is refused.
pub fn xfs(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    let mut geometry = [0u8; GEOMETRY_BYTES];
    // SAFETY: the kernel writes at most the structure's bytes, which the array has.
    unsafe {
        call(
            directory.as_fd(),
            XFS_GEOMETRY,
            geometry.as_mut_ptr().cast(),
        )?
    };
    let (before, inodes_percent) = parse(&geometry);
    if blocks <= before {
        return Ok(());
    }
    let data = GrowData {
        blocks,
        inodes_percent,
        pad: 0,
    };
    // SAFETY: the kernel reads the structure, which outlives the call.
    unsafe { call(directory, XFS_GROW_DATA, (&raw const data).cast()) }
}

/// Blocks of data, and the share of them that inodes may take.
fn parse(geometry: &[u8; GEOMETRY_BYTES]) -> (u64, u32) {
    let (mut blocks, mut percent) = ([0; 8], [0; 4]);
    blocks.copy_from_slice(&geometry[AT_DATA_BLOCKS..AT_DATA_BLOCKS + 8]);
    percent.copy_from_slice(&geometry[AT_IMAXPCT..AT_IMAXPCT + 4]);
    (u64::from_ne_bytes(blocks), u32::from_ne_bytes(percent))
}

/// # Safety
/// What the request reads or writes behind the argument is there.
unsafe fn call(
    directory: impl AsFd,
    request: libc::Ioctl,
    argument: *const libc::c_void,
) -> io::Result<()> {
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as the borrow; the argument is the caller's promise.
    match unsafe { libc::ioctl(fd, request, argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<GrowData>(), 16);
        assert_eq!((XFS_GROW_DATA >> 16) & 0x3fff, 16);
        assert_eq!((XFS_GEOMETRY >> 16) & 0x3fff, GEOMETRY_BYTES as libc::Ioctl);
        let mut geometry = [0; GEOMETRY_BYTES];
        geometry[AT_IMAXPCT] = 25;
        geometry[AT_DATA_BLOCKS + 1] = 1;
        assert_eq!(parse(&geometry), (256, 25));
    }

    #[test]
    fn another_file_system_refuses() {
        let proc = std::fs::File::open("/proc").unwrap();
        assert!(ext4(&proc, 1).is_err());
        assert!(xfs(&proc, 1).is_err());
    }
}
