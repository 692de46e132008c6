//! What was heard on both links, in one byte beside one number.
//!
//! The frames of both links have one numbering, so what was heard on the link that is behind is told by how far it is
//! behind. Further than [`FAR`] is not told: what came on a link so long ago was acknowledged when it was new, and an
//! acknowledgment holds.

use crate::link::LinkId;

/// So many frames, or more, behind the other: several seconds of beats.
const FAR: u8 = 127;

/// The bit that says that the second link is ahead.
const SECOND: u8 = 0x80;

/// Which link is ahead, and by how many frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lag(u8);

impl Lag {
    /// The greatest of what was heard by link, and how far the other one is behind.
    pub fn of(heard: [u64; LinkId::ALL.len()]) -> (u64, Lag) {
        let [serial, ether] = heard;
        let bit = if ether > serial { SECOND } else { 0 };
        let behind = serial.abs_diff(ether).min(u64::from(FAR));
        (serial.max(ether), Lag(bit | behind as u8)) // it is at most `FAR`
    }

    /// What was heard by link, with `greatest` on the one that is ahead; zero where nothing is told.
    pub fn heard(self, greatest: u64) -> [u64; LinkId::ALL.len()] {
        let behind = match self.0 & !SECOND {
            FAR => 0,
            behind => greatest.saturating_sub(u64::from(behind)),
        };
        match self.0 & SECOND {
            0 => [greatest, behind],
            _ => [behind, greatest],
        }
    }

    /// As a byte of a frame.
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn from_bits(bits: u8) -> Lag {
        Lag(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_on_both_links_comes_back_while_they_are_not_far_apart() {
        for heard in [[0, 0], [7, 0], [0, 7], [500, 400], [400, 500], [500, 374]] {
            let (greatest, lag) = Lag::of(heard);
            let again = Lag::from_bits(lag.bits());
            assert_eq!(again.heard(greatest), heard);
        }
    }

    #[test]
    fn a_link_that_is_far_behind_is_not_acknowledged_for_more_than_was_heard() {
        for (heard, told) in [
            ([500, 373], [500, 0]),
            ([0, 127], [0, 127]),
            ([u64::MAX, 1], [u64::MAX, 0]),
            ([1, u64::MAX], [0, u64::MAX]),
        ] {
            let (greatest, lag) = Lag::of(heard);
            assert_eq!(lag.heard(greatest), told);
        }
    }
}
