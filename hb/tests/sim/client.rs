//! One pool's client: writes blocks through whoever serves, tries again what was not acknowledged,
//! and remembers what was.
//!
//! Versions of a block only grow, and one is under way at a time, so an old version that reaches
//! the medium over a newer acknowledged one shows at once.

use crate::clock::{MS, SECOND, Time};
use crate::event::{Event, Origin};
use crate::shelf::{Answer, Command, Content, Write};
use crate::world::World;

/// Blocks that a client writes, spread over the pool's disks.
const BLOCKS: usize = 8;

#[derive(Clone, Copy, Default)]
pub struct Block {
    /// The newest version that was sent.
    pub version: u64,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
    /// The newest version that was ever acknowledged.
    pub promised: u64,
    /// On the medium.
    pub medium: u64,
    /// When it was sent last.
    sent: Time,
    /// By head: a boot of it, and how many attempts its kernel has not ended.
    open: [(u32, u32); 2],
}

#[derive(Default)]
pub struct Client {
    pub blocks: [Block; BLOCKS],
    pub acknowledged: u64,
    pub last_acknowledged: Time,
}

impl World {
    /// The client does something.
    pub fn client(&mut self, pool: usize) {
        let next = self.now + self.rng.range(60 * MS, 500 * MS);
        self.at(next, Event::Client { pool });
        let index = self.rng.index(BLOCKS);
        // A stale neighbour entry leads to a former owner that still answers.
        let first = self.rng.index(2);
        let serving = [first, 1 - first]
            .into_iter()
            .find(|&who| self.serves(who, pool) && self.carrier[who]);
        let Some(who) = serving else { return };
        let boot = self.machines[who].boot;
        let now = self.now;
        let block = &mut self.clients[pool].blocks[index];
        let (of, open) = block.open[who];
        let open = if of == boot { open } else { 0 };
        if block.acknowledged || block.version == 0 {
            block.version += 1;
            block.acknowledged = false;
        } else if open > 0 || now < block.sent + SECOND {
            // Its session to this head aborts the old attempt first, which waits for its end.
            return;
        }
        block.open[who] = (boot, open + 1);
        block.sent = now;
        let version = block.version;
        let worker = &mut self.machines[who].workers[pool];
        let attempt = worker.attempt;
        worker.in_flight += 1;
        let disks = self.disks_of(pool);
        let disk = disks.start + index % disks.len();
        let content = Content::Data {
            block: index,
            version,
        };
        let write = Write {
            who,
            boot,
            attempt,
            content,
        };
        self.submit(who, disk, Command::Write(write), Origin::Client { pool });
    }

    /// Whether a head answers clients of a pool.
    pub fn serves(&self, who: usize, pool: usize) -> bool {
        self.machines[who].runs() && self.machines[who].workers[pool].exported
    }

    /// The kernel of a head ended a client's write; the head answers.
    pub fn client_answered(&mut self, pool: usize, write: Write, answer: &Answer) {
        let Content::Data { block, version } = write.content else {
            return;
        };
        let (now, who) = (self.now, write.who);
        let client = &mut self.clients[pool];
        let block = &mut client.blocks[block];
        let (of, open) = &mut block.open[who];
        if *of == write.boot {
            *open -= 1;
        }
        if *answer == Answer::Good && version == block.version && self.carrier[who] {
            block.acknowledged = true;
            block.promised = version;
            client.acknowledged += 1;
            client.last_acknowledged = now;
            self.checks.promised(block);
        }
        self.drained(who, pool);
    }
}
