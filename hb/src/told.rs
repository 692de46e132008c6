//! Whether the peer has heard what this head says in its beats from some moment on.
//!
//! It has when it acknowledges a frame that said so, that one and not a later one. What is acknowledged is the greatest
//! number that was heard on a link, and which of the frames before it were heard as well nobody tells.
//! A piece of a message that leaves right behind each beat is what the peer then acknowledges, so that what waits for a
//! word of it waits for the end of the message as well: three kilobytes, piece upon piece as they are received.
//!
//! Rejected: taking one of three frames for heard when a later one is. Beats are sent at once when something changes, so
//! three can leave within milliseconds and be lost together; and on serial, where a beat tells of one pool, an outage
//! shorter than `dead` can take three of one pool and let one of another pass.

/// Frames that are remembered, by number: those of several seconds on both links, as many as a frame can be
/// acknowledged behind the other link.
const REMEMBERED: u32 = u128::BITS;

/// How far the peer was told something on one link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    first: Option<u32>,
    last: u32,
    /// Bit 0 is the last frame that said it, bit `n` is the frame `n` numbers before.
    said: u128,
}

impl Told {
    /// The frame with this number says it. Numbers only grow.
    pub(crate) fn say(&mut self, number: u32) {
        self.first.get_or_insert(number);
        let older = self.said.checked_shl(number.wrapping_sub(self.last));
        self.said = older.unwrap_or(0) | 1;
        self.last = number;
    }

    /// The first frame that said it.
    pub(crate) fn number(&self) -> Option<u32> {
        self.first
    }

    /// Whether the peer has heard it, given the greatest number that it acknowledges.
    pub(crate) fn is_heard(&self, acknowledged: u32) -> bool {
        let behind = self.last.checked_sub(acknowledged);
        behind.is_some_and(|behind| behind < REMEMBERED && self.said >> behind & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: impl IntoIterator<Item = u32>) -> Told {
        let mut told = Told::default();
        numbers.into_iter().for_each(|number| told.say(number));
        told
    }

    #[test]
    fn a_frame_behind_those_that_said_it_proves_nothing() {
        let heard = [4, 5, 6, 9];
        let told = told(heard);
        for number in 0..200 {
            assert_eq!(told.is_heard(number), heard.contains(&number), "{number}");
        }
        assert!(!Told::default().is_heard(0));
    }

    #[test]
    fn an_acknowledgment_that_takes_seconds_counts_and_one_of_long_ago_does_not() {
        let told = told((1..=400).map(|n| n * 2));
        assert!(told.is_heard(800) && told.is_heard(674));
        assert!(!told.is_heard(799) && !told.is_heard(672) && !told.is_heard(2));
    }
}
