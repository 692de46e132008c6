//! By what right a head takes a pool from its peer: what its core had been told when it did, counted again here.
//!
//! The core must not take a peer for dead, nor its ledger for silent or ticking, against what it was told. The
//! margins are those of its rules: silence is counted by its own clock, in steps of at most two beats.

use embassy_time::Duration;
use orthrus_hb::{Authority, Epoch, LedgerState, Liveness, PoolId, Rest, Timing};

use crate::clock::{MS, SECOND, Time};
use crate::world::World;

/// How long a state may go on after what should end it.
const SLACK: Time = 2 * SECOND;

/// How long ago the peer was heard at least, when it is taken for dead: a silence is counted from beat to beat.
fn quiet_at_least(timing: &Timing) -> Time {
    let dead = timing.dead.as_micros();
    (dead * 3 / 4).min(dead.saturating_sub(timing.beat.as_micros() * 3 / 2))
}

/// Since when what each head says of a pool goes on; by head and pool.
#[derive(Clone, Copy, Default)]
pub struct Since {
    barred: Option<Time>,
    awaiting: Option<Time>,
    ticking: Option<Time>,
    silent: Option<Time>,
    held_back: Option<Time>,
}

impl World {
    /// A claim begins.
    pub fn claim_begins(&mut self, who: usize, pool: usize, epoch: Epoch, authority: Authority) {
        let machines = &self.machines;
        self.checks.begins((pool, who, epoch), machines, self.now);
        if authority != Authority::PeerDead {
            return;
        }
        if let Some(why) = self.no_right(who, pool) {
            let what = format!("I4: {who} takes pool {pool} from a peer for dead, and {why}");
            self.checks.fail(what);
        }
    }

    /// Why this head has no right to take its peer for dead.
    fn no_right(&self, who: usize, pool: usize) -> Option<String> {
        let timing = self.timing;
        let machine = &self.machines[who];
        let head = machine.head.as_ref()?;
        let now = machine.clock.read(self.now);
        let quiet = machine.news.map(|at| self.now - at);
        if let Some(quiet) = quiet
            && quiet < quiet_at_least(&timing)
        {
            return Some(format!("heard it {} ms ago", quiet / MS));
        }
        let told = machine.workers[pool].ledger.told;
        let barred = head.fences(head.me()).1;
        if barred
            && head.ledger(PoolId(pool as u8)) != LedgerState::Silent
            && quiet.is_some_and(|quiet| quiet < timing.barred_dead.as_micros() * 19 / 20)
        {
            return Some("is barred".to_owned());
        }
        if self.copies[pool].is_empty() {
            return None;
        }
        let Some(read) = told.read else {
            return Some("never read its ledger".to_owned());
        };
        let age = now.saturating_duration_since(read);
        let patience = timing.ledger_unread + Duration::from_millis(1);
        if age > patience {
            return Some(format!("its ledger was read {age} ago"));
        }
        let Some(ticked) = told.ticked else {
            // Never written: the cables decide.
            return quiet.is_none().then(|| "never heard of it".to_owned());
        };
        let silence = read.saturating_duration_since(ticked);
        if silence < timing.ledger_dead || told.reads < 2 {
            let reads = told.reads;
            return Some(format!("its ledger ticked {silence} ago, {reads} reads"));
        }
        None
    }

    /// What a head says of its peer and why a pool rests, now and then: no longer than there is reason to.
    pub fn look_at_rests(&mut self, who: usize) {
        for pool in 0..self.clients.len() {
            let now = self.now;
            let machine = &self.machines[who];
            let steady = machine.late == 0 && machine.beats();
            let Some(head) = machine.head.as_ref().filter(|_| steady) else {
                self.checks.since[who][pool] = Since::default();
                continue;
            };
            let timing = self.timing;
            let (rest, ledger) = (head.pools()[pool].rest(), head.ledger(PoolId(pool as u8)));
            let told = machine.workers[pool].ledger.told;
            let reads = now < told.last_at + 500 * MS;
            let mut since = self.checks.since[who][pool];
            let over = |place: &mut Option<Time>, holds: bool, limit: Time| {
                if !holds {
                    *place = None;
                    return false;
                }
                now > *place.get_or_insert(now) + limit
            };
            let barred_dead = timing.barred_dead.as_micros() + SLACK;
            let dead = timing.ledger_dead.as_micros() + SLACK;
            let mut wrong = None;
            // Once it is heard, or seen in some ledger, it is waited for anew.
            let barred = rest == Some(Rest::Barred) && head.liveness() == Liveness::Dead;
            if over(&mut since.barred, barred, barred_dead) {
                wrong = Some("I3: barred for too long");
            }
            let awaiting =
                reads && rest == Some(Rest::AwaitingLedger) && head.liveness() == Liveness::Dead;
            if over(&mut since.awaiting, awaiting, dead) {
                wrong = Some("I3: awaits a ledger that can be read");
            }
            // Reads that come one by one count for half the limit each.
            let still = reads && now > told.ticked_at.max(told.steady_since) + dead;
            let ticking = still && ledger == LedgerState::Ticking;
            if over(&mut since.ticking, ticking, 0) {
                wrong = Some("I3: goes by a ledger that does not tick");
            }
            let limit = timing.ledger_dead.as_micros();
            let counted = u64::from(told.jumps) * limit / 2;
            let lives = now < told.ticked_at + (limit * 3 / 4).saturating_sub(counted);
            let silent = lives && ledger == LedgerState::Silent;
            if over(&mut since.silent, silent, 0) {
                wrong = Some("I4: takes a ledger that ticks for silent");
            }
            // It may be years old, and then it is a false alarm that the cables are lost.
            if ledger == LedgerState::Ticking && !told.changed {
                wrong = Some("I3: says that a peer lives by one sight of its record");
            }
            let alive = head.liveness() == Liveness::Alive;
            if machine
                .news
                .is_some_and(|at| now < at + quiet_at_least(&timing) * 14 / 15)
                && !alive
            {
                wrong = Some("I4: takes a peer that is heard for dead");
            }
            let quiet = machine
                .news
                .is_none_or(|at| now >= at + timing.dead.as_micros());
            if over(&mut since.held_back, alive && quiet, SLACK + self.longer()) {
                wrong = Some("I3: takes a peer for alive by what a cable held back");
            }
            self.checks.since[who][pool] = since;
            if let Some(wrong) = wrong {
                let what = format!("{wrong}: {who}, pool {pool}, {ledger:?}, {rest:?}");
                self.checks.fail(what);
            }
        }
    }
}
