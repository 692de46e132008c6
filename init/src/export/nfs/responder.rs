//! Who answers the kernel while it serves: a thread for its caches, one for its clients' records.
//!
//! Two, because a record is on a disk before it is answered, and a client that is known need not wait for that. A question that makes no sense is said once and stays without an answer: the client that
//! caused it waits, and nobody else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::event::Timespec;
use tracing::{error, info, warn};

use super::caches::{self, Cache};
use super::plan::NfsPlan;
use super::records::{Records, Said};
use super::tracking::Message;
use crate::background::Background;
use crate::state;
use crate::sync::lock;

/// Longer than any question: the kernel's are within a page.
const QUESTION_MAX: usize = 8192;
/// How often it is looked for the pipe of records, which comes when threads start: they wait a second for it to be opened.
const PIPE_LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// The file of records, in the state volume.
pub const RECORDS: &str = "nfs-clients.json";
/// More bytes than the records of ten thousand clients have.
const RECORDS_MAX: u64 = 64 << 20;

/// What is known of clients.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    /// The kernel has been told who may reclaim.
    pub is_started: bool,
    /// Clients that have state.
    pub clients: usize,
    /// Clients that may still reclaim it: the grace period lasts while there are some.
    pub awaited: usize,
    /// What could not be kept.
    pub problem: Option<String>,
}

/// Answers the caches by a plan that may change.
pub fn answer_caches(plan: Arc<Mutex<Arc<NfsPlan>>>) -> io::Result<Background> {
    let mut channels = Vec::new();
    for cache in Cache::ALL {
        // Of the caller's network, whoever opens it.
        let path = rpc(cache, "channel");
        channels.push((cache, open(&path, 0).map_err(|error| named(&path, &error))?));
    }
    Background::spawn("nfs caches", move |stop| {
        let mut told = false;
        loop {
            let fds: Vec<BorrowedFd<'_>> = channels.iter().map(|(_, file)| file.as_fd()).collect();
            let Some(ready) = stop.wait(&fds, None) else {
                return;
            };
            for ((cache, file), is_ready) in channels.iter_mut().zip(ready) {
                if !is_ready {
                    continue;
                }
                let plan = lock(&plan).clone();
                if let Err(error) = answer_one(*cache, file, &plan)
                    && !std::mem::replace(&mut told, true)
                {
                    warn!(cache = cache.name(), "{error}");
                }
            }
        }
    })
}

fn answer_one(cache: Cache, channel: &mut File, plan: &NfsPlan) -> io::Result<()> {
    let mut question = [0; QUESTION_MAX];
    let length = match channel.read(&mut question) {
        Ok(length) => length,
        // Somebody's answer to another question was one to this as well.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    if length == 0 {
        return Ok(());
    }
    let answer = caches::answer(cache, &question[..length], plan).map_err(io::Error::other)?;
    channel.write_all(answer.as_bytes())
}

/// Forgets what the caches were told, and with it each path that they hold.
pub fn flush_caches() -> io::Result<()> {
    for cache in Cache::ALL {
        let path = rpc(cache, "flush");
        // Whatever number: the kernel forgets what is from before now.
        std::fs::write(&path, "1\n").map_err(|error| named(&path, &error))?;
    }
    Ok(())
}

fn rpc(cache: Cache, file: &str) -> PathBuf {
    Path::new("/proc/thread-self/net/rpc")
        .join(cache.name())
        .join(file)
}

/// Keeps the records of a pool's clients, as they were read of a directory, there, for a kernel whose pipe comes below `pipes`.
pub fn track_clients(
    pool: &str,
    pipes: &Path,
    directory: &Path,
    mut records: Records,
    tracked: Arc<Mutex<Tracked>>,
) -> io::Result<Background> {
    let pipe = pipes.join("nfsd/cld");
    let (pool, directory) = (pool.to_owned(), directory.to_owned());
    Background::spawn("nfs clients", move |stop| {
        let mut file = loop {
            match open(&pipe, libc::O_NONBLOCK) {
                Ok(file) => break file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return error!("{}: {error}", pipe.display()),
            }
            if stop.wait(&[], Some(&PIPE_LOOK)).is_none() {
                return;
            }
        };
        let mut keep = |bytes: &[u8]| {
            state::keep(&directory, RECORDS, bytes).map_err(|error| error.to_string())
        };
        while stop.wait(&[file.as_fd()], None).is_some() {
            let mut question = [0; QUESTION_MAX];
            let length = match file.read(&mut question) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // The server has ended.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => return,
                Err(error) => return error!("{}: {error}", pipe.display()),
            };
            let question = &question[..length];
            let answers = track(&pool, question, &mut records, &mut keep, &tracked);
            for answer in answers {
                if let Err(error) = file.write_all(&answer) {
                    warn!("{}: {error}", pipe.display());
                }
            }
        }
    })
}

/// The answers to one message.
fn track(
    pool: &str,
    question: &[u8],
    records: &mut Records,
    keep: &mut super::records::Keep<'_>,
    tracked: &Mutex<Tracked>,
) -> Vec<Vec<u8>> {
    let (message, ask) = match Message::parse(question) {
        Ok(parsed) => parsed,
        Err(error) => {
            warn!(pool, "a message about NFS clients: {error}");
            return Message::refusal(question).into_iter().collect();
        }
    };
    let said = records.follow(ask, keep);
    let mut tracked = lock(tracked);
    (tracked.clients, tracked.awaited) = records.counts();
    match said {
        Ok(Said::Done) => {
            tracked.problem = None;
            vec![message.done()]
        }
        Ok(Said::GraceOver { back, lost }) => {
            info!(pool, "{}", grace_over(back, lost));
            tracked.problem = None;
            vec![message.done()]
        }
        Ok(Said::Known(is_known)) => vec![message.checked(is_known)],
        Ok(Said::Version) => vec![message.version()],
        Ok(Said::MayReclaim(clients)) => {
            info!(
                pool,
                "{} NFS clients may reclaim their locks",
                clients.len()
            );
            tracked.is_started = true;
            let answers = clients.iter().map(|client| message.may_reclaim(client));
            let answers: Result<Vec<Vec<u8>>, _> = answers.collect();
            match answers {
                Ok(mut answers) => {
                    answers.push(message.done());
                    answers
                }
                Err(error) => {
                    error!(pool, "the records of NFS clients: {error}");
                    vec![message.failed()]
                }
            }
        }
        Err(error) => {
            error!(pool, "the records of NFS clients are not kept: {error}");
            tracked.problem = Some(error);
            vec![message.failed()]
        }
    }
}

/// How the wait for clients ended that might reclaim their locks. Whoever waits for a lock after a takeover looks for this line.
fn grace_over(back: usize, lost: usize) -> String {
    match back + lost {
        0 => "no grace period: no clients are known".to_owned(),
        _ => format!("the grace period is over: {back} clients came back, {lost} did not"),
    }
}

/// The records of a directory; none where there is no file.
///
/// # Errors
/// It cannot be read, or they are none, or of a newer firmware.
pub fn read_records(directory: &Path) -> io::Result<Records> {
    let path = directory.join(RECORDS);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(RECORDS_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Records::default()),
        Err(error) => return Err(named(&path, &error)),
    };
    Records::parse(&bytes).map_err(io::Error::other)
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tracking::tests::{client, message};
    use super::*;

    #[test]
    fn a_start_is_answered_with_all_that_may_reclaim_and_then_an_end() {
        let tracked = Mutex::default();
        let mut records = Records::default();
        let mut keep = |_: &[u8]| Ok(());
        for name in ["one", "two"] {
            let create = message(0, Some(&client(name)));
            let answers = track("tank", &create, &mut records, &mut keep, &tracked);
            assert_eq!(answers, [create]);
        }
        let counts = || {
            let tracked = lock(&tracked);
            (tracked.is_started, tracked.clients, tracked.awaited)
        };
        assert_eq!(counts(), (false, 2, 0));
        let start = message(4, None);
        let answers = track("tank", &start, &mut records, &mut keep, &tracked);
        let status: Vec<&[u8]> = answers.iter().map(|answer| &answer[2..4]).collect();
        let (more, end) = ((-115i16).to_ne_bytes(), [0, 0]);
        assert_eq!(status, [&more[..], &more, &end]);
        assert_eq!(counts(), (true, 0, 2));
        let back = message(0, Some(&client("two")));
        track("tank", &back, &mut records, &mut keep, &tracked);
        let end = message(3, None);
        assert_eq!(
            track("tank", &end, &mut records, &mut keep, &tracked),
            [end]
        );
        assert_eq!(counts(), (true, 1, 0));
    }

    #[test]
    fn the_end_of_the_grace_period_says_who_came_back() {
        assert_eq!(grace_over(0, 0), "no grace period: no clients are known");
        let said = grace_over(3, 1);
        assert_eq!(
            said,
            "the grace period is over: 3 clients came back, 1 did not"
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_said() {
        let tracked = Mutex::default();
        let mut records = Records::default();
        let mut full = |_: &[u8]| Err("no space".to_owned());
        let create = message(0, Some(&client("one")));
        let answers = track("tank", &create, &mut records, &mut full, &tracked);
        assert_eq!(answers[0][2..4], (-5i16).to_ne_bytes());
        assert_eq!(lock(&tracked).problem.as_deref(), Some("no space"));
        let unknown = message(9, None);
        let answers = track("tank", &unknown, &mut records, &mut full, &tracked);
        assert_eq!(answers[0][2..4], (-95i16).to_ne_bytes());
        assert!(track("tank", b"?", &mut records, &mut full, &tracked).is_empty());
    }

    #[test]
    fn records_outlive_their_server_and_damaged_ones_are_no_empty_ones() {
        let directory = tempfile::TempDir::new().unwrap();
        let place = directory.path();
        assert_eq!(read_records(place).unwrap(), Records::default());
        let mut records = Records::default();
        let mut keep =
            |bytes: &[u8]| state::keep(place, RECORDS, bytes).map_err(|error| error.to_string());
        let create = message(0, Some(&client("one")));
        track("tank", &create, &mut records, &mut keep, &Mutex::default());
        assert_eq!(read_records(place).unwrap(), records);
        std::fs::write(place.join(RECORDS), "{").unwrap();
        let error = read_records(place).unwrap_err().to_string();
        assert!(error.contains("NFS clients"), "{error}");
    }
}
