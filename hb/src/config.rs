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

/// How long things take. Both heads must use the same values.
#[derive(Clone, Copy, Debug)]
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
