//! What somebody who has the cables or the disks in hand, and not the secret, can bring before a head: I5, none of
//! it has any effect.
//!
//! A frame or a record that counts though it must not is itself what does not hold; and one that is refused must
//! leave all else true, since a refused frame may still change what a head echoes. Nothing here is a fault that
//! explains a takeover.

use std::sync::Arc;

use orthrus_hb::ledger::{self, Place, Record};
use orthrus_hb::wire::{self, Frame};
use orthrus_hb::{ClusterId, Epoch, FRAME_MAX_BYTES, LinkId, PoolState};

use crate::machine::{CLUSTER, IDS, Machine, SECRET, incarnation};
use crate::world::World;

/// What is brought before a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// On each cable the frame that counted last, once more: in this boot or in a later one.
    FrameAgain,
    /// The frame that would come next, with a wrong tag.
    FrameMistagged,
    /// The frame that waits on one cable arrives on the other one as well.
    FrameElsewhere,
    /// The ledger shows the peer's record of another pool.
    RecordElsewhere,
    /// The ledger shows a record with a wrong tag.
    RecordMistagged,
}

impl Forgery {
    pub const ALL: [Forgery; 5] = [
        Forgery::FrameAgain,
        Forgery::FrameMistagged,
        Forgery::FrameElsewhere,
        Forgery::RecordElsewhere,
        Forgery::RecordMistagged,
    ];

    /// Whether there is something to make it of.
    pub fn is_possible(self, machine: &Machine, ledger: bool) -> bool {
        match self {
            Forgery::FrameAgain | Forgery::FrameMistagged => {
                machine.counted.iter().any(Option::is_some)
            }
            Forgery::FrameElsewhere => machine.inbox.iter().any(|inbox| !inbox.is_empty()),
            Forgery::RecordElsewhere | Forgery::RecordMistagged => ledger,
        }
    }
}

impl World {
    pub fn forge(&mut self, who: usize, forgery: Forgery) {
        let counts = match forgery {
            Forgery::RecordElsewhere => self.record_counts(who, [2; 16], &SECRET),
            Forgery::RecordMistagged => self.record_counts(who, POOL, &[4; 32]),
            Forgery::FrameAgain | Forgery::FrameMistagged | Forgery::FrameElsewhere => {
                let machine = &mut self.machines[who];
                let (now, frames) = (machine.now(), frames(forgery, machine));
                let Some(head) = machine.head.as_mut().map(Arc::make_mut) else {
                    return;
                };
                let mut counts = false;
                for (link, bytes) in frames {
                    counts |= head.handle_frame(link, &bytes, now).is_ok();
                }
                counts
            }
        };
        self.checks.forged(counts);
        self.perform(who);
    }

    /// Whether a record counts that takes the peer's epoch further.
    fn record_counts(&self, who: usize, pool: [u8; 16], secret: &[u8; 32]) -> bool {
        let cluster = ClusterId::from_name(CLUSTER);
        let held = self.checks.held.map_or(Epoch::NONE, |held| held.epoch);
        let record = Record {
            head: IDS[1 - who],
            incarnation: incarnation(1 - who, self.machines[1 - who].boots),
            state: PoolState::Serving,
            epoch: Epoch(held.0 + 1),
            sequence: 1,
            lease: None,
        };
        let bytes = ledger::encode(&record, &Place { cluster, pool }, secret);
        let pool = POOL;
        ledger::decode(&bytes, &Place { cluster, pool }, &SECRET).is_ok()
    }
}

/// The place of the pool's ledger.
const POOL: [u8; 16] = [1; 16];

/// The frames, and the link on which each arrives.
fn frames(forgery: Forgery, machine: &Machine) -> Vec<(LinkId, Vec<u8>)> {
    let mut frames = Vec::new();
    for link in LinkId::ALL {
        let counted = machine.counted[link.index()].as_ref();
        let waits = machine.inbox[link.index()].front();
        let frame = match forgery {
            Forgery::FrameAgain => counted.map(|frame| (link, frame.bytes.to_vec())),
            Forgery::FrameMistagged => counted.map(|frame| (link, mistagged(link, &frame.bytes))),
            Forgery::FrameElsewhere => {
                let mut others = LinkId::ALL.into_iter().filter(|other| *other != link);
                others
                    .next()
                    .zip(waits)
                    .map(|(other, frame)| (other, frame.bytes.to_vec()))
            }
            Forgery::RecordElsewhere | Forgery::RecordMistagged => None,
        };
        frames.extend(frame);
    }
    frames
}

/// The frame after one that counted, with one bit of its tag wrong.
fn mistagged(link: LinkId, bytes: &[u8]) -> Vec<u8> {
    let frame = wire::decode(bytes, link, &SECRET).expect("a frame that counted");
    let next = Frame {
        sequence: frame.sequence + 1,
        ..frame
    };
    let mut buffer = [0; FRAME_MAX_BYTES];
    let length = wire::encode(&next, link, &SECRET, &mut buffer).expect("it fits");
    buffer[length - 1] ^= 1;
    buffer[..length].to_vec()
}
