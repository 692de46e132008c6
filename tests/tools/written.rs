//! What the firmware writes into a volume group, held against the real lvm2 in a small machine: after every change
//! `vgck`, `pvck` and `vgs` have nothing to say, everything is activated, and bytes that were written are there.
//!
//! The firmware's side is `src/bin/metadata.rs`, which does what a head does and nothing else: the same writer and edits.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use libtest_mimic::{Failed, Trial};
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::Drive;

/// Under emulation, on a busy machine.
const LIMIT: Duration = Duration::from_secs(540);
const DISKS: usize = 7;
const DISK_BYTES: u64 = 96 << 20;

/// What a machine has besides lvm2.
#[derive(Clone, Copy)]
pub struct Disks {
    /// Of each disk; sparse.
    pub bytes: u64,
    /// Of a block.
    pub block: u32,
    /// How long a script may take: under emulation, on a busy machine.
    pub limit: Duration,
    /// Programs of the firmware's, by the serial number of the disk on which each is.
    pub programs: &'static [(&'static str, &'static str)],
}

/// Runs a script in a machine of its own.
fn machine(script: &str, disks: &Disks) -> Result<String> {
    let dir = artifacts::machine_dir("written")?;
    let programs = disks.programs.iter();
    let drives: Result<Vec<Drive>> = programs
        .map(|(serial, file)| program(&dir, serial, file))
        .collect();
    let mut drives = drives?;
    for index in 0..DISKS {
        let file = dir.join(format!("disk{index}.raw"));
        File::create(&file)?.set_len(disks.bytes)?;
        let mut drive = Drive::new(format!("disk-{index}"), file);
        drive.block = disks.block;
        drives.push(drive);
    }
    let script = format!("{}\n{script}", include_str!("prelude.sh"));
    let said = artifacts::maker(&dir, &drives).and_then(|maker| maker.script(&script, disks.limit));
    if let Ok(said) = &said {
        eprintln!("{said}");
        fs::remove_dir_all(&dir)?;
    }
    said
}

/// A program as a disk: the machine has no other way to a file.
fn program(dir: &Path, serial: &str, file: &str) -> Result<Drive> {
    let mut bytes = fs::read(file)?;
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    let file = dir.join(format!("{serial}.raw"));
    File::create(&file)?.write_all(&bytes)?;
    Ok(Drive {
        is_read_only: true,
        ..Drive::new(serial, file)
    })
}

/// A test of a script that ends well.
pub fn trial(name: String, script: impl AsRef<str> + Send + 'static, disks: Disks) -> Trial {
    Trial::test(name, move || {
        let said =
            machine(script.as_ref(), &disks).map_err(|error| Failed::from(format!("{error:#}")))?;
        if said.ends_with("all is well\n") {
            Ok(())
        } else {
            Err(Failed::from(said))
        }
    })
}

/// The longest of them first, so that the others fill the time beside it.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, script: &'static str, block: u32| {
        let disks = Disks {
            bytes: DISK_BYTES,
            block,
            limit: LIMIT,
            programs: &[("tool", env!("CARGO_BIN_EXE_metadata"))],
        };
        trial(format!("written::{name}"), script, disks)
    };
    let firmware = include_str!("firmware.sh");
    vec![
        trial(
            "what_the_firmware_makes_and_changes_lvm2_accepts_and_activates",
            firmware,
            512,
        ),
        trial(
            "the_same_on_disks_with_blocks_of_4096_bytes",
            firmware,
            4096,
        ),
        trial(
            "what_lvm2_made_gets_the_firmwares_volumes_and_lvm2_works_on_with_them",
            include_str!("import.sh"),
            512,
        ),
        trial(
            "a_merge_that_one_of_the_two_began_the_other_goes_on_with_and_ends",
            include_str!("merge.sh"),
            512,
        ),
        trial(
            "what_lvm2_made_the_firmware_stamps_and_lvm2_takes_back",
            include_str!("stamp.sh"),
            512,
        ),
    ]
}
