//! New volumes.

use orthrus_hb::ledger::{BLOCK_BYTES, REGION_BYTES};

use super::super::reserved;
use super::super::uuid::Uuid;
use super::super::write::id_of;
use super::space::Space;
use super::tree;
use super::{Edit, EditError, Layout, Raid};

/// Of the volume for what clients need kept, at least: two extents of lvm2's usual size.
const STATE_BYTES: u64 = 8 << 20;

impl Edit<'_> {
    /// Adds a volume of at least so many extents.
    ///
    /// # Errors
    /// The name, the size or the space.
    pub fn create(&mut self, name: &str, extents: u64, layout: Layout) -> Result<(), EditError> {
        self.check_name(name)?;
        let mut space = Space::of(&self.metadata, &[])?;
        self.build(&mut space, name, true, extents, layout)?;
        Ok(())
    }

    /// Adds the copies of the ledger that are lacking, each on a member of its own, and the state volume, of this
    /// layout. They are made first in a new group, so that there is room.
    ///
    /// # Errors
    /// There is no room.
    pub fn create_reserved(&mut self, layout: Layout) -> Result<(), EditError> {
        if self.add_copies(&[])? == 0 {
            return Err(EditError::NoSpace {
                wanted: self.extents_of(REGION_BYTES as u64)?,
                how: "for a copy of the ledger",
                free: 0,
            });
        }
        if self.volume(reserved::STATE).is_err() {
            self.add_state(layout, &[])?;
        }
        Ok(())
    }

    /// The same as far as it goes, in a group that others made: what there is no room for is left out. `arrays` are the members
    /// that are MD arrays: a copy of the ledger is never on one, as a standby could not read it, and a state volume needs no
    /// mirror there. On disks it is a mirror or is not made, as the loss of one disk would be the loss of all; the only
    /// member of a group is no reason for that.
    ///
    /// # Errors
    /// The metadata lack what they must have.
    pub fn complete_reserved(
        &mut self,
        arrays: &[Uuid],
        wants_state: bool,
    ) -> Result<(), EditError> {
        let members = self.metadata.members();
        let (on_arrays, on_disks): (Vec<_>, Vec<_>) =
            members.partition(|(_, member)| id_of(member).is_some_and(|id| arrays.contains(&id)));
        let names = |members: Vec<(&str, _)>| -> Vec<String> {
            let names = members.into_iter();
            names.map(|(name, _)| name.to_owned()).collect()
        };
        let (on_arrays, on_disks) = (names(on_arrays), names(on_disks));
        self.add_copies(&on_arrays)?;
        if !wants_state || self.volume(reserved::STATE).is_ok() {
            return Ok(());
        }
        let added = match (on_arrays.is_empty(), &on_disks[..]) {
            (false, _) => self.add_state(Layout::Linear, &on_disks),
            (true, [_]) => self.add_state(Layout::Linear, &[]),
            (true, _) => self.add_state(Layout::Raid(Raid::Raid1, 2), &[]),
        };
        match added {
            Err(EditError::NoSpace { .. }) => Ok(()),
            added => added,
        }
    }

    /// Adds copies of the ledger as long as there is a member with room that has none and is not to be avoided; how many
    /// there are then.
    fn add_copies(&mut self, avoid: &[String]) -> Result<usize, EditError> {
        let extents = self.extents_of(REGION_BYTES as u64)?;
        let mut used = avoid.to_vec();
        let mut copies = 0;
        let mut lacking = Vec::new();
        for copy in 0..reserved::COPIES {
            let name = format!("{}{copy}", reserved::LEDGER);
            match self.volume(&name) {
                Ok(volume) => {
                    let references = tree::segments(volume).flat_map(tree::references);
                    used.extend(references.map(str::to_owned));
                    copies += 1;
                }
                Err(_) => lacking.push(name),
            }
        }
        for name in lacking {
            let mut space = Space::of(&self.metadata, &used)?;
            // In one piece, where the kernel can read it past its cache: see `ledger::region`.
            let Some(piece) = space.whole(extents, BLOCK_BYTES as u64) else {
                break;
            };
            used.push(piece.member.clone());
            let pieces = [piece];
            self.zero(&space, &pieces, REGION_BYTES as u64);
            self.add_volume(&name, true, super::layout::linears(0, &pieces));
            copies += 1;
        }
        Ok(copies)
    }

    fn add_state(&mut self, layout: Layout, avoid: &[String]) -> Result<(), EditError> {
        let extents = self.extents_of(STATE_BYTES)?;
        let mut space = Space::of(&self.metadata, avoid)?;
        self.build(&mut space, reserved::STATE, true, extents, layout)?;
        Ok(())
    }

    fn extents_of(&self, bytes: u64) -> Result<u64, EditError> {
        let extent = self.extent_sectors()?.saturating_mul(512);
        Ok(bytes.div_ceil(extent.max(1)))
    }
}
