//! A pool that goes for good: what served it goes as in a release, and then all that made a pool of its disks, while they are
//! still claimed.
//!
//! ```text
//! order ─► the core ─► address, exports, volumes, ledger off ─► metadata: destroyed ─► copies of the ledger, labels and
//!   metadata wiped on all disks ─► reservations off
//! ```
//!
//! Decisions:
//! - The write that says *destroyed* ends the pool: before it a crash leaves a pool that is whole, after it one that
//!   nobody serves any more, and whose disks `pool create` takes as they are, wiped or not. Without it a crash amid the wipes would
//!   leave a group that lacks disks, which looks like one that lost them.
//! - A disk that cannot be wiped keeps nobody waiting: the others are, and it is named.
//! - A disk that was not there keeps what it has; should it come back, it is a group that lacks its other disks, of the
//!   same name.

use orthrus_hb::{Command, Done, PoolId};
use tracing::{info, warn};

use super::Worker;
use super::change::ChangeError;
use super::error::JobError;
use super::laps::Laps;
use super::orders::{Order, PoolOrder};
use crate::volume::edit::apply::ApplyError;
use crate::volume::reserved;

impl Worker {
    /// Takes up an order to destroy the pool; it is answered later, unless it cannot be.
    pub(super) fn begin_destroying(&mut self, order: Order) {
        let loses = matches!(order.what(), PoolOrder::Destroy { volumes: true });
        if let Err(why) = self.may_be_destroyed(loses) {
            return order.answer(Err(why.to_string()));
        }
        match self
            .handle
            .command(Command::Destroy(PoolId(self.index as u8)))
        {
            // The job follows at once.
            Ok(_) => self.destroying = Some(order),
            Err(refusal) => order.answer(Err(refusal.to_string())),
        }
    }

    fn may_be_destroyed(&self, loses: bool) -> Result<(), ChangeError> {
        let claim = self.claim.as_ref().filter(|_| self.served.is_some());
        let claim = claim.ok_or(ChangeError::NotServed)?;
        if claim.lease.is_some() {
            return Err(ChangeError::Lease);
        }
        if claim.group.arrays().next().is_some() {
            return Err(ChangeError::OnArray);
        }
        let volumes = claim.group.visible().map(|volume| volume.name.as_str());
        let theirs: Vec<&str> = volumes
            .filter(|name| !reserved::is_reserved(name))
            .collect();
        match theirs.is_empty() || loses {
            true => Ok(()),
            false => Err(ChangeError::HasVolumes {
                volumes: theirs.join(", "),
            }),
        }
    }

    /// Does it; a release like any other when nobody ordered it.
    pub(super) fn destroy(&mut self, peer_is_done: bool) -> Result<Done, JobError> {
        let Some(order) = self.destroying.take() else {
            return self.release(peer_is_done);
        };
        if let Err(error) = self.take_down(&mut Laps::begin()) {
            order.answer(Err(format!("nothing was destroyed: {error}")));
            return Err(error);
        }
        let said = self.wipe_pool();
        match &said {
            Ok(said) => info!(pool = self.pool().name, "{said}"),
            Err(why) => warn!(pool = self.pool().name, "{why}"),
        }
        let done = self.let_go(peer_is_done);
        order.answer(said);
        done
    }

    /// Makes bare disks of the members, which nothing uses any more and this head still holds.
    fn wipe_pool(&mut self) -> Result<String, String> {
        let Some(claim) = &self.claim else {
            return Err("the pool is not held any more".to_owned());
        };
        let group = claim.group.clone();
        let name = &group.name;
        let author = self.author(format!("orthrus: pool destroy {}", self.pool().name));
        let written = self.host.edit(&group, &author, &|edit| {
            edit.destroy();
            Ok(())
        });
        match self.written(written) {
            Ok(()) => {}
            // Where it was written it counts: the rest must follow.
            Err(ChangeError::Apply(ApplyError::Write(error))) if error.is_unsettled() => {
                warn!(pool = self.pool().name, "{error}");
            }
            Err(error) => {
                return Err(format!(
                    "nothing was destroyed, and the pool is served again: {error}"
                ));
            }
        }
        let disks = group.disks();
        let copies = self.ledger.forget(&group);
        let failed = self.host.wipe(&disks, &copies);
        match failed.is_empty() {
            true => Ok(format!(
                "volume group {name} is destroyed, and its {} disks are bare",
                disks.len()
            )),
            false => Err(format!(
                "volume group {name} is destroyed, and not every disk is bare: {}",
                failed.join("; ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use orthrus_hb::Epoch;

    use super::super::order::{RELEASE, owner, taken};
    use super::*;
    use crate::fence::shelf::Shelf;
    use crate::sync::lock;

    type Told = Receiver<Result<String, String>>;

    fn ordered(worker: &mut Worker, volumes: bool) -> (Order, Told) {
        let (telling, told) = channel();
        let place = worker.orders();
        thread::spawn(move || {
            let order = PoolOrder::Destroy { volumes };
            telling.send(place.give(&order, Duration::from_secs(60)))
        });
        loop {
            match worker.orders.take() {
                Some(order) => break (order, told),
                None => thread::yield_now(),
            }
        }
    }

    #[test]
    fn all_is_wiped_while_the_disks_are_held_and_after_nothing_uses_them() {
        for (fails, done) in [
            ("", &["metadata without ledger", "wipe without ledger"][..]),
            ("wipe", &["metadata without ledger", "wipe without ledger"]),
            ("metadata", &["metadata without ledger"]),
        ] {
            let shelf = Shelf::new(2);
            let (mut worker, log) = owner(&shelf, fails);
            worker.import(Epoch(1)).unwrap();
            taken(&log);
            let (order, told) = ordered(&mut worker, true);
            worker.destroying = Some(order);
            assert_eq!(worker.destroy(true).unwrap(), Done::Released);
            assert_eq!(taken(&log), [&RELEASE[..], done].concat(), "{fails}");
            assert_eq!(told.recv().unwrap().is_ok(), fails.is_empty(), "{fails}");
            // What became of it or not: the reservations go.
            assert!(shelf.all().all(|disk| disk.keys().is_empty()));
            assert!(lock(&worker.watch).is_none() && worker.claim.is_none());
        }
    }

    #[test]
    fn nothing_is_wiped_while_something_uses_it() {
        for fails in ["address off", "export off", "state off", "volumes off"] {
            let shelf = Shelf::new(2);
            let (mut worker, log) = owner(&shelf, fails);
            worker.import(Epoch(1)).unwrap();
            taken(&log);
            let (order, told) = ordered(&mut worker, true);
            worker.destroying = Some(order);
            assert!(worker.destroy(true).is_err());
            assert_eq!(taken(&log).last().map(String::as_str), Some(fails));
            assert!(told.recv().unwrap().is_err());
            assert!(shelf.all().all(|disk| !disk.keys().is_empty()));
        }
    }

    #[test]
    fn without_an_order_it_is_a_release() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        assert_eq!(worker.destroy(true).unwrap(), Done::Released);
        assert_eq!(taken(&log), RELEASE);
    }

    #[test]
    fn a_pool_with_volumes_is_spared_until_it_is_said() {
        use crate::volume::tests::made::Made;
        let shelf = Shelf::new(2);
        let (mut worker, _log) = owner(&shelf, "");
        let not_yet = worker.may_be_destroyed(true);
        assert!(matches!(not_yet, Err(ChangeError::NotServed)));
        worker.import(Epoch(1)).unwrap();
        assert!(worker.may_be_destroyed(false).is_ok(), "there is none");
        let made = Made::on(2).simple("vol0", 0).simple("orthrus_state", 1);
        worker.claim.as_mut().unwrap().group = made.group();
        let why = worker.may_be_destroyed(false).unwrap_err().to_string();
        assert!(
            why.contains("vol0") && !why.contains("orthrus_state"),
            "{why}"
        );
        assert!(worker.may_be_destroyed(true).is_ok());
    }
}
