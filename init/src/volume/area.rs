//! A metadata area: a header of 512 bytes and a ring of text, of which one stretch is current
//! (`lib/format_text/layout.h`).

use super::crc;
use super::label::{Area, number32, number64};

/// Bytes of the header, at the start of the area.
pub const HEADER: usize = 512;

/// Text longer than this is refused: a VG of a thousand volumes has some 500 KiB.
pub const MOST_TEXT: u64 = 8 << 20;

const MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
const VERSION: u32 = 1;
/// `RAW_LOCN_IGNORED`: the area exists and is not kept up to date.
const IGNORED: u32 = 1;

/// Why an area cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AreaError {
    /// A checksum is wrong.
    #[error("metadata area at {start}: checksum of its {part} is wrong")]
    Checksum {
        /// Where the area is, in bytes.
        start: u64,
        /// The header or the text.
        part: &'static str,
    },
    /// Something in it makes no sense.
    #[error("metadata area at {start}: {what}")]
    Malformed {
        /// Where the area is, in bytes.
        start: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// What the header of an area says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the area is, as its header has it: the label's size may be older.
    pub area: Area,
    /// It is not kept up to date, whatever it holds.
    pub is_ignored: bool,
    /// The current text.
    pub current: Option<Location>,
}

/// Where the current text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    area: Area,
    offset: u64,
    size: u64,
    checksum: u32,
}

/// Where the current text of `area` is; `None` when it holds none, or none that is kept up to date.
pub fn parse_header(area: Area, header: &[u8]) -> Result<Option<Location>, AreaError> {
    let header = Header::parse(area, header)?;
    Ok(header.current.filter(|_| !header.is_ignored))
}

impl Header {
    /// Reads the header of `area`.
    pub fn parse(area: Area, header: &[u8]) -> Result<Header, AreaError> {
        parse(area, header)
    }

    /// The header's sector, with the current text in the first slot. The second one, for a text that is not committed
    /// yet, stays empty.
    pub fn sector(&self) -> [u8; HEADER] {
        let mut sector = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, MAGIC);
        put(20, &VERSION.to_le_bytes());
        put(24, &self.area.start.to_le_bytes());
        put(32, &self.area.size.to_le_bytes());
        if let Some(current) = self.current {
            put(40, &current.offset.to_le_bytes());
            put(48, &current.size.to_le_bytes());
            put(56, &current.checksum.to_le_bytes());
        }
        put(60, &(u32::from(self.is_ignored) * IGNORED).to_le_bytes());
        let checksum = crc::crc(crc::START, &sector[4..]);
        sector[..4].copy_from_slice(&checksum.to_le_bytes());
        sector
    }
}

fn parse(area: Area, header: &[u8]) -> Result<Header, AreaError> {
    let malformed = |what| AreaError::Malformed {
        start: area.start,
        what,
    };
    let field64 = |at| number64(header, at).ok_or_else(|| malformed("its header is cut short"));
    let field32 = |at| number32(header, at).ok_or_else(|| malformed("its header is cut short"));
    if header.len() != HEADER {
        return Err(malformed("its header is cut short"));
    }
    if field32(0)? != crc::crc(crc::START, &header[4..]) {
        return Err(AreaError::Checksum {
            start: area.start,
            part: "header",
        });
    }
    if &header[4..20] != MAGIC {
        return Err(malformed("its header has not the magic of LVM2"));
    }
    if field32(20)? != VERSION {
        return Err(malformed("its version is unknown"));
    }
    let (start, size) = (field64(24)?, field64(32)?);
    if start != area.start || size <= HEADER as u64 {
        return Err(malformed("its header belongs to another place"));
    }
    let area = Area { start, size };
    let (offset, length, checksum, flags) =
        (field64(40)?, field64(48)?, field32(56)?, field32(60)?);
    let is_ignored = flags & IGNORED != 0;
    if offset == 0 || length == 0 || is_ignored {
        return Ok(Header {
            area,
            is_ignored,
            current: None,
        });
    }
    let ring = size - HEADER as u64;
    if offset < HEADER as u64 || offset >= size || length > ring {
        return Err(malformed("its text lies outside"));
    }
    if length > MOST_TEXT {
        return Err(malformed("its text is longer than 8 MiB"));
    }
    let current = Some(Location {
        area,
        offset,
        size: length,
        checksum,
    });
    Ok(Header {
        area,
        is_ignored,
        current,
    })
}

impl Location {
    /// Of a text at `offset` bytes from the start of the area.
    pub fn new(area: Area, offset: u64, text: &[u8]) -> Location {
        Location {
            area,
            offset,
            size: text.len() as u64,
            checksum: crc::crc(crc::START, text),
        }
    }

    /// Bytes from the start of the area.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the text in bytes, with what ends it.
    pub fn length(&self) -> u64 {
        self.size
    }

    /// The one or two stretches of the disk that the text is in: the ring goes on behind the header.
    pub fn stretches(&self) -> [Area; 2] {
        let first = self.size.min(self.area.size - self.offset);
        [
            Area {
                start: self.area.start.saturating_add(self.offset),
                size: first,
            },
            Area {
                start: self.area.start.saturating_add(HEADER as u64),
                size: self.size - first,
            },
        ]
    }

    /// The text, once its bytes were read from both stretches.
    pub fn text(&self, bytes: Vec<u8>) -> Result<String, AreaError> {
        let start = self.area.start;
        if crc::crc(crc::START, &bytes) != self.checksum {
            let part = "text";
            return Err(AreaError::Checksum { start, part });
        }
        // The description is a command line as somebody typed it, in whatever encoding. A name with what is not UTF-8 is none.
        let mut text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        text.truncate(text.trim_end_matches('\0').len());
        Ok(text)
    }
}
