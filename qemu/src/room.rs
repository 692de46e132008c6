//! Whether the host has room for a lab: memory for its machines, space for what is built and for its disks. Asked before
//! anything is built: a host that swaps stalls its heads until they call each other dead, and a full file system ends a
//! build after half an hour.
//!
//! Nothing here is exact, since machines do not touch all of their memory and images are sparse. So what is less than needed is
//! said and no more, and only what is less than half of it ends the lab.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use orthrus_image::Workspace;

use crate::names::ShelfKind;
use crate::spec::Options;
use crate::vm::wiring::{CLIENT_MEMORY_MIB, HEAD_MEMORY_MIB, SHELF_MEMORY_MIB};

/// What QEMU takes for a machine beside the machine's own memory; most of it are translated instructions.
const QEMU_MIB: u64 = 128;
/// What the first lab of a checkout writes: packages and tools, two kernels' modules, firmware, agent and client, a copy of the disks.
const FIRST_MIB: u64 = 4096;
/// What every later one does: a copy of the disks, with what the client writes to it, and logs.
const LATER_MIB: u64 = 1024;

/// Looks at the host for a lab of this checkout; says aloud what is scarce.
///
/// # Errors
/// What is by far too little.
pub fn check(options: &Options, workspace: &Workspace) -> anyhow::Result<()> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let memory = available_mib(&meminfo).context("/proc/meminfo has no MemAvailable")?;
    let has_built = workspace.images().join("guest.initrd").exists();
    let target = workspace.target();
    let place = rustix::fs::statvfs(&target)
        .with_context(|| format!("asking for the space left in {}", target.display()))?;
    let space = (place.f_bavail.saturating_mul(place.f_frsize)) >> 20;
    let scarce = [
        judge("memory", "available", memory, memory_mib(options))?,
        judge("space", &free_in(&target), space, space_mib(has_built))?,
    ];
    for warning in scarce.into_iter().flatten() {
        eprintln!("lab: {warning}");
    }
    Ok(())
}

fn free_in(target: &Path) -> String {
    format!("free in {}", target.display())
}

/// The memory of all machines of a lab.
fn memory_mib(options: &Options) -> u64 {
    let mut machines = vec![HEAD_MEMORY_MIB, HEAD_MEMORY_MIB, CLIENT_MEMORY_MIB];
    if options.shelf == ShelfKind::Lio {
        machines.push(SHELF_MEMORY_MIB);
    }
    if options.neighbour {
        machines.push(HEAD_MEMORY_MIB);
    }
    let own: u64 = machines.iter().map(|&mib| u64::from(mib)).sum();
    own + QEMU_MIB * machines.len() as u64
}

fn space_mib(has_built: bool) -> u64 {
    match has_built {
        true => LATER_MIB,
        false => FIRST_MIB,
    }
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}

/// A warning, if there is less than needed.
///
/// # Errors
/// There is less than half of it.
fn judge(what: &str, place: &str, has_mib: u64, needs_mib: u64) -> anyhow::Result<Option<String>> {
    let says =
        format!("the lab needs about {needs_mib} MiB of {what}, and {has_mib} MiB are {place}");
    if has_mib < needs_mib / 2 {
        bail!("{says}: make room first");
    }
    Ok((has_mib < needs_mib)
        .then(|| format!("{says}: it may fail, or its heads may call each other dead")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scarce_is_said_and_what_is_far_too_little_ends_it() {
        assert_eq!(judge("memory", "available", 2000, 2000).unwrap(), None);
        let warning = judge("memory", "available", 1999, 2000).unwrap().unwrap();
        assert!(warning.contains("2000 MiB of memory") && warning.contains("1999"));
        assert!(judge("memory", "available", 1000, 2000).is_ok());
        let why = judge("space", "free in target", 999, 2000).unwrap_err();
        assert!(why.to_string().contains("free in target"), "{why}");
    }

    #[test]
    fn every_machine_of_a_lab_is_counted() {
        let tgt = Options {
            shelf: ShelfKind::Tgt,
            ..Options::default()
        };
        let three = memory_mib(&tgt);
        assert_eq!(three, 2 * 512 + 768 + 3 * QEMU_MIB);
        let lio = Options {
            shelf: ShelfKind::Lio,
            neighbour: true,
            ..tgt
        };
        assert_eq!(memory_mib(&lio), three + 384 + 512 + 2 * QEMU_MIB);
    }

    #[test]
    fn what_is_available_is_read_as_the_kernel_writes_it() {
        let meminfo = "MemTotal:       24683940 kB\nMemFree:         5127552 kB\nMemAvailable:   23575000 kB\n";
        assert_eq!(available_mib(meminfo), Some(23022));
        assert_eq!(available_mib("MemTotal: 1 kB\n"), None);
    }
}
