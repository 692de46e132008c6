//! What a worker leaves behind when a job fails.

use std::thread;

use orthrus_hb::{Epoch, Incarnation, Key};

use super::*;
use crate::fence::shelf::Shelf;
use crate::ledger::Keeper;
use crate::volume::{Uuid, VolumeGroup};

const PATH: u32 = 1;

/// No machine has these ports.
pub(crate) const CONFIG: &str = r#"cluster = "lab"
secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
[[head]]
name = "a"
mac = "02:4f:52:54:00:01"
heartbeat = "02:4f:52:54:00:01"
data = "02:4f:52:54:00:02"
[[head]]
name = "b"
mac = "02:4f:52:54:01:01"
heartbeat = "02:4f:52:54:01:01"
data = "02:4f:52:54:01:02"
[[pool]]
name = "tank"
home = "a"
address = "192.0.2.10/24"
[pool.iscsi]
iqn = "iqn.2026-01.org.orthrus:tank"
clients = ["iqn.1993-08.org.debian:01:client"]
luns = "all"
"#;

pub(super) fn worker() -> Worker {
    let (handle, _) = crate::inbox::inputs().unwrap();
    let config = Arc::new(Config::parse(CONFIG).unwrap());
    let ledger = Ledger::new("tank", keeper(&config), Arc::new(|| ()));
    Worker::new(
        config,
        0,
        HeadId::First,
        handle,
        Arc::default(),
        Arc::new(|_| ()),
        Arc::new(ledger),
    )
}

fn keeper(config: &Config) -> Keeper {
    Keeper {
        me: HeadId::First,
        incarnation: Incarnation([1; 8]),
        cluster: config.cluster_id,
        secret: config.secret.clone(),
    }
}

/// A worker that holds a claim of a volume group of which nothing is active.
pub(super) fn claimant(shelf: &Shelf) -> Worker {
    let mut worker = worker();
    let key = Key {
        cluster: worker.config.cluster_id,
        head: HeadId::First,
        epoch: Epoch(1),
    };
    for mut disk in shelf.all() {
        disk.owned_by(PATH, key.to_bits());
    }
    worker.claim = Some(Claim {
        lease: None,
        marked: false,
        behind: None,
        paths: None,
        rebuilt: Default::default(),
        unsure: Default::default(),
        compared: Default::default(),
        lost_snapshots: Default::default(),
        has_preempted: false,
        thrown_out: Vec::new(),
        fence: shelf.fence(PATH),
        key,
        group: VolumeGroup {
            name: "tank".to_owned(),
            uuid: Uuid::from_text("NoBody-Has0-This-Volu-meGr-oup0-Active").unwrap(),
            seqno: 1,
            system_id: None,
            lock_type: None,
            status: Vec::new(),
            tags: Vec::new(),
            extent_sectors: 8192,
            pvs: Vec::new(),
            lvs: Vec::new(),
            conflicts: Vec::new(),
            silent: Vec::new(),
        },
    });
    worker
}

/// The watch over a claim of this shelf.
pub(crate) fn watched(shelf: &Shelf) -> (Epoch, fence::Watch) {
    let claim = claimant(shelf).claim.unwrap();
    let watch = claim.fence.watch(claim.key, Arc::new(|_| ()));
    (claim.key.epoch, watch)
}

#[test]
fn a_watch_that_waits_for_a_disk_as_it_ends_keeps_nobody_from_the_slot() {
    let shelf = Shelf::new(1);
    let worker = worker();
    let slot = worker.watch.clone();
    *lock(&slot) = Some(watched(&shelf));
    // The disk does not answer any more, and the watch waits for it.
    let held = shelf.disk(0);
    let asked = || {
        let slot = lock(&slot);
        let (_, watch) = slot.as_ref().unwrap();
        watch.freshest().unwrap() > Duration::from_secs(1)
    };
    while !asked() {
        thread::sleep(Duration::from_millis(10));
    }
    thread::scope(|scope| {
        let ends = scope.spawn(move || worker.end_watch());
        let is_free = || {
            let slot = slot.try_lock();
            slot.is_ok_and(|slot| slot.is_none())
        };
        let mut tries = 0..500;
        let was_free = tries.any(|_| {
            thread::sleep(Duration::from_millis(10));
            is_free()
        });
        let was_waiting = !ends.is_finished();
        drop(held);
        assert!(was_free && was_waiting, "{was_free}, {was_waiting}");
    });
}

#[test]
fn an_import_that_finds_no_port_for_clients_is_undone_without_a_reset() {
    let shelf = Shelf::new(2);
    let mut worker = claimant(&shelf);
    let failed = worker.import(Epoch(1));
    assert!(matches!(failed, Err(JobError::Net(_))), "{failed:?}");
    // An error here would make the core reset the head.
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

#[test]
fn reservations_stay_when_keys_were_found_and_the_peer_is_not_known_to_be_done() {
    for (keys_found, peer_is_done, stays) in [
        (true, false, true),
        (true, true, false),
        (false, false, false),
    ] {
        let shelf = Shelf::new(2);
        let mut worker = claimant(&shelf);
        worker.keys_found = keys_found;
        assert_eq!(worker.release(peer_is_done).unwrap(), Done::Released);
        let reserved = shelf.all().all(|disk| disk.holder.is_some());
        assert_eq!(reserved, stays);
        let said = lock(&worker.report).notes.concat();
        assert_eq!(said.contains("stay reserved"), stays, "{said}");
        // Nothing is watched any more: who takes them now is no reason for a reset.
        assert!(worker.claim.is_none() && lock(&worker.watch).is_none());
    }
}

#[test]
fn an_import_under_another_epoch_than_the_claims_begins_nothing() {
    let shelf = Shelf::new(2);
    let mut worker = claimant(&shelf);
    let refused = worker.import(Epoch(2));
    assert!(
        matches!(refused, Err(JobError::NotClaimed(Epoch(2)))),
        "{refused:?}"
    );
    assert!(worker.served.is_none());
}

#[test]
fn why_an_import_failed_is_not_forgotten_by_a_look_and_a_survey_that_failed_is() {
    let job = |work| Job {
        pool: PoolId(0),
        ticket: orthrus_hb::Ticket(1),
        epoch: Epoch(1),
        peer_is_done: true,
        work,
    };
    for (work, kept) in [(Work::Import, true), (Work::Survey, false)] {
        let mut worker = worker();
        let _ = worker.note(&job(work), Err(JobError::NotClaimed(Epoch(1))), 0);
        worker.found(None);
        assert_eq!(lock(&worker.report).problem.is_some(), kept, "{work:?}");
    }
}

#[test]
fn what_runs_full_is_an_alarm_while_it_is_served() {
    let shelf = Shelf::new(2);
    let (mut worker, _log) = super::order::owner(&shelf, "");
    worker.report_alarms();
    assert!(lock(&worker.report).alarms.is_empty());
    worker.import(Epoch(1)).unwrap();
    worker.report_alarms();
    let alarms = lock(&worker.report).alarms.clone();
    let [alarm, tables, large, over] = &alarms[..] else {
        panic!("{alarms:?}")
    };
    assert!(
        large.what.contains("snapshot large is 80 %"),
        "{}",
        large.what
    );
    assert!(over.what.contains("snapshot over is lost"), "{}", over.what);
    let wanted = [
        "thin pool full: its room for data is 97 %",
        "thin pool tables: its room for metadata is 91 %",
    ];
    for (alarm, wanted) in [alarm, tables].into_iter().zip(wanted) {
        assert!(alarm.what.starts_with(wanted), "{}", alarm.what);
        let parts = ["data", "metadata"].map(|part| alarm.what.contains(&format!("for {part} ")));
        assert!(parts[0] != parts[1], "{}", alarm.what);
    }
    assert!(
        alarm.todo.contains("volume grow tank/full"),
        "{}",
        alarm.todo
    );
}

#[test]
fn a_worker_that_is_hung_answers_that_and_does_no_job_any_more() {
    let worker = worker();
    let (orders, report) = (worker.orders(), worker.report());
    let (jobs, todo) = std::sync::mpsc::sync_channel(1);
    // It is there until the tests end.
    std::thread::spawn(move || worker.run(&todo));
    let said = orders.give(&PoolOrder::Hang, Duration::from_secs(600));
    assert!(said.is_ok_and(|said| said.contains("its worker stops")));
    let release = Job {
        pool: PoolId(0),
        ticket: orthrus_hb::Ticket(1),
        epoch: Epoch(1),
        peer_is_done: true,
        work: Work::Release,
    };
    assert!(jobs.try_send(release).is_ok());
    assert!(jobs.try_send(release).is_err(), "nobody takes the first");
    let busy = lock(&report).busy.clone();
    assert!(busy.is_some_and(|busy| busy.what == "rehearse hang worker"));
}
