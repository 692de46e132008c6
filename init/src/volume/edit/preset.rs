//! How a pool's new volumes lie on its disks when an order does not say it: a tag of the group, `orthrus.raid=raid6:5`.
//!
//! A tag, since lvm2 keeps those whatever else it changes, shows them (`vgs -o vg_tags`), and lets an administrator put another one in
//! its place while nobody holds the pool. It has the characters that tags may have: see `write::stamp`.
//!
//! Decisions:
//! - The number of images stands in it, so that what is meant does not change with the fewest of a level.
//! - A tag that is not understood (of a later firmware, or two of them, as `vgmerge` leaves them) is no reason to make a volume that a lost
//!   disk takes with it: such an order is refused until it says its level.
//! - It is for new volumes and thin pools. What is there stays as it is, a snapshot lies with its origin or has a store as before, and the
//!   firmware's own volumes are made as in any pool.

use super::super::write::Metadata;
use super::super::write::stamp;
use super::layout::{Layout, Raid};
use super::{Edit, EditError};

/// What the tag begins with.
pub const RAID_TAG: &str = "orthrus.raid=";

/// How new volumes of a group with these tags lie.
///
/// # Errors
/// What the tags say is not known here.
pub fn default_layout<'a>(tags: impl IntoIterator<Item = &'a str>) -> Result<Layout, EditError> {
    let said = tags.into_iter().filter(|tag| tag.starts_with(RAID_TAG));
    let said: Vec<&str> = said.collect();
    match said[..] {
        [] => Ok(Layout::Linear),
        [tag] => parse(tag).ok_or_else(|| EditError::Default(tag.to_owned())),
        _ => Err(EditError::Default(said.join(" and "))),
    }
}

fn parse(tag: &str) -> Option<Layout> {
    let (level, images) = tag.strip_prefix(RAID_TAG)?.split_once(':')?;
    let level = Raid::ALL.into_iter().find(|raid| raid.name() == level)?;
    let layout = Layout::Raid(level, images.parse().ok()?);
    layout.check().is_ok().then_some(layout)
}

/// The tag of a group whose new volumes lie like this; none where they are linear.
fn tag(layout: Layout) -> Result<Option<String>, EditError> {
    layout.check()?;
    match layout {
        Layout::Linear => Ok(None),
        Layout::Raid(level, images) => Ok(Some(format!("{RAID_TAG}{}:{images}", level.name()))),
        Layout::Striped(_) => Err(EditError::Size(
            "a pool's default is a level of RAID, or linear; raid0 has stripes".to_owned(),
        )),
    }
}

/// That a volume can lie like this on so many disks.
///
/// # Errors
/// It takes more.
pub fn enough_disks(layout: Layout, disks: usize) -> Result<(), EditError> {
    let wanted = layout.disks();
    match usize::try_from(wanted).is_ok_and(|wanted| wanted <= disks) {
        true => Ok(()),
        false => Err(EditError::TooFewDisks {
            layout: layout.to_string(),
            wanted,
            disks,
        }),
    }
}

/// Why there is no room for a volume that lies like this: with the default, where that was not said.
pub(super) fn named(why: EditError, said: Option<Layout>, lies: Layout) -> EditError {
    match (&why, said, lies) {
        (EditError::NoSpace { .. }, None, Layout::Raid(..)) => EditError::ByDefault {
            why: Box::new(why),
            layout: lies.to_string(),
        },
        _ => why,
    }
}

fn has(metadata: &Metadata) -> Vec<String> {
    let tags = metadata.tags().filter(|tag| tag.starts_with(RAID_TAG));
    tags.map(str::to_owned).collect()
}

impl Edit<'_> {
    /// From now on new volumes lie like this when their order does not say it.
    ///
    /// # Errors
    /// The group has too few members for that, or it is none that can be a default.
    pub fn set_default(&mut self, layout: Layout) -> Result<(), EditError> {
        enough_disks(layout, self.metadata.members().count())?;
        let wanted = tag(layout)?;
        for former in has(&self.metadata) {
            stamp::tag(&mut self.metadata, &former, false);
        }
        if let Some(wanted) = wanted {
            stamp::tag(&mut self.metadata, &wanted, true);
        }
        Ok(())
    }

    /// How a new volume lies: as was said, or as the group has it for those of which nothing is said.
    pub(super) fn layout_or_default(&self, said: Option<Layout>) -> Result<Layout, EditError> {
        said.map_or_else(|| default_layout(self.metadata.tags()), Ok)
    }
}
