//! The ioctls of `/dev/watchdogN`, from `include/uapi/linux/watchdog.h`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// `struct watchdog_info`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

// The size is part of the ioctl's number: a wrong layout must not compile.
const _: () = assert!(size_of::<Info>() == 40);

/// `WDIOC_GETSUPPORT`: `_IOR('W', 0, struct watchdog_info)`.
const GET_SUPPORT: libc::c_ulong = 0x8028_5700;
/// `WDIOC_SETTIMEOUT`: `_IOWR('W', 6, int)`.
const SET_TIMEOUT: libc::c_ulong = 0xc004_5706;
/// `WDIOC_GETTIMEOUT`: `_IOR('W', 7, int)`.
const GET_TIMEOUT: libc::c_ulong = 0x8004_5707;

fn check(done: libc::c_int) -> io::Result<()> {
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// What the driver calls itself.
pub fn identity(device: impl AsFd) -> io::Result<String> {
    let mut info = Info {
        options: 0,
        firmware_version: 0,
        identity: [0; 32],
    };
    // SAFETY: the kernel writes one watchdog_info, whose layout is Info's.
    check(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), GET_SUPPORT, &raw mut info) })?;
    let end = info
        .identity
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(info.identity.len());
    Ok(String::from_utf8_lossy(&info.identity[..end])
        .trim()
        .to_owned())
}

/// Sets the time without a feed after which the machine is reset, in seconds.
pub fn set_timeout(device: impl AsFd, seconds: u32) -> io::Result<()> {
    let mut value = libc::c_int::try_from(seconds).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads one int and writes back the one it chose.
    check(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), SET_TIMEOUT, &raw mut value) })
}

/// The time in force, in seconds: drivers round it to what their hardware can do.
pub fn timeout(device: impl AsFd) -> io::Result<u32> {
    let mut value: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    check(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), GET_TIMEOUT, &raw mut value) })?;
    u32::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_and_numbers_are_the_kernels() {
        let Some(kernel) = super::super::headers::evaluate(
            &["linux/watchdog.h"],
            &[
                "sizeof(struct watchdog_info)",
                "offsetof(struct watchdog_info, identity)",
                "WDIOC_GETSUPPORT",
                "WDIOC_SETTIMEOUT",
                "WDIOC_GETTIMEOUT",
            ],
        ) else {
            return;
        };
        let ours = [
            size_of::<Info>() as u64,
            std::mem::offset_of!(Info, identity) as u64,
            GET_SUPPORT,
            SET_TIMEOUT,
            GET_TIMEOUT,
        ];
        assert_eq!(kernel, ours);
    }
}
