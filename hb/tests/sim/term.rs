//! How long an owner may go on by its lease, by what is on the disks: the truth beside what the core believes.
//!
//! A lease runs from the moment at which a renewal was handed to its writers, and counts once it is on more than half of
//! the copies. The core hears of that later, so it may never believe in a longer one.

use embassy_time::{Duration, Instant};
use orthrus_hb::PoolState;

use crate::lease::LEASE;
use crate::shelf::Write;
use crate::world::World;

/// The core looks at its deadlines once a beat.
const SLACK: Duration = Duration::from_millis(200);

/// The lease of one claim, by its head's clock.
#[derive(Clone, Debug)]
pub struct Term {
    until: Instant,
    /// Renewals that were handed out: their number, and when.
    handed: Vec<(u64, Instant)>,
    /// By copy: the number of the last that is on it.
    landed: Vec<u64>,
}

impl Term {
    /// Of a claim whose last record was submitted at `submitted`.
    pub fn new(submitted: Instant, copies: usize) -> Term {
        Term {
            until: submitted + LEASE,
            handed: Vec::new(),
            landed: vec![0; copies],
        }
    }

    pub fn handed(&mut self, sequence: u64, now: Instant) {
        self.handed.push((sequence, now));
    }

    pub fn landed(&mut self, copy: usize, sequence: u64) {
        self.landed[copy] = sequence;
        let mut landed = self.landed.clone();
        landed.sort_unstable_by(|a, b| b.cmp(a));
        let written = landed[landed.len() / 2];
        while let Some(&(number, at)) = self.handed.first()
            && number <= written
        {
            self.handed.remove(0);
            if number == written {
                self.until = self.until.max(at + LEASE);
            }
        }
    }
}

impl World {
    /// A renewal is on a copy.
    pub fn note_term(&mut self, disk: usize, write: &Write, sequence: u64) {
        let pool = disk / self.disks_per_pool;
        let copy = self.copies[pool].iter().position(|copy| *copy == disk);
        let machine = &mut self.machines[write.who];
        let worker = machine
            .workers
            .get_mut(pool)
            .filter(|_| machine.boot == write.boot);
        let term = worker.filter(|worker| worker.attempt == write.attempt);
        if let (Some(copy), Some(term)) = (copy, term.and_then(|worker| worker.term.as_mut())) {
            term.landed(copy, sequence);
        }
    }

    /// A head has run, or feeds its watchdog: what it holds by a lease it still may hold.
    pub fn look_at_terms(&mut self, who: usize, feeds: bool) {
        let machine = &self.machines[who];
        let now = machine.clock.read(self.now);
        let Some(head) = machine.head.as_ref().filter(|_| machine.beats()) else {
            return;
        };
        let pools = head.pools().iter().zip(&machine.workers).enumerate();
        let over = pools.filter_map(|(pool, (state, worker))| {
            let holding = [
                PoolState::Importing,
                PoolState::Serving,
                PoolState::Releasing,
            ];
            let term = worker
                .term
                .as_ref()
                .filter(|_| holding.contains(&state.state()))?;
            let slack = if feeds { Duration::MIN } else { SLACK };
            (now >= term.until + slack).then_some(pool)
        });
        if let Some(pool) = over.collect::<Vec<_>>().first() {
            let what = if feeds {
                "feeds its watchdog"
            } else {
                "goes on"
            };
            self.checks.fail(format!(
                "I1: {who} {what} though its lease on pool {pool} is over"
            ));
        }
    }
}
