//! The ledger's record: what a head writes of itself onto the pool's own disks, as bytes.
//!
//! The ledger is a small region on up to three disks of a pool, each a whole copy of it. Each head has a slot of its
//! own there, so that nobody ever writes where another does, and two blocks in it, so that a write that
//! is torn leaves the record before it. The owner's record is its beat: it grows by one every quarter of a
//! second for as long as its heartbeat thread runs, and the standby reads it.
//!
//! ```text
//! block 0, 1   slot of the first head, even and odd sequence numbers
//! block 2, 3   slot of the second head
//! block 16 on  flight record of the first head, then of the second: the firmware's business
//! ```
//!
//! A record, little-endian, at the start of its block (the rest is zero):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `OrthrusL` |
//! | 8 | 1 | format, 1 |
//! | 9 | 1 | head, 1 or 2 |
//! | 10 | 1 | state of the pool on that head: 0 standby, 1 claiming, 2 importing, 3 serving, 4 releasing, 5 faulted |
//! | 11 | 1 | bit 0: the record renews a lease; bit 1: the head's hardware watchdog is armed |
//! | 12 | 4 | cluster id |
//! | 16 | 16 | pool: the first half of SHA-256 of its volume group's UUID |
//! | 32 | 8 | incarnation |
//! | 40 | 4 | epoch |
//! | 44 | 4 | lease, ms |
//! | 48 | 4 | the watchdog's time, ms |
//! | 52 | 4 | longest time of an I/O, ms |
//! | 56 | 8 | sequence |
//! | 64 | 32 | zero |
//! | 96 | 8 | checksum: first bytes of SHA-256 of what is before |
//! | 104 | 16 | HMAC-SHA-256 of what is before, its first half |
//!
//! The layout is frozen: heads of any two releases read each other's, and a disk may be read years later.
//! The checksum lets somebody without the secret tell torn from whole; the MAC is what a head goes by.
//!
//! Rejected: postcard, as for frames. A varint moves what follows it, and this is read with a hex dump.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::mac::keyed;
use crate::wire::PoolState;
use crate::{ClusterId, Epoch, HeadId, Incarnation};

/// Bytes of a block: what the largest sector of a disk holds, so that two blocks never share a sector.
pub const BLOCK_BYTES: usize = 4096;

/// Blocks of both heads' slots, at the start of the region.
pub const SLOT_BLOCKS: usize = 4;

/// First block of the flight records.
pub const FLIGHT_BLOCK: usize = 16;

/// Blocks of each head's flight record.
pub const FLIGHT_BLOCKS: usize = 16;

/// Bytes that a region must have.
pub const REGION_BYTES: usize = (FLIGHT_BLOCK + 2 * FLIGHT_BLOCKS) * BLOCK_BYTES;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 120;

const MAGIC: &[u8; 8] = b"OrthrusL";
const FORMAT: u8 = 1;
const CHECKSUM_AT: usize = 96;
const TAG_AT: usize = 104;
/// Under the MAC before the record, where frames have the number of their link: a record is no frame.
const DOMAIN: u8 = 0xed;
const RENEWS_LEASE: u8 = 1;
const WATCHDOG_ARMED: u8 = 2;

/// What a head says of itself on the disks of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Who wrote it.
    pub head: HeadId,
    /// That boot of it.
    pub incarnation: Incarnation,
    /// What it does with the pool.
    pub state: PoolState,
    /// The claim that it holds or attempts.
    pub epoch: Epoch,
    /// Grows by one with each record of this head for this pool in this incarnation; begins at one.
    pub sequence: u64,
    /// What the head stakes its ownership on where disks have no reservations; `None` where they have.
    pub lease: Option<Lease>,
}

/// A lease: the writer stops using the pool when this record is not followed by another in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// How long it lasts from the submission of the record, in milliseconds.
    pub lease_ms: u32,
    /// How long after the last feed the watchdog resets the head, in milliseconds.
    pub watchdog_ms: u32,
    /// Longest time that an I/O of the head may still be under way after its reset, in milliseconds.
    pub io_ms: u32,
    /// That watchdog is a hardware watchdog, and armed.
    pub watchdog_armed: bool,
}

/// Where a record belongs: one pool of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cluster.
    pub cluster: ClusterId,
    /// The pool, see [`Place::of_group`].
    pub pool: [u8; 16],
}

impl Place {
    /// The place of the pool on the volume group with this UUID, as LVM2 writes it, with its dashes.
    pub fn of_group(cluster: ClusterId, uuid: &str) -> Place {
        let hash = Sha256::digest(uuid.as_bytes());
        let mut pool = [0; 16];
        pool.copy_from_slice(&hash[..16]);
        Place { cluster, pool }
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Zeros, or something else altogether: never written.
    #[error("no record")]
    Empty,
    /// The checksum does not fit: torn, or damaged.
    #[error("record is torn or damaged")]
    Checksum,
    /// Whole, and of somebody without the secret.
    #[error("record fails authentication")]
    Tag,
    /// Authentic, and of a format that this release does not know.
    #[error("record of format {0}, this release knows {FORMAT}")]
    Format(u8),
    /// Authentic, and of another cluster or pool.
    #[error("record of another cluster or pool")]
    Place,
    /// Authentic, and senseless.
    #[error("record has a value that no head writes")]
    Value,
}

/// The block that a record goes to.
pub fn block_of(head: HeadId, sequence: u64) -> usize {
    2 * (usize::from(head.number()) - 1) + (sequence & 1) as usize
}

/// The first block of a head's flight record.
pub fn flight_block_of(head: HeadId) -> usize {
    FLIGHT_BLOCK + FLIGHT_BLOCKS * (usize::from(head.number()) - 1)
}

/// Encodes a record; what is behind it in its block is zero.
pub fn encode(record: &Record, place: &Place, secret: &[u8; 32]) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, MAGIC);
    let mut flags = 0;
    if let Some(lease) = record.lease {
        flags |= RENEWS_LEASE;
        flags |= if lease.watchdog_armed {
            WATCHDOG_ARMED
        } else {
            0
        };
        put(44, &lease.lease_ms.to_le_bytes());
        put(48, &lease.watchdog_ms.to_le_bytes());
        put(52, &lease.io_ms.to_le_bytes());
    }
    put(
        8,
        &[FORMAT, record.head.number(), record.state.number(), flags],
    );
    put(12, &place.cluster.bits().to_le_bytes());
    put(16, &place.pool);
    put(32, &record.incarnation.0);
    put(40, &record.epoch.0.to_le_bytes());
    put(56, &record.sequence.to_le_bytes());
    let checksum = Sha256::digest(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..TAG_AT].copy_from_slice(&checksum[..TAG_AT - CHECKSUM_AT]);
    let tag = mac(&bytes[..TAG_AT], secret).finalize().into_bytes();
    bytes[TAG_AT..].copy_from_slice(&tag[..RECORD_BYTES - TAG_AT]);
    bytes
}

/// Checks and decodes the record at the start of a block.
///
/// # Errors
/// See [`RecordError`]; [`RecordError::Empty`] for fewer bytes than a record has, too.
pub fn decode(block: &[u8], place: &Place, secret: &[u8; 32]) -> Result<Record, RecordError> {
    let bytes = block.get(..RECORD_BYTES).ok_or(RecordError::Empty)?;
    if !bytes.starts_with(MAGIC) {
        return Err(RecordError::Empty);
    }
    let checksum = Sha256::digest(&bytes[..CHECKSUM_AT]);
    if checksum[..TAG_AT - CHECKSUM_AT] != bytes[CHECKSUM_AT..TAG_AT] {
        return Err(RecordError::Checksum);
    }
    mac(&bytes[..TAG_AT], secret)
        .verify_truncated_left(&bytes[TAG_AT..])
        .map_err(|_| RecordError::Tag)?;
    if bytes[8] != FORMAT {
        return Err(RecordError::Format(bytes[8]));
    }
    if number(bytes, 12) != place.cluster.bits() || bytes[16..32] != place.pool {
        return Err(RecordError::Place);
    }
    let head = HeadId::from_number(bytes[9]).ok_or(RecordError::Value)?;
    let state = PoolState::from_number(bytes[10]).ok_or(RecordError::Value)?;
    let mut incarnation = Incarnation([0; 8]);
    incarnation.0.copy_from_slice(&bytes[32..40]);
    let sequence = u64::from(number(bytes, 56)) | u64::from(number(bytes, 60)) << 32;
    let lease = (bytes[11] & RENEWS_LEASE != 0).then(|| Lease {
        lease_ms: number(bytes, 44),
        watchdog_ms: number(bytes, 48),
        io_ms: number(bytes, 52),
        watchdog_armed: bytes[11] & WATCHDOG_ARMED != 0,
    });
    Ok(Record {
        head,
        incarnation,
        state,
        epoch: Epoch(number(bytes, 40)),
        sequence,
        lease,
    })
}

/// The newest record of a head among those of all copies: the greatest epoch, in it the incarnation of the greatest
/// sequence. An incarnation never shares an epoch with another one, so nothing is compared that should not be.
pub fn newest<'a>(records: impl IntoIterator<Item = &'a Record>, head: HeadId) -> Option<Record> {
    let of_head = records.into_iter().filter(|record| record.head == head);
    of_head
        .max_by_key(|record| (record.epoch, record.sequence))
        .copied()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn mac(content: &[u8], secret: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = keyed(secret, DOMAIN);
    mac.update(content);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn place() -> Place {
        Place::of_group(
            ClusterId::from_name("lab"),
            "kVWnZl-0dCN-x0s1-9TrN-pZ2b-1CyW-3Xy7Zq",
        )
    }

    fn record() -> Record {
        Record {
            head: HeadId::Second,
            incarnation: Incarnation([0x11; 8]),
            state: PoolState::Serving,
            epoch: Epoch(7),
            sequence: 0x0102_0304_0506,
            lease: Some(Lease {
                lease_ms: 4000,
                watchdog_ms: 10_000,
                io_ms: 8000,
                watchdog_armed: true,
            }),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        for lease in [None, record().lease] {
            let record = Record { lease, ..record() };
            let mut block = [0; BLOCK_BYTES];
            block[..RECORD_BYTES].copy_from_slice(&encode(&record, &place(), &SECRET));
            assert_eq!(decode(&block, &place(), &SECRET), Ok(record));
        }
    }

    #[test]
    fn bytes_of_a_record_are_frozen() {
        let bytes = encode(&record(), &place(), &SECRET);
        assert_eq!(&bytes[..12], b"OrthrusL\x01\x02\x03\x03");
        assert_eq!(bytes[32..40], [0x11; 8]);
        #[rustfmt::skip]
        assert_eq!(bytes[40..64], [
            7, 0, 0, 0, 0xa0, 0x0f, 0, 0, 0x10, 0x27, 0, 0, 0x40, 0x1f, 0, 0,
            6, 5, 4, 3, 2, 1, 0, 0,
        ]);
        assert_eq!(bytes[64..96], [0; 32]);
        let mut hash = Sha256::new();
        hash.update(bytes);
        // The whole of it, checksum and MAC included.
        assert_eq!(hash.finalize()[..4], GOLDEN);
    }

    const GOLDEN: [u8; 4] = [181, 37, 22, 237];

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(&record(), &place(), &SECRET);
        for bit in 0..RECORD_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, &place(), &SECRET).is_err(), "bit {bit}");
        }
        for end in 0..RECORD_BYTES {
            assert_eq!(
                decode(&bytes[..end], &place(), &SECRET),
                Err(RecordError::Empty)
            );
        }
    }

    #[test]
    fn a_torn_record_and_a_forged_one_are_told_apart() {
        let mut bytes = encode(&record(), &place(), &SECRET);
        assert_eq!(decode(&bytes, &place(), &[8; 32]), Err(RecordError::Tag));
        bytes[60] = 9;
        assert_eq!(
            decode(&bytes, &place(), &SECRET),
            Err(RecordError::Checksum)
        );
        assert_eq!(
            decode(&[0; BLOCK_BYTES], &place(), &SECRET),
            Err(RecordError::Empty)
        );
    }

    #[test]
    fn a_record_of_another_pool_does_not_count() {
        let bytes = encode(&record(), &place(), &SECRET);
        let other = Place::of_group(ClusterId::from_name("lab"), "another");
        assert_eq!(decode(&bytes, &other, &SECRET), Err(RecordError::Place));
        let other = Place {
            cluster: ClusterId::from_name("other"),
            ..place()
        };
        assert_eq!(decode(&bytes, &other, &SECRET), Err(RecordError::Place));
    }

    #[test]
    fn the_highest_epoch_wins_and_then_the_highest_sequence() {
        let with = |epoch, sequence| Record {
            epoch: Epoch(epoch),
            sequence,
            ..record()
        };
        let records = [with(7, 900), with(8, 2), with(8, 1)];
        assert_eq!(newest(&records, HeadId::Second), Some(with(8, 2)));
        assert_eq!(newest(&records, HeadId::First), None);
    }

    #[test]
    fn slots_and_flight_records_do_not_overlap() {
        let blocks = [
            block_of(HeadId::First, 2),
            block_of(HeadId::First, 3),
            block_of(HeadId::Second, 2),
            block_of(HeadId::Second, 3),
        ];
        assert_eq!(blocks, [0, 1, 2, 3]);
        const { assert!(SLOT_BLOCKS <= FLIGHT_BLOCK) };
        assert_eq!(
            flight_block_of(HeadId::Second),
            FLIGHT_BLOCK + FLIGHT_BLOCKS
        );
    }
}
