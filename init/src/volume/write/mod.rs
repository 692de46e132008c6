//! Writing a group's metadata: by the owner only, under its claim, so that whoever reads after a crash at any point
//! finds the old text or the new one.
//!
//! [`Store::open`] reads what the members hold, [`Store::newest`] is what counts of it, [`Store::write`] puts a changed one
//! in its place; then the store is at its end, since what is on the disks is not what it has read any more. From the
//! disk upwards: [`medium`] a disk, [`ring`] where a text goes, `member` the steps on one disk, here the steps on all.
//!
//! How a change is made, of which at most the last can be half done at any time:
//!
//! 1. The new text, with the next sequence number, is read back as a group and has room in every area, or nothing is written.
//! 2. On all disks at once it goes into the ring of each area, behind the current text; flushed, and read back. No reader sees it.
//! 3. On one disk alone the header's sector, which says where the current text is; flushed, and read back.
//! 4. On all others at once the same.
//!
//! Of areas that differ the one with the greatest sequence number counts, here, in [`super::read_groups`] and in lvm2.
//! After a crash in 2 the old text stands everywhere. From 3 on the new one counts where it is found. A sector
//! that is torn, where a disk can do that, is one disk's header in 3, and in 4 the first disk has a whole one.
//! Areas that fell behind (a crash in 4, a disk that was away) get the next text like all others: they are mended
//! by any write, and [`Store::is_even`] says when one is due.
//!
//! Decisions:
//! - A disk that fails is left out as long as more than half of them have the text; what is written is reported with the disks that have it not.
//!   With half of them or fewer it ends before step 3 and nothing has changed, or in step 4 as *unsettled*.
//!   lvm2 ends at the first disk that fails; on a pool that must go on being served while a disk dies, that would be
//!   the moment at which nothing can be said about it any more.
//! - The slot for a text that is not committed yet (`raw_locns[1]`) stays empty. lvm2 fills it while it suspends
//!   devices, for other processes that read meanwhile; here nobody does. One that lvm2 left behind goes.
//! - Threads are waited for without limit: a write that is given up here may still reach the disk when somebody else
//!   owns it. The core's limit for the whole job ends in a reset.
//! - Areas with the flag *ignored* are left alone: that is `metadata_copies` of a large group.
//! - The labels are not written. `PV_EXT_USED`, by which lvm2 warns of a disk whose group it does not find, is in them since the
//!   disk got into its group.
//! - A reservation conflict ends everything: this head is fenced.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

mod error;
mod medium;
mod member;
mod metadata;
pub mod ring;
pub mod stamp;
#[cfg(test)]
mod tests;

pub use error::{Failure, Phase, WriteError};
pub(in crate::volume) use medium::write_bytes;
pub use medium::{BlockDevice, Medium};
pub(in crate::volume) use metadata::id_of;
pub use metadata::{Author, Metadata};

use super::edit::Stretch;
use super::label;
use super::text::{Section, Value};
use super::uuid::Uuid;
use member::{Content, Member, Texts};

const SECTOR: u64 = 512;

/// What the members of a group hold.
pub struct Store<M> {
    members: Vec<Member<M>>,
    newest: Metadata,
    seqno: u64,
    /// Every area in use holds the newest text.
    is_even: bool,
    /// Disks that could not be read.
    failures: Vec<Failure>,
}

/// What came of a write.
#[derive(Debug)]
pub struct Written {
    /// The sequence number of the new text.
    pub seqno: u64,
    /// Disks on which it is the current one.
    pub disks: usize,
    /// Disks on which it should be and is not. They are mended by the next write that succeeds there.
    pub failures: Vec<Failure>,
}

impl<M: Medium> Store<M> {
    /// Reads the labels, headers and texts of all members, at once: names of disks, each with its medium or with why
    /// it could not be opened.
    ///
    /// # Errors
    /// There is nothing to go on, or it contradicts itself.
    pub fn open(
        disks: Vec<(String, std::io::Result<M>)>,
        group: &Uuid,
    ) -> Result<Store<M>, WriteError> {
        let (members, failures, texts) = read_all(disks);
        let mut found: Option<(u64, Metadata, &str)> = None;
        // Of the same text on a hundred disks one is parsed.
        let parsed: Vec<_> = texts
            .iter()
            .map(|text| (text, Metadata::parse(text)))
            .collect();
        for (text, metadata) in &parsed {
            let Some(metadata) = metadata else { continue };
            if let Some(other) = metadata.id().filter(|id| id != group) {
                let holds = |member: &&Member<M>| {
                    member
                        .in_use()
                        .any(|area| matches!(&area.content, Content::Text(held) if held == *text))
                };
                let holder = members.iter().find(holds);
                let disk = holder.map_or_else(String::new, |member| member.disk.clone());
                return Err(WriteError::OtherGroup { disk, other });
            }
            let seqno = metadata.seqno().unwrap_or_default();
            match &found {
                Some((newest, ..)) if seqno < *newest => {}
                Some((newest, known, _)) if seqno == *newest => {
                    // The same in other words: the description and the time differ when a write was repeated.
                    if known != metadata {
                        return Err(WriteError::Disagreement { seqno });
                    }
                }
                _ => found = Some((seqno, metadata.clone(), text)),
            }
        }
        let Some((seqno, newest, text)) = found else {
            return Err(WriteError::NoMetadata { failures });
        };
        let is_current = |content: &Content| match content {
            Content::Text(held) => **held == *text,
            Content::Ignored => true,
            Content::Empty | Content::Broken => false,
        };
        let mut areas = members.iter().flat_map(|member| &member.areas);
        let is_even = areas.all(|area| is_current(&area.content));
        Ok(Store {
            newest,
            seqno,
            is_even,
            members,
            failures,
        })
    }

    /// The members of a group that is only now made: their areas are empty.
    ///
    /// # Errors
    /// One is not, or cannot be read.
    pub fn fresh(
        disks: Vec<(String, std::io::Result<M>)>,
        group: Metadata,
    ) -> Result<Store<M>, WriteError> {
        let (members, failures, _) = read_all(disks);
        if !failures.is_empty() {
            return Err(WriteError::NoMetadata { failures });
        }
        for member in &members {
            let is_empty = |content: &Content| matches!(content, Content::Empty);
            let mut areas = member.areas.iter();
            if !areas.all(|area| is_empty(&area.content)) {
                let disk = member.disk.clone();
                return Err(WriteError::Occupied { disk });
            }
        }
        Ok(Store {
            newest: group,
            seqno: 0,
            is_even: false,
            members,
            failures,
        })
    }

    /// Fills stretches of members with zeroes, all members at once, and flushes them.
    ///
    /// # Errors
    /// One that fails, or that is not among the disks.
    pub fn zero(&mut self, stretches: &[Stretch]) -> Result<(), WriteError> {
        let known = |stretch: &Stretch| {
            let mut members = self.members.iter();
            members.any(|member| member.pv == Some(stretch.pv))
        };
        if let Some(stretch) = stretches.iter().find(|stretch| !known(stretch)) {
            return Err(WriteError::Absent { pv: stretch.pv });
        }
        let members = self.members.iter_mut().collect();
        let outcomes = at_once(members, |member: &mut Member<M>| {
            let own: Vec<Stretch> = stretches
                .iter()
                .filter(|stretch| member.pv == Some(stretch.pv))
                .copied()
                .collect();
            member.zero(&own)
        });
        for outcome in outcomes {
            if let Err(failure) = outcome {
                return Err(WriteError::NotZeroed(fenced(failure)?));
            }
        }
        Ok(())
    }

    /// The group as the newest text has it.
    pub fn newest(&self) -> &Metadata {
        &self.newest
    }

    /// Every area in use of every disk that could be read holds the newest text.
    pub fn is_even(&self) -> bool {
        self.is_even
    }

    /// Leaves one sequence number out: for the first write after a claim.
    ///
    /// A former owner may have got its last change onto a disk that is away now, and onto no other. Its number is never
    /// used again then, so that the disk, when it comes back, is behind, and there are never two texts with one
    /// number.
    pub fn skip_number(mut self) -> Store<M> {
        self.seqno = self.seqno.saturating_add(1);
        self
    }

    /// Writes a changed group. Its sequence number is set here.
    ///
    /// # Errors
    /// See [`WriteError`]: unless it says so, nothing has changed for whoever reads.
    pub fn write(mut self, changed: &Metadata, author: &Author) -> Result<Written, WriteError> {
        let seqno = self.seqno.checked_add(1);
        // lvm2 counts in 32 bits.
        let seqno = seqno.filter(|seqno| *seqno <= u64::from(u32::MAX));
        let seqno = seqno.ok_or(WriteError::SequenceEnd)?;
        let mut changed = changed.clone();
        let number = Value::Number(i64::try_from(seqno).unwrap_or(i64::MAX));
        changed.body.insert("seqno".to_owned(), number);
        let text = changed.encode(author).map_err(WriteError::Invalid)?;
        let text = text.as_bytes();

        // Disks that the change takes out of the group keep what they have: they are wiped apart.
        let members = changed.members();
        let pvs: Vec<(Uuid, &Section)> = members
            .filter_map(|(_, section)| Some((id_of(section)?, section)))
            .collect();
        self.members.retain(|member| {
            let is_member = pvs.iter().any(|(id, _)| Some(*id) == member.pv);
            is_member && member.in_use().next().is_some()
        });
        let all = self.members.len() + self.failures.len();
        for member in &mut self.members {
            let section = pvs.iter().find(|(id, _)| Some(*id) == member.pv);
            if let Some((_, section)) = section {
                placed_well(member, section, &changed)?;
            }
            member
                .choose(text)
                .map_err(|(start, source)| WriteError::TooLarge {
                    disk: member.disk.clone(),
                    start,
                    source,
                })?;
        }

        let wrote = at_once(self.members, |mut member| match member.write_text(text) {
            Ok(()) => Ok(member),
            Err(failure) => Err(failure),
        });
        let mut ready = Vec::new();
        let mut failures = self.failures;
        for outcome in wrote {
            match outcome {
                Ok(member) => ready.push(member),
                Err(failure) => failures.push(fenced(failure)?),
            }
        }
        let good = ready.len();
        if !is_enough(good, all) {
            return Err(WriteError::TooFew {
                good,
                all,
                failures,
            });
        }

        let mut good = 0;
        let mut rest = ready.into_iter();
        // One alone, until there is one.
        while good == 0 {
            let Some(mut member) = rest.next() else { break };
            match committed(&mut member) {
                Ok(()) => good += 1,
                Err(failure) => failures.push(fenced(failure)?),
            }
        }
        for outcome in at_once(rest.collect(), |mut member| committed(&mut member)) {
            match outcome {
                Ok(()) => good += 1,
                Err(failure) => failures.push(fenced(failure)?),
            }
        }
        match is_enough(good, all) {
            true => Ok(Written {
                seqno,
                disks: good,
                failures,
            }),
            false => Err(WriteError::Unsettled {
                good,
                all,
                failures,
            }),
        }
    }
}

/// Reads all disks at once: what they hold, those that cannot be read, and each text once.
fn read_all<M: Medium>(
    disks: Vec<(String, std::io::Result<M>)>,
) -> (Vec<Member<M>>, Vec<Failure>, HashSet<Arc<str>>) {
    let texts = Texts::default();
    let outcomes = at_once(disks, |(disk, medium)| match medium {
        Ok(medium) => Member::read(disk, medium, &texts),
        Err(source) => Err(Failure {
            disk,
            phase: Phase::Open,
            source,
        }),
    });
    let (mut members, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(member) => members.push(member),
            Err(failure) => failures.push(failure),
        }
    }
    let texts = texts.into_inner().unwrap_or_else(PoisonError::into_inner);
    (members, failures, texts)
}

/// More than half.
fn is_enough(good: usize, all: usize) -> bool {
    good * 2 > all
}

/// Writes the headers of a disk. What the read-back shows counts, not what a command said.
fn committed<M: Medium>(member: &mut Member<M>) -> Result<(), Failure> {
    match member.write_header() {
        Err(failure) if !failure.is_conflict() && member.has_new_header() => {
            // It is there; that it stays is not known when it was the flush that failed.
            match failure.phase {
                Phase::FlushHeader => Err(failure),
                _ => Ok(()),
            }
        }
        outcome => outcome,
    }
}

fn fenced(failure: Failure) -> Result<Failure, WriteError> {
    match failure.is_conflict() {
        true => Err(WriteError::Fenced(failure)),
        false => Ok(failure),
    }
}

/// No area lies over the label, over another area or over the data, whatever headers and labels say.
fn placed_well<M: Medium>(
    member: &Member<M>,
    pv: &Section,
    group: &Metadata,
) -> Result<(), WriteError> {
    let number = |section: &Section, key: &str| match section.get(key) {
        Some(Value::Number(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let data = (|| {
        let start = number(pv, "pe_start")?.checked_mul(SECTOR)?;
        let extent = number(&group.body, "extent_size")?.checked_mul(SECTOR)?;
        let length = number(pv, "pe_count")?.checked_mul(extent)?;
        Some((start, start.checked_add(length)?))
    })();
    let areas = || member.in_use().map(|area| area.area);
    for (index, area) in areas().enumerate() {
        let wrong = |what| {
            Err(WriteError::Misplaced {
                disk: member.disk.clone(),
                start: area.start,
                what,
            })
        };
        let Some(end) = area.start.checked_add(area.size) else {
            return wrong("it ends beyond any disk");
        };
        if area.start < label::SCANNED as u64 || area.start % SECTOR != 0 || area.size % SECTOR != 0
        {
            return wrong("it lies over the label, or is not made of sectors");
        }
        let overlaps = |from: u64, to: u64| from < to && area.start < to && from < end;
        let Some((from, to)) = data else {
            return wrong("where the data of the disk are is not known");
        };
        if overlaps(from, to) {
            return wrong("it lies over the data");
        }
        let mut others = areas().enumerate().filter(|(other, _)| *other != index);
        if others.any(|(_, other)| overlaps(other.start, other.start.saturating_add(other.size))) {
            return wrong("it lies over another one");
        }
    }
    Ok(())
}

/// The same work on all items, each in a thread of its own where there are several; all are waited for.
fn at_once<I: Send, T: Send>(items: Vec<I>, work: impl Fn(I) -> T + Sync) -> Vec<T> {
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    let work = &work;
    let slots: Vec<Mutex<Option<T>>> = items.iter().map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        for (item, slot) in items.into_iter().zip(&slots) {
            scope.spawn(move || {
                let outcome = work(item);
                *crate::sync::lock(slot) = Some(outcome);
            });
        }
    });
    let filled = slots.into_iter().filter_map(|slot| {
        // Every thread has ended, and fills its slot unless it panics, which `scope` passes on.
        slot.into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    });
    filled.collect()
}
