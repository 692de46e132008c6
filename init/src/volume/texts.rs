//! The texts that one look at the disks finds: a group's metadata are on each of its disks, and are understood once.
//!
//! A hundred disks with a thousand volumes would be a hundred copies of all that a thousand volumes are, at the same
//! time: more than all else that a head keeps in memory. What is equal byte for byte is one group; what is not is understood by
//! itself and compared, as two copies of one age that differ are a reason to leave a group alone.

use std::sync::{Arc, Mutex, Weak};

use super::VolumeGroup;
use super::group::GroupError;
use crate::sync::lock;

#[derive(Default)]
struct Known(Mutex<Vec<(String, Arc<VolumeGroup>)>>);

/// Those of one look; gone with it.
#[derive(Default)]
pub(super) struct Texts(Arc<Known>);

/// For the threads that read the disks. One whose disk never answers keeps none of the texts for ever.
#[derive(Clone, Default)]
pub(super) struct Reader(Weak<Known>);

impl Texts {
    pub(super) fn reader(&self) -> Reader {
        Reader(Arc::downgrade(&self.0))
    }
}

impl Reader {
    /// The group that a text describes.
    pub(super) fn understand(&self, text: String) -> Result<Arc<VolumeGroup>, GroupError> {
        let Some(known) = self.0.upgrade() else {
            // The look is over, and nobody waits for this.
            return VolumeGroup::parse(&text).map(Arc::new);
        };
        // Nothing is waited for while this is held: what is done here is arithmetic.
        let mut known = lock(&known.0);
        if let Some((_, group)) = known.iter().find(|(same, _)| *same == text) {
            return Ok(group.clone());
        }
        let group = Arc::new(VolumeGroup::parse(&text)?);
        known.push((text, group.clone()));
        Ok(group)
    }
}
