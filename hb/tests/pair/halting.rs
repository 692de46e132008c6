//! A head that is told to halt: whatever it was at, it comes to rest, and its peer lets go of nothing for its sake.

use embassy_time::Duration;
use orthrus_hb::{Command, PoolState, Refusal, Rest};

use crate::world::{A, B, Registrant, TANK, World};

/// Longer than the half minute that an operator is kept waiting for.
const LONG: Duration = Duration::from_secs(45);

pub fn retire(world: &mut World, who: usize) {
    let now = world.now;
    world.machines[who].head.as_mut().unwrap().retire(now);
}

/// A has died, and B is at its claim, or at the import that follows, which take long.
fn taking(state: PoolState) -> World {
    let mut world = World::serving();
    world.crash(A);
    world.until("b claims", |w| w.state(B) == PoolState::Claiming);
    world.work_time = LONG;
    world.until("b is at it", |w| {
        w.state(B) == state && w.head(B).pools()[0].epoch().0 == 2
    });
    world
}

#[test]
fn a_halt_during_a_claim_or_an_import_ends_in_rest_and_the_peer_serves() {
    for state in [PoolState::Claiming, PoolState::Importing] {
        let mut world = taking(state);
        retire(&mut world, B);
        world.boot(A);
        world.run(Duration::from_secs(31));
        // It is still at it, says so, and did not forget what it was told.
        assert!(world.head(B).is_retiring(), "{state:?}");
        assert!(!world.head(B).is_at_rest(), "{state:?}");
        assert_eq!(
            world.command(B, Command::Takeover(TANK)),
            Err(Refusal::Retiring)
        );
        // What follows takes no longer than usual.
        world.work_time = Duration::from_millis(200);
        world.until("b rests", |w| w.head(B).is_at_rest());
        world.crash(B);
        world.until("a serves", |w| w.state(A) == PoolState::Serving);
        assert_eq!(world.machines[B].resets, [], "{state:?}");
    }
}

#[test]
fn a_halt_outlives_the_death_of_the_peer_and_takes_nothing_for_it() {
    for state in [PoolState::Claiming, PoolState::Importing] {
        let mut world = taking(state);
        world.boot(A);
        world.run(Duration::from_secs(2));
        retire(&mut world, B);
        world.crash(A);
        world.work_time = Duration::from_millis(200);
        world.until("b rests", |w| w.head(B).is_at_rest());
        assert_eq!(world.disk, Registrant::Nobody, "{state:?}");
        world.run(Duration::from_secs(100));
        assert!(world.head(B).is_at_rest(), "{state:?}");
        assert_eq!(world.machines[B].resets, [], "{state:?}");
    }
}

#[test]
fn a_look_at_the_disks_that_hangs_keeps_no_halt_waiting() {
    let mut world = World::serving();
    world.work_time = Duration::from_secs(600);
    world.crash(A);
    world.until("b looks", |w| w.state(B) == PoolState::Claiming);
    retire(&mut world, B);
    assert!(world.head(B).is_at_rest());
    // What the look finds in the end changes nothing.
    world.run(Duration::from_secs(700));
    assert!(world.head(B).is_at_rest());
    assert_eq!(world.rest(B), Some(Rest::Offered));
}

#[test]
fn nothing_is_handed_to_a_head_on_its_way_down() {
    let mut world = World::serving();
    retire(&mut world, B);
    // It rests at once, and goes on for a while.
    world.run(Duration::from_millis(200));
    assert!(world.head(B).is_at_rest());
    assert!(world.head(A).word(TANK).unwrap().retires());
    assert_eq!(
        world.command(A, Command::Handover(TANK)),
        Err(Refusal::PeerNotReady)
    );
    // Nor when it is the better head, nor when it had asked before.
    let network = orthrus_hb::Health {
        network: true,
        ..Default::default()
    };
    world.health(A, network);
    world.run(Duration::from_secs(30));
    assert_eq!(world.state(A), PoolState::Serving);
    assert_eq!(world.let_go, []);
}

#[test]
fn a_request_dies_with_the_halt_of_the_head_that_asked() {
    let mut world = World::serving();
    world.command(B, Command::Takeover(TANK)).unwrap();
    retire(&mut world, B);
    world.run(Duration::from_secs(30));
    assert_eq!(world.state(A), PoolState::Serving);
    assert_eq!(world.let_go, []);
}

#[test]
fn what_was_let_go_for_a_head_that_halts_is_taken_back_at_once() {
    let mut world = World::serving();
    world.command(A, Command::Handover(TANK)).unwrap();
    retire(&mut world, B);
    world.run(Duration::from_secs(2));
    assert_eq!(world.let_go, [(A, true)]);
    assert_eq!(world.state(A), PoolState::Serving);
}

#[test]
fn a_head_on_its_way_down_takes_no_orders_for_pools() {
    let mut world = World::serving();
    retire(&mut world, B);
    for command in [
        Command::Takeover,
        Command::Handover,
        Command::Giveback,
        Command::Make,
        Command::Destroy,
    ] {
        assert_eq!(world.command(B, command(TANK)), Err(Refusal::Retiring));
    }
}
