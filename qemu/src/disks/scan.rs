//! Reads the checked writer's blocks from the raw images, past every head, target and volume: what
//! is on the disks and nothing else.
//!
//! Each block says which block of its volume it is, so no map of extents is needed: all aligned
//! blocks that hold data are looked at, and the newest of each number counts. That a block also lies
//! in the right place is shown by reading it through the initiator.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::Context as _;

use super::sparse;
use crate::guest::tag::{BLOCK_BYTES, Tag};
use crate::guest::verify::judge;
use crate::names::Head;
use crate::request::Verified;

const CHUNK_BYTES: u64 = 1 << 20;

/// The newest block of each number that a run left on the images.
pub fn tags(images: &[PathBuf], run: u64) -> anyhow::Result<HashMap<u64, Tag>> {
    let mut found: HashMap<u64, Tag> = HashMap::new();
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    for image in images {
        let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
        for (start, end) in sparse::data(&file)? {
            let mut at = start - start % BLOCK_BYTES as u64;
            while at < end {
                let count = CHUNK_BYTES.min(end - at) as usize;
                file.read_exact_at(&mut buffer[..count], at)?;
                for tag in buffer[..count]
                    .chunks(BLOCK_BYTES)
                    .filter_map(Tag::read)
                    .filter(|tag| tag.run == run)
                {
                    let newest = found.entry(tag.block).or_insert(tag);
                    if tag.seq > newest.seq {
                        *newest = tag;
                    }
                }
                at += count as u64;
            }
        }
    }
    Ok(found)
}

/// Holds what was found against what was acknowledged.
pub fn compare(run: u64, acknowledged: &BTreeMap<u64, u64>, found: &HashMap<u64, Tag>) -> Verified {
    let mut verified = Verified::default();
    for (&block, &seq) in acknowledged {
        match judge(found.get(&block).copied(), run, block, seq) {
            Ok(()) => verified.blocks += 1,
            Err(what) => verified
                .lost
                .push(format!("block {block} {seq}: the raw disks: {what}")),
        }
    }
    verified
}

/// How a block begins that a head writes to the ledger: a record, or a page of its flight record. In both the
/// head's number, 1 or 2, is the tenth byte.
const LEDGER_BLOCKS: [&[u8]; 2] = [b"OrthrusL\x01", b"OrthrusF\x01"];

/// Whether a block is the ledger's, of this head.
fn is_ledger_of(block: &[u8], head: Head) -> bool {
    let ours = LEDGER_BLOCKS.iter().any(|magic| block.starts_with(magic));
    ours && block.get(9).copied() == Some(head.index() as u8 + 1)
}

/// A digest of the images' data: equal before and after means that nobody wrote. What the head `besides` writes to
/// the ledger, as an owner does all the time, is left out.
pub fn digest(images: &[PathBuf], besides: Option<Head>) -> anyhow::Result<u64> {
    // FNV-1a over words; holes and zeroes are the same thing to a reader, so zero words are skipped
    // and positions are mixed in.
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    for image in images {
        let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
        for (start, end) in sparse::data(&file)? {
            let mut at = start - start % BLOCK_BYTES as u64;
            while at < end {
                let count = CHUNK_BYTES.min(end - at) as usize;
                file.read_exact_at(&mut buffer[..count], at)?;
                for block in buffer[..count].chunks_mut(BLOCK_BYTES) {
                    if besides.is_some_and(|head| is_ledger_of(block, head)) {
                        block.fill(0);
                    }
                }
                for (index, word) in buffer[..count].chunks(8).enumerate() {
                    let mut bytes = [0; 8];
                    bytes[..word.len()].copy_from_slice(word);
                    let word = u64::from_le_bytes(bytes);
                    if word != 0 {
                        sum = (sum ^ word ^ (at + index as u64 * 8))
                            .wrapping_mul(0x0000_0100_0000_01b3)
                            .rotate_left(7);
                    }
                }
                at += count as u64;
            }
        }
        sum = sum.rotate_left(13) ^ 0x9e37_79b9_7f4a_7c15;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_block_on_the_images_counts() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let file = image.as_file();
        file.set_len(8 << 20).unwrap();
        let mut block = vec![0; BLOCK_BYTES];
        for (seq, number, at) in [(3, 0, 1 << 20), (9, 1, (1 << 20) + 4096), (4, 0, 4 << 20)] {
            Tag {
                run: 6,
                block: number,
                seq,
            }
            .fill(&mut block);
            file.write_all_at(&block, at).unwrap();
        }
        let images = [image.path().to_owned()];
        let found = tags(&images, 6).unwrap();
        assert_eq!((found.len(), found[&0].seq), (2, 4));
        let acknowledged = BTreeMap::from([(0, 4), (1, 10), (2, 1)]);
        let verified = compare(6, &acknowledged, &found);
        assert_eq!((verified.blocks, verified.lost.len()), (1, 2));
        let before = digest(&images, None).unwrap();
        file.write_all_at(b"x", 6 << 20).unwrap();
        assert_ne!(digest(&images, None).unwrap(), before);
        let before = digest(&images, Some(Head::B)).unwrap();
        file.write_all_at(b"OrthrusL\x01\x02....", 5 << 20).unwrap();
        assert_eq!(digest(&images, Some(Head::B)).unwrap(), before);
        assert_ne!(digest(&images, Some(Head::A)).unwrap(), before);
    }
}
