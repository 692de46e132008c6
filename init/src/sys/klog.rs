//! `syslog(2)`: how much of the kernel's log the kernel itself prints to its consoles.

use std::io;

/// `SYSLOG_ACTION_CONSOLE_LEVEL` of the kernel's `include/linux/syslog.h`.
const CONSOLE_LEVEL: libc::c_int = 8;

/// Lets the kernel print messages below `level` (1 to 8) to its consoles; 1 leaves emergencies only.
///
/// A system call instead of `/proc/sys/kernel/printk`, because it must work before `/proc` is there.
pub fn set_console_level(level: u8) -> io::Result<()> {
    // SAFETY: this action takes the level in `len` and never looks at the buffer.
    let done = unsafe {
        libc::klogctl(
            CONSOLE_LEVEL,
            std::ptr::null_mut(),
            libc::c_int::from(level),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
