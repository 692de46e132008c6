//! What an operator asks of a pool.

use crate::action::{Authority, Failure, Work};
use crate::command::{Accepted, Refusal};
use crate::peer::Liveness;
use crate::sight::LedgerState;
use crate::wire::PoolState;

use super::{Next, Pool, Rest, State, View, Wanted};

impl Pool {
    /// Begins a handover to the peer.
    pub(crate) fn handover(&mut self, view: &View) -> Result<(Accepted, Wanted), Refusal> {
        let epoch = match self.state {
            State::Serving { epoch } => epoch,
            State::Importing { .. } | State::Releasing { .. } => return Err(Refusal::Busy),
            _ => return Err(Refusal::NotServing),
        };
        match (view.liveness, view.peer()) {
            (Liveness::Unheard | Liveness::Dead, _) => Err(Refusal::PeerNotHeard),
            (Liveness::LinksLost, _) => Err(Refusal::LinksLost),
            _ if view.peer_barred => Err(Refusal::PeerBarred),
            (_, Some(beat)) if beat.state == PoolState::Standby => {
                if beat.health.burden() > self.health.burden() {
                    return Err(Refusal::PeerLessFit);
                }
                Ok((Accepted::Releasing, self.release(epoch, Next::Offer, view)))
            }
            _ => Err(Refusal::PeerNotReady),
        }
    }

    /// Lets go of the pool for good. What comes after it is what comes after an import that failed: this head, and the
    /// peer as it hears of that, look for a pool that is not there any more.
    pub(crate) fn destroy(&mut self, view: &View) -> Result<(Accepted, Wanted), Refusal> {
        let epoch = match self.state {
            State::Serving { epoch } => epoch,
            State::Importing { .. } | State::Releasing { .. } => return Err(Refusal::Busy),
            _ => return Err(Refusal::NotServing),
        };
        let job = self.job(epoch, Work::Destroy);
        self.state = State::Releasing {
            ticket: job.ticket,
            epoch,
            // It writes to every disk, which a release does not.
            until: view.now + view.timing.claim_limit,
            next: Next::Fault(Failure::Refused),
        };
        Ok((Accepted::Releasing, Wanted::Run(job)))
    }

    /// Gets the pool here, by asking or by force.
    pub(crate) fn takeover(&mut self, view: &View) -> Result<(Accepted, Option<Wanted>), Refusal> {
        if let Some(Rest::HeldByDeafPeer(held)) = self.rest() {
            let record = view.record;
            let claims = record.is_some_and(|r| r.state.may_hold() && r.epoch >= held);
            match view.ledger {
                LedgerState::Ticking if claims => return Err(Refusal::PeerHolds),
                LedgerState::Seen if claims => return Err(Refusal::Busy),
                _ => {}
            }
        }
        // It cannot be asked, and the operator knows that it holds nothing.
        let is_deaf = matches!(self.rest(), Some(Rest::HeldByDeafPeer(_)))
            && !view.is_heard
            && !view.digest_differs;
        let of_a_peer_that_yields = match is_deaf {
            true => Authority::Operator,
            false => Authority::PeerYields,
        };
        self.fetch(of_a_peer_that_yields, view)
    }

    /// The same, by this authority where the peer says that it holds nothing.
    fn fetch(
        &mut self,
        of_a_peer_that_yields: Authority,
        view: &View,
    ) -> Result<(Accepted, Option<Wanted>), Refusal> {
        match self.state {
            State::Serving { .. } | State::Importing { .. } => Err(Refusal::AlreadyThere),
            State::Claiming { .. } | State::Making(_) | State::Releasing { .. } => {
                Err(Refusal::Busy)
            }
            State::Standby { .. } | State::Faulted(_) => match view.peer() {
                _ if view.liveness == Liveness::LinksLost => Err(Refusal::LinksLost),
                Some(beat) if beat.state == PoolState::Serving => {
                    let until = view.now + view.timing.release_limit;
                    self.state = State::Standby {
                        rest: Rest::PeerHolds,
                        not_before: view.now,
                        request_until: Some(until),
                    };
                    Ok((Accepted::AskedPeer, None))
                }
                Some(beat) if beat.state.may_hold() => Err(Refusal::Busy),
                Some(_) => Ok((
                    Accepted::Claiming,
                    Some(self.survey(of_a_peer_that_yields, view)),
                )),
                None if view.liveness == Liveness::Alive => Err(Refusal::Busy),
                None => Ok((
                    Accepted::Claiming,
                    Some(self.survey(Authority::Operator, view)),
                )),
            },
        }
    }

    /// Moves the pool to its home head.
    pub(crate) fn giveback(&mut self, view: &View) -> Result<(Accepted, Option<Wanted>), Refusal> {
        if self.home == view.me {
            return match view.peer() {
                None => Err(Refusal::PeerNotHeard),
                _ if view.me_barred => Err(Refusal::Barred),
                // In order: nobody was asked whether the peer may be fenced.
                Some(_) => self.fetch(Authority::PeerYields, view),
            };
        }
        match self.state {
            State::Serving { .. } => self.handover(view).map(|(a, wanted)| (a, Some(wanted))),
            State::Standby { .. } | State::Faulted(_) => Err(Refusal::NotServing),
            _ => Err(Refusal::Busy),
        }
    }
}
