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

use heapless::Vec;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::config::MAX_POOLS;
use crate::fences::Ages;
use crate::{Epoch, HeadId, Health, LinkId};

/// Version that this release speaks. It also accepts its neighbours.
pub const VERSION: u8 = 2;

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
    /// In beats on Ethernet: ages in seconds of the fences of the first and the second head within the last
    /// ten minutes, `u16::MAX` where there is none. Behind the rest, since version 2.
    #[serde(skip)]
    pub fences: Option<Ages>,
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
    let Body::Beat { pools, .. } = &frame.body else {
        return Some(0);
    };
    if frame.version < 2 {
        return Some(0);
    }
    let fences = frame.fences.iter().flatten().flatten();
    let ages = fences.flat_map(|age| age.to_le_bytes());
    let mut length = 0;
    for byte in pools.iter().map(|beat| beat.health.bits()).chain(ages) {
        *room.get_mut(length)? = byte;
        length += 1;
    }
    Some(length)
}

/// Reads what later versions added, as far as it is there.
fn take_appended(frame: &mut Frame<'_>, mut rest: &[u8]) {
    let Body::Beat { pools, .. } = &mut frame.body else {
        return;
    };
    if let Some((health, more)) = rest.split_at_checked(pools.len()) {
        for (beat, bits) in pools.iter_mut().zip(health) {
            beat.health = Health::from_bits(*bits);
        }
        rest = more;
    }
    let mut ages = Ages::default();
    let count = ages.as_flattened().len();
    if let Some(bytes) = rest.get(..2 * count) {
        for (age, pair) in ages
            .as_flattened_mut()
            .iter_mut()
            .zip(bytes.chunks_exact(2))
        {
            *age = u16::from_le_bytes([pair[0], pair[1]]);
        }
        frame.fences = Some(ages);
    }
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
            health: Health {
                shelf: false,
                network: true,
            },
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
            fences: None,
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
        let mut frame = beat(SEQUENCE_AFTER_A_YEAR);
        if let Body::Beat { pools, .. } = &mut frame.body {
            // A claim a second for eight years still encodes in four bytes.
            pools[0].epoch = Epoch((1 << 28) - 1);
        }
        let n = encode(&frame, LinkId::Serial, &SECRET, &mut buffer).unwrap();
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

    /// A beat of version 1, byte for byte as that release sent it.
    #[rustfmt::skip]
    const BEAT_1: [u8; 42] = [
        1, 1, 2, 3, 0,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        1, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
        5, 5,
        0, 9, 8, 7, 6, 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0x0f, 2,
        0, 0, 0, 0,
    ];
    const BEAT_1_BYTES: usize = 38;

    fn tagged(content: &[u8], buffer: &mut [u8]) -> usize {
        let tag = mac(content, LinkId::Serial, &SECRET)
            .finalize()
            .into_bytes();
        buffer[..content.len()].copy_from_slice(content);
        buffer[content.len()..content.len() + TAG_BYTES].copy_from_slice(&tag[..TAG_BYTES]);
        content.len() + TAG_BYTES
    }

    #[test]
    fn bytes_of_a_beat_are_fixed() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(&beat(5), LinkId::Serial, &SECRET, &mut buffer).unwrap();
        let content = &buffer[..n - TAG_BYTES];
        // What version 1 knows, then a byte of health.
        assert_eq!(content[0], VERSION);
        assert_eq!(content[1..BEAT_1_BYTES], BEAT_1[1..BEAT_1_BYTES]);
        assert_eq!(content[BEAT_1_BYTES..], [2]);

        let fences = Some([[0x0102, 3, 4], [5, 6, u16::MAX]]);
        let frame = Frame { fences, ..beat(5) };
        let n = encode(&frame, LinkId::Ether, &SECRET, &mut buffer).unwrap();
        let ages = [2, 1, 3, 0, 4, 0, 5, 0, 6, 0, 0xff, 0xff];
        assert_eq!(buffer[BEAT_1_BYTES + 1..n - TAG_BYTES], ages);
        assert_eq!(decode(&buffer[..n], LinkId::Ether, &SECRET), Ok(frame));
    }

    #[test]
    fn a_beat_of_version_1_is_read_and_its_pools_are_taken_for_well() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = tagged(&BEAT_1[..BEAT_1_BYTES], &mut buffer);
        let frame = decode(&buffer[..n], LinkId::Serial, &SECRET).unwrap();
        let Body::Beat { pools, .. } = &frame.body else {
            panic!("{frame:?}");
        };
        assert_eq!((frame.version, frame.sequence), (1, 5));
        assert_eq!(pools[0].health, Health::default());
        assert_eq!(frame.fences, None);
    }

    /// Version 1 read a frame with `postcard::from_bytes`, which stops where the frame ends.
    #[test]
    fn a_reader_of_version_1_understands_a_beat_of_today() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let fences = Some([[1; 3]; 2]);
        let n = encode(
            &Frame { fences, ..beat(5) },
            LinkId::Serial,
            &SECRET,
            &mut buffer,
        )
        .unwrap();
        let read: Frame<'_> = postcard::from_bytes(&buffer[..n - TAG_BYTES]).unwrap();
        let Body::Beat { pools, .. } = &read.body else {
            panic!("{read:?}");
        };
        assert_eq!((read.sequence, pools[0].state), (5, PoolState::Serving));
        assert!(
            VERSION.abs_diff(1) <= 1,
            "version 1 takes its neighbours only"
        );
    }

    #[test]
    fn what_a_later_version_appends_is_ignored() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let fences = Some([[1; 3]; 2]);
        let frame = Frame {
            version: VERSION + 1,
            fences,
            ..beat(5)
        };
        let n = encode(&frame, LinkId::Serial, &SECRET, &mut buffer).unwrap() - TAG_BYTES;
        let mut content = [0xaa; FRAME_MAX_BYTES - TAG_BYTES];
        content[..n].copy_from_slice(&buffer[..n]);
        let n = tagged(&content[..n + 7], &mut buffer);
        assert_eq!(decode(&buffer[..n], LinkId::Serial, &SECRET), Ok(frame));
    }

    #[test]
    fn neighbouring_versions_are_read_and_others_named() {
        let mut buffer = [0; FRAME_MAX_BYTES];
        for (version, readable) in [
            (VERSION - 1, true),
            (VERSION + 1, true),
            (VERSION + 2, false),
        ] {
            let mut frame = Frame { version, ..beat(5) };
            if let (Body::Beat { pools, .. }, true) = (&mut frame.body, version < 2) {
                pools[0].health = Health::default();
            }
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
