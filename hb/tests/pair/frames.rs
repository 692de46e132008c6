//! Frames that must not count: recorded ones, those of boots that are over. And messages, which must arrive.

use embassy_time::Duration;
use orthrus_hb::{LinkId, Liveness, PoolState};

use crate::world::{A, B, World};

/// What a head has said so far, frame by frame.
fn said_by(world: &World, who: usize) -> Vec<(LinkId, Vec<u8>)> {
    let frames = world.recorded.iter().filter(|(from, ..)| *from == who);
    frames
        .map(|(_, link, bytes)| (*link, bytes.clone()))
        .collect()
}

#[test]
fn replayed_frames_keep_nobody_alive() {
    let mut world = World::serving();
    world.crash(A);
    let frames = said_by(&world, A);
    for (link, bytes) in frames.iter().cycle().take(2000) {
        world.replay(B, *link, bytes);
        world.run(Duration::from_millis(10));
    }
    assert_eq!(world.state(B), PoolState::Serving);
    let (accepted, rejected) = world.head(B).peer().link(LinkId::Ether).counters();
    assert!(rejected > accepted);
}

#[test]
fn frames_recorded_in_an_earlier_boot_of_ours_keep_nobody_alive_on_a_cut_link() {
    let mut world = World::serving();
    world.run(Duration::from_secs(10));
    let is_old = |(who, link, _): &&(usize, LinkId, Vec<u8>)| *who == A && *link == LinkId::Ether;
    let old: Vec<_> = world.recorded.iter().filter(is_old).cloned().collect();
    world.cut = [LinkId::ALL.map(|link| link == LinkId::Ether); 2];
    world.crash(B);
    world.boot(B);
    world.run(Duration::from_secs(5));
    world.crash(A);
    for (_, link, bytes) in old.iter().take(50) {
        world.replay(B, *link, bytes);
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.state(B), PoolState::Serving);
    let (accepted, _) = world.head(B).peer().link(LinkId::Ether).counters();
    assert_eq!(accepted, 0);
}

#[test]
fn a_retired_boot_of_the_peer_does_not_come_back() {
    let mut world = World::serving();
    let old = said_by(&world, A);
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.boot(A);
    world.run(Duration::from_secs(5));
    let boot = world.head(B).peer().incarnation();
    for (link, bytes) in &old {
        world.replay(B, *link, bytes);
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.head(B).peer().incarnation(), boot);
}

#[test]
fn a_boot_that_was_replaced_is_not_believed_when_its_successor_is_dead() {
    let mut world = World::serving();
    let old = said_by(&world, A);
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.boot(A);
    world.run(Duration::from_secs(5));
    let boot = world.head(B).peer().incarnation();
    world.crash(A);
    world.run(Duration::from_secs(3));
    for (link, bytes) in &old {
        world.replay(B, *link, bytes);
        world.run(Duration::from_millis(10));
        assert_eq!(world.head(B).liveness(), Liveness::Dead);
    }
    assert_eq!(world.head(B).peer().incarnation(), boot);
}

#[test]
fn lost_frames_of_an_earlier_boot_played_back_make_nobody_deaf() {
    let mut world = World::new();
    world.boot(B);
    // This boot of A hears B and echoes it, and B never hears of it.
    world.cut[A] = [true; 2];
    world.boot(A);
    world.run(Duration::from_secs(3));
    world.crash(A);
    let old = said_by(&world, A);
    world.cut[A] = [false; 2];
    world.boot(A);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    let boot = world.head(B).peer().incarnation();
    for silent in [false, true] {
        world.cut[A] = [silent; 2];
        world.machines[B].paused = silent;
        world.run(Duration::from_secs(2));
        world.machines[B].paused = false;
        for (link, bytes) in &old {
            world.replay(B, *link, bytes);
        }
        world.run(Duration::from_millis(20));
        world.cut[A] = [false; 2];
        world.run(Duration::from_secs(4));
        assert_eq!(world.head(B).peer().incarnation(), boot);
        assert_eq!(world.head(B).liveness(), Liveness::Alive);
    }
}

#[test]
fn a_boot_that_was_heard_before_it_heard_anything_is_heard_again() {
    let mut world = World::new();
    world.boot(B);
    // A boot of A that B never hears, and what it says to B.
    world.cut[A] = [true; 2];
    world.boot(A);
    world.run(Duration::from_secs(1));
    let recorded = world.recorded.iter().rev();
    let lost = recorded.filter(|(who, ..)| *who == A).take(4);
    let lost: Vec<_> = lost.cloned().collect();
    // The next one hears B once, and is heard by it; then there is silence.
    world.crash(A);
    world.run(Duration::from_secs(2));
    world.boot(A);
    world.run(Duration::from_millis(120));
    (world.cut[A], world.cut[B]) = ([false; 2], [true; 2]);
    world.run(Duration::from_millis(500));
    assert_eq!(world.head(A).liveness(), Liveness::Unheard);
    assert_eq!(world.head(B).liveness(), Liveness::Alive);
    world.cut[A] = [true; 2];
    world.run(Duration::from_secs(3));
    for (_, link, bytes) in &lost {
        world.replay(B, *link, bytes);
    }
    world.run(Duration::from_secs(3));
    world.cut = [[false; 2]; 2];
    world.run(Duration::from_secs(5));
    assert_eq!(world.head(A).liveness(), Liveness::Alive);
    assert_eq!(world.head(B).liveness(), Liveness::Alive);
}

#[test]
fn a_message_reaches_the_peer_over_either_link() {
    for cut in [None, Some(LinkId::Serial), Some(LinkId::Ether)] {
        let mut world = World::serving();
        if let Some(link) = cut {
            world.cut[A][link.index()] = true;
            world.cut[B][link.index()] = true;
            world.run(Duration::from_secs(3));
        }
        let bytes: Vec<u8> = (0..1500).map(|i| i as u8).collect();
        assert!(
            world.machines[A]
                .head
                .as_mut()
                .unwrap()
                .send_message(&bytes)
        );
        world.run(Duration::from_secs(5));
        let head = world.machines[B].head.as_mut().unwrap();
        assert_eq!(head.poll_message(), Some(bytes.as_slice()), "cut: {cut:?}");
        assert_eq!(head.poll_message(), None);
    }
}
