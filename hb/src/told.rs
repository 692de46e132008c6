//! Whether the peer has heard what this head says in its beats from some moment on.
//!
//! It has when it acknowledges a frame after several that said so. Several, since one may be lost and another frame, which
//! says something else, be acknowledged behind it.

/// Beats of which one has surely arrived when a later frame has.
const ENOUGH: u8 = 3;

/// How far the peer was told something on one link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    beats: u8,
    /// The last of [`ENOUGH`] beats.
    number: Option<u32>,
}

impl Told {
    /// The frame with this number says it.
    pub(crate) fn say(&mut self, number: u32) {
        self.beats = self.beats.saturating_add(1);
        if self.beats >= ENOUGH {
            self.number.get_or_insert(number);
        }
    }

    /// The number that the peer must acknowledge; `None` while it was not said often enough.
    pub(crate) fn number(&self) -> Option<u32> {
        self.number
    }

    /// Whether the peer has heard it, given the greatest number that it acknowledges.
    pub(crate) fn is_heard(&self, acknowledged: u32) -> bool {
        self.number.is_some_and(|number| acknowledged >= number)
    }

    /// How often it was said, as far as that matters.
    pub(crate) fn beats(&self) -> u8 {
        self.beats.min(ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_beat_that_may_be_lost_is_not_enough() {
        let mut told = Told::default();
        told.say(4);
        told.say(6);
        assert!(!told.is_heard(u32::MAX));
        told.say(9);
        told.say(12);
        assert!(!told.is_heard(8) && told.is_heard(9));
    }
}
