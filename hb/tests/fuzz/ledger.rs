//! Decoding of a ledger record. The first byte of an input says how much of it is put right: 0 nothing, 1
//! checksum and MAC, 2 magic, format and place as well; the rest is the block.
//!
//! What decodes encodes to the bytes that came, but for those that its format leaves out: reserved bytes and
//! bits, and a lease's times where there is no lease.

use orthrus_hb::ClusterId;
use orthrus_hb::ledger::{self, BLOCK_BYTES, Place, RECORD_BYTES, RecordError};
use sha2::{Digest, Sha256};

use crate::frame::SECRET;
use crate::input::Input;
use crate::seen::Seen;
use crate::tag;

const CHECKSUM_AT: usize = 96;
const TAG_AT: usize = 104;
const DOMAIN: u8 = 0xed;

pub fn place() -> Place {
    Place::of_group(ClusterId::from_name("test"), "tank")
}

/// The block that an input stands for.
pub fn block(input: &[u8]) -> Vec<u8> {
    let mut input = Input(input);
    let right = input.pick(&[2, 1, 0]);
    let mut block = input.0.to_vec();
    block.truncate(BLOCK_BYTES);
    if right > 0 {
        block.resize(block.len().max(RECORD_BYTES), 0);
        if right > 1 {
            let place = place();
            block[..8].copy_from_slice(b"OrthrusL");
            block[8] = 1;
            block[12..16].copy_from_slice(&place.cluster.bits().to_le_bytes());
            block[16..32].copy_from_slice(&place.pool);
        }
        seal(&mut block);
    }
    block
}

fn seal(block: &mut [u8]) {
    let checksum = Sha256::digest(&block[..CHECKSUM_AT]);
    block[CHECKSUM_AT..TAG_AT].copy_from_slice(&checksum[..8]);
    let tag = tag::hmac(&[&[DOMAIN], &block[..TAG_AT]], &SECRET);
    block[TAG_AT..RECORD_BYTES].copy_from_slice(&tag[..16]);
}

pub fn run(input: &[u8], seen: &mut Seen) {
    let block = block(input);
    let record = match ledger::decode(&block, &place(), &SECRET) {
        Ok(record) => record,
        Err(RecordError::Format(format)) => {
            assert_eq!(block[8], format);
            return seen.note(format_args!("other format"));
        }
        Err(error) => return seen.note(format_args!("{error}")),
    };
    let lease = record.lease.map(|lease| lease.watchdog_armed);
    seen.note(format_args!(
        "{:?} {} {lease:?}",
        record.head,
        record.state.name()
    ));
    let encoded = ledger::encode(&record, &place(), &SECRET);
    assert_eq!(ledger::decode(&encoded, &place(), &SECRET), Ok(record));
    let mut plain = block[..RECORD_BYTES].to_vec();
    plain[11] &= 3;
    if record.lease.is_none() {
        plain[11] = 0;
        plain[44..56].fill(0);
    }
    plain[64..CHECKSUM_AT].fill(0);
    seen.note(format_args!("canonical {}", plain == block[..RECORD_BYTES]));
    seal(&mut plain);
    assert_eq!(plain, encoded, "{record:?}");
    // A record is one pool's, and of whoever has the secret.
    let other = Place {
        pool: [0; 16],
        ..place()
    };
    assert_eq!(
        ledger::decode(&block, &other, &SECRET),
        Err(RecordError::Place)
    );
    assert_eq!(
        ledger::decode(&block, &place(), &[4; 32]),
        Err(RecordError::Tag)
    );
}
