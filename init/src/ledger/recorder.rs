//! Puts the log into the flight record while this head holds the claim: its own lines, those from before too.
//!
//! One thread a pool, made with its first claim. It follows the log at its own pace and fills blocks; the copies'
//! writers bring them to the disks. A line is there within about half a second. What was said in the last moment
//! before a reset is not: a reset waits for nothing, and the kernel's log has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use orthrus_hb::Epoch;
use orthrus_hb::ledger::{BLOCK_BYTES, FLIGHT_BLOCKS, flight_block_of};
use rustix::time::{ClockId, clock_gettime};
use tracing::error;

use super::Keeper;
use super::device::{Access, Device, Opener};
use super::flight::{self, Block};
use super::packer::Packer;
use super::region::Region;
use super::writer::Writers;
use crate::clock;
use crate::disk::parallel;
use crate::log::{self, Batch, Level, Line};
use crate::sync::lock;

/// Pause between writes: lines come in bursts, and each write is a disk's time.
const INTERVAL: Duration = Duration::from_millis(400);

/// How long the thread waits for a line before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines from before the claim: half of what the ring holds, so that the last boot's end stays legible after a
/// takeover by the same head.
const LINES_BEFORE: usize = 200;

/// Lines taken at once.
const LINES_MAX: usize = 1000;

/// Characters of a line that are kept. Ours are shorter; the kernel's may be long.
const LINE_CHARS: usize = 500;

/// How long the copies may take to show where the ring goes on.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// The recorder of one pool.
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    keeper: Keeper,
    opener: Opener,
    writers: Arc<Writers>,
    task: Mutex<Option<Task>>,
    changed: Condvar,
    is_started: AtomicBool,
}

#[derive(Clone)]
struct Task {
    epoch: Epoch,
    regions: Vec<Region>,
}

impl Recorder {
    /// Records nothing yet.
    pub fn new(keeper: Keeper, opener: Opener, writers: Arc<Writers>) -> Recorder {
        Recorder {
            shared: Arc::new(Shared {
                keeper,
                opener,
                writers,
                task: Mutex::new(None),
                changed: Condvar::new(),
                is_started: AtomicBool::new(false),
            }),
        }
    }

    /// The claim of this epoch was granted to the writers. It ends with the grant.
    pub fn begin(&self, epoch: Epoch, regions: Vec<Region>) {
        // A thread that is at work on an earlier claim sees by itself that it is over.
        *lock(&self.shared.task) = Some(Task { epoch, regions });
        self.shared.changed.notify_all();
        if self.shared.is_started.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = self.shared.clone();
        let spawned = thread::Builder::new()
            .name("flight record".to_owned())
            .spawn(move || shared.run());
        if let Err(error) = spawned {
            error!(%error, "no flight record is written");
            self.shared.is_started.store(false, Ordering::SeqCst);
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let Task { epoch, regions } = self.wait();
            let newest = newest_block(&regions, &self.keeper, self.opener);
            let Keeper {
                me, incarnation, ..
            } = self.keeper;
            let mut packer = Packer::new(me, incarnation, booted_ms(), newest);
            let mut batch = log::follow(0, LINES_BEFORE, Duration::ZERO);
            // Until the grant is gone: then nobody would write it.
            while self.writers.granted() == Some(epoch) {
                let mut pages = Vec::new();
                for (number, line) in numbered(&batch) {
                    pages.extend(packer.add(number, &line));
                }
                pages.extend(packer.flush());
                for (place, block) in pages {
                    self.put(epoch, &regions, place, &block);
                }
                thread::sleep(INTERVAL);
                batch = log::follow(batch.next, LINES_MAX, PATIENCE);
            }
        }
    }

    fn wait(&self) -> Task {
        let mut task = lock(&self.task);
        loop {
            match task.take() {
                Some(task) => return task,
                None => {
                    task = self
                        .changed
                        .wait(task)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn put(&self, epoch: Epoch, regions: &[Region], place: usize, block: &Block) {
        // All copies are of one pool.
        let Some(region) = regions.first() else {
            return;
        };
        let page = flight::encode(block, &region.place, self.keeper.secret.expose());
        self.writers.put_page(epoch, place, page);
    }
}

/// The lines that are recorded, with their numbers.
fn numbered(batch: &Batch) -> Vec<(u64, Line)> {
    let first = batch.next - batch.lines.len() as u64;
    (first..)
        .zip(&batch.lines)
        .filter(|(_, line)| line.level <= Level::Info)
        .map(|(number, line)| {
            let text = line.text.chars().take(LINE_CHARS).collect();
            (
                number,
                Line {
                    text,
                    ..line.clone()
                },
            )
        })
        .collect()
}

/// Sequence and place of the newest block of this head on any copy.
fn newest_block(regions: &[Region], keeper: &Keeper, opener: Opener) -> Option<(u64, usize)> {
    let me = keeper.me;
    let keeper = keeper.clone();
    let copies = parallel::each(regions, READ_LIMIT, move |region| {
        let mut device = Device::open(region, Access::Read, FLIGHT_BLOCKS, opener).ok()?;
        let bytes = device.read(flight_block_of(me)).ok()?;
        newest_in(bytes, region, &keeper)
    });
    copies.into_iter().flatten().flatten().max()
}

fn newest_in(bytes: &[u8], region: &Region, keeper: &Keeper) -> Option<(u64, usize)> {
    let blocks = bytes.chunks_exact(BLOCK_BYTES).enumerate();
    let blocks = blocks.filter_map(|(place, bytes)| {
        let block = flight::decode(bytes, &region.place, keeper.secret.expose()).ok()?;
        (block.head == keeper.me).then_some((block.sequence, place))
    });
    blocks.max()
}

/// When the kernel started, in milliseconds since 1970, as far as the clock can be believed.
fn booted_ms() -> Option<u64> {
    let up = clock_gettime(ClockId::Monotonic);
    // Not negative.
    let up = up.tv_sec as u64 * 1000 + up.tv_nsec as u64 / 1_000_000;
    Some(clock::unix_ms()?.saturating_sub(up))
}
