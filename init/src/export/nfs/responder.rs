//! Who answers the kernel while it serves: a thread for its caches, one for its clients' records.
//!
//! Two, because a record is on a disk before it is answered, and a client that is known need not wait for that. Each message of the
//! kernel's holds a thread of the server until its answer, so all that have come are kept by one write ([`Clients::follow`]). A question
//! that makes no sense is said once and stays without an answer: the client that caused it waits, and nobody else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustix::event::Timespec;
use tracing::{error, info, warn};

use super::caches::{self, Answer, Cache};
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

/// Questions that may wait for a share: more than there are clients' addresses, but for somebody who makes them up.
const MOST_UNANSWERED: usize = 4096;
/// Messages that are followed at once. There are no more than threads of the server.
const MOST_MESSAGES: usize = 64;
/// How soon is tried again what could not be kept, when no message comes before.
const AGAIN: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// The file of records, in the state volume.
pub const RECORDS: &str = "nfs-clients.json";
/// More bytes than any file of ours has.
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
    /// Why not all of it is kept. It stays until all is.
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
        let mut unanswered = Unanswered::default();
        let mut told = false;
        let mut followed = lock(&plan).clone();
        loop {
            let fds: Vec<BorrowedFd<'_>> = channels.iter().map(|(_, file)| file.as_fd()).collect();
            let limit = (!unanswered.0.is_empty()).then_some(&AGAIN);
            let Some(ready) = stop.wait(&fds, limit) else {
                return;
            };
            let problem = turn(&plan, &mut followed, &mut unanswered, &mut channels, &ready);
            if let Some((cache, error)) = problem
                && !std::mem::replace(&mut told, true)
            {
                warn!(cache = cache.name(), "{error}");
            }
        }
    })
}

/// Answers what is asked by now; what went wrong last in it.
///
/// Another plan comes before it or after it, and what was answered is flushed after that. An answer of the plan of before that came to the
/// kernel after the flush would hold as long as any: who was shut out, or may only read, would not be for half an hour.
fn turn<C: Read + io::Write>(
    plan: &Mutex<Arc<NfsPlan>>,
    followed: &mut Arc<NfsPlan>,
    unanswered: &mut Unanswered,
    channels: &mut [(Cache, C)],
    ready: &[bool],
) -> Option<(Cache, io::Error)> {
    let plan = lock(plan);
    let mut answers = match Arc::ptr_eq(&plan, followed) {
        true => Vec::new(),
        false => unanswered.again(&plan, now()),
    };
    followed.clone_from(&plan);
    let mut problem = None;
    for ((cache, file), is_ready) in channels.iter_mut().zip(ready) {
        if !is_ready {
            continue;
        }
        let answer = ask(file).and_then(|question| match question {
            Some(question) => unanswered.answer(*cache, &question, &plan, now()),
            None => Ok(None),
        });
        match answer {
            Ok(answer) => answers.extend(answer.map(|answer| (*cache, answer))),
            Err(error) => problem = Some((*cache, error)),
        }
    }
    for (cache, answer) in answers {
        let channel = channels.iter_mut().find(|(of, _)| *of == cache);
        if let Some((_, file)) = channel
            && let Err(error) = file.write_all(answer.as_bytes())
        {
            problem = Some((cache, error));
        }
    }
    problem
}

/// The next question of a cache, if there is one.
fn ask(channel: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut question = [0; QUESTION_MAX];
    match channel.read(&mut question) {
        // Somebody's answer to another question was one to this as well.
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some(question[..length].to_vec())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds since 1970, by the clock that the kernel compares with.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().try_into().unwrap_or(i64::MAX))
}

/// Questions that wait for another plan. The kernel does not ask again while it has one in its queue, and forgets them no sooner than after
/// two minutes.
#[derive(Default)]
struct Unanswered(Vec<(Cache, Vec<u8>)>);

impl Unanswered {
    /// The answer, if it has one by this plan.
    fn answer(
        &mut self,
        cache: Cache,
        question: &[u8],
        plan: &NfsPlan,
        now: i64,
    ) -> io::Result<Option<String>> {
        let answer = caches::answer(cache, question, plan, now);
        if let Answer::Now(line) = answer.map_err(io::Error::other)? {
            return Ok(Some(line));
        }
        let asked = (cache, question.to_vec());
        // What is beyond the bound waits until the kernel has forgotten it.
        if self.0.len() < MOST_UNANSWERED && !self.0.contains(&asked) {
            self.0.push(asked);
        }
        Ok(None)
    }

    /// The answers that there are by another plan.
    fn again(&mut self, plan: &NfsPlan, now: i64) -> Vec<(Cache, String)> {
        let mut answers = Vec::new();
        for (cache, question) in std::mem::take(&mut self.0) {
            if let Ok(Some(answer)) = self.answer(cache, &question, plan, now) {
                answers.push((cache, answer));
            }
        }
        answers
    }
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

/// Keeps the records of a pool.
type Keeping = Box<dyn FnMut(&[u8]) -> Result<(), String> + Send>;

/// The clients of a pool and where their records are kept.
pub struct Clients {
    pool: String,
    records: Records,
    keep: Option<Keeping>,
    tracked: Arc<Mutex<Tracked>>,
}

impl Clients {
    /// With the records that were read of a directory, kept there.
    pub fn new(pool: &str, directory: &Path, records: Records) -> Clients {
        let directory = directory.to_owned();
        let keep = move |bytes: &[u8]| {
            state::keep(&directory, RECORDS, bytes).map_err(|error| error.to_string())
        };
        Clients {
            pool: pool.to_owned(),
            records,
            keep: Some(Box::new(keep)),
            tracked: Arc::default(),
        }
    }

    /// What is known of them, for who does not wait for a disk.
    pub fn tracked(&self) -> Arc<Mutex<Tracked>> {
        self.tracked.clone()
    }

    /// The answers to some messages, when what they change is kept.
    fn follow(&mut self, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let (mut messages, mut asks, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for question in questions {
            match Message::parse(question) {
                Ok((message, ask)) => {
                    messages.push(message);
                    asks.push(ask);
                }
                Err(error) => {
                    warn!(pool = self.pool, "a message about NFS clients: {error}");
                    answers.extend(Message::refusal(question));
                }
            }
        }
        let followed = self.records.follow(asks, &mut keeper(&mut self.keep));
        let is_kept = followed.kept.is_ok();
        self.report(followed.kept);
        for (message, said) in messages.into_iter().zip(followed.said) {
            answers.extend(self.answers(message, said, is_kept));
        }
        answers
    }

    fn answers(&self, message: Message, said: Said, is_kept: bool) -> Vec<Vec<u8>> {
        let pool = &self.pool;
        let done = |message: Message| match is_kept {
            true => message.done(),
            // The kernel says it as well, and goes on.
            false => message.failed(),
        };
        match said {
            Said::Known(is_known) => vec![message.checked(is_known)],
            Said::Version => vec![message.version()],
            Said::Done => vec![done(message)],
            Said::GraceOver { back, lost } => {
                info!(pool, "{}", grace_over(back, lost));
                vec![done(message)]
            }
            Said::MayReclaim(_) if !is_kept => vec![message.failed()],
            Said::MayReclaim(clients) => {
                let count = clients.len();
                info!(pool, "{count} NFS clients may reclaim their locks");
                lock(&self.tracked).is_started = true;
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
        }
    }

    /// Tries again to keep what could not be kept; whether there is nothing more of it.
    fn catch_up(&mut self) -> bool {
        if self.records.is_behind() {
            let kept = self.records.catch_up(&mut keeper(&mut self.keep));
            self.report(kept);
        }
        !self.records.is_behind()
    }

    /// The server has ended: what is not kept by now is lost, and nothing is written any more.
    pub fn close(&mut self) {
        if self.keep.is_some() && !self.catch_up() {
            error!(pool = self.pool, "the last records of NFS clients are lost");
        }
        self.keep = None;
    }

    /// Says what cannot be kept, once.
    fn report(&self, kept: Result<(), String>) {
        let left_out = self.records.left_out();
        let full =
            || "there is no room for all of their names, and the longest are left out".to_owned();
        let problem = match kept {
            Ok(()) => (left_out > 0).then(full),
            Err(why) => Some(why),
        };
        let mut tracked = lock(&self.tracked);
        (tracked.clients, tracked.awaited) = self.records.counts();
        if tracked.problem == problem {
            return;
        }
        let pool = &self.pool;
        match &problem {
            Some(why) => error!(pool, "the records of NFS clients are not all kept: {why}"),
            None => info!(pool, "the records of NFS clients are kept again"),
        }
        tracked.problem = problem;
    }
}

/// Where records are kept until their server has ended.
fn keeper<'a>(keep: &'a mut Option<Keeping>) -> impl FnMut(&[u8]) -> Result<(), String> + 'a {
    move |bytes| match keep {
        Some(keep) => keep(bytes),
        None => Err("the server of shares has ended".to_owned()),
    }
}

/// Follows what a kernel says of the clients, whose pipe comes below `pipes`.
pub fn track_clients(pipes: &Path, clients: Arc<Mutex<Clients>>) -> io::Result<Background> {
    let pipe = pipes.join("nfsd/cld");
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
        let mut limit = None;
        while stop.wait(&[file.as_fd()], limit).is_some() {
            let questions = match all_messages(&mut file) {
                Ok(questions) => questions,
                // The server has ended.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => return,
                Err(error) => return error!("{}: {error}", pipe.display()),
            };
            let mut clients = lock(&clients);
            let answers = match questions.is_empty() {
                true => Vec::new(),
                false => clients.follow(&questions),
            };
            for answer in answers {
                if let Err(error) = file.write_all(&answer) {
                    warn!("{}: {error}", pipe.display());
                }
            }
            let is_kept = match questions.is_empty() {
                true => clients.catch_up(),
                false => !clients.records.is_behind(),
            };
            limit = (!is_kept).then_some(&AGAIN);
        }
    })
}

/// The messages that are there. An error comes after all of them.
fn all_messages(pipe: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    while messages.len() < MOST_MESSAGES {
        let mut message = [0; QUESTION_MAX];
        match pipe.read(&mut message) {
            Ok(0) => break,
            Ok(length) => messages.push(message[..length].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if messages.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(messages)
}

/// How the wait for clients ended that might reclaim their locks. Whoever waits for a lock after a takeover looks for this line.
fn grace_over(back: usize, lost: usize) -> String {
    match back + lost {
        0 => "no grace period: no clients are known".to_owned(),
        _ => format!("the grace period is over: {back} clients came back, {lost} did not"),
    }
}

/// Writes the records of a directory once as they are.
///
/// # Errors
/// It cannot be written.
pub fn keep_records(directory: &Path, records: &mut Records) -> Result<(), String> {
    records.keep_again(&mut |bytes| {
        state::keep(directory, RECORDS, bytes).map_err(|error| error.to_string())
    })
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::super::tracking::tests::{client, message};
    use super::*;

    fn clients(keep: impl FnMut(&[u8]) -> Result<(), String> + Send + 'static) -> Clients {
        let mut clients = Clients::new("tank", Path::new("/nowhere"), Records::default());
        clients.keep = Some(Box::new(keep));
        clients
    }

    fn problem(clients: &Clients) -> Option<String> {
        lock(&clients.tracked).problem.clone()
    }

    #[test]
    fn a_start_is_answered_with_all_that_may_reclaim_and_then_an_end() {
        let mut clients = clients(|_| Ok(()));
        for name in ["one", "two"] {
            let create = message(0, Some(&client(name)));
            assert_eq!(clients.follow(std::slice::from_ref(&create)), [create]);
        }
        let counts = |clients: &Clients| {
            let tracked = lock(&clients.tracked);
            (tracked.is_started, tracked.clients, tracked.awaited)
        };
        assert_eq!(counts(&clients), (false, 2, 0));
        let answers = clients.follow(&[message(4, None)]);
        let status: Vec<&[u8]> = answers.iter().map(|answer| &answer[2..4]).collect();
        let (more, end) = ((-115i16).to_ne_bytes(), [0, 0]);
        assert_eq!(status, [&more[..], &more, &end]);
        assert_eq!(counts(&clients), (true, 0, 2));
        clients.follow(&[message(0, Some(&client("two")))]);
        let end = message(3, None);
        assert_eq!(clients.follow(std::slice::from_ref(&end)), [end]);
        assert_eq!(counts(&clients), (true, 1, 0));
    }

    #[test]
    fn a_question_about_a_withheld_share_waits_for_the_plan_that_offers_it() {
        let offered = caches::tests::plan();
        let mut withheld = offered.clone();
        withheld.withheld = std::mem::take(&mut withheld.shares);
        let handle = format!("{} 6 \\x{}\n", caches::tests::IN, "01".repeat(16)).into_bytes();
        let mut unanswered = Unanswered::default();
        for _ in 0..2 {
            let answer = unanswered.answer(Cache::Handle, &handle, &withheld, 0);
            assert_eq!(answer.unwrap(), None);
        }
        assert_eq!(unanswered.again(&withheld, 0), []);
        let answers = unanswered.again(&offered, 0);
        assert_eq!(answers.len(), 1, "it was asked twice, and is one");
        assert!(answers[0].1.ends_with(" /run/pool/tank/shares/home \n"));
        assert_eq!(unanswered.again(&offered, 0), []);
    }

    #[test]
    fn no_other_plan_comes_between_a_question_and_its_answer() {
        /// A channel of the kernel's, which minds whether the plan could be another one by now.
        struct Channel<'a> {
            plan: &'a Mutex<Arc<NfsPlan>>,
            question: Vec<u8>,
            answers: Vec<String>,
        }
        impl Read for Channel<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(self.plan.try_lock().is_err(), "as it is asked");
                let question = std::mem::take(&mut self.question);
                buffer[..question.len()].copy_from_slice(&question);
                Ok(question.len())
            }
        }
        impl io::Write for Channel<'_> {
            fn write(&mut self, answer: &[u8]) -> io::Result<usize> {
                assert!(self.plan.try_lock().is_err(), "as it is answered");
                self.answers
                    .push(String::from_utf8_lossy(answer).into_owned());
                Ok(answer.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let plan = Mutex::new(Arc::new(caches::tests::plan()));
        let mut followed = lock(&plan).clone();
        let question = format!("nfsd {}\n", caches::tests::IN).into_bytes();
        let channel = Channel {
            plan: &plan,
            question,
            answers: Vec::new(),
        };
        let mut channels = [(Cache::Address, channel)];
        let mut unanswered = Unanswered::default();
        for ready in [false, true, true] {
            let problem = turn(
                &plan,
                &mut followed,
                &mut unanswered,
                &mut channels,
                &[ready],
            );
            assert!(problem.is_none(), "{problem:?}");
        }
        let [answer] = &channels[0].1.answers[..] else {
            panic!("{:?}", channels[0].1.answers);
        };
        assert!(answer.contains(caches::tests::IN), "{answer}");
        assert!(plan.try_lock().is_ok(), "and another one comes then");
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
    fn what_cannot_be_kept_is_refused_and_said_until_it_is_kept() {
        let is_full = Arc::new(AtomicBool::new(true));
        let full = is_full.clone();
        let mut clients = clients(move |_| match full.load(Ordering::Relaxed) {
            true => Err("no space".to_owned()),
            false => Ok(()),
        });
        let start = clients.follow(&[message(4, None)]);
        assert_eq!(start[0][2..4], [0, 0], "nothing is to be kept for it");
        let answers = clients.follow(&[message(0, Some(&client("one")))]);
        assert_eq!(answers[0][2..4], (-5i16).to_ne_bytes());
        assert_eq!(problem(&clients).as_deref(), Some("no space"));
        // What needs no write does not hide it.
        let answers = clients.follow(&[message(2, Some(&client("one"))), message(9, None)]);
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0][2..4], (-95i16).to_ne_bytes());
        assert_eq!(answers[1][2..4], [0, 0]);
        assert!(problem(&clients).is_some());
        assert!(!clients.catch_up());
        is_full.store(false, Ordering::Relaxed);
        assert!(clients.catch_up());
        assert_eq!(problem(&clients), None);
        assert!(clients.follow(&[b"?".to_vec()]).is_empty());
    }

    #[test]
    fn messages_that_wait_are_read_at_once_and_kept_by_one_write_and_each_is_answered() {
        /// A pipe with so many messages in it.
        struct Pipe(usize);
        impl Read for Pipe {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Ok(0);
                }
                self.0 -= 1;
                let message = message(0, Some(&client(&self.0.to_string())));
                buffer[..message.len()].copy_from_slice(&message);
                Ok(message.len())
            }
        }
        let writes = Arc::new(AtomicUsize::new(0));
        let count = writes.clone();
        let mut clients = clients(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let mut pipe = Pipe(MOST_MESSAGES + 3);
        for (expected, so_far) in [(MOST_MESSAGES, 1), (3, 2), (0, 2)] {
            let questions = all_messages(&mut pipe).unwrap();
            assert_eq!(questions.len(), expected);
            assert_eq!(
                clients.follow(&questions),
                questions,
                "each in its own words"
            );
            assert_eq!(writes.load(Ordering::Relaxed), so_far);
        }
    }

    #[test]
    fn an_end_keeps_what_is_left_and_nothing_is_written_after_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let place = directory.path().join("state");
        let mut clients = Clients::new("tank", &place, Records::default());
        clients.follow(&[message(0, Some(&client("one")))]);
        assert!(problem(&clients).is_some(), "there is no such directory");
        std::fs::create_dir(&place).unwrap();
        clients.close();
        assert_eq!(read_records(&place).unwrap().counts(), (1, 0));
        clients.follow(&[message(0, Some(&client("two")))]);
        clients.close();
        assert_eq!(read_records(&place).unwrap().counts(), (1, 0));
    }

    #[test]
    fn records_that_are_kept_again_are_the_same_and_a_place_that_takes_no_write_is_known() {
        let directory = tempfile::TempDir::new().unwrap();
        let place = directory.path().join("state");
        let mut records = Records::default();
        assert!(keep_records(&place, &mut records).is_err());
        std::fs::create_dir(&place).unwrap();
        keep_records(&place, &mut records).unwrap();
        assert_eq!(read_records(&place).unwrap(), records);
        let mut clients = Clients::new("tank", &place, records);
        clients.follow(&[message(0, Some(&client("one"))), message(4, None)]);
        let before = read_records(&place).unwrap();
        assert_eq!(before.counts(), (0, 1));
        let mut records = before.clone();
        keep_records(&place, &mut records).unwrap();
        assert_eq!(
            (read_records(&place).unwrap(), &records),
            (before.clone(), &before)
        );
    }

    #[test]
    fn records_outlive_their_server_and_damaged_ones_are_no_empty_ones() {
        let directory = tempfile::TempDir::new().unwrap();
        let place = directory.path();
        assert_eq!(read_records(place).unwrap(), Records::default());
        let mut clients = Clients::new("tank", place, Records::default());
        clients.follow(&[message(0, Some(&client("one")))]);
        assert_eq!(read_records(place).unwrap(), clients.records);
        std::fs::write(place.join(RECORDS), "{").unwrap();
        let error = read_records(place).unwrap_err().to_string();
        assert!(error.contains("NFS clients"), "{error}");
    }
}
