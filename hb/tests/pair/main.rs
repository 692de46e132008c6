//! Two `Head`s against each other in virtual time: each test is one rule.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod deads;
mod duel;
mod fitness;
mod halting;
mod ledger;
mod making;
mod telling;
mod world;

use embassy_time::Duration;
use orthrus_hb::ledger::Record;
use orthrus_hb::{
    Accepted, Command, Done, Epoch, Event, Failure, HeadId, Hearing, Incarnation, LinkId, Liveness,
    Outcome, PoolState, Refusal, ResetReason, Rest, Ticket,
};
use world::{A, B, Registrant, TANK, World};

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

#[test]
fn stale_keys_of_a_peer_that_stands_by_are_removed() {
    let mut world = World::new();
    // Power was lost while B served; both come back, A is home.
    world.disk = Registrant::Head(B, Epoch(41));
    world.boot(A);
    world.boot(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_eq!(world.disk, Registrant::Head(A, Epoch(42)));
}

#[test]
fn the_word_of_a_peer_with_another_configuration_removes_no_keys() {
    // Its pools may stand in another order: what it calls standby may be another pool.
    let mut world = World::new();
    world.digests = [1, 2];
    world.disk = Registrant::Head(B, Epoch(7));
    world.boot(A);
    world.boot(B);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    assert_eq!(world.preempted, []);
    assert!(world.head(A).digest_differs());
}

#[test]
fn stale_keys_block_nobody_when_each_head_hears_the_other_on_another_link() {
    let mut world = World::new();
    world.disk = Registrant::Head(B, Epoch(41));
    // No link works both ways: what was heard on the one is acknowledged on the other.
    world.cut[A][LinkId::Ether.index()] = true;
    world.cut[B][LinkId::Serial.index()] = true;
    world.boot(A);
    world.boot(B);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_eq!(world.disk, Registrant::Head(A, Epoch(42)));
    assert_eq!(world.preempted, [(B, Epoch(41))]);
    for who in [A, B] {
        let heard = LinkId::ALL.map(|link| world.head(who).link_works(link));
        assert!(heard.contains(&(Hearing::Up, false)));
        assert!(heard.contains(&(Hearing::Unheard, true)));
    }
}

#[test]
fn an_operator_does_not_take_from_a_deaf_peer_what_its_ledger_says_it_uses() {
    let mut world = World::new();
    (world.unreachable, world.has_ledger) = ([true; 2], true);
    world.boot(A);
    world.boot(B);
    world.run(Duration::from_secs(30));
    world.disk = Registrant::Head(B, Epoch(41));
    (world.unreachable[A], world.cut[A]) = (false, [true; 2]);
    world.until("it is told", |w| {
        w.rest(A) == Some(Rest::HeldByDeafPeer(Epoch(41)))
    });
    // What its cables say was overtaken by what it writes.
    for sequence in 1..40 {
        world.records[B] = Some(Record {
            head: HeadId::Second,
            incarnation: Incarnation([2; 8]),
            state: PoolState::Serving,
            epoch: Epoch(41),
            sequence,
            lease: None,
        });
        world.run(Duration::from_millis(250));
        if world.rest(A) == Some(Rest::HeldByDeafPeer(Epoch(41))) {
            let taken = world.command(A, Command::Takeover(TANK));
            // Whether it ticks shows with the second record.
            let expected = if sequence < 2 {
                Refusal::Busy
            } else {
                Refusal::PeerHolds
            };
            assert_eq!(taken, Err(expected), "{sequence}");
        }
    }
    assert_eq!(world.preempted, []);
    // It ends, and its word is as good as an operator's knowledge of it.
    let silence = world.timing.ledger_dead * 3;
    world.run(silence);
    world.until("it rests again", |w| {
        w.rest(A) == Some(Rest::HeldByDeafPeer(Epoch(41)))
    });
    let taken = world.command(A, Command::Takeover(TANK));
    assert_eq!(taken, Ok(Accepted::Claiming));
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_eq!(world.preempted, [(B, Epoch(41))]);
}

#[test]
fn keys_of_a_peer_that_cannot_hear_are_named_and_removed_by_its_word_or_an_operators() {
    for by_hand in [false, true] {
        let mut world = World::new();
        world.unreachable = [true; 2];
        world.boot(A);
        world.boot(B);
        world.run(Duration::from_secs(30));
        // What a claim left that B could not undo: it has lost its path to the disk, and hears nothing any more.
        world.disk = Registrant::Head(B, Epoch(41));
        (world.unreachable[A], world.cut[A]) = (false, [true; 2]);
        let rest = Some(Rest::HeldByDeafPeer(Epoch(41)));
        world.until("it is told", |w| w.rest(A) == rest);
        for _ in 0..1200 {
            world.run(Duration::from_millis(100));
            // B looks now and then for what it cannot reach, and is waited for while it does.
            let seen = world.rest(A);
            assert!(
                [None, rest, Some(Rest::PeerHolds)].contains(&seen),
                "{seen:?}"
            );
        }
        world.until("it rests again", |w| w.rest(A) == rest);
        assert_eq!(world.preempted, []);
        match by_hand {
            true => {
                // The word that is for a handover asks for nothing that would fence.
                let given = world.command(A, Command::Giveback(TANK));
                assert_eq!(given, Ok(Accepted::Claiming));
                world.run(Duration::from_secs(30));
                world.until("it rests again", |w| w.rest(A) == rest);
                assert_eq!(world.preempted, []);
                let taken = world.command(A, Command::Takeover(TANK));
                assert_eq!(taken, Ok(Accepted::Claiming));
            }
            false => world.cut[A] = [false; 2],
        }
        world.until("a serves", |w| w.state(A) == PoolState::Serving);
        assert_eq!(world.preempted, [(B, Epoch(41))]);
    }
}

#[test]
fn a_silent_peer_with_a_newer_key_than_it_ever_told_is_not_preempted() {
    let mut world = World::serving();
    world.disk = Registrant::Head(A, Epoch(9));
    world.crash(A);
    world.run(Duration::from_secs(120));
    assert_eq!(
        world.head(B).pools()[0].rest(),
        Some(Rest::HeldByUnheardPeer(Epoch(9)))
    );
    assert_eq!(world.preempted, []);
}

#[test]
fn a_key_that_a_look_did_not_find_is_not_preempted() {
    let mut world = World::new();
    world.disk = Registrant::Head(A, Epoch(5));
    world.boot(A);
    world.boot(B);
    world.until("a claims", |w| w.head(A).pools()[0].epoch() == Epoch(6));
    // It stood still since it looked, for all that it can tell, and B serves.
    world.disk = Registrant::Head(B, Epoch(5));
    world.run(Duration::from_secs(1));
    assert_eq!(world.preempted, []);
}

#[test]
fn a_key_that_appears_after_the_look_is_covered_by_no_right() {
    for by_order in [false, true] {
        let mut world = World::serving();
        world.crash(A);
        world.until("b claims", |w| w.head(B).pools()[0].epoch() == Epoch(2));
        // Its claim fails, and the next number is further from what A knows.
        world.disk = Registrant::Stranger;
        world.until("the claim fails", |w| w.state(B) == PoolState::Faulted);
        world.disk = Registrant::Nobody;
        if by_order {
            let ordered = world.command(B, Command::Takeover(TANK));
            assert!(ordered.is_ok(), "{ordered:?}");
        }
        world.until("b claims again", |w| {
            w.head(B).pools()[0].epoch() == Epoch(3)
        });
        // A only stood still, and claimed since B looked.
        world.disk = Registrant::Head(A, Epoch(2));
        world.run(Duration::from_secs(1));
        assert_eq!(world.preempted, [], "by order: {by_order}");
        assert_eq!(
            world.head(B).pools()[0].rest(),
            Some(Rest::HeldByUnheardPeer(Epoch(2)))
        );
    }
}

#[test]
fn a_strangers_reservation_is_left_alone() {
    let mut world = World::new();
    world.disk = Registrant::Stranger;
    world.boot(A);
    world.boot(B);
    world.run(Duration::from_secs(120));
    assert_eq!(
        (world.state(A), world.disk),
        (PoolState::Faulted, Registrant::Stranger)
    );
}

#[test]
fn the_number_of_a_claim_that_failed_is_told_and_never_used_again() {
    let mut world = World::new();
    world.boot(A);
    world.until("a claims", |w| w.state(A) == PoolState::Claiming);
    world.disk = Registrant::Stranger;
    world.until("the claim fails", |w| w.state(A) == PoolState::Faulted);
    // It may have left keys of this number behind: the peer must know, should this head die now.
    assert_eq!(world.head(A).pools()[0].epoch(), Epoch(1));
    world.disk = Registrant::Nobody;
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    assert_eq!(world.disk, Registrant::Head(A, Epoch(2)));
}

#[test]
fn replayed_frames_keep_nobody_alive() {
    let mut world = World::serving();
    world.crash(A);
    let frames: Vec<_> = world
        .recorded
        .iter()
        .filter(|(who, ..)| *who == A)
        .cloned()
        .collect();
    for (_, link, bytes) in frames.iter().cycle().take(2000) {
        world.replay(B, *link, bytes);
        world.run(Duration::from_millis(10));
    }
    assert_eq!(world.state(B), PoolState::Serving);
    let (accepted, rejected) = world.head(B).peer().link(LinkId::Ether).counters();
    assert!(rejected > accepted);
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
    let old: Vec<_> = world
        .recorded
        .iter()
        .filter(|(who, ..)| *who == A)
        .cloned()
        .collect();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.boot(A);
    world.run(Duration::from_secs(5));
    let boot = world.head(B).peer().incarnation();
    for (_, link, bytes) in &old {
        world.replay(B, *link, bytes);
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.head(B).peer().incarnation(), boot);
}

#[test]
fn a_boot_that_was_replaced_is_not_believed_when_its_successor_is_dead() {
    let mut world = World::serving();
    let old: Vec<_> = world
        .recorded
        .iter()
        .filter(|(who, ..)| *who == A)
        .cloned()
        .collect();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.boot(A);
    world.run(Duration::from_secs(5));
    let boot = world.head(B).peer().incarnation();
    world.crash(A);
    world.run(Duration::from_secs(3));
    for (_, link, bytes) in &old {
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
    let old: Vec<_> = world
        .recorded
        .iter()
        .filter(|(who, ..)| *who == A)
        .cloned()
        .collect();
    world.cut[A] = [false; 2];
    world.boot(A);
    world.until("a serves", |w| w.state(A) == PoolState::Serving);
    let boot = world.head(B).peer().incarnation();
    for silent in [false, true] {
        world.cut[A] = [silent; 2];
        world.machines[B].paused = silent;
        world.run(Duration::from_secs(2));
        world.machines[B].paused = false;
        for (_, link, bytes) in &old {
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

fn retire(world: &mut World, who: usize) {
    let now = world.now;
    world.machines[who].head.as_mut().unwrap().retire(now);
    world.until("nothing is held", |w| w.head(who).is_at_rest());
}

#[test]
fn who_fenced_its_peer_does_not_take_it_for_done_until_it_says_that_it_holds_nothing() {
    let mut world = World::serving();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    retire(&mut world, B);
    assert_eq!(world.let_go, [(B, false)]);
    // A boot later, of which all is heard but an answer to the claim.
    let mut world = World::serving();
    world.crash(A);
    world.until("b serves", |w| w.state(B) == PoolState::Serving);
    world.boot(A);
    world.run(Duration::from_secs(2));
    world.crash(A);
    retire(&mut world, B);
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
    retire(&mut world, B);
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
