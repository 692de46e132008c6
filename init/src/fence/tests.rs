//! Each rule of fencing, by name, on a shelf in memory.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use orthrus_hb::{Authority, ClusterId, Epoch, HeadId, Key};

use super::reservations::{Answer, Trouble};
use super::shelf::{Command, Gate, Shelf, State};
use super::watch::{Alarm, Why};
use super::{COMMAND_LIFETIME, ClaimError, ClaimRequest, Claimed, Note};
use crate::Step;

/// The paths of the two heads.
const A: u32 = 1;
const B: u32 = 2;

fn key(nexus: u32, epoch: u32) -> Key {
    Key {
        cluster: ClusterId::from_name("lab"),
        head: if nexus == A {
            HeadId::First
        } else {
            HeadId::Second
        },
        epoch: Epoch(epoch),
    }
}

fn bits(nexus: u32, epoch: u32) -> u64 {
    key(nexus, epoch).to_bits()
}

/// With the epoch that the core would choose: one more than the greatest on the shelf.
fn request(shelf: &Shelf, nexus: u32, authority: Authority) -> ClaimRequest {
    let cluster = key(nexus, 0).cluster;
    let greatest = shelf.fence(nexus).survey().greatest_epoch(cluster);
    ClaimRequest {
        cluster,
        head: key(nexus, 0).head,
        epoch: greatest.next().unwrap(),
        authority,
        command_lifetime: COMMAND_LIFETIME,
    }
}

fn claim(shelf: &Shelf, nexus: u32, authority: Authority) -> Result<Claimed, ClaimError> {
    shelf.fence(nexus).claim(&request(shelf, nexus, authority))
}

/// A shelf of three that head A owns with epoch 4, and was writing to.
fn owned_by_a() -> Shelf {
    let shelf = Shelf::new(3);
    for mut disk in shelf.all() {
        disk.owned_by(A, bits(A, 4));
    }
    shelf
}

/// What every claim that succeeded must have brought about.
fn assert_fenced(shelf: &Shelf, owner: u32, claimed: &Claimed) {
    for disk in shelf.all() {
        assert_eq!(disk.keys(), [claimed.key.to_bits()]);
        assert_eq!(disk.holder, Some((owner, 5)));
        assert!(disk.may_write(owner));
        assert!(!disk.may_write(if owner == A { B } else { A }));
        let former: Vec<_> = disk.under_way.iter().filter(|n| **n != owner).collect();
        assert!(former.is_empty(), "a former owner's write can still land");
    }
}

/// Not one command that changes anything was sent by this head.
fn assert_untouched(shelf: &Shelf, nexus: u32) {
    for disk in shelf.all() {
        assert!(disk.log.iter().all(|(n, _)| *n != nexus), "{:?}", disk.log);
        assert!(!disk.written.contains(&nexus));
    }
}

fn assert_let_go(shelf: &Shelf, nexus: u32) {
    for disk in shelf.all() {
        assert_eq!(disk.key_of(nexus), None);
    }
}

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
fn a_dead_owner_is_preempted_and_its_writes_aborted_without_waiting() {
    let shelf = owned_by_a();
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_eq!(claimed.epoch, Epoch(5));
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), Duration::ZERO);
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
    assert_eq!(shelf.waited(), COMMAND_LIFETIME, "one wait for all disks");
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
fn success_that_is_answered_as_conflict_is_success() {
    let shelf = owned_by_a();
    for mut disk in shelf.all() {
        disk.lie = Some(Answer::Conflict);
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(
        shelf.waited(),
        COMMAND_LIFETIME,
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
                matches!(&refused, Err(ClaimError::Stranger { disk, key: 0x1234 }) if disk == "disk1")
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
        Err(ClaimError::Stranger { key: 0x77, .. })
    ));
    shelf.disk(2).hook = None;
    assert_let_go(&shelf, B);
    assert!(shelf.disk(2).keys().contains(&0x77));
}

#[test]
fn own_key_of_an_earlier_incarnation_is_replaced() {
    let shelf = owned_by_a();
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    assert_eq!(claimed.epoch, Epoch(5));
    assert_fenced(&shelf, A, &claimed);
    assert_eq!(claimed.notes, [], "replaced, not preempted");
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
        if matches!(command, Command::Release(_) | Command::Register(0)) {
            for index in 1..3 {
                assert!(others.disk(index).keys().is_empty());
            }
        }
    }));
    assert_eq!(shelf.fence(A).release(claimed.key), Ok(Step::Changed));
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
fn writes_of_an_owner_that_the_shelf_forgot_are_waited_for() {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.under_way.push(A);
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), COMMAND_LIFETIME);
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
fn release_of_an_old_key_leaves_the_new_owner_alone() {
    let shelf = owned_by_a();
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_eq!(shelf.fence(A).release(key(A, 4)), Ok(Step::Already));
    assert_fenced(&shelf, B, &claimed);
}

#[test]
fn the_former_owners_watch_sees_the_takeover() {
    let shelf = Shelf::new(3);
    let first = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(first.key, Arc::new(|_| ()));
    assert_eq!(watch.lost(), None);
    claim(&shelf, B, Authority::PeerDead).unwrap();
    let lost = wait_for(|| watch.lost().cloned());
    assert_eq!(lost.why, Why::NotRegistered);
    assert!(!watch.is_blind());
}

#[test]
fn a_loss_is_acted_upon_by_the_watch_itself() {
    let shelf = Shelf::new(3);
    let (tell, losses) = std::sync::mpsc::channel();
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    // Later ones find nobody listening.
    let on_loss = Arc::new(move |lost: &super::Lost| {
        let _ = tell.send(lost.why);
    });
    let _watch = shelf.fence(A).watch(claimed.key, on_loss);
    claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_eq!(losses.recv(), Ok(Why::NotRegistered));
}

#[test]
fn a_watch_that_was_dropped_takes_an_orderly_release_for_no_loss() {
    let shelf = Shelf::new(3);
    let (tell, losses) = std::sync::mpsc::channel();
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let fence = shelf.fence(A);
    let on_loss = Arc::new(move |lost: &super::Lost| {
        let _ = tell.send(lost.why);
    });
    drop(fence.watch(claimed.key, on_loss));
    fence.release(claimed.key).unwrap();
    // Ends when the watch's threads have gone: they hold the other end of the channel.
    assert_eq!(losses.iter().count(), 0);
}

#[test]
fn the_watch_sees_a_session_that_may_no_longer_write() {
    let shelf = Shelf::new(2);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    shelf.disk(1).renewed.push(A);
    let lost = wait_for(|| watch.lost().cloned());
    assert_eq!(lost.disk, "disk1");
    assert!(matches!(lost.why, Why::Write(_)));
}

#[test]
fn a_conflict_in_the_read_back_itself_is_a_loss() {
    let shelf = Shelf::new(2);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    shelf.disk(1).locked = true;
    let lost = wait_for(|| watch.lost().cloned());
    assert!(matches!(lost.why, Why::Write(_)), "{lost}");
}

#[test]
fn the_watch_takes_a_dead_disk_for_dead_and_not_for_lost() {
    let shelf = Shelf::new(2);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    shelf.disk(1).dead = true;
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    let oldest = wait_for(|| {
        let (disk, age) = watch.oldest()?;
        (age > Duration::from_millis(500)).then(|| disk.to_owned())
    });
    assert_eq!(oldest, "disk1");
    assert_eq!(watch.lost(), None);
}

#[test]
fn the_watch_removes_an_older_key_and_leaves_a_strangers() {
    let shelf = Shelf::new(1);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    shelf.disk(0).registrants.push((B, bits(B, 0)));
    shelf.disk(0).registrants.push((7, 0x77));
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    wait_for(|| (!shelf.disk(0).keys().contains(&bits(B, 0))).then_some(()));
    assert!(shelf.disk(0).keys().contains(&0x77));
    assert_eq!(watch.lost(), None);
}

#[test]
fn the_read_back_is_judged() {
    let own = key(A, 5);
    let mut seen = super::Seen {
        generation: 0,
        keys: vec![own.to_bits()],
        holder: Some(super::reservations::Holder {
            key: own.to_bits(),
            kind: 5,
        }),
    };
    let judge = super::watch::judge;
    assert_eq!(judge(&seen, own), Ok(None));
    seen.keys.push(bits(B, 6));
    assert_eq!(judge(&seen, own), Err(Why::NewerKey(key(B, 6))));
    seen.keys[1] = bits(B, 5);
    assert_eq!(judge(&seen, own), Ok(Some(Alarm::OlderKey(key(B, 5)))));
    seen.keys[1] = 0x99;
    assert_eq!(judge(&seen, own), Ok(Some(Alarm::Stranger(0x99))));
    seen.keys.truncate(1);
    seen.holder = None;
    assert_eq!(judge(&seen, own), Err(Why::NotReserved));
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}
