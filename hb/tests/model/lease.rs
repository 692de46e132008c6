//! A pool whose disks have no reservations: it is claimed by a lease in its ledger, as `init/src/fence/lease.rs` does.
//!
//! Nothing keeps a former owner from the disks but itself: [`Disk`] only remembers here who claimed them last, and every
//! disk accepts every write. A head whose path to the ledger is cut can neither read nor write there.
//!
//! Nobody is frozen in such a world, as no lease covers that; what a head has under way when it ends is left out, and so
//! is a worker that is slow between its look and its write, which takes its claim back.

use std::cmp::Ordering;

use embassy_time::Instant;
use orthrus_hb::ledger::{Lease, Record};
use orthrus_hb::{
    Authority, Done, Epoch, Failure, HeadId, Holder, Incarnation, Job, PoolState, Work,
};

use crate::shelf::{DISKS, Disk};
use crate::timing::{BEAT, LEASE, SETTLE, WATCHDOG};
use crate::worker::{Deed, Worker};

/// What a worker has in hand, besides the disks.
pub struct Slots<'a> {
    pub records: &'a mut [Option<Record>; 2],
    /// It can be read and written.
    pub reachable: bool,
    pub id: HeadId,
    pub incarnation: Incarnation,
    pub now: Instant,
}

/// What makes a record another one.
pub type Seen = (Incarnation, u64);

fn terms() -> Lease {
    let ms = |beats: u32| (BEAT * beats).as_millis() as u32;
    Lease {
        lease_ms: ms(LEASE),
        watchdog_ms: ms(WATCHDOG),
        io_ms: ms(1),
        watchdog_armed: true,
    }
}

impl Worker {
    /// One step of a survey, a claim or a release; of an import nothing is different.
    pub fn advance_by_lease(
        &mut self,
        who: usize,
        disks: &mut [Disk; DISKS],
        slots: &mut Slots<'_>,
        job: &Job,
        deed: &mut impl FnMut(Deed, &[Disk; DISKS]),
    ) -> Option<Result<Done, Failure>> {
        if !slots.reachable {
            return Some(Err(Failure::Device));
        }
        let peer = slots.records[1 - who];
        let held = peer.filter(|record| record.state.may_hold());
        match job.work {
            Work::Survey => {
                let records = slots.records.iter().flatten().map(|record| record.epoch);
                let stamps = disks.iter().map(|disk| disk.stamp);
                Some(Ok(Done::Surveyed {
                    greatest: records.chain(stamps).max().unwrap_or(Epoch::NONE),
                    holder: held.map_or(Holder::Nobody, |held| Holder::Peer(held.epoch)),
                }))
            }
            Work::Claim { authority, covers } => {
                let right = (authority, covers);
                let result = self.claim_by_lease(who, disks, slots, job.epoch, right, deed);
                if matches!(result, Some(Err(_))) && self.step > CLAIM_WRITES {
                    slots.write(who, job.epoch, PoolState::Standby, u64::MAX);
                }
                result
            }
            // Nothing of it is in this kernel any more, and its slot says so.
            _ => {
                slots.write(who, job.epoch, PoolState::Standby, u64::MAX);
                self.let_go(who, disks, job.epoch);
                deed(Deed::Released, disks);
                Some(Ok(Done::Released))
            }
        }
    }

    fn claim_by_lease(
        &mut self,
        who: usize,
        disks: &mut [Disk; DISKS],
        slots: &mut Slots<'_>,
        epoch: Epoch,
        (authority, covers): (Authority, Epoch),
        deed: &mut impl FnMut(Deed, &[Disk; DISKS]),
    ) -> Option<Result<Done, Failure>> {
        let peer = slots.records[1 - who];
        let held = peer.filter(|record| record.state.may_hold());
        let order = |record: Record| (record.incarnation, record.sequence);
        match self.step - 1 {
            0 => {
                self.first = peer.map(order);
                let refused = held.filter(|held| {
                    held.epoch >= epoch || held.epoch > covers || !authority.covers_peer()
                });
                if let Some(held) = refused {
                    return Some(Err(Failure::HeldByPeer(held.epoch)));
                }
            }
            1 if held.is_some() => {
                if peer.map(order) != self.first {
                    return Some(Err(Failure::HeldByPeer(
                        held.map_or(epoch, |held| held.epoch),
                    )));
                }
                let left = match authority {
                    Authority::PeerYields => 1,
                    _ => LEASE + WATCHDOG + 1,
                };
                return self.wait(left as u8);
            }
            1 => self.back_offs = 0,
            CLAIM_WRITES => {
                self.back_offs = 0;
                slots.write(who, epoch, PoolState::Claiming, 0);
            }
            3 => return self.wait(SETTLE as u8),
            _ => {
                let waited_out = peer.map(order) == self.first;
                let ahead = held.filter(|rival| match rival.epoch.cmp(&epoch) {
                    Ordering::Less => rival.sequence > 0 && !waited_out,
                    Ordering::Equal => rival.sequence > 0 || rival.head < slots.id,
                    Ordering::Greater => true,
                });
                if let Some(rival) = ahead {
                    return Some(Err(Failure::HeldByPeer(rival.epoch)));
                }
                slots.write(who, epoch, PoolState::Claiming, 1);
                self.first = None;
                self.back_offs = 0;
                if let Some(victim) = disks[0].keys[1 - who] {
                    deed(Deed::Preempts { victim, authority }, disks);
                }
                for disk in disks.iter_mut() {
                    disk.keys = [None; 2];
                    disk.keys[who] = Some(epoch);
                    (disk.holder, disk.stamp) = (Some(who), epoch);
                }
                self.claim = Some(epoch);
                deed(Deed::Claimed(epoch), disks);
                let (lease, submitted) = (terms(), slots.now);
                return Some(Ok(Done::Leased { lease, submitted }));
            }
        }
        None
    }

    /// The same step again in the next beat, so many times.
    fn wait<T>(&mut self, beats: u8) -> Option<T> {
        if self.back_offs < beats {
            self.back_offs += 1;
            self.step -= 1;
        }
        None
    }
}

/// The step of a claim that writes it.
const CLAIM_WRITES: u8 = 2;

impl Slots<'_> {
    fn write(&mut self, who: usize, epoch: Epoch, state: PoolState, sequence: u64) {
        self.records[who] = Some(Record {
            head: self.id,
            incarnation: self.incarnation,
            state,
            epoch,
            sequence,
            lease: state.may_hold().then(terms),
        });
    }
}
