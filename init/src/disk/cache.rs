//! Whether a disk's write cache is on right now, by the disk's own word (SBC, caching mode page).
//!
//! The kernel asks when it finds the disk and when it is told to. A disk that lost its power and came back may have
//! its cache on again, and nothing above it learns of that.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::Disk;
use crate::sys::sg;

/// MODE SENSE (10).
const MODE_SENSE: u8 = 0x5a;
/// Without block descriptors.
const NO_DESCRIPTORS: u8 = 0x08;
const CACHING_PAGE: u8 = 0x08;
const HEADER_BYTES: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
/// After a power-on the first answers tell of that.
const TRIES: usize = 4;

/// `None` when the disk does not say.
pub fn is_on(disk: &Disk) -> io::Result<Option<bool>> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(disk.read_from().0)?;
    let mut page = [0; 64];
    let room = page.len() as u8;
    let command = [
        MODE_SENSE,
        NO_DESCRIPTORS,
        CACHING_PAGE,
        0,
        0,
        0,
        0,
        0,
        room,
        0,
    ];
    for _ in 0..TRIES {
        let mut data = sg::Data::FromDisk(&mut page);
        let reply = sg::execute(file.as_fd(), &command, &mut data, TIMEOUT)?;
        if reply.status == 0 && reply.host_status == 0 {
            return Ok(parse(&page[..reply.received.min(page.len())]));
        }
    }
    Ok(None)
}

/// The bit WCE of a caching mode page behind its header.
fn parse(answer: &[u8]) -> Option<bool> {
    let descriptors = usize::from(u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]));
    let page = answer.get(HEADER_BYTES + descriptors..)?;
    let [code, _, flags, ..] = page else {
        return None;
    };
    (code & 0x3f == CACHING_PAGE).then_some(flags & 0x04 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_is_found_behind_header_and_descriptors() {
        let mut answer = vec![0, 26, 0, 0, 0, 0, 0, 0, 0x88, 18, 0x04];
        assert_eq!(parse(&answer), Some(true));
        answer[10] = 0x10;
        assert_eq!(parse(&answer), Some(false));
        answer[7] = 8;
        answer.splice(8..8, [0; 8]);
        assert_eq!(parse(&answer), Some(false));
        for end in 0..answer.len() {
            assert_eq!(parse(&answer[..end]), None);
        }
        answer[16] = 0x0a;
        assert_eq!(parse(&answer), None);
    }
}
