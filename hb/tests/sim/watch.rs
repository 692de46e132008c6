//! The watch over a claim: `init/src/fence/watch.rs`.
//!
//! It reads without delays: what it finds out late is no more than what the fence on the disks has long decided.

use orthrus_hb::{Authority, Epoch, Key};

use crate::clock::{MS, Time};
use crate::event::{Event, Io, Origin};
use crate::world::World;

/// `INTERVAL` of the watch.
pub const INTERVAL: Time = 200 * MS;
/// Looks for each `PROBE_INTERVAL` of it.
pub const PROBES: u32 = 5;

/// The watch over a claim.
#[derive(Clone, Debug)]
pub struct Watch {
    pub epoch: Epoch,
    pub serial: u64,
    pub lost: bool,
    pub round: u32,
    /// When each disk was read last.
    pub read: Vec<Time>,
}

impl World {
    /// The watch reads every disk back.
    pub fn look(&mut self, who: usize, pool: usize, serial: u64) {
        let boot = self.machines[who].boot;
        let disks = self.disks_of(pool);
        let now = self.now;
        let id = self.machines[who].id;
        let machine = &mut self.machines[who];
        let Some(watch) = &mut machine.workers[pool].watch else {
            return;
        };
        if watch.serial != serial || watch.lost {
            return;
        }
        for (read, disk) in watch.read.iter_mut().zip(disks) {
            if self.disks[disk].answers_now(who, now) {
                *read = now;
            }
        }
        let epoch = watch.epoch;
        let own = Key {
            cluster: self.cluster,
            head: id,
            epoch,
        }
        .to_bits();
        let probe = watch.round.is_multiple_of(PROBES);
        let mut lost = false;
        for disk in self.disks_of(pool) {
            let nexus = self.machines[who].nexus[disk];
            let state = &self.disks[disk];
            // A disk that cannot be read is not a lost one.
            if !state.answers_now(who, now) {
                continue;
            }
            let seen = state.see();
            lost |= seen.holder != Some(own) || !seen.keys.contains(&own);
            lost |= probe && state.key_of(nexus).is_none();
            for bits in seen.keys.into_iter().filter(|bits| *bits != own) {
                match Key::from_bits(bits, self.cluster) {
                    Some(other) if other.epoch > epoch => lost = true,
                    Some(_) => self.remove_older(who, disk, own, bits),
                    None => {}
                }
            }
        }
        let Some(watch) = &mut self.machines[who].workers[pool].watch else {
            return;
        };
        watch.round += 1;
        if lost {
            watch.lost = true;
            self.trace(|| format!("{who} pool {pool}: the watch finds the fence lost"));
            if self.watch_resets {
                return self.reset(who, "the watch does it");
            }
        }
        self.at(
            self.now + INTERVAL,
            Event::Look {
                who,
                boot,
                pool,
                serial,
            },
        );
    }

    fn remove_older(&mut self, who: usize, disk: usize, own: u64, victim: u64) {
        for abort in [true, false] {
            let authority = Authority::Operator;
            let command = crate::shelf::Command::Preempt {
                own,
                victim,
                abort,
                authority,
            };
            let origin = Origin::Watch;
            let machine = &self.machines[who];
            let (boot, nexus) = (machine.boot, machine.nexus[disk]);
            let io = Io {
                who,
                boot,
                nexus,
                disk,
                command,
                origin,
            };
            self.execute(&io);
        }
    }
}
