//! Work that hangs or fails, and outcomes that come too late.

use embassy_time::Duration;
use orthrus_hb::{Command, Done, Epoch, Failure, Outcome, PoolState, Refusal, ResetReason, Ticket};

use crate::world::{A, B, TANK, World};

#[test]
fn an_outcome_of_another_ticket_or_epoch_has_no_effect() {
    let mut world = World::serving();
    let now = world.now;
    world.command(A, Command::Handover(TANK)).unwrap();
    let head = world.machines[A].head.as_mut().unwrap();
    for (ticket, epoch) in [(0, 1), (3, 1), (4, 2), (99, 1)] {
        let (ticket, epoch) = (Ticket(ticket), Epoch(epoch));
        let result = Ok(Done::Released);
        head.handle_outcome(
            &Outcome {
                pool: TANK,
                ticket,
                epoch,
                result,
            },
            now,
        );
        assert_eq!(head.pools()[0].state(), PoolState::Releasing);
    }
}

#[test]
fn a_lost_fence_of_an_old_epoch_has_no_effect() {
    let mut world = World::serving();
    let now = world.now;
    let head = world.machines[A].head.as_mut().unwrap();
    head.handle_fence_lost(TANK, Epoch(0), now);
    assert_eq!(head.poll_action(), None);
    world.run(Duration::from_secs(1));
    assert_eq!(world.machines[A].resets, []);
}

#[test]
fn a_release_that_hangs_ends_in_a_reset_and_a_takeover() {
    let mut world = World::serving();
    world.work_time = Duration::from_secs(3600);
    world.command(A, Command::Handover(TANK)).unwrap();
    world.run(Duration::from_millis(50));
    world.work_time = Duration::from_millis(200);
    world.until("a resets", |w| !w.machines[A].resets.is_empty());
    assert_eq!(world.machines[A].resets, [ResetReason::ReleaseStuck(TANK)]);
    world.until("one serves", |w| {
        [A, B].iter().any(|&h| w.state(h) == PoolState::Serving)
    });
}

#[test]
fn a_claim_that_hangs_ends_in_a_reset_and_the_pool_is_served() {
    let mut world = World::new();
    world.boot(A);
    world.boot(B);
    world.until("a looks", |w| w.state(A) == PoolState::Claiming);
    world.work_time = Duration::from_secs(3600);
    world.until("a claims", |w| w.head(A).pools()[0].epoch() == Epoch(1));
    world.work_time = Duration::from_millis(200);
    world.run(Duration::from_secs(60));
    assert_eq!(world.machines[A].resets, []);
    world.until("a resets", |w| !w.machines[A].resets.is_empty());
    assert_eq!(world.machines[A].resets, [ResetReason::ClaimStuck(TANK)]);
    world.until("one serves", |w| {
        [A, B].iter().any(|&h| w.state(h) == PoolState::Serving)
    });
}

#[test]
fn an_import_that_hangs_ends_in_a_reset_and_the_other_head_serves() {
    let mut world = World::serving();
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b claims", |w| w.head(B).pools()[0].epoch() == Epoch(2));
    let quick = core::mem::replace(&mut world.work_time, Duration::from_secs(3600));
    world.until("b imports", |w| w.state(B) == PoolState::Importing);
    let begun = world.now;
    world.work_time = quick;
    world.until("b resets", |w| !w.machines[B].resets.is_empty());
    assert_eq!(world.machines[B].resets, [ResetReason::ImportStuck(TANK)]);
    assert!(world.now >= begun + world.timing.import_limit);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    // What hangs is B's: the pool does not go back to it by itself.
    world.run(Duration::from_secs(60));
    assert_eq!(world.state(A), PoolState::Serving);
    assert_eq!(world.machines[A].resets, []);
}

#[test]
fn a_look_at_the_disks_that_hangs_keeps_nobody_waiting_and_resets_nobody() {
    let mut world = World::new();
    world.work_time = Duration::from_secs(3600);
    world.boot(A);
    world.boot(B);
    world.until("a looks", |w| w.state(A) == PoolState::Claiming);
    world.work_time = Duration::from_millis(200);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.state(A), PoolState::Faulted);
    assert_eq!(world.head(A).pools()[0].fault(), Some(Failure::Device));
    world.run(Duration::from_secs(600));
    assert_eq!(world.machines[A].resets, []);
    assert_eq!(world.state(B), PoolState::Serving);
}

#[test]
fn a_head_that_cannot_even_look_leaves_the_pool_to_its_peer() {
    let mut world = World::serving();
    world.command(A, Command::Handover(TANK)).unwrap();
    world.run(Duration::from_millis(50));
    let quick = core::mem::replace(&mut world.work_time, Duration::from_secs(60));
    world.until("b looks", |w| w.state(B) == PoolState::Claiming);
    world.work_time = quick;
    world.until("a serves again", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(10));
    // Its worker is still in there: nothing else is asked of it, and nobody relies on it.
    assert_eq!(world.state(B), PoolState::Faulted);
    assert_eq!(
        world.command(A, Command::Handover(TANK)),
        Err(Refusal::PeerNotReady)
    );
    world.until("b stands by", |w| w.state(B) == PoolState::Standby);
    assert_eq!(world.preempted, []);
}
