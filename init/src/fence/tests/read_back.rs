//! The read-back decides, never the status of a command; and a proof that we can write comes after it.

use super::*;

#[test]
fn success_that_is_answered_as_conflict_is_success() {
    let shelf = owned_by_a();
    for mut disk in shelf.all() {
        disk.lie = Some(Answer::Conflict);
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(
        shelf.waited(),
        NOTICE + COMMAND_LIFETIME,
        "nobody vouches for the abort"
    );
}

#[test]
fn register_that_takes_effect_and_answers_not_ready_is_success() {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.lie = Some(Answer::Failed(Trouble::Status(2)));
    }
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_fenced(&shelf, A, &claimed);
    assert_eq!(shelf.fence(A).release(claimed.key), Ok(Step::Changed));
    assert_let_go(&shelf, A);
}

#[test]
fn success_without_effect_is_failure() {
    let shelf = Shelf::new(2);
    shelf.disk(1).hook = Some(Box::new(|state, _, _| state.holder = None));
    let failed = claim(&shelf, A, Authority::Free);
    assert!(
        matches!(&failed, Err(ClaimError::NoEffect { disk, step: "RESERVE", answer: Answer::Good })
            if disk == "disk1"),
        "{failed:?}"
    );
    assert_let_go(&shelf, A);
}

#[test]
fn a_reservation_that_vanishes_after_it_was_taken_fails_the_read_back() {
    let shelf = Shelf::new(2);
    // The arbiter loses its power, but not its registrations, while the other disk is swept.
    let arbiter = shelf.clone();
    shelf.disk(1).hook = Some(Box::new(move |_, _, command| {
        if matches!(command, Command::Reserve(_)) {
            arbiter.disk(0).holder = None;
        }
    }));
    let failed = claim(&shelf, A, Authority::Free);
    assert!(matches!(failed, Err(ClaimError::ReadBack { ref disk, .. }) if disk == "disk0"));
    shelf.disk(1).hook = None;
    assert_let_go(&shelf, A);
}

#[test]
fn a_registration_that_is_removed_is_not_made_again() {
    let shelf = Shelf::new(1);
    shelf.disk(0).hook = Some(Box::new(|state: &mut State, _, command| {
        if matches!(command, Command::Reserve(_)) {
            state.registrants.clear();
        }
    }));
    let failed = claim(&shelf, A, Authority::Free);
    assert!(matches!(failed, Err(ClaimError::Overtaken { .. })));
    let registers = |(_, command): &(u32, Command)| matches!(command, Command::Register(_));
    assert_eq!(
        shelf
            .disk(0)
            .log
            .iter()
            .filter(|entry| registers(entry))
            .count(),
        1
    );
}

#[test]
fn a_key_that_is_shown_but_does_not_let_us_write_is_no_claim() {
    let shelf = Shelf::new(2);
    shelf.disk(1).hook = Some(Box::new(|state: &mut State, nexus, command| {
        // The session breaks down and comes back just before the proof.
        if command == Command::Write {
            state.renewed.push(nexus);
        }
    }));
    let failed = claim(&shelf, A, Authority::Free);
    assert!(matches!(failed, Err(ClaimError::CannotWrite { ref disk, .. }) if disk == "disk1"));
    shelf.disk(1).hook = None;
    // What is left on the dead session does no harm, and the next claim removes it.
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_fenced(&shelf, A, &claimed);
}

#[test]
fn nothing_is_written_before_everything_is_read_back() {
    let shelf = owned_by_a();
    let others = shelf.clone();
    shelf.disk(0).hook = Some(Box::new(move |state: &mut State, _, command| {
        if command == Command::Write {
            assert_eq!(state.holder_key(), Some(bits(B, 5)));
            for index in 1..3 {
                assert_eq!(others.disk(index).holder_key(), Some(bits(B, 5)));
            }
        }
    }));
    claim(&shelf, B, Authority::PeerDead).unwrap();
}
