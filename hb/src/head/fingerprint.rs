//! The identity of a head's state.

use core::hash::Hasher;

use embassy_time::Instant;

use super::Head;
use super::outlook::UNHEARD_WINDOW;
use crate::config::PoolId;
use crate::fingerprint::Print;
use crate::ledger::Record;
use crate::link::LinkId;
use crate::pool::Pool;
use crate::sight::Ledger;

impl Head {
    /// Hashes what the head's future depends on. Equal hashes of two heads of one configuration mean that
    /// they do the same from now on, given the same inputs at the same distance from `now`, for as long as nobody
    /// else becomes barred: of fences only who is barred is told apart. They are remembered for ten minutes and
    /// decide nothing before there are three, and with them no two states of any length would be equal.
    ///
    /// Everything polled must have been taken. The numbers of frames are left out: whoever compares
    /// pairs of heads must tell apart whether a frame under way is newer than what was received on its link
    /// ([`crate::Link::received`]), than all that was ([`crate::Peer::received`]), and than what was said of a pool ([`Head::said`]), whether it acknowledges more than
    /// was before ([`crate::Link::acknowledged`]) where a pool is served by the worse head, whether it acknowledges what is awaited
    /// ([`Head::awaited_acknowledgements`]), and whether a ledger's record is newer than the one seen last
    /// ([`Head::seen_record`]).
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Head {
            config,
            me,
            booted,
            peer,
            pools,
            ledgers,
            fences,
            told_fences: _, // see above
            fences_heard: _,
            fences_learnt: _,
            counts_fences: _, // and whether they have a turn on serial
            actions,
            events, // what the log was told of the pools is what the peer was told at once
            outbox,
            inbox,
            due,
            rotation,
            unsaid,
            next_beat,
            last_input,
            last_timeout,
            retiring,
            resetting,
        } = self;
        let timing = config.timing;
        let mut print = Print { hasher, now };
        print.put(me);
        print.until(*booted + timing.peer_wait);
        // The longest silence that is waited for.
        let longest = match fences.is_barred(config.me, now) {
            true => timing.dead.max(timing.barred_dead),
            false => timing.dead,
        };
        peer.fingerprint(longest + timing.duel_wait, &mut print);
        for (pool, ledger) in pools.iter().zip(ledgers) {
            pool.fingerprint(&timing, &mut print);
            ledger.fingerprint(&timing, &mut print);
        }
        // Whether the peer hears us is asked only by an owner that could be worse off.
        if pools.iter().any(|pool| pool.health().burden() > 0) {
            let unheard = |link| peer.link(link).unheard().min(UNHEARD_WINDOW + 1);
            print.put(LinkId::ALL.map(unheard));
        }
        print.put([config.me, config.me.peer()].map(|head| fences.is_barred(head, now)));
        for (index, (pool, told)) in pools.iter().zip(&events.pools).enumerate() {
            print.put(
                pool.awaited()
                    .map(|marks| peer.has_acknowledged(index, &marks)),
            );
            print.put(told);
        }
        print.put(self.tells_fences(now));
        print.put(actions.len());
        print.put((outbox, inbox, due, rotation, unsaid));
        print.until(*next_beat);
        // Gaps are held against `dead` and against two beats.
        let gap = timing.dead.max(timing.beat * 3);
        print.since(*last_input, gap);
        print.since(*last_timeout, gap);
        print.put((retiring, resetting));
    }

    /// The peer's newest record seen in the ledger of a pool.
    pub fn seen_record(&self, pool: PoolId) -> Option<Record> {
        self.ledgers.get(pool.index()).and_then(Ledger::newest)
    }

    /// The number of the frame that told of a pool last, if the peer's frames have one order; else zero.
    pub fn said(&self, pool: PoolId) -> u64 {
        self.peer.said(pool.index())
    }

    /// The sequence numbers, one a link, that this head waits to see acknowledged: for a pool, and to confirm
    /// a new boot of the peer.
    pub fn awaited_acknowledgements(&self) -> impl Iterator<Item = [u64; LinkId::ALL.len()]> {
        let pools = self.pools.iter().filter_map(Pool::awaited);
        pools.chain(self.peer.awaited())
    }
}
