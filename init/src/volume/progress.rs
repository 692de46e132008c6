//! How far RAID volumes are that the kernel makes equal: after they were made, after a crash, on a new disk.

use std::collections::BTreeSet;

use super::active::{VolumeError, failed};
use super::group::{Flag, Links, RaidLevel, SegmentKind, VolumeGroup};
use super::plan::{Choice, Device, Plan, Target};
use crate::sys::dm::{Control, TableLine};

/// A RAID volume, or a part of another one that is RAID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The logical volume's name.
    pub lv: String,
    /// Of all that is to be made equal, rounded down.
    pub percent: u8,
    /// Every image is there and equal to the others, and nothing is done to find that out.
    pub is_whole: bool,
    /// All of it is made equal, or waits for that: which of its images are right is not known everywhere.
    pub is_resync: bool,
    /// Something of it is made equal, or waits for that. Not so when the kernel goes on without an image.
    pub is_under_way: bool,
    /// What the kernel says of each image, in their order.
    pub images: Vec<ImageState>,
}

/// What the kernel's RAID says of an image (`__raid_dev_status` of dm-raid).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// `A`: it has all.
    InSync,
    /// `a`: it lacks something. While all of a volume is made equal this is said of all of its images.
    Behind,
    /// `D`: it failed, and nothing is written to it any more. It is not taken back while the table stays; a new one, also an import,
    /// finds in the superblocks of the others that it failed, and makes it equal (`super_init_validation`). Its own superblock says
    /// nothing of it: alone it passes for one that has all.
    Failed,
    /// `-`: the table has none.
    Absent,
}

/// What the kernel says of all RAID volumes that are active.
///
/// # Errors
/// Device-mapper's.
pub fn progress(group: &VolumeGroup) -> Result<Vec<Progress>, VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let raids = plan
        .devices
        .iter()
        .filter(|device| is_raid(group, device.lv));
    let control = Control::open().map_err(VolumeError::Control)?;
    let mut found = Vec::new();
    for device in raids {
        // After a change that was not followed to its end not all are there.
        let known = control.status(&device.uuid);
        if known.map_err(failed(device, "status"))?.is_none() {
            continue;
        }
        let status = control.target_status(&device.uuid);
        let status = status.map_err(failed(device, "target status"))?;
        let lv = &group.lvs[device.lv].name;
        found.extend(status.first().and_then(|line| of_status(lv, line)));
    }
    Ok(found)
}

/// Has the kernel compare all images of a RAID volume that is active, and make equal what is not.
///
/// # Errors
/// Device-mapper's.
pub fn compare(group: &VolumeGroup, name: &str) -> Result<(), VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let control = Control::open().map_err(VolumeError::Control)?;
    let devices = plan.devices.iter();
    let mut devices = devices.filter(|device| group.lvs[device.lv].name == name);
    let is_raid = |device: &&Device| {
        let mut lines = device.lines.iter();
        lines.any(|line| matches!(line.target, Target::Raid(_)))
    };
    match devices.find(is_raid) {
        Some(device) => {
            let told = control.message(&device.uuid, 0, "repair");
            told.map_err(failed(device, "message"))
        }
        None => Ok(()),
    }
}

fn is_raid(group: &VolumeGroup, lv: usize) -> bool {
    let segments = &group.lvs[lv].segments;
    let mut raids = segments.iter();
    raids.any(|segment| matches!(&segment.kind, SegmentKind::Raid(raid) if !raid.level.is_raid0()))
}

fn of_status(lv: &str, line: &TableLine) -> Option<Progress> {
    match line.kind.as_str() {
        "raid" => Progress::said(lv, &line.parameters),
        _ => None,
    }
}

impl Progress {
    /// `LEVEL IMAGES HEALTH DONE/ALL ACTION ...` of `raid_status` in dm-raid: a letter an image.
    pub(crate) fn said(lv: &str, status: &str) -> Option<Progress> {
        let mut words = status.split_ascii_whitespace().skip(2);
        let health = words.next()?;
        let (done, all) = words.next()?.split_once('/')?;
        let (done, all): (u64, u64) = (done.parse().ok()?, all.parse().ok()?);
        let action = words.next().unwrap_or_default();
        let images: Vec<ImageState> = health
            .bytes()
            .map(|letter| match letter {
                b'A' => ImageState::InSync,
                b'D' => ImageState::Failed,
                b'-' => ImageState::Absent,
                _ => ImageState::Behind,
            })
            .collect();
        // DONE is of whatever is done now: a part, or only a check.
        let is_of_all = !matches!(action, "recover" | "check" | "repair");
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100);
        Some(Progress {
            lv: lv.to_owned(),
            percent: u8::try_from(percent).unwrap_or(100).min(100),
            is_whole: done >= all
                && action == "idle"
                && images.iter().all(|image| *image == ImageState::InSync),
            is_resync: action == "resync" || (done < all && is_of_all),
            is_under_way: done < all || images.contains(&ImageState::Behind),
            images,
        })
    }
}

impl VolumeGroup {
    /// The group as the kernel sees it: images that its RAID does not count on are old, whatever the metadata say.
    pub fn as_active(&self, progress: &[Progress]) -> VolumeGroup {
        let mut group = self.clone();
        for (image, state) in progress.iter().flat_map(|one| self.states(one)) {
            group.lvs[image].is_behind |= state != ImageState::InSync;
        }
        group
    }

    /// The images that the kernel has thrown out, each with its volume and the members that it is on, by index. Not those on members
    /// that are marked as missing: these are out for good.
    pub fn thrown_out<'a>(&self, progress: &'a [Progress]) -> Vec<(usize, &'a str, Vec<usize>)> {
        let failed = self.with_state(progress, &|state| state == ImageState::Failed);
        let is_gone = |pvs: &[usize]| pvs.iter().any(|pv| self.pvs[*pv].is_missing);
        failed
            .into_iter()
            .filter(|(_, _, pvs)| !is_gone(pvs))
            .collect()
    }

    /// The images that the kernel does not count on, by their volumes and members.
    pub fn not_counted_on<'a>(&self, progress: &'a [Progress]) -> Vec<(&'a str, Vec<usize>)> {
        let others = self.with_state(progress, &|state| state != ImageState::InSync);
        others
            .into_iter()
            .map(|(_, volume, pvs)| (volume, pvs))
            .collect()
    }

    fn with_state<'a>(
        &self,
        progress: &'a [Progress],
        wanted: &dyn Fn(ImageState) -> bool,
    ) -> Vec<(usize, &'a str, Vec<usize>)> {
        let Ok(links) = Links::new(self) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for one in progress {
            let images = self.states(one).into_iter();
            for (image, _) in images.filter(|(_, state)| wanted(*state)) {
                let below = self.closure(&links, image).into_iter();
                let pvs: BTreeSet<usize> = below.flat_map(|lv| self.pvs_of(lv)).collect();
                found.push((image, one.lv.as_str(), pvs.into_iter().collect()));
            }
        }
        found
    }

    /// The images of a RAID volume, by the volumes that have their data.
    pub fn images_of(&self, name: &str) -> Vec<usize> {
        let volume = self.lvs.iter().filter(|lv| lv.name == name);
        let segments = volume.flat_map(|lv| &lv.segments);
        let images = segments.filter_map(|segment| match &segment.kind {
            SegmentKind::Raid(raid) => Some(&raid.images),
            _ => None,
        });
        images.flatten().map(|image| image.data).collect()
    }

    fn states(&self, progress: &Progress) -> Vec<(usize, ImageState)> {
        let images = self.images_of(&progress.lv).into_iter().enumerate();
        // Of one that nothing is said of nothing is known.
        let state = |place: usize| progress.images.get(place).copied();
        images
            .map(|(place, image)| (image, state(place).unwrap_or(ImageState::Behind)))
            .collect()
    }

    /// How far what a volume stands on is, where that is made equal; the least of several.
    pub fn under_way(&self, name: &str, progress: &[Progress]) -> Option<u8> {
        let links = Links::new(self).ok()?;
        let lv = self.lvs.iter().position(|lv| lv.name == name)?;
        let needed = self.closure(&links, lv);
        let is_below = |one: &&Progress| needed.iter().any(|lv| self.lvs[*lv].name == one.lv);
        let below = progress.iter().filter(is_below);
        below
            .filter(|one| one.is_under_way)
            .map(|one| one.percent)
            .min()
    }

    /// Volumes with more than one image that should be equal beside one that is to be rebuilt, or is old, by name.
    pub fn lacking_mirrors(&self) -> BTreeSet<String> {
        let lacks = |image: usize| {
            let image = &self.lvs[image];
            image.flags.has(Flag::Rebuild) || image.is_behind
        };
        let lvs = self.lvs.iter().filter(|lv| self.has_twins(&lv.name));
        let lvs = lvs.filter(|lv| self.images_of(&lv.name).into_iter().any(lacks));
        lvs.map(|lv| lv.name.clone()).collect()
    }

    /// The same of one that the kernel makes equal now, and that the metadata do not call to be rebuilt.
    pub fn takes_back(&self, progress: &Progress) -> bool {
        let mut states = self.states(progress).into_iter();
        let is_back = |(image, state): (usize, ImageState)| {
            state == ImageState::Behind && !self.lvs[image].flags.has(Flag::Rebuild)
        };
        self.has_twins(&progress.lv) && !progress.is_resync && states.any(is_back)
    }

    /// Whether images that should be equal are left when one is not counted.
    fn has_twins(&self, name: &str) -> bool {
        let volume = self.lvs.iter().filter(|lv| lv.name == name);
        let mut segments = volume.flat_map(|lv| &lv.segments);
        segments.any(|segment| match &segment.kind {
            SegmentKind::Raid(raid) => {
                let is_mirror = matches!(raid.level, RaidLevel::Raid1 | RaidLevel::Raid10);
                is_mirror && raid.images.len() > 2
            }
            _ => false,
        })
    }

    /// RAID volumes with images that the metadata call to be rebuilt, by name.
    pub fn rebuilding(&self) -> Vec<String> {
        let volumes = self.lvs.iter().filter(|lv| {
            let mut images = self.images_of(&lv.name).into_iter();
            images.any(|image| self.lvs[image].flags.has(Flag::Rebuild))
        });
        volumes.map(|lv| lv.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parameters: &str) -> Option<Progress> {
        let line = TableLine {
            start: 0,
            length: 8,
            kind: "raid".to_owned(),
            parameters: parameters.to_owned(),
        };
        of_status("v", &line)
    }

    #[test]
    fn what_dm_raid_says_is_understood() {
        let whole = said("raid1 2 AA 8192/8192 idle 0 0 -").unwrap();
        assert!(whole.is_whole && whole.percent == 100);
        // Told to, and not begun.
        assert!(!said("raid1 2 AA 8192/8192 repair 0 0 -").unwrap().is_whole);
        let under_way = said("raid5_ls 3 AAa 300/4096 recover 0 0 -").unwrap();
        assert!(!under_way.is_whole && under_way.percent == 7);
        assert!(under_way.is_under_way && !under_way.is_resync);
        let lost = said("raid1 2 AD 8192/8192 idle 0 0 -").unwrap();
        assert!(!lost.is_whole && !lost.is_under_way && !lost.is_resync);
        assert_eq!(lost.images, [ImageState::InSync, ImageState::Failed]);
        let split = said("raid1 3 A-a 300/4096 recover 0 0 -").unwrap();
        assert_eq!(split.images[1..], [ImageState::Absent, ImageState::Behind]);
        for (status, is_resync) in [
            ("raid6_zr 5 aaaaa 300/4096 resync 0 0 -", true),
            // It waits for its turn.
            ("raid6_zr 5 AAAAA 0/4096 idle 0 0 -", true),
            ("raid6_zr 5 AAAAA 300/4096 check 0 0 -", false),
            ("raid6_zr 5 AAAAA 4096/4096 idle 0 0 -", false),
        ] {
            assert_eq!(said(status).unwrap().is_resync, is_resync, "{status}");
        }
        for nonsense in ["", "raid1 2 AA", "raid1 2 AA 7 idle", "raid1 2 AA x/y idle"] {
            assert_eq!(said(nonsense), None, "{nonsense}");
        }
    }
}
