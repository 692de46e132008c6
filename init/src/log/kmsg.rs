//! The kernel's log, `/dev/kmsg`: ours into it, its warnings out of it.
//!
//! Format of a record: `Documentation/ABI/testing/dev-kmsg` in the kernel's source.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::line::{Level, Line, Source};

const PATH: &str = "/dev/kmsg";
/// A read gives one whole record or fails; the kernel's records are at most this long.
const RECORD_BYTES: usize = 8192;
/// From the kernel, errors and warnings are kept: `KERN_ALERT` to `KERN_WARNING`. Emergencies are not:
/// the kernel prints them on the console itself.
const KEPT: std::ops::RangeInclusive<u8> = 1..=4;

/// Puts our lines into the kernel's log, where a crash dump and a pstore find them.
pub(super) struct Writer {
    file: Option<File>,
}

impl Writer {
    pub(super) fn open() -> Writer {
        Writer {
            file: File::options().write(true).open(PATH).ok(),
        }
    }

    pub(super) fn write(&mut self, line: &Line) {
        let Some(file) = &mut self.file else { return };
        // One write is one record. A full kernel buffer drops its oldest: nothing to do about it here.
        let _ =
            file.write_all(format!("<{}>orthrus: {}", line.level.kernel(), line.text).as_bytes());
    }
}

/// Reads the kernel's log from its oldest record on.
pub(super) struct Reader {
    file: File,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn open() -> io::Result<Reader> {
        Ok(Reader {
            file: File::open(PATH)?,
            buffer: vec![0; RECORD_BYTES],
        })
    }

    /// Waits for the kernel's next warning or worse, for so long where that is said; `None` when it did not come.
    pub(super) fn next_warning(&mut self, limit: Option<Duration>) -> io::Result<Option<Line>> {
        let begun = Instant::now();
        loop {
            if let Some(limit) = limit
                && !self.waits(limit.saturating_sub(begun.elapsed()))?
            {
                return Ok(None);
            }
            let length = match self.file.read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                // Records were overwritten before they were read; the next read goes on after them.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(line) = parse(&self.buffer[..length]) {
                return Ok(Some(line));
            }
        }
    }

    /// Whether there is a record within that time.
    fn waits(&self, limit: Duration) -> io::Result<bool> {
        let time = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A record `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,...];TEXT\n KEY=VALUE...`, when it is the kernel's own
/// and bad enough. The priority is facility * 8 + level, the kernel's facility being 0; our own lines come
/// back with another one.
fn parse(record: &[u8]) -> Option<Line> {
    let record = String::from_utf8_lossy(record);
    let (head, rest) = record.split_once(';')?;
    let text = rest.lines().next()?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let at_us = fields.nth(1)?.parse().ok()?;
    let level = u8::try_from(priority)
        .ok()
        .filter(|level| KEPT.contains(level))?;
    Some(Line::new(
        at_us,
        Level::from_kernel(level),
        Source::Kernel,
        text,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_warning_becomes_a_line_without_its_dictionary() {
        let record = b"3,512,7654321,-;sd 0:0:0:1: [sda] failed\n SUBSYSTEM=scsi\n DEVICE=b8:0\n";
        let line = parse(record).unwrap();
        assert_eq!((line.at_us, line.level), (7_654_321, Level::Error));
        assert_eq!(line.text, "sd 0:0:0:1: [sda] failed");
    }

    #[test]
    fn chatter_our_own_lines_and_garbage_are_left_out() {
        assert_eq!(parse(b"6,1,2,-;just so you know\n"), None);
        assert_eq!(parse(b"0,1,2,-;reboot: Power down\n"), None);
        assert_eq!(parse(b"12,1,2,-;orthrus: a warning of ours\n"), None);
        for garbage in [
            &b""[..],
            b";",
            b"4",
            b"4,1",
            b"4,1,;x",
            b"x,1,2,-;y",
            b"\xff\xfe,;",
        ] {
            assert_eq!(parse(garbage), None);
        }
    }
}
