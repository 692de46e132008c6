//! One way to hear the peer: how long it has been silent, and whether the peer hears us on it.

use embassy_time::Duration;

/// The cables. The ledger will be the third link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkId {
    /// The dedicated serial line.
    Serial,
    /// The dedicated Ethernet port.
    Ether,
}

impl LinkId {
    /// All links, in the order in which tables hold them.
    pub const ALL: [LinkId; 2] = [LinkId::Serial, LinkId::Ether];

    /// As an index into tables of links.
    pub fn index(self) -> usize {
        self as usize
    }

    /// For consoles and logs.
    pub fn name(self) -> &'static str {
        match self {
            LinkId::Serial => "serial",
            LinkId::Ether => "ether",
        }
    }
}

/// State of one link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Silence counted so far, or `None` while the peer was never heard here in this boot.
    silence: Option<Duration>,
    /// Sequence number of the last frame sent on it; zero before the first.
    pub(crate) sent: u32,
    /// Frames sent since the peer last acknowledged one that it had not before.
    unheard: u32,
    /// Greatest sequence number accepted of the peer's present incarnation; zero before the first.
    pub(crate) received: u32,
    /// Greatest of our sequence numbers that the peer says it has seen.
    pub(crate) acknowledged: u32,
    /// Frames that counted.
    pub(crate) accepted: u32,
    /// Frames that did not: bad MAC, replayed, of a stranger, torn.
    pub(crate) rejected: u32,
}

impl Link {
    /// A frame of the peer counted.
    pub(crate) fn heard(&mut self) {
        self.silence = Some(Duration::from_ticks(0));
        self.accepted = self.accepted.wrapping_add(1);
    }

    /// Counts silence. The caller passes only time in which it ran and had drained its queues.
    pub(crate) fn pass(&mut self, elapsed: Duration) {
        if let Some(silence) = self.silence {
            self.silence = Some(silence.checked_add(elapsed).unwrap_or(Duration::MAX));
        }
    }

    /// A frame with this number is sent.
    pub(crate) fn send(&mut self, number: u32) {
        self.sent = number;
        self.unheard = self.unheard.saturating_add(1);
    }

    /// The peer says that it heard this frame of ours here.
    pub(crate) fn acknowledge(&mut self, number: u32) {
        if number > self.acknowledged {
            self.acknowledged = number;
            self.unheard = 0;
        }
    }

    /// A new incarnation of the peer begins its own numbers, and has acknowledged nothing.
    pub(crate) fn renew(&mut self) {
        self.received = 0;
        self.acknowledged = 0;
        self.unheard = u32::MAX;
    }

    /// Greatest sequence number heard of the peer's present incarnation; zero before the first.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Greatest of our sequence numbers that the peer's present incarnation acknowledged; zero before the first.
    pub fn acknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// How long the link has been silent; `None` when the peer was never heard on it.
    pub fn silence(&self) -> Option<Duration> {
        self.silence
    }

    /// Whether the peer was heard here within `limit`.
    pub fn is_up(&self, limit: Duration) -> bool {
        self.silence.is_some_and(|silence| silence < limit)
    }

    /// Whether the peer hears us here: it acknowledged something new within the last `window` frames.
    pub fn is_heard(&self, window: u32) -> bool {
        self.unheard <= window
    }

    /// Frames sent since it last acknowledged something new.
    pub(crate) fn unheard(&self) -> u32 {
        self.unheard
    }

    /// Frames accepted and rejected since boot.
    pub fn counters(&self) -> (u32, u32) {
        (self.accepted, self.rejected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_heard_while_acknowledgments_come_and_not_for_long_after() {
        let mut link = Link::default();
        link.renew();
        link.send(4);
        assert!(!link.is_heard(2));
        link.acknowledge(4);
        assert!(link.is_heard(2));
        for number in [6, 7, 9] {
            link.send(number);
            link.acknowledge(4);
        }
        assert!(!link.is_heard(2));
        link.acknowledge(7);
        assert!(link.is_heard(2));
    }

    #[test]
    fn a_link_never_heard_is_not_up_and_does_not_grow_silent() {
        let mut link = Link::default();
        link.pass(Duration::from_secs(1));
        assert_eq!(link.silence(), None);
        assert!(!link.is_up(Duration::from_secs(10)));
    }

    #[test]
    fn silence_reaches_the_limit_and_a_frame_ends_it() {
        let limit = Duration::from_millis(1000);
        let mut link = Link::default();
        link.heard();
        link.pass(Duration::from_millis(999));
        assert!(link.is_up(limit));
        link.pass(Duration::from_millis(1));
        assert!(!link.is_up(limit));
        link.heard();
        assert!(link.is_up(limit));
    }
}
