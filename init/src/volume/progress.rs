//! How far RAID volumes are that the kernel makes equal: after they were made, after a crash, on a new disk.

use super::active::VolumeError;
use super::group::{Flag, SegmentKind, VolumeGroup};
use super::plan::{Choice, Plan};
use crate::sys::dm::{Control, TableLine};

/// A RAID volume, or a part of another one that is RAID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The logical volume's name.
    pub lv: String,
    /// Of all that is to be made equal, rounded down.
    pub percent: u8,
    /// Every image is there and equal to the others.
    pub is_whole: bool,
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
        let status = control.target_status(&device.uuid);
        let status = status.map_err(|source| VolumeError::Call {
            device: device.name.clone(),
            step: "target status",
            source,
        })?;
        let lv = &group.lvs[device.lv].name;
        found.extend(status.first().and_then(|line| of_status(lv, line)));
    }
    Ok(found)
}

fn is_raid(group: &VolumeGroup, lv: usize) -> bool {
    let segments = &group.lvs[lv].segments;
    let mut raids = segments.iter();
    raids.any(|segment| matches!(&segment.kind, SegmentKind::Raid(raid) if !raid.level.is_raid0()))
}

/// `LEVEL IMAGES HEALTH DONE/ALL ACTION ...` of `raid_status` in dm-raid: a letter an image, `A` for one that is whole.
fn of_status(lv: &str, line: &TableLine) -> Option<Progress> {
    if line.kind != "raid" {
        return None;
    }
    let mut words = line.parameters.split_ascii_whitespace().skip(2);
    let health = words.next()?;
    let (done, all) = words.next()?.split_once('/')?;
    let (done, all): (u64, u64) = (done.parse().ok()?, all.parse().ok()?);
    let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100);
    Some(Progress {
        lv: lv.to_owned(),
        percent: u8::try_from(percent).unwrap_or(100).min(100),
        is_whole: done >= all && health.bytes().all(|image| image == b'A'),
    })
}

impl VolumeGroup {
    /// RAID volumes with images that the metadata call to be rebuilt, by name.
    pub fn rebuilding(&self) -> Vec<String> {
        let volumes = self.lvs.iter().filter(|lv| {
            let images = lv
                .segments
                .iter()
                .filter_map(|segment| match &segment.kind {
                    SegmentKind::Raid(raid) => Some(&raid.images),
                    _ => None,
                });
            let mut images = images.flatten();
            images.any(|image| self.lvs[image.data].flags.has(Flag::Rebuild))
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
        let under_way = said("raid5_ls 3 AAa 300/4096 recover 0 0 -").unwrap();
        assert!(!under_way.is_whole && under_way.percent == 7);
        let lost = said("raid1 2 AD 8192/8192 idle 0 0 -").unwrap();
        assert!(!lost.is_whole);
        for nonsense in ["", "raid1 2 AA", "raid1 2 AA 7 idle", "raid1 2 AA x/y idle"] {
            assert_eq!(said(nonsense), None, "{nonsense}");
        }
    }
}
