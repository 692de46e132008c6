//! Which members of an array count, and whether it can run with them: a pure function of all superblocks that are seen.
//!
//! The member that changed last tells which ones belong to the array; it is believed only as far as no other disk tells of
//! another history. A member is fresh when its count of changes is the newest one's, or one below it, as a write of all
//! superblocks that was cut short leaves it, and the newest still has it in its slot: the kernel takes such a member, so
//! what it would take is what is judged here. All else is left out, never merged.
//!
//! Histories. A member that dropped out is called faulty or gone by those that went on, and still calls them good. Two that
//! call one another bad each went on without the other one; that is an order of events only when a third one, fresh and
//! here, was with both. Otherwise they diverged, and nobody but an operator knows which of them is to be believed.
//! Counters alone do not show it: whoever wrote more has the greater one. Of the same count there is one history, with one
//! exception: the kernel counts back by one when an array that was written to becomes clean, so that a member which did not get that
//! and was called faulty right after has the count of those that call it so. It excludes none of them, and they exclude it: theirs is later.
//!
//! Thrown out. A takeover takes the arbiter before the other disks. An owner that still writes in between calls that member faulty, on the
//! others, because its write was refused: nothing is the matter with it. It looks like one that failed, and is told from it by
//! three things together: it is called faulty (one that somebody took out is called a spare); it lacks no more changes than there can
//! be while disks are being fenced ([`MOST_CHANGES`]); and the head that claims saw it as a fresh one when it looked before, so that it
//! was fenced with the others (`worker/claim.rs`; superblocks do not say it). What failed before the claim lacks the last, whatever its
//! count, and is left to an operator. It is left out like every other one, and may come back only to be filled: what it has is
//! never merged, and that it is not newer than the array is what being left out means.

use std::collections::{BTreeMap, BTreeSet};

use super::geometry::Geometry;
use super::refusal::Refusal;
use super::superblock::{Features, Role, Superblock};
use super::{Array, Member};

/// Changes that a member which was thrown out by a takeover can lack. One was refused to it; each that is thrown out makes two, called
/// faulty and taken out of its slot; and an array makes two for each time that it rests for a fifth of a second and goes on, until its
/// last disk is claimed. That takes some tenths of a second, and no array has to be told from one that ran on without a member for longer:
/// who does not find it fresh before its claim does not take it back.
const MOST_CHANGES: u64 = 16;

/// What there is for a slot of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A member with all its data; its place among the members.
    Fresh(usize),
    /// A member that is being filled, which is of no use yet.
    Rebuilding(usize),
    /// Nobody, and the newest superblock says so.
    Empty,
    /// A member that the newest superblock counts on and that is not here, or not fresh.
    Absent,
}

/// A disk that says that it belongs to the array and is not taken into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// The array went on without it: the newest superblock does not have it in a slot.
    Dropped,
    /// The same, a few changes ago, and it is called faulty: as an owner does that writes while its disks are fenced.
    ThrownOut,
    /// The newest superblock counts on it, and it did not see the last changes.
    Behind,
    /// It waits for a member to fail. The newest superblock does not tell a spare from a disk that was removed, so that a
    /// head which does not see it would not miss it, and disagree with the other one on who the members are.
    Spare,
}

/// What can be done with an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its shape.
    pub geometry: Geometry,
    /// The member whose superblock counts.
    pub newest: usize,
    /// What there is for each slot.
    pub slots: Vec<Slot>,
    /// Members that take part: those of the slots, and the journal. The newest comes first. All of them are named by the newest
    /// superblock, so that two heads that may run the array take the same ones.
    pub taken: Vec<usize>,
    /// Members that do not take part.
    pub left_out: Vec<(usize, LeftOut)>,
    /// All members were known to be equal when it was last written.
    pub is_clean: bool,
    /// Parity is checked by a log where a member is missing.
    pub has_ppl: bool,
    /// Parity may be wrong where data must be computed from it: it runs because the configuration allows that.
    pub is_dirty_degraded: bool,
}

impl Decision {
    /// A slot has no fresh member.
    pub fn is_degraded(&self) -> bool {
        self.missing().next().is_some()
    }

    /// Slots without a fresh member.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        let slots = self.slots.iter().enumerate();
        let missing = slots.filter(|(_, slot)| !matches!(slot, Slot::Fresh(_)));
        missing.map(|(slot, _)| slot as u32)
    }

    /// Slots that the newest superblock counts on and that nobody fresh is here for: without them the array is degraded, and
    /// no owner has written so.
    pub fn absent(&self) -> impl Iterator<Item = u32> {
        let slots = self.slots.iter().enumerate();
        let absent = slots.filter(|(_, slot)| matches!(slot, Slot::Absent));
        absent.map(|(slot, _)| slot as u32)
    }

    /// Whether the slots that are absent could, without those that are here, be the array: then another head may be serving
    /// them. Those that the newest superblock calls gone count as theirs: their own, older ones may not say so.
    pub fn rest_is_enough(&self) -> bool {
        self.geometry.is_enough(&self.missing().collect())
    }
}

/// Members of one array, while it is decided.
struct View<'a> {
    members: &'a [Member],
    newest: usize,
}

impl Array {
    /// What can be done with it. `allows_dirty`: the configuration allows to run parity with a missing member after a crash.
    ///
    /// # Errors
    /// Why nothing can be done with it.
    pub fn decide(&self, allows_dirty: bool) -> Result<Decision, Refusal> {
        let view = View::new(&self.members)?;
        view.check_copies()?;
        view.check_histories()?;
        let newest = view.superblock(view.newest);
        if newest.features.any(Features::CLUSTERED) {
            return Err(Refusal::Clustered);
        }
        let mut slots = view.expected()?;
        let (mut taken, mut left_out) = (vec![view.newest], Vec::new());
        for (index, member) in self.members.iter().enumerate() {
            match view.standing(index) {
                Standing::Slot(slot, is_whole) => {
                    view.check_fresh(index)?;
                    view.fill(&mut slots, slot, index, is_whole)?;
                }
                Standing::Beside => view.check_fresh(index)?,
                Standing::LeftOut(why) => {
                    left_out.push((index, why));
                    continue;
                }
            }
            if member.superblock.features.is_reshape() {
                return Err(Refusal::Reshape);
            }
            if index != view.newest {
                taken.push(index);
            }
        }
        let geometry = view.geometry(&slots)?;
        let decision = Decision {
            geometry,
            newest: view.newest,
            slots,
            taken,
            left_out,
            is_clean: newest.resync_offset.is_none(),
            has_ppl: newest.features.has_ppl(),
            is_dirty_degraded: false,
        };
        view.can_run(decision, allows_dirty)
    }
}

/// How a member stands.
enum Standing {
    /// In a slot, and whether it has all data.
    Slot(u32, bool),
    /// The journal.
    Beside,
    LeftOut(LeftOut),
}

impl<'a> View<'a> {
    fn new(members: &'a [Member]) -> Result<View<'a>, Refusal> {
        let in_slots = members.iter().enumerate();
        let in_slots = in_slots.filter(|(_, m)| matches!(m.superblock.own_role(), Role::Slot(_)));
        let is_excluded = |one: &Superblock| {
            let others = members.iter().map(|member| &member.superblock);
            let mut same = others.filter(|other| other.events == one.events);
            same.any(|other| is_later(other, one))
        };
        // Of several the first: which one does not matter, since they must say the same.
        let newest = in_slots.rev().max_by_key(|(_, member)| {
            let superblock = &member.superblock;
            (superblock.events, !is_excluded(superblock))
        });
        let (newest, _) = newest.ok_or(Refusal::NoMember)?;
        Ok(View { members, newest })
    }

    fn superblock(&self, index: usize) -> &'a Superblock {
        &self.members[index].superblock
    }

    fn disk(&self, index: usize) -> String {
        self.members[index].disk.name.clone()
    }

    /// Its count of changes is the newest one's, or the one before.
    fn is_current(&self, index: usize) -> bool {
        let newest = self.superblock(self.newest).events;
        self.superblock(index).events.saturating_add(1) >= newest
    }

    fn check_copies(&self) -> Result<(), Refusal> {
        let mut seen = BTreeMap::new();
        for index in 0..self.members.len() {
            if let Some(other) = seen.insert(self.superblock(index).device, index) {
                let (one, other) = (self.disk(other), self.disk(index));
                return Err(Refusal::SameMember { one, other });
            }
        }
        Ok(())
    }

    /// No member tells of a history that the newest one's excludes.
    fn check_histories(&self) -> Result<(), Refusal> {
        let newest = self.superblock(self.newest);
        for index in 0..self.members.len() {
            let other = self.superblock(index);
            if index == self.newest || !matches!(other.own_role(), Role::Slot(_)) {
                continue;
            }
            let diverged = if other.events == newest.events {
                // The count grows whenever a role changes: with the same count there is one history only.
                roles(other) != roles(newest) && !is_later(newest, other)
            } else {
                let exclude_each_other =
                    !newest.counts(other.number) && !other.counts(newest.number);
                exclude_each_other && !self.was_with(other)
            };
            if diverged {
                let (one, other) = (self.disk(self.newest), self.disk(index));
                return Err(Refusal::Diverged { one, other });
            }
        }
        Ok(())
    }

    /// A fresh member that is here was with this one when it changed last.
    fn was_with(&self, other: &Superblock) -> bool {
        (0..self.members.len()).any(|index| {
            let number = self.superblock(index).number;
            let is_fresh = matches!(self.standing(index), Standing::Slot(_, true));
            is_fresh && other.counts(number) && number != other.number
        })
    }

    fn standing(&self, index: usize) -> Standing {
        let (own, newest) = (self.superblock(index), self.superblock(self.newest));
        let role = newest.role_of(own.number);
        match (own.own_role(), role) {
            (Role::Spare, Role::Spare) => Standing::LeftOut(LeftOut::Spare),
            (Role::Slot(_), Role::Slot(_)) | (Role::Journal, Role::Journal)
                if !self.is_current(index) =>
            {
                Standing::LeftOut(LeftOut::Behind)
            }
            // A spare that was given a slot by a change that did not reach it any more.
            (Role::Slot(_) | Role::Spare, Role::Slot(slot)) if self.is_current(index) => {
                let is_filled = own.features.any(Features::RECOVERY_OFFSET);
                let is_spare = matches!(own.own_role(), Role::Spare);
                Standing::Slot(u32::from(slot), !is_filled && !is_spare)
            }
            (Role::Journal, Role::Journal) => Standing::Beside,
            (Role::Slot(_), Role::Faulty) if self.is_thrown_out(index) => {
                Standing::LeftOut(LeftOut::ThrownOut)
            }
            _ => Standing::LeftOut(LeftOut::Dropped),
        }
    }

    /// As far as superblocks tell it.
    fn is_thrown_out(&self, index: usize) -> bool {
        let (own, newest) = (self.superblock(index), self.superblock(self.newest));
        let is_plain = !own.features.is_reshape() && !own.features.any(Features::REPLACEMENT);
        let lacks_few = own.events.saturating_add(MOST_CHANGES) >= newest.events;
        is_plain && lacks_few && own.counts(newest.number) && self.check_fresh(index).is_ok()
    }

    /// A member that is taken must be of the same array in every respect.
    fn check_fresh(&self, index: usize) -> Result<(), Refusal> {
        let shape = |index: usize| {
            let s = self.superblock(index);
            (s.level, s.layout, s.chunk, s.raid_disks, s.size, s.minor)
        };
        if shape(index) == shape(self.newest) {
            return Ok(());
        }
        let (one, other) = (self.disk(self.newest), self.disk(index));
        Err(Refusal::Disagreement { one, other })
    }

    /// What the newest superblock counts on, before anybody was found.
    fn expected(&self) -> Result<Vec<Slot>, Refusal> {
        let newest = self.superblock(self.newest);
        let mut slots = vec![Slot::Empty; newest.raid_disks as usize];
        for role in &newest.roles {
            if let Role::Slot(slot) = role
                && let Some(place) = slots.get_mut(usize::from(*slot))
            {
                if *place == Slot::Absent {
                    return Err(Refusal::Replacement {
                        slot: (*slot).into(),
                    });
                }
                *place = Slot::Absent;
            }
        }
        Ok(slots)
    }

    fn fill(
        &self,
        slots: &mut [Slot],
        slot: u32,
        index: usize,
        is_whole: bool,
    ) -> Result<(), Refusal> {
        let Some(place) = slots.get_mut(slot as usize) else {
            // The newest superblock was parsed against its own number of slots.
            return Err(Refusal::Reshape);
        };
        if let Slot::Fresh(other) | Slot::Rebuilding(other) = *place {
            let (one, other) = (self.disk(other), self.disk(index));
            return Err(Refusal::SameSlot { one, other, slot });
        }
        *place = match is_whole {
            true => Slot::Fresh(index),
            false => Slot::Rebuilding(index),
        };
        Ok(())
    }

    fn geometry(&self, slots: &[Slot]) -> Result<Geometry, Refusal> {
        let newest = self.superblock(self.newest);
        let lengths: Vec<u64> = slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Fresh(index) => Some(self.superblock(*index).data_size),
                _ => None,
            })
            .collect();
        let in_zones = newest.level == 0 && Geometry::is_in_zones(newest.chunk.into(), &lengths);
        if in_zones && !Geometry::says_zones(newest) {
            return Err(Refusal::Zones);
        }
        Ok(Geometry::new(newest, &lengths)?)
    }

    fn can_run(&self, mut decision: Decision, allows_dirty: bool) -> Result<Decision, Refusal> {
        let all = 0..decision.geometry.disks;
        let missing: Vec<u32> = decision.missing().collect();
        let fresh: BTreeSet<u32> = all.filter(|slot| !missing.contains(slot)).collect();
        if !decision.geometry.is_enough(&fresh) {
            let disks = decision.geometry.disks;
            return Err(Refusal::NotEnough { missing, disks });
        }
        let newest = self.superblock(self.newest);
        let mut taken = decision.taken.iter();
        let has_journal = taken.any(|index| self.superblock(*index).own_role() == Role::Journal);
        if newest.features.any(Features::JOURNAL) && !has_journal {
            return Err(Refusal::NoJournal);
        }
        // With a journal the kernel calls an array clean once it has been made equal (`super_1_sync`).
        let is_hole = decision.geometry.has_parity()
            && decision.is_degraded()
            && !decision.is_clean
            && !decision.has_ppl;
        if is_hole && !allows_dirty {
            return Err(Refusal::DirtyDegraded);
        }
        decision.is_dirty_degraded = is_hole;
        Ok(decision)
    }
}

/// The one excludes the other, which still counts on it: it went on.
fn is_later(one: &Superblock, other: &Superblock) -> bool {
    !one.counts(other.number) && other.counts(one.number) && one.counts(one.number)
}

/// The roles, whatever the length of the table.
fn roles(superblock: &Superblock) -> BTreeMap<usize, Role> {
    let roles = superblock.roles.iter().copied().enumerate();
    // Faulty or gone: the one becomes the other without the count saying so of the disk itself.
    let counted = roles.filter(|(_, role)| !matches!(role, Role::Spare | Role::Faulty));
    counted.collect()
}
