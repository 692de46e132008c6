//! nfsd of this kernel, started and stopped (`fs/nfsd/nfsctl.c`, `fs/nfsd/nfssvc.c`).
//!
//! ```text
//! start:  answers ready ─► versions, lease, grace ─► port ─► threads (they ask who may reclaim)
//! stop:   threads end, with all sockets and state ─► answers end ─► caches forget their paths
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
use super::responder::{self, Tracked};
use crate::background::Background;
use crate::filesystem::mount::mount_kernels;
use crate::sync::lock;
use crate::sys::namespace;

/// How long a start may take. It waits a second at most for the records, which are on a disk.
const START_LIMIT: Duration = Duration::from_secs(12);
/// How long a stop may take: threads end their requests, and these wait for disks.
const STOP_LIMIT: Duration = Duration::from_secs(12);

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

/// nfsd. It does not stop by itself when it is dropped: [`Server::stop`] can fail.
pub struct Server {
    control: PathBuf,
    plan: Arc<Mutex<Arc<NfsPlan>>>,
    tracked: Arc<Mutex<Tracked>>,
    answers: Mutex<Option<[Background; 2]>>,
}

impl Server {
    /// Starts the server, with the records of clients in `records`. What was begun is undone after an error.
    pub fn start(plan: &NfsPlan, records: &Path) -> Result<Server, ExportError> {
        let place = Path::new("/run/pool").join(&plan.pool);
        let (control, pipes) = (place.join("nfsd"), place.join("rpc_pipefs"));
        for (kind, place) in [("nfsd", &control), ("rpc_pipefs", &pipes)] {
            let mounted = mount_kernels(kind, place, c"");
            mounted.map_err(|error| failed(place, "mount", &error.source))?;
        }
        if threads(&control)? != 0 {
            return Err(ExportError {
                path: control.join("threads"),
                step: "start the server",
                cause: Cause::Said("one runs already".to_owned()),
            });
        }
        let switch = Path::new(delegations::SWITCH);
        delegations::give_none(switch)
            .map_err(|error| failed(switch, "give no delegations", &error))?;
        let shared = Arc::new(Mutex::new(Arc::new(plan.clone())));
        let tracked = Arc::new(Mutex::new(Tracked::default()));
        let caches = responder::answer_caches(shared.clone());
        let caches = caches.map_err(|error| failed(&control, "answer its caches", &error))?;
        let clients = responder::track_clients(&plan.pool, &pipes, records, tracked.clone());
        let clients = clients.map_err(|error| failed(records, "keep its clients", &error))?;
        let server = Server {
            control: control.clone(),
            plan: shared,
            tracked,
            answers: Mutex::new(Some([caches, clients])),
        };
        let (settings, scope) = (settings(plan), plan.scope.clone());
        let threads = format!("{}\n", plan.threads);
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
            // The first error is what matters; what cannot be undone will keep the volumes mounted, and that is an error.
            let _ = server.stop();
            return Err(error);
        }
        Ok(server)
    }

    /// The kernel starts even when it could not ask for its clients, and would let nobody reclaim.
    fn is_tracked(&self) -> Result<(), ExportError> {
        let tracked = lock(&self.tracked);
        match (tracked.is_started, &tracked.problem) {
            (true, None) => Ok(()),
            (_, problem) => {
                Err(ExportError {
                    path: self.control.join("threads"),
                    step: "start the server",
                    cause: Cause::Said(problem.clone().unwrap_or_else(|| {
                        "it did not ask for the records of its clients".to_owned()
                    })),
                })
            }
        }
    }
}

impl Sharing for Server {
    fn update(&self, plan: &NfsPlan) -> Result<(), ExportError> {
        *lock(&self.plan) = Arc::new(plan.clone());
        responder::flush_caches().map_err(|error| failed(&self.control, "flush its caches", &error))
    }

    fn tracked(&self) -> Tracked {
        lock(&self.tracked).clone()
    }

    fn stop(&self) -> Result<(), ExportError> {
        let control = self.control.clone();
        within(STOP_LIMIT, &self.control, "stop the server", move || {
            if threads(&control)? != 0 {
                write(&control.join("threads"), "0\n")?;
            }
            // Also what a start left that did not come to its threads.
            responder::flush_caches().map_err(|error| failed(&control, "flush its caches", &error))
        })?;
        // Until here they were asked.
        lock(&self.answers).take();
        Ok(())
    }
}

/// What is written before the threads start, by file.
fn settings(plan: &NfsPlan) -> Vec<(&'static str, String)> {
    // Clients look after their lease when two thirds of it are over: in a half more all have found the new server.
    let grace = plan.lease_s + plan.lease_s / 2;
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
