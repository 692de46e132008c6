//! Whether the peer has heard what this head says in its beats from some moment on.
//!
//! It has when any frame of its acknowledges a frame that said so, that one and not a later one. What is acknowledged is the
//! greatest number that was heard on a link, and which of the frames before it were heard as well nobody tells. From then on
//! every frame of that boot that acknowledges as much or more was sent by a peer that had heard it.
//! A piece of a message that leaves right behind each beat is what the peer then acknowledges, so that this may wait
//! for the end of the message as well: three kilobytes, piece upon piece as they are received.
//!
//! Rejected: counting only the word that is waited for, when what it acknowledges said it. On serial alone both heads'
//! beats tell of their pools in turn, and with several pools the two turns need never meet.
//!
//! Rejected: taking one of three frames for heard when a later one is. Beats are sent at once when something changes, so
//! three can leave within milliseconds and be lost together; and on serial, where a beat tells of one pool, an outage
//! shorter than `dead` can take three of one pool and let one of another pass.

/// Frames that are remembered, by number: those of several seconds on both links, as many as a frame can be
/// acknowledged behind the other link.
const REMEMBERED: u64 = u128::BITS as u64;

/// How far the peer was told something on one link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    first: Option<u64>,
    last: u64,
    /// Bit 0 is the last frame that said it, bit `n` is the frame `n` numbers before.
    said: u128,
    /// One that said it, and that the peer has heard in its present boot.
    heard: Option<u64>,
}

impl Told {
    /// The frame with this number says it. Numbers only grow.
    pub(crate) fn say(&mut self, number: u64) {
        self.first.get_or_insert(number);
        let steps = u32::try_from(number.saturating_sub(self.last));
        let older = steps.ok().and_then(|steps| self.said.checked_shl(steps));
        self.said = older.unwrap_or(0) | 1;
        self.last = number;
    }

    /// The first frame that said it.
    pub(crate) fn number(&self) -> Option<u64> {
        self.first
    }

    /// A frame of the peer acknowledges this number.
    pub(crate) fn acknowledge(&mut self, number: u64) {
        let behind = self.last.checked_sub(number);
        if behind.is_some_and(|behind| behind < REMEMBERED && self.said >> behind & 1 == 1) {
            self.heard.get_or_insert(number);
        }
    }

    /// The peer booted, and has heard nothing yet.
    pub(crate) fn forget(&mut self) {
        self.heard = None;
    }

    /// Whether the peer has heard it.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// Whether the peer had heard it when it sent a frame that acknowledges this number.
    pub(crate) fn was_heard_by(&self, acknowledged: u64) -> bool {
        self.heard.is_some_and(|heard| acknowledged >= heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: impl IntoIterator<Item = u64>) -> Told {
        let mut told = Told::default();
        numbers.into_iter().for_each(|number| told.say(number));
        told
    }

    /// Whether the acknowledgment of this number alone proves it.
    fn proves(told: &Told, number: u64) -> bool {
        let mut told = *told;
        told.acknowledge(number);
        told.is_heard()
    }

    #[test]
    fn a_frame_behind_those_that_said_it_proves_nothing() {
        let said = [4, 5, 6, 9];
        let told = told(said);
        for number in 0..200 {
            assert_eq!(proves(&told, number), said.contains(&number), "{number}");
        }
        assert!(!proves(&Told::default(), 0));
    }

    #[test]
    fn an_acknowledgment_that_takes_seconds_counts_and_one_of_long_ago_does_not() {
        let told = told((1..=400).map(|n| n * 2));
        assert!(proves(&told, 800) && proves(&told, 674));
        assert!(!proves(&told, 799) && !proves(&told, 672) && !proves(&told, 2));
    }

    #[test]
    fn what_was_heard_once_is_known_to_every_later_frame_of_that_boot() {
        let mut told = told([4, 9, 14]);
        assert!(!told.was_heard_by(20), "of none of them it is known");
        told.acknowledge(9);
        told.acknowledge(12);
        assert!(told.was_heard_by(9) && told.was_heard_by(11) && !told.was_heard_by(8));
        told.forget();
        assert!(!told.is_heard() && !told.was_heard_by(11));
    }
}
