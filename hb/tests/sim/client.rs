//! One pool's client: writes blocks through whoever serves, tries again what was not acknowledged,
//! and remembers what was.
//!
//! Versions of a block only grow, and one is under way at a time, so an old version that reaches
//! the medium over a newer acknowledged one shows at once.

use crate::clock::{MS, SECOND, Time};
use crate::shelf::{Answer, Command, Content, Write};
use crate::world::{Event, Origin, World};

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
    /// Where it was sent last, and when: one boot of one head.
    sent: Option<(usize, u32, Time)>,
    /// Attempts that the kernel of that boot has not ended.
    open: u32,
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
            .find(|&who| self.machines[who].runs() && self.machines[who].workers[pool].exported);
        let Some(who) = serving else { return };
        let boot = self.machines[who].boot;
        let now = self.now;
        let block = &mut self.clients[pool].blocks[index];
        if block.acknowledged || block.version == 0 {
            block.version += 1;
            block.acknowledged = false;
        } else if let Some((to, which, when)) = block.sent {
            // Its session to that boot aborts the old attempt first, which waits for its end.
            let same = (to, which) == (who, boot);
            if same && block.open > 0 || now < when + SECOND {
                return;
            }
        }
        if block
            .sent
            .is_none_or(|(to, which, _)| (to, which) != (who, boot))
        {
            block.open = 0;
        }
        block.open += 1;
        block.sent = Some((who, boot, now));
        let version = block.version;
        let worker = &mut self.machines[who].workers[pool];
        let epoch = worker.claim.map_or(0, |epoch| epoch.0);
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
            epoch,
            content,
        };
        self.submit(who, disk, Command::Write(write), Origin::Client { pool });
    }

    /// The kernel of a head ended a client's write; the head answers.
    pub fn client_answered(&mut self, pool: usize, write: Write, answer: &Answer) {
        let Content::Data { block, version } = write.content else {
            return;
        };
        let (now, who) = (self.now, write.who);
        let client = &mut self.clients[pool];
        let block = &mut client.blocks[block];
        if block
            .sent
            .is_some_and(|(to, boot, _)| (to, boot) == (who, write.boot))
        {
            block.open = block.open.saturating_sub(1);
        }
        if *answer == Answer::Good && version == block.version {
            block.acknowledged = true;
            block.promised = version;
            client.acknowledged += 1;
            client.last_acknowledged = now;
            self.checks.promised(block);
        }
        self.drained(who, pool);
    }
}
