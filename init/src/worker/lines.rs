//! Tests: each way in which a claim fails has its line in `status`, with the disk and what ends it. Those that succeed are in
//! [`super::told`].

use orthrus_hb::{Epoch, Health, Key, LedgerState, Liveness, PoolState, Rest, Ticket};

use super::tests::{CONFIG, worker};
use super::*;
use crate::fence::lease::LeaseError;
use crate::fence::reservations::{Answer, ReadError, Trouble, WriteRefused};
use crate::fence::{ClaimError, Stranger};
use crate::ledger::SlotError;
use crate::status::{PoolSnapshot, Snapshot, Sources, Status, Usage};

/// What `status` says on head a once a claim has failed like this.
fn line(error: JobError) -> String {
    let mut worker = worker();
    let job = Job {
        pool: PoolId(0),
        ticket: Ticket(1),
        epoch: Epoch(5),
        peer_is_done: true,
        work: Work::Survey,
    };
    let failure = worker.note(&job, Err(error), 5).unwrap_err();
    let (state, rest, fault) = match failure {
        Failure::HeldByPeer(epoch) => {
            let rest = Rest::HeldByUnheardPeer(epoch);
            (PoolState::Standby, Some(rest), None)
        }
        fault => (PoolState::Faulted, None, Some(fault)),
    };
    said(&worker, state, rest, fault)
}

/// What `status` says on head a, whose peer is not heard.
pub(super) fn said(
    worker: &Worker,
    state: PoolState,
    rest: Option<Rest>,
    fault: Option<Failure>,
) -> String {
    let snapshot = Snapshot {
        liveness: Liveness::Unheard,
        pools: heapless::Vec::from_slice(&[PoolSnapshot {
            state,
            epoch: Epoch(5),
            rest,
            fault,
            peer: None,
            ledger: LedgerState::None,
            health: Health::default(),
            peer_health: Health::default(),
        }])
        .unwrap(),
        ..Snapshot::default()
    };
    let config = Config::parse(CONFIG).unwrap();
    let reports = [lock(&worker.report).clone()];
    Status::of(&Sources {
        config: Some((&config, HeadId::First)),
        config_error: None,
        snapshot: &snapshot,
        reports: &reports,
        ledgers: &[crate::ledger::LedgerReport::default()],
        watchdog: None,
        uptime_s: 60,
        usage: Usage::default(),
    })
    .summary()
}

#[test]
fn each_outcome_of_fencing_has_its_line_in_status() {
    let disk = || "sdx".to_owned();
    let (limit, epoch) = (Duration::from_secs(20), Epoch(7));
    let read = |source| ClaimError::Read {
        disk: disk(),
        source,
    };
    let victim = Key {
        cluster: worker().config.cluster_id,
        head: HeadId::First,
        epoch: Epoch(4),
    };
    let cases: [(ClaimError, &[&str]); 17] = [
        (
            ClaimError::HeldByPeer {
                disk: disk(),
                epoch,
            },
            &["reserved by head b under epoch 7", "takeover tank"],
        ),
        (
            ClaimError::LostRace {
                disk: disk(),
                epoch,
            },
            &["reserved by head b under epoch 7", "takeover tank"],
        ),
        (
            ClaimError::Stranger {
                disk: disk(),
                stranger: Stranger::Registrant(0x1234),
            },
            &[
                "a stranger holds its disks",
                "sdx",
                "0x0000000000001234",
                "sg_persist",
            ],
        ),
        (
            ClaimError::Stranger {
                disk: disk(),
                stranger: Stranger::AllRegistrants { kind: 7 },
            },
            &["sdx: reserved for all registrants", "type 7", "sg_persist"],
        ),
        (
            ClaimError::TimedOut {
                disk: disk(),
                limit,
            },
            &["sdx: does not answer within 20 s", "cables", "pull it out"],
        ),
        (
            read(ReadError::TimedOut(limit)),
            &["sdx: does not answer within 20 s", "cables", "pull it out"],
        ),
        (
            read(ReadError::Reserved),
            &["sdx: another host holds it by the older RESERVE"],
        ),
        (
            read(ReadError::Unsupported),
            &["sdx: has no persistent reservations", "take this one out"],
        ),
        (
            ClaimError::CannotWrite {
                disk: disk(),
                source: WriteRefused::Conflict,
            },
            &[
                "sdx: reservation conflict on a write",
                "not registered",
                "check this head's cables",
                "boot the other head",
            ],
        ),
        (
            ClaimError::CannotWrite {
                disk: disk(),
                source: WriteRefused::Failed(Trouble::Errno(libc::EIO)),
            },
            &["sdx: write failed: Input/output error", "pull it out"],
        ),
        (
            ClaimError::CannotWrite {
                disk: disk(),
                source: WriteRefused::Paths {
                    shown: 1,
                    registered: 2,
                },
            },
            &[
                "sdx: 2 paths to it were registered",
                "does not belong there",
            ],
        ),
        (
            ClaimError::Unremovable {
                disk: disk(),
                victim,
                answer: Answer::Conflict,
            },
            &[
                &format!(
                    "sdx: PREEMPT has no effect on key {victim}, answered reservation conflict"
                ),
                "boot the other head",
                "sg_persist --out --clear",
            ],
        ),
        (
            ClaimError::NoEffect {
                disk: disk(),
                step: "RESERVE",
                answer: Answer::Refused,
            },
            &[
                "sdx: RESERVE has no effect, answered refused as unknown",
                "take the power from the disk",
            ],
        ),
        (
            ClaimError::ReadBack {
                disk: disk(),
                found: "registered: ; holder: nobody".to_owned(),
            },
            &[
                "sdx: read-back shows registered: ; holder: nobody",
                "check its power",
                "no other host",
            ],
        ),
        (
            ClaimError::Restless { disk: disk() },
            &["sdx: registrations keep changing", "--read-full-status"],
        ),
        (
            ClaimError::Overtaken { disk: disk() },
            &["sdx: our registration was removed", "the other head"],
        ),
        (
            ClaimError::InUse { disk: disk() },
            &["sdx: in use in this head's own kernel", "reboot"],
        ),
    ];
    for (error, words) in cases {
        assert_line(error.into(), words);
    }
}

#[test]
fn each_outcome_of_a_claim_by_lease_has_its_line_in_status() {
    let epoch = Epoch(7);
    let copy = || SlotError::Copy {
        copy: 1,
        disk: "sdx".to_owned(),
        trouble: "no answer within 1 s".to_owned(),
    };
    let no_answer = "copy 1 of the ledger, on sdx: no answer within 1 s";
    let held = ["reserved by head b under epoch 7", "takeover tank"];
    let cases: [(JobError, &[&str]); 8] = [
        (
            LeaseError::NoWatchdog.into(),
            &["armed hardware watchdog", "enable it in the BIOS"],
        ),
        (
            LeaseError::NoTerms { epoch }.into(),
            &[
                "the peer holds the disks under epoch 7",
                "turn it off",
                "make them anew",
            ],
        ),
        (LeaseError::HeldByPeer { epoch }.into(), &held),
        (LeaseError::LostRace { epoch }.into(), &held),
        (
            LeaseError::Slow.into(),
            &["the ledger answers too slowly", "cables of the disks"],
        ),
        (
            LeaseError::Slots(copy()).into(),
            &[no_answer, "check that disk's power"],
        ),
        (copy().into(), &[no_answer, "check that disk's power"]),
        (
            SlotError::Absent.into(),
            &[
                "a lease on them cannot be had",
                "no ledger",
                "make it on a host with lvm2",
            ],
        ),
    ];
    for (error, words) in cases {
        assert_line(error, words);
    }
}

fn assert_line(error: JobError, words: &[&str]) {
    let said = line(error);
    assert!(said.contains("redundant: NO"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

#[test]
fn a_stranger_beside_the_owners_key_is_told_while_it_serves() {
    let worker = worker();
    let shelf = crate::fence::shelf::Shelf::new(2);
    let mut claimant = super::tests::claimant(&shelf);
    let claim = claimant.claim.take().unwrap();
    shelf.disk(1).registrants.push((7, 0x77));
    let watch = claim.fence.watch(claim.key, Arc::new(|_| ()));
    while watch.alarms().is_empty() {
        std::thread::yield_now();
    }
    *lock(&worker.watch) = Some((claim.key.epoch, watch));
    worker.report_alarms();
    let report = lock(&worker.report).clone();
    let [alarm] = &report.alarms[..] else {
        panic!("{report:?}")
    };
    assert!(
        alarm
            .what
            .contains("disk1: a stranger's key 0x0000000000000077")
    );
    assert!(alarm.todo.contains("sg_persist"));
    assert_eq!(report.unready, None, "handing it over would not help");
}
