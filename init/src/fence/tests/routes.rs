//! Disks by several paths: all of them registered, one of them enough, and none that was left out ever again.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::reservations::{ReadError, WriteRefused};
use super::super::routes::{ChangeError, use_alone};
use super::super::{Member, Route};
use super::*;
use crate::disk::DiskId;

/// The second path of head A.
const A2: u32 = 11;

fn claim_by(shelf: &Shelf, fence: &Fence, authority: Authority) -> Result<Claimed, ClaimError> {
    fence.claim(&request(shelf, A, authority))
}

fn change(member: &Member, to: usize, key: Key) -> Result<(), ChangeError> {
    use_alone(&member.id, &member.routes, to, key, &|_| ())
}

fn in_use(member: &Member) -> Vec<bool> {
    member
        .routes
        .iter()
        .map(|route| route.is_in_use())
        .collect()
}

#[test]
fn every_path_is_registered_and_may_write() {
    let shelf = Shelf::new(3);
    let fence = shelf.fence_by(&[A, A2]);
    let claimed = claim_by(&shelf, &fence, Authority::Free).unwrap();
    for disk in shelf.all() {
        assert_eq!(disk.keys(), [claimed.key.to_bits(); 2]);
        assert!(disk.may_write(A) && disk.may_write(A2) && !disk.may_write(B));
        assert_eq!(disk.written, [A, A2], "each path proves it");
    }
}

#[test]
fn a_takeover_removes_all_paths_of_the_former_owner() {
    let shelf = Shelf::new(3);
    let fence = shelf.fence_by(&[A, A2]);
    claim_by(&shelf, &fence, Authority::Free).unwrap();
    for mut disk in shelf.all() {
        disk.under_way.extend([A, A2]);
    }
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert!(shelf.all().all(|disk| !disk.may_write(A2)));
}

#[test]
fn a_path_that_dies_during_the_claim_has_no_part_in_it() {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.cut.push(A);
    }
    let fence = shelf.fence_by(&[A, A2]);
    claim_by(&shelf, &fence, Authority::Free).unwrap();
    for (member, disk) in fence.members().iter().zip(shelf.all()) {
        assert_eq!(in_use(member), [false, true]);
        assert!(!disk.may_write(A) && disk.may_write(A2));
    }
}

#[test]
fn paths_to_two_disks_are_not_taken_for_paths_to_one() {
    let shelf = Shelf::new(2);
    let routes = vec![shelf.route(0, A), shelf.route(1, A2)];
    let member = Member::new("disk0".into(), DiskId("naa.00".into()), routes);
    let fence = Fence::new(vec![member], Arc::new(|_| ())).unwrap();
    let refused = claim_by(&shelf, &fence, Authority::Free);
    let Err(ClaimError::CannotWrite { source, .. }) = refused else {
        panic!("{refused:?}");
    };
    let (shown, registered) = (1, 2);
    assert_eq!(source, WriteRefused::Paths { shown, registered });
    assert_let_go(&shelf, A);
    assert_let_go(&shelf, A2);
}

/// What `nexus` sends fails, if it is `what`, the first `times`.
fn fails(disk: &mut State, nexus: u32, what: fn(Command) -> bool, mut times: u32) {
    disk.hook = Some(Box::new(move |disk, sender, command| {
        disk.cut.clear();
        if sender == nexus && what(command) && times > 0 {
            times -= 1;
            disk.cut.push(nexus);
        }
    }));
}

#[test]
fn a_path_that_does_not_register_has_no_part_in_the_claim_whatever_key_the_other_shows() {
    for (times, expected) in [(1, [true, true]), (1000, [true, false])] {
        let shelf = Shelf::new(1);
        let is_register = |command| matches!(command, Command::Register(_));
        fails(&mut shelf.disk(0), A2, is_register, times);
        let fence = shelf.fence_by(&[A, A2]);
        claim_by(&shelf, &fence, Authority::Free).unwrap();
        assert_eq!(in_use(&fence.members()[0]), expected);
        assert_eq!(shelf.disk(0).may_write(A2), expected[1]);
    }
}

#[test]
fn a_path_that_registered_and_then_died_may_not_write_after_the_claim() {
    for (no_abort, paths) in [
        (false, &[A, A2][..]),
        (true, &[A, A2]),
        (false, &[A, A2, 12]),
    ] {
        let shelf = Shelf::new(1);
        shelf.disk(0).no_abort = no_abort;
        fails(
            &mut shelf.disk(0),
            A2,
            |command| command == Command::Write,
            1000,
        );
        let fence = shelf.fence_by(paths);
        let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
        assert!(in_use(&fence.members()[0])[0] && !in_use(&fence.members()[0])[1]);
        let disk = shelf.disk(0);
        assert_eq!(
            (disk.keys(), disk.holder),
            (vec![key.to_bits()], Some((A, 5)))
        );
    }
}

#[test]
fn anothers_key_does_not_stand_for_one_of_ours_when_paths_are_counted() {
    let shelf = Shelf::new(2);
    for mut disk in shelf.all() {
        disk.hook = Some(Box::new(|disk, _, command| {
            if command == Command::Write {
                disk.registrants.push((B, bits(B, 0)));
            }
        }));
    }
    let routes = vec![shelf.route(0, A), shelf.route(1, A2)];
    let member = Member::new("disk0".into(), DiskId("naa.00".into()), routes);
    let fence = Fence::new(vec![member], Arc::new(|_| ())).unwrap();
    let refused = claim_by(&shelf, &fence, Authority::Free);
    assert!(
        matches!(refused, Err(ClaimError::CannotWrite { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_release_takes_the_keys_of_dead_paths_with_it() {
    for dead in [A, A2] {
        let shelf = Shelf::new(2);
        let fence = shelf.fence_by(&[A, A2]);
        let claimed = claim_by(&shelf, &fence, Authority::Free).unwrap();
        for mut disk in shelf.all() {
            disk.cut.push(dead);
        }
        assert_eq!(
            fence.release(claimed.key),
            Ok(Step::Changed),
            "without {dead}"
        );
        for disk in shelf.all() {
            assert_eq!((disk.keys(), disk.holder), (vec![], None), "without {dead}");
        }
        assert_eq!(fence.release(claimed.key), Ok(Step::Already));
    }
}

#[test]
fn a_failed_path_cannot_write_once_another_one_is_used() {
    let shelf = Shelf::new(1);
    let fence = shelf.fence_by(&[A, A2]);
    let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
    // A write that was given up arrives late.
    shelf.disk(0).under_way.push(A);
    let member = &fence.members()[0];
    change(member, 1, key).unwrap();
    let disk = shelf.disk(0);
    assert!(disk.under_way.is_empty() && !disk.may_write(A));
    assert_eq!(
        (disk.keys(), disk.holder),
        (vec![key.to_bits()], Some((A2, 5)))
    );
    assert!(disk.may_write(A2));
    drop(disk);
    assert_eq!(in_use(member), [false, true]);
    assert_eq!(fence.release(key), Ok(Step::Changed));
}

#[test]
fn without_abort_what_the_failed_path_had_under_way_is_waited_for() {
    let shelf = Shelf::new(1);
    shelf.disk(0).no_abort = true;
    let fence = shelf.fence_by(&[A, A2]);
    let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
    let waited = std::cell::Cell::new(Duration::ZERO);
    let pause = |time| waited.set(waited.get() + time);
    use_alone(
        &fence.members()[0].id,
        &fence.members()[0].routes,
        1,
        key,
        &pause,
    )
    .unwrap();
    assert_eq!(waited.get(), COMMAND_LIFETIME);
}

#[test]
fn no_path_registers_after_the_claim_and_none_is_changed_on_a_disk_that_was_lost() {
    let shelf = Shelf::new(1);
    let fence = shelf.fence_by(&[A, A2]);
    let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
    let before = shelf.disk(0).log.len();
    claim(&shelf, B, Authority::PeerDead).unwrap();
    let member = &fence.members()[0];
    let refused = change(member, 1, key);
    assert_eq!(refused, Err(ChangeError::Lost(Why::NotRegistered)));
    let disk = shelf.disk(0);
    let sent = disk.log[before..].iter();
    let ours: Vec<_> = sent.filter(|(nexus, _)| *nexus != B).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn a_spare_that_does_not_answer_costs_the_other_path_nothing() {
    let shelf = Shelf::new(1);
    let fence = shelf.fence_by(&[A, A2]);
    let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
    shelf.disk(0).cut.push(A2);
    let member = &fence.members()[0];
    let refused = change(member, 1, key);
    assert!(
        matches!(refused, Err(ChangeError::Read(ReadError::Call { .. }))),
        "{refused:?}"
    );
    assert_eq!(in_use(member), [true, true]);
    assert!(shelf.disk(0).may_write(A));
}

/// Opens it at the end of the test, however it ends: the watch waits for its writes.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A watched disk by two paths; the watch's next write by `slow` does not come back until the gate is opened.
fn with_a_slow_path(slow: u32) -> (Shelf, Fence, Key, crate::fence::Watch, Opens) {
    let shelf = Shelf::new(1);
    let fence = shelf.fence_by(&[A, A2]);
    let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
    let gate = Arc::new(Gate::default());
    let hangs = gate.clone();
    // From its write on.
    shelf.disk(0).hook = Some(Box::new(move |disk, nexus, command| {
        if (nexus, command) == (slow, Command::Read) && disk.slow.is_empty() {
            disk.slow.push((slow, hangs.clone()));
        }
    }));
    let watch = fence.watch(key, Arc::new(|_| ()));
    wait_for(|| shelf.disk(0).at_work.contains(&slow).then_some(()));
    (shelf, fence, key, watch, Opens(gate))
}

#[test]
fn nothing_is_aborted_by_a_path_while_a_write_of_our_own_is_on_it() {
    let (shelf, fence, key, _watch, gate) = with_a_slow_path(A2);
    let member = &fence.members()[0];
    assert_eq!(change(member, 1, key), Err(ChangeError::Busy));
    assert_eq!(in_use(member), [true, true]);
    assert!(!shelf.disk(0).hangs);
    gate.0.open();
    change(member, 1, key).unwrap();
    assert!(!shelf.disk(0).hangs && !shelf.disk(0).may_write(A));
}

#[test]
fn a_dead_path_whose_write_does_not_come_back_is_left_all_the_same() {
    let (shelf, fence, key, _watch, _gate) = with_a_slow_path(A);
    let member = &fence.members()[0];
    change(member, 1, key).unwrap();
    assert_eq!(in_use(member), [false, true]);
    assert!(!shelf.disk(0).may_write(A) && shelf.disk(0).may_write(A2));
}

#[test]
fn a_path_that_hangs_is_as_good_as_one_that_fails() {
    let (_shelf, fence, _key, _watch, _gate) = with_a_slow_path(A);
    let routes = &fence.members()[0].routes;
    wait_for(|| routes[0].is_failing().then_some(()));
    assert!(!routes[1].is_failing());
}

#[test]
fn a_release_waits_for_no_path_that_hangs() {
    let (shelf, fence, key, watch, gate) = with_a_slow_path(A);
    shelf.disk(0).under_way.push(A);
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        drop(watch);
        let _ = tell.send(fence.release(key));
    });
    assert_eq!(told.recv_timeout(LIMIT), Ok(Ok(Step::Changed)));
    let disk = shelf.disk(0);
    assert_eq!((disk.keys(), disk.holder), (vec![], None));
    assert!(disk.under_way.is_empty(), "what it had sent is aborted");
    drop(disk);
    drop(gate);
}

#[test]
fn a_path_that_begins_to_hang_as_the_pool_is_released_keeps_no_key() {
    for hangs in [A, A2] {
        let shelf = Shelf::new(1);
        let fence = shelf.fence_by(&[A, A2]);
        let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
        let gate = Opens(Arc::default());
        shelf.disk(0).slow.push((hangs, gate.0.clone()));
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || tell.send(fence.release(key)));
        assert_eq!(told.recv_timeout(LIMIT), Ok(Ok(Step::Changed)), "{hangs}");
        assert!(shelf.disk(0).keys().is_empty());
    }
}

#[test]
fn a_release_without_abort_waits_for_what_a_dead_path_had_sent_and_else_for_nothing() {
    for dead in [None, Some(A), Some(A2)] {
        let shelf = Shelf::new(1);
        shelf.disk(0).no_abort = true;
        let fence = shelf.fence_by(&[A, A2]);
        let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
        shelf.disk(0).cut.extend(dead);
        shelf.disk(0).under_way.extend(dead);
        // The last key is there until then.
        let world = shelf.clone();
        *shelf.on_pause.lock().unwrap() = Some(Box::new(move |_| {
            assert_eq!(world.disk(0).keys(), [key.to_bits()]);
        }));
        assert_eq!(fence.release(key), Ok(Step::Changed));
        let expected = dead.map_or(Duration::ZERO, |_| COMMAND_LIFETIME);
        assert_eq!(shelf.waited(), expected, "without {dead:?}");
        assert!(shelf.disk(0).under_way.is_empty());
    }
}

#[test]
fn a_lost_path_is_no_lost_disk_and_its_own_fencing_no_loss() {
    let shelf = Shelf::new(2);
    let fence = shelf.fence_by(&[A, A2]);
    let key = claim_by(&shelf, &fence, Authority::Free).unwrap().key;
    let watch = fence.watch(key, Arc::new(|_| ()));
    for mut disk in shelf.all() {
        disk.cut.push(A);
    }
    let failing = |route: &Arc<Route>| route.is_failing();
    let members = fence.members();
    wait_for(|| members.iter().all(|m| failing(&m.routes[0])).then_some(()));
    for member in members {
        change(member, 1, key).unwrap();
    }
    // It is back, and meets its conflict.
    for mut disk in shelf.all() {
        disk.cut.clear();
    }
    wait_for(|| members.iter().all(|m| !failing(&m.routes[0])).then_some(()));
    assert_eq!(watch.lost(), None);
    assert!(watch.silent(LIMIT).is_empty() && watch.sees_disks(LIMIT));
    assert_eq!(watch.oldest().map(|(name, _)| name.len()), Some(5));
    // It goes on answering, and writes nothing: the disk is as lost as without it.
    for mut disk in shelf.all() {
        disk.cut.push(A2);
    }
    wait_for(|| (!watch.sees_disks(LIMIT)).then_some(()));
    wait_for(|| (watch.silent(Duration::from_millis(500)).len() == 2).then_some(()));
    for mut disk in shelf.all() {
        disk.cut.clear();
    }
    claim(&shelf, B, Authority::PeerDead).unwrap();
    let lost = wait_for(|| watch.lost().cloned());
    assert!(
        matches!(lost.why, Why::NotRegistered | Why::NewerKey(_)),
        "{lost:?}"
    );
}

#[test]
fn a_path_that_hangs_is_waited_for_once_and_asked_again_when_it_came_back() {
    let shelf = Shelf::new(1);
    let fence = shelf.fence_by(&[A, A2]);
    let member = &fence.members()[0];
    let (hangs, asked) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    shelf.disk(0).slow.push((A, hangs.clone()));
    let count = asked.clone();
    shelf.disk(0).hook = Some(Box::new(move |_, nexus, _| {
        count.fetch_add(usize::from(nexus == A), Ordering::SeqCst);
    }));
    for _ in 0..3 {
        member.path.read().unwrap();
        assert!(member.routes[0].is_failing());
    }
    shelf.disk(0).slow.clear();
    hangs.open();
    wait_for(|| (!member.routes[0].is_failing()).then_some(()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    member.path.read().unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
