//! What a head says to its peer: beats, receipts, and messages in pieces.

use core::ops::Range;

use embassy_time::Instant;

use super::Head;
use crate::config::Config;
use crate::link::LinkId;
use crate::message::Piece;
use crate::peer::Peer;
use crate::wire::{self, Body, FRAGMENT_MAX_BYTES, Frame};

/// Data bytes of a fragment on serial: with header and tag about 13 ms of the line, once a beat.
const SERIAL_FRAGMENT_BYTES: usize = 96;

/// What a link still has to send.
#[derive(Clone, Copy, Default, Hash)]
pub(super) struct Due {
    pub(super) beat: bool,
    pub(super) fragment: bool,
    pub(super) received: Option<(u16, u16)>,
}

/// What a beat is of.
#[derive(Clone, PartialEq, Eq)]
enum Turn {
    Pools(Range<usize>),
    /// None of them: a frame of the fences in its place.
    Fences,
}

impl Head {
    /// Sends a message to the peer, in place of one that is still under way. `false` when it is
    /// longer than [`crate::MESSAGE_MAX_BYTES`].
    pub fn send_message(&mut self, bytes: &[u8]) -> bool {
        let taken = self.outbox.put(bytes);
        self.due.iter_mut().for_each(|due| due.fragment = taken);
        taken
    }

    /// A frame to send on a link: its bytes are in `buffer`, of at least
    /// [`wire::FRAME_MAX_BYTES`]. To be called for each link until it returns `None`.
    pub fn poll_transmit(
        &mut self,
        link: LinkId,
        now: Instant,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let due = self.due[link.index()];
        let ages = self.fences.ages(now);
        let (me, retiring) = (self.me, self.retiring);
        let speak =
            |sequence: u64, body: Body<'_>, peer: &Peer, config: &Config, buffer: &mut [u8]| {
                let [_, cluster @ ..] = config.cluster.bits().to_be_bytes();
                let (acknowledged, lag) = peer.acknowledged(link, config.timing.dead, now);
                let tells_fences = link == LinkId::Ether || matches!(body, Body::Fences);
                let frame = Frame {
                    version: wire::VERSION,
                    cluster,
                    sender: config.me,
                    incarnation: me,
                    echo: peer.echo(config.timing.dead, now),
                    sequence,
                    acknowledged,
                    body,
                    fences: tells_fences.then_some(ages),
                    takes_fences: true,
                    lag,
                };
                wire::encode(&frame, link, &config.secret, buffer).ok()
            };
        let sequence = self.peer.next_number();
        let length = if due.beat {
            self.due[link.index()].beat = false;
            let turn = match link {
                LinkId::Serial => self.serial_turn(now),
                LinkId::Ether => Turn::Pools(0..self.pools.len()),
            };
            // Beats on Ethernet tell of the fences as well.
            if (link == LinkId::Ether || turn == Turn::Fences)
                && let Some(told) = &mut self.told_fences[link.index()]
            {
                told.say(sequence);
            }
            let body = match turn {
                Turn::Fences => Body::Fences,
                Turn::Pools(range) => {
                    let mut pools = heapless::Vec::new();
                    for pool in self.pools.get_mut(range).unwrap_or_default() {
                        pool.said(link, sequence);
                        let _ = pools.push(pool.beat(retiring)); // same capacity
                    }
                    let digest = self.config.digest.to_be_bytes();
                    Body::Beat { digest, pools }
                }
            };
            speak(sequence, body, &self.peer, &self.config, buffer)
        } else if let Some((message, have)) = due.received {
            self.due[link.index()].received = None;
            let body = Body::Received { message, have };
            speak(sequence, body, &self.peer, &self.config, buffer)
        } else if due.fragment {
            self.due[link.index()].fragment = false;
            let max = self.fragment_bytes(link)?;
            let Piece {
                message,
                total,
                offset,
                data,
            } = self.outbox.piece(max)?;
            let body = Body::Fragment {
                message,
                total,
                offset,
                data,
            };
            speak(sequence, body, &self.peer, &self.config, buffer)
        } else {
            None
        }?;
        self.peer.links[link.index()].send(sequence);
        Some(length)
    }

    /// What the next beat on serial is of. First what changed, a beat for each, all of them before a job begins; then in turn.
    fn serial_turn(&mut self, now: Instant) -> Turn {
        if let Some(index) = self.unsaid.iter().position(|unsaid| *unsaid) {
            self.unsaid[index] = false;
            self.due[LinkId::Serial.index()].beat = self.unsaid.contains(&true);
            return Turn::Pools(index..index + 1);
        }
        let tells_fences = self.tells_fences(now);
        let turns = (self.pools.len() + usize::from(tells_fences)).max(1);
        let turn = self.rotation % turns;
        self.rotation = (turn + 1) % turns;
        match tells_fences && turn == self.pools.len() {
            true => Turn::Fences,
            false => Turn::Pools(turn..turn + 1),
        }
    }

    /// Whether the fences have a turn on serial.
    pub(super) fn tells_fences(&self, now: Instant) -> bool {
        self.peer.takes_fences() && (self.counts_fences || self.fences.is_any(now))
    }

    /// Fragments go over Ethernet while it works: serial is kept for beats.
    fn fragment_bytes(&self, link: LinkId) -> Option<usize> {
        let dead = self.config.timing.dead;
        match link {
            LinkId::Ether => Some(FRAGMENT_MAX_BYTES),
            LinkId::Serial if self.peer.link(LinkId::Ether).is_up(dead) => None,
            LinkId::Serial => Some(SERIAL_FRAGMENT_BYTES),
        }
    }
}
