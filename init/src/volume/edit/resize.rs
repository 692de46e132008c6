//! Volumes that grow. None shrinks: that is the way in which data are lost by a slip of the hand.

use super::super::group::BEHIND_TAG;
use super::super::text::{Section, Value};
use super::layout::{self, Raid, linears, striped};
use super::space::{Piece, Space};
use super::tree::{self, value};
use super::{Edit, EditError};

impl Edit<'_> {
    /// Makes a volume at least so many extents long.
    ///
    /// # Errors
    /// It is as long already, there is no room, or its kind cannot grow here.
    pub fn grow(&mut self, name: &str, extents: u64) -> Result<(), EditError> {
        let has = tree::extents(self.volume(name)?);
        if !self.is_usable(name) {
            let why = "is a part of another one".to_owned();
            return Err(EditError::InUse {
                lv: name.to_owned(),
                why,
            });
        }
        self.is_not_merging(name)?;
        if extents <= has {
            return Err(EditError::Size(format!(
                "{name} has {has} extents, and {extents} are not more"
            )));
        }
        if extents > u64::from(u32::MAX) {
            return Err(EditError::Size(format!("{extents} extents are no size")));
        }
        let in_use = |why: &str| {
            Err(EditError::InUse {
                lv: name.to_owned(),
                why: why.to_owned(),
            })
        };
        for user in self.users(name) {
            for segment in tree::segments(self.volume(&user)?) {
                let is = |key| tree::word(segment, key) == Some(name);
                if is("origin") && tree::word(segment, "type") == Some("snapshot") {
                    return in_use("has snapshots: remove them first");
                }
                // lvm2 refuses it: it takes no writes any more.
                if is("external_origin") {
                    return in_use("is what thin volumes came from, and keeps its size");
                }
            }
        }
        let mut space = Space::of(&self.metadata, &[])?;
        self.append(&mut space, name, extents - has)
    }

    /// Adds extents to a volume, whoever stands on it.
    pub(super) fn append(
        &mut self,
        space: &mut Space,
        name: &str,
        more: u64,
    ) -> Result<(), EditError> {
        let volume = self.volume(name)?;
        let kind = tree::kind(volume).unwrap_or_default().to_owned();
        let has = tree::extents(volume);
        let last = tree::segments(volume).last().cloned().unwrap_or_default();
        match kind.as_str() {
            "striped" => {
                let stripes = tree::number(&last, "stripe_count").unwrap_or(1).max(1);
                let new = match stripes {
                    1 => linears(has, &space.anywhere(more)?),
                    _ => {
                        let each = more.div_ceil(stripes);
                        let legs = space.apart(stripes as usize, &[each])?;
                        let legs: Vec<Vec<Piece>> = legs.into_iter().flatten().collect();
                        let chunk = tree::number(&last, "stripe_size").unwrap_or(0);
                        striped(has, legs, chunk)
                    }
                };
                self.add_segments(name, new)
            }
            "thin" => self.lengthen(name, has + more),
            "thin-pool" => self.append_pool(space, name, &last, more),
            _ => match Raid::of_kind(&kind) {
                Some(level) => self.append_raid(space, name, &last, level, more),
                None => Err(self.wrong_kind(name)),
            },
        }
    }

    /// Whether an image is on a member that is away, or is old.
    fn lacks(&self, image: &str) -> Result<bool, EditError> {
        let volume = self.volume(image)?;
        let mut members = self.metadata.members();
        let is_away = |member: &Section| {
            ["flags", "status"]
                .iter()
                .any(|key| tree::has(member, key, "MISSING"))
        };
        let is_on =
            |member: &str| tree::segments(volume).any(|segment| tree::is_on(segment, member));
        Ok(tree::has(volume, "tags", BEHIND_TAG)
            || members.any(|(name, member)| is_away(member) && is_on(name)))
    }

    fn append_raid(
        &mut self,
        space: &mut Space,
        name: &str,
        segment: &Section,
        level: Raid,
        more: u64,
    ) -> Result<(), EditError> {
        let references = tree::references(segment).into_iter();
        let images: Vec<String> = references
            .filter(|part| part.contains("_rimage_"))
            .map(str::to_owned)
            .collect();
        // Its table tells the kernel to rebuild, and with that it takes all the rest for equal, what was added as well: parity of it
        // would never be computed (`size_check` of `raid_ctr`).
        for image in &images {
            if tree::has(self.volume(image)?, "status", "REBUILD") {
                return Err(EditError::InUse {
                    lv: name.to_owned(),
                    why: "is being rebuilt: wait until `status` says no more that disks are made equal"
                        .to_owned(),
                });
            }
            // Parity that lacks an image and has a part that was never made equal is started by no kernel (`raid5_run`); and what an
            // image that is not here is long cannot be told to it.
            if self.lacks(image)? {
                return Err(EditError::InUse {
                    lv: name.to_owned(),
                    why: format!(
                        "lacks {image}: replace its disk, or have it made equal by `handover`, first"
                    ),
                });
            }
        }
        self.images_can_grow(name, segment)?;
        let data = level.data(images.len() as u64).max(1);
        let each = more.div_ceil(data);
        let extent = self.extent_sectors()?;
        let length = tree::extents(self.volume(name)?) + each * data;
        if let Some(region) = tree::number(segment, "region_size") {
            let sectors = length.saturating_mul(extent);
            let region = match level {
                Raid::Raid0 => region,
                _ => layout::region_for(region, sectors),
            };
            let first = images.first().map(|image| self.volume(image)).transpose()?;
            let image_length = first.map_or(0, tree::extents) + each;
            let meta = tree::references(segment)
                .into_iter()
                .find(|part| part.contains("_rmeta_"));
            let meta = meta.map(|meta| self.volume(meta)).transpose()?;
            let region = match meta.map(tree::extents) {
                None => region,
                Some(room) => {
                    let mapped = level.mapped(length, image_length);
                    let fits = layout::region_with_room(region, mapped, room, extent);
                    fits.ok_or_else(|| {
                        EditError::Size(format!(
                            "the metadata of {name}'s images have no room for a map of that length"
                        ))
                    })?
                }
            };
            self.only_segment(name)?
                .insert("region_size".to_owned(), value(region));
        }
        // All members that an image is on: no other image may get there.
        let mut homes: Vec<Vec<String>> = Vec::new();
        for image in &images {
            let segments = tree::segments(self.volume(image)?);
            let members = segments.flat_map(tree::references).map(str::to_owned);
            homes.push(members.collect());
        }
        for index in 0..images.len() {
            // Where the image is already, the last one first, or else where no other image of this volume is.
            let mut candidates: Vec<String> = homes[index].iter().rev().cloned().collect();
            let free = space.with_room(each).into_iter();
            candidates
                .extend(free.filter(|member| !homes.iter().flatten().any(|home| home == member)));
            let mut found = candidates.into_iter().filter_map(|member| {
                let pieces = space.on(&member, each)?;
                Some((member, pieces))
            });
            let Some((member, pieces)) = found.next() else {
                return Err(EditError::NoSpace {
                    wanted: each,
                    how: "for each image, on members of their own",
                    free: 0,
                });
            };
            homes[index].push(member);
            let start = tree::extents(self.volume(&images[index])?);
            self.add_segments(&images[index], linears(start, &pieces))?;
        }
        self.lengthen(name, length)
    }

    /// That the images of RAID are extents of members, to which more can be added, and as many copies as pairs. On checksums, or
    /// anything else, a segment behind theirs is what the kernel refuses, and where an image is does not show.
    fn images_can_grow(&self, name: &str, segment: &Section) -> Result<(), EditError> {
        let in_use = |why: String| {
            let lv = name.to_owned();
            Err(EditError::InUse { lv, why })
        };
        for part in tree::references(segment) {
            match tree::kind(self.volume(part)?) {
                Some("striped") => {}
                Some("integrity") => {
                    return in_use(format!(
                        "has checksums ({part}), with which it does not grow here: on a host with lvm2, lvextend does it, or \
                         lvconvert --raidintegrity n takes them off"
                    ));
                }
                kind => {
                    return in_use(format!(
                        "is on {part}, which is of type {:?} and does not grow here: lvextend on a host with lvm2",
                        kind.unwrap_or("several")
                    ));
                }
            }
        }
        match tree::number(segment, "data_copies") {
            None | Some(2) => Ok(()),
            Some(copies) => in_use(format!(
                "has {copies} copies of all, and does not grow here: lvextend on a host with lvm2"
            )),
        }
    }

    /// Sets the length of a volume of one segment.
    pub(super) fn lengthen(&mut self, name: &str, extents: u64) -> Result<(), EditError> {
        if extents > u64::from(u32::MAX) {
            return Err(EditError::Size(format!("{extents} extents are no size")));
        }
        let segment = self.only_segment(name)?;
        segment.insert("extent_count".to_owned(), value(extents));
        Ok(())
    }

    fn only_segment(&mut self, name: &str) -> Result<&mut Section, EditError> {
        let segment = tree::section_mut(self.volume_mut(name)?, "segment1");
        segment.ok_or(EditError::Malformed("a volume has no segment"))
    }

    fn add_segments(&mut self, name: &str, new: Vec<Section>) -> Result<(), EditError> {
        let volume = self.volume_mut(name)?;
        for segment in new {
            let count = tree::number(volume, "segment_count").unwrap_or(0);
            let last = tree::section_mut(volume, &format!("segment{count}"));
            if let Some(last) = last
                && follows(last, &segment)
            {
                let length = |segment| tree::number(segment, "extent_count").unwrap_or(0);
                let both = length(last) + length(&segment);
                last.insert("extent_count".to_owned(), value(both));
                continue;
            }
            volume.insert("segment_count".to_owned(), value(count + 1));
            volume.insert(format!("segment{}", count + 1), Value::Section(segment));
        }
        Ok(())
    }
}

/// Whether a segment goes on where another one ends, on the disks too: then they are one.
fn follows(last: &Section, next: &Section) -> bool {
    let same = ["type", "stripe_count", "stripe_size"];
    if same.iter().any(|key| last.get(*key) != next.get(*key)) {
        return false;
    }
    let stripes = tree::number(last, "stripe_count").unwrap_or(1).max(1);
    let each = tree::number(last, "extent_count").unwrap_or(0) / stripes;
    let (before, after) = (tree::list(last, "stripes"), tree::list(next, "stripes"));
    before.len() == after.len()
        && before.iter().zip(after).all(|pair| match pair {
            (Value::Number(before), Value::Number(after)) => {
                i64::try_from(each).is_ok_and(|each| before.checked_add(each) == Some(*after))
            }
            (before, after) => before == after,
        })
}
