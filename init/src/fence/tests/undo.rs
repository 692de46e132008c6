//! Claims that fail leave nothing behind, and releases leave nothing but others' keys.

use super::*;

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
    let mut fence = shelf.fence(A);
    fence.limit = Duration::from_millis(50);
    let failed = fence.claim(&request(&shelf, A, Authority::Free));
    assert!(matches!(failed, Err(ClaimError::TimedOut { ref disk, .. }) if disk == "disk1"));
    assert_eq!(shelf.disk(1).log, []);
    gate.open();
    let deadline = Instant::now() + Duration::from_secs(5);
    let done = |state: &State| state.log.len() >= 2 && state.keys().is_empty();
    while !done(&shelf.disk(1)) {
        assert!(Instant::now() < deadline, "{:?}", shelf.disk(1).log);
        thread::sleep(Duration::from_millis(1));
    }
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
