//! Clients let in and shut out at a console while the pool is served, and kept with it.
//!
//! ```text
//! let in:    list onto the pool ─► target, subsystem, server of shares
//! shut out:  target, subsystem, server of shares ─► list onto the pool
//! ```
//!
//! In this order a head that dies in between leaves a list that lets in who was let in at most. What fails is undone, so that
//! what the list says is what this kernel does.
//!
//! To the rest of the worker they are clients of the configuration: [`Worker::pool`] is the pool with them, from the opening of
//! the state volume to the end of the release.

use tracing::{info, warn};

use super::Worker;
use crate::config::{AdmitError, Admitted, Client, PoolConfig, ShareClient};
use crate::export::ExportError;
use crate::state::{self, StateError};
use crate::sync::lock;

/// What an operator wants of a pool's clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOrder {
    /// Let it in.
    Add(Client),
    /// Let it in no more, and end what it has.
    Remove(Client),
}

/// Why a client was not let in, or not shut out.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Only the owner has the list.
    #[error("this head does not serve the pool: say it on the one that does")]
    NotServed,
    /// There is nowhere to keep it.
    #[error("it could not be kept with the pool: {0}; `pool import` makes a state volume")]
    NoPlace(String),
    /// The list is there, and not known.
    #[error("the list of clients that were let in at a console cannot be read: {0}")]
    Unread(String),
    /// It has no place, or is not there.
    #[error("{0}")]
    Admit(#[from] AdmitError),
    /// It is not kept.
    #[error("{0}")]
    Keep(#[from] StateError),
    /// The target, the subsystem, or the server of shares.
    #[error("{0}")]
    Export(#[from] ExportError),
}

impl Worker {
    /// Does what was asked for; what to say of it.
    pub(super) fn change_client(&mut self, order: &ClientOrder) -> Result<String, ClientError> {
        if self.served.is_none() {
            return Err(ClientError::NotServed);
        }
        self.open_state_place().map_err(ClientError::NoPlace)?;
        // What could not be read must not be written over.
        if self.admitted_unread.is_some() {
            self.read_admitted();
        }
        if let Some(problem) = &self.admitted_unread {
            return Err(ClientError::Unread(problem.clone()));
        }
        let before = self.admitted.clone();
        let (mut after, configured) = (before.clone(), self.configured());
        let said = match order {
            ClientOrder::Add(client) => {
                after.add(configured, client.clone())?;
                if let Err(error) = self.keep_admitted(&after) {
                    // It may stand all the same, and then the next import would let the client in.
                    if let Err(also) = self.keep_admitted(&before) {
                        warn!(
                            pool = self.pool().name,
                            "undo of letting in {client}: {also}"
                        );
                    }
                    return Err(error.into());
                }
                self.admit(after);
                if let Err(error) = self.offer_to_clients() {
                    self.shut_out_again(client, &before);
                    return Err(error.into());
                }
                format!("{client} is let in")
            }
            ClientOrder::Remove(client) => {
                after.remove(configured, client)?;
                if client.is_configured(configured) {
                    self.keep_admitted(&after)?;
                    self.admit(after);
                    let said = format!(
                        "{client} is off the list, and still let in: the configuration has it by now"
                    );
                    info!(pool = self.pool().name, "{said}");
                    return Ok(said);
                }
                let done = self.shut_out(client, after.clone());
                if let Err(error) = done.and_then(|()| Ok(self.keep_admitted(&after)?)) {
                    self.admit(before);
                    // As it was.
                    if let Err(also) = self.offer_to_clients() {
                        warn!(pool = self.pool().name, "{client} is not let in: {also}");
                    }
                    return Err(error);
                }
                let others = client.let_in_by(self.pool());
                match others.is_empty() {
                    true => format!("{client} is let in no more"),
                    false => {
                        let others: Vec<String> =
                            others.iter().map(ShareClient::to_string).collect();
                        format!(
                            "{client} is off the list, and what it has in common with {} is still let in",
                            others.join(", ")
                        )
                    }
                }
            }
        };
        info!(pool = self.pool().name, "{said}");
        Ok(said)
    }

    /// The pool as the file has it.
    pub(super) fn configured(&self) -> &PoolConfig {
        &self.config.pools[self.index]
    }

    /// Reads who else is let in, where the pool's state is open now.
    pub(super) fn read_admitted(&mut self) {
        self.admitted_unread = None;
        let list = match self.open_state_place() {
            Err(_) => Admitted::default(),
            Ok(place) => match self.host.admitted(&place) {
                Ok(text) => Admitted::parse(&text),
                Err(error) => {
                    self.admitted_unread = Some(error.to_string());
                    self.note_admitted(format!(
                        "clients that were let in at a console are not let in: {error}"
                    ));
                    Admitted::default()
                }
            },
        };
        let count = list.not_understood();
        if count > 0 {
            self.note_admitted(format!(
                "{count} lines of the list of clients that were let in at a console are not understood: theirs are not let in"
            ));
        }
        self.admit(list);
    }

    /// Why there may be clients that are let in and not known.
    pub(super) fn unknown_clients(&self) -> Option<String> {
        let count = self.admitted.unknown_initiators();
        match &self.admitted_unread {
            Some(error) => Some(format!(
                "the list of clients that were let in at a console cannot be read: {error}"
            )),
            None => (count > 0).then(|| {
                format!("{count} lines of the list of clients that were let in at a console are not understood")
            }),
        }
    }

    /// From now on these are clients of the pool.
    pub(super) fn admit(&mut self, list: Admitted) {
        lock(&self.report).clients_let_in = list.clients().iter().map(Client::to_string).collect();
        let has_any = !list.clients().is_empty();
        self.pool_with_clients = has_any.then(|| list.applied(self.configured()));
        self.admitted = list;
    }

    fn note_admitted(&self, problem: String) {
        let pool = self.configured().name.as_str();
        warn!(pool, "{problem}");
        lock(&self.report).notes.push(problem);
    }

    fn keep_admitted(&self, list: &Admitted) -> Result<(), StateError> {
        let place = state::place(&self.pool().name);
        self.host.keep_admitted(&place, &list.text())
    }

    /// Lets in those that the pool has now.
    fn offer_to_clients(&mut self) -> Result<(), ExportError> {
        let pool = self.pool().clone();
        let (place, unknown_clients) = (self.open_state_place(), self.unknown_clients());
        let Some(served) = &mut self.served else {
            return Ok(());
        };
        for plan in &mut served.targets {
            if let Some(target) = pool.targets.iter().find(|target| target.iqn == plan.iqn) {
                plan.clients.clone_from(&target.clients);
                plan.chap.clone_from(&target.chap);
                plan.unknown_clients.clone_from(&unknown_clients);
            }
            // A LUN that is half made gets back what its clients have registered now, and not what they had at the import.
            if let Ok(place) = &place {
                self.host.keep_reservations(plan, place);
            }
            self.host.open(plan)?;
        }
        if let (Some(plan), Some(nvme)) = (&mut served.nvme, &pool.nvme) {
            plan.hosts.clone_from(&nvme.hosts);
            self.host.open_nvme(plan)?;
        }
        match (&mut served.shares, &pool.nfs) {
            (Some(shares), Some(nfs)) => shares.offer_to(nfs),
            _ => Ok(()),
        }
    }

    /// Ends what a client has, and lets in those of the list.
    fn shut_out(&mut self, client: &Client, list: Admitted) -> Result<(), ClientError> {
        if let Some(served) = &self.served {
            match (client, &served.nvme) {
                (Client::Initiator { target, name, .. }, _) => {
                    let mut targets = served.targets.iter();
                    let plan = match target {
                        None => targets.next(),
                        Some(iqn) => targets.find(|plan| plan.iqn == *iqn),
                    };
                    if let Some(plan) = plan {
                        self.host.dismiss_initiator(plan, name)?;
                    }
                }
                (Client::Host(nqn), Some(plan)) => self.host.dismiss_host(plan, nqn)?,
                // The server asks anew.
                _ => {}
            }
        }
        self.admit(list);
        Ok(self.offer_to_clients()?)
    }

    /// One that could not be let in is not on the list.
    fn shut_out_again(&mut self, client: &Client, before: &Admitted) {
        let done = self.shut_out(client, before.clone());
        let kept = self.keep_admitted(before);
        let failed = [
            done.err().map(|error| error.to_string()),
            kept.err().map(|error| error.to_string()),
        ];
        for error in failed.into_iter().flatten() {
            let pool = self.pool().name.as_str();
            warn!(pool, "undo of letting in {client}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use orthrus_hb::Epoch;

    use super::super::laps::Laps;
    use super::super::order::{owner, owner_failing_later, taken};
    use super::*;
    use crate::config::Login;
    use crate::fence::shelf::Shelf;

    const NEW: &str = "iqn.2026-01.org.example:new";

    fn client() -> Client {
        Client::new(None, NEW, Login::default()).unwrap()
    }

    fn lets_in(worker: &Worker) -> bool {
        let served = worker
            .served
            .as_ref()
            .and_then(|served| served.targets.first());
        let is_planned = served.is_some_and(|plan| plan.clients.iter().any(|name| name == NEW));
        let target = &worker.configured().targets[0].iqn;
        let said = lock(&worker.report).clients_let_in == [format!("{NEW} at {target}")];
        assert_eq!(is_planned, said);
        said
    }

    #[test]
    fn a_client_comes_when_it_is_kept_and_is_let_in_by_the_next_import() {
        let shelf = Shelf::new(2);
        let (mut worker, log) = owner(&shelf, "");
        let order = ClientOrder::Add(client());
        assert!(matches!(
            worker.change_client(&order),
            Err(ClientError::NotServed)
        ));
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        worker.change_client(&order).unwrap();
        assert_eq!(taken(&log), ["clients kept", "export on"]);
        assert!(lets_in(&worker));
        assert!(matches!(
            worker.change_client(&order),
            Err(ClientError::Admit(AdmitError::Already(_)))
        ));
        worker.take_down(&mut Laps::begin()).unwrap();
        assert!(!lets_in(&worker));
        worker.import(Epoch(1)).unwrap();
        assert!(lets_in(&worker));
        taken(&log);
        worker
            .change_client(&ClientOrder::Remove(client()))
            .unwrap();
        // The ledger ended with the first release, and begins with a claim.
        let done = taken(&log);
        let steps = done.iter().filter_map(|line| line.split(" without").next());
        assert!(
            steps.eq(["initiator off", "export on", "clients kept"]),
            "{done:?}"
        );
        assert!(!lets_in(&worker));
        worker.take_down(&mut Laps::begin()).unwrap();
        worker.import(Epoch(1)).unwrap();
        assert!(!lets_in(&worker));
    }

    #[test]
    fn a_lun_that_is_half_made_gets_what_is_registered_when_a_client_is_let_in() {
        let (mut worker, _, now) = owner_failing_later(&Shelf::new(2));
        worker.import(Epoch(1)).unwrap();
        let registered = |worker: &Worker| {
            let served = worker.served.as_ref().unwrap();
            served.targets[0].luns[0].registrations.len()
        };
        assert_eq!(registered(&worker), 0);
        *now.lock().unwrap() = "registered";
        worker.change_client(&ClientOrder::Add(client())).unwrap();
        assert_eq!(registered(&worker), 1);
    }

    #[test]
    fn who_is_still_let_in_by_another_network_is_said() {
        let (mut worker, _) = super::super::order::sharer(&Shelf::new(2), "");
        worker.import(Epoch(1)).unwrap();
        let client = |network: &str| Client::new(Some("vol0"), network, Login::default()).unwrap();
        for network in ["192.0.2.7", "198.51.100.0/24", "198.51.100.9/32"] {
            let order = ClientOrder::Add(client(network));
            worker.change_client(&order).unwrap();
        }
        for (network, said) in [
            ("192.0.2.7", "in common with 192.0.2.0/24 is still let in"),
            ("198.51.100.0/24", "with 198.51.100.9/32 is still let in"),
            ("198.51.100.9", "198.51.100.9/32 at /vol0 is let in no more"),
        ] {
            let order = ClientOrder::Remove(client(network));
            let done = worker.change_client(&order).unwrap();
            assert!(done.contains(said), "{done}");
        }
    }

    #[test]
    fn what_a_client_may_do_is_changed_at_the_server_at_once_and_is_as_before_when_it_is_not_kept()
    {
        let (mut worker, log) = super::super::order::sharer(&Shelf::new(2), "");
        worker.import(Epoch(1)).unwrap();
        let client = |access: &str| {
            let client = Client::new(Some("vol0"), "192.0.2.7", Login::default()).unwrap();
            ClientOrder::Add(client.with_rights(Some(access), None).unwrap())
        };
        let is_writable = |worker: &Worker| {
            let share = &worker.pool().nfs.as_ref().unwrap().shares[0];
            share.rights([192, 0, 2, 7].into()).unwrap().access == crate::config::Access::ReadWrite
        };
        for access in ["ro", "rw", "ro"] {
            taken(&log);
            worker.change_client(&client(access)).unwrap();
            let done = taken(&log);
            assert!(
                done.ends_with(&["NFS goes on with 1".to_owned()]),
                "{done:?}"
            );
            assert_eq!(is_writable(&worker), access == "rw");
        }
        assert_eq!(worker.admitted.clients().len(), 1);
        let same = worker.change_client(&client("ro"));
        assert!(matches!(
            same,
            Err(ClientError::Admit(AdmitError::Already(_)))
        ));
    }

    #[test]
    fn what_fails_is_undone() {
        for (fails, adds, done) in [
            ("clients kept", true, &["clients kept", "clients kept"][..]),
            (
                "export on",
                true,
                &[
                    "clients kept",
                    "export on",
                    "initiator off",
                    "export on",
                    "clients kept",
                ],
            ),
            ("initiator off", false, &["initiator off", "export on"]),
            (
                "clients kept",
                false,
                &["initiator off", "export on", "clients kept", "export on"],
            ),
        ] {
            let shelf = Shelf::new(2);
            let (mut worker, log, failing) = owner_failing_later(&shelf);
            worker.import(Epoch(1)).unwrap();
            if !adds {
                worker.change_client(&ClientOrder::Add(client())).unwrap();
            }
            taken(&log);
            *failing.lock().unwrap() = fails;
            let order = match adds {
                true => ClientOrder::Add(client()),
                false => ClientOrder::Remove(client()),
            };
            assert!(worker.change_client(&order).is_err(), "{fails}");
            assert_eq!(taken(&log), done, "{fails}");
            assert_eq!(lets_in(&worker), !adds, "{fails}");
        }
    }
}
