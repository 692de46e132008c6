//! What a head takes in of its peer's frames.

use embassy_time::Instant;

use super::{Event, Head};
use crate::link::LinkId;
use crate::message::Piece;
use crate::peer::Admitted;
use crate::pool::Pool;
use crate::wire::{self, Body, FrameError};

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
            self.told_fences = None;
            self.fences_heard = false;
            self.outbox.restart();
            self.inbox.restart();
            self.pools.iter_mut().for_each(Pool::peer_booted);
        }
        for pool in &mut self.pools {
            pool.acknowledged(&heard);
        }
        if let Some(ages) = &frame.fences {
            let ether = self.peer.link(LinkId::Ether);
            // Counted from the first frame that it heard, which may have been sent long after this head heard it, and
            // may be none that tells of fences.
            if ether.acknowledged > 0 {
                self.told_fences.get_or_insert_default();
            }
            if let Some(told) = &mut self.told_fences {
                told.acknowledge(heard[LinkId::Ether.index()]);
                self.fences_heard |= told.is_heard();
            }
            let news = !self.fences_heard;
            self.fences.learn(ages, self.config.me, news, now);
        }
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
        }
        Ok(())
    }

    /// A message of the peer, once, when it has arrived whole.
    pub fn poll_message(&mut self) -> Option<&[u8]> {
        self.inbox.take()
    }
}
