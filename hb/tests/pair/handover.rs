//! Pools that are handed over, offered and asked for.

use embassy_time::Duration;
use orthrus_hb::{Accepted, Command, Epoch, PoolState, Refusal};

use crate::world::{A, B, Registrant, TANK, World};

#[test]
fn handover_and_giveback_preempt_nobody() {
    let mut world = World::serving();
    assert_eq!(
        world.command(A, Command::Handover(TANK)),
        Ok(Accepted::Releasing)
    );
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.state(A), PoolState::Standby);
    world.run(Duration::from_secs(60));
    assert_eq!(
        world.state(B),
        PoolState::Serving,
        "the home head does not take it back unasked"
    );
    assert_eq!(
        world.command(A, Command::Giveback(TANK)),
        Ok(Accepted::AskedPeer)
    );
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(60));
    assert_eq!(
        (world.state(A), world.state(B)),
        (PoolState::Serving, PoolState::Standby)
    );
    assert_eq!(
        (world.preempted.as_slice(), world.disk),
        (&[][..], Registrant::Head(A, Epoch(3)))
    );
}

#[test]
fn an_owner_that_dies_right_after_a_handover_is_replaced_at_once() {
    let mut world = World::serving();
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.crash(B);
    world.run(Duration::from_secs(3));
    assert_eq!(world.state(A), PoolState::Serving);
}

#[test]
fn a_failed_handover_goes_back_to_where_it_came_from() {
    let mut world = World::serving();
    world.machines[B].import_fails = true;
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b faults", |w| w.state(B) == PoolState::Faulted);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.until("b stands by", |w| w.state(B) == PoolState::Standby);
}

#[test]
fn an_offer_that_nobody_takes_is_withdrawn() {
    let mut world = World::serving();
    world.command(A, Command::Handover(TANK)).unwrap();
    world.machines[B].paused = true;
    world.until("a lets go", |w| w.state(A) == PoolState::Standby);
    world.until("a serves again", |w| w.state(A) == PoolState::Serving);
}

#[test]
fn an_offer_to_a_head_that_halts_is_withdrawn() {
    let mut world = World::serving();
    let now = world.now;
    world.machines[B].head.as_mut().unwrap().retire(now);
    // It does not know yet.
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("a lets go", |w| w.let_go == [(A, true)]);
    world.until("a serves again", |w| w.state(A) == PoolState::Serving);
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let mut world = World::serving();
    assert_eq!(
        world.command(A, Command::Takeover(TANK)),
        Err(Refusal::AlreadyThere)
    );
    assert_eq!(
        world.command(A, Command::Giveback(TANK)),
        Err(Refusal::AlreadyThere)
    );
    assert_eq!(
        world.command(B, Command::Handover(TANK)),
        Err(Refusal::NotServing)
    );
    world.crash(B);
    world.run(Duration::from_secs(3));
    assert_eq!(
        world.command(A, Command::Handover(TANK)),
        Err(Refusal::PeerNotHeard)
    );
}
