//! A witness on the heads' paths to the shelf: which head the target says holds each disk, and whose writes it
//! takes. Nothing here is the heads' own word, and nothing is asked of anybody: it is read off the cables.
//!
//! A *foreign write* is one that was sent to the target after the target had said that the other head holds
//! the disk, and that the target took nevertheless: two writers. Judged by when it was sent, since answers of
//! two cables arrive in any order; so a write that was on its way while the disk changed hands is never called
//! foreign, and one that lay in a cut cable meanwhile is, if the target takes it.
//!
//! A *revived key* is one that the shelf forgot with its power and that it shows again: its owner registered anew
//! instead of resetting. Neither of the lab's shelves keeps reservations without power.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::pdu::{Kind, Pdu, Reader};
use crate::clock::{time_of_day, unix_ms};
use crate::names::Head;

const PR_IN: u8 = 0x5e;
const PR_OUT: u8 = 0x5f;
/// Operations that change a disk's medium: WRITE of 6 to 16 bytes, with VERIFY, SAME, COMPARE AND WRITE, UNMAP.
const WRITES: [u8; 11] = [
    0x0a, 0x2a, 0xaa, 0x8a, 0x2e, 0xae, 0x8e, 0x41, 0x93, 0x89, 0x42,
];
const FOREIGN_KEPT: usize = 10;
/// Changes of the holder that are kept, the newest: several times those of one round.
const CHANGES_KEPT: usize = 12;

/// What was seen of one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSeen {
    /// The head that holds the reservation.
    pub holder: Option<Head>,
    /// The heads that are registered.
    pub registered: Vec<Head>,
    /// The head whose write was taken last.
    pub writer: Option<Head>,
    /// How often it changed hands.
    pub claims: u64,
    /// How often the target took a change of its reservations or registrations from a head, whichever: who is registered is known
    /// only once somebody asks, and a head that may not claim may not register either.
    #[serde(default)]
    pub orders: u64,
    /// The last changes of the holder: when, to whom, and what showed it.
    pub changes: Vec<String>,
    /// Writes that the target took from a head that did not hold the disk any more.
    pub foreign_writes: u64,
    /// The first of them.
    pub foreign: Vec<String>,
    /// Keys that were forgotten with the shelf's power and are registered again.
    #[serde(default)]
    pub revived: Vec<String>,
}

/// What was seen of all disks, by LUN.
pub type Seen = BTreeMap<u16, DiskSeen>;

/// The record of both paths.
#[derive(Default)]
pub struct Witness {
    disks: Mutex<BTreeMap<u16, Disk>>,
}

#[derive(Default)]
struct Disk {
    seen: DiskSeen,
    /// Grows with each change of the holder: what was asked before says nothing about the time after.
    version: u64,
    /// Grows with each loss of power, likewise.
    power: u64,
    /// Keys that were read since the last one, and those that it took away.
    keys: BTreeSet<u64>,
    forgotten: BTreeSet<u64>,
}

impl Witness {
    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        let disks = self.lock();
        disks
            .iter()
            .map(|(&lun, disk)| (lun, disk.seen.clone()))
            .collect()
    }

    /// The shelf lost its power, and may have forgotten who holds its disks.
    pub fn forget(&self) {
        for disk in self.lock().values_mut() {
            disk.hold(None, "loss of power");
            disk.seen.registered.clear();
            disk.power += 1;
            disk.forgotten.append(&mut disk.keys);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Disk>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn hold(&mut self, head: Option<Head>, shown_by: &str) {
        if self.seen.holder != head {
            let to = head.map_or_else(|| "nobody".to_owned(), |head| head.to_string());
            let changes = &mut self.seen.changes;
            changes.push(format!("{} {to}, by {shown_by}", time_of_day(unix_ms())));
            changes.drain(..changes.len().saturating_sub(CHANGES_KEPT));
            self.seen.holder = head;
            self.seen.claims += u64::from(head.is_some());
            self.version += 1;
        }
    }

    fn register(&mut self, keys: &[u64]) {
        let mut heads: Vec<Head> = keys.iter().filter_map(|&key| head_of(key)).collect();
        heads.sort_unstable();
        heads.dedup();
        self.seen.registered = heads;
        for &key in keys {
            if self.keys.insert(key) && self.forgotten.contains(&key) {
                let at = time_of_day(unix_ms());
                self.seen.revived.push(format!("{at} key {key:#018x}"));
            }
        }
    }
}

/// One connection of one head, with the commands that are under way on it.
pub struct Nexus {
    head: Head,
    witness: Arc<Witness>,
    under_way: Mutex<HashMap<u32, Sent>>,
}

/// A command that was sent, and what its answer will mean.
#[derive(Clone)]
struct Sent {
    lun: u16,
    what: What,
    /// The keys that were read. They count once the command ended well.
    read: Option<Vec<u64>>,
}

#[derive(Clone, Copy)]
enum What {
    Write {
        foreign: bool,
    },
    Claim,
    /// Another order about reservations: REGISTER, RELEASE, CLEAR.
    Order,
    ReadKeys {
        power: u64,
    },
    ReadHolder {
        version: u64,
    },
}

impl Nexus {
    /// A new connection.
    pub fn new(head: Head, witness: &Arc<Witness>) -> Arc<Self> {
        Arc::new(Self {
            head,
            witness: Arc::clone(witness),
            under_way: Mutex::default(),
        })
    }

    /// Bytes that are about to reach the target.
    pub fn to_target(&self, reader: &mut Reader, bytes: &[u8]) {
        reader.take(bytes, |pdu| self.command(pdu));
    }

    /// Bytes that the target sent.
    pub fn from_target(&self, reader: &mut Reader, bytes: &[u8]) {
        reader.take(bytes, |pdu| match pdu.kind() {
            Kind::DataIn { ends } => {
                self.data(pdu);
                if let Some(good) = ends {
                    self.response(pdu.tag(), good);
                }
            }
            Kind::Response { good } => self.response(pdu.tag(), good),
            _ => {}
        });
    }

    fn command(&self, pdu: &Pdu) {
        let Kind::Command {
            lun,
            operation,
            action,
        } = pdu.kind()
        else {
            return;
        };
        let mut disks = self.witness.lock();
        let disk = disks.entry(lun).or_default();
        let what = match (operation, action) {
            (PR_OUT, 1 | 4 | 5) => What::Claim, // RESERVE, PREEMPT, PREEMPT AND ABORT
            (PR_OUT, _) => What::Order,
            (PR_IN, 0) => What::ReadKeys { power: disk.power },
            (PR_IN, 1) => What::ReadHolder {
                version: disk.version,
            },
            (operation, _) if WRITES.contains(&operation) => What::Write {
                foreign: disk.seen.holder == Some(self.head.peer()),
            },
            _ => return,
        };
        drop(disks);
        let read = None;
        self.under_way().insert(pdu.tag(), Sent { lun, what, read });
    }

    fn data(&self, pdu: &Pdu) {
        // Generation, length of the list, then keys; in an answer about the holder just one.
        let Some(length) = pdu.data.get(4..8) else {
            return;
        };
        let listed = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let end = pdu.data.len().min(8 + listed);
        let keys = pdu.data.get(8..end).unwrap_or_default().chunks_exact(8);
        if let Some(sent) = self.under_way().get_mut(&pdu.tag()) {
            let number = |key: &[u8]| {
                key.iter()
                    .fold(0, |number, &byte| number << 8 | u64::from(byte))
            };
            sent.read = Some(keys.map(number).collect());
        }
    }

    fn response(&self, tag: u32, good: bool) {
        let Some(sent) = self.under_way().remove(&tag) else {
            return;
        };
        if !good {
            return;
        }
        let mut disks = self.witness.lock();
        let disk = disks.entry(sent.lun).or_default();
        match sent.what {
            What::Claim => {
                disk.seen.orders += 1;
                disk.hold(Some(self.head), "its claim");
            }
            What::Order => disk.seen.orders += 1,
            What::Write { foreign } => {
                disk.seen.writer = Some(self.head);
                if foreign {
                    disk.seen.foreign_writes += 1;
                    if disk.seen.foreign.len() < FOREIGN_KEPT {
                        let at = time_of_day(unix_ms());
                        let text = format!("{at} head {} wrote to LUN {}", self.head, sent.lun);
                        disk.seen.foreign.push(text);
                    }
                }
            }
            What::ReadHolder { version } => {
                if let Some(keys) = sent.read
                    && version == disk.version
                {
                    let shown_by = format!("what head {} read", self.head);
                    disk.hold(keys.iter().find_map(|&key| head_of(key)), &shown_by);
                }
            }
            What::ReadKeys { power } => {
                if let Some(keys) = sent.read
                    && power == disk.power
                {
                    disk.register(&keys);
                }
            }
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<u32, Sent>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The head that registers such a key: its number, 1 or 2, is in the fourth byte.
fn head_of(key: u64) -> Option<Head> {
    match key.to_be_bytes()[3] {
        1 => Some(Head::A),
        2 => Some(Head::B),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pdu::tests::{command, data_before_end, data_in, response};
    use super::*;

    const WRITE: u8 = 0x2a;

    struct Bench {
        witness: Arc<Witness>,
        ends: [(Arc<Nexus>, Reader, Reader); 2],
    }

    impl Bench {
        fn new() -> Self {
            let witness = Arc::<Witness>::default();
            let end = |head| {
                let nexus = Nexus::new(head, &witness);
                (nexus, Reader::default(), Reader::default())
            };
            Self {
                ends: Head::BOTH.map(end),
                witness,
            }
        }

        fn send(&mut self, head: Head, tag: u32, operation: u8, action: u8) {
            let (nexus, out, _) = &mut self.ends[head.index()];
            nexus.to_target(out, &command(1, tag, operation, action));
        }

        fn answer(&mut self, head: Head, bytes: &[u8]) {
            let (nexus, _, back) = &mut self.ends[head.index()];
            nexus.from_target(back, bytes);
        }

        fn done(&mut self, head: Head, tag: u32, operation: u8, action: u8) {
            self.send(head, tag, operation, action);
            self.answer(head, &response(tag, 0));
        }

        fn disk(&self) -> DiskSeen {
            self.witness.seen()[&1].clone()
        }
    }

    fn holder_is(tag: u32, number: u8) -> Vec<u8> {
        let key = [1, 2, 3, number, 0, 0, 0, 1];
        data_in(tag, &[&[0; 4][..], &[0, 0, 0, 16], &key, &[0; 8]].concat())
    }

    #[test]
    fn a_write_after_the_others_claim_is_foreign() {
        let mut bench = Bench::new();
        bench.done(Head::A, 1, PR_OUT, 1);
        bench.done(Head::A, 2, WRITE, 0);
        bench.send(Head::A, 3, WRITE, 0); // still on its way when the disk changes hands
        bench.done(Head::B, 1, PR_OUT, 5);
        bench.answer(Head::A, &response(3, 0));
        assert_eq!(bench.disk().foreign_writes, 0);
        bench.send(Head::A, 4, WRITE, 0);
        bench.answer(Head::A, &response(4, 0x18)); // refused with a conflict, as it must be
        bench.done(Head::B, 2, WRITE, 0);
        let disk = bench.disk();
        assert_eq!((disk.foreign_writes, disk.writer), (0, Some(Head::B)));
        bench.done(Head::A, 5, WRITE, 0);
        let disk = bench.disk();
        assert_eq!((disk.foreign_writes, disk.foreign.len()), (1, 1));
        assert_eq!((disk.holder, disk.claims), (Some(Head::B), 2));
    }

    #[test]
    fn the_targets_own_answer_names_the_holder_unless_it_is_an_old_one() {
        let mut bench = Bench::new();
        bench.done(Head::A, 1, PR_OUT, 1);
        // The preemption took effect, and its answer was lost: the read-back shows it.
        bench.send(Head::B, 1, PR_OUT, 5);
        bench.answer(Head::B, &response(1, 0x18));
        bench.send(Head::A, 2, PR_IN, 1);
        bench.send(Head::B, 2, PR_IN, 1);
        bench.answer(Head::B, &holder_is(2, 2));
        assert_eq!(bench.disk().holder, Some(Head::B));
        bench.answer(Head::A, &holder_is(2, 1)); // read before, arrived after
        assert_eq!(bench.disk().holder, Some(Head::B));
        bench.done(Head::B, 3, WRITE, 0);
        assert_eq!(bench.disk().foreign_writes, 0);
    }

    #[test]
    fn a_registration_is_seen_though_nobody_reads_the_keys() {
        let mut bench = Bench::new();
        bench.done(Head::A, 1, PR_IN, 1);
        assert_eq!(bench.disk().orders, 0);
        bench.send(Head::A, 2, PR_OUT, 6);
        bench.answer(Head::A, &response(2, 0x18));
        assert_eq!(bench.disk().orders, 0, "it was refused");
        bench.done(Head::A, 3, PR_OUT, 0);
        let disk = bench.disk();
        assert_eq!((disk.orders, disk.holder), (1, None));
        assert!(disk.registered.is_empty(), "of which no answer tells yet");
    }

    #[test]
    fn an_answer_that_ended_badly_says_nothing() {
        let mut bench = Bench::new();
        bench.done(Head::A, 1, PR_OUT, 1);
        bench.send(Head::A, 2, PR_IN, 1);
        bench.answer(Head::A, &data_before_end(2, &[0; 8])); // nobody, it says
        bench.answer(Head::A, &response(2, 2));
        assert_eq!(bench.disk().holder, Some(Head::A));
        bench.send(Head::A, 3, PR_IN, 1);
        bench.answer(Head::A, &data_before_end(3, &[0; 8]));
        assert_eq!(bench.disk().holder, Some(Head::A));
        bench.answer(Head::A, &response(3, 0));
        assert_eq!(bench.disk().holder, None);
    }

    #[test]
    fn a_shelf_that_lost_its_power_holds_nothing() {
        let mut bench = Bench::new();
        bench.done(Head::A, 1, PR_OUT, 1);
        bench.witness.forget();
        bench.done(Head::B, 1, WRITE, 0);
        let disk = bench.disk();
        assert_eq!((disk.foreign_writes, disk.holder), (0, None));
    }

    /// Registered heads, each with the epoch of its key.
    fn keys_are(tag: u32, keys: &[(u8, u8)]) -> Vec<u8> {
        let listed: Vec<u8> = keys
            .iter()
            .flat_map(|&(number, epoch)| [1, 2, 3, number, 0, 0, 0, epoch])
            .collect();
        let length = [0, 0, 0, listed.len() as u8];
        data_in(tag, &[&[0; 4][..], &length, &listed].concat())
    }

    #[test]
    fn registrants_are_read_from_the_targets_answers() {
        let mut bench = Bench::new();
        bench.send(Head::A, 1, PR_IN, 0);
        bench.answer(Head::A, &keys_are(1, &[(2, 1), (1, 1), (2, 1)]));
        assert_eq!(bench.disk().registered, [Head::A, Head::B]);
    }

    #[test]
    fn a_key_that_is_there_again_after_a_loss_of_power_is_revived() {
        let mut bench = Bench::new();
        bench.send(Head::A, 1, PR_IN, 0);
        bench.answer(Head::A, &keys_are(1, &[(1, 1)]));
        bench.send(Head::A, 2, PR_IN, 0);
        bench.witness.forget();
        bench.answer(Head::A, &keys_are(2, &[(1, 1)])); // read before
        bench.send(Head::B, 3, PR_IN, 0);
        bench.answer(Head::B, &keys_are(3, &[(2, 2)]));
        assert!(bench.disk().revived.is_empty());
        for tag in [4, 5] {
            bench.send(Head::A, tag, PR_IN, 0);
            bench.answer(Head::A, &keys_are(tag, &[(1, 1), (2, 2)]));
        }
        assert_eq!(bench.disk().revived.len(), 1);
    }
}
