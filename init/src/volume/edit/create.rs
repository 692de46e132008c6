//! New volumes.

use orthrus_hb::ledger::REGION_BYTES;

use super::super::reserved;
use super::space::Space;
use super::{Edit, EditError, Layout};

/// How many copies of the ledger there are at most.
const COPIES: usize = 3;
/// Extents of the volume for what clients need kept, as the lab's disk maker has it.
const STATE_EXTENTS: u64 = 2;

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
        let extent = self.extent_sectors()?.saturating_mul(512);
        let extents = (REGION_BYTES as u64).div_ceil(extent.max(1));
        let mut used = Vec::new();
        let mut lacking = Vec::new();
        for copy in 0..COPIES {
            let name = format!("{}{copy}", reserved::LEDGER);
            match self.volume(&name) {
                Ok(volume) => {
                    let segments = super::tree::segments(volume);
                    used.extend(
                        segments
                            .flat_map(super::tree::references)
                            .map(str::to_owned),
                    );
                }
                Err(_) => lacking.push(name),
            }
        }
        for name in lacking {
            let mut space = Space::of(&self.metadata, &used)?;
            let Some(member) = space.with_room(extents).into_iter().next() else {
                break;
            };
            let Some(pieces) = space.on(&member, extents) else {
                break;
            };
            self.zero(&space, &pieces, REGION_BYTES as u64);
            self.add_volume(&name, true, super::layout::linears(0, &pieces));
            used.push(member);
        }
        if used.is_empty() {
            return Err(EditError::NoSpace {
                wanted: extents,
                how: "for a copy of the ledger",
                free: 0,
            });
        }
        let state = format!("{}state", reserved::PREFIX);
        if self.volume(&state).is_err() {
            let mut space = Space::of(&self.metadata, &[])?;
            self.build(&mut space, &state, true, STATE_EXTENTS, layout)?;
        }
        Ok(())
    }
}
