//! What an operator can do about a step that failed, for errors that tell only the step, the place and the kernel's answer.
//!
//! Here and not in those errors: they end jobs, orders and lines of the log, and only a job that failed leaves a pool unserved with nobody
//! asked. Each `match` is without a wildcard, so that a new variant does not compile until somebody has said what ends it. An import
//! that failed is undone and tried again within a minute, which `status` says itself.

use crate::disk::DiskError;
use crate::export::{Cause, ExportError};
use crate::modules::ModuleError;
use crate::volume::VolumeError;
use crate::volume::edit::apply::ApplyError;
use crate::volume::write::WriteError;

use super::shares::SharesError;

/// Nothing is known but what the kernel answered.
pub(super) const SEE_LOG: &str = "see `log` for what the kernel says of it; if it comes again, `reboot` this head: the other one tries as well";

/// Of a port or an address.
pub(super) const SEE_PORT: &str = "check that this head's `data` in the configuration names the port that it has, its cable, and `log`";

/// What a release did not get rid of ends with this kernel.
pub(super) const RESETS: &str = "a head that cannot let go resets, and the other one takes the pool; if it comes again, see `log --ledger`";

/// A claim that the core did not make: it comes with the next one.
pub(super) const CLAIMED_ANEW: &str = "it is claimed anew by itself";

const SEE_DISK: &str = "check its power and its cables; if it is broken, pull it out";
const RESTORE: &str = "vgcfgrestore on a host with lvm2 writes them anew from a backup";

pub(super) fn of_export(error: &ExportError) -> &'static str {
    match &error.cause {
        Cause::Kernel(_) | Cause::Said(_) => SEE_LOG,
        Cause::Other(_) => "it is left over in this head's kernel: `reboot` takes it away",
        Cause::TimedOut(_) => "the kernel is still at it, and only its end or a `reboot` ends that",
    }
}

pub(super) fn of_shares(error: &SharesError) -> &'static str {
    match error {
        SharesError::Mount(_) => SEE_LOG,
        SharesError::Export(error) => of_export(error),
    }
}

pub(super) fn of_module(error: &ModuleError) -> &'static str {
    match error {
        ModuleError::Index { .. } => {
            "the firmware's file is damaged: put a whole one into its slot, and `reboot`"
        }
        ModuleError::Unknown { .. } => {
            "this firmware cannot serve such volumes: boot one that can, or convert them on a host with lvm2"
        }
        ModuleError::Load { .. } => SEE_LOG,
    }
}

pub(super) fn of_disk(error: &DiskError) -> &'static str {
    match error {
        DiskError::List { .. } => SEE_LOG,
        DiskError::Attribute { .. } | DiskError::CacheSwitch { .. } => SEE_DISK,
        DiskError::NoIdentity { .. } => {
            "give it a serial number where it is made (a target's or a virtual machine's disk), or take another disk"
        }
        DiskError::Another { .. } => {
            "disks were changed meanwhile: leave them in their places, the next look finds what is there"
        }
        DiskError::CacheStays { .. } => "turn it off at the disk or its target",
    }
}

/// With what parts it from the error, as the others say it themselves.
pub(super) fn of_volume(error: &VolumeError) -> &'static str {
    match error {
        VolumeError::Call { .. } => {
            "; check power and cables of the disks, and `log`; if it comes again, `reboot` this head: the other one tries as well"
        }
        VolumeError::Control(_)
        | VolumeError::Plan(_)
        | VolumeError::Different { .. }
        | VolumeError::Transaction { .. }
        | VolumeError::List(_) => "",
    }
}

pub(super) fn of_write(error: &WriteError) -> &'static str {
    match error {
        WriteError::NoMetadata { .. } | WriteError::Absent { .. } => {
            "check power and cables of the disks; if they are wiped, vgcfgrestore on a host with lvm2 writes them anew from a backup"
        }
        WriteError::NotZeroed(_) | WriteError::TooFew { .. } | WriteError::Unsettled { .. } => {
            "check power and cables of the disks"
        }
        WriteError::OtherGroup { .. } => {
            "pvremove on a host with lvm2 takes the disk out of the one that it is not of"
        }
        WriteError::Occupied { .. } => {
            "if nothing on it is needed, pvremove or wipefs on a host with lvm2 first"
        }
        WriteError::Disagreement { .. }
        | WriteError::Misplaced { .. }
        | WriteError::SequenceEnd => RESTORE,
        WriteError::TooLarge { .. } => {
            "fewer volumes and segments make the text shorter; disks with a larger area (pvcreate --metadatasize) take more, once all have one"
        }
        WriteError::Invalid(_) => "a fault of this firmware: nothing was written; boot another one",
        WriteError::Fenced(_) => "the other head has taken the pool, and this one resets",
    }
}

pub(super) fn of_apply(error: &ApplyError) -> &'static str {
    match error {
        ApplyError::Edit(_) => "vgreduce --removemissing on a host with lvm2 takes it out",
        ApplyError::Write(error) => of_write(error),
        ApplyError::Random(_) => SEE_LOG,
    }
}
