//! Nothing of the pool is held here: whose turn is it?

use core::cmp::Ordering;

use crate::action::Authority;
use crate::peer::Liveness;
use crate::wire::{PoolState, Wish};

use super::{Pause, Pool, Rest, State, View, Wanted};

impl Pool {
    pub(super) fn decide_standby(&mut self, view: &View) -> Option<Wanted> {
        let State::Standby {
            rest,
            not_before,
            request_until,
        } = self.state
        else {
            return None;
        };
        if view.retiring {
            return None;
        }
        let request_until = request_until.filter(|&until| view.now < until);
        let early = view.now < not_before;
        match view.liveness {
            Liveness::Unheard => {
                let authority = match view.peer_is_dead() {
                    true => Authority::PeerDead,
                    false => Authority::Free,
                };
                (view.has_waited() && !early).then(|| self.survey(authority, view))
            }
            // What the ledger of this pool says, or the cables said last: another pool's may be what ticks. Keys
            // that are gone meanwhile are no sign that it let go.
            Liveness::LinksLost
                if view
                    .word
                    .or(view.last_word)
                    .is_some_and(|word| word.beat.state.may_hold()) =>
            {
                self.unserved_since = None;
                self.rest_until(Rest::PeerHolds, view.now);
                None
            }
            // It lives, and held nothing of this pool as far as is known: what is free may be taken.
            Liveness::LinksLost => {
                (view.has_waited() && !early).then(|| self.survey(Authority::Free, view))
            }
            Liveness::Dead => {
                self.unserved_since = None;
                if !view.peer_is_dead() {
                    let rest = match view.barred {
                        true => Rest::Barred,
                        false => Rest::AwaitingLedger,
                    };
                    self.rest_until(rest, view.now);
                    return None;
                }
                if view.yields {
                    return None;
                }
                // A peer that claimed after it fell silent lives: look, but do not preempt.
                let lost = matches!(rest, Rest::HeldByUnheardPeer(held) if held > self.known);
                // Pauses are for the living, except the one between such looks. What a look found while the ledger
                // of another pool still seemed to tick is no reason to wait.
                let early = early && lost;
                let authority = if lost {
                    Authority::Free
                } else {
                    Authority::PeerDead
                };
                (!early).then(|| self.survey(authority, view))
            }
            Liveness::Alive => {
                let beat = view.peer()?;
                if beat.state.may_hold() {
                    self.unserved_since = None;
                    // Whatever was waited for before: when this peer dies there is no reason to wait.
                    self.state = State::Standby {
                        rest: Rest::PeerHolds,
                        not_before: view.now,
                        request_until,
                    };
                    return None;
                }
                // It hears again, and can be asked.
                let early = early && !(matches!(rest, Rest::HeldByDeafPeer(_)) && view.is_heard);
                // After a claim of ours that failed there is a pause, whatever the peer says meanwhile.
                // While it is our own offer that waits, the time is the peer's, not ours.
                let paused = early && rest != Rest::Offered;
                if beat.wish == Wish::Offer && !paused {
                    return Some(self.survey(Authority::PeerYields, view));
                }
                let since = *self.unserved_since.get_or_insert(view.now);
                let failed_there = beat.state == PoolState::Faulted && !paused;
                let patient = view.now >= since + view.timing.home_wait;
                let ours = match rest {
                    Rest::Offered => failed_there || !early,
                    _ if failed_there => true,
                    // The better head first, and home among equals.
                    _ => match self.health.burden().cmp(&beat.health.burden()) {
                        Ordering::Less => !early,
                        Ordering::Equal => !early && (self.home == view.me || patient),
                        Ordering::Greater => {
                            !early && view.now >= since + view.timing.home_wait * 3
                        }
                    },
                };
                if ours {
                    return Some(self.survey(Authority::PeerYields, view));
                }
                if rest != Rest::Offered {
                    let rest = match rest {
                        Rest::HeldByDeafPeer(_) if early => rest,
                        _ => Rest::AwaitingHome,
                    };
                    self.state = State::Standby {
                        rest,
                        not_before,
                        request_until,
                    };
                }
                None
            }
        }
    }

    pub(super) fn decide_faulted(&mut self, pause: Pause, view: &View) -> Option<Wanted> {
        if view.retiring {
            return None;
        }
        let is_early = view.now < pause.stand_by_at;
        match view.peer().map(|beat| beat.state) {
            // It works there: if it has to be here, the attempts begin with a clean slate. Before that this head stays
            // faulted, so that two heads that both fail do not send the pool back and forth without a pause.
            Some(PoolState::Serving) => {
                self.failures = 0;
                match is_early {
                    true => {
                        self.state = State::Faulted(Pause {
                            peer_served: true,
                            ..pause
                        });
                    }
                    false => self.rest_until(Rest::PeerHolds, view.now),
                }
                None
            }
            Some(state) if state.may_hold() => None,
            // It serves, as far as is known.
            None if pause.peer_served && is_early && view.liveness == Liveness::LinksLost => None,
            // It died, or lets go: the pause was for its sake, and whose turn it is now is decided as if there had been none.
            _ if pause.peer_served => {
                self.rest_until(Rest::PeerHolds, view.now);
                self.decide_standby(view)
            }
            _ => (view.now >= pause.retry_at).then(|| self.survey(authority(view), view)),
        }
    }
}

/// The right that follows from what is heard of the peer.
fn authority(view: &View) -> Authority {
    match view.liveness {
        Liveness::Alive => Authority::PeerYields,
        _ if view.peer_is_dead() => Authority::PeerDead,
        Liveness::Unheard | Liveness::Dead | Liveness::LinksLost => Authority::Free,
    }
}
