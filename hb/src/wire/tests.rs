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
    let n = encode(&frame, LinkId::Serial, &SECRET, &mut buffer).unwrap();
    assert!(n <= SERIAL_BEAT_MAX_BYTES, "{n}");
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

/// A beat of version 2 on serial, byte for byte as that release sent it.
#[rustfmt::skip]
const BEAT_2: [u8; 39] = [
    2, 1, 2, 3, 0,
    0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
    1, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
    5, 5,
    0, 9, 8, 7, 6, 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0x0f, 2,
    2,
];

/// Ages of fences, which both versions append on Ethernet.
const AGES: [u8; 12] = [2, 1, 3, 0, 4, 0, 5, 0, 6, 0, 0xff, 0xff];
const FENCES: Ages = [[0x0102, 3, 4], [5, 6, u16::MAX]];

/// Serial is ahead by two frames.
const LAG: u8 = 2;

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
    // What version 2 knows, then a byte for what was heard on the other link.
    assert_eq!(content[0], 3);
    assert_eq!(content[1..BEAT_2.len()], BEAT_2[1..]);
    assert_eq!(content[BEAT_2.len()..], [LAG]);

    let fences = Some(FENCES);
    let frame = Frame { fences, ..beat(5) };
    let n = encode(&frame, LinkId::Ether, &SECRET, &mut buffer).unwrap();
    let content = &buffer[..n - TAG_BYTES];
    assert_eq!(content[BEAT_2.len()..][..AGES.len()], AGES);
    assert_eq!(content[BEAT_2.len() + AGES.len()..], [LAG]);
    assert_eq!(decode(&buffer[..n], LinkId::Ether, &SECRET), Ok(frame));
}

#[test]
fn bytes_of_a_fragment_and_of_a_receipt_are_fixed() {
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
    let bodies: [(Body<'_>, &[u8]); 2] = [
        (fragment, &[1, 1, 0xac, 0x02, 2, 2, 7, 7, LAG]),
        (received, &[2, 1, 0xac, 0x02, LAG]),
    ];
    for (body, bytes) in bodies {
        let mut buffer = [0; FRAME_MAX_BYTES];
        let frame = Frame { body, ..beat(5) };
        let n = encode(&frame, LinkId::Ether, &SECRET, &mut buffer).unwrap();
        const HEADER_BYTES: usize = 24;
        assert_eq!(&buffer[HEADER_BYTES..n - TAG_BYTES], bytes);
        assert_eq!(decode(&buffer[..n], LinkId::Ether, &SECRET), Ok(frame));
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
