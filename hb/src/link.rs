//! One way to hear the peer: how long it has been silent, how late what it carries comes, and whether the peer hears us on
//! it.
//!
//! A line with a buffer of some seconds delivers frames all the time, and none of them tells that the peer still lives. How
//! late they are is measured against the other link, on which the same numbers were heard before. A link that is later
//! than the limit is not up: were the other one cut, the peer would be silent for as long. Alone it is not measured, and
//! what was measured last stands. No pool moves by it: it is for operators, and pieces of messages go by the better link.

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

/// What a link carries of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hearing {
    /// It was never heard here in this boot.
    #[default]
    Unheard,
    /// Nothing, for the limit.
    Silent,
    /// What was sent longer ago than the limit.
    Late,
    /// All is well.
    Up,
}

impl Hearing {
    /// For consoles and logs.
    pub fn name(self) -> &'static str {
        match self {
            Hearing::Unheard => "unheard",
            Hearing::Silent => "silent",
            Hearing::Late => "late",
            Hearing::Up => "up",
        }
    }
}

/// State of one link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Silence counted so far, or `None` while the peer was never heard here in this boot.
    silence: Option<Duration>,
    /// A number that was heard on the other link, and that this one has not reached; and how long that is ago.
    ahead: Option<(u64, Duration)>,
    /// How late it was when it last reached such a number while it delivered others.
    lateness: Duration,
    /// Sequence number of the last frame sent on it; zero before the first.
    pub(crate) sent: u64,
    /// Frames sent since the peer last acknowledged one that it had not before.
    unheard: u32,
    /// Greatest sequence number accepted of the peer's present incarnation; zero before the first.
    pub(crate) received: u64,
    /// Greatest of our sequence numbers that the peer says it has seen.
    pub(crate) acknowledged: u64,
    /// Frames that counted.
    pub(crate) accepted: u32,
    /// Frames that did not: bad MAC, replayed, of a stranger, torn.
    pub(crate) rejected: u32,
}

impl Link {
    /// A frame of the peer counted.
    pub(crate) fn heard(&mut self, number: u64) {
        if let Some((ahead, ago)) = self.ahead
            && ahead <= number
        {
            // A link that carried nothing meanwhile was cut, and is not late.
            let delivered = self.silence.is_some_and(|silence| silence < ago);
            self.lateness = match delivered {
                true => ago,
                false => Duration::from_ticks(0),
            };
            self.ahead = None;
        }
        self.received = number;
        self.silence = Some(Duration::from_ticks(0));
        self.accepted = self.accepted.wrapping_add(1);
    }

    /// The other link, whose frames have the same numbers, carried this one.
    pub(crate) fn overtaken(&mut self, number: u64) {
        if self.received < number && self.ahead.is_none() {
            self.ahead = Some((number, Duration::from_ticks(0)));
        }
    }

    /// It carried what the other link, which works, has not carried yet.
    pub(crate) fn leads(&mut self) {
        self.lateness = Duration::from_ticks(0);
    }

    /// Counts silence. The caller passes only time in which it ran and had drained its queues.
    pub(crate) fn pass(&mut self, elapsed: Duration) {
        let longer = |time: Duration| time.checked_add(elapsed).unwrap_or(Duration::MAX);
        self.silence = self.silence.map(longer);
        self.ahead = self.ahead.map(|(number, ago)| (number, longer(ago)));
    }

    /// A frame with this number is sent.
    pub(crate) fn send(&mut self, number: u64) {
        self.sent = number;
        self.unheard = self.unheard.saturating_add(1);
    }

    /// The peer says that it heard this frame of ours here.
    pub(crate) fn acknowledge(&mut self, number: u64) {
        if number > self.acknowledged {
            self.acknowledged = number;
            self.unheard = 0;
        }
    }

    /// A new incarnation of the peer begins its own numbers, and has acknowledged nothing.
    pub(crate) fn renew(&mut self) {
        self.received = 0;
        (self.ahead, self.lateness) = (None, Duration::from_ticks(0));
        self.acknowledged = 0;
        self.unheard = u32::MAX;
    }

    /// Greatest sequence number heard of the peer's present incarnation; zero before the first.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Greatest of our sequence numbers that the peer's present incarnation acknowledged; zero before the first.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How long the link has been silent; `None` when the peer was never heard on it.
    pub fn silence(&self) -> Option<Duration> {
        self.silence
    }

    /// How late the frames are that it carries, as far as the other link tells.
    pub fn lateness(&self) -> Duration {
        self.ahead
            .map_or(self.lateness, |(_, ago)| ago.max(self.lateness))
    }

    /// What it carries of the peer, given the limit of silence and of lateness.
    pub fn hearing(&self, limit: Duration) -> Hearing {
        match self.silence {
            None => Hearing::Unheard,
            Some(silence) if silence >= limit => Hearing::Silent,
            Some(_) if self.lateness() >= limit => Hearing::Late,
            Some(_) => Hearing::Up,
        }
    }

    /// Whether what the peer sent within `limit` is heard here.
    pub fn is_up(&self, limit: Duration) -> bool {
        self.hearing(limit) == Hearing::Up
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
        link.heard(1);
        link.pass(Duration::from_millis(999));
        assert!(link.is_up(limit));
        link.pass(Duration::from_millis(1));
        assert!(!link.is_up(limit));
        link.heard(2);
        assert!(link.is_up(limit));
    }

    #[test]
    fn a_link_that_delivers_only_what_is_old_is_late_until_it_catches_up() {
        let limit = Duration::from_secs(1);
        let mut link = Link::default();
        link.heard(1);
        for number in 0..10 {
            // Eight numbers of a tenth of a second each behind the other one, and then twelve.
            let behind = if number < 4 { 8 } else { 12 };
            for step in 1..20 {
                link.pass(Duration::from_millis(100));
                let newest = 100 + number * 20 + step;
                link.overtaken(newest);
                link.heard(newest - behind);
            }
            let expected = if behind == 8 {
                Hearing::Up
            } else {
                Hearing::Late
            };
            assert_eq!(link.hearing(limit), expected, "{number}");
        }
        link.overtaken(400);
        link.heard(400);
        link.overtaken(401);
        link.heard(401);
        assert_eq!(link.hearing(limit), Hearing::Up);
        // Or is ahead of the other one from some moment on, which then never measures it.
        link.overtaken(500);
        for number in 402..420 {
            link.pass(Duration::from_millis(100));
            link.heard(number);
        }
        link.heard(501);
        assert_eq!(link.hearing(limit), Hearing::Late);
        link.leads();
        assert_eq!(link.hearing(limit), Hearing::Up);
    }

    #[test]
    fn a_link_that_was_cut_is_not_late_when_it_is_back() {
        let limit = Duration::from_secs(1);
        let mut link = Link::default();
        link.heard(1);
        link.overtaken(2);
        link.pass(Duration::from_secs(30));
        assert_eq!(link.hearing(limit), Hearing::Silent);
        link.heard(300);
        assert_eq!(link.hearing(limit), Hearing::Up);
    }
}
