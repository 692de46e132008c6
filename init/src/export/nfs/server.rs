//! nfsd of this kernel, started and stopped (`fs/nfsd/nfsctl.c`, `fs/nfsd/nfssvc.c`).
//!
//! ```text
//! start:  answers ready ─► versions, lease, grace ─► port ─► threads (they ask who may reclaim)
//! stop:   who waits for an answer is told no ─► threads end, with all sockets and state ─► the last records ─► answers end ─► caches forget their paths
//! ```
//!
//! The kernel calls a server by the name of the host that starts its threads. So the thread that does it has a name of its
//! own (a UTS namespace): the scope, equal on both heads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::super::limit::within;
use super::super::{Cause, ExportError};
use super::delegations;
use super::plan::NfsPlan;
use super::records::Records;
use super::responder::{self, Clients, Tracked};
use crate::background::Background;
use crate::filesystem::mount::mount_kernels;
use crate::sync::lock;
use crate::sys::namespace;

/// How long a start may take. It waits a second at most for the records, which are on a disk.
const START_LIMIT: Duration = Duration::from_secs(12);
/// How long a stop may take: threads end their requests, and these wait for disks.
const STOP_LIMIT: Duration = Duration::from_secs(12);
/// Threads while a share is withheld: each has a megabyte of its own.
const THREADS_WITH_WAITING: u32 = 24;

/// The longest time that the kernel takes, for lease and grace alike (`__nfsd4_write_time` of `fs/nfsd/nfsctl.c`).
const TIME_MAX_S: u32 = 3600;

/// TCP, port 2049: RFC 8881 section 2.9.1.
const PORT: &str = "tcp 2049\n";
/// 4.1 and 4.2.
const VERSIONS: &str = "-3 +4 -4.0 +4.1 +4.2\n";

/// A server that runs, as the worker of a pool sees it.
pub trait Sharing: Send {
    /// Shares by another plan from now on.
    fn update(&self, plan: &NfsPlan) -> Result<(), ExportError>;
    /// What is known of its clients.
    fn tracked(&self) -> Tracked;
    /// Ends the server and forgets all that it held of the file systems. Idempotent.
    fn stop(&self) -> Result<(), ExportError>;
}

/// A server does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// And nothing of it is left: the volumes are nobody's.
    #[error("{0}")]
    Undone(ExportError),
    /// Something may be left of it that holds the volumes, and answers clients or will.
    #[error("{0}")]
    Left(ExportError),
}

/// nfsd. It does not stop by itself when it is dropped: [`Server::stop`] can fail.
pub struct Server {
    control: PathBuf,
    plan: Arc<Mutex<Arc<NfsPlan>>>,
    tracked: Arc<Mutex<Tracked>>,
    clients: Arc<Mutex<Clients>>,
    answers: Mutex<Option<[Background; 2]>>,
}

impl Server {
    /// Starts the server, with the records of clients, which are kept in `kept`. What was begun is undone after an error, if it can be.
    pub fn start(plan: &NfsPlan, kept: &Path, records: Records) -> Result<Server, StartError> {
        let place = Path::new("/run/pool").join(&plan.pool);
        let (control, pipes) = (place.join("nfsd"), place.join("rpc_pipefs"));
        for (kind, place) in [("nfsd", &control), ("rpc_pipefs", &pipes)] {
            let mounted = mount_kernels(kind, place, c"");
            mounted.map_err(|error| undone(place, "mount", &error.source))?;
        }
        if threads(&control).map_err(StartError::Left)? != 0 {
            return Err(StartError::Left(ExportError {
                path: control.join("threads"),
                step: "start the server",
                cause: Cause::Said("one runs already".to_owned()),
            }));
        }
        let switch = Path::new(delegations::SWITCH);
        delegations::give_none(switch)
            .map_err(|error| undone(switch, "give no delegations", &error))?;
        let shared = Arc::new(Mutex::new(Arc::new(plan.clone())));
        let clients = Clients::new(&plan.pool, kept, records);
        let (tracked, clients) = (clients.tracked(), Arc::new(Mutex::new(clients)));
        let caches = responder::answer_caches(shared.clone());
        let caches = caches.map_err(|error| undone(&control, "answer its caches", &error))?;
        // What a server before it left unanswered was told no at its end, which would hold for minutes.
        responder::flush_caches().map_err(|error| undone(&control, "flush its caches", &error))?;
        let tracking = responder::track_clients(&pipes, clients.clone());
        let tracking = tracking.map_err(|error| undone(kept, "keep its clients", &error))?;
        let server = Server {
            control: control.clone(),
            plan: shared,
            tracked,
            clients,
            answers: Mutex::new(Some([caches, tracking])),
        };
        let (settings, scope) = (settings(plan), plan.scope.clone());
        let threads = format!("{}\n", wanted_threads(plan));
        let started = within(
            START_LIMIT,
            &control.clone(),
            "start the server",
            move || {
                for (file, value) in &settings {
                    write(&control.join(file), value)?;
                }
                namespace::own_host_name(&scope)
                    .map_err(|errno| ExportError::kernel(&control, "name the server", errno))?;
                write(&control.join("threads"), &threads)
            },
        );
        if let Err(error) = started.and_then(|()| server.is_tracked()) {
            return Err(after(error, server.stop()));
        }
        Ok(server)
    }

    /// The kernel starts even when it could not ask for its clients, and would let nobody reclaim.
    fn is_tracked(&self) -> Result<(), ExportError> {
        let tracked = lock(&self.tracked);
        if tracked.is_started {
            return Ok(());
        }
        let why = tracked.problem.clone();
        Err(ExportError {
            path: self.control.join("threads"),
            step: "start the server",
            cause: Cause::Said(
                why.unwrap_or_else(|| "it did not ask for the records of its clients".to_owned()),
            ),
        })
    }
}

impl Sharing for Server {
    fn update(&self, plan: &NfsPlan) -> Result<(), ExportError> {
        *lock(&self.plan) = Arc::new(plan.clone());
        if !plan.withheld.is_empty() {
            let more = format!("{}\n", wanted_threads(plan));
            write(&self.control.join("threads"), &more)?;
        }
        responder::flush_caches().map_err(|error| failed(&self.control, "flush its caches", &error))
    }

    fn tracked(&self) -> Tracked {
        lock(&self.tracked).clone()
    }

    fn stop(&self) -> Result<(), ExportError> {
        let (control, clients) = (self.control.clone(), self.clients.clone());
        // A client that waits for a withheld share has a thread, which the stop would wait for; no answer reaches it any more.
        let mut plan = NfsPlan::clone(&lock(&self.plan));
        plan.withheld.clear();
        *lock(&self.plan) = Arc::new(plan.clone());
        plan.shares.clear();
        let (nothing, shared) = (Arc::new(plan), self.plan.clone());
        within(STOP_LIMIT, &self.control, "stop the server", move || {
            if threads(&control)? != 0 {
                responder::flush_caches()
                    .map_err(|error| failed(&control, "flush its caches", &error))?;
                write(&control.join("threads"), "0\n")?;
            }
            // Nobody brings a record any more, and nothing may write to a volume that is taken down.
            lock(&clients).close();
            // What was asked before and is answered after the last flush must lead nowhere: it would hold its volume.
            *lock(&shared) = nothing;
            // Also what a start left that did not come to its threads.
            responder::flush_caches().map_err(|error| failed(&control, "flush its caches", &error))
        })?;
        // Until here they were asked.
        lock(&self.answers).take();
        Ok(())
    }
}

/// Clients that wait for a withheld share have a thread each for seconds, which the others must not wait for.
fn wanted_threads(plan: &NfsPlan) -> u32 {
    match plan.withheld.is_empty() {
        true => plan.threads,
        false => plan.threads.max(THREADS_WITH_WAITING),
    }
}

/// What is left of a start that failed so, and was stopped then.
fn after(error: ExportError, stopped: Result<(), ExportError>) -> StartError {
    // The first error is what matters.
    match (&error.cause, stopped) {
        // What did not come back in time may come to its threads yet, after the stop.
        (Cause::TimedOut(_), _) | (_, Err(_)) => StartError::Left(error),
        (_, Ok(())) => StartError::Undone(error),
    }
}

/// What is written before the threads start, by file.
fn settings(plan: &NfsPlan) -> Vec<(&'static str, String)> {
    // Clients look after their lease when two thirds of it are over: in a half more all have found the new server.
    // The kernel allows no longer one than the longest lease; by then all have looked after theirs as well.
    let grace = (plan.lease_s + plan.lease_s / 2).min(TIME_MAX_S);
    vec![
        ("versions", VERSIONS.to_owned()),
        ("nfsv4leasetime", format!("{}\n", plan.lease_s)),
        ("nfsv4gracetime", format!("{grace}\n")),
        ("portlist", PORT.to_owned()),
    ]
}

fn threads(control: &Path) -> Result<u32, ExportError> {
    let path = control.join("threads");
    let text = fs::read_to_string(&path).map_err(|error| failed(&path, "read", &error))?;
    text.trim().parse().map_err(|_| ExportError {
        path,
        step: "read",
        cause: Cause::Other(text.trim().to_owned()),
    })
}

fn write(path: &Path, value: &str) -> Result<(), ExportError> {
    fs::write(path, value).map_err(|error| failed(path, "write", &error))
}

fn undone(path: &Path, step: &'static str, error: &io::Error) -> StartError {
    StartError::Undone(failed(path, step, error))
}

fn failed(path: &Path, step: &'static str, error: &io::Error) -> ExportError {
    match Errno::from_io_error(error) {
        Some(errno) => ExportError::kernel(path, step, errno),
        None => ExportError {
            path: path.to_owned(),
            step,
            cause: Cause::Said(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LEASE_S;
    use crate::filesystem::budget::BUDGET;

    fn error(cause: Cause) -> ExportError {
        ExportError {
            path: PathBuf::from("/n/threads"),
            step: "start the server",
            cause,
        }
    }

    #[test]
    fn a_start_is_undone_only_when_nothing_of_it_can_come_any_more() {
        let full = || error(Cause::Said("no space".to_owned()));
        let late = || error(Cause::TimedOut(START_LIMIT));
        assert_eq!(after(full(), Ok(())), StartError::Undone(full()));
        assert_eq!(after(full(), Err(late())), StartError::Left(full()));
        assert_eq!(after(late(), Ok(())), StartError::Left(late()));
    }

    #[test]
    fn every_lease_that_can_be_configured_has_a_grace_period_that_the_kernel_takes() {
        let (least, most) = (*LEASE_S.start(), *LEASE_S.end());
        for (lease_s, grace) in [(least, 15), (2400, 3600), (2401, 3600), (most, 3600)] {
            let mut plan = super::super::caches::tests::plan();
            plan.lease_s = lease_s;
            let settings = settings(&plan);
            let grace_s = settings.iter().find(|(file, _)| *file == "nfsv4gracetime");
            assert_eq!(
                grace_s.map(|(_, text)| text.as_str()),
                Some(format!("{grace}\n").as_str()),
                "{lease_s}"
            );
        }
        assert_eq!(most, TIME_MAX_S);
    }

    #[test]
    fn an_import_ends_in_its_time_when_all_that_is_slow_in_it_takes_its_own() {
        let limit = orthrus_hb::Timing::default().import_limit;
        let slow = BUDGET + START_LIMIT + STOP_LIMIT;
        assert!(u128::from(limit.as_millis()) > slow.as_millis());
    }
}
