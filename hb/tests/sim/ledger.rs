//! A pool's ledger on one head: what `init/src/ledger` does around the core's records and sights.
//!
//! - A reader a copy reads the slots ten times a second, as long as the head's kernel runs. What does not
//!   complete is not told. What completes is joined into one latest value for the heartbeat thread.
//! - A writer a copy takes the newest record of the heartbeat thread, one at a time, while the claim is held.

use embassy_time::{Duration, Instant};
use orthrus_hb::ledger::{self, Place, Record, SLOT_BLOCKS};
use orthrus_hb::{Epoch, HeadId, PoolId, Sight};

use crate::clock::{MS, SECOND, Time};
use crate::event::{Event, Origin};
use crate::region::{Block, Region};
use crate::shelf::{Answer, Command, Content, RecordWrite, Word, Write};
use crate::world::{SECRET, World};

/// `INTERVAL` of the readers.
pub const INTERVAL: Time = 100 * MS;
/// `RETRY` of the readers.
pub const RETRY: Time = SECOND;
/// `READ_LIMIT` of the readers.
pub const READ_LIMIT: Duration = Duration::from_secs(3);
/// `BEHIND_LIMIT` of the sights.
pub const BEHIND_LIMIT: Duration = Duration::from_secs(2);
/// `STALE` of the writers.
pub const STALE: Duration = Duration::from_secs(1);

/// What the heartbeat thread takes.
#[derive(Clone, Copy, Debug)]
pub enum News {
    Sight(Sight),
    NoLedger,
}

#[derive(Default)]
pub struct Ledger {
    /// The pool's metadata were read in this boot.
    is_known: bool,
    readers: Vec<Reader>,
    sights: Sights,
    grant: Option<Epoch>,
    /// The newest record that was handed over, its number, and when.
    latest: Option<(u64, Record, Instant)>,
    handed: u64,
    writers: Vec<Writer>,
    /// What was told to the heartbeat thread, as the oracle needs it.
    pub told: Told,
}

/// A reader remembers what it decoded: most blocks do not change between two reads.
#[derive(Clone)]
struct Reader {
    /// When the last read that completed was submitted.
    read: Option<Instant>,
    decoded: [Option<(Block, Option<Record>)>; SLOT_BLOCKS],
}

#[derive(Clone, Default)]
struct Writer {
    /// Number of the record that it wrote last.
    done: u64,
    busy: bool,
    /// Sequence of the record that is under way, and of the last that is on the disk.
    writing: u64,
    recorded: u64,
}

#[derive(Default)]
struct Sights {
    newest: Option<Record>,
    confirmed: Option<Instant>,
    news: Option<News>,
}

/// What a head's core was told of the peer by a ledger, in its own time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// The peer's newest record.
    pub newest: Option<Record>,
    /// It is another one than was told before, of the same boot.
    pub changed: bool,
    /// When that was told.
    pub ticked: Option<Instant>,
    /// The same in true time.
    pub ticked_at: Time,
    /// How often this head's clock has jumped since that tick: each may count for half of what is silence.
    pub jumps: u32,
    /// Submission of the last read.
    pub read: Option<Instant>,
    /// Reads since that tick.
    pub reads: u32,
    /// Since when reads come without a gap, in true time.
    pub steady_since: Time,
    /// When the last one came, in true time.
    pub last_at: Time,
}

impl Told {
    fn note(&mut self, sight: &Sight, local: Instant, now: Time) {
        let order = |record: Record| (record.epoch, record.sequence);
        if now > self.last_at + 500 * MS {
            self.steady_since = now;
        }
        self.last_at = now;
        self.read = self.read.max(Some(sight.begun));
        match (sight.peer, self.newest) {
            (Some(seen), Some(newest)) if order(seen) <= order(newest) => self.reads += 1,
            (None, _) => self.reads += 1,
            (Some(seen), before) => {
                self.changed = before.is_some_and(|b| b.incarnation == seen.incarnation);
                self.newest = Some(seen);
                self.ticked = Some(local);
                self.ticked_at = now;
                (self.reads, self.jumps) = (0, 0);
            }
        }
    }
}

impl Sights {
    fn post(&mut self, peer: Option<Record>, begun: Instant) {
        let age = |record: Option<Record>| record.map(|record| (record.epoch, record.sequence));
        if age(peer) < age(self.newest) {
            let behind = |at: Instant| begun.saturating_duration_since(at) < BEHIND_LIMIT;
            if self.confirmed.is_some_and(behind) {
                return;
            }
        } else {
            (self.newest, self.confirmed) = (peer, self.confirmed.max(Some(begun)));
        }
        let peer = self.newest;
        let begun = match self.news {
            Some(News::Sight(before)) => begun.max(before.begun),
            _ => begun,
        };
        self.news = Some(News::Sight(Sight { peer, begun }));
    }
}

impl Ledger {
    pub fn new(copies: usize) -> Ledger {
        let reader = Reader {
            read: None,
            decoded: [const { None }; SLOT_BLOCKS],
        };
        Ledger {
            readers: vec![reader; copies],
            writers: vec![Writer::default(); copies],
            ..Ledger::default()
        }
    }

    /// Nothing may be written any more.
    pub fn revoke(&mut self) {
        (self.grant, self.latest) = (None, None);
    }

    /// Nothing is.
    pub fn is_quiet(&self) -> bool {
        self.writers.iter().all(|writer| !writer.busy)
    }

    /// Whether copies were read, and none is any more.
    pub fn fell_silent(&self, now: Instant) -> bool {
        let newest = self.readers.iter().filter_map(|reader| reader.read).max();
        newest.is_some_and(|read| now.saturating_duration_since(read) >= READ_LIMIT)
    }

    /// For the heartbeat thread: up to which record more than half of the copies have them.
    pub fn recorded(&self) -> Option<u64> {
        self.grant?;
        let mut recorded: Vec<u64> = self.writers.iter().map(|writer| writer.recorded).collect();
        recorded.sort_unstable_by(|a, b| b.cmp(a));
        let recorded = recorded.get(self.writers.len() / 2).copied();
        recorded.filter(|sequence| *sequence > 0)
    }

    /// For the heartbeat thread.
    pub fn take_news(&mut self, local: Instant, now: Time) -> Option<News> {
        let news = self.sights.news.take();
        if let Some(News::Sight(sight)) = &news {
            self.told.note(sight, local, now);
        }
        news
    }

    /// For the heartbeat thread: a record to write.
    fn offer(&mut self, record: Record, now: Instant) {
        if self.grant == Some(record.epoch) {
            self.handed += 1;
            self.latest = Some((self.handed, record, now));
        }
    }
}

impl World {
    fn place(&self, pool: usize) -> Place {
        Place {
            cluster: self.cluster,
            pool: [pool as u8 + 1; 16],
        }
    }

    /// The greatest epoch of all valid records of both heads.
    pub fn greatest_recorded<'a>(
        &self,
        pool: usize,
        regions: impl Iterator<Item = &'a Region>,
    ) -> Epoch {
        let place = self.place(pool);
        let records = regions
            .flat_map(|region| &region.0)
            .filter_map(|block| ledger::decode(block, &place, &SECRET).ok());
        let epochs = records.map(|record| record.epoch);
        epochs.max().unwrap_or(Epoch::NONE)
    }

    /// The newest record of a head's peer in any of these copies.
    pub fn peers_record<'a>(
        &self,
        who: usize,
        pool: usize,
        regions: impl Iterator<Item = &'a Region>,
    ) -> Option<Record> {
        let place = self.place(pool);
        let blocks = regions.flat_map(|region| &region.0);
        let records: Vec<Record> = blocks
            .filter_map(|block| ledger::decode(block, &place, &SECRET).ok())
            .collect();
        ledger::newest(&records, self.machines[who].id.peer())
    }

    /// A record as it goes to a disk.
    pub fn record_write(&self, pool: usize, record: &Record, word: Word) -> RecordWrite {
        RecordWrite {
            epoch: record.epoch.0,
            sequence: record.sequence,
            place: ledger::block_of(record.head, record.sequence),
            block: ledger::encode(record, &self.place(pool), &SECRET),
            word,
        }
    }

    /// The pool's metadata were read: there is a ledger, or there is none.
    pub fn follow_ledger(&mut self, who: usize, pool: usize) {
        let boot = self.machines[who].boot;
        let copies = self.copies[pool].len();
        let ledger = &mut self.machines[who].workers[pool].ledger;
        if copies == 0 {
            ledger.sights.news = Some(News::NoLedger);
            return self.wake(who, self.now);
        }
        if std::mem::replace(&mut ledger.is_known, true) {
            return;
        }
        for copy in 0..copies {
            let read = Event::Read {
                who,
                boot,
                pool,
                copy,
            };
            self.at(self.now, read);
        }
    }

    /// A reader's time has come.
    pub fn read_ledger(&mut self, who: usize, pool: usize, copy: usize) {
        let disk = self.copies[pool][copy];
        let begun = self.machines[who].clock.read(self.now);
        let origin = Origin::Reader {
            pool,
            copy,
            begun,
            submitted: self.now,
        };
        self.submit(who, disk, Command::ReadLedger, origin);
    }

    /// A read ended, well or not.
    pub fn ledger_read(&mut self, who: usize, origin: Origin, answer: &Answer) {
        let Origin::Reader {
            pool,
            copy,
            begun,
            submitted,
        } = origin
        else {
            return;
        };
        let boot = self.machines[who].boot;
        let next = match answer {
            Answer::Slots(region) => {
                let peer = self.decode(who, pool, copy, region);
                let ledger = &mut self.machines[who].workers[pool].ledger;
                ledger.readers[copy].read = Some(begun);
                let sights = &mut ledger.sights;
                sights.post(peer, begun);
                // A read that says nothing wakes nobody.
                if sights.news.is_some() {
                    self.wake(who, self.now);
                }
                submitted + INTERVAL
            }
            _ => self.now + RETRY,
        };
        let read = Event::Read {
            who,
            boot,
            pool,
            copy,
        };
        self.at(next, read);
    }

    /// The peer's newest record in a copy.
    fn decode(&mut self, who: usize, pool: usize, copy: usize, region: &Region) -> Option<Record> {
        let place = self.place(pool);
        let peer: HeadId = self.machines[who].id.peer();
        let reader = &mut self.machines[who].workers[pool].ledger.readers[copy];
        let mut records = heapless::Vec::<Record, SLOT_BLOCKS>::new();
        for (block, decoded) in region.0.iter().zip(&mut reader.decoded) {
            let record = match decoded {
                Some((before, record)) if before == block => *record,
                _ => {
                    let record = ledger::decode(block, &place, &SECRET).ok();
                    *decoded = Some((*block, record));
                    record
                }
            };
            let _ = record.map(|record| records.push(record)); // a place for each block
        }
        ledger::newest(&records, peer)
    }

    /// The claim is held, and the metadata were read after it.
    pub fn grant_ledger(&mut self, who: usize, pool: usize, epoch: Epoch) {
        let ledger = &mut self.machines[who].workers[pool].ledger;
        ledger.latest = None;
        ledger.grant = Some(epoch);
        let writers = ledger.writers.iter_mut();
        writers.for_each(|writer| writer.recorded = 0);
    }

    /// The heartbeat thread has run: what it has to say goes to the writers.
    pub fn offer_records(&mut self, who: usize) {
        for pool in 0..self.clients.len() {
            let now = self.machines[who].clock.read(self.now);
            let machine = &mut self.machines[who];
            let Some(head) = machine.head.as_mut() else {
                return;
            };
            let Some(record) = head.poll_record(PoolId(pool as u8), now) else {
                continue;
            };
            let worker = &mut machine.workers[pool];
            worker.ledger.offer(record, now);
            if let Some(term) = &mut worker.term {
                term.handed(record.sequence, now);
            }
            for copy in 0..self.copies[pool].len() {
                self.write_ledger(who, pool, copy);
            }
        }
    }

    /// A writer that has nothing under way looks for something to write.
    fn write_ledger(&mut self, who: usize, pool: usize, copy: usize) {
        let machine = &mut self.machines[who];
        let now = machine.clock.read(self.now);
        let (boot, worker) = (machine.boot, &mut machine.workers[pool]);
        let (attempt, ledger) = (worker.attempt, &mut worker.ledger);
        let writer = &mut ledger.writers[copy];
        let Some((number, record, handed)) = ledger.latest.filter(|_| !writer.busy) else {
            return;
        };
        if number <= writer.done {
            return;
        }
        writer.done = number;
        if now.saturating_duration_since(handed) >= STALE {
            return;
        }
        writer.busy = true;
        writer.writing = record.sequence;
        let content = Content::Record(self.record_write(pool, &record, Word::Beat));
        let write = Write {
            who,
            boot,
            attempt,
            content,
        };
        let disk = self.copies[pool][copy];
        self.submit(
            who,
            disk,
            Command::Write(write),
            Origin::Writer { pool, copy },
        );
    }

    /// A write ended, well or not.
    pub fn ledger_written(&mut self, who: usize, pool: usize, copy: usize, answer: &Answer) {
        let writer = &mut self.machines[who].workers[pool].ledger.writers[copy];
        writer.busy = false;
        if *answer == Answer::Good {
            writer.recorded = writer.writing;
        }
        self.write_ledger(who, pool, copy);
        self.quieted(who, pool);
    }
}
