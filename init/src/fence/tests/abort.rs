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
        said.iter().any(|note| note.contains("waited 10 s")),
        "{said:?}"
    );
}

#[test]
fn writes_of_an_owner_that_the_shelf_forgot_are_waited_for() {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.under_way.push(A);
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), COMMAND_LIFETIME);
}
