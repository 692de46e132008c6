//! Writes of a former owner that are still under way: aborted, or waited for.

use super::*;

#[test]
fn a_dead_owner_is_preempted_and_its_writes_aborted_without_waiting() {
    let shelf = owned_by_a();
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_eq!(claimed.epoch, Epoch(5));
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), NOTICE, "no wait for writes");
    assert!(shelf.all().all(|disk| !disk.written.contains(&A)));
    assert_eq!(claimed.notes.len(), 3);
    assert!(
        claimed
            .notes
            .iter()
            .all(|note| matches!(note, Note::Aborted { .. }))
    );
}

#[test]
fn without_preempt_and_abort_the_command_lifetime_is_waited_out_before_the_claim_holds() {
    let shelf = owned_by_a();
    for mut disk in shelf.all() {
        disk.no_abort = true;
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(
        shelf.waited(),
        NOTICE + COMMAND_LIFETIME,
        "one wait for all disks"
    );
    for disk in shelf.all() {
        let ours = disk.written.iter().position(|nexus| *nexus == B).unwrap();
        let theirs = disk.written.iter().position(|nexus| *nexus == A).unwrap();
        assert!(
            theirs < ours,
            "we wrote before the former owner's write landed"
        );
    }
    let said: Vec<String> = claimed.notes.iter().map(Note::to_string).collect();
    assert!(
        said.iter().any(|note| note.contains("without abort")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|note| note.contains("waited 10.0 s")),
        "{said:?}"
    );
}

#[test]
fn a_stale_key_that_could_not_be_removed_with_its_writes_is_waited_for_too() {
    for no_abort in [false, true] {
        let shelf = owned_by_a();
        for mut disk in shelf.all() {
            disk.no_abort = no_abort;
        }
        let claimed = claim(&shelf, B, Authority::PeerYields).unwrap();
        assert_fenced(&shelf, B, &claimed);
        let mut notes = claimed.notes.iter();
        let waited =
            notes.any(|note| matches!(note, Note::Waited { time } if *time == COMMAND_LIFETIME));
        assert_eq!(waited, no_abort);
    }
}

/// A shelf of two where A has writes under way and no key any more.
fn forgotten_by_a(forgets: bool) -> Shelf {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.under_way.push(A);
        disk.keeps = !forgets;
    }
    shelf
}

#[test]
fn writes_of_an_owner_that_the_shelf_forgot_are_waited_for() {
    for authority in [Authority::PeerDead, Authority::Operator] {
        for forgets in [false, true] {
            let shelf = forgotten_by_a(forgets);
            let claimed = claim(&shelf, B, authority).unwrap();
            assert_fenced(&shelf, B, &claimed);
            assert_eq!(shelf.waited(), COMMAND_LIFETIME);
        }
    }
}

#[test]
fn a_head_alone_before_a_shelf_that_forgets_waits_for_the_writes_of_an_owner_that_it_never_heard() {
    let shelf = forgotten_by_a(true);
    let claimed = claim(&shelf, B, Authority::Free).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), COMMAND_LIFETIME);
    // Nobody forgets a claim that was undone either.
    let shelf = forgotten_by_a(true);
    shelf.disk(1).dead = true;
    let mut refused = request(&shelf, B, Authority::Free);
    refused.epoch = Epoch(1);
    assert!(shelf.fence(B).claim(&refused).is_err());
    shelf.disk(1).dead = false;
    let claimed = claim(&shelf, B, Authority::Free).unwrap();
    assert_fenced(&shelf, B, &claimed);
}

#[test]
fn one_disk_that_forgot_is_enough_to_wait() {
    let shelf = owned_by_a();
    shelf.disk(2).forget();
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), NOTICE + COMMAND_LIFETIME);
}

#[test]
fn an_orderly_release_costs_the_next_claim_no_wait() {
    // The peer says so, or the disks would still show its key.
    for (authority, forgets) in [
        (Authority::PeerYields, true),
        (Authority::PeerYields, false),
        (Authority::Free, false),
    ] {
        let shelf = Shelf::new(2);
        let first = claim(&shelf, A, Authority::Free).unwrap();
        shelf.fence(A).release(first.key).unwrap();
        for mut disk in shelf.all() {
            disk.keeps = !forgets;
        }
        claim(&shelf, B, authority).unwrap();
        assert_eq!(shelf.waited(), Duration::ZERO);
    }
}

#[test]
fn writes_of_our_own_earlier_boot_are_waited_for_until_they_are_too_old() {
    for (up, left) in [(4, 6), (10, 0), (600, 0)] {
        let (up, left) = (Duration::from_secs(up), Duration::from_secs(left));
        for authority in [Authority::Free, Authority::PeerYields, Authority::PeerDead] {
            let shelf = owned_by_a();
            let claiming = request(&shelf, A, authority);
            let claimed = shelf
                .fence(A)
                .claim(&ClaimRequest { up, ..claiming })
                .unwrap();
            assert_fenced(&shelf, A, &claimed);
            assert_eq!(shelf.waited(), left);
        }
    }
}

#[test]
fn disks_that_forget_reservations_without_power_are_named_with_what_that_means() {
    let shelf = Shelf::new(3);
    assert_eq!(shelf.fence(A).survey().forgetful(), None);
    shelf.disk(1).keeps = false;
    let said = shelf.fence(A).survey().forgetful().unwrap();
    for word in ["disk1 forget", "PTPL", "the owner then resets"] {
        assert!(said.contains(word), "{said}");
    }
    let claimed = claim(&shelf, A, Authority::PeerYields).unwrap();
    assert!(!claimed.persistent);
    shelf.disk(1).keeps = true;
    assert!(claim(&shelf, A, Authority::PeerYields).unwrap().persistent);
}
