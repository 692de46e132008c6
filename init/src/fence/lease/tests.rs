//! Claims by lease in virtual time: the peer is a script of what its slot shows when.

use std::cell::{Cell, RefCell};

use super::*;

const A: HeadId = HeadId::First;
const B: HeadId = HeadId::Second;

type Script = Box<dyn Fn(u64) -> Option<Record>>;

/// The disk, and a peer that acts by the clock.
struct Fake {
    /// How long the machine has been up in the beginning.
    up_ms: u64,
    now_ms: Cell<u64>,
    peer: Script,
    written: RefCell<Vec<(u64, Record)>>,
    write_takes_ms: u64,
    fails: bool,
}

impl Fake {
    fn new(peer: impl Fn(u64) -> Option<Record> + 'static) -> Fake {
        Fake {
            up_ms: 1_000_000,
            now_ms: Cell::new(0),
            peer: Box::new(peer),
            written: RefCell::default(),
            write_takes_ms: 5,
            fails: false,
        }
    }

    fn last(&self) -> Record {
        self.written
            .borrow()
            .last()
            .expect("something was written")
            .1
    }
}

impl World for Fake {
    fn peer(&self) -> Result<Option<Record>, SlotError> {
        Ok((self.peer)(self.now_ms.get()))
    }

    fn write(&self, record: &Record) -> Result<(), SlotError> {
        self.written.borrow_mut().push((self.now_ms.get(), *record));
        self.now_ms.set(self.now_ms.get() + self.write_takes_ms);
        match self.fails {
            true => Err(SlotError::Absent),
            false => Ok(()),
        }
    }

    fn pause(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap();
        self.now_ms.set(self.now_ms.get() + time);
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.up_ms + self.now_ms.get())
    }
}

fn claimant(head: HeadId, authority: Authority) -> Claimant {
    Claimant {
        head,
        incarnation: Incarnation([1; 8]),
        epoch: Epoch(5),
        authority,
        covers: Epoch(4),
        lease: Some(terms(10)),
        failed: None,
    }
}

fn record(head: HeadId, epoch: u32, sequence: u64) -> Record {
    Record {
        head,
        incarnation: Incarnation([2; 8]),
        state: PoolState::Serving,
        epoch: Epoch(epoch),
        sequence,
        lease: Some(terms(10)),
    }
}

#[test]
fn a_pool_that_nobody_holds_is_claimed_at_once() {
    let let_go = claimant(A, Authority::Free).let_go();
    let let_go = Record {
        epoch: Epoch(4),
        ..let_go
    };
    for slot in [None, Some(let_go)] {
        let world = Fake::new(move |_| slot);
        let (lease, submitted) = claim(&claimant(B, Authority::Free), &world).unwrap();
        assert_eq!(lease, terms(10));
        assert_eq!(world.last().state, PoolState::Claiming);
        // The lease runs from before the last write.
        assert_eq!(submitted, Instant::from_millis(1_000_000 + 3005));
    }
}

#[test]
fn what_an_earlier_boot_of_this_head_had_under_way_is_waited_for() {
    let mut world = Fake::new(|_| None);
    world.up_ms = 4000;
    claim(&claimant(A, Authority::PeerLetGo), &world).unwrap();
    let (first_write, _) = world.written.borrow()[0];
    assert!((6000..7000).contains(&first_write), "{first_write}");
}

#[test]
fn what_a_failed_claim_of_this_boot_had_under_way_is_waited_for() {
    let world = Fake::new(|_| None);
    let again = Claimant {
        failed: Some(Instant::from_millis(world.up_ms - 3000)),
        ..claimant(A, Authority::PeerLetGo)
    };
    claim(&again, &world).unwrap();
    let (first_write, _) = world.written.borrow()[0];
    assert!((7000..8000).contains(&first_write), "{first_write}");
}

#[test]
fn the_former_owners_own_times_are_waited_out() {
    let mut held = record(A, 4, 77);
    held.lease = Some(Lease {
        lease_ms: 7000,
        watchdog_ms: 31_000,
        io_ms: 2000,
        watchdog_armed: true,
    });
    let world = Fake::new(move |_| Some(held));
    claim(&claimant(B, Authority::PeerDead), &world).unwrap();
    let (first_write, _) = world.written.borrow()[0];
    assert!((40_000..41_000).contains(&first_write), "{first_write}");
}

#[test]
fn an_owner_that_renews_while_we_wait_keeps_the_pool() {
    let world = Fake::new(|now| Some(record(A, 4, 77 + u64::from(now > 20_000))));
    let refused = claim(&claimant(B, Authority::PeerDead), &world);
    assert_eq!(refused, Err(LeaseError::HeldByPeer { epoch: Epoch(4) }));
    assert!(world.written.borrow().is_empty(), "nothing was written");
}

#[test]
fn an_owner_that_lets_go_while_we_wait_ends_the_wait() {
    let let_go = Record {
        epoch: Epoch(4),
        ..claimant(A, Authority::Free).let_go()
    };
    let world = Fake::new(move |now| match now {
        0..3000 => Some(record(A, 4, 77)),
        _ => Some(let_go),
    });
    claim(&claimant(B, Authority::PeerDead), &world).unwrap();
    assert!(world.written.borrow()[0].0 < 5000);
}

#[test]
fn nothing_is_taken_from_a_peer_without_the_right_to() {
    let world = Fake::new(|_| Some(record(A, 4, 77)));
    let refused = claim(&claimant(B, Authority::Free), &world);
    assert_eq!(refused, Err(LeaseError::HeldByPeer { epoch: Epoch(4) }));
    let world = Fake::new(|_| Some(record(A, 5, 77)));
    let refused = claim(&claimant(B, Authority::PeerDead), &world);
    assert_eq!(refused, Err(LeaseError::HeldByPeer { epoch: Epoch(5) }));
}

#[test]
fn without_armed_hardware_watchdogs_on_both_heads_there_is_no_claim() {
    let mut ours = claimant(B, Authority::PeerDead);
    ours.lease = None;
    let world = Fake::new(|_| None);
    assert_eq!(claim(&ours, &world), Err(LeaseError::NoWatchdog));
    for lease in [
        None,
        Some(Lease {
            watchdog_armed: false,
            ..terms(10)
        }),
    ] {
        let world = Fake::new(move |_| {
            Some(Record {
                lease,
                ..record(A, 4, 77)
            })
        });
        let refused = claim(&claimant(B, Authority::PeerDead), &world);
        assert_eq!(refused, Err(LeaseError::NoTerms { epoch: Epoch(4) }));
        assert!(world.written.borrow().is_empty());
    }
}

#[test]
fn of_two_that_race_the_first_head_goes_on_and_the_second_takes_its_claim_back() {
    // Each finds the other's claim after its own had settled.
    for (me, rival, wins) in [(A, B, true), (B, A, false)] {
        let world = Fake::new(move |now| {
            (now > 1000).then(|| Record {
                state: PoolState::Claiming,
                ..record(rival, 5, 0)
            })
        });
        let outcome = claim(&claimant(me, Authority::Free), &world);
        match wins {
            true => assert!(outcome.is_ok()),
            false => {
                assert_eq!(outcome, Err(LeaseError::LostRace { epoch: Epoch(5) }));
                assert_eq!(world.last(), claimant(me, Authority::Free).let_go());
            }
        }
    }
}

#[test]
fn a_rival_with_a_newer_epoch_wins_whoever_it_is() {
    let world = Fake::new(|now| (now > 1000).then(|| record(B, 6, 0)));
    let lost = claim(&claimant(A, Authority::Free), &world);
    assert_eq!(lost, Err(LeaseError::LostRace { epoch: Epoch(6) }));
}

#[test]
fn a_rival_that_has_settled_wins_whatever_its_epoch_and_one_that_was_waited_out_does_not() {
    // What ours did not see, as something lay over it just then.
    for epoch in [4, 5] {
        for (sequence, wins) in [(0, false), (1, true), (77, true)] {
            let world = Fake::new(move |now| (now > 1000).then(|| record(B, epoch, sequence)));
            let outcome = claim(&claimant(A, Authority::Free), &world);
            let epoch = Epoch(epoch);
            match wins {
                true => assert_eq!(outcome, Err(LeaseError::LostRace { epoch })),
                false => assert!(outcome.is_ok(), "{outcome:?}"),
            }
        }
    }
    let world = Fake::new(|_| Some(record(B, 4, 77)));
    assert!(claim(&claimant(A, Authority::PeerDead), &world).is_ok());
}

#[test]
fn a_claim_that_took_too_long_to_write_is_taken_back() {
    let mut world = Fake::new(|_| None);
    world.write_takes_ms = 2500;
    let slow = claim(&claimant(A, Authority::Free), &world);
    assert_eq!(slow, Err(LeaseError::Slow));
    assert_eq!(world.last().state, PoolState::Standby);
}

#[test]
fn while_a_record_is_written_the_one_before_it_is_in_another_block() {
    let block = |record: Record| orthrus_hb::ledger::block_of(record.head, record.sequence);
    let world = Fake::new(|_| None);
    claim(&claimant(A, Authority::Free), &world).unwrap();
    let written = world.written.borrow();
    let [(_, first), (_, second)] = written[..] else {
        panic!("two records");
    };
    assert_ne!(block(first), block(second));
    // What lets go is never where the record before it may still be under way.
    for last in [first, second] {
        let taken_back = claimant(A, Authority::Free).taken_back(last.sequence);
        assert_ne!(block(last), block(taken_back));
        assert!(taken_back.sequence > second.sequence);
    }
}

#[test]
fn a_claim_that_cannot_be_written_everywhere_is_none() {
    let mut world = Fake::new(|_| None);
    world.fails = true;
    let failed = claim(&claimant(A, Authority::Free), &world);
    assert_eq!(failed, Err(LeaseError::Slots(SlotError::Absent)));
}

#[test]
fn the_settling_time_covers_a_rivals_look_and_write() {
    // Read and write have a limit each; what is measured over both is their sum.
    assert!(SETTLE > 2 * SLOT_LIMIT);
    // And what is left of the lease after the settling is for the first renewal: it is written anew then.
    assert!(LEASE > 2 * SLOT_LIMIT);
}

#[test]
fn a_peer_that_says_it_holds_nothing_is_waited_for_only_as_long_as_its_io() {
    let world = Fake::new(|_| Some(record(A, 4, 77)));
    claim(&claimant(B, Authority::PeerYields), &world).unwrap();
    let (first_write, _) = world.written.borrow()[0];
    assert!((10_000..11_000).contains(&first_write), "{first_write}");
}
