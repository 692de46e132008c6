//! Whose keys a claim removes, whose end it, and whose it replaces.

use super::*;

#[test]
fn a_free_shelf_is_claimed_with_the_first_epoch() {
    let shelf = Shelf::new(3);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_eq!(claimed.epoch, Epoch(1));
    assert_eq!(claimed.notes, []);
    assert_fenced(&shelf, A, &claimed);
    assert_eq!(shelf.waited(), Duration::ZERO);
}

#[test]
fn free_never_touches_what_the_peer_holds() {
    let shelf = owned_by_a();
    let refused = claim(&shelf, B, Authority::Free);
    assert!(matches!(
        refused,
        Err(ClaimError::HeldByPeer {
            epoch: Epoch(4),
            ..
        })
    ));
    assert_untouched(&shelf, B);
}

#[test]
fn free_never_touches_a_shelf_where_the_peer_is_registered_on_one_disk() {
    let shelf = Shelf::new(3);
    shelf.disk(2).registrants.push((A, bits(A, 4)));
    let refused = claim(&shelf, B, Authority::Free);
    assert!(matches!(refused, Err(ClaimError::HeldByPeer { disk, .. }) if disk == "disk2"));
    assert_untouched(&shelf, B);
}

#[test]
fn a_standbys_keys_are_stale() {
    for authority in [Authority::PeerYields, Authority::Operator] {
        let shelf = owned_by_a();
        let claimed = claim(&shelf, B, authority).unwrap();
        assert_fenced(&shelf, B, &claimed);
    }
}

#[test]
fn all_stale_registrants_are_removed() {
    let shelf = owned_by_a();
    for (path, epoch) in [(11, 1), (12, 2), (13, 3)] {
        for mut disk in shelf.all() {
            disk.registrants.push((path, bits(B, epoch)));
            disk.registrants.push((path + 100, bits(A, epoch)));
        }
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
}

#[test]
fn own_key_of_an_earlier_incarnation_is_replaced() {
    let shelf = owned_by_a();
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_eq!(claimed.epoch, Epoch(5));
    assert_fenced(&shelf, A, &claimed);
    let replaced = |disk: &str| Note::Replaced {
        disk: disk.to_owned(),
        former: key(A, 4),
    };
    // Not preempted.
    assert_eq!(claimed.notes, ["disk0", "disk1", "disk2"].map(replaced));
}

#[test]
fn own_key_on_a_path_that_is_gone_is_preempted_without_authority_over_the_peer() {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.owned_by(1001, bits(A, 4));
    }
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_fenced(&shelf, A, &claimed);
    assert_eq!(claimed.notes.len(), 2);
}

#[test]
fn a_target_that_refuses_a_new_isid_keeps_an_own_earlier_key_from_this_head_and_not_from_the_peer()
{
    let left = || {
        let shelf = Shelf::new(2);
        for mut disk in shelf.all() {
            disk.isids = true;
            disk.owned_by(1001, bits(A, 4));
        }
        let refused = claim(&shelf, A, Authority::Free).unwrap_err();
        assert!(
            matches!(&refused, ClaimError::Unremovable { disk, victim, answer: Answer::Conflict }
                if disk == "disk0" && *victim == key(A, 4)),
            "{refused:?}"
        );
        assert_let_go(&shelf, A);
        shelf
    };
    let shelf = left();
    let claimed = claim(&shelf, B, Authority::PeerYields).unwrap();
    assert_fenced(&shelf, B, &claimed);
    // Or a host takes all keys off.
    let shelf = left();
    shelf.all().for_each(|mut disk| disk.leave(1001));
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert!(
        shelf
            .all()
            .all(|disk| disk.keys() == [claimed.key.to_bits()])
    );
}

#[test]
fn strangers_are_never_preempted_by_any_authority() {
    for authority in [
        Authority::Free,
        Authority::PeerYields,
        Authority::PeerDead,
        Authority::Operator,
    ] {
        for holds in [false, true] {
            let shelf = owned_by_a();
            shelf.disk(1).registrants.push((7, 0x1234));
            if holds {
                shelf.disk(1).holder = Some((7, 5));
            }
            let refused = claim(&shelf, B, authority);
            assert!(
                matches!(&refused, Err(ClaimError::Stranger { disk, stranger: Stranger::Registrant(0x1234) })
                    if disk == "disk1")
            );
            assert_untouched(&shelf, B);
        }
    }
}

#[test]
fn a_stranger_that_appears_during_the_claim_ends_it() {
    let shelf = owned_by_a();
    shelf.disk(2).hook = Some(Box::new(|state, _, command| {
        if matches!(command, Command::Reserve(_) | Command::Preempt { .. })
            && !state.keys().contains(&0x77)
        {
            state.registrants.push((7, 0x77));
        }
    }));
    let failed = claim(&shelf, B, Authority::PeerDead);
    assert!(matches!(
        failed,
        Err(ClaimError::Stranger {
            stranger: Stranger::Registrant(0x77),
            ..
        })
    ));
    shelf.disk(2).hook = None;
    assert_let_go(&shelf, B);
    assert!(shelf.disk(2).keys().contains(&0x77));
}

#[test]
fn handover_preempts_nothing() {
    let shelf = Shelf::new(3);
    let first = claim(&shelf, A, Authority::Free).unwrap();
    shelf.fence(A).release(first.key).unwrap();
    let mut next = request(&shelf, B, Authority::Free);
    next.epoch = first.epoch.next().unwrap();
    let second = shelf.fence(B).claim(&next).unwrap();
    assert_eq!(second.epoch, Epoch(2));
    assert_eq!(second.notes, []);
    assert_fenced(&shelf, B, &second);
}

#[test]
fn a_stranger_is_named_with_its_disk_its_key_and_the_way_out() {
    let shelf = owned_by_a();
    shelf.disk(1).registrants.push((7, 0x1234));
    let said = claim(&shelf, B, Authority::PeerDead)
        .unwrap_err()
        .to_string();
    for word in [
        "disk1",
        "0x0000000000001234",
        "stranger",
        "sg_persist --out --clear",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let survey = shelf.fence(B).survey();
    let stranger = survey.stranger(key(B, 0).cluster).unwrap();
    assert_eq!(stranger, ("disk1", Stranger::Registrant(0x1234)));
}

#[test]
fn a_reservation_for_all_registrants_is_never_preempted_and_named_with_the_way_out() {
    for kind in [7, 8] {
        let shelf = owned_by_a();
        shelf.disk(2).holder = Some((A, kind));
        for authority in [Authority::PeerDead, Authority::Operator] {
            let refused = claim(&shelf, B, authority).unwrap_err();
            let said = refused.to_string();
            for word in [
                "disk2",
                "all registrants",
                &format!("type {kind}"),
                "sg_persist",
            ] {
                assert!(said.contains(word), "{word}: {said}");
            }
            assert_untouched(&shelf, B);
        }
    }
}

#[test]
fn a_reservation_of_another_type_under_a_key_of_ours_is_replaced_by_the_right_one() {
    for kind in [1, 3, 6] {
        let shelf = owned_by_a();
        for mut disk in shelf.all() {
            disk.holder = Some((A, kind));
        }
        let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
        assert_fenced(&shelf, B, &claimed);
        assert_eq!(retyped(&claimed), [(key(A, 4), kind); 3]);
        // An earlier boot of this head, on the same path and on one that is gone.
        for path in [A, 1001] {
            let shelf = Shelf::new(2);
            for mut disk in shelf.all() {
                disk.owned_by(path, bits(A, 4));
                disk.holder = Some((path, kind));
            }
            let claimed = claim(&shelf, A, Authority::Free).unwrap();
            assert_fenced(&shelf, A, &claimed);
            assert_eq!(retyped(&claimed), [(key(A, 4), kind); 2]);
        }
    }
}

/// The keys under which another type was found, and SPC's number of it, disk by disk.
fn retyped(claimed: &Claimed) -> Vec<(Key, u8)> {
    let notes = claimed.notes.iter();
    let retyped = notes.filter_map(|note| match note {
        Note::Retyped { key, kind, .. } => Some((*key, *kind)),
        _ => None,
    });
    retyped.collect()
}

#[test]
fn a_disk_under_a_hosts_older_reserve_is_named_and_left_alone() {
    let shelf = owned_by_a();
    let claiming = request(&shelf, B, Authority::PeerDead);
    shelf.disk(1).locked = true;
    let said = shelf.fence(B).claim(&claiming).unwrap_err().to_string();
    assert!(
        said.contains("disk1: another host holds it by the older RESERVE"),
        "{said}"
    );
    assert_untouched(&shelf, B);
}
