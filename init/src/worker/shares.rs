//! The shares of a pool that is served here: opened, kept in line with its volumes, closed.
//!
//! A share that cannot be offered is no reason to serve nothing: it is withheld and `status` says so. So are all of them
//! without a state volume, which has the records of clients, and when those cannot be read: locks would be given to whoever asks first
//! after a takeover.
//! What the server itself cannot do is an error, as with LUNs: the other head may do better.

use tracing::{info, warn};

use super::Worker;
use crate::config::NfsConfig;
use crate::export::ExportError;
use crate::export::nfs::{self, NfsPlan, Sharing, Withheld};
use crate::filesystem::MountError;
use crate::status;
use crate::sync::lock;
use crate::volume::Active;

/// What stands of shares.
pub struct Shares {
    plan: NfsPlan,
    server: Option<Box<dyn Sharing>>,
}

impl Shares {
    /// Goes on with other clients.
    pub(super) fn offer_to(&mut self, nfs: &NfsConfig) -> Result<(), ExportError> {
        for share in &mut self.plan.shares {
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

impl Worker {
    /// Offers what the configuration shares of these volumes; a server that runs goes on with what is there now.
    pub(super) fn open_shares(&mut self, active: &[Active]) -> Result<(), SharesError> {
        let planned = NfsPlan::new(&self.config, self.pool(), active);
        let Some((mut plan, mut withheld)) = planned else {
            return Ok(());
        };
        let records = match self.open_state_place() {
            Ok(place) => place,
            Err(why) => {
                withheld = self.all_withheld(&why);
                plan.shares.clear();
                self.report_shares(&plan, &withheld);
                return Ok(());
            }
        };
        let is_running = self.served.as_ref().is_some_and(|served| {
            let shares = served.shares.as_ref();
            shares.is_some_and(|shares| shares.server.is_some())
        });
        if !is_running && let Some(why) = self.host.damaged_records(&records) {
            let why = format!(
                "{why}; a firmware that knows them shares it, or remove {} from the state volume on a host with lvm2, and clients lose their locks",
                nfs::RECORDS
            );
            withheld = self.all_withheld(&why);
            plan.shares.clear();
            self.report_shares(&plan, &withheld);
            return Ok(());
        }
        let Some(served) = &mut self.served else {
            return Ok(());
        };
        // Kept before the first step, so that a failure half-way is undone.
        let server = served.shares.take().and_then(|shares| shares.server);
        let shares = served.shares.insert(Shares {
            plan: plan.clone(),
            server,
        });
        withheld.extend(self.host.mount_shares(&mut plan)?);
        match &shares.server {
            Some(server) => server.update(&plan)?,
            None => {
                shares.server = Some(self.host.share(&plan, &records)?);
                info!(pool = plan.pool, "{} shares are open", plan.shares.len());
            }
        }
        shares.plan = plan.clone();
        self.report_shares(&plan, &withheld);
        self.look_at_shares();
        Ok(())
    }

    /// Ends the server, then takes the file systems down: until then its clients write.
    pub(super) fn close_shares(&self, shares: &Shares) -> Result<(), SharesError> {
        if let Some(server) = &shares.server {
            server.stop()?;
        }
        self.host.unmount_shares(&shares.plan.root)?;
        let mut report = lock(&self.report);
        report.shares.clear();
        report.share_clients = None;
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
