//! Tests only: volume groups as text, made up, for what no fixture has: any kind on any disks.

use std::fmt::Write as _;

use super::disk;
use crate::volume::VolumeGroup;

/// Extents of a disk, each of 4 MiB.
const EXTENTS: usize = 1000;

/// A text that grows.
#[derive(Clone)]
pub struct Made {
    /// Next free extent of each disk.
    free: Vec<usize>,
    volumes: String,
    count: usize,
    missing: Vec<usize>,
}

fn id(kind: &str, number: usize) -> String {
    let compact = format!("{kind:0<26}{number:06}");
    let (mut text, mut at) = (String::new(), 0);
    for length in [6, 4, 4, 4, 4, 4, 6] {
        let hyphen = if at > 0 { "-" } else { "" };
        let _ = write!(text, "{hyphen}{}", &compact[at..at + length]);
        at += length;
    }
    text
}

impl Made {
    /// On that many disks.
    pub fn on(disks: usize) -> Made {
        Made {
            free: vec![0; disks],
            volumes: String::new(),
            count: 0,
            missing: Vec::new(),
        }
    }

    /// An owner called this disk missing.
    pub fn missing(mut self, disk: usize) -> Made {
        self.missing.push(disk);
        self
    }

    /// A volume of one segment.
    pub fn volume(mut self, name: &str, status: &str, extents: usize, segment: &str) -> Made {
        self.count += 1;
        let id = id("lv", self.count);
        let _ = write!(
            self.volumes,
            "{name} {{\nid = \"{id}\"\nstatus = [{status}]\nflags = []\nsegment_count = 1\n\
             segment1 {{\nstart_extent = 0\nextent_count = {extents}\n{segment}\n}}\n}}\n"
        );
        self
    }

    /// A volume on one disk.
    pub fn linear(mut self, name: &str, status: &str, disk: usize, extents: usize) -> Made {
        let start = self.free[disk];
        self.free[disk] += extents;
        let segment =
            format!("type = \"striped\"\nstripe_count = 1\nstripes = [\"pv{disk}\", {start}]");
        self.volume(name, status, extents, &segment)
    }

    /// A hidden one.
    pub fn part(self, name: &str, disk: usize, extents: usize) -> Made {
        self.linear(name, "\"READ\", \"WRITE\"", disk, extents)
    }

    /// A visible one on one disk.
    pub fn simple(self, name: &str, disk: usize) -> Made {
        self.linear(name, VISIBLE, disk, 4)
    }

    /// A RAID volume with an image on each of these disks.
    pub fn raid(self, name: &str, level: &str, disks: &[usize]) -> Made {
        self.raid_with(name, VISIBLE, level, disks, "")
    }

    /// The same with a status and further settings.
    pub fn raid_with(
        mut self,
        name: &str,
        status: &str,
        level: &str,
        disks: &[usize],
        settings: &str,
    ) -> Made {
        let mut images = Vec::new();
        for (image, disk) in disks.iter().enumerate() {
            let (meta, data) = (
                format!("{name}_rmeta_{image}"),
                format!("{name}_rimage_{image}"),
            );
            self = self.part(&meta, *disk, 1).part(&data, *disk, 4);
            images.push(format!("\"{meta}\", \"{data}\""));
        }
        let data = match level {
            "raid1" => 1,
            "raid10" => disks.len() / 2,
            _ if level.starts_with("raid6") => disks.len() - 2,
            _ => disks.len() - 1,
        };
        let chunk = if level == "raid1" {
            ""
        } else {
            "stripe_size = 128\n"
        };
        let segment = format!(
            "type = \"{level}\"\ndevice_count = {}\nregion_size = 4096\n{chunk}{settings}raids = [{}]",
            disks.len(),
            images.join(", ")
        );
        self.volume(name, status, 4 * data, &segment)
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut pvs = String::new();
        for disk in 0..self.free.len() {
            let flags = if self.missing.contains(&disk) {
                "\"MISSING\""
            } else {
                ""
            };
            let _ = write!(
                pvs,
                "pv{disk} {{\nid = \"{}\"\ndevice = \"/dev/sd{disk}\"\nstatus = [\"ALLOCATABLE\"]\nflags = [{flags}]\n\
                 pe_start = 2048\npe_count = {EXTENTS}\n}}\n",
                id("pv", disk)
            );
        }
        format!(
            "tank {{\nid = \"{}\"\nseqno = 7\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\n\
             extent_size = 8192\nphysical_volumes {{\n{pvs}}}\nlogical_volumes {{\n{}}}\n}}\n",
            id("vg", 0),
            self.volumes
        )
    }

    /// The group, with these disks here.
    pub fn group_with(&self, here: &[usize]) -> VolumeGroup {
        let mut group = VolumeGroup::parse(&self.text()).unwrap();
        for pv in here {
            let index = *pv as u32;
            group.pvs[*pv].disk = Some(disk(index, 8 << 30));
        }
        group
    }

    /// The group, with all disks here.
    pub fn group(&self) -> VolumeGroup {
        let all: Vec<usize> = (0..self.free.len()).collect();
        self.group_with(&all)
    }
}

/// Status of a volume to use.
pub const VISIBLE: &str = "\"READ\", \"WRITE\", \"VISIBLE\"";
/// Status of a part.
pub const HIDDEN: &str = "\"READ\", \"WRITE\"";
