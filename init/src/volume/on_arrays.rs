//! Physical volumes on MD arrays: what the members of arrays are put together to, and read.
//!
//! An array that runs in this kernel is read there, since nobody else knows better; on a head that does not hold it, it does not
//! run, and is read on its members.
//!
//! Here all disks are seen together, and so it is decided here which superblocks count that were set aside ([`crate::array::rivals`]).

use std::fs::File;

use super::texts::{Reader, Texts};
use super::{Contents, Place, Problem, READ_LIMIT, ReadTrouble, read_disk};
use crate::array::{self, Array, ArrayReader, Judged, LeftOut, Member, MemberError};
use crate::array::{Running, Superblock};
use crate::disk::{Disk, direct, parallel};

/// The arrays that members on these disks make, as disks, each with what it holds; and what is the matter with others.
pub(super) fn read(
    disks: &[Disk],
    contents: &mut [Contents],
    texts: &Texts,
) -> (Vec<(Place, Contents)>, Vec<Problem>) {
    heed_rivals(disks, contents);
    let members = disks.iter().zip(contents).filter_map(|(disk, contents)| {
        let superblock = contents.member.take()?;
        let disk = disk.clone();
        Some(Member { disk, superblock })
    });
    let (mut judged, mut problems) = (Vec::new(), Vec::new());
    for array in array::arrays(members.collect()) {
        match judge(settled(array)) {
            Ok(found) => judged.push(found),
            Err(found) => problems.extend(found),
        }
    }
    let reader = texts.reader();
    let contents = parallel::each(
        &judged,
        READ_LIMIT,
        move |(judged, running)| match running {
            Some(running) => read_running(running, &reader),
            None => read_members(judged, &reader),
        },
    );
    let read = judged.into_iter().zip(contents);
    let places = read.map(|((judged, running), contents)| {
        let mut contents = contents.unwrap_or_else(|| failed(ReadTrouble::TimedOut));
        if contents.member.take().is_some() {
            contents.troubles.push(ReadTrouble::Nested);
        }
        let place = Place {
            disk: judged.device(running.as_ref()),
            array: Some(Box::new(judged)),
        };
        (place, contents)
    });
    (places.collect(), problems)
}

/// Gives a disk to the array of a superblock that was set aside on it, where another disk is a member of that array and nothing speaks against
/// it there; and where it could be what the array lacks: a client that knows the array's identity may write that it is another one's
/// place, and newer. Where that can be said of the other thing on it as well, the disk is neither.
pub(super) fn heed_rivals(disks: &[Disk], contents: &mut [Contents]) {
    let certain = contents.iter().filter(|one| one.rivals.is_empty());
    let known: Vec<Superblock> = certain.filter_map(|one| one.member.clone()).collect();
    let is_known = |superblock: &Superblock| {
        let mut members = known.iter();
        members.any(|one| one.array == superblock.array)
    };
    let is_lacked = |superblock: &Superblock| {
        let members = || known.iter().filter(|one| one.array == superblock.array);
        let Some(newest) = members().max_by_key(|one| one.events) else {
            return false;
        };
        // An owner dies between two of its superblocks, and disks are not read at one moment.
        let last = newest.events.saturating_add(1);
        let mut current = members().filter(|one| one.events.saturating_add(1) >= newest.events);
        newest.counts(superblock.number)
            && superblock.events <= last
            && current.all(|one| one.number != superblock.number && one.device != superblock.device)
    };
    for (disk, contents) in disks.iter().zip(contents) {
        let rivals = std::mem::take(&mut contents.rivals);
        let mut parsed = rivals.iter().filter_map(|one| one.parse(disk.bytes).ok());
        let known = parsed.find(is_lacked);
        let is_sure = contents.member.as_ref().filter(|one| is_known(one));
        match (known, is_sure) {
            (Some(one), Some(other)) if one.array != other.array => {
                let version = |superblock: &Superblock| match superblock.minor {
                    0 => "1.0",
                    1 => "1.1",
                    _ => "1.2",
                };
                *contents = failed(ReadTrouble::Member(MemberError::Two(
                    version(&one),
                    version(other),
                )));
            }
            (Some(_), Some(_)) => {}
            (Some(one), None) => {
                *contents = Contents {
                    member: Some(one),
                    ..Contents::default()
                };
            }
            (None, _) => {
                if let (Some(_), Some(rival)) = (contents.pv, rivals.first()) {
                    let trouble = ReadTrouble::SetAside(rival.version);
                    contents.troubles.push(trouble);
                }
            }
        }
    }
}

/// How often the superblocks of an array are read that do not fit together.
const LOOKS: u32 = 3;

/// An array that runs elsewhere changes its superblocks as it is looked at, and disks are not read at one moment: what does
/// not fit together is read again, once more at the same time. On an array that does not run it says the same again.
fn settled(mut array: Array) -> Array {
    for _ in 1..LOOKS {
        let is_even = array.decide(true).is_ok_and(|decision| {
            let mut left_out = decision.left_out.iter();
            left_out.all(|(_, why)| *why != LeftOut::Behind)
        });
        if is_even {
            break;
        }
        let disks: Vec<Disk> = array.members.iter().map(|m| m.disk.clone()).collect();
        let id = array.id;
        let superblocks = parallel::each(&disks, READ_LIMIT, move |disk| {
            let file = direct::open(&disk.path).ok()?;
            let mut read = |offset, length| direct::read(&file, offset, length);
            array::superblock_in(&id, disk.bytes, &mut read).ok()?
        });
        for (member, superblock) in array.members.iter_mut().zip(superblocks) {
            if let Some(superblock) = superblock.flatten() {
                member.superblock = superblock;
            }
        }
    }
    array
}

/// What can be done with an array, and whether that is done here.
fn judge(array: Array) -> Result<(Judged, Option<Running>), Vec<Problem>> {
    let name = array.name();
    // Of every member, so that whoever looks for a disk finds why it is not used.
    let all = |trouble: &dyn Fn() -> ReadTrouble| -> Vec<Problem> {
        let disks = array.members.iter().map(|member| member.disk.name.clone());
        disks
            .map(|disk| Problem {
                disk,
                trouble: trouble(),
            })
            .collect()
    };
    // Whether parity that may be wrong is served is said when the group is judged: there the configuration is known.
    let decision = match array.decide(true) {
        Ok(decision) => decision,
        Err(refusal) => {
            return Err(all(&|| ReadTrouble::Array {
                name: name.clone(),
                refusal: refusal.clone(),
            }));
        }
    };
    match array::running(&array.id) {
        Ok(running) => {
            let is_running = running.is_some();
            let judged = Judged {
                array,
                decision,
                is_running,
            };
            Ok((judged, running))
        }
        Err(error) => Err(vec![Problem {
            disk: name,
            trouble: ReadTrouble::Kernel(error),
        }]),
    }
}

fn read_running(running: &Running, texts: &Reader) -> Contents {
    match direct::open(&running.node()) {
        Ok(file) => {
            let mut read = |offset, length| direct::read(&file, offset, length);
            read_disk(running.bytes, &mut read, texts)
        }
        Err(error) => failed(ReadTrouble::io("the array")(error)),
    }
}

fn read_members(judged: &Judged, texts: &Reader) -> Contents {
    let reader = match ArrayReader::new(&judged.array, &judged.decision) {
        Ok(reader) => reader,
        Err(error) => return failed(ReadTrouble::Unassembled(error)),
    };
    let members = judged.array.members.iter();
    let files: Vec<std::io::Result<File>> = members
        .map(|member| direct::open(&member.disk.path))
        .collect();
    let mut disk = |index: usize, offset, length| match &files[index] {
        Ok(file) => direct::read(file, offset, length),
        Err(error) => Err(std::io::Error::from(error.kind())),
    };
    let mut read = reader.reader(&mut disk);
    read_disk(reader.bytes(), &mut *read, texts)
}

fn failed(trouble: ReadTrouble) -> Contents {
    Contents {
        troubles: vec![trouble],
        ..Contents::default()
    }
}
