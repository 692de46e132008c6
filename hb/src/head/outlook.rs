//! What a head knows, as of the last input: getters, which change nothing, and what a pool is shown when it decides.

use embassy_time::{Duration, Instant};

use super::Head;
use crate::HeadId;
use crate::config::{Config, PoolId, Timing};
use crate::link::{Hearing, LinkId};
use crate::peer::{Liveness, Peer, Word};
use crate::pool::{Pool, View};
use crate::sight::{Ledger, LedgerState};
use crate::wire::PoolBeat;

/// Beats that may be unacknowledged before we say that the peer does not hear us on a link: its
/// acknowledgement is itself a beat old when it arrives.
pub(super) const UNHEARD_WINDOW: u32 = 10;

impl Head {
    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The pools, in the order of the configuration.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The peer, as heard.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the peer is alive, as of the last input.
    pub fn liveness(&self) -> Liveness {
        match self.peer.liveness(self.config.timing.dead) {
            Liveness::Alive => Liveness::Alive,
            // A tick on the disks of any pool is its heartbeat's.
            _ if self
                .pool_ids()
                .any(|pool| self.ledger(pool) == LedgerState::Ticking) =>
            {
                Liveness::LinksLost
            }
            silent => silent,
        }
    }

    /// What the ledger of a pool says of the peer, as of the last input.
    pub fn ledger(&self, pool: PoolId) -> LedgerState {
        let Timing {
            ledger_dead,
            ledger_unread,
            ..
        } = self.config.timing;
        let ledger = self.ledgers.get(pool.index());
        ledger.map_or(LedgerState::None, |ledger| {
            ledger.state(ledger_dead, ledger_unread, self.last_input)
        })
    }

    /// Whether the hardware watchdog may be fed: every lease that this head holds is renewed.
    pub fn may_feed_watchdog(&self, now: Instant) -> bool {
        self.pools.iter().all(|pool| pool.may_feed(now))
    }

    /// What the peer says of a pool, by cable or by the ledger, while it lives; as of the last input.
    pub fn word(&self, pool: PoolId) -> Option<PoolBeat> {
        self.living_word(pool).map(|word| word.beat)
    }

    fn living_word(&self, pool: PoolId) -> Option<Word> {
        match self.liveness() {
            Liveness::Alive => self.peer.word(pool.index()),
            Liveness::LinksLost if self.ledger(pool) == LedgerState::Ticking => {
                let ledger = self.ledgers.get(pool.index());
                let beat = ledger.and_then(|ledger| ledger.beat(pool));
                beat.map(Word::of_ledger)
            }
            Liveness::LinksLost | Liveness::Dead | Liveness::Unheard => None,
        }
    }

    /// How often a head was fenced within the last ten minutes, and whether it is barred for that.
    pub fn fences(&self, head: HeadId) -> (usize, bool) {
        let now = self.last_input;
        (
            self.fences.count(head, now),
            self.fences.is_barred(head, now),
        )
    }

    /// What a link carries of the peer, and whether it carries ours to it: the one is known without the other.
    pub fn link_works(&self, link: LinkId) -> (Hearing, bool) {
        let link = self.peer.link(link);
        let hearing = link.hearing(self.config.timing.dead);
        (hearing, link.is_heard(UNHEARD_WINDOW))
    }

    /// Whether this head is about to halt.
    pub fn is_retiring(&self) -> bool {
        self.retiring
    }

    /// Whether this head retired, and nothing of any pool is held here, nor on its way here.
    pub fn is_at_rest(&self) -> bool {
        self.retiring && self.pools.iter().all(Pool::is_at_rest)
    }

    /// Whether the peer runs another configuration file.
    pub fn digest_differs(&self) -> bool {
        self.peer
            .digest()
            .is_some_and(|theirs| theirs != self.config.digest.to_be_bytes())
    }

    /// This head's place in the configuration.
    pub fn me(&self) -> HeadId {
        self.config.me
    }

    /// What a pool sees of the rest of this head.
    pub(super) fn view(&self, pool: PoolId, now: Instant) -> View {
        let Timing {
            dead, barred_dead, ..
        } = self.config.timing;
        let (liveness, ledger) = (self.liveness(), self.ledger(pool));
        let me_barred = self.fences.is_barred(self.config.me, now);
        let is_barred = me_barred && ledger != LedgerState::Silent;
        // How long the peer must be silent to be dead beyond what this head may doubt.
        let beyond_doubt = match is_barred {
            true => barred_dead,
            false => dead,
        };
        let own = self.ledgers.get(pool.index());
        View {
            now,
            booted: self.booted,
            me: self.config.me,
            timing: self.config.timing,
            retiring: self.retiring,
            liveness,
            is_heard: LinkId::ALL.into_iter().any(|link| self.link_works(link).1),
            ledger,
            record: own.and_then(Ledger::newest),
            barred: is_barred && self.peer.silence() < barred_dead,
            me_barred,
            peer_barred: self.fences.is_barred(self.config.me.peer(), now),
            yields: self.yields(beyond_doubt),
            word: self.living_word(pool),
            last_word: self.peer.word(pool.index()),
            digest_differs: self.digest_differs(),
            mark: self.peer.next_number(),
        }
    }

    /// Both heads hold pools and cannot hear each other: the first one goes first. `beyond_doubt`: how long each waits,
    /// which is longer when both are barred.
    fn yields(&self, beyond_doubt: Duration) -> bool {
        self.config.me == HeadId::Second
            && self.pools.iter().any(|pool| pool.held().is_some())
            && self.peer.silence() < beyond_doubt + self.config.timing.duel_wait
    }
}
