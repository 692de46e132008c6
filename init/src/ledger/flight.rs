//! A block of the flight record: log lines of one boot of one head, as bytes that say what they are.
//!
//! ```text
//! block = header, lines of text, zeros
//! line  = MICROSECONDS ' ' LEVEL SOURCE ' ' TEXT '\n'        "12345678 iO standby"
//! ```
//!
//! The header, little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `OrthrusF` |
//! | 8 | 1 | format, 1 |
//! | 9 | 1 | head, 1 or 2 |
//! | 10 | 2 | number of lines |
//! | 12 | 4 | cluster id |
//! | 16 | 16 | pool, as in records |
//! | 32 | 8 | incarnation |
//! | 40 | 8 | sequence of the block: grows with each one that this head writes, over all its boots |
//! | 48 | 8 | number of the first line, from 0 at boot |
//! | 56 | 8 | when the kernel started, milliseconds since 1970; zero when the clock was not set |
//! | 64 | 4 | bytes of text |
//! | 68 | 28 | zero |
//! | 96 | 8 | checksum: first bytes of SHA-256 of the header before it and of the text |
//! | 104 | 16 | HMAC-SHA-256 of the header before it and of the text, its first half |
//!
//! Levels are the first letters of error, warn, info, debug; sources `O` (this program) and `K` (the kernel). The text
//! is legible in a hex dump, for whoever has only the disk. Rejected: compression, for the same reason.

use hmac::{Hmac, Mac as _};
use orthrus_hb::ledger::{BLOCK_BYTES, Place};
use orthrus_hb::mac::keyed;
use orthrus_hb::{HeadId, Incarnation};
use sha2::{Digest as _, Sha256};

use super::writer::Page;
use crate::log::{Level, Line, Source};

const MAGIC: &[u8; 8] = b"OrthrusF";
const FORMAT: u8 = 1;
const CHECKSUM_AT: usize = 96;
const TAG_AT: usize = 104;
const HEADER_BYTES: usize = 120;
/// Under the MAC before the block; records have another number there, and frames their link's.
const DOMAIN: u8 = 0xee;

/// Bytes of text that a block holds.
pub const TEXT_BYTES: usize = BLOCK_BYTES - HEADER_BYTES;

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whose lines these are.
    pub head: HeadId,
    /// Of which boot.
    pub incarnation: Incarnation,
    /// Grows with each block that the head writes, over all its boots.
    pub sequence: u64,
    /// Number of the first line in that boot.
    pub first: u64,
    /// When the kernel started, in milliseconds since 1970; `None` when the clock was not set.
    pub booted_ms: Option<u64>,
    /// The lines, one after the other.
    pub lines: Vec<Line>,
}

/// Why bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlightError {
    /// Never written, or something else.
    #[error("no flight record")]
    Empty,
    /// Torn, or damaged.
    #[error("block is torn or damaged")]
    Checksum,
    /// Written by somebody without the secret.
    #[error("block fails authentication")]
    Tag,
    /// Of a format that this release does not know.
    #[error("block of format {0}, this release knows {FORMAT}")]
    Format(u8),
    /// Of another cluster or pool.
    #[error("block of another cluster or pool")]
    Place,
    /// Senseless.
    #[error("block has a value that no head writes")]
    Value,
}

/// Bytes that a line takes.
pub fn bytes_of(line: &Line) -> usize {
    encode_line(line).len()
}

fn encode_line(line: &Line) -> String {
    let level = match line.level {
        Level::Error => 'e',
        Level::Warn => 'w',
        Level::Info => 'i',
        Level::Debug => 'd',
    };
    let source = match line.source {
        Source::Orthrus => 'O',
        Source::Kernel => 'K',
    };
    // Lines have no control characters, so a line end is the end.
    format!("{} {level}{source} {}\n", line.at_us, line.text)
}

fn decode_line(line: &str) -> Option<Line> {
    let (at_us, rest) = line.split_once(' ')?;
    let (kind, text) = rest.split_once(' ')?;
    let level = match kind.chars().next()? {
        'e' => Level::Error,
        'w' => Level::Warn,
        'i' => Level::Info,
        'd' => Level::Debug,
        _ => return None,
    };
    let source = match kind.chars().nth(1)? {
        'O' => Source::Orthrus,
        'K' => Source::Kernel,
        _ => return None,
    };
    Some(Line::new(at_us.parse().ok()?, level, source, text))
}

/// Encodes a block. Lines that do not fit in [`TEXT_BYTES`] are left out: the caller counts.
pub fn encode(block: &Block, place: &Place, secret: &[u8; 32]) -> Page {
    let mut page = Box::new([0; BLOCK_BYTES]);
    let mut end = HEADER_BYTES;
    let mut count: u16 = 0;
    for line in &block.lines {
        let line = encode_line(line);
        let Some(room) = page.get_mut(end..end + line.len()) else {
            break;
        };
        room.copy_from_slice(line.as_bytes());
        end += line.len();
        count += 1;
    }
    let text = (end - HEADER_BYTES) as u32;
    let mut put = |at: usize, value: &[u8]| page[at..at + value.len()].copy_from_slice(value);
    put(0, MAGIC);
    put(8, &[FORMAT, block.head.number()]);
    put(10, &count.to_le_bytes());
    put(12, &place.cluster.bits().to_le_bytes());
    put(16, &place.pool);
    put(32, &block.incarnation.0);
    put(40, &block.sequence.to_le_bytes());
    put(48, &block.first.to_le_bytes());
    put(56, &block.booted_ms.unwrap_or(0).to_le_bytes());
    put(64, &text.to_le_bytes());
    let checksum = checksum(&page[..end]);
    page[CHECKSUM_AT..TAG_AT].copy_from_slice(&checksum);
    let tag = mac(&page[..end], secret).finalize().into_bytes();
    page[TAG_AT..HEADER_BYTES].copy_from_slice(&tag[..HEADER_BYTES - TAG_AT]);
    page
}

/// Checks and decodes a block.
///
/// # Errors
/// See [`FlightError`].
pub fn decode(bytes: &[u8], place: &Place, secret: &[u8; 32]) -> Result<Block, FlightError> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return Err(FlightError::Empty);
    }
    let number = |at: usize| -> u64 {
        let mut value = [0; 8];
        value.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(value)
    };
    let text = (number(64) as u32) as usize;
    let whole = bytes.get(..HEADER_BYTES.saturating_add(text));
    let whole = whole.ok_or(FlightError::Checksum)?;
    if checksum(whole) != bytes[CHECKSUM_AT..TAG_AT] {
        return Err(FlightError::Checksum);
    }
    mac(whole, secret)
        .verify_truncated_left(&bytes[TAG_AT..HEADER_BYTES])
        .map_err(|_| FlightError::Tag)?;
    if bytes[8] != FORMAT {
        return Err(FlightError::Format(bytes[8]));
    }
    let cluster = number(12) as u32;
    if cluster != place.cluster.bits() || bytes[16..32] != place.pool {
        return Err(FlightError::Place);
    }
    let head = HeadId::from_number(bytes[9]).ok_or(FlightError::Value)?;
    let mut incarnation = Incarnation([0; 8]);
    incarnation.0.copy_from_slice(&bytes[32..40]);
    let text = std::str::from_utf8(&whole[HEADER_BYTES..]).map_err(|_| FlightError::Value)?;
    let lines: Option<Vec<Line>> = text.lines().map(decode_line).collect();
    let lines = lines.ok_or(FlightError::Value)?;
    if lines.len() as u64 != number(10) & 0xffff {
        return Err(FlightError::Value);
    }
    Ok(Block {
        head,
        incarnation,
        sequence: number(40),
        first: number(48),
        booted_ms: Some(number(56)).filter(|ms| *ms != 0),
        lines,
    })
}

/// Of the header's beginning and the text of `whole`, a block cut where its text ends.
fn checksum(whole: &[u8]) -> [u8; TAG_AT - CHECKSUM_AT] {
    let mut hash = Sha256::new();
    hash.update(&whole[..CHECKSUM_AT]);
    hash.update(&whole[HEADER_BYTES..]);
    let hash = hash.finalize();
    let mut checksum = [0; TAG_AT - CHECKSUM_AT];
    checksum.copy_from_slice(&hash[..TAG_AT - CHECKSUM_AT]);
    checksum
}

fn mac(whole: &[u8], secret: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = keyed(secret, DOMAIN);
    mac.update(&whole[..TAG_AT]);
    mac.update(&whole[HEADER_BYTES..]);
    mac
}

#[cfg(test)]
mod tests {
    use orthrus_hb::ClusterId;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn place() -> Place {
        Place::of_group(
            ClusterId::from_name("lab"),
            "kVWnZl-0dCN-x0s1-9TrN-pZ2b-1CyW-3Xy7Zq",
        )
    }

    fn block() -> Block {
        let line = |at_us, level, source, text: &str| Line::new(at_us, level, source, text);
        Block {
            head: HeadId::Second,
            incarnation: Incarnation([0x11; 8]),
            sequence: 0x0102,
            first: 40,
            booted_ms: Some(1_790_000_000_000),
            lines: vec![
                line(12_345_678, Level::Info, Source::Orthrus, "standby"),
                line(12_345_679, Level::Error, Source::Kernel, "sda: failed é"),
                line(12_345_680, Level::Warn, Source::Orthrus, ""),
            ],
        }
    }

    #[test]
    fn a_block_comes_back_as_it_was() {
        for block in [
            block(),
            Block {
                lines: Vec::new(),
                booted_ms: None,
                ..block()
            },
        ] {
            let page = encode(&block, &place(), &SECRET);
            assert_eq!(decode(&page[..], &place(), &SECRET), Ok(block));
        }
    }

    #[test]
    fn bytes_of_a_block_are_frozen() {
        let page = encode(&block(), &place(), &SECRET);
        assert_eq!(&page[..12], b"OrthrusF\x01\x02\x03\x00");
        assert_eq!(page[32..40], [0x11; 8]);
        assert_eq!(
            page[40..56],
            [2, 1, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0]
        );
        let text = "12345678 iO standby\n12345679 eK sda: failed é\n12345680 wO \n";
        assert_eq!(page[64..68], (text.len() as u32).to_le_bytes());
        assert_eq!(&page[120..120 + text.len()], text.as_bytes());
        assert!(page[120 + text.len()..].iter().all(|byte| *byte == 0));
        let mut hash = Sha256::new();
        hash.update(&page[..]);
        // The whole of it, checksum and MAC included.
        assert_eq!(hash.finalize()[..4], GOLDEN);
    }

    const GOLDEN: [u8; 4] = [82, 131, 16, 171];

    #[test]
    fn every_flipped_bit_and_every_torn_sector_is_noticed() {
        let page = encode(&block(), &place(), &SECRET);
        let used = HEADER_BYTES + block().lines.iter().map(bytes_of).sum::<usize>();
        for bit in 0..used * 8 {
            let mut page = page.clone();
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&page[..], &place(), &SECRET).is_err(), "bit {bit}");
        }
        // The first sectors of a longer, newer block over an older one.
        let filler = Line::new(1, Level::Info, Source::Orthrus, &"x".repeat(200));
        let longer = Block {
            lines: vec![filler; 18],
            ..block()
        };
        let new = encode(&longer, &place(), &SECRET);
        for sectors in 1..8 {
            let mut torn = page.clone();
            torn[..sectors * 512].copy_from_slice(&new[..sectors * 512]);
            let error = decode(&torn[..], &place(), &SECRET).unwrap_err();
            assert_eq!(error, FlightError::Checksum, "{sectors}");
        }
        for end in 0..used {
            assert!(decode(&page[..end], &place(), &SECRET).is_err());
        }
    }

    #[test]
    fn a_block_of_another_pool_or_without_the_secret_does_not_count() {
        let page = encode(&block(), &place(), &SECRET);
        let other = Place::of_group(ClusterId::from_name("lab"), "another");
        assert_eq!(decode(&page[..], &other, &SECRET), Err(FlightError::Place));
        assert_eq!(decode(&page[..], &place(), &[8; 32]), Err(FlightError::Tag));
        let zeros = [0; BLOCK_BYTES];
        assert_eq!(decode(&zeros, &place(), &SECRET), Err(FlightError::Empty));
    }

    #[test]
    fn lines_that_do_not_fit_are_left_out_whole() {
        let filler = Line::new(1, Level::Info, Source::Orthrus, &"x".repeat(994));
        let block = Block {
            lines: vec![filler; 5],
            ..block()
        };
        assert_eq!(bytes_of(&block.lines[0]), 1000);
        let page = encode(&block, &place(), &SECRET);
        let kept = decode(&page[..], &place(), &SECRET).unwrap().lines;
        assert_eq!(kept, block.lines[..3]);
    }
}
