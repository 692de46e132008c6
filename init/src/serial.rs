//! A serial line in raw mode, as the console, the control port and the heartbeat use it.
//!
//! Raw means: no echo, no signals, no flow control, no waiting for a carrier, and whatever arrives
//! with a framing error or as a BREAK is dropped. A line that goes nowhere must never block a writer.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::OFlags,
    termios::{
        ControlModes, InputModes, OptionalActions, QueueSelector, SpecialCodeIndex, tcflush,
        tcgetattr, tcsetattr,
    },
};
use thiserror::Error;

/// A line that cannot be used.
#[derive(Debug, Error)]
#[error("serial line {device}: {step}: {errno}")]
pub struct SerialError {
    /// The device file.
    pub device: String,
    /// What was being done.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: io::Error,
}

/// How reads and writes behave when they would have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// They wait: for threads that have nothing else to do.
    Allowed,
    /// They answer `WouldBlock`: for the heartbeat thread.
    Never,
}

/// The speed of all lines, in baud: what firmware and boot loaders use by default.
const SPEED: u32 = 115_200;

/// Opens a line at 115200 8N1, raw. `name` is as in `ttyS0` or `/dev/ttyS0`.
pub fn open(name: &str, waiting: Waiting) -> Result<File, SerialError> {
    let path: PathBuf = Path::new("/dev").join(name);
    let failed = |step| {
        let device = path.display().to_string();
        move |errno| SerialError {
            device,
            step,
            errno,
        }
    };
    // Opened non-blocking in any case: an open waits for a carrier until CLOCAL is set.
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed())
        .open(&path)
        .map_err(failed("open"))?;
    make_raw(&file, waiting).map_err(failed("set raw mode"))?;
    if waiting == Waiting::Allowed {
        let flags =
            rustix::fs::fcntl_getfl(&file).map_err(|errno| failed("read flags")(errno.into()))?;
        rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)
            .map_err(|errno| failed("set flags")(errno.into()))?;
    }
    Ok(file)
}

fn make_raw(line: impl AsFd, waiting: Waiting) -> io::Result<()> {
    let mut mode = tcgetattr(&line)?;
    mode.make_raw();
    mode.input_modes |= InputModes::IGNBRK;
    mode.input_modes |= match waiting {
        // A frame without one of its bytes is none.
        Waiting::Never => InputModes::IGNPAR,
        // An order without one may be another order: a byte that came in damaged is NUL (`n_tty_receive_parity_error`), which no
        // request may hold.
        Waiting::Allowed => InputModes::INPCK,
    };
    mode.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    mode.control_modes -= ControlModes::CRTSCTS | ControlModes::HUPCL | ControlModes::CSTOPB;
    mode.special_codes[SpecialCodeIndex::VMIN] = 1;
    mode.special_codes[SpecialCodeIndex::VTIME] = 0;
    mode.set_speed(SPEED)?;
    tcsetattr(&line, OptionalActions::Now, &mode)?;
    // What came in before, at whatever speed and mode, is not for us.
    tcflush(&line, QueueSelector::IFlush)?;
    Ok(())
}
