//! The frame: what one head says to the other, as bytes.
//!
//! ```text
//! postcard(Frame) ‖ tag        tag = first 16 bytes of HMAC-SHA-256(secret, link ‖ postcard(Frame))
//! ```
//!
//! The link's number is under the MAC but not in the frame, so that a frame recorded on one cable
//! cannot be played back on the other, where its sequence number might still be ahead. On serial a
//! frame travels COBS-encoded with a zero byte behind it, on Ethernet as the payload of one packet.
//!
//! The version is the first byte and the tag is checked first of all, so that heads of neighbouring
//! versions can tell "newer than I know" from "damaged". What a version adds is appended behind what the one before
//! it says: a reader ignores what it does not know there, and takes for absent what an older writer left out. So
//! neighbours understand each other, and heads can be upgraded one at a time.
//!
//! | version | adds to a beat |
//! |---|---|
//! | 1 | |
//! | 2 | a byte of health for each of its pools, and on Ethernet how often each head was fenced lately |
//! | 3 | in every frame, what was heard on the other link ([`Lag`]); and one numbering for the frames of both links |
//!
//! A later release of version 3 says by a bit of each byte of health, which others ignore, that it reads [`Body::Fences`]: a frame of its own
//! for the fences, which has the room on serial that a beat has not. It is sent to no other.
//!
//! A head numbers its frames in the order in which it sends them, on whatever link. So a frame of the one link is known to be
//! older or newer than one of the other, and one number and one byte tell what was heard on both: a peer that hears this
//! head on the one cable only, and is heard on the other only, acknowledges what it hears. To a version 2, which numbers the
//! frames of each link by themselves, only those of the link are acknowledged on it.
//!
//! Rejected: a count of beats beside the numbers, and a second number for the other link. A beat on serial has no room
//! for ten more bytes.

mod lag;

pub use lag::Lag;

use heapless::Vec;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::config::MAX_POOLS;
use crate::fences::Ages;
use crate::mac::keyed;
use crate::{Epoch, HeadId, Health, LinkId};

/// Version that this release speaks. It also accepts its neighbours.
pub const VERSION: u8 = 3;

/// From this version on the frames of both links are numbered together, and acknowledge each other.
pub(crate) const VERSION_OF_ONE_NUMBERING: u8 = 3;

/// Bytes of the tag: 128 bits, which nobody guesses at ten frames a second.
pub const TAG_BYTES: usize = 16;

/// Data bytes of the largest fragment, on Ethernet.
pub const FRAGMENT_MAX_BYTES: usize = 1024;

/// Buffer that holds any frame: the largest fragment, the header and the tag.
pub const FRAME_MAX_BYTES: usize = FRAGMENT_MAX_BYTES + 96;

/// Limit of a beat on the serial line before COBS: 64 bytes on the wire less the code byte and the
/// delimiter. At 115200 baud that is 5.5 ms of a 100 ms interval.
pub const SERIAL_BEAT_MAX_BYTES: usize = 62;

/// Bit of a byte of health: the sender reads [`Body::Fences`].
const TAKES_FENCES: u8 = 0x80;

/// Random number of one boot of one head. Bytes and not an integer: a varint of a random number
/// is longer than the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 8]);

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame<'a> {
    /// [`VERSION`] of the sender.
    pub version: u8,
    /// Cluster id, big-endian.
    pub cluster: [u8; 3],
    /// Who speaks.
    pub sender: HeadId,
    /// This boot of the sender.
    pub incarnation: Incarnation,
    /// The receiver's incarnation as the sender last heard it; `None` before.
    pub echo: Option<Incarnation>,
    /// Grows by one with each frame in this incarnation, on whatever link; begins at one. (By link before version 3.)
    /// A number of 32 bits takes the same bytes, and would end in the seventh year of a boot.
    pub sequence: u64,
    /// Greatest sequence number heard of the incarnation that is echoed: on this link, or with a [`Frame::lag`] on
    /// any; zero for none, and until that incarnation is confirmed. See [`Frame::heard`].
    pub acknowledged: u64,
    /// What is said.
    #[serde(borrow)]
    pub body: Body<'a>,
    /// In beats on Ethernet, and in [`Body::Fences`]: ages in seconds of the fences of the first and the second head within the last
    /// ten minutes, `u16::MAX` where there is none. Behind the rest, since version 2.
    #[serde(skip)]
    pub fences: Option<Ages>,
    /// In beats: the sender reads [`Body::Fences`]. A bit beside the health of its pools.
    #[serde(skip)]
    pub takes_fences: bool,
    /// Where `acknowledged` was heard, and what on the other link. Behind everything else, since version 3; to a peer of
    /// version 3 that is confirmed.
    #[serde(skip)]
    pub lag: Option<Lag>,
}

impl Frame<'_> {
    /// The greatest sequence number of the receiver that the sender had heard on each link, as far as this frame tells;
    /// zero for none. `link`: the one by which it came.
    pub fn heard(&self, link: LinkId) -> [u64; LinkId::ALL.len()] {
        match self.lag {
            Some(lag) => lag.heard(self.acknowledged),
            None => {
                let mut heard = [0; LinkId::ALL.len()];
                heard[link.index()] = self.acknowledged;
                heard
            }
        }
    }
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body<'a> {
    /// A heartbeat.
    Beat {
        /// Digest of the sender's configuration file.
        digest: [u8; 4],
        /// On serial one pool in rotation, on Ethernet all of them.
        pools: Vec<PoolBeat, MAX_POOLS>,
    },
    /// A piece of a larger message.
    Fragment {
        /// Number of the message.
        message: u16,
        /// Bytes of the whole message.
        total: u16,
        /// Where this piece begins.
        offset: u16,
        /// The piece.
        data: &'a [u8],
    },
    /// Says how far a message was received.
    Received {
        /// Number of the message.
        message: u16,
        /// Bytes that are here, from its beginning on.
        have: u16,
    },
    /// [`Frame::fences`] alone, in the place of a beat on serial. Only to a head that said that it reads it.
    Fences,
}

/// What a beat says of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolBeat {
    /// Index in the configuration.
    pub pool: u8,
    /// What the sender does with it.
    pub state: PoolState,
    /// The claim that the sender holds or attempts, else the greatest it knows of.
    pub epoch: Epoch,
    /// What the sender wants of the receiver.
    pub wish: Wish,
    /// What the sender could not serve it with. Behind the rest, since version 2; all is well with a version 1.
    #[serde(skip)]
    pub health: Health,
}

impl PoolBeat {
    /// The sender is about to halt, holds nothing of the pool and takes it no more. No other head says of one pool that it
    /// could not import it and lets go of it for the receiver; a release that does not know this takes it for both, which is what
    /// is to be done: it hands nothing to such a head, and takes what is free.
    pub fn retires(&self) -> bool {
        self.state == PoolState::Faulted && self.wish == Wish::Offer
    }
}

/// What a head does with a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PoolState {
    /// Holds nothing of it and would take it.
    Standby,
    /// Looks at its disks or takes their reservations.
    Claiming,
    /// Holds the claim and activates.
    Importing,
    /// Serves clients.
    Serving,
    /// Lets go.
    Releasing,
    /// Could not import it; holds nothing of it.
    Faulted,
}

impl PoolState {
    /// Whether a head in this state may hold reservations of the pool.
    pub fn may_hold(self) -> bool {
        match self {
            PoolState::Claiming
            | PoolState::Importing
            | PoolState::Serving
            | PoolState::Releasing => true,
            PoolState::Standby | PoolState::Faulted => false,
        }
    }

    /// Whether a head in this state may have the pool's service addresses.
    pub fn answers(self) -> bool {
        match self {
            PoolState::Importing | PoolState::Serving | PoolState::Releasing => true,
            PoolState::Standby | PoolState::Claiming | PoolState::Faulted => false,
        }
    }

    /// Its number in the ledger, which is frozen.
    pub fn number(self) -> u8 {
        match self {
            PoolState::Standby => 0,
            PoolState::Claiming => 1,
            PoolState::Importing => 2,
            PoolState::Serving => 3,
            PoolState::Releasing => 4,
            PoolState::Faulted => 5,
        }
    }

    /// The state with this number.
    pub fn from_number(number: u8) -> Option<PoolState> {
        [
            PoolState::Standby,
            PoolState::Claiming,
            PoolState::Importing,
            PoolState::Serving,
            PoolState::Releasing,
            PoolState::Faulted,
        ]
        .into_iter()
        .find(|state| state.number() == number)
    }

    /// For consoles and logs.
    pub fn name(self) -> &'static str {
        match self {
            PoolState::Standby => "standby",
            PoolState::Claiming => "claiming",
            PoolState::Importing => "importing",
            PoolState::Serving => "serving",
            PoolState::Releasing => "releasing",
            PoolState::Faulted => "faulted",
        }
    }
}

/// What a head wants of its peer, for one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wish {
    /// Nothing.
    None,
    /// "I let go of it for you: take it."
    Offer,
    /// "Let go of it for me."
    Request,
}

/// Why bytes are not a frame of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short to hold a tag.
    #[error("frame too short")]
    Short,
    /// The tag does not fit: damaged, or of somebody without the secret.
    #[error("frame fails authentication")]
    Tag,
    /// Authentic, and of a version that this release does not speak.
    #[error("frame of version {0}, this release speaks {VERSION} and its neighbours")]
    Version(u8),
    /// Authentic, and not decodable.
    #[error("frame does not decode")]
    Encoding,
    /// Of another cluster, or our own frame come back.
    #[error("frame is not from the peer")]
    Sender,
    /// The sequence number was seen before.
    #[error("frame was seen before")]
    Replayed,
    /// Of an incarnation that has not heard us yet: noted, and answered by our next beat.
    #[error("frame of an incarnation that has not heard this head yet")]
    Unconfirmed,
}

/// Encodes a frame and its tag into `buffer`; returns its length.
///
/// # Errors
/// [`FrameError::Short`] when `buffer` cannot hold it; [`FRAME_MAX_BYTES`] always can.
pub fn encode(
    frame: &Frame<'_>,
    link: LinkId,
    secret: &[u8; 32],
    buffer: &mut [u8],
) -> Result<usize, FrameError> {
    let mut length = postcard::to_slice(frame, buffer)
        .map_err(|_| FrameError::Short)?
        .len();
    length += append(frame, &mut buffer[length..]).ok_or(FrameError::Short)?;
    let (content, rest) = buffer.split_at_mut(length);
    let room = rest.get_mut(..TAG_BYTES).ok_or(FrameError::Short)?;
    room.copy_from_slice(&mac(content, link, secret).finalize().into_bytes()[..TAG_BYTES]);
    Ok(length + TAG_BYTES)
}

/// Checks and decodes a frame.
///
/// # Errors
/// [`FrameError::Short`], [`FrameError::Tag`], [`FrameError::Version`] or [`FrameError::Encoding`].
pub fn decode<'a>(
    bytes: &'a [u8],
    link: LinkId,
    secret: &[u8; 32],
) -> Result<Frame<'a>, FrameError> {
    let split = bytes
        .len()
        .checked_sub(TAG_BYTES)
        .ok_or(FrameError::Short)?;
    let (content, tag) = bytes.split_at(split);
    mac(content, link, secret)
        .verify_truncated_left(tag)
        .map_err(|_| FrameError::Tag)?;
    match content.first() {
        Some(&version) if version.abs_diff(VERSION) > 1 => {
            return Err(FrameError::Version(version));
        }
        Some(_) => {}
        None => return Err(FrameError::Short),
    }
    let (mut frame, rest) = postcard::take_from_bytes(content).map_err(|_| FrameError::Encoding)?;
    take_appended(&mut frame, rest);
    Ok(frame)
}

/// Writes what later versions added; returns its length, `None` when there is no room.
fn append(frame: &Frame<'_>, room: &mut [u8]) -> Option<usize> {
    let (pools, fences) = match &frame.body {
        Body::Beat { pools, .. } => (pools.as_slice(), frame.fences),
        Body::Fences => (&[][..], frame.fences),
        Body::Fragment { .. } | Body::Received { .. } => (&[][..], None),
    };
    let takes_fences = u8::from(frame.takes_fences) * TAKES_FENCES;
    let health = pools.iter().map(|beat| beat.health.bits() | takes_fences);
    let ages = fences.iter().flatten().flatten();
    let ages = ages.flat_map(|age| age.to_le_bytes());
    let lag = frame
        .lag
        .filter(|_| frame.version >= VERSION_OF_ONE_NUMBERING);
    let mut length = 0;
    for byte in health.chain(ages).chain(lag.map(Lag::bits)) {
        *room.get_mut(length)? = byte;
        length += 1;
    }
    Some(length)
}

/// Reads what later versions added, as far as it is there.
fn take_appended(frame: &mut Frame<'_>, mut rest: &[u8]) {
    if let Body::Beat { pools, .. } = &mut frame.body
        && let Some((health, more)) = rest.split_at_checked(pools.len())
    {
        for (beat, bits) in pools.iter_mut().zip(health) {
            beat.health = Health::from_bits(*bits);
            frame.takes_fences |= bits & TAKES_FENCES != 0;
        }
        rest = more;
    }
    if matches!(frame.body, Body::Beat { .. } | Body::Fences) {
        let mut ages = Ages::default();
        let count = ages.as_flattened().len();
        if let Some((bytes, more)) = rest.split_at_checked(2 * count) {
            for (age, pair) in ages
                .as_flattened_mut()
                .iter_mut()
                .zip(bytes.chunks_exact(2))
            {
                *age = u16::from_le_bytes([pair[0], pair[1]]);
            }
            frame.fences = Some(ages);
            rest = more;
        }
    }
    if frame.version >= VERSION_OF_ONE_NUMBERING {
        frame.lag = rest.first().copied().map(Lag::from_bits);
    }
}

fn mac(content: &[u8], link: LinkId, secret: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = keyed(secret, link as u8);
    mac.update(content);
    mac
}

#[cfg(test)]
mod tests;
