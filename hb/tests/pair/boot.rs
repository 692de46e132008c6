//! Heads that boot: who takes what, with and without a peer that can be heard.

use embassy_time::Duration;
use orthrus_hb::{Accepted, Command, Epoch, Hearing, LinkId, Liveness, PoolState, Rest};

use crate::world::{A, B, Registrant, TANK, World};

#[test]
fn the_home_head_serves_when_both_boot() {
    let mut world = World::new();
    world.boot(B);
    world.run(Duration::from_secs(3));
    world.boot(A);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(60));
    assert_eq!(
        (world.state(A), world.state(B)),
        (PoolState::Serving, PoolState::Standby)
    );
    assert_eq!(world.head(B).pools()[0].rest(), Some(Rest::PeerHolds));
}

#[test]
fn a_head_alone_takes_what_is_free_after_a_bounded_wait() {
    let mut world = World::new();
    world.boot(B);
    world.run(world.timing.peer_wait - Duration::from_millis(20));
    assert_eq!(world.rest(B), Some(Rest::AwaitingPeer));
    assert_eq!(world.disk, Registrant::Nobody);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.disk, Registrant::Head(B, Epoch(1)));
}

/// Its cables are plugged into themselves, or a line echoes.
#[test]
fn a_head_that_hears_only_itself_hears_nobody() {
    let mut world = World::new();
    world.boot(A);
    let end = world.now + Duration::from_secs(10);
    while world.now < end {
        for (from, link, bytes) in std::mem::take(&mut world.recorded) {
            world.replay(from, link, &bytes);
        }
        world.run(Duration::from_millis(10));
    }
    assert_eq!(world.head(A).liveness(), Liveness::Unheard);
    for link in LinkId::ALL {
        let (hearing, is_heard) = world.head(A).link_works(link);
        assert_eq!((hearing, is_heard), (Hearing::Unheard, false), "{link:?}");
    }
}

#[test]
fn a_head_that_never_heard_its_peer_preempts_nothing_until_told() {
    let mut world = World::serving();
    world.cut_cables();
    world.crash(B);
    world.boot(B);
    world.run(Duration::from_secs(90));
    assert_eq!(world.state(B), PoolState::Standby);
    assert_eq!(
        world.head(B).pools()[0].rest(),
        Some(Rest::HeldByUnheardPeer(Epoch(1)))
    );
    assert_eq!(world.state(A), PoolState::Serving);
    world.crash(A);
    assert_eq!(
        world.command(B, Command::Takeover(TANK)),
        Ok(Accepted::Claiming)
    );
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, [(A, Epoch(1))]);
}

#[test]
fn both_boot_without_cables_and_exactly_one_serves() {
    let mut world = World::new();
    world.cut_cables();
    world.boot(A);
    world.boot(B);
    world.run(Duration::from_secs(120));
    let states = [world.state(A), world.state(B)];
    assert!(states.contains(&PoolState::Serving) && states.contains(&PoolState::Standby));
    assert_eq!(world.preempted, []);
}
