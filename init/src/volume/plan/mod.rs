//! From the metadata to the devices that make them usable: which, on what, in which order.
//!
//! Pure: nothing is looked up and nothing done. A plan holds what `vgchange -ay` of lvm2 would make of the same
//! metadata and disks, device by device, with the same names, uuids and tables, so that either can go on where the
//! other one stopped. What is different, on purpose:
//!
//! - the ledger's volumes are left out ([`super::reserved`]);
//! - a volume above a degraded RAID volume (a thin pool on it, say) may be used too, where lvm2 takes only the RAID
//!   volume itself ([`super::health`]);
//! - work that was under way is not taken up, but for the merge of a snapshot with a store: see [`PlanError::UnderWay`].
//!
//! Layers are those of `lib/activate/dev_manager.c`: a used pool is below its name as `-tpool` or `-vpool`, an origin
//! as `-real`, the copies of a snapshot as `-cow`. A snapshot comes before its origin: an origin that takes writes
//! while a snapshot of it is not there yet spoils the snapshot. One that is being merged into its origin is the origin's from the
//! first moment on, and its own device fails all that comes, so that nobody writes to its store.

mod build;
mod cache;
mod hold;
mod integrity;
mod line;
mod mirror;
mod names;
mod raid;
mod same;
mod segment;
mod support;
mod thin;
mod vdo;
mod writecache;

pub use build::Choice;
pub use cache::CacheTarget;
pub use hold::Hold;
pub use integrity::IntegrityTarget;
pub use line::{Backing, Line, Place, Show, Target};
pub use mirror::MirrorTarget;
pub use names::{device_name, device_uuid, uuid_prefix};
pub use raid::RaidTarget;
pub use same::is_same;
pub use support::{PlanError, Work};
pub use thin::{PoolCheck, PoolMessage, ThinPoolTarget};
pub use vdo::VdoTarget;
pub use writecache::WritecacheTarget;

use std::cell::Cell;

use crate::sys::dm::TableLine;

/// The devices of a volume group, each after all that it stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are made.
    pub devices: Vec<Device>,
}

/// A device of device-mapper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// Its table.
    pub lines: Vec<Line>,
    /// It takes no writes.
    pub is_read_only: bool,
    /// What it is for.
    pub purpose: Purpose,
    /// The logical volume that it belongs to, by index.
    pub lv: usize,
    /// A part of what it stands on is lost, and what is left is enough.
    pub is_degraded: bool,
    /// What must hold once it is there and before anything stands on it.
    pub check: Option<PoolCheck>,
}

/// What a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be used.
    Volume,
    /// It has a name of its own that others are not to use: a thin pool.
    Pool,
    /// A part or a layer of another one.
    Internal,
}

impl Device {
    /// Its length in sectors.
    pub fn sectors(&self) -> u64 {
        self.lines.iter().map(|line| line.length).sum()
    }

    fn stands_on(&self, other: usize) -> bool {
        let found = Cell::new(false);
        let note = |backing| {
            if backing == Backing::Device(other) {
                found.set(true);
            }
            String::new()
        };
        self.table(&note);
        found.get()
    }

    /// Its table as the kernel is given it.
    pub fn table(&self, show: &Show<'_>) -> Vec<TableLine> {
        self.lines
            .iter()
            .map(|line| line.table_line(show))
            .collect()
    }
}

impl Plan {
    /// The devices that are there for one logical volume alone, each before all that it stands on: its own, and below
    /// them those that nothing else stands on and nobody uses. Of an origin with snapshots what these stand on stays.
    pub fn only_for(&self, lv: usize) -> Vec<&Device> {
        let mut is_in = vec![false; self.devices.len()];
        // Whatever stands on a device comes after it.
        for index in (0..self.devices.len()).rev() {
            let device = &self.devices[index];
            let mut users = (index + 1..self.devices.len())
                .filter(|user| self.devices[*user].stands_on(index))
                .peekable();
            let is_part = device.purpose == Purpose::Internal && users.peek().is_some();
            is_in[index] = (device.lv == lv || is_part) && users.all(|user| is_in[user]);
        }
        let devices = self.devices.iter().zip(is_in).rev();
        devices
            .filter_map(|(device, is_in)| is_in.then_some(device))
            .collect()
    }

    /// All tables, as `dmsetup table` prints them, by name; a device stands there by its name, and a disk as `disk`
    /// calls it.
    pub fn show(&self, disk: &dyn Fn((u32, u32)) -> String) -> String {
        let show = |backing| match backing {
            Backing::Disk(number) => disk(number),
            Backing::Device(index) => self.devices[index].name.clone(),
        };
        let mut lines = Vec::new();
        for device in &self.devices {
            for line in device.table(&show) {
                lines.push(format!("{}: {line}", device.name).trim_end().to_owned());
            }
        }
        lines.sort_by(|one, other| {
            // The lines of one table stay in their order.
            one.split(": ").next().cmp(&other.split(": ").next())
        });
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
