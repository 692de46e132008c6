//! Who is dead, who only sleeps, and what a cut or a slow cable moves.

use embassy_time::Duration;
use orthrus_hb::{Epoch, Event, Hearing, LinkId, Liveness, PoolState, ResetReason};

use crate::world::{A, B, Registrant, TANK, World};

#[test]
fn the_standby_takes_over_from_a_crashed_owner() {
    let mut world = World::serving();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.disk, Registrant::Head(B, Epoch(2)));
    world.boot(A);
    world.run(Duration::from_secs(120));
    assert_eq!(world.state(A), PoolState::Standby);
    assert_eq!(world.machines[A].resets, []);
    assert_eq!(world.preempted, [(A, Epoch(1))]);
}

#[test]
fn one_silent_link_moves_nothing_and_is_told() {
    for link in LinkId::ALL {
        let mut world = World::serving();
        world.cut[A][link.index()] = true;
        world.cut[B][link.index()] = true;
        world.run(Duration::from_secs(30));
        assert_eq!(
            (world.state(A), world.state(B)),
            (PoolState::Serving, PoolState::Standby)
        );
        assert!(world.machines[B].events.contains(&Event::Link {
            link,
            hearing: Hearing::Silent
        }));
        assert_eq!(world.head(A).link_works(link), (Hearing::Silent, false));
    }
}

#[test]
fn a_link_cut_one_way_is_told_by_the_head_that_is_not_heard() {
    let mut world = World::serving();
    world.cut[A][LinkId::Serial.index()] = true;
    world.run(Duration::from_secs(5));
    assert_eq!(
        world.head(A).link_works(LinkId::Serial),
        (Hearing::Up, false)
    );
    assert_eq!(
        world.head(B).link_works(LinkId::Serial),
        (Hearing::Silent, true)
    );
    assert_eq!(world.head(A).link_works(LinkId::Ether), (Hearing::Up, true));
}

#[test]
fn a_frozen_owner_resets_itself_and_comes_back_as_standby() {
    let mut world = World::serving();
    world.machines[A].frozen = true;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.machines[A].frozen = false;
    world.run(Duration::from_secs(60));
    // Which it notices first is a race: its key is gone, and its peer's beats carry a newer epoch.
    let [ResetReason::FenceLost(TANK) | ResetReason::Replaced(TANK)] = world.machines[A].resets[..]
    else {
        panic!("{:?}", world.machines[A].resets)
    };
    assert_eq!(
        (world.state(A), world.state(B)),
        (PoolState::Standby, PoolState::Serving)
    );
}

/// A path to the disks may hang, and with it the look at its reservations.
#[test]
fn an_owner_that_hears_of_a_newer_one_resets_before_its_disks_say_so() {
    let mut world = World::serving();
    world.unwatched[A] = true;
    world.work_time = Duration::from_secs(2);
    world.cut_cables();
    world.until("b imports", |w| w.state(B) == PoolState::Importing);
    world.cut = [[false; 2]; 2];
    // That never both serve is looked at in each step.
    world.until("a resets", |w| !w.machines[A].resets.is_empty());
    assert_eq!(world.machines[A].resets, [ResetReason::Replaced(TANK)]);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

#[test]
fn a_paused_owner_resets_before_it_does_anything_else() {
    let mut world = World::serving();
    world.machines[A].paused = true;
    world.run(Duration::from_secs(30));
    // Even when nobody has replaced it: it cannot know.
    world.machines[A].paused = false;
    world.until("a resets", |w| !w.machines[A].resets.is_empty());
    assert_eq!(world.machines[A].resets, [ResetReason::OwnGap]);
}

#[test]
fn a_standby_does_not_take_its_own_sleep_for_the_peers_silence() {
    let mut world = World::serving();
    world.machines[B].paused = true;
    world.run(Duration::from_secs(30));
    world.machines[B].paused = false;
    world.run(Duration::from_secs(30));
    assert_eq!(
        (world.state(A), world.state(B)),
        (PoolState::Serving, PoolState::Standby)
    );
    assert_eq!(world.preempted, []);
    let dead = Event::Peer(Liveness::Dead);
    assert!(!world.machines[B].events.contains(&dead));
}

#[test]
fn all_cables_cut_lead_to_one_takeover_and_no_second() {
    let mut world = World::serving();
    world.cut_cables();
    world.run(Duration::from_secs(300));
    assert_eq!(world.preempted, [(A, Epoch(1))]);
    assert_eq!(world.machines[A].resets, [ResetReason::FenceLost(TANK)]);
    assert_eq!(
        (world.state(A), world.state(B)),
        (PoolState::Standby, PoolState::Serving)
    );
}

#[test]
fn what_one_slow_cable_held_back_does_not_delay_a_takeover() {
    for slow in LinkId::ALL {
        let mut world = World::new();
        // A buffer of many seconds in the line.
        world.latency[slow.index()] = Duration::from_secs(8);
        world.boot(A);
        world.boot(B);
        world.until("a serves", |w| w.state(A) == PoolState::Serving);
        world.run(Duration::from_secs(30));
        let fast = LinkId::ALL[1 - slow.index()];
        assert_eq!(world.head(B).link_works(slow).0, Hearing::Late);
        assert_eq!(world.head(B).link_works(fast).0, Hearing::Up);
        world.crash(A);
        let crashed = world.now;
        world.until("b serves", |w| w.state(B) == PoolState::Serving);
        // Look, claim and import.
        let limit = world.timing.dead + world.work_time * 3 + world.timing.beat * 2;
        assert!(world.now < crashed + limit, "{slow:?}");
        let dead = world.timing.dead;
        let silence = world.head(B).peer().link(slow).silence();
        assert!(
            silence.is_some_and(|silence| silence < dead),
            "it still delivers"
        );
    }
}

#[test]
fn one_slow_cable_moves_nothing_and_is_as_good_as_the_other_when_that_is_back() {
    for slow in LinkId::ALL {
        let mut world = World::serving_with_ledger();
        world.latency[slow.index()] = Duration::from_secs(8);
        world.run(Duration::from_secs(30));
        let fast = 1 - slow.index();
        world.cut = [LinkId::ALL.map(|link| link.index() == fast); 2];
        // Nothing is new for as long as the slow one is behind.
        world.until("silence", |w| w.head(B).liveness() == Liveness::LinksLost);
        world.until("b hears a", |w| w.head(B).liveness() == Liveness::Alive);
        world.cut = [[false; 2]; 2];
        world.run(Duration::from_secs(30));
        assert_eq!(world.head(B).liveness(), Liveness::Alive);
        assert_eq!(world.state(A), PoolState::Serving);
        assert_eq!(world.preempted, []);
        assert_eq!(world.machines[A].resets, []);
    }
}
