//! The peer hears of a claim before a key of it is on a disk; that beats say so before each claim is looked at in `world`.

use embassy_time::Duration;
use orthrus_hb::{Command, Epoch, LinkId, PoolId, PoolState};

use crate::world::{A, B, Registrant, SECOND, TANK, World};

/// A serves two pools.
fn serving_two() -> World {
    let mut world = World::new();
    world.more_pools = 1;
    world.second_disk = Some(Registrant::Nobody);
    world.boot(A);
    world.boot(B);
    world.until("a serves both", |w| serves_both(w, A));
    world.run(Duration::from_secs(2));
    world
}

fn serves_both(world: &World, who: usize) -> bool {
    let mut pools = world.head(who).pools().iter();
    pools.all(|pool| pool.state() == PoolState::Serving)
}

fn hand_over_both(world: &mut World) {
    world.command(A, Command::Handover(TANK)).unwrap();
    world.command(A, Command::Handover(SECOND)).unwrap();
}

/// What a head knows of the epochs of both pools.
fn known(world: &World, who: usize) -> [Epoch; 2] {
    [TANK, SECOND].map(|PoolId(pool)| world.head(who).pools()[usize::from(pool)].epoch())
}

#[test]
fn a_head_that_dies_with_its_first_keys_is_replaced_over_either_cable() {
    for cut in [None, Some(LinkId::Serial), Some(LinkId::Ether)] {
        let mut world = serving_two();
        if let Some(link) = cut {
            world.cut[A][link.index()] = true;
            world.cut[B][link.index()] = true;
            world.run(Duration::from_secs(3));
        }
        hand_over_both(&mut world);
        world.until("b claims both", |w| known(w, B) == [Epoch(2); 2]);
        // As its workers begin: not even their outcomes are said any more.
        let claimed = Registrant::Head(B, Epoch(2));
        (world.disk, world.second_disk) = (claimed, Some(claimed));
        world.crash(B);
        world.run(Duration::from_millis(20));
        assert_eq!(known(&world, A), [Epoch(2); 2], "cut: {cut:?}");
        world.run(Duration::from_secs(5));
        assert!(serves_both(&world, A), "cut: {cut:?}");
        assert_eq!(world.preempted, [(B, Epoch(2)); 2], "cut: {cut:?}");
    }
}

/// Of each right that makes the pool *claiming* from the look on, so that the claim itself does not change its state.
#[test]
fn a_claim_by_any_right_is_told_before_it_begins() {
    let mut world = serving_two();
    // In order.
    hand_over_both(&mut world);
    world.until("b serves both", |w| serves_both(w, B));
    // From the dead.
    world.crash(B);
    world.until("a serves both", |w| serves_both(w, A));
    // By an operator, from one that was never heard.
    world.cut_cables();
    world.boot(B);
    world.run(Duration::from_secs(30));
    world.crash(A);
    for pool in [TANK, SECOND] {
        world.command(B, Command::Takeover(pool)).unwrap();
    }
    world.until("b serves both", |w| serves_both(w, B));
    assert_eq!(known(&world, B), [Epoch(4); 2]);
}
