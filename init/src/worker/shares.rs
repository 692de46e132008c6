//! The shares of a pool that is served here: opened, kept in line with its volumes, closed.
//!
//! A share that cannot be offered is no reason to serve nothing: it is withheld and `status` says so. So are all of them
//! without a state volume, which has the records of clients, and when those cannot be read: locks would be given to whoever asks first
//! after a takeover. And so are they when their server does not start, which may be for the same reason, a state volume that cannot be written: it is
//! the same one on the other head, and LUNs have nothing to do with it.
//! What cannot be stopped again, or taken down, is an error: it holds the volumes.

use std::cell::Cell;
use std::path::Path;
use std::time::Instant;

use tracing::{error, info, warn};

use super::Worker;
use super::claim::Claim;
use super::host::Host;
use crate::config::NfsConfig;
use crate::export::ExportError;
use crate::export::nfs::{self, NfsPlan, Records, Sharing, StartError, Unchecked, Withheld};
use crate::filesystem::{Budget, MountError};
use crate::status;
use crate::sync::lock;
use crate::volume::Active;

/// How often a server that did not start is tried again, with one look after the other.
const MOST_TRIES: u32 = 5;

/// What stands of shares.
pub struct Shares {
    plan: NfsPlan,
    server: Option<Box<dyn Sharing>>,
    /// Taken when it is tried, or all is taken down.
    again: Cell<Option<Again>>,
}

/// A server that did not start is to be tried again.
struct Again {
    active: Vec<Active>,
    /// After the next time.
    tries_left: u32,
}

impl Shares {
    /// Goes on with other clients.
    pub(super) fn offer_to(&mut self, nfs: &NfsConfig) -> Result<(), ExportError> {
        let plan = &mut self.plan;
        for share in plan.shares.iter_mut().chain(&mut plan.withheld) {
            let rules = nfs.shares.iter().find(|rules| rules.name == share.name);
            if let Some(rules) = rules {
                share.rules.clients.clone_from(&rules.clients);
            }
        }
        match &self.server {
            Some(server) => server.update(&self.plan),
            None => Ok(()),
        }
    }
}

/// Shares cannot be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// Their file systems.
    #[error("{0}")]
    Mount(#[from] MountError),
    /// Their server.
    #[error("{0}")]
    Export(#[from] ExportError),
}

/// What a start came to.
struct Started {
    server: Box<dyn Sharing>,
    withheld: Vec<Withheld>,
    unchecked: Vec<Unchecked>,
}

/// Mounts and shares; says why not when nothing is left of it.
fn start(
    host: &dyn Host,
    plan: &mut NfsPlan,
    place: &Path,
    records: Records,
    budget: Budget,
) -> Result<Result<Started, String>, SharesError> {
    let why = match host.mount_shares(plan, budget) {
        Ok(mounted) => match host.share(plan, place, records) {
            Ok(server) => {
                return Ok(Ok(Started {
                    server,
                    withheld: mounted.withheld,
                    unchecked: mounted.unchecked,
                }));
            }
            Err(StartError::Undone(error)) => error.to_string(),
            Err(StartError::Left(error)) => return Err(error.into()),
        },
        Err(error) => error.to_string(),
    };
    host.unmount_shares(&plan.root)?;
    Ok(Err(why))
}

impl Worker {
    /// Offers what the configuration shares of these volumes; a server that runs goes on with what is there now. What may take long in it
    /// takes what is left of the budget.
    pub(super) fn open_shares(
        &mut self,
        active: &[Active],
        budget: Budget,
    ) -> Result<(), SharesError> {
        self.try_shares(active, budget, MOST_TRIES)
    }

    /// Tries once more to start a server that did not start.
    pub(super) fn try_shares_again(&mut self) {
        // What was active then may not be there any more; what comes of a change is tried with what is.
        let is_behind = |claim: &Claim| claim.behind.is_some();
        if self.claim.as_ref().is_some_and(is_behind) {
            return;
        }
        let shares = self
            .served
            .as_ref()
            .and_then(|served| served.shares.as_ref());
        let Some(again) = shares.and_then(|shares| shares.again.take()) else {
            return;
        };
        // A release may be asked for meanwhile, and the import has checked what was damaged.
        let budget = Budget::spent(Instant::now());
        if let Err(error) = self.try_shares(&again.active, budget, again.tries_left) {
            error!(pool = self.pool().name, "{error}");
            let why = format!("{error}; `handover {}` is the way out", self.pool().name);
            let shares = self
                .served
                .as_ref()
                .and_then(|served| served.shares.as_ref());
            if let Some(plan) = shares.map(|shares| shares.plan.clone()) {
                self.withhold_all(plan, &why);
            }
        }
    }

    fn try_shares(
        &mut self,
        active: &[Active],
        budget: Budget,
        tries_left: u32,
    ) -> Result<(), SharesError> {
        let planned = NfsPlan::new(&self.config, self.pool(), active);
        let Some((mut plan, mut withheld)) = planned else {
            return Ok(());
        };
        let place = match self.open_state_place() {
            Ok(place) => place,
            Err(why) => {
                self.withhold_all(plan, &why);
                return Ok(());
            }
        };
        let is_running = self.served.as_ref().is_some_and(|served| {
            let shares = served.shares.as_ref();
            shares.is_some_and(|shares| shares.server.is_some())
        });
        let records = match is_running {
            true => None,
            false => match self.host.client_records(&place) {
                Ok(records) => Some(records),
                Err(why) => {
                    let why = format!(
                        "{why}; a firmware that knows them shares it, or remove {} from the state volume on a host with lvm2, and clients lose \
                         their locks",
                        nfs::RECORDS
                    );
                    self.withhold_all(plan, &why);
                    return Ok(());
                }
            },
        };
        let Some(served) = &mut self.served else {
            return Ok(());
        };
        let is_reached = served.port.is_some();
        // Kept before the first step, so that a failure half-way is undone.
        let server = served.shares.take().and_then(|shares| shares.server);
        let shares = served.shares.insert(Shares {
            plan: plan.clone(),
            server,
            again: Cell::default(),
        });
        let unchecked = match (&shares.server, records) {
            (None, Some(mut records)) => {
                // A server whose start fails may have answered for a moment. An import has the address after it; with a pool that is
                // served already clients would be told that their locks are lost, so what can be known to fail is tried before.
                let kept = match is_reached {
                    true => self.host.keep_client_records(&place, &mut records),
                    false => Ok(()),
                };
                let started = match kept {
                    Ok(()) => start(&*self.host, &mut plan, &place, records, budget)?,
                    Err(why) => Err(format!("the records of NFS clients cannot be kept: {why}")),
                };
                match started {
                    Ok(started) => {
                        shares.server = Some(started.server);
                        withheld.extend(started.withheld);
                        info!(pool = plan.pool, "{} shares are open", plan.shares.len());
                        started.unchecked
                    }
                    Err(why) => {
                        let soon = match tries_left {
                            0 => String::new(),
                            left => format!("up to {left} times in the next seconds, "),
                        };
                        let why = format!(
                            "{why}; it is tried again {soon}with each change of the pool and with each import (`handover {}`), see `log`",
                            plan.pool
                        );
                        let again = tries_left.checked_sub(1).map(|tries_left| Again {
                            active: active.to_vec(),
                            tries_left,
                        });
                        shares.again.set(again);
                        self.withhold_all(plan, &why);
                        return Ok(());
                    }
                }
            }
            (server, _) => {
                let mounted = self.host.mount_shares(&mut plan, budget)?;
                withheld.extend(mounted.withheld);
                if let Some(server) = server {
                    server.update(&plan)?;
                }
                mounted.unchecked
            }
        };
        shares.plan = plan.clone();
        for share in unchecked {
            self.note_metadata(share.to_string());
        }
        self.report_shares(&plan, &withheld);
        self.look_at_shares();
        Ok(())
    }

    /// All that the configuration has, for one reason.
    fn withhold_all(&self, mut plan: NfsPlan, why: &str) {
        let withheld = self.all_withheld(why);
        plan.shares.clear();
        self.report_shares(&plan, &withheld);
    }

    /// Ends the server, then takes the file systems down: until then its clients write.
    pub(super) fn close_shares(&self, shares: &Shares) -> Result<(), SharesError> {
        shares.again.take();
        if let Some(server) = &shares.server {
            server.stop()?;
        }
        self.host.unmount_shares(&shares.plan.root)?;
        let mut report = lock(&self.report);
        report.shares.clear();
        report.share_clients = None;
        report
            .notes
            .retain(|note| !note.contains(Unchecked::SERVED));
        Ok(())
    }

    /// Asks the server about its clients.
    pub(super) fn look_at_shares(&self) {
        let shares = self
            .served
            .as_ref()
            .and_then(|served| served.shares.as_ref());
        let Some(server) = shares.and_then(|shares| shares.server.as_ref()) else {
            return;
        };
        let tracked = server.tracked();
        lock(&self.report).share_clients = Some(status::ShareClients {
            known: tracked.clients,
            awaited: tracked.awaited,
            problem: tracked.problem,
        });
    }

    fn all_withheld(&self, why: &str) -> Vec<Withheld> {
        let shares = self.pool().nfs.iter().flat_map(|nfs| &nfs.shares);
        let withheld = shares.map(|share| Withheld {
            share: share.name.clone(),
            why: why.to_owned(),
        });
        withheld.collect()
    }

    fn report_shares(&self, plan: &NfsPlan, withheld: &[Withheld]) {
        let offered = plan.shares.iter().map(|share| status::Share {
            name: share.name.clone(),
            volume: share.volume.clone(),
            withheld: None,
        });
        let volume = |name: &str| {
            let shares = self.pool().nfs.iter().flat_map(|nfs| &nfs.shares);
            let rules = shares.into_iter().find(|rules| rules.name == name);
            rules.map_or(String::new(), |rules| rules.volume.clone())
        };
        let left_out = withheld.iter().map(|withheld| status::Share {
            name: withheld.share.clone(),
            volume: volume(&withheld.share),
            withheld: Some(withheld.why.clone()),
        });
        let mut shares: Vec<status::Share> = offered.chain(left_out).collect();
        shares.sort_by(|a, b| a.name.cmp(&b.name));
        for withheld in withheld {
            warn!(pool = plan.pool, "{withheld}");
        }
        lock(&self.report).shares = shares;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use orthrus_hb::Epoch;

    use super::super::order::{Log, owner_failing_later, taken};
    use super::*;
    use crate::config::Config;
    use crate::fence::shelf::Shelf;

    /// A pool that is served without its shares, and what fails on its host.
    fn without_server() -> (Worker, Log, Arc<Mutex<&'static str>>) {
        let (mut worker, log, fails) = owner_failing_later(&Shelf::new(2));
        let share =
            "[pool.nfs]\n[[pool.nfs.share]]\nvolume = \"vol0\"\nclients = \"192.0.2.0/24\"\n";
        let config = format!("{}{share}", super::super::tests::CONFIG);
        worker.config = Arc::new(Config::parse(&config).unwrap());
        *fails.lock().unwrap() = "NFS on";
        worker.import(Epoch(1)).unwrap();
        taken(&log);
        (worker, log, fails)
    }

    fn withheld(worker: &Worker) -> Option<String> {
        lock(&worker.report).shares[0].withheld.clone()
    }

    #[test]
    fn a_server_that_did_not_start_is_tried_again_until_it_does() {
        let (mut worker, log, fails) = without_server();
        let why = withheld(&worker).unwrap();
        assert!(why.contains("up to 5 times"), "{why}");
        worker.try_shares_again();
        assert_eq!(
            taken(&log),
            [
                "records kept",
                "shares mounted",
                "NFS on",
                "shares unmounted"
            ]
        );
        assert!(withheld(&worker).unwrap().contains("up to 4 times"));
        *fails.lock().unwrap() = "";
        worker.try_shares_again();
        assert_eq!(taken(&log), ["records kept", "shares mounted", "NFS on"]);
        assert_eq!(withheld(&worker), None);
        worker.try_shares_again();
        assert_eq!(taken(&log), [""; 0]);
    }

    #[test]
    fn no_server_is_there_for_a_moment_whose_records_cannot_be_kept() {
        let (mut worker, log, fails) = without_server();
        *fails.lock().unwrap() = "records kept";
        worker.try_shares_again();
        assert_eq!(taken(&log), ["records kept"]);
        let why = withheld(&worker).unwrap();
        assert!(
            why.contains("cannot be kept") && why.contains("up to 4 times"),
            "{why}"
        );
        *fails.lock().unwrap() = "";
        worker.try_shares_again();
        assert_eq!(taken(&log), ["records kept", "shares mounted", "NFS on"]);
        assert_eq!(withheld(&worker), None);
    }

    #[test]
    fn a_server_is_not_tried_with_the_volumes_of_before_a_change_that_is_not_in_force() {
        let (mut worker, log, fails) = without_server();
        *fails.lock().unwrap() = "";
        worker.claim.as_mut().unwrap().behind = Some("not followed".to_owned());
        worker.try_shares_again();
        assert_eq!(taken(&log), [""; 0]);
        worker.claim.as_mut().unwrap().behind = None;
        worker.try_shares_again();
        assert_eq!(withheld(&worker), None);
    }

    #[test]
    fn a_server_that_never_starts_is_not_tried_for_ever_and_not_while_all_is_taken_down() {
        let (mut worker, log, _) = without_server();
        for _ in 0..10 {
            worker.try_shares_again();
        }
        let tries = taken(&log).iter().filter(|step| *step == "NFS on").count();
        assert_eq!(tries, 5);
        let why = withheld(&worker).unwrap();
        assert!(
            !why.contains("times in the next seconds") && why.contains("`handover tank`"),
            "{why}"
        );

        let (mut worker, log, fails) = without_server();
        *fails.lock().unwrap() = "export off";
        assert!(worker.release(true).is_err());
        taken(&log);
        worker.try_shares_again();
        assert_eq!(taken(&log), [""; 0]);
    }
}
