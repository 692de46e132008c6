//! The order in which the heartbeat thread does what the core asks for.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, sync_channel};

use embassy_time::Duration;
use orthrus_hb::{
    ClusterId, Config, Done, Epoch, HeadId, Holder, Incarnation, Outcome, PoolConfig, Timing, Work,
};

use super::*;

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
    let trigger = std::env::temp_dir().join(format!("orthrus-reactor-{}", std::process::id()));
    std::fs::write(&trigger, "").unwrap();
    let reset = Reset::open_at(&trigger, std::path::Path::new("/dev/null")).unwrap();
    std::fs::remove_file(&trigger).unwrap();
    reset
}

#[test]
fn the_peer_is_told_of_a_claim_before_the_worker_begins_it() {
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
        watches: Vec::new(),
        ledgers: Vec::new(),
        recorded: [0; MAX_POOLS],
        gates: Vec::new(),
        watchdog: None,
        reset: reset(),
        snapshot: Arc::default(),
        mailbox: Arc::default(),
        names: vec!["tank".to_owned()],
        lost: heapless::String::new(),
    };
    let mut buffer = [0; FRAME_MAX_BYTES];
    let now = booted + Timing::default().peer_wait + Duration::from_secs(1);
    reactor.head.handle_timeout(now);
    reactor.perform(now, &mut buffer);
    let survey = jobs.lock().unwrap().try_recv().unwrap();
    assert_eq!(survey.work, Work::Survey);
    reactor.head.handle_outcome(
        &Outcome {
            pool: survey.pool,
            ticket: survey.ticket,
            epoch: survey.epoch,
            result: Ok(Done::Surveyed {
                greatest: Epoch(4),
                holder: Holder::Nobody,
            }),
        },
        now,
    );
    *frames.lock().unwrap() = 0;
    reactor.perform(now, &mut buffer);
    assert_ne!(*frames.lock().unwrap(), 0, "the claim is told");
    assert_eq!(*early.lock().unwrap(), []);
    let claim = jobs.lock().unwrap().try_recv().unwrap();
    assert_eq!(claim.epoch, Epoch(5));
}
