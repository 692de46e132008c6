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

/// Where the current text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    area: Area,
    offset: u64,
    size: u64,
    checksum: u32,
}

/// Reads the header of `area`; `None` when it holds no current text.
pub fn parse_header(area: Area, header: &[u8]) -> Result<Option<Location>, AreaError> {
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
    if offset == 0 || length == 0 || flags & IGNORED != 0 {
        return Ok(None);
    }
    let ring = size - HEADER as u64;
    if offset < HEADER as u64 || offset >= size || length > ring {
        return Err(malformed("its text lies outside"));
    }
    if length > MOST_TEXT {
        return Err(malformed("its text is longer than 8 MiB"));
    }
    Ok(Some(Location {
        area,
        offset,
        size: length,
        checksum,
    }))
}

impl Location {
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
        let mut text = String::from_utf8(bytes).map_err(|_| AreaError::Malformed {
            start,
            what: "its text is not UTF-8",
        })?;
        text.truncate(text.trim_end_matches('\0').len());
        Ok(text)
    }
}
