//! One SCSI command to a disk by `SG_IO`, `include/scsi/sg.h`.
//!
//! Used where the block layer has no call of its own: on 6.12 it can set reservations but not read
//! them back, and it cannot register without asking for persistence.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// `SG_IO`: older than the scheme that encodes size and direction in the number.
const SG_IO: Opcode = 0x2285;
const DIRECTION_NONE: i32 = -1;
const DIRECTION_TO_DISK: i32 = -2;
const DIRECTION_FROM_DISK: i32 = -3;

/// `struct sg_io_hdr`.
#[repr(C)]
struct Header {
    interface_id: i32,
    direction: i32,
    command_length: u8,
    sense_capacity: u8,
    iovec_count: u16,
    data_length: u32,
    data: *mut c_void,
    command: *const u8,
    sense: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack_id: i32,
    user: *mut c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_written: u8,
    host_status: u16,
    driver_status: u16,
    residual: i32,
    duration_ms: u32,
    info: u32,
}

/// What a command carries.
pub enum Data<'a> {
    /// Nothing.
    None,
    /// Room for what the disk sends.
    FromDisk(&'a mut [u8]),
    /// What the disk gets.
    ToDisk(&'a [u8]),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// SCSI status byte: 0 good, 2 check condition, 0x18 reservation conflict.
    pub status: u8,
    /// The kernel's host byte: 0 when the command reached the disk and came back.
    pub host_status: u16,
    /// Bytes of the buffer that the disk filled.
    pub received: usize,
    /// Sense data: as many bytes as the disk sent, at most 32.
    pub sense: Vec<u8>,
}

impl Reply {
    /// Sense key, additional sense code and its qualifier, of fixed (70h, 71h) or descriptor (72h,
    /// 73h) format.
    pub fn sense_code(&self) -> Option<(u8, u8, u8)> {
        let byte = |index: usize| self.sense.get(index).copied();
        match byte(0)? & 0x7f {
            0x70 | 0x71 => Some((byte(2)? & 0xf, byte(12)?, byte(13)?)),
            0x72 | 0x73 => Some((byte(1)? & 0xf, byte(2)?, byte(3)?)),
            _ => None,
        }
    }
}

struct Call<'a>(&'a mut Header);

// SAFETY: the header has the layout of struct sg_io_hdr (tested), and every pointer in it is valid for
// the length given beside it while the call lasts: `execute` builds it from slices that outlive it.
unsafe impl Ioctl for Call<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        SG_IO
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self.0).cast()
    }

    unsafe fn output_from_ptr(_out: IoctlOutput, _header: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Sends `command` with its data.
///
/// The kernel aborts the command after `timeout`, and may need longer than that to recover the disk.
pub fn execute(
    disk: BorrowedFd<'_>,
    command: &[u8],
    data: &mut Data<'_>,
    timeout: Duration,
) -> rustix::io::Result<Reply> {
    let mut sense = [0_u8; 32];
    let (direction, pointer, length) = match data {
        Data::None => (DIRECTION_NONE, std::ptr::null_mut(), 0),
        Data::FromDisk(room) => (DIRECTION_FROM_DISK, room.as_mut_ptr(), room.len()),
        // The kernel only reads from it in this direction.
        Data::ToDisk(bytes) => (DIRECTION_TO_DISK, bytes.as_ptr().cast_mut(), bytes.len()),
    };
    let (Ok(command_length), Ok(data_length)) =
        (u8::try_from(command.len()), u32::try_from(length))
    else {
        return Err(rustix::io::Errno::INVAL);
    };
    let mut header = Header {
        interface_id: i32::from(b'S'),
        direction,
        command_length,
        sense_capacity: sense.len() as u8,
        iovec_count: 0,
        data_length,
        data: pointer.cast(),
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_written: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_ms: 0,
        info: 0,
    };
    // SAFETY: see the implementation of `Ioctl`; a file that is no SCSI disk answers an errno.
    unsafe { rustix::ioctl::ioctl(disk, Call(&mut header)) }?;
    let missing = usize::try_from(header.residual).unwrap_or(0);
    let written = usize::from(header.sense_written).min(sense.len());
    Ok(Reply {
        status: header.status,
        host_status: header.host_status,
        received: length.saturating_sub(missing),
        sense: sense[..written].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn layout_is_that_of_the_header() {
        let Some(theirs) = super::super::headers::evaluate(
            &["scsi/sg.h"],
            &[
                "sizeof(struct sg_io_hdr)",
                "offsetof(struct sg_io_hdr, dxferp)",
                "offsetof(struct sg_io_hdr, timeout)",
                "offsetof(struct sg_io_hdr, status)",
                "offsetof(struct sg_io_hdr, host_status)",
                "offsetof(struct sg_io_hdr, resid)",
                "SG_IO",
                "-SG_DXFER_FROM_DEV",
                "-SG_DXFER_NONE",
                "-SG_DXFER_TO_DEV",
            ],
        ) else {
            return;
        };
        let ours = [
            size_of::<Header>() as u64,
            offset_of!(Header, data) as u64,
            offset_of!(Header, timeout_ms) as u64,
            offset_of!(Header, status) as u64,
            offset_of!(Header, host_status) as u64,
            offset_of!(Header, residual) as u64,
            u64::from(SG_IO),
            (-DIRECTION_FROM_DISK) as u64,
            (-DIRECTION_NONE) as u64,
            (-DIRECTION_TO_DISK) as u64,
        ];
        assert_eq!(theirs, ours);
    }

    #[test]
    fn sense_is_read_in_both_formats() {
        let mut reply = Reply {
            status: 2,
            host_status: 0,
            received: 0,
            sense: vec![0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0x01],
        };
        assert_eq!(reply.sense_code(), Some((6, 0x29, 1)));
        reply.sense = vec![0x72, 5, 0x20, 0];
        assert_eq!(reply.sense_code(), Some((5, 0x20, 0)));
        reply.sense.clear();
        assert_eq!(reply.sense_code(), None);
    }
}
