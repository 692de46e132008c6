//! Where in the ring of a metadata area the next text goes: behind the current one, never over it.
//!
//! Pure. The rules are those of `_vg_write_raw` in lvm2's `lib/format_text/format-text.c`, so that what it writes next
//! finds its room, with one difference: a text begins at a block of the disk where lvm2 asks for 512 bytes only.
//! So no block of the current text is written again, which a disk with blocks of 4 KiB may lose with its power.
//! Where the ring is too small for that, 512 bytes do here as well.

use super::super::area::HEADER;

/// What lvm2 aligns texts to.
const ALIGNMENT: u64 = 512;

/// Why a text has no room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the new text has {bytes} bytes, and at most {most} have room beside the current one")]
pub struct TooLarge {
    /// The text's length.
    pub bytes: u64,
    /// What there is room for.
    pub most: u64,
}

/// A metadata area: its ring is behind its header.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// Length of the area, with the header.
    pub size: u64,
    /// Smallest unit of a write to the disk; where the area starts is a multiple of it.
    pub block: u64,
}

impl Ring {
    /// The longest text that lvm2 puts there: two have room at any time.
    pub fn most(&self) -> u64 {
        ((self.size.saturating_sub(HEADER as u64)) / 2).saturating_sub(ALIGNMENT)
    }

    /// The offset from the start of the area where a text of so many bytes goes; `current` is the offset and length of
    /// the one that must stay.
    pub fn place(&self, current: Option<(u64, u64)>, bytes: u64) -> Result<u64, TooLarge> {
        let most = self.most();
        if bytes > most {
            return Err(TooLarge { bytes, most });
        }
        let block = self.block.max(ALIGNMENT);
        let found = [block, ALIGNMENT].into_iter().find_map(|alignment| {
            let offset = self.behind(current, alignment);
            self.is_free(current, offset, bytes, alignment)
                .then_some(offset)
        });
        // Only where the current text is longer than any that lvm2 writes today.
        found.ok_or(TooLarge { bytes, most: 0 })
    }

    fn behind(&self, current: Option<(u64, u64)>, alignment: u64) -> u64 {
        let first = (HEADER as u64).next_multiple_of(alignment);
        let Some((offset, bytes)) = current else {
            return first;
        };
        let mut end = offset + bytes;
        if end > self.size {
            end = end - self.size + HEADER as u64;
        }
        let next = end.next_multiple_of(alignment);
        match next + alignment > self.size {
            true => first,
            false => next,
        }
    }

    /// Whether a text at `offset` shares no unit of `alignment` with the current one. The header's own unit counts for
    /// none: it is written with every change.
    fn is_free(
        &self,
        current: Option<(u64, u64)>,
        offset: u64,
        bytes: u64,
        alignment: u64,
    ) -> bool {
        let Some((old, old_bytes)) = current else {
            return offset + bytes <= self.size;
        };
        let units = |(start, end): (u64, u64)| {
            (start / alignment * alignment).max(HEADER as u64)..end.next_multiple_of(alignment)
        };
        let new = self.stretches(offset, bytes).map(units);
        let old = self.stretches(old, old_bytes).map(units);
        let overlap = new.iter().any(|new| {
            let mut old = old.iter().filter(|old| !old.is_empty());
            !new.is_empty() && old.any(|old| new.start < old.end && old.start < new.end)
        });
        !overlap
    }

    /// Start and end of the one or two stretches of a text.
    fn stretches(&self, offset: u64, bytes: u64) -> [(u64, u64); 2] {
        let first = bytes.min(self.size - offset);
        let header = HEADER as u64;
        [
            (offset, offset + first),
            match bytes - first {
                0 => (0, 0),
                rest => (header, header + rest),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(block: u64) -> Ring {
        Ring {
            size: 32 << 10,
            block,
        }
    }

    /// Which bytes of the area a text has.
    fn bytes(ring: Ring, offset: u64, length: u64) -> Vec<bool> {
        let mut taken = vec![false; ring.size as usize];
        for index in offset..offset + length {
            let at = match index < ring.size {
                true => index,
                false => index - ring.size + HEADER as u64,
            };
            taken[at as usize] = true;
        }
        taken
    }

    #[test]
    fn no_text_goes_over_the_current_one_nor_over_the_header_wherever_that_is() {
        for block in [512, 4096] {
            let ring = ring(block);
            for length in [1, 511, 512, 4000, 9000, ring.most()] {
                for old_length in [1, 512, 5000, ring.most()] {
                    for old in (1..64).map(|sector| sector * 512) {
                        let new = ring.place(Some((old, old_length)), length).unwrap();
                        let current = bytes(ring, old, old_length);
                        let placed = bytes(ring, new, length);
                        let mut both = current.iter().zip(&placed);
                        assert!(!both.any(|(old, new)| *old && *new));
                        assert!(!placed[..512].iter().any(|taken| *taken));
                        assert_eq!(new % 512, 0);
                    }
                }
            }
        }
    }

    #[test]
    fn texts_follow_each_other_as_lvm2_puts_them() {
        let ring = ring(512);
        assert_eq!(ring.place(None, 100), Ok(512));
        assert_eq!(ring.place(Some((512, 100)), 100), Ok(1024));
        assert_eq!(ring.place(Some((512, 512)), 100), Ok(1024));
        // Less than a sector is left: from the start.
        assert_eq!(ring.place(Some((32256, 100)), 100), Ok(512));
        // A sector is left: the text goes round.
        assert_eq!(ring.place(Some((31744, 100)), 1000), Ok(32256));
        // The current one went round.
        assert_eq!(ring.place(Some((32256, 600)), 100), Ok(1024));
    }

    #[test]
    fn blocks_of_the_current_text_are_not_written_again() {
        let ring = ring(4096);
        assert_eq!(ring.place(None, 100), Ok(4096));
        assert_eq!(ring.place(Some((4096, 100)), 100), Ok(8192));
        assert_eq!(ring.place(Some((512, 100)), 100), Ok(4096));
        // The current one is lvm2's and leaves no whole blocks: better so than not at all.
        assert_eq!(
            ring.place(Some((8704, ring.most())), ring.most()),
            Ok(24576)
        );
    }

    #[test]
    fn a_text_that_would_leave_no_room_for_the_next_is_refused() {
        let ring = ring(512);
        let most = ring.most();
        assert!(ring.place(None, most).is_ok());
        let bytes = most + 1;
        assert_eq!(ring.place(None, bytes), Err(TooLarge { bytes, most }));
        // A current text that is longer than the rule allows.
        assert!(ring.place(Some((512, 30_000)), most).is_err());
    }
}
