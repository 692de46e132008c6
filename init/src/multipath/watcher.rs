//! Asks every path of every disk that has several whether it still answers, on every head.
//!
//! What it finds decides through which path a standby reads, and which paths a claim waits for; the path that
//! is in use is the kernel's to judge, by the commands that it sends there. Only looks: TEST UNIT READY.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::disk::{self, DiskPath, parallel, paths};
use crate::sys::sg;

const INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer is waited for. One that comes later counts in the next round.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// After this the kernel begins to recover the path, which others pay for.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// What is known of one path.
#[derive(Default)]
struct Asked {
    /// The last question is not answered yet.
    is_waiting: AtomicBool,
    /// It was answered.
    answered: AtomicBool,
}

/// Starts the thread.
///
/// # Errors
/// The errno of starting it.
pub fn start() -> std::io::Result<()> {
    let run = || {
        let mut known = BTreeMap::new();
        let mut silent = BTreeSet::new();
        loop {
            thread::sleep(INTERVAL);
            round(&mut known, &mut silent);
        }
    };
    thread::Builder::new()
        .name("paths".to_owned())
        .spawn(run)
        .map(drop)
}

fn round(known: &mut BTreeMap<u64, Arc<Asked>>, silent: &mut BTreeSet<u64>) {
    let disks = disk::scan().into_iter().filter_map(Result::ok);
    let paths: Vec<(DiskPath, String)> = disks
        .flat_map(|disk| {
            let name = disk.name.clone();
            disk.paths.into_iter().map(move |path| (path, name.clone()))
        })
        .collect();
    known.retain(|sequence, _| paths.iter().any(|(path, _)| path.sequence == *sequence));
    for (path, _) in &paths {
        known.entry(path.sequence).or_default();
    }
    // A second question beside one that hangs would only hang as well.
    let to_ask = paths.iter().filter_map(|(path, _)| {
        let asked = known.get(&path.sequence)?;
        let is_free = !asked.is_waiting.swap(true, Ordering::SeqCst);
        is_free.then(|| (path.clone(), asked.clone()))
    });
    let to_ask: Vec<(DiskPath, Arc<Asked>)> = to_ask.collect();
    parallel::each(&to_ask, ANSWER_LIMIT, |(path, asked)| {
        asked
            .answered
            .store(answers(path).is_ok(), Ordering::SeqCst);
        asked.is_waiting.store(false, Ordering::SeqCst);
    });
    let mut now = BTreeSet::new();
    for (path, disk) in &paths {
        let Some(asked) = known.get(&path.sequence) else {
            continue;
        };
        let is_silent =
            asked.is_waiting.load(Ordering::SeqCst) || !asked.answered.load(Ordering::SeqCst);
        let was_silent = silent.contains(&path.sequence);
        match (was_silent, is_silent) {
            (false, true) => warn!(disk, "path {} does not answer", path.name),
            (true, false) => info!(disk, "path {} answers again", path.name),
            _ => {}
        }
        if is_silent {
            now.insert(path.sequence);
        }
    }
    paths::note_silent(now.clone());
    *silent = now;
}

/// TEST UNIT READY; whatever the disk answers, it answers.
fn answers(path: &DiskPath) -> std::io::Result<()> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path.node())?;
    let reply = sg::execute(file.as_fd(), &[0; 6], &mut sg::Data::None, COMMAND_LIMIT)?;
    match reply.host_status {
        0 => Ok(()),
        host => Err(std::io::Error::other(format!("host status {host:#x}"))),
    }
}
