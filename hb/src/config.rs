//! What the core is told about its cluster at boot; it never changes while the head runs.

use embassy_time::Duration;
use heapless::Vec;

use crate::key::{ClusterId, HeadId};

/// Pools that one pair of heads can serve. Bounds every table of the core.
pub const MAX_POOLS: usize = 8;

/// Index of a pool in the configuration, equal on both heads because the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u8);

impl PoolId {
    /// As an index into tables of pools.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What the core knows of one pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// The head that the pool prefers.
    pub home: HeadId,
}

/// How long things take. Both heads must use the same values. An operator chooses `dead`, and [`Timing::of`] what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Interval of beats on the cables.
    pub beat: Duration,
    /// Silence of a link after which it no longer vouches for the peer, and the gap in our own
    /// running after which we must assume that we were replaced.
    pub dead: Duration,
    /// Interval of beats on the ledger.
    pub ledger_beat: Duration,
    /// Silence of a ledger that counts as the peer's death: counted between completed reads.
    pub ledger_dead: Duration,
    /// How long no read of a ledger may complete before it says nothing any more. Several times what a healthy shelf
    /// takes under load; a disk's own error recovery takes longer, and then it is true that nothing is known.
    pub ledger_unread: Duration,
    /// How long the peer must have been silent on the cables before a head that was fenced again and again takes a
    /// pool without a ledger from it. No stall of a machine that goes on to live has been seen to last so long,
    /// and a fence loop becomes slow enough for somebody to look.
    pub barred_dead: Duration,
    /// How long an owner must have been worse off than its peer before it lets go: a link that is down
    /// for a moment is no reason to make every client wait.
    pub health_settle: Duration,
    /// How much longer than `dead` the second head waits for a silent first one while both hold pools.
    ///
    /// When every cable is cut each believes that the other is dead, and without an order each would
    /// fence the other: both reset, and nothing is served until one has booted. The wait covers the
    /// difference of their clocks and beats, the first head's claim, and the second's own watch and
    /// reset: it is gone before it would preempt.
    pub duel_wait: Duration,
    /// How long a booting head waits to hear its peer before it claims what is free.
    ///
    /// Heads that get power together differ by the time that their firmware takes to find its
    /// devices; ten seconds of that is ordinary for real hardware. Nothing unsafe follows from a
    /// wait that is too short: the arbiter decides a race.
    pub peer_wait: Duration,
    /// How long a head leaves a pool that nobody serves to its home head.
    pub home_wait: Duration,
    /// How long a look at the disks may take before the peer is no longer kept waiting for it. A shelf
    /// answers in milliseconds; the kernel tries a path that is gone for half a minute and more.
    pub survey_limit: Duration,
    /// Limit of a claim. Each of its steps has a limit of its own over all disks, of 20 s, and a shelf on
    /// which several of them come near to it is as good as none; past this the worker is stuck in a call
    /// that has no limit.
    pub claim_limit: Duration,
    /// Limit of an import. Past it the worker is stuck in the kernel and cannot undo: reset.
    pub import_limit: Duration,
    /// Limit of a release: past it the head resets and the peer fences it.
    pub release_limit: Duration,
    /// The same where the owner does not see its disks: what is under way to them will not end, and only the first
    /// steps, which silence it towards its clients, are worth waiting for.
    pub broken_release_limit: Duration,
    /// How long a head that let go of a pool waits for the peer to take it, before it takes it back.
    pub offer_limit: Duration,
    /// Pause before a claim that failed is tried again: twice as long after each further one.
    pub retry: Duration,
    /// Longest pause between attempts at a pool that cannot be served.
    pub retry_max: Duration,
}

impl Timing {
    /// What goes with a `dead` of an operator's choice. Those of a shorter one than a second stay as they are: they are what disks,
    /// workers and people take. With a longer one, of how long a head may not run and yet go on:
    ///
    /// - The ledger is silent later than the cables: else an owner that stalls for less than `dead` with its cables cut is fenced,
    ///   and answers its clients with the conflicts that its writes meet then, until its gate shuts `dead` after it ran last.
    ///   The record that it wrote last may be older than that by `ledger_beat` and a beat. The tenth, and the notice before a
    ///   claim preempts, are more than those, and than what two clocks differ by.
    /// - What no read has shown for `ledger_dead` is not known, but before that an owner is patient with its own stalls, and
    ///   so is its standby.
    /// - A head that was fenced again and again waits for several times `dead`, or being barred would cost it nothing.
    /// - Of two that are silent to one another the second waits for what the clocks differ by in a longer silence as well. When both are barred
    ///   that is four times as long: a fiftieth of `dead` is five thousandths of it, of which clocks differ by less than one.
    ///
    /// The rest is how long shelves, kernels and boots take, whatever `dead` is.
    pub fn of(dead: Duration) -> Timing {
        let design = Timing::default();
        let more = dead.checked_sub(design.dead).unwrap_or(Duration::MIN);
        let ledger_dead = design.ledger_dead + more + more / 10;
        Timing {
            dead,
            ledger_dead,
            ledger_unread: design.ledger_unread.max(ledger_dead),
            barred_dead: design.barred_dead.max(dead * 4),
            duel_wait: design.duel_wait + more / 50,
            ..design
        }
    }
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            beat: Duration::from_millis(100),
            dead: Duration::from_millis(1000),
            ledger_beat: Duration::from_millis(250),
            ledger_dead: Duration::from_millis(1000),
            ledger_unread: Duration::from_secs(3),
            barred_dead: Duration::from_secs(10),
            health_settle: Duration::from_secs(2),
            duel_wait: Duration::from_millis(600),
            peer_wait: Duration::from_secs(15),
            home_wait: Duration::from_secs(10),
            survey_limit: Duration::from_secs(10),
            claim_limit: Duration::from_secs(120),
            import_limit: Duration::from_secs(60),
            release_limit: Duration::from_secs(20),
            broken_release_limit: Duration::from_secs(5),
            offer_limit: Duration::from_secs(10),
            retry: Duration::from_secs(5),
            retry_max: Duration::from_secs(60),
        }
    }
}

/// Everything that the core is told.
#[derive(Clone)]
pub struct Config {
    /// The cluster, as in keys and frames.
    pub cluster: ClusterId,
    /// Which of the two heads this is.
    pub me: HeadId,
    /// Key of the frames' MAC. Never printed.
    pub secret: [u8; 32],
    /// Digest of the configuration file; heads whose digests differ raise an alarm.
    pub digest: u32,
    /// Intervals and limits.
    pub timing: Timing,
    /// The pools, in the order of the configuration file.
    pub pools: Vec<PoolConfig, MAX_POOLS>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_second_are_the_designs() {
        assert_eq!(Timing::of(Duration::from_secs(1)), Timing::default());
    }

    #[test]
    fn nobody_is_replaced_by_the_ledger_while_its_gate_may_be_open() {
        for ms in [1000, 1300, 2500, 10_600, 20_000, 60_000] {
            let timing = Timing::of(Duration::from_millis(ms));
            // A thousandth by which each clock is wrong.
            assert!(
                timing.ledger_dead >= timing.dead + timing.dead / 1000 * 2 || ms == 1000,
                "{ms}"
            );
            assert!(timing.ledger_unread >= timing.ledger_dead, "{ms}");
            assert!(timing.barred_dead >= timing.dead * 4, "{ms}");
            let barred = timing.barred_dead / 1000 * 2;
            assert!(
                timing.duel_wait >= barred + Duration::from_millis(500),
                "{ms}"
            );
        }
        // Shorter than a second: of the disks, and of people.
        let short = Timing::of(Duration::from_millis(300));
        assert_eq!(
            (short.ledger_dead, short.barred_dead),
            (Duration::from_secs(1), Duration::from_secs(10))
        );
    }
}
