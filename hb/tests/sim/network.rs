//! The two cables. Each direction of each has its own faults: cut, loss, delay, duplicates, damage.
//!
//! Serial is a queue of bytes and never reorders; Ethernet reorders whatever the delays say.

use std::collections::VecDeque;

use orthrus_hb::LinkId;
use orthrus_hb::wire::{self, Frame};

use crate::clock::{MS, Time};
use crate::rng::Rng;
use crate::world::SECRET;

/// Frames kept for replays, for each direction of each cable.
const RECORDED_MAX: usize = 64;

/// Frames kept of each boot that is over.
const ARCHIVED_OF_EACH: usize = 8;

/// One direction of one cable.
#[derive(Default)]
pub struct Path {
    pub cut: bool,
    /// In a thousand.
    pub loss: u64,
    pub duplicates: u64,
    pub damage: u64,
    /// Greatest delay beyond the ordinary one.
    pub delay: Time,
    /// Serial: how long a buffer in the line holds back what comes.
    pub hold: Time,
    /// Serial: when the last frame arrives.
    busy_until: Time,
    /// What was sent, also what did not arrive.
    pub recorded: VecDeque<Sent>,
    /// The last ones of earlier boots.
    pub archived: VecDeque<Sent>,
}

/// A frame, and when it was sent.
#[derive(Clone)]
pub struct Sent {
    pub at: Time,
    pub bytes: Box<[u8]>,
}

/// A frame on its way.
pub struct Flight {
    pub arrives: Time,
    pub frame: Sent,
}

impl Path {
    /// Sends a frame: it arrives never, once or twice.
    pub fn send(
        &mut self,
        link: LinkId,
        bytes: &[u8],
        now: Time,
        rng: &mut Rng,
    ) -> [Option<Flight>; 2] {
        if self.recorded.len() == RECORDED_MAX {
            self.recorded.pop_front();
        }
        self.recorded.push_back(Sent {
            at: now,
            bytes: bytes.into(),
        });
        let mut flights = [None, None];
        for (copy, flight) in flights.iter_mut().enumerate() {
            let sent = copy == 0 || rng.chance(self.duplicates);
            if !sent || self.cut || rng.chance(self.loss) {
                continue;
            }
            let mut bytes: Box<[u8]> = bytes.into();
            if rng.chance(self.damage) && !bytes.is_empty() {
                let at = rng.index(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            *flight = Some(Flight {
                arrives: self.arrival(link, bytes.len(), now, rng),
                frame: Sent { at: now, bytes },
            });
        }
        flights
    }

    fn arrival(&mut self, link: LinkId, bytes: usize, now: Time, rng: &mut Rng) -> Time {
        let delay = match self.delay {
            0 => 0,
            most => rng.below(most),
        };
        match link {
            LinkId::Serial => {
                // 115200 baud, ten bits a byte.
                let line = (bytes as u64 + 2) * 87;
                self.busy_until = (now + delay + self.hold).max(self.busy_until) + line;
                self.busy_until
            }
            LinkId::Ether => now + delay + rng.range(MS / 20, MS / 2),
        }
    }

    /// What is sent now arrives long after: a line that held back is not yet empty.
    pub fn is_behind(&self, now: Time) -> bool {
        self.busy_until > now + 300 * MS
    }

    /// The sender's boot ends; some of what it sent is kept.
    pub fn archive(&mut self) {
        let last = self.recorded.len().saturating_sub(ARCHIVED_OF_EACH);
        self.archived.extend(self.recorded.drain(last..));
        self.recorded.clear();
        let surplus = self.archived.len().saturating_sub(RECORDED_MAX);
        self.archived.drain(..surplus);
    }

    /// Every fault but a cut ends.
    pub fn calm(&mut self) {
        self.loss = 0;
        self.duplicates = 0;
        self.damage = 0;
        self.delay = 0;
        self.hold = 0;
    }
}

/// A frame as a head of version 2 would send it, and as much of one of today as that would read. Each takes the
/// other for one of that version, then, and acknowledges the frames of each link on that link alone.
pub fn as_version_2(link: LinkId, buffer: &mut [u8], length: usize) -> usize {
    let bytes = buffer[..length].to_vec();
    let frame = wire::decode(&bytes, link, &SECRET).expect("it was just encoded");
    let frame = Frame {
        version: 2,
        takes_fences: false,
        lag: None,
        ..frame
    };
    wire::encode(&frame, link, &SECRET, buffer).expect("it is shorter than before")
}
