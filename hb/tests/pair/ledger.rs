//! The ledger as third link: what it vouches for, and when it does not.

use embassy_time::Duration;
use orthrus_hb::{
    Command, Epoch, LedgerState, Liveness, PoolState, Refusal, ResetReason, Rest, Sight,
    ledger::Lease,
};

use crate::world::{A, B, Registrant, TANK, World};

fn assert_nothing_moved(world: &World) {
    let states = (world.state(A), world.state(B));
    assert_eq!(states, (PoolState::Serving, PoolState::Standby));
    assert_eq!(world.preempted, []);
    assert_eq!(world.machines[A].resets, []);
    assert_eq!(world.machines[B].resets, []);
}

#[test]
fn all_cables_cut_and_the_ledger_ticking_moves_nothing() {
    let mut world = World::serving_with_ledger();
    world.cut_cables();
    world.run(Duration::from_secs(120));
    assert_nothing_moved(&world);
    assert_eq!(world.head(B).liveness(), Liveness::LinksLost);
    assert_eq!(world.rest(B), Some(Rest::PeerHolds));
    // Nor can it be moved by hand: nobody can be asked, and it lives.
    for command in [Command::Takeover(TANK), Command::Giveback(TANK)] {
        assert!(world.command(B, command).is_err());
    }
    assert_eq!(
        world.command(B, Command::Takeover(TANK)),
        Err(Refusal::LinksLost)
    );
    assert_nothing_moved(&world);
    world.cut = [[false; 2]; 2];
    world.run(Duration::from_secs(5));
    assert_eq!(world.head(B).liveness(), Liveness::Alive);
    assert_nothing_moved(&world);
}

#[test]
fn an_owner_that_dies_with_its_cables_cut_is_replaced() {
    let mut world = World::serving_with_ledger();
    world.cut_cables();
    world.run(Duration::from_secs(30));
    world.crash(A);
    let died = world.now;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.disk, Registrant::Head(B, Epoch(2)));
    // The ledger's limit, one beat of it, a look, and the work.
    assert!(world.now < died + Duration::from_millis(2200));
}

#[test]
fn a_crash_with_all_links_up_is_noticed_as_soon_as_without_a_ledger() {
    let took = |mut world: World| {
        world.crash(A);
        let died = world.now;
        world.until("b serves", |w| w.state(B) == PoolState::Serving);
        world.now.saturating_duration_since(died)
    };
    let without = took(World::serving());
    let with = took(World::serving_with_ledger());
    // One read of a record that had just been written may be all that it costs.
    assert!(
        with < without + Duration::from_millis(450),
        "{with} {without}"
    );
}

#[test]
fn a_ledger_that_cannot_be_read_declares_nobody_dead() {
    let mut world = World::serving_with_ledger();
    world.blind[B] = true;
    world.cut_cables();
    world.run(Duration::from_secs(60));
    assert_nothing_moved(&world);
    assert_eq!(world.rest(B), Some(Rest::AwaitingLedger));
    assert_eq!(world.head(B).ledger(TANK), LedgerState::Unread);
    // Read again, it shows that the owner lives ...
    world.blind[B] = false;
    world.run(Duration::from_secs(30));
    assert_nothing_moved(&world);
    // ... or that it does not.
    world.blind[B] = true;
    world.run(Duration::from_secs(30));
    world.crash(A);
    world.run(Duration::from_secs(30));
    assert_eq!(world.state(B), PoolState::Standby);
    world.blind[B] = false;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

#[test]
fn a_standby_that_has_not_read_the_disks_yet_does_not_go_by_its_cables_alone() {
    let mut world = World::serving_with_ledger();
    world.crash(B);
    // Its worker looks at the pool's metadata every few seconds, and has not yet.
    world.blind[B] = true;
    world.boot(B);
    world.until("b hears a", |w| w.head(B).liveness() == Liveness::Alive);
    world.cut_cables();
    world.run(Duration::from_secs(30));
    assert_nothing_moved(&world);
    assert_eq!(world.rest(B), Some(Rest::AwaitingLedger));
    world.blind[B] = false;
    world.run(Duration::from_secs(30));
    assert_nothing_moved(&world);
    assert_eq!(world.rest(B), Some(Rest::PeerHolds));
}

#[test]
fn a_standby_that_booted_with_its_cables_cut_knows_by_the_ledger_who_lives() {
    let mut world = World::serving_with_ledger();
    world.cut_cables();
    world.crash(B);
    world.boot(B);
    world.run(Duration::from_secs(120));
    assert_nothing_moved(&world);
    assert_eq!(world.head(B).liveness(), Liveness::LinksLost);
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, [(A, Epoch(1))]);
}

#[test]
fn the_keys_of_a_head_that_stays_without_power_are_no_obstacle() {
    let mut world = World::serving_with_ledger();
    world.crash(A);
    world.crash(B);
    world.boot(B);
    let booted = world.now;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert!(world.now < booted + world.timing.peer_wait + Duration::from_secs(3));
    assert_eq!(world.preempted, [(A, Epoch(1))]);
}

#[test]
fn a_record_from_before_the_claim_that_holds_is_no_death_of_its_owner() {
    // Both boot with their cables cut, beside an old record and no key.
    let mut world = World::serving_with_ledger();
    world.crash(A);
    world.crash(B);
    world.disk = Registrant::Nobody;
    world.cut_cables();
    world.boot(A);
    world.boot(B);
    world.run(Duration::from_secs(120));
    let serving: Vec<usize> = [A, B]
        .into_iter()
        .filter(|&who| world.state(who) == PoolState::Serving)
        .collect();
    assert_eq!(serving.len(), 1, "exactly one serves");
    assert_eq!(world.preempted, []);
    assert_eq!(world.rest(1 - serving[0]), Some(Rest::PeerHolds));
}

#[test]
fn a_hung_owner_is_replaced_though_its_kernel_lives() {
    let mut world = World::serving_with_ledger();
    world.machines[A].frozen = true;
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.machines[A].frozen = false;
    world.until("a resets", |w| !w.machines[A].resets.is_empty());
    let reset = world.machines[A].resets[0];
    assert!(matches!(
        reset,
        ResetReason::FenceLost(TANK) | ResetReason::Replaced(TANK)
    ));
}

#[test]
fn an_import_that_takes_long_ticks_like_an_owner() {
    let mut world = World::new();
    world.has_ledger = true;
    world.boot(A);
    world.boot(B);
    world.until("a claims", |w| w.head(A).pools()[0].epoch() == Epoch(1));
    world.work_time = Duration::from_secs(40);
    world.until("a imports", |w| w.state(A) == PoolState::Importing);
    world.cut_cables();
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_nothing_moved(&world);
}

#[test]
fn a_copy_of_an_old_record_is_neither_life_nor_death() {
    let mut world = World::serving_with_ledger();
    let old = world.records[A];
    world.run(Duration::from_secs(10));
    // A second copy that the owner cannot write any more is read as well.
    world.cut_cables();
    for _ in 0..600 {
        world.run(Duration::from_millis(50));
        let now = world.now;
        let head = world.machines[B].head.as_mut().unwrap();
        head.handle_ledger(
            TANK,
            &Sight {
                peer: old,
                begun: now,
            },
            now,
        );
    }
    assert_nothing_moved(&world);
}

#[test]
fn the_owner_of_a_pool_that_was_made_again_lives_whatever_the_old_one_told() {
    let mut world = World::serving_with_ledger();
    // Some claims later.
    for (to, from) in [(B, A), (A, B)] {
        world.command(from, Command::Handover(TANK)).unwrap();
        world.until("the other serves", |w| w.state(to) == PoolState::Serving);
    }
    world.run(Duration::from_secs(5));
    world.command(A, Command::Destroy(TANK)).unwrap();
    world.until("it is gone", |w| w.is_bare);
    world.run(Duration::from_secs(1));
    // Only A boots, and has forgotten the old pool's epochs.
    world.cut_cables();
    world.records = [None; 2];
    world.crash(A);
    world.run(Duration::from_secs(5));
    world.boot(A);
    world.run(world.timing.peer_wait + Duration::from_secs(1));
    world.command(A, Command::Make(TANK)).unwrap();
    world.until("a holds it", |w| w.disk == Registrant::Head(A, Epoch(1)));
    world.run(Duration::from_secs(120));
    assert_eq!(world.head(B).ledger(TANK), LedgerState::Ticking);
    assert_nothing_moved(&world);
    // It is no hindrance when that one dies.
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
}

#[test]
fn a_pool_without_a_ledger_goes_by_its_cables() {
    let mut world = World::serving();
    world.cut_cables();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, [(A, Epoch(1))]);
}

const LEASE: Lease = Lease {
    lease_ms: 4000,
    watchdog_ms: 10_000,
    io_ms: 10_000,
    watchdog_armed: true,
};

#[test]
fn an_owner_by_lease_tells_its_times_and_goes_on_while_it_renews() {
    let mut world = World::new();
    (world.has_ledger, world.lease) = (true, Some(LEASE));
    world.boot(A);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(60));
    assert_eq!(world.records[A].unwrap().lease, Some(LEASE));
    assert_eq!(world.machines[A].resets, []);
    assert!(world.feeds[A]);
    // Whatever else becomes of it: past the lease no more than the watchdog's time is left.
    let over = world.now + Duration::from_millis(u64::from(LEASE.lease_ms));
    assert!(!world.head(A).may_feed_watchdog(over));
}

#[test]
fn an_owner_whose_renewals_do_not_complete_resets_within_its_lease() {
    let mut world = World::new();
    (world.has_ledger, world.lease) = (true, Some(LEASE));
    world.boot(A);
    world.boot(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.run(Duration::from_secs(10));
    world.writes_lost[A] = true;
    let lost = world.now;
    world.until("a resets", |w| !w.machines[A].resets.is_empty());
    assert_eq!(world.machines[A].resets, [ResetReason::LeaseLost(TANK)]);
    assert!(world.now <= lost + Duration::from_secs(4));
}

#[test]
fn a_pool_that_was_let_go_has_no_lease_to_lose() {
    let mut world = World::new();
    (world.has_ledger, world.lease) = (true, Some(LEASE));
    world.boot(A);
    world.boot(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    world.command(A, Command::Handover(TANK)).unwrap();
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.run(Duration::from_secs(60));
    assert_eq!(world.machines[A].resets, []);
    assert!(world.feeds[A]);
}
