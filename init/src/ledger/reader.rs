//! The readers: a thread a copy, each reads what the peer wrote, ten times a second.
//!
//! A thread reads its copy for ever, whatever disk that is on: it follows the metadata, and opens anew after an
//! error. On a disk that does not answer it blocks in the kernel, and no second one is ever started beside it. What does not
//! complete posts nothing, so that the silence of a disk is never the silence of the peer.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use embassy_time::Instant;
use orthrus_hb::ledger::{Record, SLOT_BLOCKS};
use tracing::{error, info, warn};

use super::Keeper;
use super::device::{Access, Device, Opener};
use super::region::{COPIES, Region};
use super::sight::{Sights, Wake};
use super::trouble::Trouble;
use crate::clock;
use crate::sync::lock;

/// How often a copy is read: more often than it is written (250 ms), and ten times in the limit of silence.
const INTERVAL: Duration = Duration::from_millis(100);

/// Pause after a read that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Age of the last completed read past which a copy does not count as read.
const READ_LIMIT: embassy_time::Duration = embassy_time::Duration::from_secs(3);

/// The readers of one pool's copies.
pub struct Readers {
    shared: Arc<Shared>,
}

/// What is known of one copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When the last read that completed was submitted.
    pub read: Option<Instant>,
    /// The peer's newest record in it.
    pub record: Option<Record>,
    /// When it was first seen there.
    pub since: Option<Instant>,
}

impl Seen {
    /// Whether a read ever completed.
    pub fn was_read(&self) -> bool {
        self.read.is_some()
    }

    /// Whether reads complete.
    pub fn is_read(&self, now: Instant) -> bool {
        self.read
            .is_some_and(|read| now.saturating_duration_since(read) < READ_LIMIT)
    }
}

struct Shared {
    pool: String,
    keeper: Keeper,
    opener: Opener,
    sights: Sights,
    copies: Mutex<[Copy; COPIES]>,
    changed: Condvar,
}

#[derive(Default)]
struct Copy {
    region: Option<Region>,
    started: bool,
    /// Since when this region is to be read.
    assigned: Option<Instant>,
    seen: Seen,
    trouble: Trouble,
}

impl Readers {
    /// Reads nothing yet.
    pub fn new(pool: &str, keeper: Keeper, opener: Opener, wake: Wake) -> Readers {
        Readers {
            shared: Arc::new(Shared {
                pool: pool.to_owned(),
                keeper,
                opener,
                sights: Sights::new(wake),
                copies: Mutex::default(),
                changed: Condvar::new(),
            }),
        }
    }

    /// Where readers post.
    pub fn sights(&self) -> &Sights {
        &self.shared.sights
    }

    /// From here on these are the copies.
    pub fn follow(&self, regions: &[Region]) {
        let shared = &self.shared;
        let mut copies = lock(&shared.copies);
        let mut forget = false;
        for (number, copy) in copies.iter_mut().enumerate() {
            let wanted = regions.iter().find(|region| region.copy == number);
            let same = match (&copy.region, wanted) {
                (Some(now), Some(wanted)) => now.is_same(wanted),
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            forget |= copy.region.is_some();
            *copy = Copy {
                region: wanted.cloned(),
                started: copy.started,
                assigned: Some(clock::now()),
                ..Copy::default()
            };
            if wanted.is_some() && !copy.started {
                let shared = shared.clone();
                let spawned = thread::Builder::new()
                    .name(format!("ledger read {number}"))
                    .spawn(move || shared.run(number));
                match spawned {
                    Ok(_) => copy.started = true,
                    Err(error) => error!(%error, "a copy of the ledger is not read"),
                }
            }
        }
        if forget {
            shared.sights.forget();
        }
        shared.changed.notify_all();
    }

    /// Says once when a copy does not answer; its own thread cannot.
    pub fn look(&self, now: Instant) {
        let shared = &self.shared;
        for copy in lock(&shared.copies).iter_mut() {
            let Some(region) = &copy.region else { continue };
            let since = copy.seen.read.max(copy.assigned);
            let late = since.is_none_or(|at| now.saturating_duration_since(at) >= READ_LIMIT);
            if late && copy.trouble.begins("does not answer", now) {
                shared.say(region, "does not answer");
            }
        }
    }

    /// What each copy shows; `None` for one that there is not.
    pub fn seen(&self) -> [Option<(Region, Seen, Option<String>)>; COPIES] {
        lock(&self.shared.copies).each_ref().map(|copy| {
            let region = copy.region.clone()?;
            Some((region, copy.seen, copy.trouble.text()))
        })
    }
}

impl Shared {
    /// The thread of a copy.
    fn run(&self, number: usize) {
        let mut device: Option<Device> = None;
        let mut pause = Duration::ZERO;
        loop {
            let region = self.wait(number, pause);
            if device
                .as_ref()
                .is_some_and(|d| !d.region().is_same(&region))
            {
                device = None;
            }
            let begun = clock::now();
            match self.read(&region, &mut device) {
                Ok(record) => self.saw(number, &region, record, begun),
                Err(error) => {
                    device = None;
                    self.failed(number, &region, &error);
                    pause = RETRY;
                    continue;
                }
            }
            let took = clock::now().saturating_duration_since(begun);
            pause = INTERVAL.saturating_sub(Duration::from_micros(took.as_micros()));
        }
    }

    /// Waits for the next read: `pause`, or less when something changed, or until there is a copy to read.
    fn wait(&self, number: usize, pause: Duration) -> Region {
        let copies = lock(&self.copies);
        let before = copies[number].region.clone();
        let (mut copies, _) = self
            .changed
            .wait_timeout_while(copies, pause, |copies| copies[number].region == before)
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(region) = &copies[number].region {
                return region.clone();
            }
            copies = self
                .changed
                .wait(copies)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn read(&self, region: &Region, device: &mut Option<Device>) -> io::Result<Option<Record>> {
        let open = match device {
            Some(open) => open,
            None => device.insert(Device::open(
                region,
                Access::Read,
                SLOT_BLOCKS,
                self.opener,
            )?),
        };
        open.read_record(self.keeper.me.peer(), self.keeper.secret.expose())
    }

    fn saw(&self, number: usize, region: &Region, record: Option<Record>, begun: Instant) {
        let mut copies = lock(&self.copies);
        let copy = &mut copies[number];
        // Else it is another one since the read began.
        if !copy.region.as_ref().is_some_and(|now| now.is_same(region)) {
            return;
        }
        if copy.seen.record != record || copy.seen.since.is_none() {
            copy.seen.since = Some(begun);
        }
        (copy.seen.read, copy.seen.record) = (Some(begun), record);
        if copy.trouble.ends() {
            let (pool, disk) = (&self.pool, &region.disk.name);
            info!(
                pool,
                "copy {number} of the ledger, on {disk}, is read again"
            );
        }
        self.sights.post(record, begun);
    }

    fn failed(&self, number: usize, region: &Region, error: &io::Error) {
        let mut copies = lock(&self.copies);
        let copy = &mut copies[number];
        if copy.region.as_ref().is_some_and(|now| now.is_same(region))
            && copy
                .trouble
                .begins(&format!("cannot be read: {error}"), clock::now())
        {
            self.say(region, &format!("cannot be read: {error}"));
        }
    }

    fn say(&self, region: &Region, what: &str) {
        let (pool, number, disk) = (&self.pool, region.copy, &region.disk.name);
        warn!(pool, "copy {number} of the ledger, on {disk}, {what}");
    }
}
