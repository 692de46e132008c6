//! The tag that makes a block recognisable: which run wrote it, which block it is, and the how
//! manyeth write it was. The checksum covers all of it, so a torn block is never taken for a whole one.

/// Size of a tagged block, and the unit of the writer's I/O.
pub const BLOCK_BYTES: usize = 4096;

const MAGIC: [u8; 16] = *b"orthrus-lab-io\x00\x01";
const CHECKSUM_AT: usize = BLOCK_BYTES - 8;

/// What a block says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The run that wrote it.
    pub run: u64,
    /// Its number on the volume, in units of [`BLOCK_BYTES`].
    pub block: u64,
    /// The write's number in its run, from 1 on.
    pub seq: u64,
}

impl Tag {
    /// Fills a block: the tag, then bytes that follow from it, then the checksum.
    pub fn fill(&self, block: &mut [u8]) {
        let block = &mut block[..BLOCK_BYTES];
        block[..16].copy_from_slice(&MAGIC);
        block[16..24].copy_from_slice(&self.run.to_le_bytes());
        block[24..32].copy_from_slice(&self.block.to_le_bytes());
        block[32..40].copy_from_slice(&self.seq.to_le_bytes());
        // Filler that differs from write to write: a mix of two writes must not pass the checksum.
        let mut state =
            self.run ^ self.block.rotate_left(32) ^ self.seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                | 1;
        for word in block[40..CHECKSUM_AT].chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let sum = checksum(&block[..CHECKSUM_AT]);
        block[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads the tag of a block; `None` if the block is no whole tagged block.
    pub fn read(block: &[u8]) -> Option<Self> {
        let block = block.get(..BLOCK_BYTES)?;
        if block[..16] != MAGIC || word(block, CHECKSUM_AT) != checksum(&block[..CHECKSUM_AT]) {
            return None;
        }
        Some(Self {
            run: word(block, 16),
            block: word(block, 24),
            seq: word(block, 32),
        })
    }
}

fn word(block: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// FNV-1a over words: this guards against tearing and misplacement, not against an adversary.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(8)
        .fold(0xcbf2_9ce4_8422_2325, |sum, chunk| {
            (sum ^ word(chunk, 0))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(5)
        })
}

/// A block-aligned window into a buffer: direct I/O wants its memory aligned, and `Vec` alone does
/// not promise that.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// An aligned, zeroed buffer of that many blocks.
    pub fn new(blocks: usize) -> Self {
        let bytes = vec![0; (blocks + 1) * BLOCK_BYTES];
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES);
        Self { bytes, start }
    }

    /// The aligned bytes.
    pub fn bytes(&self) -> &[u8] {
        let end = self.bytes.len() - BLOCK_BYTES + self.start;
        &self.bytes[self.start..end]
    }

    /// The aligned bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - BLOCK_BYTES + self.start;
        &mut self.bytes[self.start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag {
        run: 77,
        block: 1234,
        seq: 9,
    };

    #[test]
    fn a_block_says_what_it_was_told() {
        let mut block = vec![0; BLOCK_BYTES];
        TAG.fill(&mut block);
        assert_eq!(Tag::read(&block), Some(TAG));
    }

    #[test]
    fn a_torn_block_is_no_block() {
        let mut old = vec![0; BLOCK_BYTES];
        let mut new = vec![0; BLOCK_BYTES];
        TAG.fill(&mut old);
        Tag { seq: 10, ..TAG }.fill(&mut new);
        for sector in 1..8 {
            let mut torn = new.clone();
            torn[sector * 512..].copy_from_slice(&old[sector * 512..]);
            assert_eq!(Tag::read(&torn), None, "torn at sector {sector}");
        }
    }

    #[test]
    fn zeroes_and_short_reads_are_no_block() {
        assert_eq!(Tag::read(&[0; BLOCK_BYTES]), None);
        assert_eq!(Tag::read(&[0; 10]), None);
    }

    #[test]
    fn buffers_are_aligned() {
        let mut buffer = Aligned::new(3);
        assert_eq!(buffer.bytes_mut().len(), 3 * BLOCK_BYTES);
        assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
    }
}
