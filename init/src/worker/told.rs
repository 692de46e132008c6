//! Tests: what a claim that succeeds found on the disks, and did about it, has its line in `status` of the head that serves.

use orthrus_hb::ledger::Record;
use orthrus_hb::{Authority, Epoch, Incarnation, Key, PoolState};

use super::lines::said;
use super::tests::worker;
use super::*;
use crate::fence::shelf::{Nexus, Shelf};
use crate::fence::{COMMAND_LIFETIME, ClaimRequest};

/// The paths of the two heads, and that of an earlier boot of this head which is gone.
const HERE: Nexus = 1;
const THERE: Nexus = 2;
const GONE: Nexus = 1001;

fn key(head: HeadId, epoch: u32) -> Key {
    Key {
        cluster: worker().config.cluster_id,
        head,
        epoch: Epoch(epoch),
    }
}

/// A shelf that was left behind by somebody with this key.
fn left_by(path: Nexus, key: Key) -> Shelf {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.owned_by(path, key.to_bits());
    }
    shelf
}

/// What `status` says on head a once it has claimed the shelf and serves.
fn told(shelf: &Shelf, authority: Authority) -> String {
    let mut worker = worker();
    claim(&mut worker, shelf, authority, Epoch::NONE);
    said(&worker, PoolState::Serving, None, None)
}

/// `written` is the epoch that the ledger knows, whatever the disks say.
fn claim(worker: &mut Worker, shelf: &Shelf, authority: Authority, written: Epoch) {
    let fence = shelf.fence(HERE);
    let seen = fence.survey().greatest_epoch(worker.config.cluster_id);
    let greatest = seen.max(written);
    let request = ClaimRequest {
        up: COMMAND_LIFETIME,
        covers: greatest,
        ..worker.request(greatest.next().unwrap(), authority)
    };
    worker.note_claimed(&fence.claim(&request).unwrap());
}

fn assert_said(said: &str, words: &[String]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

#[test]
fn a_claim_of_free_disks_has_nothing_to_tell() {
    let said = told(&Shelf::new(2), Authority::Free);
    assert!(said.contains("served by a"), "{said}");
    assert!(!said.contains("disk0"), "{said}");
}

#[test]
fn a_stale_key_that_was_removed_is_told() {
    let stale = key(HeadId::Second, 4);
    let said = told(&left_by(THERE, stale), Authority::PeerYields);
    let removed = |disk| format!("note: {disk}: removed key {stale} and aborted its commands");
    assert_said(&said, &["disk0", "disk1"].map(removed));
}

#[test]
fn an_own_key_on_a_path_that_is_gone_is_told() {
    let own = key(HeadId::First, 4);
    let said = told(&left_by(GONE, own), Authority::Free);
    let removed = |disk| format!("note: {disk}: removed key {own} and aborted its commands");
    assert_said(&said, &["disk0", "disk1"].map(removed));
}

#[test]
fn a_preemption_without_abort_and_its_wait_are_told() {
    let shelf = left_by(THERE, key(HeadId::Second, 4));
    shelf.disk(1).no_abort = true;
    let said = told(&shelf, Authority::PeerDead);
    let words = [
        "note: disk1: removed key",
        "without abort (PREEMPT AND ABORT: refused as unknown)",
        "note: waited 10.0 s for writes of a former owner",
    ];
    assert_said(&said, &words.map(str::to_owned));
}

#[test]
fn an_own_key_that_was_replaced_is_told() {
    let own = key(HeadId::First, 4);
    let said = told(&left_by(HERE, own), Authority::Free);
    let replaced = |disk| format!("note: {disk}: replaced key {own}, which an earlier boot");
    assert_said(&said, &["disk0", "disk1"].map(replaced));
}

#[test]
fn a_reservation_of_another_type_that_was_replaced_is_told() {
    for (path, head) in [
        (HERE, HeadId::First),
        (GONE, HeadId::First),
        (THERE, HeadId::Second),
    ] {
        let left = key(head, 4);
        let shelf = left_by(path, left);
        shelf.disk(1).holder = Some((path, 3));
        let said = told(&shelf, Authority::PeerDead);
        let line =
            format!("note: disk1: was reserved with another type (3) under key {left}, and is now");
        assert_said(&said, &[line]);
        assert!(!said.contains("disk0: was reserved"), "{said}");
    }
}

/// A shelf that forgot head b, which held it under epoch 4.
fn forgotten() -> Shelf {
    let shelf = left_by(THERE, key(HeadId::Second, 4));
    for mut disk in shelf.all() {
        disk.forget();
    }
    shelf
}

/// The survey of such a shelf.
fn look(worker: &Worker, shelf: &Shelf) {
    let last = Record {
        head: HeadId::Second,
        incarnation: Incarnation([1; 8]),
        state: PoolState::Serving,
        epoch: Epoch(4),
        sequence: 9,
        lease: None,
    };
    let fence = shelf.fence(HERE);
    worker.note_surveyed(&fence, &fence.survey(), last.epoch, || Some(last));
}

#[test]
fn what_the_shelf_forgot_is_told_no_longer_than_the_claim_lasts() {
    let told = |worker: &Worker| {
        let notes = lock(&worker.report).notes.clone();
        notes
            .iter()
            .any(|note| note.contains("nobody had registered"))
    };
    let work = |work| Job {
        pool: PoolId(0),
        ticket: orthrus_hb::Ticket(1),
        epoch: Epoch(5),
        peer_is_done: true,
        work,
    };
    // Let go.
    let mut former = super::tests::claimant(&Shelf::new(2));
    look(&former, &forgotten());
    assert!(told(&former));
    former.perform(&work(Work::Release)).unwrap();
    assert!(!told(&former));
    // There is no such volume group on this machine.
    let mut failed = worker();
    look(&failed, &forgotten());
    assert!(told(&failed));
    let claim = Work::Claim {
        authority: Authority::PeerDead,
        covers: Epoch::NONE,
    };
    assert!(failed.perform(&work(claim)).is_err());
    assert!(!told(&failed));
    assert!(
        !lock(&failed.report).notes.is_empty(),
        "what else was noted stays"
    );
}

#[test]
fn reservations_that_the_shelf_forgot_are_told_by_who_claims_next_and_serves() {
    let (mut worker, shelf) = (worker(), forgotten());
    look(&worker, &shelf);
    claim(&mut worker, &shelf, Authority::PeerDead, Epoch(4));
    let said = said(&worker, PoolState::Serving, None, None);
    let words = [
        "note: disk0, disk1: when this head looked (before epoch 5) nobody had registered there since the power came on",
        "head b held the pool under epoch 4 and says nothing of letting go",
        "most likely the shelf lost its power, and its reservations with it",
        "(no PTPL)",
        "waited 10.0 s",
    ];
    assert_said(&said, &words.map(str::to_owned));
}

#[test]
fn that_disks_stay_reserved_is_told_until_they_are_claimed_again() {
    let shelf = Shelf::new(2);
    let mut former = super::tests::claimant(&shelf);
    former.keys_found = true;
    former.release(false).unwrap();
    let told = |worker: &Worker| {
        let notes = lock(&worker.report).notes.clone();
        notes.iter().any(|note| note.contains("stay reserved"))
    };
    assert!(told(&former));
    claim(&mut former, &shelf, Authority::Free, Epoch::NONE);
    assert!(!told(&former));
}
