//! Members that come, go, and take another's place; and a group of new members.

use super::super::group;
use super::super::group::{BEHIND_TAG, UNSURE_TAG};
use super::super::reserved;
use super::super::text::{Section, Value};
use super::super::uuid::Uuid;
use super::super::write::{Metadata, id_of};
use super::layout::linears;
use super::space::{Space, taken};
use super::tree::{self, text, texts, value};
use super::{Edit, EditError};

/// A physical volume that gets into a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// Its label's.
    pub id: Uuid,
    /// What it is called here: a hint for people.
    pub device: String,
    /// The size of the disk, in sectors.
    pub sectors: u64,
    /// Where its first extent begins, in sectors.
    pub data_start: u64,
}

/// A new group without members. Its first write gives it the sequence number 1.
///
/// # Errors
/// The name is none, or the size of extents is no power of two from 8 sectors on.
pub fn new_group(name: &str, id: Uuid, extent_sectors: u64) -> Result<Metadata, EditError> {
    if !group::is_name(name) {
        return Err(EditError::Name(name.to_owned(), "lvm2 does not allow it"));
    }
    let most = u64::from(u32::MAX);
    if !extent_sectors.is_power_of_two() || !(8..=most).contains(&extent_sectors) {
        let what =
            format!("extents of {extent_sectors} sectors: a power of two from 8 on is possible");
        return Err(EditError::Size(what));
    }
    let body = tree::section([
        ("id", text(id.to_string())),
        ("seqno", value(0)),
        ("format", text("lvm2")),
        ("status", texts(&["RESIZEABLE", "READ", "WRITE"])),
        ("flags", texts(&[])),
        ("extent_size", value(extent_sectors)),
        ("max_lv", value(0)),
        ("max_pv", value(0)),
        ("metadata_copies", value(0)),
        ("physical_volumes", Value::Section(Section::new())),
    ]);
    Ok(Metadata {
        name: name.to_owned(),
        body,
    })
}

impl Edit<'_> {
    /// Adds a member.
    ///
    /// # Errors
    /// It is one already, or has no room for an extent.
    pub fn add_member(&mut self, member: &NewMember) -> Result<(), EditError> {
        let refused = |why: &str| {
            Err(EditError::Member {
                pv: member.id.to_string(),
                why: why.to_owned(),
            })
        };
        if self.member_name(member.id).is_ok() {
            return refused("is a member already");
        }
        let extent = self.extent_sectors()?;
        let extents = member.sectors.saturating_sub(member.data_start) / extent;
        if extents == 0 || extents > u64::from(u32::MAX) {
            return refused("is smaller than one extent, or too large");
        }
        let section = tree::section([
            ("id", text(member.id.to_string())),
            ("device", text(&*member.device)),
            ("status", texts(&["ALLOCATABLE"])),
            ("flags", texts(&[])),
            ("dev_size", value(member.sectors)),
            ("pe_start", value(member.data_start)),
            ("pe_count", value(extents)),
        ]);
        let Some(members) = tree::section_mut(&mut self.metadata.body, "physical_volumes") else {
            return Err(EditError::Malformed("the group has no physical volumes"));
        };
        let number = (0..).find(|number| !members.contains_key(&format!("pv{number}")));
        let name = format!("pv{}", number.unwrap_or(0));
        members.insert(name, Value::Section(section));
        Ok(())
    }

    /// Takes a member out of the group.
    ///
    /// # Errors
    /// Volumes are on it, or it is the last one.
    pub fn remove_member(&mut self, id: Uuid) -> Result<(), EditError> {
        let name = self.member_name(id)?;
        let refused = |why: String| {
            Err(EditError::Member {
                pv: id.to_string(),
                why,
            })
        };
        let extents: u64 = taken(&self.metadata, &name)
            .iter()
            .map(|(_, length)| length)
            .sum();
        if extents > 0 {
            let volumes = self.owners(&name).join(", ");
            return refused(format!("has {extents} extents of {volumes}"));
        }
        if self.metadata.members().count() == 1 {
            return refused("is the last one of the group".to_owned());
        }
        if let Some(members) = tree::section_mut(&mut self.metadata.body, "physical_volumes") {
            members.shift_remove(&name);
        }
        Ok(())
    }

    /// The volumes that have extents on a member.
    fn on_member(&self, member: &str) -> Vec<String> {
        let is_on = |volume| tree::segments(volume).any(|segment| tree::is_on(segment, member));
        let volumes = self.metadata.volumes().filter(|(_, volume)| is_on(volume));
        volumes.map(|(name, _)| name.to_owned()).collect()
    }

    /// The volumes for people that have extents on a member, or what of them is for nobody.
    fn owners(&self, member: &str) -> Vec<String> {
        let mut all = self.on_member(member);
        let mut at = 0;
        while let Some(part) = all.get(at) {
            at += 1;
            let users = match self.is_usable(part) {
                true => Vec::new(),
                false => self.users(part),
            };
            let new = users.into_iter().filter(|user| !all.contains(user));
            let new: Vec<String> = new.collect();
            all.extend(new);
        }
        let stands = |name: &String| self.is_usable(name) || self.users(name).is_empty();
        all.retain(stands);
        all.sort();
        all.dedup();
        all
    }

    /// Notes that a member is away, so that what is on it is never trusted again; or that it was taken back.
    ///
    /// # Errors
    /// There is no such member.
    pub fn set_missing(&mut self, id: Uuid, is_missing: bool) -> Result<(), EditError> {
        let name = self.member_name(id)?;
        let members = tree::section_mut(&mut self.metadata.body, "physical_volumes");
        if let Some(member) = members.and_then(|members| tree::section_mut(members, &name)) {
            tree::set_word(member, "flags", "MISSING", is_missing);
            if !is_missing {
                tree::set_word(member, "status", "MISSING", false);
            }
        }
        Ok(())
    }

    /// Puts the images of RAID that are on one member onto another one, where no other image of the same volume is. They
    /// are to be rebuilt when the volume is next activated, which the word `REBUILD` in their status says, to lvm2 too;
    /// after that [`Edit::rebuilt`] takes it away. A copy of the ledger goes along and begins empty.
    ///
    /// # Errors
    /// Something is on the member that no RAID has a second time, or there is no room.
    pub fn replace_member(&mut self, old: Uuid, new: Uuid) -> Result<(), EditError> {
        let (from, to) = (self.member_name(old)?, self.member_name(new)?);
        let refused = |why: String| {
            Err(EditError::Member {
                pv: old.to_string(),
                why,
            })
        };
        for part in self.on_member(&from) {
            let extents = tree::extents(self.volume(&part)?);
            let fate = match self.fate(&part, &to) {
                Ok(fate) => fate,
                Err(why) => return refused(why),
            };
            let mut space = Space::of(&self.metadata, &[])?;
            let Some(pieces) = space.on(&to, extents) else {
                return Err(EditError::NoSpace {
                    wanted: extents,
                    how: "on the new disk",
                    free: 0,
                });
            };
            let fresh = match fate {
                Fate::Rebuild | Fate::Forget => 0,
                Fate::Empty => u64::MAX,
            };
            if fresh > 0 {
                self.zero(&space, &pieces, fresh);
            }
            let volume = self.volume_mut(&part)?;
            volume.retain(|key, _| !key.starts_with("segment"));
            volume.insert("segment_count".to_owned(), value(pieces.len() as u64));
            for (index, segment) in (1..).zip(linears(0, &pieces)) {
                volume.insert(format!("segment{index}"), Value::Section(segment));
            }
            if fate == Fate::Rebuild {
                tree::set_word(volume, "status", "REBUILD", true);
            }
        }
        Ok(())
    }

    /// What becomes of a volume that has extents on a member that goes, or why it cannot go to the new one.
    fn fate(&self, part: &str, to: &str) -> Result<Fate, String> {
        if reserved::is_ledger(part) {
            // The other copies have it, and this one is written anew.
            return Ok(Fate::Empty);
        }
        if part.ends_with("_pmspare") {
            return Ok(Fate::Forget);
        }
        let owner = self.users(part).into_iter().next();
        let kind = owner
            .as_ref()
            .and_then(|owner| tree::kind(self.volume(owner).ok()?));
        let is_redundant =
            kind.is_some_and(|kind| kind.starts_with("raid") && !kind.starts_with("raid0"));
        let (true, Some(owner)) = (is_redundant, owner) else {
            return Err(format!("has extents of {part}, which are nowhere else"));
        };
        let is_on = |part: &String| {
            let volume = self.volume(part);
            volume
                .is_ok_and(|volume| tree::segments(volume).any(|segment| tree::is_on(segment, to)))
        };
        let mut others = self.parts(&owner).into_iter();
        if others.any(|other| index_of(&other) != index_of(part) && is_on(&other)) {
            return Err(format!(
                "cannot give {part} to a disk with another image of {owner}"
            ));
        }
        match part.contains("_rmeta_") {
            true => Ok(Fate::Empty),
            false => Ok(Fate::Rebuild),
        }
    }

    /// A volume was activated, and its images that were to be rebuilt are on their way.
    ///
    /// # Errors
    /// There is no such volume.
    pub fn rebuilt(&mut self, name: &str) -> Result<(), EditError> {
        self.volume(name)?;
        for part in self.parts(name) {
            tree::set_word(self.volume_mut(&part)?, "status", "REBUILD", false);
        }
        Ok(())
    }

    /// Notes that an image of RAID is old: the kernel threw it out, which its own superblock does not say; or that it has all again.
    ///
    /// # Errors
    /// There is no such volume.
    pub fn set_behind(&mut self, image: &str, is_behind: bool) -> Result<(), EditError> {
        self.set_tag(image, BEHIND_TAG, is_behind)
    }

    /// Notes that the images of a RAID volume are to be compared; or that this is done.
    ///
    /// # Errors
    /// There is no such volume.
    pub fn set_unsure(&mut self, name: &str, is_unsure: bool) -> Result<(), EditError> {
        self.set_tag(name, UNSURE_TAG, is_unsure)
    }

    fn set_tag(&mut self, name: &str, tag: &str, is_set: bool) -> Result<(), EditError> {
        let volume = self.volume_mut(name)?;
        let is_new = !volume.contains_key("tags");
        tree::set_word(volume, "tags", tag, is_set);
        if tree::list(volume, "tags").is_empty() {
            volume.shift_remove("tags");
        }
        // Behind the flags, where lvm2 has them.
        if is_new
            && let (Some(flags), Some(tags)) =
                (volume.get_index_of("flags"), volume.get_index_of("tags"))
        {
            volume.move_index(tags, flags + 1);
        }
        Ok(())
    }

    /// What the text calls a member.
    fn member_name(&self, id: Uuid) -> Result<String, EditError> {
        let mut members = self.metadata.members();
        let found = members.find(|(_, section)| id_of(section) == Some(id));
        let name = found.map(|(name, _)| name.to_owned());
        name.ok_or_else(|| EditError::NoMember(id.to_string()))
    }
}

/// What becomes of a volume on a new disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is written anew from the others.
    Rebuild,
    /// It begins empty.
    Empty,
    /// Nothing was in it.
    Forget,
}

/// The number at the end of a part's name, which an image and its metadata share.
fn index_of(part: &str) -> Option<&str> {
    part.rsplit('_').next()
}
