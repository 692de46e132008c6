//! The way of a command from a head to a disk and back, and what befalls it there.

use orthrus_hb::{Epoch, Key};

use crate::clock::{MS, SECOND, Time};
use crate::event::{Event, Io, Origin};
use crate::region::{Region, mixed};
use crate::shelf::{Accepted, Answer, Command, Content, LIFETIME, Word, Write};
use crate::world::World;

/// Reads of the ledger that meet a write half-way, in a thousand; of disks without reservations as well, where more
/// depends on them.
const HALF_WRITTEN: [u64; 2] = [20, 300];
/// Records on disks without reservations that meet the disk's own error recovery, in a thousand, amid a storm of faults.
const RECORDS_LINGER: u64 = 4;

impl World {
    /// A head sends a command to a disk.
    pub fn submit(&mut self, who: usize, disk: usize, command: Command, origin: Origin) {
        let machine = &self.machines[who];
        let (boot, nexus) = (machine.boot, machine.nexus[disk]);
        let io = Box::new(Io {
            who,
            boot,
            nexus,
            disk,
            command,
            origin,
        });
        let wire = self.rng.range(30, 300) + self.slowness(disk);
        self.at(self.now + wire, Event::Arrive(io));
    }

    fn slowness(&mut self, disk: usize) -> Time {
        match self.disks[disk].slow {
            0 => 0,
            most => self.rng.below(most),
        }
    }

    fn reply(&mut self, io: Box<Io>, answer: Answer) {
        let wire = self.rng.range(30, 300);
        self.at(self.now + wire, Event::Reply { io, answer });
    }

    pub fn arrive(&mut self, io: Box<Io>) {
        let disk = &self.disks[io.disk];
        // The session that sent it is gone, and with it the command.
        if self.machines[io.who].boot != io.boot {
            return;
        }
        // What a lease has waited for is counted from the reset on.
        if self.plain && self.machines[io.who].head.is_none() {
            return;
        }
        if self.machines[io.who].nexus[io.disk] != io.nexus || !disk.answers(io.who) {
            let after = self.rng.range(MS, SECOND);
            self.at(
                self.now + after,
                Event::Reply {
                    io,
                    answer: Answer::Failed,
                },
            );
            return;
        }
        let silent_until = disk.silent_until[io.who];
        if silent_until > self.now {
            // It waits in the head's own adapter, and ends with it.
            if self.machines[io.who].head.is_none() {
                return;
            }
            // Looked at again and again, since the silence may be mended before its time.
            let next = silent_until.min(self.now + 50 * MS);
            return self.at(next, Event::Arrive(io));
        }
        let reads = matches!(io.command, Command::Read | Command::ReadLedger);
        let writes = matches!(io.command, Command::Write(_));
        if !reads && self.rng.chance(self.flaky) {
            // A unit attention, or a command that was lost: no effect.
            return self.reply(io, Answer::Failed);
        }
        let answer = self.execute(&io);
        match answer {
            Some(_) if !reads && !writes && self.rng.chance(self.flaky) => {
                // Carried out, retried by the kernel, and answered by what the retry met.
                let answer = self.rng.pick(&[0, 1]);
                let answer = [Answer::Conflict, Answer::Failed][answer].clone();
                self.reply(io, answer);
            }
            Some(answer) => self.reply(io, answer),
            None => {}
        }
    }

    /// Carries out a command at its disk. `None`: a write that was accepted and will land.
    pub fn execute(&mut self, io: &Io) -> Option<Answer> {
        let (now, disk) = (self.now, io.disk);
        let pool = disk / self.disks_per_pool;
        match io.command {
            Command::Write(write) => {
                if !self.disks[disk].may_write(io.nexus) {
                    return Some(Answer::Conflict);
                }
                self.ids += 1;
                let (id, nexus) = (self.ids, io.nexus);
                self.disks[disk]
                    .accepted
                    .push(Accepted { id, nexus, write });
                let data = matches!(write.content, Content::Data { .. });
                // A lease does not outlive records that all linger.
                let lingers = match data || !self.plain {
                    true => self.disks[disk].lingers,
                    false => 0,
                };
                // Most are quick; a few clients' meet the disk's own error recovery.
                let service = match data && self.rng.chance(3) || self.record_lingers(&write) {
                    true => self.rng.below(LIFETIME - SECOND),
                    false => self.rng.range(50, 3 * MS) + self.rng.below(lingers.max(1)),
                };
                self.at(
                    now + service,
                    Event::Land {
                        id,
                        io: Box::new(io.clone()),
                    },
                );
                None
            }
            Command::Preempt {
                own,
                victim,
                authority,
                ..
            } => {
                let there = self.disks[disk].has_key(victim);
                let answer = self.disks[disk].execute(io.nexus, &io.command);
                if there && !self.disks[disk].has_key(victim) {
                    self.trace(|| {
                        format!(
                            "{} disk {disk}: {own:x} removes {victim:x}: {:?}",
                            io.who, io.command
                        )
                    });
                    let cluster = self.cluster;
                    let keys = (own, victim);
                    self.checks
                        .preempted(pool, keys, authority, cluster, &self.machines);
                }
                Some(answer)
            }
            Command::Register { .. } | Command::Reserve(_) | Command::Release(_) => {
                let answer = self.disks[disk].execute(io.nexus, &io.command);
                self.trace(|| format!("{} disk {disk}: {:x?}: {answer:?}", io.who, io.command));
                self.note_keys(pool);
                Some(answer)
            }
            Command::ReadLedger => {
                let mut answer = self.disks[disk].execute(io.nexus, &io.command);
                if let Answer::Slots(region) = &mut answer {
                    if self.rng.chance(HALF_WRITTEN[usize::from(self.plain)]) {
                        self.half_written(disk, region);
                    }
                    self.told_by_copy(disk, region);
                }
                Some(answer)
            }
            Command::Read => Some(self.disks[disk].execute(io.nexus, &io.command)),
        }
    }

    fn record_lingers(&mut self, write: &Write) -> bool {
        self.plain
            && matches!(write.content, Content::Record(_))
            && self.director.storms(self.now)
            && self.rng.chance(RECORDS_LINGER)
    }

    /// Whether any key of a pool is left.
    pub fn note_keys(&mut self, pool: usize) {
        if self.plain {
            return;
        }
        let mut disks = self.disks_of(pool);
        if disks.all(|disk| self.disks[disk].registrants.is_empty()) {
            self.checks.keys_gone(pool);
        }
    }

    /// A read meets a write that is just being carried out.
    fn half_written(&mut self, disk: usize, region: &mut Region) {
        for accepted in &self.disks[disk].accepted {
            if let Content::Record(record) = &accepted.write.content {
                let old = &mut region.0[record.place];
                *old = mixed(old, &record.block, &mut self.rng);
            }
        }
    }

    pub fn land(&mut self, id: u64, io: Box<Io>) {
        let accepted = &mut self.disks[io.disk].accepted;
        let Some(place) = accepted.iter().position(|task| task.id == id) else {
            // Aborted, or lost with the power: the initiator finds out in time.
            self.at(
                self.now + SECOND,
                Event::Reply {
                    io,
                    answer: Answer::Failed,
                },
            );
            return;
        };
        let write = accepted.remove(place).write;
        self.landed(io.disk, write);
        self.reply(io, Answer::Good);
    }

    fn landed(&mut self, disk: usize, write: Write) {
        let pool = disk / self.disks_per_pool;
        let forgotten = self.checks.held[pool].is_some_and(|held| {
            let (cluster, epoch) = (self.cluster, held.epoch);
            let head = self.machines[held.who].id;
            !self.disks[disk].has_key(
                Key {
                    cluster,
                    head,
                    epoch,
                }
                .to_bits(),
            )
        });
        let by_worker = match write.content {
            Content::Record(record) => record.word != Word::Beat,
            Content::Proof | Content::Data { .. } => false,
        };
        // A head's own slot: whoever claims by a lease writes there before the claim, and after it.
        if !by_worker {
            let forgotten = forgotten && !self.plain;
            self.checks.landed(pool, &write, forgotten, self.plain);
        }
        match write.content {
            Content::Proof => {}
            Content::Record(record) => {
                let epoch = Epoch(record.epoch);
                self.disks[disk].record(record.place, record.block);
                match record.word {
                    Word::Beat => {
                        self.checks.recorded(pool, epoch);
                        self.note_term(disk, &write, record.sequence);
                    }
                    Word::LetsGo => self.checks.let_go(pool, (write.who, write.boot), epoch),
                    Word::Claims => {}
                }
            }
            Content::Data { block, version } => {
                let block = &mut self.clients[pool].blocks[block];
                block.medium = version;
                self.checks.promised(block);
            }
        }
    }
}
