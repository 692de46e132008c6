//! A pool that does not exist yet is made on one head, which then serves it; its peer was looking for it all the time.

use embassy_time::Duration;
use orthrus_hb::{Accepted, Command, Epoch, Health, LinkId, PoolState, Refusal, Rest};

use crate::world::{A, B, Registrant, TANK, World};

/// Both heads are up, the second one later by so much, and faulted for want of the pool.
fn bare(later: Duration) -> World {
    let mut world = World::new();
    world.is_bare = true;
    world.boot(A);
    world.run(later);
    world.boot(B);
    world.until("both are faulted", |w| {
        [A, B].iter().all(|&h| w.state(h) == PoolState::Faulted)
    });
    world
}

/// Says it until it is taken, as the worker does: either head may just be looking at the disks.
fn make(world: &mut World, who: usize) {
    for _ in 0..500 {
        match world.command(who, Command::Make(TANK)) {
            Ok(Accepted::Claiming) => return,
            Err(Refusal::Busy) => world.run(Duration::from_millis(20)),
            other => panic!("{other:?}"),
        }
    }
    panic!("never its turn");
}

/// The pool was made once, by this head, which serves it and goes on to.
fn its_maker_serves(world: &mut World, maker: usize, case: &str) {
    world.until("it is served", |w| {
        [A, B].iter().any(|&h| w.state(h) == PoolState::Serving)
    });
    world.run(Duration::from_secs(90));
    assert_eq!(world.made, [maker], "{case}");
    assert_eq!(world.state(maker), PoolState::Serving, "{case}");
    assert_eq!(world.rest(1 - maker), Some(Rest::PeerHolds), "{case}");
    assert_eq!(world.preempted, [], "{case}");
    assert!(world.machines.iter().all(|m| m.resets.is_empty()), "{case}");
}

#[test]
fn who_makes_a_pool_serves_it_whenever_either_head_looks_for_it() {
    // Both look again after pauses of 5, 10, 20, ... s by their own clocks: every order of their looks and of the steps
    // of the making, which take from a moment to longer than a pause.
    for maker in [A, B] {
        for work_ms in [10, 90, 400, 2500, 6000] {
            for later_ms in [0, 110, 2300, 4900] {
                for at_ms in (0..6000).step_by(170) {
                    let mut world = bare(Duration::from_millis(later_ms));
                    world.work_time = Duration::from_millis(work_ms);
                    world.run(Duration::from_millis(at_ms));
                    make(&mut world, maker);
                    let case = format!("{maker} at {at_ms}, {work_ms} of work, {later_ms} later");
                    its_maker_serves(&mut world, maker, &case);
                }
            }
        }
    }
}

#[test]
fn nobody_looks_for_a_pool_while_it_is_made() {
    let mut world = bare(Duration::from_millis(0));
    world.work_time = Duration::from_secs(60);
    // Longer than a look may take: the maker says that it is not to be waited for.
    make(&mut world, B);
    world.until("the look is late", |w| w.state(B) == PoolState::Faulted);
    world.work_time = Duration::from_millis(200);
    world.run(Duration::from_secs(120));
    assert_eq!(world.made, [] as [usize; 0]);
    // And this is not.
    world.work_time = Duration::from_millis(200);
    make(&mut world, B);
    world.until("b takes the disks", |w| {
        w.head(B).pools()[0].epoch() > Epoch::NONE
    });
    world.work_time = Duration::from_secs(60);
    world.run(Duration::from_secs(30));
    assert_ne!(world.state(A), PoolState::Claiming);
}

#[test]
fn a_pool_is_made_over_either_cable_and_without_any() {
    for cut in [vec![], vec![0], vec![1], vec![0, 1]] {
        for maker in [A, B] {
            let mut world = bare(Duration::from_millis(0));
            for &link in &cut {
                (world.cut[A][link], world.cut[B][link]) = (true, true);
            }
            world.run(Duration::from_secs(3));
            make(&mut world, maker);
            world.until("it is made", |w| !w.is_bare);
            world.run(Duration::from_secs(1));
            assert_eq!(world.state(maker), PoolState::Serving, "{cut:?} cut");
            assert_eq!(world.made, [maker]);
        }
    }
}

#[test]
fn a_pool_of_several_is_made_over_a_cable_that_tells_of_one_at_a_time() {
    for more in 1..4 {
        for maker in [A, B] {
            for later_ms in [0, 30, 110, 250] {
                let mut world = World::new();
                (world.is_bare, world.more_pools) = (true, more);
                // The serial one alone, from the beginning: each head's beats tell of the pools in turn.
                (world.cut[A][1], world.cut[B][1]) = (true, true);
                world.boot(A);
                world.run(Duration::from_millis(later_ms));
                world.boot(B);
                world.until("both are faulted", |w| {
                    [A, B].iter().all(|&h| w.state(h) == PoolState::Faulted)
                });
                make(&mut world, maker);
                world.until("it had its turn", |w| w.state(maker) != PoolState::Claiming);
                assert_eq!(world.made, [maker], "{more} more, {later_ms} ms later");
            }
        }
    }
}

#[test]
fn of_two_heads_that_are_told_at_once_at_most_one_makes_it() {
    // Of the same disks, for which they would race, or each of its own: two pools of one name.
    for apart in [false, true] {
        for (work_ms, latency_ms) in [(0, 0), (200, 0), (0, 40), (40, 40), (0, 150)] {
            for between_ms in (0..900).step_by(10) {
                let mut world = bare(Duration::from_millis(0));
                world.apart = apart;
                world.work_time = Duration::from_millis(work_ms);
                world.latency = [Duration::from_millis(latency_ms); 2];
                make(&mut world, A);
                world.run(Duration::from_millis(between_ms));
                let second = world.command(B, Command::Make(TANK));
                world.run(Duration::from_secs(45));
                let made = &world.made;
                let case =
                    format!("{between_ms} between, {work_ms} of work, {latency_ms} late, {made:?}");
                assert!(made.len() <= 1, "{case}");
                assert!(second.is_ok() || *made == [A], "{case}");
                assert_eq!(world.preempted, [], "{case}");
                // If none did, the next order does.
                if made.is_empty() {
                    make(&mut world, B);
                    its_maker_serves(&mut world, B, &case);
                }
            }
        }
    }
}

#[test]
fn a_maker_that_dies_leaves_a_pool_that_its_peer_serves_or_disks_that_it_can_use() {
    for after_ms in (0..1200).step_by(20) {
        let mut world = bare(Duration::from_millis(0));
        make(&mut world, A);
        world.run(Duration::from_millis(after_ms));
        world.crash(A);
        world.run(Duration::from_secs(90));
        let bare = world.is_bare;
        if bare {
            world.boot(A);
            world.run(Duration::from_secs(5));
            make(&mut world, A);
            its_maker_serves(&mut world, A, "again");
        } else {
            assert_eq!(world.state(B), PoolState::Serving, "{after_ms}");
        }
    }
}

#[test]
fn what_is_the_peers_is_not_taken_to_make_a_pool() {
    let mut world = bare(Duration::from_millis(0));
    world.disk = Registrant::Head(B, Epoch(7));
    make(&mut world, A);
    world.run(Duration::from_secs(30));
    assert_eq!(
        (world.made.len(), world.disk),
        (0, Registrant::Head(B, Epoch(7)))
    );
    assert_eq!(world.state(A), PoolState::Faulted);
    // Its own left-overs are no obstacle, and their number is not used again.
    make(&mut world, B);
    its_maker_serves(&mut world, B, "its own");
    assert_eq!(world.disk, Registrant::Head(B, Epoch(8)));
}

#[test]
fn a_pool_that_is_served_is_not_made() {
    let mut world = World::serving();
    let again = [A, B].map(|who| world.command(who, Command::Make(TANK)));
    assert_eq!(again, [Err(Refusal::AlreadyThere), Err(Refusal::PeerHolds)]);
}

#[test]
fn a_head_that_retires_makes_nothing() {
    let mut world = bare(Duration::from_millis(0));
    make(&mut world, A);
    let now = world.now;
    world.machines[A].head.as_mut().unwrap().retire(now);
    world.run(Duration::from_secs(10));
    assert!(world.head(A).is_at_rest());
    assert_eq!(world.made, [] as [usize; 0]);
    assert_eq!(
        world.command(A, Command::Make(TANK)),
        Err(Refusal::Retiring)
    );
}

#[test]
fn a_pool_that_is_destroyed_is_gone_on_both_heads_and_can_be_made_again() {
    let mut world = World::serving();
    assert_eq!(
        world.command(B, Command::Destroy(TANK)),
        Err(Refusal::NotServing)
    );
    assert_eq!(
        world.command(A, Command::Destroy(TANK)),
        Ok(Accepted::Releasing)
    );
    world.run(Duration::from_secs(90));
    assert!(world.is_bare);
    assert_eq!(world.disk, Registrant::Nobody);
    for head in [A, B] {
        assert_eq!(world.state(head), PoolState::Faulted);
        assert_eq!(world.machines[head].resets, []);
    }
    make(&mut world, B);
    its_maker_serves(&mut world, B, "again");
    // Nobody who remembers the former one takes this for an older claim of it.
    assert_eq!(world.disk, Registrant::Head(B, Epoch(2)));
}

#[test]
fn three_beats_that_were_lost_together_have_told_nobody() {
    let mut world = World::new();
    world.is_bare = true;
    world.boot(A);
    // Its beats come between those of the first.
    world.run(Duration::from_millis(50));
    world.boot(B);
    world.run(Duration::from_secs(60));
    let serial = LinkId::ALL.map(|link| link == LinkId::Serial);
    world.cut = [serial; 2];
    world.run(Duration::from_secs(5));
    // Just after a beat of the maker's.
    let sent = world.recorded.len();
    world.until("a beat", |w| w.recorded[sent..].iter().any(|f| f.0 == A));
    let Ok(Accepted::Claiming) = world.command(A, Command::Make(TANK)) else {
        panic!("it can be made")
    };
    world.cut[A] = [true; 2];
    let step = Duration::from_millis(10);
    for network in [true, false, true] {
        world.run(step);
        let shelf = false;
        world.health(A, Health { shelf, network });
    }
    world.run(step);
    world.cut[A] = serial;
    let head = world.machines[A].head.as_mut().expect("it is up");
    assert!(head.send_message(b"it arrives, and says nothing of the pool"));
    let mut waited = false;
    for _ in 0..100 {
        world.run(step);
        let told = world.head(B).word(TANK).map(|word| word.state);
        let waits = world.head(A).awaited_acknowledgements().next().is_some();
        assert!(waits || told.is_some_and(|s| s.may_hold()), "{told:?}");
        waited |= waits;
    }
    assert!(waited && world.made == [A], "{:?}", world.made);
}
