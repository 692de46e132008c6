//! What a head takes in of its peer's frames.

use embassy_time::Instant;

use super::{Event, Head};
use crate::fences;
use crate::link::LinkId;
use crate::message::Piece;
use crate::peer::Admitted;
use crate::pool::Pool;
use crate::wire::{self, Body, Frame, FrameError};

impl Head {
    /// An authentic frame of the peer counts, and is taken apart; of any other nothing but counters and our echo depend.
    pub(super) fn take_frame(
        &mut self,
        link: LinkId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), FrameError> {
        let frame = match wire::decode(bytes, link, &self.config.secret) {
            Ok(frame) => frame,
            Err(error) => {
                let state = &mut self.peer.links[link.index()];
                state.rejected = state.rejected.wrapping_add(1);
                return Err(error);
            }
        };
        let [_, cluster @ ..] = self.config.cluster.bits().to_be_bytes();
        if frame.cluster != cluster || frame.sender != self.config.me.peer() {
            return Err(FrameError::Sender);
        }
        let dead = self.config.timing.dead;
        let Admitted { is_first, heard } = self.peer.accept(&frame, link, self.me, dead, now)?;
        if is_first {
            self.events.tell(Event::PeerBooted);
            self.told_fences = Default::default();
            self.fences_heard = None;
            (self.fences_learnt, self.counts_fences) = (0, false);
            self.outbox.restart();
            self.inbox.restart();
            self.pools.iter_mut().for_each(Pool::peer_booted);
            // What serial told while it could not be believed yet it tells again, of all pools: one that is not spoken of in the
            // last moments of this head is not known to be its.
            self.unsaid[..self.pools.len()].fill(true);
            self.due[LinkId::Serial.index()].beat |= !self.pools.is_empty();
        }
        for pool in &mut self.pools {
            pool.acknowledged(&heard);
        }
        self.learn_fences(&frame, &heard, now);
        match frame.body {
            Body::Beat { .. } => {}
            Body::Fragment {
                message,
                total,
                offset,
                data,
            } => {
                let piece = Piece {
                    message,
                    total,
                    offset,
                    data,
                };
                self.due[link.index()].received = self.inbox.put(&piece);
            }
            Body::Received { message, have } => {
                self.due[link.index()].fragment |= self.outbox.received(message, have);
            }
            Body::Fences => {}
        }
        Ok(())
    }

    /// `heard`: by link, what the peer had heard of ours when it sent the frame.
    fn learn_fences(&mut self, frame: &Frame<'_>, heard: &[u64; LinkId::ALL.len()], now: Instant) {
        for link in LinkId::ALL {
            let told = &mut self.told_fences[link.index()];
            // Counted from the first frame that it heard, which may have been sent long after this head heard it, and
            // may be none that tells of fences; and not before the first account of its own, which is news whatever it has heard.
            if frame.fences.is_some() && self.peer.link(link).acknowledged > 0 {
                told.get_or_insert_default();
            }
            if let Some(told) = told {
                told.acknowledge(heard[link.index()]);
                if told.is_heard() {
                    self.fences_heard.get_or_insert(frame.sequence);
                }
            }
        }
        // The slower link may bring an account from before the newest.
        let Some(ages) = frame.fences.filter(|_| frame.sequence > self.fences_learnt) else {
            return;
        };
        self.fences_learnt = frame.sequence;
        self.counts_fences |= fences::tells_of_any(&ages);
        let news = self.fences_heard.is_none_or(|from| frame.sequence < from);
        self.fences.learn(&ages, self.config.me, news, now);
    }

    /// A message of the peer, once, when it has arrived whole.
    pub fn poll_message(&mut self) -> Option<&[u8]> {
        self.inbox.take()
    }
}
