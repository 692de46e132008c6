//! Import and release: everything between a claim and a client.
//!
//! ```text
//! import:   volumes ─► export ─► address ─► announcements, tickles
//! release:  address off ─► our sockets ended ─► export closed ─► volumes ─► ledger ─► reservations
//! ```
//!
//! The address comes last and goes first: no client sees a target that is half built, and a former
//! owner is silent before anything else of it changes.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use orthrus_hb::{Done, Epoch};
use tracing::{info, warn};

use super::Worker;
use super::error::JobError;
use crate::clients;
use crate::export::{ExportPlan, Lio, STEP_LIMIT, Volume};
use crate::net::{self, Connection, Interface};
use crate::status;
use crate::sync::lock;
use crate::volume::{self, Active};

/// When announcements and tickles are repeated, after the first: they are single packets, and a switch
/// that just learned of a link may drop them.
const REPEATS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_millis(2000),
];

/// What an import made, for its release.
#[derive(Default)]
pub struct Served {
    plan: Option<ExportPlan>,
    /// The port that has the addresses, from before the first one was added.
    port: Option<Interface>,
}

impl Worker {
    /// Activates and exports the pool.
    pub(super) fn import(&mut self, epoch: Epoch) -> Result<Done, JobError> {
        let claim = self.claim.as_ref().filter(|claim| claim.key.epoch == epoch);
        let claim = claim.ok_or(JobError::NotClaimed(epoch))?;
        // Looked up first: without a port for clients there is nothing to begin, and nothing to undo.
        let port = self.data_port()?;
        // From here on there may be something to undo.
        self.served = Some(Served::default());
        let active = volume::activate(&claim.group)?;
        let volumes: Vec<Volume> = active
            .iter()
            .map(|active| Volume {
                name: active.lv.clone(),
                uuid: active.uuid.to_string(),
                node: active.node.clone(),
            })
            .collect();
        let plan = ExportPlan::new(&self.config, self.pool(), &volumes)?;
        if let Some(plan) = &plan {
            let lio = Lio::new(STEP_LIMIT);
            // Kept before the first step, so that a failure half-way is undone.
            self.served = Some(Served {
                plan: Some(plan.clone()),
                port: None,
            });
            lio.prepare()?;
            lio.open(plan)?;
        }
        self.report_volumes(&active, plan.as_ref());
        if let Some(served) = &mut self.served {
            served.port = Some(port.clone());
        }
        for address in &self.pool().addresses {
            net::add_address(&port, *address)?;
        }
        self.greet(&port);
        Ok(Done::Imported)
    }

    /// Undoes whatever stands of import and claim. The first failure ends it: what comes after it must
    /// not be undone while what comes before it still stands, and the core resets the head.
    pub(super) fn release(&mut self) -> Result<Done, JobError> {
        if let Some(served) = self.served.take() {
            if let Some(port) = &served.port {
                for address in &self.pool().addresses {
                    net::remove_address(port, *address)?;
                }
            }
            for address in &self.pool().addresses {
                // Only makes the close quicker; it waits for the sockets otherwise.
                if let Err(error) = net::end_connections(address.ip) {
                    warn!("{error}");
                }
            }
            if let Some(plan) = &served.plan {
                Lio::new(STEP_LIMIT).close(plan)?;
            }
        }
        lock(&self.report).volumes.clear();
        if let Some(claim) = &self.claim {
            volume::deactivate(&claim.group.uuid)?;
            // Until here it says that we are at it; from here on nothing of ours reaches a disk.
            self.ledger.end()?;
            // Not before this is over: until then a lost reservation means a reset. And not after the
            // next step: that takes the reservation away ourselves.
            lock(&self.watch).take();
            lock(&self.report).alarms.clear();
            match &claim.lease {
                None => {
                    claim.fence.release(claim.key)?;
                }
                Some(lease) => lease.let_go()?,
            }
        }
        self.claim = None;
        Ok(Done::Released)
    }

    pub(super) fn data_port(&self) -> Result<Interface, JobError> {
        Ok(Interface::by_mac(self.config.head(self.me).data)?)
    }

    /// Tells the network where the addresses are now, and the former owner's clients that their
    /// connections are gone.
    fn greet(&self, port: &Interface) {
        let addresses: Vec<Ipv4Addr> = self.pool().addresses.iter().map(|a| a.ip).collect();
        let old: Vec<Connection> = clients::decode(&lock(&self.mailbox))
            .filter(|connection| addresses.contains(connection.local.ip()))
            .collect();
        greet_once(port, &addresses, &old);
        let port = port.clone();
        let repeat = move || {
            for pause in REPEATS {
                thread::sleep(pause);
                // A client that is connected again must not be reset.
                let back: Vec<Connection> = addresses
                    .iter()
                    .filter_map(|address| net::connections(*address).ok())
                    .flatten()
                    .collect();
                let missing: Vec<Connection> = old
                    .iter()
                    .filter(|old| !back.iter().any(|new| new.remote == old.remote))
                    .copied()
                    .collect();
                greet_once(&port, &addresses, &missing);
            }
        };
        if let Err(error) = thread::Builder::new()
            .name("greet".to_owned())
            .spawn(repeat)
        {
            warn!(%error, "announcements are not repeated");
        }
    }

    fn report_volumes(&self, active: &[Active], plan: Option<&ExportPlan>) {
        let volumes = active.iter().map(|active| {
            let lun = plan.and_then(|plan| plan.luns.iter().find(|lun| lun.volume == active.lv));
            status::Volume {
                name: active.lv.clone(),
                device: active.node.display().to_string(),
                bytes: active.sectors * 512,
                lun: lun.map(|lun| lun.lun),
                serial: lun.map(|lun| lun.serial.clone()),
            }
        });
        lock(&self.report).volumes = volumes.collect();
        info!(
            pool = self.pool().name,
            "{} volumes are active",
            active.len()
        );
    }
}

fn greet_once(port: &Interface, addresses: &[Ipv4Addr], old: &[Connection]) {
    for address in addresses {
        // The address may have moved on by the time of a late repeat.
        if let Err(error) = net::announce(port, *address) {
            warn!("{error}");
        }
    }
    for connection in old {
        if let Err(error) = net::tickle(connection) {
            warn!("{error}");
        }
    }
}
