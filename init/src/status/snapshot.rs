//! The core's view at one moment: plain numbers of fixed size, so that taking it costs the heartbeat
//! thread a copy and no allocation.

use orthrus_hb::{
    Epoch, Fault, Head, HeadId, Health, Hearing, LedgerState, LinkId, Liveness, MAX_POOLS, PoolId,
    PoolState, Rest,
};

/// One link.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkSnapshot {
    /// What it carries of the peer.
    pub hearing: Hearing,
    /// The peer hears us on it.
    pub heard: bool,
    /// How long it has been silent, in milliseconds; `None` when never heard since boot.
    pub silence_ms: Option<u64>,
    /// How late what it carries is, in milliseconds.
    pub late_ms: u64,
    /// Frames that counted since boot.
    pub accepted: u32,
    /// Frames that did not.
    pub rejected: u32,
}

/// One pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSnapshot {
    /// Its state here.
    pub state: PoolState,
    /// The claim held or attempted, else the greatest known.
    pub epoch: Epoch,
    /// Why it rests here.
    pub rest: Option<Rest>,
    /// What failed here.
    pub fault: Option<Fault>,
    /// Its state at the peer, as last heard of a living peer, and its epoch there.
    pub peer: Option<(PoolState, Epoch)>,
    /// What its ledger says of the peer.
    pub ledger: LedgerState,
    /// What this head could not serve it with.
    pub health: Health,
    /// What a living peer says that it could not serve it with.
    pub peer_health: Health,
    /// Clients are answered: whoever serves it keeps silent while it does not see its disks, and may have been replaced.
    pub answers: bool,
}

/// The whole view.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whether the peer is heard.
    pub liveness: Liveness,
    /// The links, by [`LinkId::index`].
    pub links: [LinkSnapshot; LinkId::ALL.len()],
    /// The pools, in the order of the configuration.
    pub pools: heapless::Vec<PoolSnapshot, MAX_POOLS>,
    /// Heads that were fenced again and again, and how often.
    pub barred: heapless::Vec<(HeadId, usize), 2>,
    /// The peer runs another configuration file.
    pub digest_differs: bool,
    /// This head is about to halt: it lets go of what it has and takes nothing more.
    pub is_retiring: bool,
    /// So is the peer, as it says.
    pub peer_retires: bool,
    /// This head retired and nothing of any pool is held here: it may halt.
    pub at_rest: bool,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            liveness: Liveness::Unheard,
            links: [LinkSnapshot::default(); LinkId::ALL.len()],
            pools: heapless::Vec::new(),
            barred: heapless::Vec::new(),
            digest_differs: false,
            is_retiring: false,
            peer_retires: false,
            at_rest: false,
        }
    }
}

impl Snapshot {
    /// Takes the core's present view, and whose pools' gates are held open.
    pub fn take(&mut self, head: &Head, answers: impl Fn(usize) -> bool) {
        self.liveness = head.liveness();
        self.digest_differs = head.digest_differs();
        for link in LinkId::ALL {
            let state = head.peer().link(link);
            let (hearing, heard) = head.link_works(link);
            let (accepted, rejected) = state.counters();
            let silence_ms = state.silence().map(|silence| silence.as_millis());
            self.links[link.index()] = LinkSnapshot {
                hearing,
                heard,
                silence_ms,
                late_ms: state.lateness().as_millis(),
                accepted,
                rejected,
            };
        }
        self.is_retiring = head.is_retiring();
        self.at_rest = head.is_at_rest();
        self.peer_retires = false;
        self.barred.clear();
        for id in [HeadId::First, HeadId::Second] {
            if let (count, true) = head.fences(id) {
                // There are two heads.
                let _ = self.barred.push((id, count));
            }
        }
        self.pools.clear();
        for (index, pool) in head.pools().iter().enumerate() {
            let word = head.word(PoolId(index as u8));
            self.peer_retires |= word.is_some_and(|beat| beat.retires());
            // The core's table of pools has the same capacity.
            let _ = self.pools.push(PoolSnapshot {
                state: pool.state(),
                epoch: pool.epoch(),
                rest: pool.rest(),
                fault: pool.fault(),
                peer: word.map(|beat| (beat.state, beat.epoch)),
                ledger: head.ledger(PoolId(index as u8)),
                health: pool.health(),
                peer_health: word.map_or(Health::default(), |beat| beat.health),
                answers: answers(index),
            });
        }
    }
}
