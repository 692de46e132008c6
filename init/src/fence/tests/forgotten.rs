//! A shelf that lost its reservations with its power is known as such, and nothing else is taken for it.

use orthrus_hb::ledger::Record;
use orthrus_hb::{Incarnation, PoolState};

use super::super::forgotten::Forgotten;
use super::*;

fn record(state: PoolState) -> Record {
    Record {
        head: HeadId::First,
        incarnation: Incarnation([1; 8]),
        state,
        epoch: Epoch(4),
        sequence: 9,
        lease: None,
    }
}

/// What head B finds when the ledger's last record of head A, epoch 4, says this.
fn found(shelf: &Shelf, state: PoolState) -> Option<Forgotten> {
    let fence = shelf.fence(B);
    found_stamped(&fence, state, Epoch(4))
}

/// The same, when the metadata have this epoch.
fn found_stamped(fence: &Fence, state: PoolState, stamped: Epoch) -> Option<Forgotten> {
    let survey = fence.survey();
    fence.forgotten(&survey, (key(A, 0).cluster, stamped), || {
        Some(record(state))
    })
}

fn power_cycled(shelf: &Shelf) {
    for mut disk in shelf.all() {
        disk.forget();
    }
}

#[test]
fn a_shelf_that_forgot_the_owner_is_known_by_the_ledger() {
    for state in [PoolState::Importing, PoolState::Serving] {
        let shelf = owned_by_a();
        assert_eq!(found(&shelf, state), None, "its keys are there");
        shelf.disk(1).forget();
        let disks = vec!["disk1".to_owned()];
        let record = record(state);
        assert_eq!(found(&shelf, state), Some(Forgotten { disks, record }));
        power_cycled(&shelf);
        assert_eq!(found(&shelf, state).unwrap().disks.len(), 3);
    }
}

#[test]
fn an_owner_that_let_go_was_not_forgotten() {
    let shelf = owned_by_a();
    shelf.fence(A).release(key(A, 4)).unwrap();
    // Whatever its last record says: the disks have counted that it left.
    assert_eq!(found(&shelf, PoolState::Serving), None);
    // The power goes for the night.
    power_cycled(&shelf);
    assert_eq!(found(&shelf, PoolState::Releasing), None);
    assert_eq!(found(&shelf, PoolState::Standby), None);
}

#[test]
fn nothing_is_said_without_a_ledger_or_of_a_claim_that_was_under_way() {
    let shelf = Shelf::new(2);
    let fence = shelf.fence(B);
    assert_eq!(
        fence.forgotten(&fence.survey(), (key(A, 0).cluster, Epoch(4)), || None),
        None
    );
    assert_eq!(found(&shelf, PoolState::Claiming), None);
}

#[test]
fn a_claim_since_the_look_is_no_loss() {
    let shelf = Shelf::new(2);
    let fence = shelf.fence(B);
    let before = fence.survey();
    let claimed = || {
        claim(&shelf, A, Authority::Free).unwrap();
        Some(record(PoolState::Serving))
    };
    assert_eq!(
        fence.forgotten(&before, (key(A, 0).cluster, Epoch(4)), claimed),
        None
    );
}

#[test]
fn a_claim_that_was_undone_since_the_loss_leaves_nothing_sure() {
    let shelf = owned_by_a();
    power_cycled(&shelf);
    shelf.disk(2).busy = true;
    assert!(claim(&shelf, B, Authority::PeerDead).is_err());
    assert!(
        found(&shelf, PoolState::Serving).is_some(),
        "it sent nothing"
    );
    shelf.disk(2).busy = false;
    shelf.disk(2).hook = Some(Box::new(|state, _, _| state.holder = None));
    assert!(claim(&shelf, B, Authority::PeerDead).is_err());
    assert_eq!(found(&shelf, PoolState::Serving), None);
}

#[test]
fn nothing_is_said_when_the_record_is_older_than_the_stamp() {
    let shelf = owned_by_a();
    power_cycled(&shelf);
    let fence = shelf.fence(B);
    for (stamped, is_said) in [(0, true), (4, true), (5, false)] {
        let found = found_stamped(&fence, PoolState::Serving, Epoch(stamped));
        assert_eq!(found.is_some(), is_said, "stamped {stamped}");
    }
}

#[test]
fn nothing_is_said_when_the_record_is_older_than_a_key() {
    // The claim of epoch 5 left no record: it was let go, but for the disk that was away meanwhile.
    let shelf = owned_by_a();
    power_cycled(&shelf);
    for (epoch, is_said) in [(4, true), (5, false)] {
        shelf.disk(2).owned_by(B, bits(B, epoch));
        let found = found(&shelf, PoolState::Serving);
        assert_eq!(found.is_some(), is_said, "a key of epoch {epoch}");
    }
}

#[test]
fn nothing_is_said_when_a_newer_claim_begins_after_the_look() {
    let shelf = owned_by_a();
    power_cycled(&shelf);
    let fence = shelf.fence(B);
    let before = fence.survey();
    let last = || {
        shelf.disk(0).owned_by(A, bits(A, 5));
        Some(record(PoolState::Serving))
    };
    let found = fence.forgotten(&before, (key(A, 0).cluster, Epoch(4)), last);
    assert_eq!(found, None);
}
