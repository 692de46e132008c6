//! The way of an order to make the pool: the core is asked, does it by way of two jobs, and the order is answered.
//!
//! ```text
//! order ─► are the disks free? ─► the core's turn ─► inspect ─► make: claim, label, metadata ─► import
//! ```
//!
//! The core decides when, under which epoch, and that the peer does not look for the pool meanwhile
//! (`hb/src/pool/making.rs`); the pool is imported under the claim under which it was written. An order is answered
//! when the pool is served, or when that failed.

use std::collections::BTreeSet;

use embassy_time::Instant;
use orthrus_hb::{Authority, Command, Done, Epoch, Holder, Job, PoolId, Refusal, Work};
use tracing::info;

use super::Worker;
use super::claim::{Claim, until_undone};
use super::create::CreateError;
use super::error::JobError;
use super::orders::{NewPool, Order, PoolOrder};
use crate::clock;
use crate::sync::lock;
use crate::volume::edit::Layout;

/// How long the core may take until it asks for the disks to be inspected: it waits for the end of a look of this head's
/// own, and of one of the peer's, which have ten seconds each, and twice that at most for the peer to give way.
const TURN_LIMIT: embassy_time::Duration = embassy_time::Duration::from_secs(40);

/// An order to make the pool, until it is answered.
pub(super) struct Making {
    order: Order,
    /// The core has taken it up.
    accepted: bool,
    /// It is given up if nothing came of it by then.
    until: Instant,
    /// What is to be said when the pool is served.
    made: Option<String>,
}

impl Worker {
    /// Takes up an order to make the pool; it is answered later, unless it cannot be.
    pub(super) fn begin_making(&mut self, order: Order) {
        let free = match order.what() {
            PoolOrder::Create(new) => self.free_disks(new).map(drop),
            _ => Err(CreateError::NoOrder),
        };
        match free {
            Err(error) => order.answer(Err(error.to_string())),
            Ok(()) => {
                self.making = Some(Making {
                    order,
                    accepted: false,
                    until: clock::now() + TURN_LIMIT,
                    made: None,
                });
                self.pursue_making();
            }
        }
    }

    /// Between two jobs: asks the core, again while it is busy, and gives up when nothing comes of it.
    pub(super) fn pursue_making(&mut self) {
        let Some(making) = &mut self.making else {
            return;
        };
        let over = clock::now() >= making.until;
        let failed = match making.accepted {
            true => over.then_some(CreateError::NoTurn),
            false => match self.handle.command(Command::Make(PoolId(self.index as u8))) {
                Ok(_) => {
                    making.accepted = true;
                    making.until = clock::now() + TURN_LIMIT;
                    None
                }
                Err(Refusal::Busy) if !over => None,
                Err(refusal) => Some(CreateError::Refused(refusal)),
            },
        };
        if let Some(why) = failed {
            self.answer_maker(Err(why.to_string()));
        }
    }

    /// A job ended, and with it perhaps what an operator waits for.
    pub(super) fn note_making(&mut self, job: &Job, result: &Result<Done, JobError>) {
        let Some(making) = &self.making else { return };
        match (job.work, result, &making.made) {
            (Work::Inspect | Work::Make, Err(why), _) => self.answer_maker(Err(why.to_string())),
            (Work::Import, Ok(_), Some(said)) => {
                let said = format!("{said}, and served here");
                info!(pool = self.pool().name, "{said}");
                self.answer_maker(Ok(said));
            }
            (Work::Import, Err(why), Some(said)) => {
                let why = format!("{said}, and cannot be served: {why}");
                self.answer_maker(Err(why));
            }
            _ => {}
        }
    }

    fn answer_maker(&mut self, answer: Result<String, String>) {
        if let Some(making) = self.making.take() {
            making.order.answer(answer);
        }
    }

    /// What the order says that waits.
    fn wanted(&self) -> Result<NewPool, CreateError> {
        let order = self.making.as_ref().map(|making| making.order.what());
        match order {
            Some(PoolOrder::Create(new)) => Ok(new.clone()),
            _ => Err(CreateError::NoOrder),
        }
    }

    /// Looks whether the disks are free; changes nothing.
    pub(super) fn inspect(&self) -> Result<Done, CreateError> {
        let free = self.free_disks(&self.wanted()?)?;
        Ok(Done::Surveyed {
            greatest: free.greatest,
            holder: Holder::Nobody,
        })
    }

    /// Takes the disks under exactly this epoch, and writes the pool onto them.
    pub(super) fn make(&mut self, epoch: Epoch) -> Result<Done, JobError> {
        let new = self.wanted()?;
        // Once more: what was true when they were inspected may be over.
        let mut free = self.free_disks(&new)?;
        self.keys_found |= free.greatest > Epoch::NONE;
        let request = self.request(epoch, Authority::Free);
        let claimed = free.fence.claim(&request).map_err(CreateError::Claim)?;
        free.disks = free.fence.pin(&free.disks);
        self.note_claimed(&claimed);
        // From here on the core counts on the watch.
        let watch = free.fence.watch(claimed.key, self.on_loss.clone());
        *lock(&self.watch) = Some((epoch, watch));
        let vg = self.pool().vg.clone();
        let written = self.make_group(&vg, &free, &new).map_err(JobError::from);
        let group = match written.and_then(|()| self.read_group()) {
            Ok(group) => group,
            Err(error) => {
                self.end_watch();
                until_undone(&vg, || free.fence.release(claimed.key));
                return Err(error);
            }
        };
        let count = free.disks.len();
        self.claim = Some(Claim {
            fence: free.fence,
            lease: None,
            key: claimed.key,
            group: group.clone(),
            marked: false,
            behind: None,
            paths: None,
            rebuilt: BTreeSet::new(),
            unsure: BTreeSet::new(),
            compared: BTreeSet::new(),
            lost_snapshots: BTreeSet::new(),
            has_preempted: false,
            thrown_out: Vec::new(),
        });
        if let Some(making) = &mut self.making {
            let volumes = match new.layout {
                Layout::Linear => String::new(),
                layout => format!(", its volumes are {layout} where nothing else is said"),
            };
            making.made = Some(format!(
                "volume group {vg} is made of {count} disks{volumes}"
            ));
        }
        self.settle_claim(&group, false, Done::Claimed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use orthrus_hb::{Accepted, Ticket};

    use super::super::tests::worker;
    use super::*;
    use crate::inbox::{Input, Inputs, inputs};

    /// What the operator is told.
    type Told = Receiver<Result<String, String>>;

    /// A worker, its way into the core, and an order that waits.
    fn ordered() -> (Worker, Inputs, Order, Told) {
        let mut worker = worker();
        let (handle, inputs) = inputs().unwrap();
        worker.handle = handle;
        let (telling, told) = channel();
        let place = worker.orders();
        thread::spawn(move || {
            let order = PoolOrder::Create(NewPool {
                disks: vec!["no-such-disk".to_owned()],
                wipe: false,
                layout: Layout::Linear,
            });
            telling.send(place.give(&order, Duration::from_secs(60)))
        });
        let order = loop {
            match worker.orders.take() {
                Some(order) => break order,
                None => thread::yield_now(),
            }
        };
        (worker, inputs, order, told)
    }

    /// A core that answers its first commands.
    fn core(
        inputs: Inputs,
        answers: Vec<Result<Accepted, Refusal>>,
    ) -> thread::JoinHandle<Vec<Command>> {
        thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                loop {
                    if let Some(Input::Command(command, answered)) = inputs.next() {
                        asked.push(command);
                        answered.send(answer).unwrap();
                        break;
                    }
                    thread::yield_now();
                }
            }
            asked
        })
    }

    fn waiting(worker: &mut Worker, order: Order, accepted: bool) {
        worker.making = Some(Making {
            order,
            accepted,
            until: clock::now() + TURN_LIMIT,
            made: None,
        });
    }

    fn job(work: Work) -> Job {
        Job {
            pool: PoolId(0),
            ticket: Ticket(1),
            epoch: Epoch(1),
            peer_is_done: true,
            work,
        }
    }

    #[test]
    fn the_core_does_not_hear_of_disks_that_are_not_there() {
        let (mut worker, inputs, order, told) = ordered();
        worker.begin_making(order);
        let why = told.recv().unwrap().unwrap_err();
        assert!(why.contains("no disk \"no-such-disk\""), "{why}");
        assert!(inputs.next().is_none() && worker.making.is_none());
    }

    #[test]
    fn a_core_that_is_busy_is_asked_again() {
        let (mut worker, inputs, order, told) = ordered();
        let answers = vec![Err(Refusal::Busy), Ok(Accepted::Claiming)];
        let asked = core(inputs, answers);
        waiting(&mut worker, order, false);
        worker.pursue_making();
        assert!(worker.making.as_ref().is_some_and(|m| !m.accepted));
        worker.pursue_making();
        assert!(worker.making.as_ref().is_some_and(|m| m.accepted));
        // And is not asked while it is at it.
        worker.pursue_making();
        assert_eq!(asked.join().unwrap(), [Command::Make(PoolId(0)); 2]);
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn what_the_core_refuses_is_answered() {
        let (mut worker, inputs, order, told) = ordered();
        let asked = core(inputs, vec![Err(Refusal::PeerHolds)]);
        waiting(&mut worker, order, false);
        worker.pursue_making();
        asked.join().unwrap();
        assert_eq!(told.recv().unwrap(), Err(Refusal::PeerHolds.to_string()));
    }

    #[test]
    fn an_order_that_the_core_dropped_is_given_up_and_not_done_later() {
        let (mut worker, _inputs, order, told) = ordered();
        waiting(&mut worker, order, true);
        worker.pursue_making();
        assert!(worker.making.is_some(), "it has time");
        worker.making.as_mut().unwrap().until = clock::now();
        worker.pursue_making();
        let why = told.recv().unwrap().unwrap_err();
        assert!(why.contains("not this head's turn"), "{why}");
        for late in [
            worker.inspect().map(drop),
            worker.make(Epoch(1)).map(drop).map_err(|error| {
                let JobError::Create(error) = error else {
                    panic!("{error}")
                };
                *error
            }),
        ] {
            assert!(matches!(late, Err(CreateError::NoOrder)), "{late:?}");
        }
    }

    #[test]
    fn the_order_is_answered_when_the_pool_is_served_or_that_failed() {
        let failed = || JobError::NotClaimed(Epoch(1));
        let said = || Some("it is made".to_owned());
        for (work, result, made, wanted) in [
            (Work::Survey, Err(failed()), None, None),
            (Work::Inspect, Ok(Done::Claimed), None, None),
            (Work::Inspect, Err(failed()), None, Some(Err("not claimed"))),
            (Work::Make, Err(failed()), None, Some(Err("not claimed"))),
            (Work::Make, Ok(Done::Claimed), said(), None),
            (
                Work::Import,
                Ok(Done::Imported),
                said(),
                Some(Ok("served here")),
            ),
            (
                Work::Import,
                Err(failed()),
                said(),
                Some(Err("it is made, and cannot be served")),
            ),
        ] {
            let (mut worker, _inputs, order, told) = ordered();
            waiting(&mut worker, order, true);
            worker.making.as_mut().unwrap().made = made;
            worker.note_making(&job(work), &result);
            match wanted {
                None => assert!(worker.making.is_some() && told.try_recv().is_err()),
                Some(wanted) => {
                    let answer = told.recv().unwrap();
                    let text = answer.as_ref().unwrap_or_else(|why| why);
                    let (Ok(words) | Err(words)) = wanted;
                    assert!(text.contains(words), "{work:?}: {answer:?}");
                    assert_eq!(answer.is_ok(), wanted.is_ok(), "{work:?}: {answer:?}");
                }
            }
        }
    }
}
