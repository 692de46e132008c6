//! When a head takes its peer for done with a pool, of which it may then give up what both saw.

use embassy_time::Duration;
use orthrus_hb::{Command, Epoch, PoolState};

use crate::halting::retire;
use crate::world::{A, B, Registrant, TANK, World};

fn retire_at_rest(world: &mut World, who: usize) {
    retire(world, who);
    world.until("nothing is held", |w| w.head(who).is_at_rest());
}

#[test]
fn who_fenced_its_peer_does_not_take_it_for_done_until_it_says_that_it_holds_nothing() {
    let mut world = World::serving();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    retire_at_rest(&mut world, B);
    assert_eq!(world.let_go, [(B, false)]);
    // A boot later, of which all is heard but an answer to the claim.
    let mut world = World::serving();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.boot(A);
    world.run(Duration::from_secs(2));
    world.crash(A);
    retire_at_rest(&mut world, B);
    assert_eq!(world.let_go, [(B, true)]);
}

#[test]
fn what_a_peer_says_that_knows_of_no_claim_does_not_end_what_it_had_under_way() {
    let mut world = World::new();
    // Of an earlier boot: whatever the peer says as it boots, it may have said before that claim as well.
    world.disk = Registrant::Head(A, Epoch(7));
    world.boot(A);
    world.boot(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_eq!(world.told_to_claim, [(A, false)]);
    // It knows of it soon.
    world.run(Duration::from_secs(1));
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.let_go, [(A, true)]);
    assert_eq!(world.told_to_claim, [(A, false), (B, true)]);
}

#[test]
fn a_peer_that_let_go_is_done_whatever_becomes_of_it() {
    let mut world = World::serving();
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.crash(A);
    world.run(Duration::from_secs(5));
    retire_at_rest(&mut world, B);
    assert_eq!(world.let_go, [(A, true), (B, true)]);
}

#[test]
fn a_head_that_retires_lets_go_and_the_peer_takes_over() {
    let mut world = World::serving();
    let now = world.now;
    // It must not halt on what was true before: it might just have begun to claim.
    assert!(!world.head(B).is_at_rest());
    world.machines[A].head.as_mut().unwrap().retire(now);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert!(world.head(A).is_at_rest());
    assert_eq!(world.preempted, []);
    // And nothing is taken back, even when the peer dies before the halt.
    world.crash(B);
    world.run(Duration::from_secs(60));
    assert!(world.head(A).is_at_rest());
}
