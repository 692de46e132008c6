//! The order in which the heartbeat thread does what the core asks for.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, sync_channel};

use embassy_time::Duration;
use orthrus_hb::{
    Authority, ClusterId, Config, Done, Epoch, HeadId, Holder, Incarnation, Outcome, PoolConfig,
    Timing, Work,
};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::*;
use crate::fence::shelf::Shelf;
use crate::fence::tests::wait_for;
use crate::fence::{COMMAND_LIFETIME, ClaimRequest, lease};

/// A cable that looks, whenever a frame goes out, whether the worker has its job already.
struct Witness {
    null: File,
    jobs: Arc<Mutex<Receiver<Job>>>,
    early: Arc<Mutex<Vec<Job>>>,
    frames: Arc<Mutex<usize>>,
}

impl Cable for Witness {
    fn fd(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }

    fn send(&mut self, _frame: &[u8]) -> io::Result<()> {
        *self.frames.lock().unwrap() += 1;
        let jobs = self.jobs.lock().unwrap();
        self.early.lock().unwrap().extend(jobs.try_iter());
        Ok(())
    }

    fn receive(&mut self, _buffer: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }
}

fn reset() -> Reset {
    let trigger = NamedTempFile::new().unwrap();
    Reset::open_at(trigger.path(), std::path::Path::new("/dev/null")).unwrap()
}

/// The heartbeat of a head that waits for its peer no longer, with one pool; what its worker is given, and when it is.
struct Bench {
    reactor: Reactor,
    now: Instant,
    jobs: Arc<Mutex<Receiver<Job>>>,
    early: Arc<Mutex<Vec<Job>>>,
    frames: Arc<Mutex<usize>>,
}

impl Bench {
    fn new(gates: Vec<Option<Gate>>) -> Bench {
        let booted = Instant::from_secs(100);
        let config = Config {
            cluster: ClusterId::from_name("lab"),
            me: HeadId::First,
            secret: [3; 32],
            digest: 1,
            timing: Timing::default(),
            pools: [PoolConfig {
                home: HeadId::First,
            }]
            .into_iter()
            .collect(),
        };
        let (worker, jobs) = sync_channel(4);
        let jobs = Arc::new(Mutex::new(jobs));
        let (early, frames) = (Arc::<Mutex<Vec<Job>>>::default(), Arc::default());
        let witness = Witness {
            null: File::open("/dev/null").unwrap(),
            jobs: jobs.clone(),
            early: early.clone(),
            frames: Arc::clone(&frames),
        };
        let mut reactor = Reactor {
            head: Head::new(config, Incarnation([7; 8]), booted),
            cables: [None, Some(Box::new(witness))],
            workers: vec![worker],
            watches: vec![WatchSlot::default()],
            ledgers: Vec::new(),
            recorded: [0; MAX_POOLS],
            gates,
            unseen: [false; MAX_POOLS],
            watchdog: None,
            reset: reset(),
            snapshot: Arc::default(),
            mailbox: Arc::default(),
            names: vec!["tank".to_owned()],
            lost: heapless::String::new(),
        };
        let now = booted + Timing::default().peer_wait + Duration::from_secs(1);
        reactor.head.handle_timeout(now);
        reactor.perform(now, &mut [0; FRAME_MAX_BYTES]);
        Bench {
            reactor,
            now,
            jobs,
            early,
            frames,
        }
    }

    /// The worker's next job.
    fn job(&self) -> Job {
        self.jobs.lock().unwrap().try_recv().unwrap()
    }

    /// The worker is done.
    fn done(&mut self, job: Job, done: Done) {
        let Job {
            pool,
            ticket,
            epoch,
            ..
        } = job;
        let result = Ok(done);
        let outcome = Outcome {
            pool,
            ticket,
            epoch,
            result,
        };
        self.reactor.head.handle_outcome(&outcome, self.now);
    }

    /// The heartbeat thread goes on.
    fn perform(&mut self) {
        self.reactor.perform(self.now, &mut [0; FRAME_MAX_BYTES]);
    }

    /// Time passes until something is due, and no action is carried out.
    fn pass(&mut self) {
        self.now = self.now.max(self.reactor.head.poll_timeout());
        self.reactor.keep_time(self.now);
        while self.reactor.head.poll_action().is_some() {}
    }

    fn surveyed(&mut self) {
        let survey = self.job();
        assert_eq!(survey.work, Work::Survey);
        let found = Done::Surveyed {
            greatest: Epoch(4),
            holder: Holder::Nobody,
        };
        self.done(survey, found);
    }
}

#[test]
fn the_peer_is_told_of_a_claim_before_the_worker_begins_it() {
    let mut bench = Bench::new(Vec::new());
    bench.surveyed();
    *bench.frames.lock().unwrap() = 0;
    bench.perform();
    assert_ne!(*bench.frames.lock().unwrap(), 0, "the claim is told");
    assert_eq!(*bench.early.lock().unwrap(), []);
    assert_eq!(bench.job().epoch, Epoch(5));
}

#[test]
fn a_gate_is_held_from_the_import_on_while_the_disks_are_seen() {
    let gate = match Gate::nowhere() {
        Ok(gate) => gate,
        Err(Errno::PERM) => {
            return eprintln!("SKIPPED: bpf needs the rights of root on the machine");
        }
        Err(error) => panic!("{error}"),
    };
    let mut bench = Bench::new(vec![Some(gate)]);
    let end = |bench: &Bench| bench.reactor.gates[0].as_ref().unwrap().end();
    bench.surveyed();
    bench.perform();
    let claim = bench.job();
    assert_eq!(
        end(&bench),
        Instant::MIN,
        "nothing is answered before the claim"
    );

    let shelf = Shelf::new(1);
    let fence = shelf.fence(1);
    let request = ClaimRequest {
        cluster: ClusterId::from_name("lab"),
        head: HeadId::First,
        epoch: claim.epoch,
        authority: Authority::Free,
        covers: Epoch::NONE,
        keeps: false,
        command_lifetime: COMMAND_LIFETIME,
        up: std::time::Duration::from_secs(100),
    };
    let key = fence.claim(&request).unwrap().key;
    let watch = fence.watch(key, Arc::new(|_| ()));
    let seen = |bench: &Bench| {
        let slot = bench.reactor.watches[0].lock().unwrap();
        slot.as_ref().unwrap().1.sees_disks(SHELF_UNSEEN)
    };
    *bench.reactor.watches[0].lock().unwrap() = Some((claim.epoch, watch));
    bench.done(claim, Done::Claimed);
    let held = bench.now + Timing::default().dead;
    wait_for(|| {
        bench.perform();
        (end(&bench) == held).then_some(())
    });

    // It does not run, and what was held before goes by; the disks fail, and it is not held again.
    shelf.disk(0).dead = true;
    wait_for(|| (!seen(&bench)).then_some(()));
    bench.now += Duration::from_millis(100);
    bench.perform();
    assert_eq!(end(&bench), held);
    assert!(!bench.reactor.answers(0), "and status says so");
    shelf.disk(0).dead = false;
    wait_for(|| {
        bench.perform();
        (end(&bench) == bench.now + Timing::default().dead).then_some(())
    });
}

#[test]
fn the_watchdog_is_fed_only_while_every_lease_holds() {
    let mut bench = Bench::new(Vec::new());
    let device = NamedTempFile::new().unwrap();
    bench.reactor.watchdog = Some(Watchdog::over(device.reopen().unwrap()));
    let fed = || device.as_file().metadata().unwrap().len();
    bench.pass();
    assert_eq!(fed(), 1, "it holds nothing");

    bench.surveyed();
    bench.perform();
    let claim = bench.job();
    let lease = lease::terms(10);
    let submitted = bench.now;
    bench.done(claim, Done::Leased { lease, submitted });
    let end = submitted + Duration::from_millis(u64::from(lease.lease_ms));
    while bench.reactor.head.poll_timeout() < end {
        let before = fed();
        bench.pass();
        assert_eq!(fed(), before + 1, "the lease holds");
    }
    // No record of it was written: it is over, and whatever else is done in time does not feed.
    let before = fed();
    for _ in 0..20 {
        bench.pass();
    }
    assert!(bench.now > end);
    assert_eq!(fed(), before, "the lease is over");
}
