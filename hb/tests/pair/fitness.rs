//! The better head serves, and one that was fenced again and again is trusted less.

use embassy_time::Duration;
use orthrus_hb::{
    Accepted, Command, Epoch, HeadId, Health, LinkId, PoolState, Refusal, ResetReason, Rest, Timing,
};

use crate::world::{A, B, TANK, World};

const NETWORK: Health = Health {
    shelf: false,
    network: true,
};
const SHELF: Health = Health {
    shelf: true,
    network: false,
};
const WELL: Health = Health {
    shelf: false,
    network: false,
};

#[test]
fn an_owner_without_a_client_network_lets_go_in_order() {
    let mut world = World::serving();
    world.health(A, NETWORK);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, []);
    assert_eq!(world.machines[A].resets, []);
    // It does not come back by itself when the port does.
    world.health(A, WELL);
    world.run(Duration::from_secs(60));
    assert_eq!(world.state(B), PoolState::Serving);
}

#[test]
fn an_owner_that_the_better_head_does_not_hear_holds_on() {
    let mut world = World::serving_with_ledger();
    world.cut[A] = [true; 2];
    world.run(Duration::from_secs(5));
    world.health(A, NETWORK);
    for _ in 0..600 {
        world.run(Duration::from_millis(100));
        assert_eq!(world.state(A), PoolState::Serving);
    }
    // Once it does the pool moves.
    world.cut[A] = [false; 2];
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, []);
}

#[test]
fn a_link_that_is_down_for_a_moment_moves_nothing() {
    let mut world = World::serving();
    for _ in 0..10 {
        world.health(A, NETWORK);
        world.run(Duration::from_secs(1));
        world.health(A, WELL);
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.state(A), PoolState::Serving);
    assert_eq!(world.disk, crate::world::Registrant::Head(A, Epoch(1)));
}

/// B, without a burden, fails to import for ten minutes what A, with one, serves all the same.
fn a_better_head_that_cannot_import(mut world: World) -> World {
    world.machines[B].imports_never_work = true;
    world.health(A, NETWORK);
    world.run(Duration::from_secs(600));
    world
}

/// The same, and it has just failed once more. From now on it could.
fn a_better_head_that_just_failed(world: World) -> World {
    let mut world = a_better_head_that_cannot_import(world);
    world.until("b fails", |w| w.state(B) == PoolState::Importing);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(5));
    assert_eq!(world.state(B), PoolState::Faulted);
    world.machines[B].imports_never_work = false;
    world
}

#[test]
fn an_owner_does_not_let_go_again_and_again_for_a_better_head_that_cannot_import() {
    let mut world = a_better_head_that_cannot_import(World::serving());
    let releases = world.let_go.iter().filter(|(who, _)| *who == A).count();
    // Pauses of 5, 10, 20 and 40 seconds, then of a minute.
    assert!((5..15).contains(&releases), "{releases}");
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_eq!(world.preempted, []);
    assert_eq!(world.machines[A].resets, []);
    assert_eq!(world.machines[B].resets, []);
    // What is mended there is found out all the same.
    world.machines[B].imports_never_work = false;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

#[test]
fn a_head_that_failed_takes_over_at_once_from_an_owner_that_dies() {
    for fails_once_more in [false, true] {
        let begin = match fails_once_more {
            false => World::serving(),
            true => World::serving_with_ledger(),
        };
        let mut world = a_better_head_that_just_failed(begin);
        world.machines[B].import_fails = fails_once_more;
        world.crash(A);
        let crashed = world.now;
        world.until("b serves", |w| w.state(B) == PoolState::Serving);
        let Timing {
            dead, beat, retry, ..
        } = world.timing;
        // Look, claim and import; one that fails is undone, and tried again as after a first failure.
        let again = match fails_once_more {
            false => Duration::from_ticks(0),
            true => retry + world.work_time * 4,
        };
        let limit = dead + beat * 4 + world.work_time * 3 + again;
        assert!(world.now < crashed + limit, "{fails_once_more}");
        assert_eq!(world.preempted.len(), 1);
    }
}

#[test]
fn a_head_that_failed_takes_what_an_owner_offers_that_halts() {
    let mut world = a_better_head_that_just_failed(World::serving());
    let begun = world.now;
    world.machines[A].head.as_mut().unwrap().retire(begun);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert!(world.now < begun + Duration::from_secs(2));
    assert_eq!(world.preempted, []);
}

#[test]
fn a_head_that_failed_obeys_an_order_to_take_over() {
    let mut world = a_better_head_that_just_failed(World::serving());
    let begun = world.now;
    let asked = world.command(B, Command::Takeover(TANK));
    assert_eq!(asked, Ok(Accepted::AskedPeer));
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert!(world.now < begun + Duration::from_secs(2));
    assert_eq!(world.preempted, []);
}

#[test]
fn both_equally_broken_moves_nothing() {
    for health in [NETWORK, SHELF] {
        let mut world = World::serving();
        world.health(B, health);
        world.run(Duration::from_secs(1));
        world.health(A, health);
        world.run(Duration::from_secs(60));
        assert_eq!(world.state(A), PoolState::Serving);
        assert_eq!(world.machines[A].resets, []);
    }
}

#[test]
fn an_owner_without_its_shelf_that_cannot_let_go_resets_and_is_replaced() {
    let mut world = World::serving();
    world.release_hangs[A] = true;
    world.health(A, SHELF);
    let broken = world.now;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.machines[A].resets, [ResetReason::ReleaseStuck(TANK)]);
    let Timing {
        health_settle,
        broken_release_limit,
        ..
    } = world.timing;
    assert!(world.now < broken + health_settle + broken_release_limit + Duration::from_secs(5));
}

#[test]
fn nothing_is_handed_to_a_head_that_is_worse_off() {
    let mut world = World::serving();
    world.health(B, NETWORK);
    world.run(Duration::from_secs(1));
    let refused = world.command(A, Command::Handover(TANK));
    assert_eq!(refused, Err(Refusal::PeerLessFit));
}

#[test]
fn a_home_head_that_is_worse_off_does_not_go_first() {
    let mut world = World::new();
    world.boot(A);
    world.boot(B);
    world.health(A, SHELF);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, []);
}

/// B crashes, and A fences it, until that has happened this often.
pub(crate) fn fenced(world: &mut World, times: usize) {
    for _ in 0..times {
        // B must hold the pool to be fenced.
        world.run(Duration::from_secs(5));
        let _ = world.command(B, Command::Takeover(TANK));
        world.until("b serves", |w| w.state(B) == PoolState::Serving);
        world.crash(B);
        world.until("a serves", |w| w.state(A) == PoolState::Serving);
        world.boot(B);
    }
    world.run(Duration::from_secs(5));
}

fn time_until_b_serves(world: &mut World) -> Duration {
    let begun = world.now;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.now.saturating_duration_since(begun)
}

#[test]
fn a_head_that_was_fenced_three_times_does_not_preempt_a_living_peer_at_once() {
    let mut world = World::serving();
    fenced(&mut world, 3);
    assert!(world.head(B).fences(HeadId::Second).1, "barred");
    let before = world.preempted.len();
    // The cables are cut for a while: it waits, and says why.
    world.cut_cables();
    world.run(Duration::from_secs(8));
    assert_eq!(world.rest(B), Some(Rest::Barred));
    world.cut = [[false; 2]; 2];
    world.run(Duration::from_secs(10));
    assert_eq!(world.state(A), PoolState::Serving);
    assert_eq!(world.preempted.len(), before);
}

/// Cut and dead cannot be told apart there, and the fence decides: see the head of `fences`.
#[test]
fn a_barred_head_without_a_ledger_takes_over_once_when_the_cables_stay_cut() {
    let mut world = World::serving();
    fenced(&mut world, 3);
    let before = world.preempted.len();
    world.cut_cables();
    let took = time_until_b_serves(&mut world);
    assert!(
        took > world.timing.barred_dead && took < Duration::from_secs(13),
        "{took}"
    );
    // That never both serve is looked at in each step.
    assert_eq!(world.machines[A].resets, [ResetReason::FenceLost(TANK)]);
    // The fenced head does not fence back, neither while they stay cut nor after.
    world.run(Duration::from_secs(120));
    assert_eq!(world.state(B), PoolState::Serving);
    world.cut = [[false; 2]; 2];
    world.run(Duration::from_secs(60));
    assert_eq!(world.state(B), PoolState::Serving);
    assert_eq!(world.state(A), PoolState::Standby);
    assert_eq!(world.preempted.len(), before + 1);
    assert_eq!(world.machines[A].resets, [ResetReason::FenceLost(TANK)]);
    assert_eq!(world.machines[B].resets, []);
}

#[test]
fn two_fences_bar_nobody() {
    let mut world = World::serving();
    fenced(&mut world, 2);
    world.crash(A);
    assert!(time_until_b_serves(&mut world) < Duration::from_secs(3));
}

#[test]
fn a_barred_head_still_takes_over_from_a_dead_one() {
    let mut world = World::serving();
    fenced(&mut world, 3);
    world.crash(A);
    let took = time_until_b_serves(&mut world);
    assert!(
        took > world.timing.barred_dead && took < Duration::from_secs(13),
        "{took}"
    );
}

#[test]
fn a_barred_head_goes_by_the_ledger_where_there_is_one() {
    let mut world = World::serving_with_ledger();
    fenced(&mut world, 3);
    world.crash(A);
    assert!(time_until_b_serves(&mut world) < Duration::from_secs(3));
}

#[test]
fn nothing_is_given_to_a_barred_head_until_it_is_readmitted() {
    let mut world = World::serving();
    assert_eq!(world.command(A, Command::Readmit), Err(Refusal::NotFenced));
    fenced(&mut world, 3);
    let refused = world.command(A, Command::Handover(TANK));
    assert_eq!(refused, Err(Refusal::PeerBarred));
    world.command(A, Command::Readmit).unwrap();
    world.run(Duration::from_secs(2));
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.crash(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
}

/// `takeover` names the head that is to serve, and counts as told; see the head of `fences`.
#[test]
fn nothing_is_given_back_to_a_barred_home_head_and_an_order_to_take_over_is_obeyed() {
    let mut world = World::new();
    world.home = HeadId::Second;
    world.boot(A);
    world.boot(B);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    fenced(&mut world, 3);
    assert_eq!(world.state(A), PoolState::Serving);
    let on_either = [A, B].map(|who| world.command(who, Command::Giveback(TANK)));
    let refused = [Refusal::PeerBarred, Refusal::Barred].map(Err);
    assert_eq!(on_either, refused);
    world.run(Duration::from_secs(60));
    assert_eq!(world.state(A), PoolState::Serving);
    let asked = world.command(B, Command::Takeover(TANK));
    assert_eq!(asked, Ok(Accepted::AskedPeer));
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.command(B, Command::Handover(TANK)).unwrap();
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.command(A, Command::Readmit).unwrap();
    world.run(Duration::from_secs(2));
    let given = world.command(B, Command::Giveback(TANK));
    assert_eq!(given, Ok(Accepted::AskedPeer));
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

/// Whoever pulls a head's power on purpose says so after each time, and need not be barred first.
#[test]
fn fences_that_are_forgotten_before_there_are_three_do_not_count() {
    let mut world = World::serving();
    fenced(&mut world, 2);
    world.command(A, Command::Readmit).unwrap();
    world.run(Duration::from_secs(2));
    fenced(&mut world, 2);
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

/// Serial alone comes and goes between two heads that live.
#[test]
fn heads_that_lose_each_other_on_serial_alone_are_barred_as_well() {
    let mut world = World::serving();
    for who in [A, B] {
        world.cut[who][LinkId::Ether.index()] = true;
    }
    let mut claims = Vec::new();
    for _ in 0..8 {
        world.run(Duration::from_secs(20));
        let owner = if world.state(A) == PoolState::Serving {
            A
        } else {
            B
        };
        let before = world.preempted.len();
        let begun = world.now;
        world.cut_cables();
        world.run(Duration::from_secs(4));
        claims.push((world.preempted.len() > before).then_some(owner));
        for who in [A, B] {
            world.cut[who][LinkId::Serial.index()] = false;
        }
        assert!(world.now < begun + world.timing.barred_dead);
    }
    // In turn, until one was fenced three times.
    let fenced = [Some(A), Some(B), Some(A), Some(B), Some(A)];
    assert_eq!(claims[..5], fenced);
    assert_eq!(claims[5..], [None; 3]);
    for who in [A, B] {
        let fences = [HeadId::First, HeadId::Second].map(|head| world.head(who).fences(head));
        assert_eq!(fences, [(3, true), (2, false)], "as {who} knows");
    }
}

#[test]
fn a_head_is_barred_and_readmitted_over_serial_alone() {
    let mut world = World::serving();
    for who in [A, B] {
        world.cut[who][LinkId::Ether.index()] = true;
    }
    fenced(&mut world, 3);
    assert_eq!(world.head(B).fences(HeadId::Second), (3, true));
    let refused = world.command(A, Command::Handover(TANK));
    assert_eq!(refused, Err(Refusal::PeerBarred));
    world.command(A, Command::Readmit).unwrap();
    world.run(Duration::from_secs(2));
    assert_eq!(world.head(B).fences(HeadId::Second), (0, false));
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

#[test]
fn heads_that_fence_each_other_in_turn_are_barred() {
    let mut world = World::serving();
    for _ in 0..3 {
        for who in [A, B] {
            world.crash(who);
            world.until("the other serves", |w| {
                w.state(1 - who) == PoolState::Serving
            });
            // It is heard before it hears more than one frame: its account of fences is empty.
            world.cut[who] = [true; 2];
            world.boot(who);
            world.run(Duration::from_millis(120));
            (world.cut[who], world.cut[1 - who]) = ([false; 2], [true; 2]);
            world.run(Duration::from_millis(300));
            world.cut = [[false; 2]; 2];
            world.run(Duration::from_secs(3));
        }
    }
    for who in [A, B] {
        for head in [HeadId::First, HeadId::Second] {
            assert_eq!(
                world.head(who).fences(head),
                (3, true),
                "{head:?} as {who} knows"
            );
        }
    }
}
