//! The owner's watch: what it takes for a loss, what for an alarm, and what for neither.

use super::*;

#[test]
fn the_former_owners_watch_sees_the_takeover() {
    let shelf = Shelf::new(3);
    let first = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(first.key, Arc::new(|_| ()));
    assert_eq!(watch.lost(), None);
    claim(&shelf, B, Authority::PeerDead).unwrap();
    let lost = wait_for(|| watch.lost().cloned());
    // Between the rival's REGISTER and its PREEMPT its key stands beside ours.
    assert!(
        matches!(lost.why, Why::NotRegistered | Why::NewerKey(_)),
        "{lost:?}"
    );
    assert!(!watch.is_blind());
}

#[test]
fn a_loss_is_acted_upon_by_the_watch_itself() {
    let shelf = Shelf::new(3);
    let (tell, losses) = std::sync::mpsc::channel();
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    // Later ones find nobody listening.
    let on_loss = Arc::new(move |lost: &Lost| {
        let _ = tell.send(lost.why);
    });
    let _watch = shelf.fence(A).watch(claimed.key, on_loss);
    claim(&shelf, B, Authority::PeerDead).unwrap();
    // Whichever disk is looked at first: the rival's key beside ours on the arbiter, or ours gone from another.
    let lost = losses.recv_timeout(LIMIT);
    assert!(
        matches!(lost, Ok(Why::NotRegistered | Why::NewerKey(_))),
        "{lost:?}"
    );
}

#[test]
fn a_watch_that_was_dropped_takes_an_orderly_release_for_no_loss() {
    let shelf = Shelf::new(3);
    let (tell, losses) = std::sync::mpsc::channel();
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let fence = shelf.fence(A);
    let on_loss = Arc::new(move |lost: &Lost| {
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
fn the_watch_reads_on_and_does_not_write_while_a_label_is_written() {
    let shelf = Shelf::new(1);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    // No other test has a disk of this identity, whose ends are taken here.
    let mut members = shelf.fence(A).members().to_vec();
    members[0].id = crate::disk::DiskId("watched-label".to_owned());
    let writes = crate::disk::ends::alone(&members[0].id, Duration::ZERO).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    shelf.disk(0).hook = Some(Box::new(move |_, _, command| {
        let _ = tell.send(command);
    }));
    let fence = Fence::new(members, Arc::new(std::thread::sleep)).unwrap();
    let _watch = fence.watch(claimed.key, Arc::new(|_| ()));
    for _ in 0..3 {
        assert!(matches!(told.recv_timeout(LIMIT), Ok(Command::Read)));
    }
    drop(writes);
    wait_for(|| told.try_iter().find(|one| matches!(one, Command::Write)));
}

#[test]
fn an_owner_whose_shelf_forgot_resets_and_never_registers_again() {
    for forgetful in [0, 2] {
        let shelf = Shelf::new(3);
        let claimed = claim(&shelf, A, Authority::Free).unwrap();
        let sent = |index| shelf.disk(index).log.len();
        let before = [sent(0), sent(1), sent(2)];
        let (tell, losses) = std::sync::mpsc::channel();
        let on_loss = Arc::new(move |lost: &Lost| {
            let _ = tell.send(lost.clone());
        });
        let watch = shelf.fence(A).watch(claimed.key, on_loss);
        shelf.disk(forgetful).forget();
        let lost = losses.recv_timeout(LIMIT).unwrap();
        assert_eq!(lost.why, Why::NotRegistered);
        assert_eq!(lost.disk, format!("disk{forgetful}"));
        assert_eq!(watch.lost(), Some(&lost));
        drop(watch);
        // Ends with the last of the watch's threads.
        assert_eq!(losses.iter().count(), 0);
        assert_eq!(
            [sent(0), sent(1), sent(2)],
            before,
            "nothing was sent but questions"
        );
    }
}

#[test]
fn a_reservation_of_another_type_is_a_loss() {
    for (kind, why) in [(1, Why::Kind(1)), (6, Why::Kind(6)), (7, Why::HeldBy(0))] {
        let shelf = Shelf::new(1);
        let claimed = claim(&shelf, A, Authority::Free).unwrap();
        shelf.disk(0).holder = Some((A, kind));
        let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
        assert_eq!(wait_for(|| watch.lost().cloned()).why, why);
    }
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
fn another_host_registered_under_our_identifier_is_a_loss() {
    let shelf = Shelf::new(2);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    shelf.disk(1).shared = true;
    let lost = wait_for(|| watch.lost().cloned());
    assert_eq!(lost.why, Why::NotRegistered);
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
fn disks_that_come_back_are_seen_only_once_a_write_went_through() {
    let shelf = Shelf::new(1);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    let within = Duration::from_millis(1500);
    wait_for(|| watch.sees_disks(within).then_some(()));
    // The path hangs; it comes back as a new session, which shows our key and refuses our writes.
    let path = Arc::new(Gate::default());
    shelf.disk(0).mute = Some(path.clone());
    wait_for(|| (!watch.sees_disks(within)).then_some(()));
    shelf.disk(0).renewed.push(A);
    shelf.disk(0).mute = None;
    path.open();
    while watch.lost().is_none() {
        assert!(!watch.sees_disks(within));
    }
    assert!(!watch.sees_disks(within));
}

#[test]
fn disks_that_fail_are_not_seen_and_one_that_answers_is_enough() {
    let shelf = Shelf::new(2);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let watch = shelf.fence(A).watch(claimed.key, Arc::new(|_| ()));
    let ever = Duration::from_secs(3600);
    shelf.disk(0).dead = true;
    wait_for(|| {
        let (disk, age) = watch.oldest()?;
        (disk == "disk0" && age > Duration::from_millis(500)).then_some(())
    });
    assert!(watch.sees_disks(ever));
    shelf.disk(1).dead = true;
    wait_for(|| (!watch.sees_disks(ever)).then_some(()));
    shelf.disk(0).dead = false;
    wait_for(|| watch.sees_disks(ever).then_some(()));
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
    // Told for as long as it is there.
    wait_for(|| (watch.alarms() == [("disk0", Alarm::Stranger(0x77))]).then_some(()));
    shelf.disk(0).leave(7);
    wait_for(|| watch.alarms().is_empty().then_some(()));
    assert_eq!(watch.lost(), None);
}

#[test]
fn the_read_back_is_judged() {
    let own = key(A, 5);
    let mut seen = Seen {
        generation: 0,
        keys: vec![own.to_bits()],
        holder: Some(Holder {
            key: own.to_bits(),
            kind: 5,
        }),
    };
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

#[test]
fn two_members_of_one_name_are_two_disks() {
    let shelf = Shelf::new(2);
    let claimed = claim(&shelf, A, Authority::Free).unwrap();
    let mut members = shelf.fence(A).members().to_vec();
    // A path that was away when the first was claimed; its name went on to the second.
    members[1].name = members[0].name.clone();
    let fence = Fence::new(members, Arc::new(std::thread::sleep)).unwrap();
    let [one, other] = [[Shelf::id(0)], [Shelf::id(1)]];
    let left = |fence: Option<Fence>| {
        let members = fence.unwrap().members().to_vec();
        let [member] = &members[..] else {
            panic!("{} members", members.len());
        };
        member.id.clone()
    };
    assert_eq!(left(fence.without(&one)), other[0]);
    assert_eq!(left(fence.only(&one[0])), one[0]);
    assert_eq!(fence.names_of(&one), "disk0");
    shelf.disk(1).dead = true;
    let watch = fence.watch(claimed.key, Arc::new(|_| ()));
    let limit = Duration::from_secs(1);
    wait_for(|| (watch.silent(limit) == other).then_some(()));
}
