//! Golden bytes of this version and the one before, and what must be refused.

use super::*;

const SECRET: [u8; 32] = [7; 32];

fn beat(sequence: u64) -> Frame<'static> {
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
        takes_fences: false,
        lag: Some(Lag::of([sequence, sequence - 2]).1),
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
        // A claim a minute for four years still encodes in three bytes.
        pools[0].epoch = Epoch((1 << 21) - 1);
    }
    let fences = Frame {
        body: Body::Fences,
        fences: Some(FENCES),
        ..frame.clone()
    };
    for frame in [frame, fences] {
        let n = encode(&frame, LinkId::Serial, &SECRET, &mut buffer).unwrap();
        assert!(n <= SERIAL_BEAT_MAX_BYTES, "{n}");
    }
}

#[test]
fn whoever_reads_a_frame_of_fences_says_so_beside_its_health() {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let frame = Frame {
        takes_fences: true,
        ..beat(5)
    };
    let n = encode(&frame, LinkId::Serial, &SECRET, &mut buffer).unwrap();
    // To others it is a bit of health that they do not know.
    let health = buffer[n - TAG_BYTES - 2];
    assert_eq!((health, Health::from_bits(health).bits()), (0x82, 2));
    assert_eq!(decode(&buffer[..n], LinkId::Serial, &SECRET), Ok(frame));
}

/// Ten beats a second on each of two links. From the fifth month on it takes five bytes, for fifty years.
const SEQUENCE_AFTER_A_YEAR: u64 = 366 * 24 * 3600 * 20;

#[test]
fn numbers_go_on_after_the_seventh_year() {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let last = u64::from(u32::MAX);
    for sequence in [last, last + 1, 10 * last] {
        let frame = Frame {
            acknowledged: sequence - 1,
            ..beat(sequence)
        };
        let n = encode(&frame, LinkId::Serial, &SECRET, &mut buffer).unwrap();
        assert_eq!(decode(&buffer[..n], LinkId::Serial, &SECRET), Ok(frame));
    }
}

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

/// A beat of version 2 on serial, byte for byte as that release sent it, but for the tag.
#[rustfmt::skip]
const BEAT_2: [u8; 39] = [
    2, 1, 2, 3, 0,
    0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
    1, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
    5, 5,
    0, 9, 8, 7, 6, 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0x0f, 2,
    2,
];

/// Every frame here begins like it, behind its version.
const HEADER_BYTES: usize = 24;

/// Its body, and the byte of health that is appended for its pool.
const BEAT: &[u8] = BEAT_2.split_at(HEADER_BYTES).1;

/// Of a fragment and of a receipt.
const FRAGMENT: [u8; 8] = [1, 1, 0xac, 0x02, 2, 2, 7, 7];
const RECEIVED: [u8; 4] = [2, 1, 0xac, 0x02];

/// Ages of fences, which both versions append on Ethernet.
const AGES: [u8; 12] = [2, 1, 3, 0, 4, 0, 5, 0, 6, 0, 0xff, 0xff];
const FENCES: Ages = [[0x0102, 3, 4], [5, 6, u16::MAX]];

/// Serial is ahead by two frames.
const LAG: u8 = 2;

/// One frame, whole: what follows the header, and the tag.
struct Golden {
    version: u8,
    link: LinkId,
    body: Body<'static>,
    fences: Option<Ages>,
    end: &'static [&'static [u8]],
    tag: u128,
}

/// Byte for byte as the two releases send them. The tags are not this code's own: they were made by Python's `hmac`, with
/// SHA-256 over the link's number and the bytes before, under [`SECRET`].
#[rustfmt::skip] // a line a frame
fn golden() -> [Golden; 9] {
    use LinkId::{Ether, Serial};
    let fragment = Body::Fragment {
        message: 1,
        total: 300,
        offset: 2,
        data: &[7, 7],
    };
    let received = Body::Received {
        message: 1,
        have: 300,
    };
    let frame = |version, link, body: &Body<'static>, fences, end, tag| Golden {
        version,
        link,
        body: body.clone(),
        fences,
        end,
        tag,
    };
    let (beat, ages) = (&beat(5).body, Some(FENCES));
    [
        frame(2, Serial, beat, None, &[BEAT], 0x2ea6a08b_edd14021_e793c31b_2eb24f32),
        frame(2, Ether, beat, ages, &[BEAT, &AGES], 0xcdd47f73_46a65291_de24f00c_24da9336),
        frame(2, Ether, &fragment, None, &[&FRAGMENT], 0x4cbe3cbe_9435343d_51bad45a_40f7a36c),
        frame(2, Serial, &received, None, &[&RECEIVED], 0x7c2a6a45_7741b86f_8eee83eb_528a23d8),
        frame(3, Serial, beat, None, &[BEAT, &[LAG]], 0x1fa072ae_fe13bc76_3e066016_b8b66aa5),
        frame(3, Ether, beat, ages, &[BEAT, &AGES, &[LAG]], 0x1a05669b_f57c3e38_b1168139_c3e1242c),
        frame(3, Ether, &fragment, None, &[&FRAGMENT, &[LAG]], 0x1f97402d_fcf46f5c_a6f5faa8_ec4da23e),
        frame(3, Serial, &received, None, &[&RECEIVED, &[LAG]], 0xef572db2_f840e559_ff0299dc_72c62ba0),
        frame(3, Serial, &Body::Fences, ages, &[&[3], &AGES, &[LAG]], 0x4a219bb5_e0e08833_b5e743e6_190729a0),
    ]
}

fn tagged(content: &[u8], buffer: &mut [u8]) -> usize {
    let tag = mac(content, LinkId::Serial, &SECRET)
        .finalize()
        .into_bytes();
    buffer[..content.len()].copy_from_slice(content);
    buffer[content.len()..content.len() + TAG_BYTES].copy_from_slice(&tag[..TAG_BYTES]);
    content.len() + TAG_BYTES
}

#[test]
fn bytes_of_whole_frames_are_fixed_and_read() {
    for golden in golden() {
        let lag = beat(5).lag.filter(|_| golden.version > 2);
        let frame = Frame {
            version: golden.version,
            body: golden.body,
            fences: golden.fences,
            lag,
            ..beat(5)
        };
        let mut bytes = [&BEAT_2[..HEADER_BYTES], &golden.end.concat()].concat();
        bytes[0] = golden.version;
        bytes.extend(golden.tag.to_be_bytes());
        let mut buffer = [0; FRAME_MAX_BYTES];
        let n = encode(&frame, golden.link, &SECRET, &mut buffer).unwrap();
        assert_eq!(buffer[..n], bytes, "{frame:?}");
        assert_eq!(decode(&bytes, golden.link, &SECRET), Ok(frame));
    }
}

#[test]
fn one_number_and_one_byte_tell_what_was_heard_on_both_links() {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let n = encode(&beat(5), LinkId::Ether, &SECRET, &mut buffer).unwrap();
    let frame = decode(&buffer[..n], LinkId::Ether, &SECRET).unwrap();
    assert_eq!(frame.heard(LinkId::Ether), [5, 3]);
}

#[test]
fn a_beat_of_version_2_is_read_and_acknowledges_the_frames_of_its_own_link() {
    let mut buffer = [0; FRAME_MAX_BYTES];
    let n = tagged(&BEAT_2, &mut buffer);
    let frame = decode(&buffer[..n], LinkId::Serial, &SECRET).unwrap();
    let Body::Beat { pools, .. } = &frame.body else {
        panic!("{frame:?}");
    };
    assert_eq!((frame.version, frame.sequence), (2, 5));
    assert!(!pools[0].health.shelf && pools[0].health.network);
    assert_eq!((frame.fences, frame.lag), (None, None));
    assert_eq!(frame.heard(LinkId::Serial), [5, 0]);
    assert_eq!(frame.heard(LinkId::Ether), [0, 5]);

    let mut content = BEAT_2.to_vec();
    content.extend(AGES);
    let n = tagged(&content, &mut buffer);
    let frame = decode(&buffer[..n], LinkId::Serial, &SECRET).unwrap();
    assert_eq!((frame.fences, frame.lag), (Some(FENCES), None));
}

/// Version 2 read a frame with `postcard::take_from_bytes` and of what is behind it a byte a pool, then the ages.
#[test]
fn a_reader_of_version_2_understands_a_beat_of_today() {
    let mut buffer = [0; FRAME_MAX_BYTES];
    for (link, fences) in [(LinkId::Serial, None), (LinkId::Ether, Some(FENCES))] {
        for lag in [None, beat(5).lag] {
            // What is sent before the peer is known, and what it would get if it were of today.
            let frame = Frame {
                fences,
                lag,
                ..beat(5)
            };
            let n = encode(&frame, link, &SECRET, &mut buffer).unwrap();
            let (read, rest): (Frame<'_>, _) =
                postcard::take_from_bytes(&buffer[..n - TAG_BYTES]).unwrap();
            let Body::Beat { pools, .. } = &read.body else {
                panic!("{read:?}");
            };
            assert_eq!((read.sequence, pools[0].state), (5, PoolState::Serving));
            assert_eq!(rest[0], 2);
            match fences {
                Some(_) => assert_eq!(rest[1..][..AGES.len()], AGES),
                None => assert!(rest.len() < 1 + AGES.len()),
            }
        }
    }
    assert!(
        VERSION.abs_diff(2) <= 1,
        "version 2 takes its neighbours only"
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
        if version < VERSION {
            frame.lag = None;
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
