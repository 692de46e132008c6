//! How full what is active is, where that can end in errors: thin pools, and the stores of snapshots.

use super::active::{VolumeError, failed};
use super::group::VolumeGroup;
use super::plan::{Choice, Device, Plan, Target};
use crate::sys::dm::Control;

/// How full a thin pool is, in percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// The pool.
    pub pool: String,
    /// Of its data.
    pub data: u64,
    /// Of its metadata.
    pub metadata: u64,
}

/// How full the active thin pools of a group are. One whose status is of another form (it failed) has none.
pub fn pool_usage(group: &VolumeGroup) -> Result<Vec<PoolUsage>, VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let pools: Vec<&Device> = plan
        .devices
        .iter()
        .filter(|device| device.check.is_some())
        .collect();
    if pools.is_empty() {
        return Ok(Vec::new());
    }
    let control = Control::open().map_err(VolumeError::Control)?;
    let mut usage = Vec::new();
    for device in pools {
        let status = control.target_status(&device.uuid);
        let status = status.map_err(failed(device, "target status"))?;
        let line = status.first().map_or("", |line| line.parameters.as_str());
        if let Some((metadata, data)) = percents(line) {
            usage.push(PoolUsage {
                pool: group.lvs[device.lv].name.clone(),
                data,
                metadata,
            });
        }
    }
    Ok(usage)
}

/// How full the store of a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUsage {
    /// The snapshot.
    pub snapshot: String,
    /// In percent; `None` when there is nothing to be had any more.
    pub percent: Option<u64>,
    /// The kernel has given the snapshot up: what it has is not what its origin had.
    pub is_invalid: bool,
}

/// How full the stores of a group's active snapshots are.
pub fn store_usage(group: &VolumeGroup) -> Result<Vec<StoreUsage>, VolumeError> {
    let plan = Plan::new(group, &Choice::serving())?;
    let is_snapshot = |device: &&Device| {
        let mut lines = device.lines.iter();
        lines.any(|line| matches!(line.target, Target::Snapshot { .. }))
    };
    let snapshots: Vec<&Device> = plan.devices.iter().filter(is_snapshot).collect();
    if snapshots.is_empty() {
        return Ok(Vec::new());
    }
    let control = Control::open().map_err(VolumeError::Control)?;
    let mut usage = Vec::new();
    for device in snapshots {
        let status = control.target_status(&device.uuid);
        let status = status.map_err(failed(device, "target status"))?;
        let line = status.first().map_or("", |line| line.parameters.as_str());
        usage.push(StoreUsage {
            snapshot: group.lvs[device.lv].name.clone(),
            percent: used(line),
            is_invalid: is_invalid(line),
        });
    }
    Ok(usage)
}

/// `TRANSACTION USED/TOTAL USED/TOTAL ...`, of metadata and of data (`pool_status` of `dm-thin.c`).
fn percents(status: &str) -> Option<(u64, u64)> {
    let mut words = status.split_ascii_whitespace().skip(1).map(|word| {
        let (used, total) = word.split_once('/')?;
        let (used, total): (u64, u64) = (used.parse().ok()?, total.parse().ok()?);
        used.saturating_mul(100).checked_div(total)
    });
    Some((words.next()??, words.next()??))
}

/// `USED/TOTAL METADATA`, in sectors; a word (`Invalid`, `Overflow`) when there is nothing to be had (`snapshot_status` of `dm-snap.c`).
fn used(status: &str) -> Option<u64> {
    let (used, total) = status.split_ascii_whitespace().next()?.split_once('/')?;
    let (used, total): (u64, u64) = (used.parse().ok()?, total.parse().ok()?);
    used.saturating_mul(100).checked_div(total)
}

/// One that only ran full by its own writes, `Overflow`, still has what it had.
fn is_invalid(status: &str) -> bool {
    status.trim() == "Invalid"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_a_pool_is_stands_in_its_status() {
        let status = "5 119/512 900/1000 - rw discard_passdown queue_if_no_space - 1024";
        assert_eq!(percents(status), Some((23, 90)));
        for other in ["Fail", "Error", "", "5 1/0 2/3", "5 1/2"] {
            assert_eq!(percents(other), None, "{other}");
        }
    }

    #[test]
    fn how_full_a_store_is_stands_in_the_status_of_its_snapshot() {
        assert_eq!(used("16/8192 16"), Some(0));
        assert_eq!(used("8192/8192 64"), Some(100));
        for lost in [
            "Invalid",
            "Overflow",
            "Merge failed",
            "Unknown",
            "",
            "1/0 0",
        ] {
            assert_eq!(used(lost), None, "{lost}");
            assert_eq!(is_invalid(lost), lost == "Invalid");
        }
        assert!(!is_invalid("16/8192 16"));
    }
}
