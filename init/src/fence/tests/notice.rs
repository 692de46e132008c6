//! A silent peer that still runs is told at the arbiter that it is over, and resets before a write of it is refused.

use std::sync::mpsc;

use super::*;

#[test]
fn an_owner_that_still_runs_knows_before_a_write_of_it_is_refused() {
    let shelf = Shelf::new(3);
    let owner = claim(&shelf, A, Authority::Free).unwrap();
    let (tell, losses) = mpsc::channel();
    let on_loss = Arc::new(move |lost: &Lost| {
        // The first loss is the head's last deed; later ones find nobody listening.
        let _ = tell.send(lost.clone());
    });
    let _watch = shelf.fence(A).watch(owner.key, on_loss);
    let disks = shelf.clone();
    *shelf.on_pause.lock().unwrap() = Some(Box::new(move |time| {
        assert_eq!(time, NOTICE);
        let lost = losses.recv_timeout(LIMIT).unwrap();
        assert_eq!(
            (lost.disk.as_str(), lost.why),
            ("disk0", Why::NewerKey(key(B, 2)))
        );
        for disk in disks.all() {
            assert!(
                disk.may_write(A),
                "no answer to a client was an error so far"
            );
        }
    }));
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    assert_eq!(shelf.waited(), NOTICE, "once, at the arbiter");
}

#[test]
fn a_notice_is_given_only_where_somebody_may_still_answer_clients() {
    // The peer says that it holds nothing.
    let shelf = owned_by_a();
    claim(&shelf, B, Authority::PeerYields).unwrap();
    assert_eq!(shelf.waited(), Duration::ZERO);
    // What is there is our own.
    let shelf = owned_by_a();
    claim(&shelf, A, Authority::PeerDead).unwrap();
    assert_eq!(shelf.waited(), Duration::ZERO);
    // The operator may be wrong about the peer being off.
    let shelf = owned_by_a();
    claim(&shelf, B, Authority::Operator).unwrap();
    assert_eq!(shelf.waited(), NOTICE);
}

#[test]
fn an_owner_that_is_gone_after_the_notice_leaves_nothing_to_preempt_and_its_writes_are_waited_for()
{
    let shelf = owned_by_a();
    let disks = shelf.clone();
    *shelf.on_pause.lock().unwrap() = Some(Box::new(move |time| {
        if time == NOTICE {
            disks.all().for_each(|mut disk| disk.leave(A));
        }
    }));
    let claimed = claim(&shelf, B, Authority::PeerDead).unwrap();
    assert_fenced(&shelf, B, &claimed);
    let time = COMMAND_LIFETIME;
    assert_eq!(claimed.notes, [Note::Waited { time }]);
}
