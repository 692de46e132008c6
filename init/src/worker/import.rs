//! Import and release: everything between a claim and a client.
//!
//! ```text
//! import:   arrays ─► volumes ─► state ─► LUNs ─► namespaces ─► shares ─► nobody has the address? ─► address ─► announcements, tickles ─► owner noted
//! release:  address off ─► our sockets ended ─► shares ─► namespaces ─► LUNs ─► state ─► volumes ─► arrays ─► ledger ─► reservations
//! ```
//!
//! The address comes last and goes first: no client sees a target that is half built, and a former
//! owner is silent before anything else of it changes. Who owns the pool is noted when clients are served: that takes some flushes
//! of the disks, for which nobody waits.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use orthrus_hb::{Done, Epoch, Key};
use tracing::{error, info, warn};

use super::Worker;
use super::error::JobError;
use super::host::Copying;
use super::laps::Laps;
use super::registrations::NOWHERE_TO_KEEP;
use super::shares::Shares;
use crate::clients;
use crate::clock;
use crate::config::Admitted;
use crate::export::nvme::{NamespacePlan, NvmePlan};
use crate::export::{ExportError, ExportPlan, LunPlan, PlanError, Volume};
use crate::fence::stranger::CLEAR;
use crate::filesystem::Budget;
use crate::net::{self, Connection, Interface, Probe};
use crate::state::{self, Owner};
use crate::status;
use crate::sync::lock;
use crate::volume::{Activated, Active, reserved};

/// What an import made, for its release.
#[derive(Default)]
pub struct Served {
    pub(super) targets: Vec<ExportPlan>,
    /// Copies clients' reservations while the kernel writes them.
    reservations: Option<Box<dyn Copying>>,
    /// What of them was said last not to be copied.
    uncopied: Vec<String>,
    pub(super) nvme: Option<NvmePlan>,
    /// What was to be copied of snapshots that are being merged when they were looked at first, in sectors.
    pub(super) merging: BTreeMap<String, u64>,
    pub(super) shares: Option<Shares>,
    /// The port that has the addresses, from before the first one was added.
    pub(super) port: Option<Interface>,
}

impl Worker {
    /// Activates and exports the pool.
    pub(super) fn import(&mut self, epoch: Epoch) -> Result<Done, JobError> {
        let claim = self.claim.as_ref();
        if claim.is_none_or(|claim| claim.key.epoch != epoch) {
            return Err(JobError::NotClaimed(epoch));
        }
        // Looked up first: without a port for clients there is nothing to begin, and nothing to undo.
        let port = self.data_port()?;
        let mut laps = Laps::begin();
        let budget = Budget::begin(Instant::now());
        let probe = self.probe();
        self.start_arrays()?;
        laps.end("arrays");
        self.mark_by_word()?;
        self.stamp(epoch)?;
        laps.end("metadata");
        let claim = self.claim.as_ref().ok_or(JobError::NotClaimed(epoch))?;
        // From here on there may be something to undo.
        self.served = Some(Served::default());
        let Activated { volumes, unequal } = self.host.activate(&claim.group);
        self.note_unequal(unequal);
        let active = volumes?;
        laps.end("volumes");
        self.open_state(&active, budget);
        laps.end("state");
        self.open_targets::<JobError>(&active)?;
        laps.end("targets");
        self.open_nvme(&active)?;
        laps.end("namespaces");
        self.open_shares(&active, budget)?;
        laps.end("shares");
        self.report_volumes(&active);
        self.find_merges();
        probe.verdict()?;
        laps.end("address check");
        if let Some(served) = &mut self.served {
            served.port = Some(port.clone());
        }
        for address in &self.pool().addresses {
            self.host.add_address(&port, *address)?;
        }
        self.greet(&port);
        laps.end("addresses");
        self.note_owner(epoch);
        laps.end("owner noted");
        info!(pool = self.pool().name, "import: {laps}");
        Ok(Done::Imported)
    }

    /// Offers what the configuration has as LUNs of these volumes.
    pub(super) fn open_targets<E>(&mut self, active: &[Active]) -> Result<(), E>
    where
        E: From<PlanError> + From<ExportError>,
    {
        let targets = self.plan_targets(active)?;
        let withheld = targets.iter().flat_map(|target| target.withheld.clone());
        lock(&self.report).luns_withheld = withheld.collect();
        self.note_nowhere_to_keep(&targets);
        self.watch_reservations(&targets);
        if let Some(served) = &mut self.served {
            // Kept before the first step, so that a failure half-way is undone.
            served.targets.clone_from(&targets);
        }
        for target in &targets {
            self.host.open(target)?;
        }
        Ok(())
    }

    /// Offers what the configuration has as namespaces of these volumes, and has clients look again at their sizes.
    pub(super) fn open_nvme(&mut self, active: &[Active]) -> Result<(), ExportError> {
        let planned = NvmePlan::new(&self.config, self.pool(), active);
        let (Some((plan, withheld)), Some(served)) = (planned, &mut self.served) else {
            return Ok(());
        };
        lock(&self.report).namespaces_withheld = withheld;
        // Kept before the first step, so that a failure half-way is undone.
        let plan = served.nvme.insert(plan);
        self.host.open_nvme(plan)
    }

    /// What is to be offered of these volumes.
    fn plan_targets(&self, active: &[Active]) -> Result<Vec<ExportPlan>, PlanError> {
        let volumes: Vec<Volume> = active
            .iter()
            .map(|active| Volume {
                name: active.lv.clone(),
                uuid: active.uuid.to_string(),
                node: active.node.clone(),
                is_writable: active.is_writable,
                gives_space_back: active.gives_space_back,
                logical_block: self.logical_block(active),
            })
            .collect();
        let mut targets = ExportPlan::all(&self.config, self.pool(), &volumes)?;
        self.restore_registrations(&mut targets);
        Ok(targets)
    }

    fn logical_block(&self, active: &Active) -> Option<u32> {
        let read = self.host.logical_block(&active.node);
        let failed =
            |error: &io::Error| warn!(volume = active.lv, "the size of its blocks: {error}");
        read.inspect_err(failed).ok()
    }

    /// Where the pool's state is kept while it is served here, or why it is not.
    pub(super) fn open_state_place(&self) -> Result<PathBuf, String> {
        match &lock(&self.report).state_volume {
            None => Err("the state volume is not open".to_owned()),
            Some(state) => match &state.problem {
                _ if state.is_open => Ok(state::place(&self.pool().name)),
                Some(problem) => Err(format!("the state volume is not used: {problem}")),
                None => Err("the pool has no state volume".to_owned()),
            },
        }
    }

    /// From before the first client comes, or from when there is a place for them on.
    fn watch_reservations(&mut self, targets: &[ExportPlan]) {
        // All are kept in one.
        let mut kept = targets
            .iter()
            .filter_map(|target| target.reservations.as_ref());
        let Some(directory) = kept.next() else {
            return;
        };
        let watched = self.served.as_ref().map(|served| &served.reservations);
        if watched.is_some_and(Option::is_some) {
            return;
        }
        match (self.host.watch_reservations(directory), &mut self.served) {
            (Ok(copying), Some(served)) => served.reservations = Some(copying),
            (Ok(_), None) => {}
            (Err(problem), _) => {
                let problem = format!("{}: {problem}", directory.display());
                error!(
                    pool = self.pool().name,
                    "clients' reservations are not copied: {problem}"
                );
                lock(&self.report).lost_reservations.push(problem);
            }
        }
    }

    /// Says of which reservations there is no copy, until there is one.
    pub(super) fn look_at_reservations(&mut self) {
        let Some(served) = &mut self.served else {
            return;
        };
        let Some(copying) = &served.reservations else {
            return;
        };
        let failed = copying.failed();
        let before = std::mem::replace(&mut served.uncopied, failed.clone());
        if before == failed {
            return;
        }
        let mut report = lock(&self.report);
        report
            .lost_reservations
            .retain(|lost| !before.contains(lost));
        report.lost_reservations.extend(failed);
    }

    /// Mounts the state volume. Without it the pool is served all the same: the operator is told.
    fn open_state(&mut self, active: &[Active], budget: Budget) {
        let volume = active.iter().find(|volume| volume.lv == reserved::STATE);
        let report = volume.map(|volume| {
            let opened = self
                .host
                .open_state(volume, &state::place(&self.pool().name), budget);
            if let Err(problem) = &opened {
                error!(pool = self.pool().name, "the state volume: {problem}");
            }
            status::State {
                is_open: opened.is_ok(),
                problem: opened.err().map(|problem| problem.to_string()),
                owners: Vec::new(),
            }
        });
        lock(&self.report).state_volume = Some(report.unwrap_or_default());
        self.read_admitted();
    }

    /// Notes in the state volume who owns the pool, if it is open.
    fn note_owner(&self, epoch: Epoch) {
        let Ok(place) = self.open_state_place() else {
            return;
        };
        let owner = Owner {
            epoch: epoch.0,
            head: self.config.head(self.me).name.clone(),
            unix_ms: clock::unix_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let noted = self.host.note_owner(&place, owner);
        if let Some(state) = &mut lock(&self.report).state_volume {
            match noted {
                Ok(owners) => state.owners = owners,
                Err(problem) => {
                    error!(pool = self.pool().name, "the state volume: {problem}");
                    state.problem = Some(format!("its owner is not noted there: {problem}"));
                }
            }
        }
    }

    /// Opens a state volume that came while the pool is served. One that was there and could not be used stays closed.
    pub(super) fn take_up_state(&mut self, active: &[Active], budget: Budget) {
        let none = status::State::default();
        let had_none = lock(&self.report).state_volume.as_ref() == Some(&none);
        let epoch = self.claim.as_ref().map(|claim| claim.key.epoch);
        if let Some(epoch) = epoch.filter(|_| had_none) {
            self.open_state(active, budget);
            self.note_owner(epoch);
        }
    }

    /// Undoes whatever stands of import and claim. The first failure ends it: what comes after it must
    /// not be undone while what comes before it still stands, and the core resets the head.
    pub(super) fn release(&mut self, peer_is_done: bool) -> Result<Done, JobError> {
        let mut laps = Laps::begin();
        self.take_down(&mut laps)?;
        let done = self.let_go(peer_is_done)?;
        laps.end("reservations");
        info!(pool = self.pool().name, "release: {laps}");
        Ok(done)
    }

    /// Of a release all but the reservations.
    pub(super) fn take_down(&mut self, laps: &mut Laps) -> Result<(), JobError> {
        if let Some(served) = &self.served {
            if let Some(port) = &served.port {
                for address in &self.pool().addresses {
                    self.host.remove_address(port, *address)?;
                }
            }
            for address in &self.pool().addresses {
                // Only makes the close quicker; it waits for the sockets otherwise.
                if let Err(error) = self.host.end_connections(address.ip) {
                    warn!("{error}");
                }
            }
            laps.end("addresses");
            if let Some(shares) = &served.shares {
                self.close_shares(shares)?;
            }
            laps.end("shares");
            if let Some(plan) = &served.nvme {
                self.host.close_nvme(plan)?;
            }
            laps.end("namespaces");
            for target in served.targets.iter().rev() {
                self.host.close(target)?;
            }
            laps.end("targets");
        }
        // With it ends who copies clients' reservations: nobody writes them any more.
        if self.served.take().is_some() {
            self.note_lost_snapshots();
        }
        {
            let mut report = lock(&self.report);
            report.volumes.clear();
            report.luns_withheld.clear();
            report.luns_held.clear();
            report.notes.retain(|note| note != NOWHERE_TO_KEEP);
            report.namespaces_withheld.clear();
            report.lost_reservations.clear();
            // Also those of which none was offered.
            report.shares.clear();
        }
        self.admit(Admitted::default());
        if let Some(claim) = &self.claim {
            self.host.close_state(&state::place(&self.pool().name))?;
            lock(&self.report).state_volume = None;
            laps.end("state");
            self.host.deactivate(&claim.group.uuid)?;
            laps.end("volumes");
            if claim.group.arrays().next().is_some() {
                // An array writes its superblocks as it is stopped.
                self.host.stop_arrays(&claim.group)?;
                lock(&self.report).arrays.clear();
            }
            laps.end("arrays");
            self.end_use_of_parity();
            // Until here it says that we are at it; from here on nothing of ours reaches a disk.
            self.ledger.end()?;
            laps.end("ledger");
        }
        Ok(())
    }

    /// The reservations go, unless they are all that keeps the peer's writes from the disks; see [`Job::peer_is_done`]. Not before
    /// [`Worker::take_down`] succeeded.
    ///
    /// [`Job::peer_is_done`]: orthrus_hb::Job::peer_is_done
    pub(super) fn let_go(&mut self, peer_is_done: bool) -> Result<Done, JobError> {
        self.part_paths()?;
        if let Some(claim) = &self.claim {
            // Not before this is over: until then a lost reservation means a reset. And not after the
            // next step: that takes the reservation away ourselves.
            self.end_watch();
            lock(&self.report).alarms.clear();
            match &claim.lease {
                None if self.keys_found && !peer_is_done => {
                    claim.fence.leave();
                    let key = claim.key;
                    self.note_left_reserved(key);
                }
                None => {
                    claim.fence.release(claim.key)?;
                    self.keys_found = false;
                }
                Some(lease) => lease.let_go()?,
            }
        }
        self.claim = None;
        self.unsay_forgotten();
        Ok(Done::Released)
    }

    /// Ends the watch. That waits for what it asks the disks, and who looks at the watch meanwhile, of all pools the health thread, must
    /// not: the lock is let go first.
    pub(super) fn end_watch(&self) {
        let watch = lock(&self.watch).take();
        drop(watch);
    }

    fn note_left_reserved(&mut self, key: Key) {
        let peer = &self.config.head(self.me.peer()).name;
        let note = format!(
            "the disks stay reserved, with key {key}: head {peer}, which may have writes under way, has not said since the claim that it \
             holds nothing"
        );
        warn!(pool = self.pool().name, "{note}");
        let note = format!(
            "{note}. A head that claims the pool takes the key off; for another host, {CLEAR}"
        );
        lock(&self.report).notes.push(note.clone());
        self.left_reserved = Some(note);
    }

    /// Tells the network once more where the addresses are that are served here.
    ///
    /// A former owner that was paused and goes on answers for them until it resets, a moment later, and clients would
    /// look for the address there for as long as they believe a neighbour: half a minute.
    pub(super) fn announce_again(&self) {
        let port = self.served.as_ref().and_then(|served| served.port.as_ref());
        let Some(port) = port else { return };
        for address in &self.pool().addresses {
            for done in [
                net::announce(port, address.ip),
                net::keep_way(port, *address),
            ] {
                if let Err(error) = done {
                    warn!("{error}");
                }
            }
        }
    }

    /// Whether a stranger has one of the addresses is asked while there is other work to do.
    fn probe(&self) -> Probe {
        if !self.pool().address_check {
            return Probe::answered(Ok(()));
        }
        let addresses = self.pool().addresses.iter().map(|address| address.ip);
        let heads = self.config.heads.iter().flat_map(|head| &head.data.cards);
        let data = &self.config.head(self.me).data;
        let (addresses, heads) = (addresses.collect(), heads.copied().collect());
        self.host.probe(data, addresses, heads)
    }

    pub(super) fn data_port(&self) -> Result<Interface, JobError> {
        Ok(self.host.port(&self.config.head(self.me).data)?)
    }

    /// Tells the network where the addresses are now, and the former owner's clients that their
    /// connections are gone.
    fn greet(&self, port: &Interface) {
        let addresses: Vec<IpAddr> = self.pool().addresses.iter().map(|a| a.ip).collect();
        let old: Vec<Connection> = clients::decode(&lock(&self.mailbox))
            .into_iter()
            .filter(|connection| addresses.contains(&connection.local.ip()))
            .collect();
        self.host.greet(port, addresses, old);
    }

    /// The namespace that a volume is offered as.
    pub(super) fn namespace_of(&self, volume: &str) -> Option<&NamespacePlan> {
        let plan = self.served.as_ref()?.nvme.as_ref()?;
        plan.namespaces.iter().find(|one| one.volume == volume)
    }

    /// Takes a volume back that is offered as a namespace.
    pub(super) fn withdraw_namespace(&self, volume: &str) -> Result<(), ExportError> {
        let plan = self.served.as_ref().and_then(|served| served.nvme.as_ref());
        match (plan, self.namespace_of(volume)) {
            (Some(plan), Some(namespace)) => self.host.withdraw_namespace(plan, namespace),
            _ => Ok(()),
        }
    }

    /// The target that a volume is a LUN of, and which.
    pub(super) fn lun(&self, volume: &str) -> Option<(&ExportPlan, &LunPlan)> {
        let targets = self.served.iter().flat_map(|served| &served.targets);
        let mut luns = targets.flat_map(|target| target.luns.iter().map(move |lun| (target, lun)));
        luns.find(|(_, lun)| lun.volume == volume)
    }

    /// The same, also where nobody is offered it.
    pub(super) fn numbered_lun(&self, volume: &str) -> Option<(&ExportPlan, &LunPlan)> {
        let targets = self.served.iter().flat_map(|served| &served.targets);
        let mut luns = targets.flat_map(|target| target.numbered().map(move |lun| (target, lun)));
        luns.find(|(_, lun)| lun.volume == volume)
    }

    pub(super) fn report_volumes(&self, active: &[Active]) {
        let volumes = active.iter().map(|active| {
            let lun = self.lun(&active.lv);
            status::Volume {
                name: active.lv.clone(),
                device: active.node.display().to_string(),
                bytes: active.sectors * 512,
                lun: lun.map(|(_, lun)| lun.lun),
                target: lun.map(|(target, _)| target.iqn.clone()),
                namespace: self.namespace_of(&active.lv).map(|one| one.nsid),
                serial: lun.map(|(_, lun)| lun.serial.clone()),
                degraded: active.is_degraded,
                resync: None,
                merge: None,
            }
        });
        lock(&self.report).volumes = volumes.collect();
        for volume in active.iter().filter(|volume| volume.is_degraded) {
            let (pool, lv) = (&self.pool().name, &volume.lv);
            warn!(pool, "volume {lv} is degraded: a disk of it is lost");
        }
        info!(
            pool = self.pool().name,
            "{} volumes are active",
            active.len()
        );
    }
}
