//! Every cable is cut between two heads that each hold a pool: the first goes first.
//!
//! A world of its own: of two pools, in which work takes no time and disks are whoever's claimed them.

use embassy_time::{Duration, Instant};
use orthrus_hb::wire::{self, Body, Frame};
use orthrus_hb::{
    Action, ClusterId, Config, Done, Epoch, FRAME_MAX_BYTES, Head, HeadId, Holder, Incarnation,
    Job, LinkId, Outcome, PoolConfig, PoolId, PoolState, Timing, Work,
};

const STEP: Duration = Duration::from_millis(10);
const IDS: [HeadId; 2] = [HeadId::First, HeadId::Second];
const SECRET: [u8; 32] = [3; 32];
/// Ages in seconds of the last fences of both heads, as beats carry them.
const FENCED: [[u16; 3]; 2] = [[0, 60, 120]; 2];

fn head(me: HeadId, now: Instant) -> Head {
    let config = Config {
        cluster: ClusterId::from_name("test"),
        me,
        secret: SECRET,
        digest: 1,
        timing: Timing::default(),
        pools: IDS.map(|home| PoolConfig { home }).into_iter().collect(),
    };
    let mut head = Head::new(config, Incarnation([me.number(); 8]), now);
    for pool in [0, 1] {
        head.handle_no_ledger(PoolId(pool), now);
    }
    head
}

/// Does what a head asks for until it asks for nothing; the jobs.
fn work(head: &mut Head, now: Instant) -> Vec<Job> {
    let mut jobs = Vec::new();
    while let Some(action) = head.poll_action() {
        let Action::Run(job) = action else {
            panic!("{action:?}")
        };
        jobs.push(job);
        let done = match job.work {
            Work::Survey | Work::Inspect => Done::Surveyed {
                greatest: Epoch::NONE,
                holder: Holder::Nobody,
            },
            Work::Claim { .. } | Work::Make => Done::Claimed,
            Work::Import => Done::Imported,
            Work::Release | Work::Destroy => Done::Released,
        };
        let (pool, ticket, epoch) = (job.pool, job.ticket, job.epoch);
        let outcome = Outcome {
            pool,
            ticket,
            epoch,
            result: Ok(done),
        };
        head.handle_outcome(&outcome, now);
    }
    jobs
}

/// A beat that tells of three fences of each head.
fn telling_of_fences(link: LinkId, frame: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let frame = wire::decode(frame, link, &SECRET).expect("a head sent it");
    let beat = matches!(frame.body, Body::Beat { .. });
    let frame = Frame {
        fences: Some(FENCED),
        ..frame
    };
    beat.then(|| wire::encode(&frame, link, &SECRET, buffer).expect("there is room"))
}

/// The cables between the heads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cables {
    Plugged,
    /// And each tells the other of fences that were.
    TellOfFences,
    Cut,
}

/// One step of both heads, and of the cables between them; who looks at disks in it.
fn step(heads: &mut [Head; 2], now: Instant, cables: Cables) -> [bool; 2] {
    let mut looks = [false; 2];
    for who in [0, 1] {
        if now >= heads[who].poll_timeout() {
            heads[who].handle_timeout(now);
        }
        let jobs = work(&mut heads[who], now);
        looks[who] = jobs.iter().any(|job| job.work == Work::Survey);
        for link in LinkId::ALL {
            let mut buffer = [0; FRAME_MAX_BYTES];
            while let Some(length) = heads[who].poll_transmit(link, now, &mut buffer) {
                let mut told = [0; FRAME_MAX_BYTES];
                let frame = match cables {
                    Cables::Plugged => Some(&buffer[..length]),
                    Cables::TellOfFences if link == LinkId::Ether => {
                        telling_of_fences(link, &buffer[..length], &mut told)
                            .map(|length| &told[..length])
                    }
                    Cables::TellOfFences => Some(&buffer[..length]),
                    Cables::Cut => None,
                };
                if let Some(frame) = frame {
                    let _ = heads[1 - who].handle_frame(link, frame, now);
                }
            }
        }
    }
    looks
}

/// How long after the cut of all cables each begins to claim the other's pool.
fn begin_after_a_cut(before: Cables) -> [Duration; 2] {
    let mut now = Instant::from_secs(1000);
    let mut heads = IDS.map(|me| head(me, now));
    for _ in 0..3000 {
        now += STEP;
        step(&mut heads, now, before);
    }
    for (who, head) in heads.iter().enumerate() {
        assert_eq!(head.pools()[who].state(), PoolState::Serving);
        assert_eq!(head.pools()[1 - who].state(), PoolState::Standby);
        for id in IDS {
            assert_eq!(head.fences(id).1, before == Cables::TellOfFences);
        }
    }
    let cut = now;
    let mut began = [None; 2];
    while began.contains(&None) {
        now += STEP;
        for (who, looks) in step(&mut heads, now, Cables::Cut).into_iter().enumerate() {
            if looks {
                began[who].get_or_insert(now.saturating_duration_since(cut));
            }
        }
        assert!(now < cut + Duration::from_secs(60), "{began:?}");
    }
    began.map(|began| began.expect("both began"))
}

#[test]
fn of_two_heads_that_lose_each_other_the_second_waits_for_the_first() {
    let [first, second] = begin_after_a_cut(Cables::Plugged);
    let timing = Timing::default();
    // The last frames came up to a beat before the cut, and silence is counted in whole beats.
    let slack = timing.beat * 2;
    assert!(first <= timing.dead + slack, "{first}");
    // By then the first has claimed, and this head's watch has reset it.
    assert!(second + slack >= timing.dead + timing.duel_wait, "{second}");
}

#[test]
fn of_two_heads_that_are_barred_the_second_waits_for_the_first() {
    let [first, second] = begin_after_a_cut(Cables::TellOfFences);
    let timing = Timing::default();
    assert!(first + timing.beat * 2 >= timing.barred_dead, "{first}");
    let apart = second.checked_sub(first).expect("the first goes first");
    assert!(apart + timing.beat * 2 >= timing.duel_wait, "{apart}");
}
