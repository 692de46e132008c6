//! Two claims at once: the arbiter decides, exactly one holds, the other lets go.

use super::*;

#[test]
fn arbiter_is_the_smallest_identity_and_is_taken_before_all_others() {
    let shelf = owned_by_a();
    for index in 1..3 {
        let arbiter = shelf.clone();
        shelf.disk(index).hook = Some(Box::new(move |_, nexus, command| {
            if !matches!(command, Command::Read) {
                assert_eq!(arbiter.disk(0).holder, Some((nexus, 5)));
            }
        }));
    }
    let fence = shelf.fence(B);
    assert_eq!(fence.members()[0].name, "disk0");
    let claimed = fence
        .claim(&request(&shelf, B, Authority::PeerDead))
        .unwrap();
    for mut disk in shelf.all() {
        disk.hook = None;
    }
    assert_fenced(&shelf, B, &claimed);
}

#[test]
fn key_as_new_as_the_claim_belongs_to_a_rival_and_is_left_alone() {
    for (nexus, authority) in [(A, Authority::PeerDead), (B, Authority::Operator)] {
        let shelf = Shelf::new(3);
        shelf.disk(2).registrants.push((B, bits(B, 9)));
        shelf.disk(1).owned_by(A, bits(A, 7));
        let mut claiming = request(&shelf, nexus, authority);
        assert_eq!(claiming.epoch, Epoch(10));
        claiming.epoch = Epoch(9);
        let refused = shelf.fence(nexus).claim(&claiming);
        assert!(matches!(
            refused,
            Err(ClaimError::LostRace {
                epoch: Epoch(9),
                ..
            })
        ));
        assert_untouched(&shelf, nexus);
    }
}

#[test]
fn the_loser_of_the_arbiter_lets_go_and_touches_no_other_disk() {
    let shelf = Shelf::new(3);
    shelf.disk(0).hook = Some(Box::new(|state: &mut State, nexus, command| {
        if nexus == B && matches!(command, Command::Reserve(_)) {
            state.registrants.push((A, bits(A, 1)));
            state.holder = Some((A, 5));
            state.hook = Some(Box::new(|_, _, _| {}));
        }
    }));
    let lost = claim(&shelf, B, Authority::PeerDead);
    assert!(matches!(
        lost,
        Err(ClaimError::LostRace {
            epoch: Epoch(1),
            ..
        })
    ));
    assert_let_go(&shelf, B);
    assert_eq!(shelf.disk(0).keys(), [bits(A, 1)]);
    assert_eq!(shelf.disk(0).holder, Some((A, 5)));
    for index in 1..3 {
        assert_eq!(shelf.disk(index).log, []);
    }
}

#[test]
fn of_two_heads_that_claim_a_free_shelf_exactly_one_wins() {
    for _ in 0..100 {
        let shelf = Shelf::new(3);
        let (a, b) = (shelf.clone(), shelf.clone());
        let a = thread::spawn(move || claim(&a, A, Authority::Free));
        let b = thread::spawn(move || claim(&b, B, Authority::Free));
        match (a.join().unwrap(), b.join().unwrap()) {
            (Ok(claimed), Err(_)) => assert_fenced(&shelf, A, &claimed),
            (Err(_), Ok(claimed)) => assert_fenced(&shelf, B, &claimed),
            (a, b) => panic!("{a:?} {b:?}"),
        }
    }
}

#[test]
fn two_heads_that_take_each_other_for_dead_leave_one_owner() {
    for _ in 0..100 {
        let shelf = Shelf::new(3);
        let (a, b) = (shelf.clone(), shelf.clone());
        let a = thread::spawn(move || claim(&a, A, Authority::PeerDead));
        let b = thread::spawn(move || claim(&b, B, Authority::PeerDead));
        match (a.join().unwrap(), b.join().unwrap()) {
            (Ok(claimed), Err(_)) => assert_fenced(&shelf, A, &claimed),
            (Err(_), Ok(claimed)) => assert_fenced(&shelf, B, &claimed),
            // One claim was through before the other one looked: a takeover.
            (Ok(a), Ok(b)) if a.epoch > b.epoch => assert_fenced(&shelf, A, &a),
            (Ok(a), Ok(b)) if b.epoch > a.epoch => assert_fenced(&shelf, B, &b),
            (a, b) => panic!("{a:?} {b:?}"),
        }
    }
}

#[test]
fn the_winner_waits_for_a_loser_that_is_about_to_let_go() {
    let shelf = Shelf::new(1);
    let mut looks = 0;
    shelf.disk(0).hook = Some(Box::new(move |state: &mut State, _, command| {
        match command {
            // The peer registered in the same moment, and finds us there.
            Command::Reserve(_) => state.registrants.push((B, bits(B, 1))),
            Command::Read => looks += 1,
            _ => {}
        }
        if looks > 6 {
            state.registrants.retain(|(nexus, _)| *nexus != B);
        }
    }));
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_fenced(&shelf, A, &claimed);
    assert!(shelf.waited() > Duration::ZERO);
}

#[test]
fn a_registrant_that_never_lets_go_ends_a_claim_without_authority() {
    let shelf = Shelf::new(2);
    shelf.disk(0).hook = Some(Box::new(|state: &mut State, _, command| {
        if matches!(command, Command::Reserve(_)) {
            state.registrants.push((B, bits(B, 1)));
        }
    }));
    let failed = claim(&shelf, A, Authority::Free);
    assert!(matches!(failed, Err(ClaimError::HeldByPeer { .. })));
    assert_let_go(&shelf, A);
    assert_eq!(shelf.disk(0).keys(), [bits(B, 1)]);
}

#[test]
fn a_claim_that_is_overtaken_in_its_sweep_lets_everything_go() {
    let shelf = owned_by_a();
    // While B sweeps, a newer claim takes the arbiter away from it.
    let arbiter = shelf.clone();
    shelf.disk(2).hook = Some(Box::new(move |_, nexus, command| {
        let mut disk = arbiter.disk(0);
        if nexus == B && matches!(command, Command::Preempt { .. }) && disk.key_of(A).is_none() {
            disk.registrants = vec![(A, bits(A, 6))];
            disk.holder = Some((A, 5));
        }
    }));
    let failed = claim(&shelf, B, Authority::PeerDead);
    assert!(
        matches!(failed, Err(ClaimError::LostRace { ref disk, epoch: Epoch(6) }) if disk == "disk0")
    );
    shelf.disk(2).hook = None;
    assert_let_go(&shelf, B);
    assert_eq!(shelf.disk(0).keys(), [bits(A, 6)]);
    assert_eq!(shelf.disk(0).holder, Some((A, 5)));
}

#[test]
fn a_loser_that_registers_late_does_not_fail_the_winner() {
    for authority in [Authority::Free, Authority::PeerYields] {
        let shelf = Shelf::new(2);
        // The peer surveyed before us and registers when we have the arbiter already.
        let (arbiter, mut looks) = (shelf.clone(), 0);
        shelf.disk(1).hook = Some(Box::new(move |_, _, command| {
            if matches!(command, Command::Reserve(_)) {
                arbiter.disk(0).registrants.push((B, bits(B, 1)));
            }
        }));
        shelf.disk(0).hook = Some(Box::new(move |state: &mut State, _, command| {
            // It takes its time to let go again.
            looks += u32::from(command == Command::Read && state.key_of(B).is_some());
            if looks > 5 {
                state.registrants.retain(|(nexus, _)| *nexus != B);
            }
        }));
        let claimed = claim(&shelf, A, authority).unwrap();
        assert_fenced(&shelf, A, &claimed);
    }
}

#[test]
fn somebody_who_registers_over_and_over_ends_the_claim() {
    let shelf = Shelf::new(1);
    shelf.disk(0).no_abort = true;
    shelf.disk(0).hook = Some(Box::new(|state: &mut State, nexus, command| {
        if nexus == A && command == Command::Read && state.holder_key() == Some(bits(A, 5)) {
            state.registrants.retain(|(path, _)| *path != B);
            state.registrants.push((B, bits(B, 3)));
        }
    }));
    let mut claiming = request(&shelf, A, Authority::Operator);
    claiming.epoch = Epoch(5);
    let failed = shelf.fence(A).claim(&claiming);
    assert!(failed.is_err(), "{failed:?}");
    shelf.disk(0).hook = None;
    assert_let_go(&shelf, A);
}

#[test]
fn the_arbiter_is_let_go_last() {
    let shelf = Shelf::new(3);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let others = shelf.clone();
    shelf.disk(0).hook = Some(Box::new(move |_, _, command| {
        if matches!(command, Command::Release(..) | Command::Register(0)) {
            for index in 1..3 {
                assert!(others.disk(index).keys().is_empty());
            }
        }
    }));
    assert_eq!(shelf.fence(A).release(claimed.key), Ok(Step::Changed));
}

#[test]
fn the_loser_of_a_startup_duel_stands_by_while_the_winner_still_imports() {
    let shelf = Shelf::new(3);
    let (a, b) = (
        request(&shelf, A, Authority::Free),
        request(&shelf, B, Authority::Free),
    );
    // Both looked at the same free disks; A is first.
    let won = shelf.fence(A).claim(&a).unwrap();
    let lost = shelf.fence(B).claim(&b);
    assert!(matches!(
        lost,
        Err(ClaimError::HeldByPeer {
            epoch: Epoch(1),
            ..
        })
    ));
    // The winner has not said a word yet, and nothing but its keys speaks for it.
    for _ in 0..3 {
        let again = claim(&shelf, B, Authority::Free);
        assert!(matches!(
            again,
            Err(ClaimError::HeldByPeer {
                epoch: Epoch(1),
                ..
            })
        ));
    }
    assert_untouched(&shelf, B);
    assert_fenced(&shelf, A, &won);
}
