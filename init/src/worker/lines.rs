//! Tests: each way in which a claim fails has its line in `status`, with the disk and what ends it. Those that succeed are in
//! [`super::told`], and the ways in which an import fails in [`super::failed`].

use orthrus_hb::{Epoch, Health, Key, LedgerState, Liveness, PoolState, Rest, Ticket};

use super::tests::{CONFIG, worker};
use super::*;
use crate::disk::{DiskId, WriteCache};
use crate::fence::lease::LeaseError;
use crate::fence::reservations::{Answer, ReadError, Trouble, WriteRefused};
use crate::fence::{ClaimError, FenceError, Stranger};
use crate::ledger::SlotError;
use crate::status::{PoolSnapshot, Snapshot, Sources, Status, Usage};
use crate::volume::Refusal;

/// What `status` says on head a once a job has failed like this.
fn line(work: Work, error: JobError) -> String {
    let mut worker = worker();
    let job = Job {
        pool: PoolId(0),
        ticket: Ticket(1),
        epoch: Epoch(5),
        peer_is_done: true,
        work,
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
            answers: false,
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

/// Errors with what their lines must say. The patterns are those of a `match`: a variant that is in none of them does not compile, and each
/// has an example at least. Behind `not` are those that are none of a claim's.
macro_rules! cases {
    ($kind:ty: $($pattern:pat => [$($example:expr => $words:expr),+ $(,)?]),+ $(,)? $(; not $other:pat)?) => {{
        // Only for the compiler.
        let _ = |error: &$kind| match error {
            $($pattern)|+ => (),
            $($other => (),)?
        };
        let mut cases: Vec<($kind, Vec<String>)> = Vec::new();
        $($(
            let example: $kind = $example;
            assert!(matches!(&example, $pattern), "{example:?} stands beside another pattern");
            cases.push((example, $words.iter().map(ToString::to_string).collect()));
        )+)+
        cases
    }};
}

pub(crate) use cases;

fn assert_lines<E: Into<JobError>>(cases: Vec<(E, Vec<String>)>) {
    assert_lines_of(Work::Survey, cases);
}

pub(super) fn assert_lines_of<E: Into<JobError>>(work: Work, cases: Vec<(E, Vec<String>)>) {
    for (error, words) in cases {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_line(work, error.into(), &words);
    }
}

const LIMIT: Duration = Duration::from_secs(20);
pub(super) const LOOK_AFTER_IT: [&str; 2] = ["check its power and its cables", "pull it out"];

pub(super) fn disk() -> String {
    "sdx".to_owned()
}

#[test]
fn each_outcome_of_fencing_has_its_line_in_status() {
    let epoch = Epoch(7);
    let victim = Key {
        cluster: worker().config.cluster_id,
        head: HeadId::First,
        epoch: Epoch(4),
    };
    let held = ["reserved by head b under epoch 7", "takeover tank"];
    let [power, pull] = LOOK_AFTER_IT;
    assert_lines(cases! { ClaimError:
        ClaimError::HeldByPeer { .. } => [ClaimError::HeldByPeer { disk: disk(), epoch } => held],
        ClaimError::LostRace { .. } => [ClaimError::LostRace { disk: disk(), epoch } => held],
        ClaimError::Stranger { .. } => [
            ClaimError::Stranger { disk: disk(), stranger: Stranger::Registrant(0x1234) } =>
                ["a stranger holds its disks", "sdx", "0x0000000000001234", "sg_persist"],
        ],
        ClaimError::TimedOut { .. } => [
            ClaimError::TimedOut { disk: disk(), limit: LIMIT } => ["sdx: does not answer within 20 s", power, pull],
        ],
        ClaimError::Hold { .. } => [
            ClaimError::Hold { disk: disk(), trouble: std::io::Error::from_raw_os_error(libc::ENXIO) } =>
                ["sdx: cannot be opened: No such device or address", power, pull],
        ],
        ClaimError::Read { .. } => [
            ClaimError::Read { disk: disk(), source: ReadError::TimedOut(LIMIT) } =>
                ["sdx: does not answer within 20 s", power, pull],
        ],
        ClaimError::CannotWrite { .. } => [
            ClaimError::CannotWrite { disk: disk(), source: WriteRefused::Conflict } =>
                ["sdx: reservation conflict on a write", "not registered"],
        ],
        ClaimError::Unremovable { .. } => [
            ClaimError::Unremovable { disk: disk(), victim, answer: Answer::Conflict } => [
                &*format!("sdx: PREEMPT has no effect on key {victim}, answered reservation conflict"),
                "boot the other head",
                "sg_persist --out --clear",
            ],
        ],
        ClaimError::NoEffect { .. } => [
            ClaimError::NoEffect { disk: disk(), step: "RESERVE", answer: Answer::Refused } =>
                ["sdx: RESERVE has no effect, answered refused as unknown", "take the power from the disk"],
        ],
        ClaimError::ReadBack { .. } => [
            ClaimError::ReadBack { disk: disk(), found: "registered: ; holder: nobody".to_owned() } =>
                ["sdx: read-back shows registered: ; holder: nobody", "check its power", "no other host"],
        ],
        ClaimError::Restless { .. } => [
            ClaimError::Restless { disk: disk() } => ["sdx: registrations keep changing", "--read-full-status"],
        ],
        ClaimError::Overtaken { .. } => [
            ClaimError::Overtaken { disk: disk() } => ["sdx: our registration was removed", "the other head"],
        ],
        ClaimError::InUse { .. } => [
            ClaimError::InUse { disk: disk() } => ["sdx: in use in this head's own kernel", "reboot"],
        ],
    });
}

/// By a claim, and by a survey before it.
#[test]
fn each_way_in_which_reservations_cannot_be_read_has_its_line_in_status() {
    let (step, trouble) = ("READ KEYS", Trouble::Errno(libc::EIO));
    let [power, pull] = LOOK_AFTER_IT;
    let cases = cases! { ReadError:
        ReadError::Unsupported => [
            ReadError::Unsupported => ["sdx: has no persistent reservations", "take this one out"],
        ],
        ReadError::Call { .. } => [
            ReadError::Call { step, trouble } => ["sdx: READ KEYS: Input/output error", power, pull],
            ReadError::Call { step, trouble: Trouble::Status(2) } => ["sdx: READ KEYS: status 0x2", power, pull],
        ],
        ReadError::TimedOut(_) => [ReadError::TimedOut(LIMIT) => ["sdx: does not answer within 20 s", power, pull]],
        ReadError::Reserved => [
            ReadError::Reserved => ["sdx: another host holds it by the older RESERVE", "none is cabled to the shelf"],
        ],
        ReadError::Command { .. } => [
            ReadError::Command { step, status: 2, host: 0, sense: Some((4, 0x44, 0)) } =>
                ["sdx: READ KEYS: status 0x2, host status 0x0", "44", power, pull],
        ],
        ReadError::Malformed { .. } => [
            ReadError::Malformed { step, what: "shorter than its header" } =>
                ["sdx: READ KEYS: shorter than its header", power, pull],
        ],
        ReadError::Unstable => [
            ReadError::Unstable => ["sdx: registrations keep changing", "no other host is cabled to the shelf"],
        ],
        ReadError::SharedIdentifier => [
            ReadError::SharedIdentifier =>
                ["sdx: the identifier by which it knows this head", "give each head a host identifier of its own"],
        ],
    };
    for (source, words) in cases {
        let survey = JobError::survey("sdx", &source);
        let claim = ClaimError::Read {
            disk: disk(),
            source,
        };
        assert_lines(vec![(survey, words.clone()), (claim.into(), words)]);
    }
}

#[test]
fn each_way_in_which_a_proof_of_write_fails_has_its_line_in_status() {
    let [power, pull] = LOOK_AFTER_IT;
    let cases = cases! { WriteRefused:
        WriteRefused::Conflict => [
            WriteRefused::Conflict => [
                "sdx: reservation conflict on a write",
                "not registered",
                "check this head's cables",
                "boot the other head",
            ],
        ],
        WriteRefused::Failed(_) => [
            WriteRefused::Failed(Trouble::Errno(libc::EIO)) => ["sdx: write failed: Input/output error", power, pull],
        ],
        WriteRefused::Paths { .. } => [
            WriteRefused::Paths { shown: 1, registered: 2 } =>
                ["sdx: 2 paths to it were registered", "does not belong there"],
        ],
    };
    for (source, words) in cases {
        let disk = disk();
        assert_lines(vec![(ClaimError::CannotWrite { disk, source }, words)]);
    }
}

#[test]
fn each_stranger_has_its_line_in_status() {
    let cases = cases! { Stranger:
        Stranger::Registrant(_) => [
            Stranger::Registrant(0x1234) => ["a stranger holds its disks", "sdx", "0x0000000000001234", "sg_persist"],
        ],
        Stranger::AllRegistrants { .. } => [
            Stranger::AllRegistrants { kind: 7 } => ["sdx: reserved for all registrants", "type 7", "sg_persist"],
        ],
    };
    for (stranger, words) in cases {
        let survey = JobError::Stranger {
            disk: disk(),
            stranger,
        };
        let claim = ClaimError::Stranger {
            disk: disk(),
            stranger,
        };
        assert_lines(vec![(survey, words.clone()), (claim.into(), words)]);
    }
}

#[test]
fn members_that_cannot_be_fenced_at_all_have_their_line_in_status() {
    let [power, pull] = LOOK_AFTER_IT;
    assert_lines(cases! { FenceError:
        FenceError::NoMembers => [
            FenceError::NoMembers => ["it cannot be served as it is: there is no disk to fence", "vgextend --restoremissing"],
        ],
        FenceError::TooMany(_) => [
            FenceError::TooMany(129) => ["129 member disks, and at most 128", "vgsplit", "vgreduce"],
        ],
        FenceError::Duplicate { .. } => [
            FenceError::Duplicate { one: disk(), other: "sdy".to_owned(), id: DiskId("naa.7".to_owned()) } =>
                ["sdx and sdy are the same disk naa.7", "pull one of them out", "0x83"],
        ],
        FenceError::Open { .. } => [
            FenceError::Open { disk: disk(), source: std::io::Error::from_raw_os_error(libc::ENXIO) } =>
                ["sdx: cannot be opened: No such device or address", power, pull],
            FenceError::Open { disk: disk(), source: fence::no_answer() } =>
                ["sdx: cannot be opened: no answer within 20 s", power, pull],
        ],
    });
}

#[test]
fn each_outcome_of_a_claim_by_lease_has_its_line_in_status() {
    let epoch = Epoch(7);
    let copy = || SlotError::Copy {
        copy: 1,
        disk: disk(),
        trouble: "no answer within 1 s".to_owned(),
    };
    let no_answer = [
        "copy 1 of the ledger, on sdx: no answer within 1 s",
        "check that disk's power",
    ];
    let held = ["reserved by head b under epoch 7", "takeover tank"];
    assert_lines(cases! { LeaseError:
        LeaseError::NoWatchdog => [LeaseError::NoWatchdog => ["armed hardware watchdog", "enable it in the BIOS"]],
        LeaseError::NoTerms { .. } => [
            LeaseError::NoTerms { epoch } => ["the peer holds the disks under epoch 7", "turn it off", "make them anew"],
        ],
        LeaseError::HeldByPeer { .. } => [LeaseError::HeldByPeer { epoch } => held],
        LeaseError::LostRace { .. } => [LeaseError::LostRace { epoch } => held],
        LeaseError::Slow => [LeaseError::Slow => ["the ledger answers too slowly", "cables of the disks"]],
        LeaseError::Slots(_) => [LeaseError::Slots(copy()) => no_answer],
    });
    assert_lines(cases! { SlotError:
        SlotError::Copy { .. } => [copy() => no_answer],
        SlotError::Absent => [
            SlotError::Absent => ["a lease on them cannot be had", "no ledger", "make it on a host with lvm2"],
        ],
    });
}

/// What a survey or a claim finds besides; what an import and a release do says each where it is made.
#[test]
fn each_reason_to_claim_nothing_has_its_line_in_status() {
    let (vg, epoch) = (|| "tank".to_owned(), Epoch(7));
    let refusal = Refusal::Exported;
    let [power, pull] = LOOK_AFTER_IT;
    assert_lines(cases! { JobError:
        JobError::NoGroup { .. } => [
            JobError::NoGroup { vg: vg(), detail: " (sdx: no answer)".to_owned() } =>
                ["volume group tank is on none of the disks that this head sees (sdx: no answer)", "cables", "pool create"],
        ],
        JobError::Destroyed { .. } => [
            JobError::Destroyed { vg: vg() } => ["volume group tank was destroyed", "`pool create`"],
        ],
        JobError::Refused { .. } => [
            JobError::Refused { refusal, detail: " (sdx: no answer)".to_owned() } => ["exported", "vgimport", "(sdx: no answer)"],
        ],
        JobError::Survey { .. } => [
            JobError::survey("sdx", &ReadError::TimedOut(LIMIT)) => ["a step failed: sdx: does not answer within 20 s", power, pull],
        ],
        JobError::Stranger { .. } => [
            JobError::Stranger { disk: disk(), stranger: Stranger::Registrant(0x1234) } => ["sdx", "sg_persist"],
        ],
        JobError::Changed { .. } => [
            JobError::Changed { vg: vg() } =>
                ["the members of volume group tank changed during the claim", "no other host is cabled"],
        ],
        JobError::Fence(_) => [FenceError::TooMany(129).into() => ["129 member disks", "vgsplit"]],
        JobError::Claim(_) => [
            ClaimError::InUse { disk: disk() }.into() => ["sdx: in use in this head's own kernel", "reboot"],
        ],
        JobError::Lease(_) => [LeaseError::HeldByPeer { epoch }.into() => ["reserved by head b under epoch 7"]],
        JobError::Slots(_) => [SlotError::Absent.into() => ["a lease on them cannot be had", "no ledger"]],
        JobError::CacheUnderMd { .. } => [
            JobError::CacheUnderMd { disk: disk(), found: WriteCache::WriteBack, what: "array md0".to_owned() } =>
                ["sdx: its write cache stays on, array md0 is on it", "turn the cache off at the disk"],
        ];
        not JobError::Plan(_)
            | JobError::NotClaimed(_)
            | JobError::Create(_)
            | JobError::Paths(_)
            | JobError::State(_)
            | JobError::Release(_)
            | JobError::Ledger(_)
            | JobError::Disk(_)
            | JobError::NotMarked(_)
            | JobError::Taken(_)
            | JobError::Metadata(_)
            | JobError::Module(_)
            | JobError::Array(_)
            | JobError::Volume(_)
            | JobError::Export(_)
            | JobError::Shares(_)
            | JobError::Net(_)
    });
}

fn assert_line(work: Work, error: JobError, words: &[&str]) {
    let said = line(work, error);
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
