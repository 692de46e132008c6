//! Where the corpus begins: inputs that are worth something from the start, by what they are.
//!
//! They are made here and not kept as files, so that they follow the format. What a long run found beyond
//! them lies in `corpus/`.

use orthrus_hb::wire::{Body, Frame, Lag, PoolBeat, PoolState, VERSION, Wish};
use orthrus_hb::{Epoch, HeadId, Health, Incarnation, MAX_POOLS};

use crate::head::{plain, step};

/// Seeds of the target with this name.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds: Vec<(&str, Vec<u8>)> = match target {
        "frame" => frames(),
        "ledger" => records(),
        "head" => scripts(),
        _ => vec![
            (
                "one-message",
                vec![0, 0, 0, 100, 0, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0, 0, 2],
            ),
            (
                "longest-message",
                vec![1, 0, 0, 0, 12, 0, 0, 1, 0, 1, 3, 0, 0, 2],
            ),
        ],
    };
    seeds
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let pool = PoolBeat {
        pool: 0,
        state: PoolState::Serving,
        epoch: Epoch(u32::MAX),
        wish: Wish::Request,
        health: Health::default(),
    };
    let frame = |body| Frame {
        version: VERSION,
        cluster: [1, 2, 3],
        sender: HeadId::First,
        incarnation: Incarnation([0x11; 8]),
        echo: Some(Incarnation([0x22; 8])),
        sequence: 5,
        acknowledged: 4,
        body,
        fences: None,
        takes_fences: false,
        lag: Some(Lag::of([1, 4]).1),
    };
    let beat = |pools: usize| {
        frame(Body::Beat {
            digest: [9, 8, 7, 6],
            pools: std::iter::repeat_n(pool, pools).collect(),
        })
    };
    let ether = |content: Vec<u8>| [&[1], content.as_slice()].concat();
    let serial = |content: Vec<u8>| [&[0], content.as_slice()].concat();
    let mut appended = plain(&beat(1));
    appended.extend([1, 2, 3]);
    // A length of 9 where 8 is the most: the pools' count is the byte before the first pool; behind them is the lag.
    let mut crowded = plain(&beat(MAX_POOLS));
    let count = plain(&beat(0)).len() - 2;
    crowded[count] = MAX_POOLS as u8 + 1;
    crowded.extend_from_within(count + 1..count + 9);
    let mut overlong = plain(&beat(0));
    // The sequence number 5 in two bytes.
    let sequence = 1 + 3 + 1 + 8 + 9;
    overlong[sequence] = 0x85;
    overlong.insert(sequence + 1, 0);
    let fragment = frame(Body::Fragment {
        message: 1,
        total: 300,
        offset: 100,
        data: &[7; 96],
    });
    let unheard = Frame {
        echo: None,
        ..beat(1)
    };
    let older = Frame {
        version: VERSION - 1,
        lag: None,
        ..beat(1)
    };
    let newer = Frame {
        version: VERSION + 1,
        ..beat(1)
    };
    let newest = Frame {
        version: VERSION + 2,
        ..beat(1)
    };
    let fences = Frame {
        fences: Some([[0, 60, u16::MAX], [u16::MAX; 3]]),
        ..frame(Body::Fences)
    };
    vec![
        ("fences-on-serial", serial(plain(&fences))),
        ("serial-beat", serial(plain(&beat(1)))),
        ("ether-beat-of-all-pools", ether(plain(&beat(MAX_POOLS)))),
        ("beat-of-more-pools-than-there-are", ether(crowded)),
        ("beat-with-appended-field", ether(appended)),
        ("overlong-number", ether(overlong)),
        ("fragment", serial(plain(&fragment))),
        (
            "received",
            serial(plain(&frame(Body::Received {
                message: 1,
                have: 96,
            }))),
        ),
        ("beat-before-the-peer-is-heard", serial(plain(&unheard))),
        ("beat-of-the-version-before", serial(plain(&older))),
        ("beat-of-the-next-version", serial(plain(&newer))),
        ("beat-of-the-version-after-that", serial(plain(&newest))),
        ("nothing", Vec::new()),
    ]
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    // Behind the byte that has format, place and sums put right: head and state, flags, epoch, lease, sequence.
    let record = |head: u8, state: u8, flags: u8| {
        let mut record = vec![0; 65];
        record[10..13].copy_from_slice(&[head, state, flags]);
        record[33..41].fill(0x11);
        record[41] = 7;
        record[45..57].copy_from_slice(&[0xa0, 0x0f, 0, 0, 0x10, 0x27, 0, 0, 0x40, 0x1f, 0, 0]);
        record[57] = 6;
        record
    };
    let mut reserved = record(1, 3, 0);
    reserved.extend([0; 35]);
    reserved[70] = 1;
    let mut format = vec![1];
    format.extend(b"OrthrusL\x02");
    vec![
        ("owner", record(1, 3, 0)),
        ("owner-with-lease-and-watchdog", record(2, 3, 3)),
        ("lease-without-watchdog", record(2, 2, 1)),
        ("flags-of-a-later-release", record(2, 3, 0xff)),
        ("reserved-bytes-in-use", reserved),
        ("no-such-head", record(3, 3, 0)),
        ("no-such-state", record(1, 6, 0)),
        ("format-of-a-later-release", format),
        ("never-written", vec![2; 1]),
        ("torn", [&[2], b"OrthrusL".as_slice(), &[0; 120]].concat()),
    ]
}

/// Scripts from a boot on; see `head` for their language.
fn scripts() -> Vec<(&'static str, Vec<u8>)> {
    use step::*;
    // Alone: 15 s of waiting, then survey, claim, import.
    let alone = [0, BEATS, 160, OUTCOME, 0, 0, OUTCOME, 0, 0, OUTCOME, 0, 0];
    // The peer serves pool 0 under epoch 5, and falls silent.
    let heir = [
        1, NO_LEDGER, 0, NO_LEDGER, 1, SAY, 0, 0, 3, 5, 0, TALK, 20, BEATS, 12, OUTCOME, 1, 5,
        OUTCOME, 0, 0, OUTCOME, 0, 0,
    ];
    let with = |head: &[u8], tail: &[u8]| [head, tail].concat();
    vec![
        ("alone", alone.to_vec()),
        ("heir-of-a-dead-peer", heir.to_vec()),
        ("reservation-lost", with(&alone, &[FENCE_LOST, 0, 1])),
        (
            "reservation-of-an-old-epoch-lost",
            with(&heir, &[FENCE_LOST, 0, 5]),
        ),
        ("paused-owner", with(&alone, &[GAP, 30, BEATS, 1])),
        (
            "handover",
            with(&alone, &[TALK, 20, COMMAND, 0, 0, OUTCOME, 0, 0, TALK, 5]),
        ),
        (
            "peer-serves-under-a-newer-epoch",
            with(&alone, &[TALK, 20, SAY, 0, 0, 3, 9, 0, TALK, 3]),
        ),
        (
            "claim-that-hangs",
            vec![
                0, BEATS, 160, OUTCOME, 0, 0, BEATS, 255, BEATS, 255, BEATS, 255, BEATS, 255,
                BEATS, 255,
            ],
        ),
        (
            "stale-keys-of-a-living-peer",
            vec![
                0, TALK, 160, OUTCOME, 1, 9, TALK, 5, OUTCOME, 0, 0, OUTCOME, 0, 0,
            ],
        ),
        (
            "boots-of-the-peer",
            vec![
                0, TALK, 10, PEER_BOOTS, TALK, 10, BEATS, 12, PEER_BOOTS, TALK, 5,
            ],
        ),
        (
            "message-comes-in",
            vec![
                0, TALK, 10, FRAGMENT, 1, 1, 0, 10, 0, 0, 0, 4, 1, 2, 3, 4, FRAGMENT, 1, 1, 0, 10,
                0, 4, 0, 6, 5, 6, 7, 8, 9, 10,
            ],
        ),
        (
            "message-goes-out",
            vec![
                0, TALK, 10, MESSAGE, 0, 8, TALK, 0, RECEIVED, 1, 1, 0, 0, 4, TALK, 2,
            ],
        ),
        (
            "frame-played-back",
            vec![0, TALK, 10, REPLAY, TALK, 1, REPLAY],
        ),
        (
            "retires-as-owner",
            with(&alone, &[TALK, 3, RETIRE, OUTCOME, 0, 0]),
        ),
        (
            "last-epoch",
            vec![0, BEATS, 160, OUTCOME, 0, 255, BEATS, 60],
        ),
        (
            "junk",
            vec![
                0, JUNK, 0, 3, 1, 2, 3, CONTENT, 0, 3, 1, 1, 2, BODY, 0, 4, 0, 9, 9, 9,
            ],
        ),
    ]
}
