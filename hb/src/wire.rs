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
//! versions can tell "newer than I know" from "damaged".

use heapless::Vec;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::config::MAX_POOLS;
use crate::{Epoch, HeadId, LinkId};

/// Version that this release speaks. It also accepts its neighbours.
pub const VERSION: u8 = 1;

/// Bytes of the tag: 128 bits, which nobody guesses at ten frames a second.
pub const TAG_BYTES: usize = 16;

/// Data bytes of the largest fragment, on Ethernet.
pub const FRAGMENT_MAX_BYTES: usize = 1024;

/// Buffer that holds any frame: the largest fragment, the header and the tag.
pub const FRAME_MAX_BYTES: usize = FRAGMENT_MAX_BYTES + 96;

/// Limit of a beat on the serial line before COBS: 64 bytes on the wire less the code byte and the
/// delimiter. At 115200 baud that is 5.5 ms of a 100 ms interval.
pub const SERIAL_BEAT_MAX_BYTES: usize = 62;

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
    /// Grows by one with each frame on this link in this incarnation; begins at one.
    pub sequence: u32,
    /// Greatest sequence number heard on this link of the incarnation that is echoed; zero for none, and
    /// until that incarnation is confirmed.
    pub acknowledged: u32,
    /// What is said.
    #[serde(borrow)]
    pub body: Body<'a>,
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
}

/// What a beat says of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolBeat {
    /// Index in the configuration.
    pub pool: u8,
    /// What the sender does with it.
    pub state: PoolState,
    /// The claim that the sender holds or attempts, else the greatest it knows of.
    pub epoch: Epoch,
    /// What the sender wants of the receiver.
    pub wish: Wish,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    let length = postcard::to_slice(frame, buffer)
        .map_err(|_| FrameError::Short)?
        .len();
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
    postcard::from_bytes(content).map_err(|_| FrameError::Encoding)
}

fn mac(content: &[u8], link: LinkId, secret: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros to the block of its hash; this constructor wants the block.
    let mut block = [0; 64];
    block[..secret.len()].copy_from_slice(secret);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(&[link as u8]);
    mac.update(content);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn beat(sequence: u32) -> Frame<'static> {
        let pool = PoolBeat {
            pool: 0,
            state: PoolState::Serving,
            epoch: Epoch(u32::MAX),
            wish: Wish::Request,
        };
        Frame {
            version: VERSION,
            cluster: [1, 2, 3],
            sender: HeadId::First,
            incarnation: Incarnation([0x11; 8]),
            echo: Some(Incarnation([0x22; 8])),
            sequence,
            acknowledged: sequence,
            body: Body::Beat {
                digest: [9, 8, 7, 6],
                pools: Vec::from_slice(&[pool]).unwrap(),
            },
        }
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(&beat(5), LinkId::Ether, &SECRET, &mut buffer).unwrap();
        assert_eq!(decode(&buffer[..n], LinkId::Ether, &SECRET), Ok(beat(5)));
    }

    #[test]
    fn the_longest_beat_of_one_pool_fits_the_serial_line() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(
            &beat(SEQUENCE_AFTER_A_YEAR),
            LinkId::Serial,
            &SECRET,
            &mut buffer,
        )
        .unwrap();
        assert!(n <= SERIAL_BEAT_MAX_BYTES, "{n}");
    }

    /// Ten beats a second for eight years still encode in four bytes.
    const SEQUENCE_AFTER_A_YEAR: u32 = 366 * 24 * 3600 * 10;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(&beat(5), LinkId::Serial, &SECRET, &mut buffer).unwrap();
        for bit in 0..n * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                decode(&buffer[..n], LinkId::Serial, &SECRET),
                Err(FrameError::Tag)
            );
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_frame_of_one_cable_is_not_one_of_the_other() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(&beat(5), LinkId::Serial, &SECRET, &mut buffer).unwrap();
        assert_eq!(
            decode(&buffer[..n], LinkId::Ether, &SECRET),
            Err(FrameError::Tag)
        );
        assert_eq!(
            decode(&buffer[..n], LinkId::Serial, &[8; 32]),
            Err(FrameError::Tag)
        );
        assert_eq!(
            decode(&buffer[..15], LinkId::Serial, &SECRET),
            Err(FrameError::Short)
        );
    }

    #[test]
    fn bytes_of_a_beat_are_fixed() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(&beat(5), LinkId::Serial, &SECRET, &mut buffer).unwrap();
        #[rustfmt::skip]
        let golden = [
            1, 1, 2, 3, 0,
            0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
            1, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
            5, 5,
            0, 9, 8, 7, 6, 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0x0f, 2,
        ];
        assert_eq!(&buffer[..n - TAG_BYTES], &golden);
    }

    #[test]
    fn neighbouring_versions_are_read_and_others_named() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        for (version, readable) in [
            (VERSION - 1, true),
            (VERSION + 1, true),
            (VERSION + 2, false),
        ] {
            let frame = Frame { version, ..beat(5) };
            let n = encode(&frame, LinkId::Ether, &SECRET, &mut buffer).unwrap();
            let expected = if readable {
                Ok(frame)
            } else {
                Err(FrameError::Version(version))
            };
            assert_eq!(decode(&buffer[..n], LinkId::Ether, &SECRET), expected);
        }
    }
}
