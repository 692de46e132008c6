//! Claims that fail leave nothing behind but what an earlier boot had reserved, and releases leave nothing but others' keys.

use super::*;

/// With a limit that a test can wait for, and that a disk in memory keeps on a machine with other things to do.
fn impatient(shelf: &Shelf, nexus: u32) -> Fence {
    let mut fence = shelf.fence(nexus);
    fence.limit = Duration::from_secs(2);
    fence
}

#[test]
fn a_disk_that_fails_in_the_middle_undoes_the_claim_on_all_others() {
    let shelf = owned_by_a();
    shelf.disk(1).hook = Some(Box::new(|state: &mut State, _, command| {
        state.dead |= matches!(command, Command::Preempt { .. });
    }));
    let failed = claim(&shelf, B, Authority::PeerDead);
    assert!(matches!(failed, Err(ClaimError::Read { ref disk, .. }) if disk == "disk1"));
    for index in [0, 2] {
        assert_eq!(shelf.disk(index).key_of(B), None);
        assert_eq!(shelf.disk(index).holder, None);
    }
}

/// Shown by a disk that dies in the middle: where this head had a key before it stays reserved, unless the peer holds nothing.
#[test]
fn a_claim_that_fails_leaves_reserved_what_an_earlier_boot_of_this_head_had() {
    for (authority, is_kept) in [
        (Authority::PeerDead, true),
        (Authority::Free, true),
        (Authority::PeerLetGo, false),
    ] {
        let shelf = owned_by_a();
        let claiming = request(&shelf, A, authority);
        shelf.disk(1).hook = Some(Box::new(|state: &mut State, _, command| {
            state.dead |= matches!(command, Command::Register(key) if key != 0);
        }));
        let failed = shelf.fence(A).claim(&claiming);
        assert!(failed.is_err(), "{failed:?}");
        for index in [0, 2] {
            let disk = shelf.disk(index);
            let kept = is_kept.then_some(bits(A, 4));
            assert_eq!(disk.key_of(A), kept, "{authority:?}");
            assert_eq!(disk.holder.is_some(), is_kept, "{authority:?}");
        }
    }
}

#[test]
fn a_claim_that_loses_to_another_leaves_nothing_reserved() {
    let shelf = owned_by_a();
    let claiming = request(&shelf, A, Authority::PeerDead);
    // It takes the last one, under the same number.
    shelf.disk(2).hook = Some(Box::new(|state: &mut State, nexus, command| {
        if nexus == A && matches!(command, Command::Register(key) if key != 0) {
            state.owned_by(B, bits(B, 5));
        }
    }));
    let failed = shelf.fence(A).claim(&claiming);
    assert!(failed.is_err(), "{failed:?}");
    for index in 0..2 {
        assert_eq!(shelf.disk(index).key_of(A), None);
    }
}

#[test]
fn a_member_that_cannot_be_read_is_not_left_out() {
    let shelf = owned_by_a();
    shelf.disk(2).dead = true;
    let failed = claim(&shelf, B, Authority::Operator);
    assert!(matches!(failed, Err(ClaimError::Read { ref disk, .. }) if disk == "disk2"));
    assert_untouched(&shelf, B);
}

#[test]
fn a_thread_that_comes_back_after_the_claim_was_given_up_lets_its_disk_go() {
    let shelf = Shelf::new(2);
    let gate = Arc::new(Gate::default());
    shelf.disk(1).gate = Some(gate.clone());
    let failed = impatient(&shelf, A).claim(&request(&shelf, A, Authority::Free));
    assert!(matches!(failed, Err(ClaimError::TimedOut { ref disk, .. }) if disk == "disk1"));
    assert_eq!(shelf.disk(1).log, []);
    gate.open();
    let done = |state: &State| state.log.len() >= 2 && state.keys().is_empty();
    wait_for(|| done(&shelf.disk(1)).then_some(()));
    assert_let_go(&shelf, A);
}

#[test]
fn nothing_is_registered_while_this_kernel_still_uses_a_disk() {
    let shelf = Shelf::new(2);
    shelf.disk(1).busy = true;
    let refused = claim(&shelf, A, Authority::Free);
    assert!(matches!(refused, Err(ClaimError::InUse { ref disk, .. }) if disk == "disk1"));
    assert_untouched(&shelf, A);
}

#[test]
fn release_is_idempotent_and_leaves_nothing() {
    let shelf = Shelf::new(3);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let fence = shelf.fence(A);
    assert_eq!(fence.release(claimed.key), Ok(Step::Changed));
    assert_eq!(fence.release(claimed.key), Ok(Step::Already));
    for disk in shelf.all() {
        assert_eq!((disk.keys(), disk.holder), (vec![], None));
    }
}

#[test]
fn release_of_an_old_key_leaves_the_new_owner_alone() {
    let shelf = owned_by_a();
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_eq!(shelf.fence(A).release(key(A, 4)), Ok(Step::Already));
    assert_fenced(&shelf, B, &claimed);
}

#[test]
fn a_disk_that_answers_nothing_is_named_and_nothing_is_touched() {
    let shelf = owned_by_a();
    let claiming = request(&shelf, B, Authority::PeerDead);
    shelf.disk(1).mute = Some(Arc::default());
    let refused = impatient(&shelf, B).claim(&claiming).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("disk1: does not answer within"),
        "{refused}"
    );
    assert_untouched(&shelf, B);
}

#[test]
fn a_disk_that_cannot_even_be_opened_ends_the_claim_in_its_time() {
    let shelf = owned_by_a();
    let claiming = request(&shelf, B, Authority::PeerDead);
    shelf.disk(1).jammed = Some(Arc::default());
    let refused = impatient(&shelf, B).claim(&claiming);
    assert!(matches!(refused, Err(ClaimError::TimedOut { ref disk, .. }) if disk == "disk1"));
    assert_untouched(&shelf, B);
}

#[test]
fn a_disk_that_falls_silent_in_the_middle_keeps_no_other_disk() {
    let shelf = owned_by_a();
    let claiming = request(&shelf, B, Authority::PeerDead);
    let gate = Arc::new(Gate::default());
    let silent = gate.clone();
    shelf.disk(1).hook = Some(Box::new(move |state: &mut State, nexus, command| {
        // Our registration is on it, and from here on it says nothing.
        if nexus == B && matches!(command, Command::Register(key) if key != 0) {
            state.mute = Some(silent.clone());
            state.gate = Some(silent.clone());
        }
    }));
    let failed = impatient(&shelf, B).claim(&claiming);
    assert!(matches!(failed, Err(ClaimError::TimedOut { ref disk, .. }) if disk == "disk1"));
    for index in [0, 2] {
        assert_eq!(shelf.disk(index).key_of(B), None);
    }
    assert_eq!(shelf.disk(1).key_of(B), Some(bits(B, 5)));
    // It comes back, and its thread lets it go, whoever owns the rest by then.
    gate.open();
    wait_for(|| shelf.disk(1).key_of(B).is_none().then_some(()));
}

#[test]
fn a_release_says_which_disk_does_not_answer() {
    let shelf = Shelf::new(3);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    shelf.disk(2).mute = Some(Arc::default());
    let failed = impatient(&shelf, A).release(claimed.key).unwrap_err();
    assert_eq!(failed.to_string(), "disk2: no answer in time");
    for index in 0..2 {
        assert!(shelf.disk(index).keys().is_empty());
    }
}
