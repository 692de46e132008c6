//! The way of an operator's orders to the worker of a pool: one at a time.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::admit::ClientOrder;
use crate::sync::lock;
use crate::volume::edit::{Layout, VolumeOrder};

/// What an operator wants of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolOrder {
    /// Make it, of bare disks.
    Create(NewPool),
    /// Give it what a volume group lacks that others made: copies of the ledger, and a state volume.
    Import,
    /// Put a new disk in the place of one that was lost.
    Replace {
        /// By the kernel's name or by identity.
        disk: String,
        /// Whatever is on it is lost.
        wipe: bool,
    },
    /// Make bare disks of it again.
    Destroy {
        /// Volumes that it has are lost.
        volumes: bool,
    },
    /// Put one more disk into it.
    Add {
        /// By the kernel's name or by identity.
        disk: String,
        /// Whatever is on it is lost.
        wipe: bool,
    },
    /// Take a disk out of it on which nothing is.
    Remove {
        /// By the kernel's name or by identity.
        disk: String,
    },
    /// Go without a disk that is lost, while nobody holds the pool.
    Lost {
        /// The identity of its physical volume.
        disk: String,
    },
    /// Change a volume of it.
    Volume(VolumeOrder),
    /// Change who is let in.
    Client(Box<ClientOrder>),
    /// A rehearsal: stop for ever, as a stuck kernel would make it.
    Hang,
}

/// A pool that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPool {
    /// The disks, by the kernel's name or by identity.
    pub disks: Vec<String>,
    /// Whatever is on them is lost.
    pub wipe: bool,
    /// How its volumes lie when their orders do not say it.
    pub layout: Layout,
}

/// The command that gives it, without what is only detail or secret.
impl fmt::Display for PoolOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolOrder::Create(_) => f.write_str("pool create"),
            PoolOrder::Import => f.write_str("pool import"),
            PoolOrder::Destroy { .. } => f.write_str("pool destroy"),
            PoolOrder::Replace { disk, .. } => write!(f, "disk replace {disk}"),
            PoolOrder::Add { disk, .. } => write!(f, "disk add {disk}"),
            PoolOrder::Remove { disk } => write!(f, "disk remove {disk}"),
            PoolOrder::Lost { disk } => write!(f, "disk lost {disk}"),
            PoolOrder::Hang => f.write_str("rehearse hang worker"),
            PoolOrder::Client(order) => match &**order {
                ClientOrder::Add(client) => write!(f, "client add {client}"),
                ClientOrder::Remove(client) => write!(f, "client remove {client}"),
            },
            PoolOrder::Volume(order) => {
                let command = match order {
                    VolumeOrder::Create { .. } | VolumeOrder::CreateThin { .. } => "volume create",
                    VolumeOrder::CreatePool { .. } => "volume thin-pool",
                    VolumeOrder::Snapshot { .. } => "snapshot create",
                    VolumeOrder::RemoveSnapshot { .. } => "snapshot remove",
                    VolumeOrder::Restore { .. } => "snapshot restore",
                    VolumeOrder::Grow { .. } => "volume grow",
                    VolumeOrder::Rename { .. } => "volume rename",
                    VolumeOrder::Remove { .. } => "volume remove",
                };
                write!(f, "{command} {}", order.name())
            }
        }
    }
}

/// What came of an order, in words.
type Answer = Result<String, String>;

/// The place for an order that waits; shared by the consoles and the worker.
#[derive(Clone, Default)]
pub struct Orders(Arc<Mutex<Option<Order>>>);

/// An order, and who waits for it.
pub(super) struct Order {
    what: PoolOrder,
    waiting: SyncSender<Answer>,
    /// Tells it from others.
    mark: Arc<()>,
}

impl Orders {
    /// Gives an order and waits until it is done.
    ///
    /// # Errors
    /// Why it was not, in words; or that this is not known.
    pub fn give(&self, what: &PoolOrder, limit: Duration) -> Answer {
        let (waiting, answer) = sync_channel(1);
        let mark = Arc::new(());
        {
            let mut place = lock(&self.0);
            if place.is_some() {
                return Err("another order waits: try again".to_owned());
            }
            *place = Some(Order {
                what: what.clone(),
                waiting,
                mark: mark.clone(),
            });
        }
        match answer.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err("the pool's worker is gone".to_owned()),
            // By now the place may have an order of somebody else.
            Err(RecvTimeoutError::Timeout) => match lock(&self.0)
                .take_if(|order| Arc::ptr_eq(&order.mark, &mark))
            {
                Some(_) => Err("the pool is busy with other work: nothing was changed".to_owned()),
                None => Err(format!(
                    "not done within {} s, and still under way: see `pools`",
                    limit.as_secs()
                )),
            },
        }
    }

    /// The order that waits.
    pub(super) fn take(&self) -> Option<Order> {
        lock(&self.0).take()
    }
}

impl Order {
    /// Tests only: one for whose answer nobody waits.
    #[cfg(test)]
    pub fn unheard(what: PoolOrder) -> Order {
        Order {
            what,
            waiting: sync_channel(1).0,
            mark: Arc::default(),
        }
    }

    pub fn what(&self) -> &PoolOrder {
        &self.what
    }

    pub fn answer(self, answer: Answer) {
        // Who waited may have given up.
        let _ = self.waiting.try_send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn order() -> PoolOrder {
        PoolOrder::Volume(VolumeOrder::Remove {
            name: "vol0".to_owned(),
        })
    }

    #[test]
    fn an_order_is_answered_and_a_second_one_is_told_to_wait() {
        let orders = Orders::default();
        let place = orders.clone();
        let operator = thread::spawn(move || place.give(&order(), Duration::from_secs(60)));
        while lock(&orders.0).is_none() {
            thread::yield_now();
        }
        let second = orders.give(&order(), Duration::from_secs(60));
        assert!(second.is_err_and(|why| why.contains("another")));
        let taken = orders.take().unwrap();
        assert_eq!(*taken.what(), order());
        taken.answer(Ok("gone".to_owned()));
        assert_eq!(operator.join().unwrap(), Ok("gone".to_owned()));
    }

    #[test]
    fn an_order_that_nobody_took_is_withdrawn() {
        let orders = Orders::default();
        let refused = orders.give(&order(), Duration::from_millis(1)).unwrap_err();
        assert!(refused.contains("nothing was changed"), "{refused}");
        assert!(orders.take().is_none());
    }
}
