//! Keys that a look at the disks finds: whose are stale, and whose must be left alone.

use embassy_time::Duration;
use orthrus_hb::ledger::Record;
use orthrus_hb::{
    Accepted, Command, Epoch, HeadId, Hearing, Incarnation, LinkId, PoolState, Refusal, Rest,
};

use crate::world::{A, B, Registrant, TANK, World};

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
