//! The identity of a pool's state on one head.

use core::hash::Hasher;

use super::{Making, Pause, Pool, State, Step};
use crate::config::Timing;
use crate::fingerprint::Print;
use crate::link::LinkId;

impl Pool {
    pub(crate) fn fingerprint<H: Hasher>(&self, timing: &Timing, print: &mut Print<'_, H>) {
        let Pool {
            id,
            home,
            state,
            known,
            seen,
            tried,
            unserved_since,
            health,
            worse_since,
            lease,
            records,
            recorded,
            preempts,
            fenced,
            peer_is_done,
            failures,
            setbacks,
            last_fault,
            tickets,
        } = self;
        print.put((id, home, known, seen, tried, last_fault));
        print.put((failures, setbacks));
        print.put(unserved_since.is_some());
        if let Some(since) = unserved_since {
            print.until(*since + timing.home_wait);
        }
        print.put((health, worse_since.is_some(), lease.is_some()));
        if let Some(since) = worse_since {
            print.until(*since + timing.health_settle);
        }
        if let Some(lease) = lease {
            lease.fingerprint(*records, print);
        }
        print.put(recorded.map(|(state, _)| state));
        if let Some((_, at)) = recorded {
            print.until(*at + timing.ledger_beat);
        }
        print.put((preempts, fenced, peer_is_done));
        print.put(core::mem::discriminant(state));
        // A ticket is compared with that of an outcome, and outcomes of earlier ones have no effect.
        let ticket = match *state {
            State::Standby {
                rest,
                not_before,
                request_until,
            } => {
                print.put((rest, request_until.is_some()));
                print.until(not_before);
                if let Some(until) = request_until {
                    print.until(until);
                }
                None
            }
            State::Claiming { authority, step } => {
                print.put((authority, core::mem::discriminant(&step)));
                match step {
                    Step::Survey { ticket, until } => {
                        print.until(until);
                        Some(ticket)
                    }
                    Step::Confirm {
                        mark: _, // see `Head::awaited_acknowledgements`
                        held,
                        until,
                    } => {
                        print.put(held);
                        print.until(until);
                        None
                    }
                    Step::Claim {
                        ticket,
                        epoch,
                        until,
                    } => {
                        print.put(epoch);
                        print.until(until);
                        Some(ticket)
                    }
                }
            }
            State::Making(making) => {
                print.put(core::mem::discriminant(&making));
                match making {
                    // Of its numbers see `Head::awaited_acknowledgements`.
                    Making::Turn { told, until } => {
                        print.put(told.map(|told| (told.number().is_some(), told.is_heard())));
                        print.until(until);
                        None
                    }
                    Making::Inspect {
                        ticket,
                        until,
                        is_late,
                    } => {
                        print.put(is_late);
                        print.until(until);
                        Some(ticket)
                    }
                    Making::Make {
                        ticket,
                        epoch,
                        until,
                    } => {
                        print.put(epoch);
                        print.until(until);
                        Some(ticket)
                    }
                }
            }
            State::Importing {
                ticket,
                epoch,
                until,
            } => {
                print.put(epoch);
                print.until(until);
                Some(ticket)
            }
            State::Serving { epoch } => {
                print.put(epoch);
                None
            }
            State::Releasing {
                ticket,
                epoch,
                until,
                next,
            } => {
                print.put((epoch, next));
                print.until(until);
                Some(ticket)
            }
            State::Faulted(pause) => {
                let Pause {
                    retry_at,
                    stand_by_at,
                    peer_served,
                } = pause;
                print.put(peer_served);
                print.until(retry_at);
                print.until(stand_by_at);
                None
            }
        };
        print.put(ticket.map(|ticket| tickets.wrapping_sub(ticket.0)));
    }

    /// What must be acknowledged before the pool goes on.
    pub(crate) fn awaited(&self) -> Option<[u64; LinkId::ALL.len()]> {
        match self.state {
            State::Claiming {
                step: Step::Confirm { mark, .. },
                ..
            } => Some([mark; LinkId::ALL.len()]),
            State::Making(Making::Turn { told, .. }) => {
                // What was not said yet is not acknowledged by any frame.
                Some(told.map(|told| told.number().unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    }
}
