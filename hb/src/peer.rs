//! What this head knows of its peer: which boot of it speaks, when it was last heard, what it said.
//!
//! Replay: an incarnation counts only from the first frame on that echoes ours, on each link, and after that the
//! link's sequence number only grows. (On each: what was recorded in an earlier boot of ours on a cable that is cut
//! in this one was newer than nothing, and counted.) Not every frame must echo us: while the peer is shown a
//! recorded frame of an earlier boot of ours it may echo that, and is no less alive. A frame that was recorded in this boot of ours echoes us too, and
//! may be of a boot of the peer that is over: so an incarnation takes the place of another only when that
//! one is silent and it was not itself replaced before, or when it acknowledges a frame that we
//! sent after it showed up, which nobody can have recorded.
//!
//! Order: a beat that was slow on its link and comes after a newer one of the other link is heard, and changes no word.
//! A word acknowledges what its own frame does, of both links, and nothing that another frame told. A peer of version
//! 2 numbers the frames of each link by themselves: of two links its words count in the order in which they come.
//!
//! Life: only a frame that is newer than every one before it, of both links, is a sign of it. One that a slow link held
//! back says nothing of the peer, which may have died since: a buffer of some seconds in a
//! serial line would delay the takeover by as much. What is told by this is the order of the frames and not their age: where
//! only the slow link is left, its frames count when they come, and between the last of the fast link and the first of the
//! slow one that is newer the peer is silent. Of a peer of version 2 every frame counts that is newer on its link.
//!
//! Rejected: retiring a replaced incarnation for good. One frame of an earlier boot that had been lost and was
//! played back later retired the living one, and the heads were deaf to each other until a boot.

mod fingerprint;

use embassy_time::{Duration, Instant};
use heapless::Deque;

use crate::config::MAX_POOLS;
use crate::link::{Link, LinkId};
use crate::wire::{Body, Frame, FrameError, Incarnation, Lag, PoolBeat, VERSION_OF_ONE_NUMBERING};

/// Earlier boots of the peer that are remembered. The peer would have to boot this often within one
/// boot of ours before a recorded frame could be taken for a new boot.
const RETIRED_MAX: usize = 64;

/// How long an unconfirmed incarnation is echoed after its last frame. A living peer sends ten
/// frames a second; a recorded frame must not make us echo a dead boot for long.
const CANDIDATE_LIFETIME: Duration = Duration::from_secs(1);

/// Whether the peer can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Not once since this head booted.
    Unheard,
    /// On at least one cable.
    Alive,
    /// On no cable, and the ledger of a pool ticks: it lives, and only the cables are cut. An alarm, and no
    /// reason to move anything.
    LinksLost,
    /// It was heard, and for the limit nothing new came on any cable, nor was written to any ledger of its own.
    Dead,
}

/// What the peer last said of a pool, and what it had heard of us when it said so.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// What it said.
    pub beat: PoolBeat,
    /// By link, the greatest of our sequence numbers that the peer had heard when it said so, as far as the
    /// frame tells; zero for none.
    pub(crate) acknowledged: [u64; LinkId::ALL.len()],
    /// Number of the frame, when the peer has one numbering for both links; else zero.
    order: u64,
}

impl Word {
    /// What stands in the ledger: it acknowledges nothing.
    pub(crate) fn of_ledger(beat: PoolBeat) -> Word {
        Word {
            beat,
            acknowledged: [0; LinkId::ALL.len()],
            order: 0,
        }
    }
}

/// A frame that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// It is the first of a new boot.
    pub(crate) is_first: bool,
    /// By link, the greatest of our numbers that the peer had heard when it sent it; zero for none.
    pub(crate) heard: [u64; LinkId::ALL.len()],
}

/// An incarnation that waits to be confirmed.
#[derive(Clone, Copy)]
struct Candidate {
    incarnation: Incarnation,
    /// Its last frame.
    seen: Instant,
    /// The next of our sequence numbers when its first frame came.
    mark: u64,
}

/// The peer, as heard.
#[derive(Clone)]
pub struct Peer {
    incarnation: Option<Incarnation>,
    /// Version of the frames of that incarnation.
    version: u8,
    candidate: Option<Candidate>,
    retired: Deque<Incarnation, RETIRED_MAX>,
    pub(crate) links: [Link; LinkId::ALL.len()],
    /// Silence counted since the newest frame; zero before the first.
    silence: Duration,
    digest: Option<[u8; 4]>,
    /// It reads [`Body::Fences`].
    takes_fences: bool,
    words: [Option<Word>; MAX_POOLS],
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer {
            incarnation: None,
            version: 0,
            candidate: None,
            retired: Deque::new(),
            links: [Link::default(); LinkId::ALL.len()],
            silence: Duration::from_ticks(0),
            digest: None,
            takes_fences: false,
            words: [None; MAX_POOLS],
        }
    }

    /// Takes in an authentic frame of the peer.
    pub(crate) fn accept(
        &mut self,
        frame: &Frame<'_>,
        link: LinkId,
        me: Incarnation,
        dead: Duration,
        now: Instant,
    ) -> Result<Admitted, FrameError> {
        let heard = self.heard(frame, link, me);
        let result = self.admit(frame, link, me, heard, dead, now);
        let has_one_numbering = frame.version >= VERSION_OF_ONE_NUMBERING;
        let newest = self.received();
        let state = &mut self.links[link.index()];
        let is_first = match result {
            Ok(is_first) => is_first,
            Err(error) => {
                state.rejected = state.rejected.wrapping_add(1);
                return Err(error);
            }
        };
        // The first of a boot is newer than nothing.
        if !has_one_numbering || newest.is_none_or(|newest| frame.sequence > newest) {
            self.silence = Duration::from_ticks(0);
        }
        state.heard(frame.sequence);
        if has_one_numbering {
            let is_newest = newest.is_none_or(|newest| frame.sequence > newest);
            for other in LinkId::ALL.into_iter().filter(|&other| other != link) {
                let other = &mut self.links[other.index()];
                other.overtaken(frame.sequence);
                if is_newest && other.silence().is_some_and(|silence| silence < dead) {
                    self.links[link.index()].leads();
                }
            }
        }
        for (state, heard) in self.links.iter_mut().zip(heard) {
            state.acknowledge(heard);
        }
        if let Body::Beat { digest, pools } = &frame.body {
            self.digest = Some(*digest);
            self.takes_fences |= frame.takes_fences;
            let order = match has_one_numbering {
                true => frame.sequence,
                false => 0,
            };
            for &beat in pools {
                self.note(Word {
                    beat,
                    acknowledged: heard,
                    order,
                });
            }
        }
        Ok(Admitted { is_first, heard })
    }

    /// What a frame acknowledges, by link. One that echoes another boot of ours acknowledges that one's frames, and nobody
    /// has heard what was not sent.
    fn heard(&self, frame: &Frame<'_>, link: LinkId, me: Incarnation) -> [u64; LinkId::ALL.len()] {
        let mut heard = frame.heard(link);
        for (heard, state) in heard.iter_mut().zip(&self.links) {
            if frame.echo != Some(me) || *heard > state.sent {
                *heard = 0;
            }
        }
        heard
    }

    fn admit(
        &mut self,
        frame: &Frame<'_>,
        link: LinkId,
        me: Incarnation,
        heard: [u64; LinkId::ALL.len()],
        dead: Duration,
        now: Instant,
    ) -> Result<bool, FrameError> {
        if self.incarnation == Some(frame.incarnation) {
            let received = self.links[link.index()].received;
            let begins = received > 0 || frame.echo == Some(me);
            let newer = frame.sequence > received;
            return if newer && begins {
                Ok(false)
            } else {
                Err(FrameError::Replayed)
            };
        }
        let mark = match self.candidate {
            Some(candidate) if candidate.incarnation == frame.incarnation => candidate.mark,
            _ => self.next_number(),
        };
        let retired = self.retired.iter().any(|&old| old == frame.incarnation);
        let fresh = heard.iter().any(|&number| number >= mark);
        let vacant = !retired && self.liveness(dead) != Liveness::Alive;
        // It begins with a word on a pool. One that was first heard by a frame without any, and died at once, had said
        // nothing of what it held, where its boot before had said that it serves.
        let tells = matches!(frame.body, Body::Beat { .. });
        if frame.echo != Some(me) || !fresh && !vacant || !tells {
            let (incarnation, seen) = (frame.incarnation, now);
            self.candidate = Some(Candidate {
                incarnation,
                seen,
                mark,
            });
            return Err(match retired {
                true => FrameError::Replayed,
                false => FrameError::Unconfirmed,
            });
        }
        self.retired.retain(|&old| old != frame.incarnation);
        if let Some(old) = self.incarnation.replace(frame.incarnation) {
            if self.retired.is_full() {
                self.retired.pop_front();
            }
            // There is room: one was just removed if there was none.
            let _ = self.retired.push_back(old);
        }
        self.candidate = None;
        self.version = frame.version;
        self.takes_fences = false;
        self.words = [None; MAX_POOLS];
        self.links.iter_mut().for_each(Link::renew);
        Ok(true)
    }

    fn note(&mut self, said: Word) {
        let Some(word) = self.words.get_mut(usize::from(said.beat.pool)) else {
            return;
        };
        let is_late = word.is_some_and(|last| said.order < last.order);
        if !is_late {
            *word = Some(said);
        }
    }

    /// The sequence number of the next frame.
    pub(crate) fn next_number(&self) -> u64 {
        let sent = self.links.iter().map(|link| link.sent);
        sent.max().unwrap_or(0).wrapping_add(1)
    }

    /// Counts the peer's silence, and that of every link.
    pub(crate) fn pass(&mut self, elapsed: Duration) {
        let silence = self.silence.checked_add(elapsed);
        self.silence = silence.unwrap_or(Duration::MAX);
        self.links.iter_mut().for_each(|link| link.pass(elapsed));
    }

    /// The incarnation to echo: the one that is, while it is heard, and else one that waits to be confirmed, which may
    /// need our echo before it can acknowledge anything. Whoever is heard and not echoed takes itself for unheard, so a
    /// recorded frame of a boot that is unknown here must not cost the living one its echo.
    pub(crate) fn echo(&self, dead: Duration, now: Instant) -> Option<Incarnation> {
        let Some(candidate) = self.candidate else {
            return self.incarnation;
        };
        let incarnation = candidate.incarnation;
        let recent = now.saturating_duration_since(candidate.seen) < CANDIDATE_LIFETIME;
        let retired = self.retired.iter().any(|&old| old == incarnation);
        // One that was replaced by another is most likely a recorded frame, and waits until that is dead.
        let silent = self.liveness(dead) != Liveness::Alive || !retired && self.silence >= dead / 2;
        match recent && silent {
            true => Some(incarnation),
            false => self.incarnation,
        }
    }

    /// What to acknowledge on a link to the incarnation that is echoed.
    pub(crate) fn acknowledged(
        &self,
        link: LinkId,
        dead: Duration,
        now: Instant,
    ) -> (u64, Option<Lag>) {
        if self.incarnation.is_none() || self.echo(dead, now) != self.incarnation {
            return (0, None);
        }
        if self.version < VERSION_OF_ONE_NUMBERING {
            return (self.links[link.index()].received, None);
        }
        let (greatest, lag) = Lag::of(self.links.map(|link| link.received));
        (greatest, Some(lag))
    }

    /// The greatest number of a frame of its present boot, of both links; `None` before the first.
    pub fn received(&self) -> Option<u64> {
        let received = self.links.iter().map(|link| link.received);
        received.max().filter(|&number| number > 0)
    }

    /// Whether it can be heard on the cables, given the limit of its silence.
    pub fn liveness(&self, dead: Duration) -> Liveness {
        if self.incarnation.is_none() {
            Liveness::Unheard
        } else if self.silence < dead {
            Liveness::Alive
        } else {
            Liveness::Dead
        }
    }

    /// How long no frame of it came that is newer than all before, of both links; zero when it was never heard.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// What it last said of a pool in its present boot.
    pub fn word(&self, pool: usize) -> Option<Word> {
        self.words.get(pool).copied().flatten()
    }

    /// Digest of its configuration file.
    pub fn digest(&self) -> Option<[u8; 4]> {
        self.digest
    }

    /// Whether its present boot said that it reads [`Body::Fences`].
    pub(crate) fn takes_fences(&self) -> bool {
        self.takes_fences
    }

    /// The state of a link.
    pub fn link(&self, link: LinkId) -> &Link {
        &self.links[link.index()]
    }

    /// Its boot, as confirmed.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::key::HeadId;
    use crate::link::Hearing;
    use crate::wire::{PoolState, Wish};

    const ME: Incarnation = Incarnation([1; 8]);
    const DEAD: Duration = Duration::from_secs(1);

    /// A beat of the peer that tells of pool 0.
    struct Said {
        version: u8,
        link: LinkId,
        sequence: u64,
        /// Greatest of our frames heard on each link.
        heard: [u64; LinkId::ALL.len()],
        state: PoolState,
    }

    impl Said {
        fn hear(&self, peer: &mut Peer) {
            let beat = PoolBeat {
                pool: 0,
                state: self.state,
                epoch: Epoch(4),
                wish: Wish::None,
                health: Default::default(),
            };
            let (greatest, lag) = Lag::of(self.heard);
            let (acknowledged, lag) = match self.version {
                2 => (self.heard[self.link.index()], None),
                _ => (greatest, Some(lag)),
            };
            let frame = Frame {
                version: self.version,
                cluster: [0; 3],
                sender: HeadId::Second,
                incarnation: Incarnation([2; 8]),
                echo: Some(ME),
                sequence: self.sequence,
                acknowledged,
                body: Body::Beat {
                    digest: [0; 4],
                    pools: heapless::Vec::from_slice(&[beat]).expect("one pool fits"),
                },
                fences: None,
                takes_fences: false,
                lag,
            };
            let now = Instant::from_secs(1);
            peer.accept(&frame, self.link, ME, DEAD, now)
                .expect("it counts");
        }
    }

    /// Heard by a head whose last frame on both links has the number 20.
    fn heard(said: &[Said]) -> Peer {
        let mut peer = Peer::new();
        peer.links.iter_mut().for_each(|link| link.sent = 20);
        said.iter().for_each(|said| said.hear(&mut peer));
        peer
    }

    fn after(said: &[Said]) -> Word {
        heard(said).word(0).expect("the peer told of it")
    }

    fn said(
        version: u8,
        link: LinkId,
        sequence: u64,
        heard: [u64; LinkId::ALL.len()],
        state: PoolState,
    ) -> Said {
        Said {
            version,
            link,
            sequence,
            heard,
            state,
        }
    }

    #[test]
    fn a_word_acknowledges_what_was_heard_on_both_links() {
        let word = after(&[said(3, LinkId::Serial, 1, [0, 20], PoolState::Serving)]);
        assert_eq!(word.acknowledged, [0, 20]);
    }

    #[test]
    fn a_late_word_does_not_replace_a_newer_one_of_the_other_link() {
        let word = after(&[
            said(3, LinkId::Serial, 1, [3, 0], PoolState::Standby),
            said(3, LinkId::Ether, 7, [4, 20], PoolState::Serving),
            // Sent before the one above, and slower.
            said(3, LinkId::Serial, 6, [4, 5], PoolState::Standby),
        ]);
        assert_eq!(word.beat.state, PoolState::Serving);
        assert_eq!(word.acknowledged, [4, 20]);
    }

    #[test]
    fn a_late_word_does_not_inherit_what_a_newer_frame_of_the_other_link_had_heard() {
        let word = after(&[
            said(2, LinkId::Serial, 1, [3, 0], PoolState::Serving),
            said(2, LinkId::Ether, 1, [0, 20], PoolState::Serving),
            // Sent before the one above, and slower: in this version nothing tells.
            said(2, LinkId::Serial, 2, [4, 0], PoolState::Standby),
        ]);
        assert_eq!(word.beat.state, PoolState::Standby);
        assert_eq!(word.acknowledged, [4, 0]);
    }

    /// What the links carry, and whether the peer is alive, half of `dead` after each of two groups of frames.
    fn vouched(before: &[Said], after: &[Said]) -> ([Hearing; LinkId::ALL.len()], Liveness) {
        let half = DEAD / 2;
        let mut peer = heard(before);
        peer.pass(half);
        after.iter().for_each(|said| said.hear(&mut peer));
        peer.pass(half);
        let hearing = LinkId::ALL.map(|link| peer.link(link).hearing(DEAD));
        (hearing, peer.liveness(DEAD))
    }

    #[test]
    fn what_a_slow_link_held_back_keeps_neither_the_link_up_nor_the_peer_alive() {
        let [serial, ether] = LinkId::ALL;
        let beat = |version, link, number| said(version, link, number, [0, 0], PoolState::Standby);
        let (first, newest) = (beat(3, serial, 1), beat(3, ether, 9));
        let told = vouched(&[first, newest], &[beat(3, serial, 8)]);
        assert_eq!(told, ([Hearing::Late, Hearing::Silent], Liveness::Dead));
        // Of the link that is left alone the first newer one counts.
        let (first, newest) = (beat(3, serial, 1), beat(3, ether, 9));
        let told = vouched(&[first, newest], &[beat(3, serial, 8), beat(3, serial, 10)]);
        assert_eq!(told, ([Hearing::Up, Hearing::Silent], Liveness::Alive));
    }

    #[test]
    fn of_a_peer_of_the_release_before_every_frame_is_a_sign_of_life() {
        let [serial, ether] = LinkId::ALL;
        let beat = |link, number| said(2, link, number, [0, 0], PoolState::Standby);
        let told = vouched(&[beat(serial, 1), beat(ether, 9)], &[beat(serial, 8)]);
        assert_eq!(told, ([Hearing::Up, Hearing::Silent], Liveness::Alive));
    }

    #[test]
    fn a_link_that_is_a_little_behind_the_other_is_up() {
        let [serial, ether] = LinkId::ALL;
        let beat = |link, number| said(3, link, number, [0, 0], PoolState::Standby);
        let two = |number| [beat(ether, number + 1), beat(serial, number)];
        let told = vouched(&two(1), &two(3));
        assert_eq!(told, ([Hearing::Up, Hearing::Up], Liveness::Alive));
    }

    #[test]
    fn what_is_acknowledged_is_what_the_peers_release_understands() {
        let now = Instant::from_secs(1);
        for version in [2, 3] {
            let beat = |link, number| said(version, link, number, [0, 0], PoolState::Standby);
            let peer = heard(&[beat(LinkId::Serial, 4), beat(LinkId::Ether, 9)]);
            let told = LinkId::ALL.map(|link| peer.acknowledged(link, DEAD, now));
            match version {
                2 => assert_eq!(told, [(4, None), (9, None)]),
                _ => assert_eq!(told, [Lag::of([4, 9]); 2].map(|(n, lag)| (n, Some(lag)))),
            }
        }
        assert_eq!(
            Peer::new().acknowledged(LinkId::Serial, DEAD, now),
            (0, None)
        );
    }

    /// The first frame that is heard of a boot.
    fn first(incarnation: Incarnation, body: Body<'static>) -> Frame<'static> {
        Frame {
            version: 3,
            cluster: [0; 3],
            sender: HeadId::Second,
            incarnation,
            echo: None,
            sequence: 1,
            acknowledged: 0,
            body,
            fences: None,
            takes_fences: false,
            lag: None,
        }
    }

    fn beat_of_no_pool() -> Body<'static> {
        Body::Beat {
            digest: [0; 4],
            pools: heapless::Vec::new(),
        }
    }

    /// A frame of a boot that has heard none of ours, as one has that just began, or that was recorded.
    fn hear_unconfirmed(peer: &mut Peer, incarnation: Incarnation, now: Instant) {
        let frame = first(incarnation, beat_of_no_pool());
        peer.accept(&frame, LinkId::Serial, ME, DEAD, now)
            .expect_err("it is not confirmed");
    }

    #[test]
    fn a_boot_begins_with_a_beat() {
        let (other, now) = (Incarnation([3; 8]), Instant::from_secs(1));
        let mut peer = heard(&[said(3, LinkId::Ether, 9, [0, 20], PoolState::Serving)]);
        hear_unconfirmed(&mut peer, other, now);
        peer.links.iter_mut().for_each(|link| link.sent = 21);
        let mut hear = |body| {
            let frame = Frame {
                echo: Some(ME),
                acknowledged: 21,
                ..first(other, body)
            };
            let admitted = peer.accept(&frame, LinkId::Serial, ME, DEAD, now);
            admitted.map(|admitted| admitted.is_first)
        };
        let (message, have) = (1, 0);
        for body in [Body::Fences, Body::Received { message, have }] {
            assert_eq!(hear(body), Err(FrameError::Unconfirmed));
        }
        assert_eq!(hear(beat_of_no_pool()), Ok(true));
        assert_eq!(peer.incarnation(), Some(other));
    }

    #[test]
    fn a_recorded_frame_of_another_boot_does_not_cost_the_living_one_its_echo() {
        let (other, now) = (Incarnation([3; 8]), Instant::from_secs(1));
        let beat = |number| said(3, LinkId::Ether, number, [0, 20], PoolState::Serving);
        let mut peer = heard(&[beat(9)]);
        let living = peer.incarnation();
        hear_unconfirmed(&mut peer, other, now);
        assert_eq!(peer.echo(DEAD, now), living);
        let (number, _) = peer.acknowledged(LinkId::Ether, DEAD, now);
        assert_eq!(number, 9);
        // It may have booted, then.
        peer.pass(DEAD / 2);
        assert_eq!(peer.echo(DEAD, now), Some(other));
        assert_eq!(peer.acknowledged(LinkId::Ether, DEAD, now), (0, None));
        // It lives.
        beat(10).hear(&mut peer);
        assert_eq!(peer.echo(DEAD, now), living);
    }

    #[test]
    fn nobody_has_heard_what_was_not_sent() {
        let word = after(&[said(3, LinkId::Serial, 1, [21, 20], PoolState::Serving)]);
        assert_eq!(word.acknowledged, [0, 20]);
    }
}
