//! Device-mapper's control device, `include/uapi/linux/dm-ioctl.h`.
//!
//! Every call passes one buffer: a header, then what belongs to the command. The buffer is written and
//! read byte by byte at the offsets of the kernel's structures (tested against the header), so no
//! structure of ours is laid over what the kernel wrote.

use std::ffi::c_void;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// `sizeof(struct dm_ioctl)`.
const HEADER: usize = 312;
/// `sizeof(struct dm_target_spec)`.
const TARGET: usize = 40;

const AT_VERSION: usize = 0;
const AT_DATA_SIZE: usize = 12;
const AT_DATA_START: usize = 16;
const AT_TARGET_COUNT: usize = 20;
const AT_OPEN_COUNT: usize = 24;
const AT_FLAGS: usize = 28;
const AT_DEVICE: usize = 40;
const AT_NAME: usize = 48;
const AT_UUID: usize = 176;
/// Sizes of the name and the uuid, each with its closing zero.
const NAME_SIZE: usize = 128;
const UUID_SIZE: usize = 129;

const READ_ONLY: u32 = 1 << 0;
const SUSPENDED: u32 = 1 << 1;
const STATUS_TABLE: u32 = 1 << 4;
const ACTIVE_PRESENT: u32 = 1 << 5;
const INACTIVE_PRESENT: u32 = 1 << 6;
const BUFFER_FULL: u32 = 1 << 8;
const NO_FLUSH: u32 = 1 << 11;

/// The interface that we speak: the kernel refuses another major number and knows all minor ones up to its
/// own. Nothing newer than 4.0 is used.
const VERSION: [u32; 3] = [4, 0, 0];

/// Room for a table; doubled while the kernel says that it is not enough.
const TABLE_ROOM: usize = 16 * 1024;
const MOST_ROOM: usize = 16 * 1024 * 1024;

const fn number(command: u8) -> Opcode {
    opcode::read_write::<[u8; HEADER]>(0xfd, command)
}

const DM_VERSION: Opcode = number(0);
const DM_DEV_CREATE: Opcode = number(3);
const DM_DEV_REMOVE: Opcode = number(4);
const DM_DEV_RENAME: Opcode = number(5);
const DM_DEV_SUSPEND: Opcode = number(6);
const DM_DEV_STATUS: Opcode = number(7);
const DM_TABLE_LOAD: Opcode = number(9);
const DM_TABLE_CLEAR: Opcode = number(10);
const DM_TABLE_DEPS: Opcode = number(11);
const DM_TABLE_STATUS: Opcode = number(12);
const DM_TARGET_MSG: Opcode = number(14);

/// A device as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Device number.
    pub number: (u32, u32),
    /// Its name.
    pub name: String,
    /// How often it is open.
    pub open_count: i32,
    /// It has a table that is in use.
    pub is_live: bool,
    /// It has a table that waits for a resume.
    pub has_inactive: bool,
    /// It holds I/O back.
    pub is_suspended: bool,
    /// It takes no writes.
    pub is_read_only: bool,
}

/// What a device stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// Its own number.
    pub number: (u32, u32),
    /// The numbers of devices and disks that its table names.
    pub below: Vec<(u32, u32)>,
}

/// A line of a table, in sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLine {
    /// First sector.
    pub start: u64,
    /// Length.
    pub length: u64,
    /// Name of the target.
    pub kind: String,
    /// Its parameters.
    pub parameters: String,
}

impl fmt::Display for TableLine {
    /// As `dmsetup table` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TableLine {
            start,
            length,
            kind,
            parameters,
        } = self;
        write!(f, "{start} {length} {kind} {parameters}")
    }
}

struct Call<'a> {
    opcode: Opcode,
    buffer: &'a mut [u8],
}

// SAFETY: the kernel reads data_size from the header and never touches more than that; `Buffer::call` sets it to
// the length of the buffer, which is at least that of the header and lives as long as the call.
unsafe impl Ioctl for Call<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_out: IoctlOutput, _buffer: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

struct Buffer(Vec<u8>);

impl Buffer {
    /// Addresses the device with this uuid; nothing when that is empty.
    fn new(uuid: &str, room: usize) -> io::Result<Buffer> {
        let mut buffer = Buffer(vec![0; HEADER + room]);
        for (index, part) in VERSION.into_iter().enumerate() {
            buffer.put32(AT_VERSION + 4 * index, part);
        }
        buffer.put32(AT_DATA_START, HEADER as u32);
        buffer.put_text(AT_UUID, UUID_SIZE, uuid)?;
        Ok(buffer)
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_text(&mut self, at: usize, size: usize, text: &str) -> io::Result<()> {
        if text.len() >= size || text.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        self.0[at..at + text.len()].copy_from_slice(text.as_bytes());
        Ok(())
    }

    fn get32(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at.saturating_add(4));
        bytes.map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn get64(&self, at: usize) -> u64 {
        let (low, high) = (self.get32(at), self.get32(at + 4));
        u64::from(high) << 32 | u64::from(low)
    }

    /// The text from `at` to its zero, or to `end`.
    fn text(&self, at: usize, end: usize) -> String {
        let bytes = self.0.get(at..end.min(self.0.len())).unwrap_or_default();
        let length = bytes.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&bytes[..length.unwrap_or(bytes.len())]).into_owned()
    }

    fn call(&mut self, control: BorrowedFd<'_>, opcode: Opcode) -> io::Result<()> {
        let length =
            u32::try_from(self.0.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
        self.put32(AT_DATA_SIZE, length);
        let buffer = &mut self.0;
        // SAFETY: see the implementation of `Ioctl`.
        unsafe { rustix::ioctl::ioctl(control, Call { opcode, buffer }) }?;
        Ok(())
    }

    /// A device number. new_encode_dev: 12 bits of major number amid 20 of minor.
    fn number(&self, at: usize) -> (u32, u32) {
        let device = self.get64(at);
        (
            (device >> 8 & 0xfff) as u32,
            (device & 0xff | device >> 12 & 0xf_ff00) as u32,
        )
    }

    /// `struct dm_target_deps`: a count, four bytes of nothing, that many numbers.
    fn dependencies(&self) -> Vec<(u32, u32)> {
        let start = self.get32(AT_DATA_START) as usize;
        let most = self.0.len().saturating_sub(start) / 8;
        let count = (self.get32(start) as usize).min(most);
        (1..=count).map(|at| self.number(start + 8 * at)).collect()
    }

    fn info(&self) -> Info {
        let flags = self.get32(AT_FLAGS);
        Info {
            number: self.number(AT_DEVICE),
            name: self.text(AT_NAME, AT_NAME + NAME_SIZE),
            open_count: self.get32(AT_OPEN_COUNT) as i32,
            is_live: flags & ACTIVE_PRESENT != 0,
            has_inactive: flags & INACTIVE_PRESENT != 0,
            is_suspended: flags & SUSPENDED != 0,
            is_read_only: flags & READ_ONLY != 0,
        }
    }

    fn lines(&self) -> Vec<TableLine> {
        let start = self.get32(AT_DATA_START) as usize;
        let mut at = start;
        let mut lines = Vec::new();
        for _ in 0..self.get32(AT_TARGET_COUNT) {
            let next = start + self.get32(at + 20) as usize;
            lines.push(TableLine {
                start: self.get64(at),
                length: self.get64(at + 8),
                kind: self.text(at + 24, at + TARGET),
                parameters: self.text(at + TARGET, self.0.len()),
            });
            at = next;
        }
        lines
    }
}

/// The control device, open.
pub struct Control(File);

impl Control {
    /// Opens `/dev/mapper/control`, which devtmpfs makes once the driver is loaded.
    pub fn open() -> io::Result<Control> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/mapper/control")?;
        let control = Control(file);
        // Fails with EINVAL when the kernel's major number is another one.
        control.version()?;
        Ok(control)
    }

    /// The interface version of the kernel.
    pub fn version(&self) -> io::Result<[u32; 3]> {
        let mut buffer = Buffer::new("", 0)?;
        buffer.call(self.0.as_fd(), DM_VERSION)?;
        Ok([0, 1, 2].map(|index| buffer.get32(AT_VERSION + 4 * index)))
    }

    /// Makes a device without a table.
    pub fn create(&self, name: &str, uuid: &str) -> io::Result<Info> {
        let mut buffer = Buffer::new(uuid, 0)?;
        buffer.put_text(AT_NAME, NAME_SIZE, name)?;
        buffer.call(self.0.as_fd(), DM_DEV_CREATE)?;
        Ok(buffer.info())
    }

    /// The device with this uuid, if there is one.
    pub fn status(&self, uuid: &str) -> io::Result<Option<Info>> {
        let mut buffer = Buffer::new(uuid, 0)?;
        match buffer.call(self.0.as_fd(), DM_DEV_STATUS) {
            Ok(()) => Ok(Some(buffer.info())),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the device a table, which counts from the next [`resume`](Control::resume) on.
    pub fn load(&self, uuid: &str, read_only: bool, lines: &[TableLine]) -> io::Result<()> {
        let mut buffer = Buffer::new(uuid, 0)?;
        let count =
            u32::try_from(lines.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
        buffer.put32(AT_TARGET_COUNT, count);
        buffer.put32(AT_FLAGS, if read_only { READ_ONLY } else { 0 });
        for line in lines {
            // Header, parameters, zero, and up to the next multiple of eight.
            let length = (TARGET + line.parameters.len() + 1).next_multiple_of(8);
            let at = buffer.0.len();
            buffer.0.resize(at + length, 0);
            buffer.0[at..at + 8].copy_from_slice(&line.start.to_ne_bytes());
            buffer.0[at + 8..at + 16].copy_from_slice(&line.length.to_ne_bytes());
            buffer.put32(at + 20, length as u32);
            buffer.put_text(at + 24, TARGET - 24, &line.kind)?;
            buffer.put_text(at + TARGET, length - TARGET, &line.parameters)?;
        }
        buffer.call(self.0.as_fd(), DM_TABLE_LOAD)
    }

    /// Puts the loaded table to use.
    pub fn resume(&self, uuid: &str) -> io::Result<Info> {
        let mut buffer = Buffer::new(uuid, 0)?;
        buffer.call(self.0.as_fd(), DM_DEV_SUSPEND)?;
        Ok(buffer.info())
    }

    /// Holds back what comes to a device, once all that is under way is done and flushed, until it is resumed.
    pub fn suspend(&self, uuid: &str) -> io::Result<()> {
        let mut buffer = Buffer::new(uuid, 0)?;
        buffer.put32(AT_FLAGS, SUSPENDED);
        buffer.call(self.0.as_fd(), DM_DEV_SUSPEND)
    }

    /// Gives a device another name, in use or not. Fails with EBUSY when another one has it.
    ///
    /// It is addressed by the old name: the kernel looks for nothing else here (`dm_hash_rename`).
    pub fn rename(&self, old: &str, new: &str) -> io::Result<()> {
        let mut buffer = Buffer::new("", 0)?;
        buffer.put_text(AT_NAME, NAME_SIZE, old)?;
        if new.is_empty() || new.len() >= NAME_SIZE || new.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        buffer.0.extend(new.as_bytes());
        buffer.0.push(0);
        buffer.call(self.0.as_fd(), DM_DEV_RENAME)
    }

    /// Drops a table that was loaded and never put to use.
    pub fn clear(&self, uuid: &str) -> io::Result<()> {
        Buffer::new(uuid, 0)?.call(self.0.as_fd(), DM_TABLE_CLEAR)
    }

    /// The table in use.
    pub fn table(&self, uuid: &str) -> io::Result<Vec<TableLine>> {
        Ok(self.ask(uuid, STATUS_TABLE, DM_TABLE_STATUS)?.lines())
    }

    /// What each target of the table in use says of itself, in the place of its parameters. Nothing is written to find
    /// it out.
    pub fn target_status(&self, uuid: &str) -> io::Result<Vec<TableLine>> {
        Ok(self.ask(uuid, NO_FLUSH, DM_TABLE_STATUS)?.lines())
    }

    /// The device with this uuid, if there is one, and what it stands on.
    pub fn dependencies(&self, uuid: &str) -> io::Result<Option<Dependencies>> {
        match self.ask(uuid, 0, DM_TABLE_DEPS) {
            Ok(buffer) => Ok(Some(Dependencies {
                number: buffer.info().number,
                below: buffer.dependencies(),
            })),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells the target at this sector something.
    pub fn message(&self, uuid: &str, sector: u64, text: &str) -> io::Result<()> {
        let mut buffer = Buffer::new(uuid, 0)?;
        buffer.0.extend(sector.to_ne_bytes());
        buffer.0.extend(text.as_bytes());
        buffer.0.push(0);
        buffer.call(self.0.as_fd(), DM_TARGET_MSG)
    }

    /// A call whose answer may need more room than was thought.
    fn ask(&self, uuid: &str, flags: u32, opcode: Opcode) -> io::Result<Buffer> {
        let mut room = TABLE_ROOM;
        loop {
            let mut buffer = Buffer::new(uuid, room)?;
            buffer.put32(AT_FLAGS, flags);
            buffer.call(self.0.as_fd(), opcode)?;
            if buffer.get32(AT_FLAGS) & BUFFER_FULL == 0 {
                return Ok(buffer);
            }
            room *= 2;
            if room > MOST_ROOM {
                return Err(io::Error::from_raw_os_error(libc::E2BIG));
            }
        }
    }

    /// Removes the device; false when there is none. Fails with EBUSY while it is open.
    pub fn remove(&self, uuid: &str) -> io::Result<bool> {
        match Buffer::new(uuid, 0)?.call(self.0.as_fd(), DM_DEV_REMOVE) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_and_numbers_are_those_of_the_kernel_header() {
        let Some(kernel) = super::super::headers::evaluate(
            &["sys/ioctl.h", "linux/dm-ioctl.h"],
            &[
                "sizeof(struct dm_ioctl)",
                "sizeof(struct dm_target_spec)",
                "offsetof(struct dm_ioctl, version)",
                "offsetof(struct dm_ioctl, data_size)",
                "offsetof(struct dm_ioctl, data_start)",
                "offsetof(struct dm_ioctl, target_count)",
                "offsetof(struct dm_ioctl, open_count)",
                "offsetof(struct dm_ioctl, flags)",
                "offsetof(struct dm_ioctl, dev)",
                "offsetof(struct dm_ioctl, name)",
                "offsetof(struct dm_ioctl, uuid)",
                "DM_NAME_LEN",
                "DM_UUID_LEN",
                "offsetof(struct dm_target_spec, sector_start)",
                "offsetof(struct dm_target_spec, length)",
                "offsetof(struct dm_target_spec, next)",
                "offsetof(struct dm_target_spec, target_type)",
                "DM_READONLY_FLAG",
                "DM_SUSPEND_FLAG",
                "DM_STATUS_TABLE_FLAG",
                "DM_ACTIVE_PRESENT_FLAG",
                "DM_INACTIVE_PRESENT_FLAG",
                "DM_BUFFER_FULL_FLAG",
                "DM_NOFLUSH_FLAG",
                "sizeof(struct dm_target_deps)",
                "sizeof(struct dm_target_msg)",
                "DM_VERSION",
                "DM_DEV_CREATE",
                "DM_DEV_REMOVE",
                "DM_DEV_RENAME",
                "DM_DEV_SUSPEND",
                "DM_DEV_STATUS",
                "DM_TABLE_LOAD",
                "DM_TABLE_CLEAR",
                "DM_TABLE_DEPS",
                "DM_TABLE_STATUS",
                "DM_TARGET_MSG",
                "DM_VERSION_MAJOR",
            ],
        ) else {
            return;
        };
        let ours = [
            HEADER,
            TARGET,
            AT_VERSION,
            AT_DATA_SIZE,
            AT_DATA_START,
            AT_TARGET_COUNT,
            AT_OPEN_COUNT,
            AT_FLAGS,
            AT_DEVICE,
            AT_NAME,
            AT_UUID,
            NAME_SIZE,
            UUID_SIZE,
            0,
            8,
            20,
            24,
            READ_ONLY as usize,
            SUSPENDED as usize,
            STATUS_TABLE as usize,
            ACTIVE_PRESENT as usize,
            INACTIVE_PRESENT as usize,
            BUFFER_FULL as usize,
            NO_FLUSH as usize,
            8,
            8,
            DM_VERSION as usize,
            DM_DEV_CREATE as usize,
            DM_DEV_REMOVE as usize,
            DM_DEV_RENAME as usize,
            DM_DEV_SUSPEND as usize,
            DM_DEV_STATUS as usize,
            DM_TABLE_LOAD as usize,
            DM_TABLE_CLEAR as usize,
            DM_TABLE_DEPS as usize,
            DM_TABLE_STATUS as usize,
            DM_TARGET_MSG as usize,
            VERSION[0] as usize,
        ];
        assert_eq!(kernel, ours.map(|value| value as u64));
    }

    #[test]
    fn names_that_do_not_fit_are_refused_before_the_kernel_sees_them() {
        let mut buffer = Buffer::new("LVM-x", 0).unwrap();
        assert!(
            buffer
                .put_text(AT_NAME, NAME_SIZE, &"n".repeat(127))
                .is_ok()
        );
        assert!(
            buffer
                .put_text(AT_NAME, NAME_SIZE, &"n".repeat(128))
                .is_err()
        );
        assert!(Buffer::new("a\0b", 0).is_err());
    }

    #[test]
    fn a_lying_answer_is_read_without_a_panic() {
        let mut buffer = Buffer::new("", 64).unwrap();
        buffer.put32(AT_TARGET_COUNT, 3);
        buffer.put32(AT_DATA_START, u32::MAX);
        assert_eq!(buffer.lines().len(), 3);
        assert!(buffer.dependencies().is_empty());
        buffer.put32(AT_DATA_START, HEADER as u32);
        buffer.put32(HEADER, u32::MAX);
        assert_eq!(buffer.dependencies().len(), 8);
    }
}
