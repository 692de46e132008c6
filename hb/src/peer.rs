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
//! Rejected: retiring a replaced incarnation for good. One frame of an earlier boot that had been lost and was
//! played back later retired the living one, and the heads were deaf to each other until a boot.

mod fingerprint;

use embassy_time::{Duration, Instant};
use heapless::Deque;

use crate::config::MAX_POOLS;
use crate::link::{Link, LinkId};
use crate::wire::{Body, Frame, FrameError, Incarnation, PoolBeat};

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
    /// It was heard, and now every cable is silent for its limit, and every ledger that it wrote.
    Dead,
}

/// What the peer last said of a pool, and what it had heard of us when it said so.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// What it said.
    pub beat: PoolBeat,
    /// On the link by which `beat` came, the greatest of our sequence numbers that the peer had heard when it
    /// said so; zero on the other.
    pub(crate) acknowledged: [u32; LinkId::ALL.len()],
}

impl Word {
    /// What stands in the ledger: it acknowledges nothing.
    pub(crate) fn of_ledger(beat: PoolBeat) -> Word {
        Word {
            beat,
            acknowledged: [0; LinkId::ALL.len()],
        }
    }
}

/// An incarnation that waits to be confirmed.
#[derive(Clone, Copy)]
struct Candidate {
    incarnation: Incarnation,
    /// Its last frame.
    seen: Instant,
    /// For each link, the next of our sequence numbers when its first frame came.
    marks: [u32; LinkId::ALL.len()],
}

/// The peer, as heard.
#[derive(Clone)]
pub struct Peer {
    incarnation: Option<Incarnation>,
    candidate: Option<Candidate>,
    retired: Deque<Incarnation, RETIRED_MAX>,
    pub(crate) links: [Link; LinkId::ALL.len()],
    digest: Option<[u8; 4]>,
    words: [Option<Word>; MAX_POOLS],
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer {
            incarnation: None,
            candidate: None,
            retired: Deque::new(),
            links: [Link::default(); LinkId::ALL.len()],
            digest: None,
            words: [None; MAX_POOLS],
        }
    }

    /// Takes in an authentic frame of the peer. Returns whether it is the first of a new boot.
    pub(crate) fn accept(
        &mut self,
        frame: &Frame<'_>,
        link: LinkId,
        me: Incarnation,
        dead: Duration,
        now: Instant,
    ) -> Result<bool, FrameError> {
        let result = self.admit(frame, link, me, dead, now);
        let state = &mut self.links[link.index()];
        if result.is_err() {
            state.rejected = state.rejected.wrapping_add(1);
            return result;
        }
        state.heard();
        state.received = frame.sequence;
        // One that echoes another boot of ours acknowledges that one's frames.
        if frame.echo == Some(me) && frame.acknowledged <= state.sent {
            state.acknowledged = state.acknowledged.max(frame.acknowledged);
        }
        if let Body::Beat { digest, pools } = &frame.body {
            self.digest = Some(*digest);
            for &beat in pools {
                self.note(beat, link);
            }
        }
        result
    }

    fn admit(
        &mut self,
        frame: &Frame<'_>,
        link: LinkId,
        me: Incarnation,
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
        let marks = match self.candidate {
            Some(candidate) if candidate.incarnation == frame.incarnation => candidate.marks,
            _ => self.links.map(|link| link.sent.wrapping_add(1)),
        };
        let retired = self.retired.iter().any(|&old| old == frame.incarnation);
        let sent = self.links[link.index()].sent;
        let fresh = (marks[link.index()]..=sent).contains(&frame.acknowledged);
        let vacant = !retired && self.liveness(dead) != Liveness::Alive;
        if frame.echo != Some(me) || !fresh && !vacant {
            let (incarnation, seen) = (frame.incarnation, now);
            self.candidate = Some(Candidate {
                incarnation,
                seen,
                marks,
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
        self.words = [None; MAX_POOLS];
        self.links.iter_mut().for_each(Link::renew);
        Ok(true)
    }

    fn note(&mut self, beat: PoolBeat, link: LinkId) {
        let Some(word) = self.words.get_mut(usize::from(beat.pool)) else {
            return;
        };
        // Of this link alone. Frames of one link come in the order of sending, those of two do not: what the other
        // link's frame had heard says nothing of this one, which may have been under way for longer.
        let mut acknowledged = [0; LinkId::ALL.len()];
        acknowledged[link.index()] = self.links[link.index()].acknowledged;
        *word = Some(Word { beat, acknowledged });
    }

    /// Counts silence on all links.
    pub(crate) fn pass(&mut self, elapsed: Duration) {
        self.links.iter_mut().for_each(|link| link.pass(elapsed));
    }

    /// The incarnation to echo: one that waits to be confirmed before the one that is.
    pub(crate) fn echo(&self, dead: Duration, now: Instant) -> Option<Incarnation> {
        let Some(candidate) = self.candidate else {
            return self.incarnation;
        };
        let incarnation = candidate.incarnation;
        let recent = now.saturating_duration_since(candidate.seen) < CANDIDATE_LIFETIME;
        let retired = self.retired.iter().any(|&old| old == incarnation);
        // One that was replaced by another that is heard is most likely a recorded frame. When nothing else is heard
        // it may be what lives, and need our echo before it can acknowledge anything.
        match recent && (!retired || self.liveness(dead) != Liveness::Alive) {
            true => Some(incarnation),
            false => self.incarnation,
        }
    }

    /// What to acknowledge on a link to the incarnation that is echoed.
    pub(crate) fn acknowledged(&self, link: LinkId, dead: Duration, now: Instant) -> u32 {
        match self.echo(dead, now) == self.incarnation {
            true => self.links[link.index()].received,
            false => 0,
        }
    }

    /// Whether it can be heard on the cables, given the limit of silence of each.
    pub fn liveness(&self, dead: Duration) -> Liveness {
        if self.incarnation.is_none() {
            Liveness::Unheard
        } else if self.links.iter().any(|link| link.is_up(dead)) {
            Liveness::Alive
        } else {
            Liveness::Dead
        }
    }

    /// How long it has been silent on every link; zero when it was never heard.
    pub fn silence(&self) -> Duration {
        let heard = self.links.iter().filter_map(Link::silence);
        heard.min().unwrap_or(Duration::from_ticks(0))
    }

    /// What it last said of a pool in its present boot.
    pub fn word(&self, pool: usize) -> Option<Word> {
        self.words.get(pool).copied().flatten()
    }

    /// Digest of its configuration file.
    pub fn digest(&self) -> Option<[u8; 4]> {
        self.digest
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
    use crate::wire::{PoolState, VERSION, Wish};

    const ME: Incarnation = Incarnation([1; 8]);
    const DEAD: Duration = Duration::from_secs(1);

    /// Hands a beat of the peer to `peer` that tells of pool 0 and acknowledges our frame `heard`.
    fn hear(peer: &mut Peer, link: LinkId, sequence: u32, heard: u32, state: PoolState) {
        let beat = PoolBeat {
            pool: 0,
            state,
            epoch: Epoch(4),
            wish: Wish::None,
            health: Default::default(),
        };
        let frame = Frame {
            version: VERSION,
            cluster: [0; 3],
            sender: HeadId::Second,
            incarnation: Incarnation([2; 8]),
            echo: Some(ME),
            sequence,
            acknowledged: heard,
            body: Body::Beat {
                digest: [0; 4],
                pools: heapless::Vec::from_slice(&[beat]).expect("one pool fits"),
            },
            fences: None,
        };
        let now = Instant::from_secs(1);
        peer.accept(&frame, link, ME, DEAD, now).expect("it counts");
    }

    #[test]
    fn a_late_word_does_not_inherit_what_a_newer_frame_of_the_other_link_had_heard() {
        let mut peer = Peer::new();
        peer.links.iter_mut().for_each(|link| link.sent = 20);
        hear(&mut peer, LinkId::Serial, 1, 3, PoolState::Serving);
        hear(&mut peer, LinkId::Ether, 1, 20, PoolState::Serving);
        let word = peer.word(0).expect("the peer told of it");
        assert_eq!(word.acknowledged, [0, 20]);
        // Sent before the one above, and slower.
        hear(&mut peer, LinkId::Serial, 2, 4, PoolState::Standby);
        let word = peer.word(0).expect("the peer told of it");
        assert_eq!(word.beat.state, PoolState::Standby);
        assert_eq!(word.acknowledged, [4, 0]);
    }
}
