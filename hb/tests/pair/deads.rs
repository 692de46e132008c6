//! `dead` as an operator may choose it: what goes with it, for each of several.

use embassy_time::{Duration, Instant};
use orthrus_hb::{HeadId, LedgerState, PoolState, Rest, Timing};

use crate::fitness::fenced;
use crate::world::{A, B, TANK, World};

const DEADS_MS: [u64; 5] = [300, 1000, 2500, 10_600, 20_000];

fn serving(dead_ms: u64, has_ledger: bool) -> World {
    let mut world = World::new();
    world.timing = Timing::of(Duration::from_millis(dead_ms));
    world.has_ledger = has_ledger;
    world.boot(A);
    world.boot(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(2));
    world
}

#[test]
fn an_owner_that_stalls_for_less_than_dead_without_cables_is_not_replaced() {
    for dead_ms in DEADS_MS {
        let mut world = serving(dead_ms, true);
        let dead = world.timing.dead;
        world.cut_cables();
        world.run(dead + Duration::from_secs(2));
        assert_eq!(world.head(B).ledger(TANK), LedgerState::Ticking);
        for tenths in [5, 7, 9] {
            world.machines[A].paused = true;
            // It may have run a beat before.
            let most = dead - world.timing.beat * 6 / 5;
            world.run((dead * tenths / 10).min(most));
            world.machines[A].paused = false;
            world.run(Duration::from_secs(3));
            assert_eq!(world.preempted, [], "{dead_ms}");
            assert_eq!(world.machines[A].resets, [], "{dead_ms}");
            assert_eq!(world.state(A), PoolState::Serving, "{dead_ms}");
        }
    }
}

#[test]
fn by_its_ledger_nobody_is_replaced_while_its_gate_may_be_open() {
    for dead_ms in DEADS_MS {
        let mut world = serving(dead_ms, true);
        world.cut_cables();
        world.run(Duration::from_secs(3));
        // Whatever the moment between its records.
        world.run(Duration::from_millis(240));
        let stopped: Instant = world.now;
        world.machines[A].paused = true;
        world.until("b takes it", |w| !w.preempted.is_empty());
        let took = world.now.saturating_duration_since(stopped);
        // Its gate is open until `dead` after it ran last.
        assert!(took > world.timing.dead, "{dead_ms}: {took}");
        let limit = world.timing.ledger_dead + world.work_time * 2;
        assert!(
            took < limit + Duration::from_millis(300),
            "{dead_ms}: {took}"
        );
    }
}

#[test]
fn a_head_that_was_fenced_three_times_waits_longer_whatever_dead_is() {
    for dead_ms in DEADS_MS {
        let mut world = serving(dead_ms, false);
        fenced(&mut world, 3);
        assert!(world.head(B).fences(HeadId::Second).1, "{dead_ms}");
        let before = world.preempted.len();
        let begun = world.now;
        world.cut_cables();
        world.run(world.timing.dead * 2);
        assert_eq!(world.rest(B), Some(Rest::Barred), "{dead_ms}");
        assert_eq!(world.preempted.len(), before, "{dead_ms}");
        world.until("b serves", |w| w.state(B) == PoolState::Serving);
        let took = world.now.saturating_duration_since(begun);
        assert!(took > world.timing.barred_dead, "{dead_ms}: {took}");
    }
}
