//! Tests only: what is still held at each step of an import and of a release.

use std::sync::{Arc, Mutex};

use orthrus_hb::{Done, Epoch};

use super::tests::claimant;
use super::witness::Witness;
pub(super) use super::witness::{Log, UNEQUAL};
use super::{Worker, lock};
use crate::array::tests::some_of;
use crate::array::{Array, Judged};
use crate::clock;
use crate::fence::shelf::{Command, Shelf};
use crate::volume::VolumeGroup;
use crate::volume::tests::made::Made;

/// A worker that holds the pool as after a claim, on a host that fails at one step.
pub(super) fn owner(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    owner_of(shelf, fails, None)
}

/// The same, on a host that fails at the step that is put there.
pub(super) fn owner_failing_later(shelf: &Shelf) -> (Worker, Log, Arc<Mutex<&'static str>>) {
    let fails = Arc::default();
    let (worker, log) = owned(shelf, "", None, &fails);
    (worker, log, fails)
}

/// The same, of a group of which is known what would come of a change.
pub(super) fn owner_of(shelf: &Shelf, fails: &'static str, made: Option<&Made>) -> (Worker, Log) {
    owned(shelf, fails, made, &Arc::default())
}

fn owned(
    shelf: &Shelf,
    fails: &'static str,
    made: Option<&Made>,
    fails_later: &Arc<Mutex<&'static str>>,
) -> (Worker, Log) {
    let mut worker = claimant(shelf);
    if let (Some(claim), Some(made)) = (&mut worker.claim, made) {
        claim.group = made.group();
    }
    let log = Log::default();
    let claim = worker.claim.as_ref().unwrap();
    let watch = claim.fence.watch(claim.key, worker.on_loss.clone());
    *lock(&worker.watch) = Some((claim.key.epoch, watch));
    worker.ledger.begin(claim.key.epoch, &claim.group);
    worker.host = Box::new(Witness {
        log: log.clone(),
        shelf: shelf.clone(),
        watch: worker.watch.clone(),
        ledger: worker.ledger.clone(),
        fails,
        fails_later: fails_later.clone(),
        admitted: Arc::default(),
        text: made.map(Made::text),
    });
    (worker, log)
}

pub(super) fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

pub(super) const RELEASE: [&str; 6] = [
    "address off",
    "connections off",
    "export off",
    "reservations off",
    "state off",
    "volumes off",
];

#[test]
fn the_address_comes_last_and_goes_first_and_all_is_held_until_the_volumes_are_gone() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(
        taken(&log),
        [
            "stamp",
            "volumes on",
            "state on",
            "export on",
            "address on",
            "greeting",
            "owner noted"
        ]
    );
    // What no step of the kernel's sees: when the first key goes, nothing writes any more and nobody watches.
    let (watch, ledger, witness) = (worker.watch.clone(), worker.ledger.clone(), log.clone());
    shelf.disk(1).hook = Some(Box::new(move |_, _, command| {
        if matches!(command, Command::Register(0) | Command::Release(..)) {
            let watched = watch.try_lock().map_or(true, |slot| slot.is_some());
            let written = ledger.report(clock::now()).written.is_some();
            let line = format!("key off, watched {watched}, ledger written {written}");
            witness.lock().unwrap().push(line);
        }
    }));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let released = taken(&log);
    assert_eq!(released[..RELEASE.len()], RELEASE);
    for line in &released[RELEASE.len()..] {
        assert_eq!(line, "key off, watched false, ledger written false");
    }
    assert!(released.len() > RELEASE.len());
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

/// The same of a group on an array.
pub(super) fn owner_of_array(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    let (mut worker, log) = owner(shelf, fails);
    worker.claim.as_mut().unwrap().group = group_on(some_of("raid1-11", &[0, 1]));
    (worker, log)
}

/// A group on an array.
pub(super) fn group_on(array: Array) -> VolumeGroup {
    let decision = array.decide(true).unwrap();
    let mut group = Made::on(1).simple("vol0", 0).group();
    let on = Judged {
        array,
        decision,
        is_running: false,
    };
    group.pvs[0].disk = Some(on.device(None));
    group.pvs[0].array = Some(Box::new(on));
    group
}

#[test]
fn arrays_run_only_while_all_is_held_and_their_volumes_come_after_and_go_before() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner_of_array(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(taken(&log)[..3], ["arrays on", "stamp", "volumes on"]);
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let released = taken(&log);
    assert_eq!(released[..RELEASE.len()], RELEASE);
    assert_eq!(released[RELEASE.len()..], ["arrays off"]);
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

#[test]
fn an_array_that_does_not_start_ends_the_import_and_one_that_does_not_stop_keeps_all() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner_of_array(&shelf, "arrays on");
    assert!(worker.import(Epoch(1)).is_err());
    assert_eq!(taken(&log), ["arrays on"]);
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    // One of several may run.
    assert_eq!(taken(&log).last().map(String::as_str), Some("arrays off"));

    let shelf = Shelf::new(2);
    let (mut worker, _) = owner_of_array(&shelf, "arrays off");
    worker.import(Epoch(1)).unwrap();
    assert!(worker.release(true).is_err());
    assert!(shelf.all().all(|disk| !disk.keys().is_empty()));
    assert!(lock(&worker.watch).is_some());
}

#[test]
fn a_claim_that_fails_comes_back_when_it_is_undone_and_not_before() {
    let shelf = Shelf::new(2);
    let (mut worker, log, fails) = owner_failing_later(&shelf);
    *fails.lock().unwrap() = "volumes off once";
    let group = worker.claim.as_ref().unwrap().group.clone();
    // No disk of this machine has the group, so that it cannot be read again.
    assert!(worker.settle_claim(&group, true, Done::Claimed).is_err());
    let undone = taken(&log);
    assert_eq!(
        undone.iter().filter(|step| *step == "volumes off").count(),
        2,
        "{undone:?}"
    );
    assert!(worker.claim.is_none() && lock(&worker.watch).is_none());
    assert!(shelf.all().all(|disk| disk.keys().is_empty()));
}

#[test]
fn a_reservation_conflict_on_the_metadata_resets_the_head_before_anything_is_activated() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "stamp");
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = lost.clone();
    worker.on_loss = Arc::new(move |loss| told.lock().unwrap().push(loss.to_string()));
    assert!(worker.import(Epoch(1)).is_err());
    assert_eq!(taken(&log), ["stamp"]);
    assert_eq!(
        *lost.lock().unwrap(),
        ["disk0: reservation conflict on a write: this path is not registered"]
    );
}

#[test]
fn an_import_that_fails_at_any_step_is_undone_as_far_as_it_came() {
    for (fails, undone) in [
        (
            "export on",
            &[
                "connections off",
                "export off",
                "reservations off",
                "state off",
                "volumes off",
            ][..],
        ),
        ("address on", &RELEASE),
    ] {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, fails);
        assert!(worker.import(Epoch(1)).is_err());
        taken(&log);
        assert_eq!(worker.release(true).unwrap(), Done::Released, "{fails}");
        assert_eq!(taken(&log), undone, "{fails}");
        assert!(shelf.all().all(|disk| disk.keys().is_empty()));
    }
}

#[test]
fn an_address_that_a_stranger_has_is_not_taken_from_it_and_the_import_says_whose_it_is() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "probe");
    let said = worker.import(Epoch(1)).unwrap_err().to_string();
    let address = worker.pool().addresses[0].ip;
    assert!(said.contains(&format!("{address} is in use")), "{said}");
    assert!(said.contains("02:00:00:00:00:77"), "{said}");
    assert!(said.contains("address_check = false"), "{said}");
    assert!(!taken(&log).iter().any(|step| step == "address on"));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert!(!taken(&log).iter().any(|step| step == "address off"));
}

#[test]
fn where_the_operator_says_so_nobody_is_asked_for_the_address() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "probe");
    let config = super::tests::CONFIG.replacen("[[pool]]", "[[pool]]\naddress_check = false", 1);
    worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert!(taken(&log).iter().any(|step| step == "address on"));
}

#[test]
fn a_release_that_fails_at_any_step_keeps_what_comes_after_it() {
    for (index, fails) in RELEASE.into_iter().enumerate() {
        // The one only makes the close quicker, the other cannot fail.
        if fails == "connections off" || fails == "reservations off" {
            continue;
        }
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, fails);
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        assert!(worker.release(true).is_err(), "{fails}");
        assert_eq!(taken(&log), RELEASE[..=index], "{fails}");
        assert!(shelf.all().all(|disk| !disk.keys().is_empty()), "{fails}");
        assert!(lock(&worker.watch).is_some(), "{fails}");
    }
}

#[test]
fn a_pool_is_served_without_its_state_and_says_so() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = owner(&shelf, "state on");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(taken(&log).last().map(String::as_str), Some("greeting"));
    let state = lock(&worker.report).state_volume.clone().unwrap();
    assert!(state.problem.is_some());
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    // There was nowhere to keep clients' reservations.
    let released = taken(&log);
    assert!(!released.iter().any(|step| step == "reservations off"));
    assert_eq!(released.len(), RELEASE.len() - 1);
    assert!(lock(&worker.report).state_volume.is_none());
}

#[test]
fn an_owner_that_is_not_noted_is_told_and_the_state_volume_is_used() {
    let (mut worker, log) = owner(&Shelf::new(2), "owner noted");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert_eq!(taken(&log).last().map(String::as_str), Some("owner noted"));
    let state = lock(&worker.report).state_volume.clone().unwrap();
    assert!(state.is_open && state.problem.is_some(), "{state:?}");
    assert!(worker.open_state_place().is_ok());
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(taken(&log), RELEASE);
}

#[test]
fn reservations_without_a_copy_are_said_until_there_is_one() {
    let (mut worker, _, fails) = owner_failing_later(&Shelf::new(2));
    worker.import(Epoch(1)).unwrap();
    let lost = |worker: &Worker| lock(&worker.report).lost_reservations.clone();
    let others = vec!["LUN 7 of iqn: aptpl_7: it is cut off".to_owned()];
    lock(&worker.report).lost_reservations.clone_from(&others);
    *fails.lock().unwrap() = "copy";
    for _ in 0..2 {
        worker.look_at_reservations();
        assert_eq!(lost(&worker)[1..], ["aptpl_1 is not copied: no space"]);
    }
    *fails.lock().unwrap() = "";
    worker.look_at_reservations();
    assert_eq!(lost(&worker), others);
    worker.release(true).unwrap();
    worker.look_at_reservations();
    assert_eq!(lost(&worker), [] as [&str; 0]);
}

/// The same as [`sharer`], on a host that fails at what is put there.
pub(super) fn sharer_failing_later(shelf: &Shelf) -> (Worker, Arc<Mutex<&'static str>>) {
    let (mut worker, _, fails) = owner_failing_later(shelf);
    let (sharing, _) = sharer(&Shelf::new(2), "");
    worker.config = sharing.config;
    (worker, fails)
}

/// The same worker, with vol0 shared and offered by nothing else.
pub(super) fn sharer(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    let (mut worker, log) = owner(shelf, fails);
    let config = format!(
        "{}[pool.nfs]\n[[pool.nfs.share]]\nvolume = \"vol0\"\nclients = \"192.0.2.0/24\"\n",
        super::tests::CONFIG
    );
    worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
    (worker, log)
}

/// The owner of a pool whose volume is a namespace; a second one has none yet.
fn with_namespaces(shelf: &Shelf, fails: &'static str) -> (Worker, Log) {
    let (mut worker, log) = owner(shelf, fails);
    let config = format!(
        "{}\n[pool.nvme]\nnqn = \"nqn.2026-01.org.orthrus:tank\"\nhosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]\n\
         [[pool.nvme.namespace]]\nnsid = 1\nvolume = \"vol0\"\n\
         [[pool.nvme.namespace]]\nnsid = 2\nvolume = \"later\"\n",
        super::tests::CONFIG
    );
    worker.config = Arc::new(crate::config::Config::parse(&config).unwrap());
    (worker, log)
}

#[test]
fn namespaces_open_before_the_address_and_close_after_it_went() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = with_namespaces(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let opened = taken(&log);
    let expected = ["export on", "NVMe on", "address on"];
    assert!(
        opened.windows(3).any(|steps| steps == expected),
        "{opened:?}"
    );
    {
        let report = lock(&worker.report);
        let volume = &report.volumes[1];
        assert_eq!((volume.lun, volume.namespace), (None, Some(1)));
        let withheld = &report.namespaces_withheld;
        assert_eq!(withheld.len(), 1);
        assert!(withheld[0].contains("no volume later"), "{withheld:?}");
    }
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let released = taken(&log);
    let expected = ["address off", "connections off", "NVMe off", "export off"];
    assert_eq!(released[..4], expected);
    assert!(lock(&worker.report).namespaces_withheld.is_empty());
}

#[test]
fn a_subsystem_that_does_not_close_keeps_its_volumes_and_one_that_does_not_open_is_undone() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = with_namespaces(&shelf, "NVMe off");
    worker.import(Epoch(1)).unwrap();
    taken(&log);
    assert!(worker.release(true).is_err());
    assert_eq!(taken(&log).last().map(String::as_str), Some("NVMe off"));
    assert!(shelf.all().all(|disk| !disk.keys().is_empty()));

    let shelf = Shelf::new(2);
    let (mut worker, log) = with_namespaces(&shelf, "NVMe on");
    assert!(worker.import(Epoch(1)).is_err());
    assert!(!taken(&log).iter().any(|step| step == "address on"));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(taken(&log)[..2], ["connections off", "NVMe off"]);
}

const RELEASE_SHARES: [&str; 8] = [
    "address off",
    "connections off",
    "NFS off",
    "shares unmounted",
    "export off",
    "reservations off",
    "state off",
    "volumes off",
];

#[test]
fn shares_open_before_the_address_and_are_unmounted_after_their_server_ended() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = sharer(&shelf, "");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let opened = taken(&log);
    let expected = [
        "state on",
        "export on",
        "shares mounted",
        "NFS on",
        "address on",
    ];
    assert!(
        opened.windows(5).any(|steps| steps == expected),
        "{opened:?}"
    );
    assert_eq!(lock(&worker.report).shares[0].withheld, None);
    assert_eq!(
        lock(&worker.report).volumes[1].lun,
        None,
        "it is no LUN as well"
    );
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(taken(&log)[..RELEASE_SHARES.len()], RELEASE_SHARES);
    assert!(lock(&worker.report).shares.is_empty());
}

#[test]
fn a_server_that_does_not_end_keeps_its_file_systems_and_all_below_them() {
    for fails in ["NFS off", "shares unmounted"] {
        let shelf = Shelf::new(2);
        let (mut worker, log) = sharer(&shelf, fails);
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        assert!(worker.release(true).is_err(), "{fails}");
        assert_eq!(taken(&log).last().map(String::as_str), Some(fails));
        assert!(shelf.all().all(|disk| !disk.keys().is_empty()), "{fails}");
    }
}

#[test]
fn records_of_clients_that_cannot_be_read_are_no_reason_to_serve_nothing() {
    let (mut worker, log) = sharer(&Shelf::new(2), "NFS records");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    assert!(!taken(&log).iter().any(|step| step.contains("NFS")));
    let shares = lock(&worker.report).shares.clone();
    let why = shares[0].withheld.clone().unwrap();
    assert!(
        why.contains("format 2") && why.contains("nfs-clients.json"),
        "{why}"
    );
}

#[test]
fn a_server_that_does_not_start_withholds_the_shares_and_the_rest_is_served() {
    for fails in ["NFS on", "shares mounted"] {
        let shelf = Shelf::new(2);
        let (mut worker, log) = sharer(&shelf, fails);
        assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
        let done = taken(&log);
        let at = done.iter().position(|step| step == fails).unwrap();
        assert_eq!(done[at + 1..at + 3], ["shares unmounted", "address on"]);
        let withheld = lock(&worker.report).shares[0].withheld.clone().unwrap();
        assert!(
            withheld.contains("Input/output error") && withheld.contains("`handover tank`"),
            "{withheld}"
        );
        assert_eq!(worker.release(true).unwrap(), Done::Released);
        assert!(lock(&worker.report).shares.is_empty());
    }
}

#[test]
fn a_server_of_which_something_is_left_is_a_failed_import() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = sharer(&shelf, "NFS left");
    assert!(worker.import(Epoch(1)).is_err());
    assert!(!taken(&log).iter().any(|step| step == "address on"));
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    let undone = taken(&log);
    assert_eq!(undone[..2], ["connections off", "shares unmounted"]);
}

#[test]
fn a_share_for_whose_check_there_was_no_time_is_served_and_said() {
    let shelf = Shelf::new(2);
    let (mut worker, _) = sharer(&shelf, "no time");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let said = |worker: &Worker| {
        let notes = lock(&worker.report).notes.clone();
        let mut notes = notes.into_iter();
        notes.find(|note| note.contains("share vol0 is served unchecked"))
    };
    assert!(said(&worker).is_some());
    assert_eq!(lock(&worker.report).shares[0].withheld, None);
    assert_eq!(worker.release(true).unwrap(), Done::Released);
    assert_eq!(said(&worker), None);
}

#[test]
fn nothing_is_shared_without_a_place_for_locks_and_the_rest_is_served() {
    let shelf = Shelf::new(2);
    let (mut worker, log) = sharer(&shelf, "state on");
    assert_eq!(worker.import(Epoch(1)).unwrap(), Done::Imported);
    let done = taken(&log);
    assert!(!done.iter().any(|step| step.contains("NFS")), "{done:?}");
    assert_eq!(done.last().map(String::as_str), Some("greeting"));
    let withheld = lock(&worker.report).shares[0].withheld.clone().unwrap();
    assert!(withheld.contains("state volume"), "{withheld}");
    assert_eq!(worker.release(true).unwrap(), Done::Released);
}
