//! Performs the core's jobs on one pool and reports what came of them.
//!
//! One thread a pool, so that one slow pool does not hold up another. It may block; the core gives
//! each step its limit and resets the head when one is stuck. Jobs come one at a time:
//!
//! - *survey*: which disks, whose keys. Changes nothing.
//! - *claim*: reservations on all members, watch, write caches off. [`claim`]
//! - *import*: [`arrays`], epoch into the metadata ([`stamp`]), volumes, LUNs, [`shares`], address, announcements. [`import`]
//! - *release*: whatever stands of it, in exact reverse. Everything here is idempotent, so a release
//!   undoes a half-done import as well.
//!
//! Between two jobs it does what an operator wants, by way of [`orders`]: volumes of a served pool are changed ([`change`], [`merges`]), a
//! pool that is not there yet is made ([`making`], [`create`]), one that others made gets what ours have ([`adopt`]), one that
//! is served is destroyed ([`destroy`]), and its disks come and go ([`members`]), and its clients ([`admit`]). What its new volumes lie like
//! when that is not said: [`preset`].
//!
//! An owner that loses a disk for good notes that, so that the pool can be taken over without it: [`lost`]; [`replace`]
//! puts a new one in. One that was lost while nobody held the pool is an operator's to give up: [`word`].
//!
//! What clients registered for persistent reservations is given back, or their LUNs are held back: [`registrations`].
//!
//! An outcome repeats its job's ticket and epoch; words for the operator go into the [`Report`].

mod admit;
mod adopt;
mod arrays;
mod busy;
mod change;
mod claim;
mod clients;
mod create;
mod destroy;
mod error;
mod filesystems;
mod host;
mod import;
mod laps;
mod lease;
mod lost;
mod making;
mod members;
mod merges;
mod orders;
mod parity;
mod paths;
mod preset;
mod registrations;
mod remedy;
mod replace;
mod shares;
mod stamp;
mod stores;
mod thin;
mod word;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::{Done, Failure, HeadId, Job, Outcome, PoolId, Work};
use tracing::{error, info, warn};

use crate::clock;
use crate::config::{Admitted, Config, PoolConfig};
use crate::disk::{self, parallel};
use crate::fence::{self, MAX_MEMBERS, OnLoss, WatchSlot};
use crate::inbox::{Handle, Input, Message};
use crate::ledger::Ledger;
use crate::modules::Modules;
use crate::status::{self, Report, Snapshot};
use crate::sync::lock;
use crate::volume;

pub use admit::ClientOrder;
use claim::Claim;
pub use clients::tell_clients;
use error::JobError;
use host::{Host, Kernel};
use import::Served;
use making::Making;
use orders::Order;
pub use orders::{NewPool, Orders, PoolOrder};
use word::Word;

/// How often a head that does not hold the pool looks whether it could: long enough that a look costs
/// nothing that matters, short enough that the peer knows whether this head is the better one by the time
/// that it has made up its mind to let go.
pub const LOOK_INTERVAL: embassy_time::Duration = embassy_time::Duration::from_secs(3);

/// How often a worker without a job looks for an order of an operator, who does not notice so little. Orders have no way
/// through the channel of the core's jobs, in which there is always room for the next one.
const ORDERS_INTERVAL: Duration = Duration::from_millis(200);

/// Calls to disks that may be under way before a look is left out: some for each disk of the largest pool.
const MOST_CALLS: usize = 4 * MAX_MEMBERS;

/// From so many percent on a thin pool, or the store of a snapshot, is worth an alarm: writes of an hour fill the rest of a busy one.
const POOL_FULL: u64 = 80;

/// How old the last read-back of a disk may be. They come several times a second, and a disk that is busy with
/// its own error recovery takes some seconds.
const READ_BACK_LIMIT: Duration = Duration::from_secs(15);

/// The worker of one pool.
pub struct Worker {
    config: Arc<Config>,
    index: usize,
    me: HeadId,
    handle: Handle,
    mailbox: Arc<Mutex<Message>>,
    report: Arc<Mutex<Report>>,
    watch: WatchSlot,
    on_loss: OnLoss,
    ledger: Arc<Ledger>,
    host: Box<dyn Host>,
    /// This head's times, should a pool have to be held by a lease; `None` without an armed hardware watchdog.
    lease_terms: Option<orthrus_hb::ledger::Lease>,
    /// When a claim by lease last failed that had begun to write.
    lease_failed: Option<Instant>,
    /// When it looked last.
    looked: Option<Instant>,
    claim: Option<Claim>,
    /// A look has found keys of the cluster, or disks that may have forgotten some, since the last key of ours was taken off:
    /// of whoever had them, writes may be under way.
    keys_found: bool,
    /// Why disks are reserved by this head, though it holds nothing.
    left_reserved: Option<String>,
    served: Option<Served>,
    orders: Orders,
    /// The thread in whose network the pool is served; 0 for that of the head.
    network: Arc<AtomicU32>,
    /// An order to make the pool, which waits for the core.
    making: Option<Making>,
    /// An order to destroy it, which waits for its job.
    destroying: Option<Order>,
    /// Members that the operator says are lost.
    words: Vec<Word>,
    /// Clients that the pool has beside those of the configuration, while its state volume is open here.
    admitted: Admitted,
    /// Why they are not known.
    admitted_unread: Option<String>,
    /// The pool with them, if there are any.
    pool_with_clients: Option<PoolConfig>,
    /// What the core knows of the pools.
    snapshot: Arc<Mutex<Snapshot>>,
    /// The report's problem is that of an attempt to take or serve the pool: it stands until an
    /// attempt succeeds, whatever a look says meanwhile.
    attempt_failed: bool,
}

impl Worker {
    /// The worker of the pool with this index in the configuration.
    pub fn new(
        config: Arc<Config>,
        index: usize,
        me: HeadId,
        handle: Handle,
        mailbox: Arc<Mutex<Message>>,
        on_loss: OnLoss,
        ledger: Arc<Ledger>,
    ) -> Worker {
        Worker {
            config,
            index,
            me,
            handle,
            mailbox,
            report: Arc::default(),
            watch: Arc::default(),
            on_loss,
            ledger,
            host: Box::new(Kernel::default()),
            lease_terms: None,
            lease_failed: None,
            looked: None,
            claim: None,
            keys_found: false,
            left_reserved: None,
            served: None,
            orders: Orders::default(),
            network: Arc::default(),
            making: None,
            destroying: None,
            words: Vec::new(),
            admitted: Admitted::default(),
            admitted_unread: None,
            pool_with_clients: None,
            snapshot: Arc::default(),
            attempt_failed: false,
        }
    }

    /// With an armed hardware watchdog of this time a pool whose disks have no reservations can be held by a lease.
    pub fn with_watchdog(mut self, seconds: Option<u32>) -> Worker {
        self.lease_terms = seconds.map(fence::lease::terms);
        self
    }

    /// Kernel modules for the kinds of volumes that turn up are taken from here.
    pub fn with_modules(mut self, modules: Arc<Modules>) -> Worker {
        self.host = Box::new(Kernel::with(modules));
        self
    }

    /// What the core knows of the pools is here.
    pub fn with_snapshot(mut self, snapshot: Arc<Mutex<Snapshot>>) -> Worker {
        self.snapshot = snapshot;
        self
    }

    /// What consoles read of this pool.
    pub fn report(&self) -> Arc<Mutex<Report>> {
        self.report.clone()
    }

    /// Where operators put their orders.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// The thread in whose network the pool is served; 0 for that of the head.
    pub fn network(&self) -> Arc<AtomicU32> {
        self.network.clone()
    }

    /// Where the heartbeat thread looks for a lost reservation.
    pub fn watch(&self) -> WatchSlot {
        self.watch.clone()
    }

    /// Does jobs until there is nobody to give any.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        self.enter_network();
        let mut next_look = clock::now() + LOOK_INTERVAL;
        loop {
            let job = match jobs.recv_timeout(ORDERS_INTERVAL) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    if self.making.is_some() {
                        self.pursue_making();
                    } else if let Some(order) = self.orders.take() {
                        self.follow_order(order);
                    } else if clock::now() >= next_look {
                        self.look();
                        next_look = clock::now() + LOOK_INTERVAL;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let begun = clock::now();
            let result = self.perform(&job);
            let took_ms = clock::now().saturating_duration_since(begun).as_millis();
            self.note_making(&job, &result);
            let result = self.note(&job, result, took_ms);
            let Job {
                pool,
                ticket,
                epoch,
                ..
            } = job;
            debug_assert_eq!(pool, PoolId(self.index as u8));
            self.handle.post(Input::Outcome(Outcome {
                pool,
                ticket,
                epoch,
                result,
            }));
        }
    }

    /// A pool with shares is served in a network of its own, from this thread's on.
    fn enter_network(&self) {
        if self.pool().nfs.is_none() {
            return;
        }
        match self.host.own_network() {
            Ok(()) => {
                let thread = rustix::thread::gettid().as_raw_nonzero().get();
                self.network.store(thread.unsigned_abs(), Ordering::Relaxed);
            }
            // It is said again by each look: without a port there is no service.
            Err(problem) => error!(pool = self.pool().name, "{problem}"),
        }
    }

    /// Nothing to do: a standby looks whether it could take the pool over, an owner whether its disks
    /// still answer.
    fn look(&mut self) {
        let now = clock::now();
        // From the first on: all that follows may find what does not answer.
        lock(&self.report).looking_since = Some(now);
        let before = self.looked.replace(now);
        // Not after a gap in our own running: somebody else may have the addresses by now.
        let gap = before.map_or(0, |at| now.saturating_duration_since(at).as_millis());
        if gap < 2 * LOOK_INTERVAL.as_millis() {
            self.announce_again();
        }
        self.report_alarms();
        self.mark_lost();
        self.note_lost_snapshots();
        self.look_at_merges();
        self.look_at_rebuilds();
        self.try_shares_again();
        self.look_at_shares();
        self.look_at_reservations();
        self.look_at_state();
        self.note_registrations();
        self.look_at_arrays();
        self.ledger.look(clock::now());
        let unready = match &self.claim {
            Some(claim) => self.unread().or_else(|| cached(claim)),
            // Looking again would only add to them.
            None if parallel::running() > MOST_CALLS => Some(format!(
                "more than {MOST_CALLS} calls to disks have not returned"
            )),
            None => {
                let ready = self.survey().and_then(|_| self.data_port());
                ready.err().map(|problem| problem.to_string())
            }
        };
        self.found(unready);
    }

    /// Strangers beside our key, and thin pools that run full. No fault of this head: handing the pool over would not help.
    fn report_alarms(&self) {
        let slot = lock(&self.watch);
        let watch = slot.iter().flat_map(|(_, watch)| watch.alarms());
        let found = watch.map(|(disk, alarm)| status::Problem {
            what: format!("{disk}: {alarm}"),
            todo: alarm.way_out().to_owned(),
        });
        let mut found: Vec<status::Problem> = found.collect();
        drop(slot);
        found.extend(self.full_pools());
        found.extend(self.full_stores());
        found.extend(self.failed_merges());
        found.extend(self.fallen_images());
        found.extend(self.broken_shares());
        found.extend(self.look_at_paths());
        lock(&self.report).alarms = found;
    }

    fn full_pools(&self) -> Vec<status::Problem> {
        let Some(claim) = self.claim.as_ref().filter(|_| self.served.is_some()) else {
            return Vec::new();
        };
        let usage = self.host.pool_usage(&claim.group).unwrap_or_else(|error| {
            warn!(pool = self.pool().name, "{error}");
            Vec::new()
        });
        let full = usage
            .into_iter()
            .filter(|pool| pool.data.max(pool.metadata) >= POOL_FULL);
        let problem = |pool: volume::PoolUsage| {
            let data = format!(
                "its room for data is {} % full: writes to its volumes wait, and then fail, when it is",
                pool.data
            );
            let metadata = format!(
                "its room for metadata is {} % full: when it is, writes to its volumes fail, and lvconvert --repair on a host with \
                 lvm2 comes before anything else",
                pool.metadata
            );
            let said = match (pool.data >= POOL_FULL, pool.metadata >= POOL_FULL) {
                (true, true) => format!("{data}; {metadata}"),
                (false, true) => metadata,
                (_, false) => data,
            };
            status::Problem {
                what: format!("thin pool {}: {said}", pool.pool),
                todo: format!(
                    "`volume grow {}/{}`, which adds to both, or remove what is not needed in it",
                    self.pool().name,
                    pool.pool
                ),
            }
        };
        full.map(problem).collect()
    }

    /// A disk whose reservation was not read back for long: its path is broken, and a loss would go unseen.
    fn unread(&self) -> Option<String> {
        let slot = lock(&self.watch);
        let (disk, age) = slot.as_ref()?.1.oldest()?;
        (age > READ_BACK_LIMIT).then(|| format!("{disk}: does not answer"))
    }

    /// Notes what a look found against this head.
    fn found(&mut self, unready: Option<String>) {
        let pool = self.pool().name.as_str();
        let mut report = lock(&self.report);
        report.looking_since = None;
        if report.unready != unready {
            match &unready {
                Some(problem) => warn!(pool, "this head is not fit to serve the pool: {problem}"),
                None => info!(pool, "this head is fit to serve the pool"),
            }
        }
        // What a survey found wrong may be over; why an attempt failed is not known to be.
        if unready.is_none() && !self.attempt_failed {
            report.problem = None;
        }
        report.unready = unready;
    }

    fn pool(&self) -> &PoolConfig {
        let with_clients = self.pool_with_clients.as_ref();
        with_clients.unwrap_or_else(|| self.configured())
    }

    fn follow_order(&mut self, order: Order) {
        let _at_work = self.begin_order(order.what());
        let done = match order.what() {
            PoolOrder::Volume(order) => self.change(order).map_err(|error| error.to_string()),
            PoolOrder::Add { disk, wipe } => self
                .add_disk(disk, *wipe)
                .map_err(|error| error.to_string()),
            PoolOrder::Lost { disk } => self.disk_lost(disk).map_err(|error| error.to_string()),
            PoolOrder::Remove { disk } => self.remove_disk(disk).map_err(|error| error.to_string()),
            PoolOrder::Replace { disk, wipe } => self
                .replace_disk(disk, *wipe)
                .map_err(|error| error.to_string()),
            PoolOrder::Client(order) => {
                self.change_client(order).map_err(|error| error.to_string())
            }
            PoolOrder::Import => self.adopt().map_err(|error| error.to_string()),
            PoolOrder::Hang => self.hang(order),
            // The core is asked first: answered later.
            PoolOrder::Create(_) => return self.begin_making(order),
            PoolOrder::Destroy { .. } => return self.begin_destroying(order),
        };
        order.answer(done);
    }

    /// No job is done any more, and no look: a release ends in a reset when its time is over.
    fn hang(&self, order: Order) -> ! {
        warn!(pool = self.pool().name, "rehearsal: the worker stops here");
        order.answer(Ok(
            "its worker stops; the first attempt to hand it over ends in a reset of this head"
                .to_owned(),
        ));
        loop {
            std::thread::park();
        }
    }

    fn perform(&mut self, job: &Job) -> Result<Done, JobError> {
        match job.work {
            Work::Survey => self.survey(),
            Work::Claim { authority, covers } => {
                let taken = self.take(job.epoch, (authority, covers), job.peer_is_done);
                if taken.is_err() {
                    self.unsay_forgotten();
                }
                taken
            }
            Work::Inspect => Ok(self.inspect()?),
            Work::Make => self.make(job.epoch),
            Work::Import => self.import(job.epoch),
            Work::Release => self.release(job.peer_is_done),
            Work::Destroy => self.destroy(job.peer_is_done),
        }
    }

    /// Puts a result into the log and the report, and reduces it to what the core needs.
    fn note(
        &mut self,
        job: &Job,
        result: Result<Done, JobError>,
        took_ms: u64,
    ) -> Result<Done, Failure> {
        let pool = self.pool().name.clone();
        let step = match job.work {
            Work::Survey => "survey",
            Work::Claim { .. } => "claim",
            Work::Inspect => "a look at bare disks",
            Work::Make => "making",
            Work::Import => "import",
            Work::Release => "release",
            Work::Destroy => "destruction",
        };
        match result {
            Ok(done) => {
                // A survey that succeeds says nothing yet about why the last import did not.
                if matches!(done, Done::Imported) {
                    let mut report = lock(&self.report);
                    (report.problem, report.unready) = (None, None);
                    self.attempt_failed = false;
                }
                if !matches!(job.work, Work::Survey | Work::Inspect) {
                    info!(pool, epoch = job.epoch.0, "{step} done in {took_ms} ms");
                }
                Ok(done)
            }
            // The peer was first, or is alive after all: no fault of this head.
            Err(problem) if matches!(problem.kind(), Failure::HeldByPeer(_)) => {
                info!(pool, "{step} ended after {took_ms} ms: {problem}");
                Err(problem.kind())
            }
            // The operator was told, and the pool is no worse than before.
            Err(problem) if matches!(job.work, Work::Inspect | Work::Make) => {
                error!(pool, "{step} failed after {took_ms} ms: {problem}");
                Err(problem.kind())
            }
            Err(problem) => {
                self.attempt_failed |= job.work != Work::Survey;
                let text = problem.to_string();
                let mut report = lock(&self.report);
                // The same failure again and again is one line.
                if report.problem.as_deref() != Some(&text) {
                    error!(pool, "{step} failed after {took_ms} ms: {text}");
                    report.problem = Some(text);
                }
                Err(problem.kind())
            }
        }
    }
}

/// Disks whose caches came back on and cannot be turned off again: clients were told that there is none.
fn cached(claim: &Claim) -> Option<String> {
    let failed = disk::keep_write_caches_off(&claim.group.disks());
    let failed = failed.first()?;
    Some(format!(
        "{failed}, and clients were told otherwise: `handover` makes it known"
    ))
}

#[cfg(test)]
mod failed;
mod fallen;
#[cfg(test)]
pub(crate) mod lines;
#[cfg(test)]
mod order;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod told;
mod unsure;
#[cfg(test)]
mod witness;
