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

/// Runs a script on disks with blocks of this size, in a machine of its own.
fn machine(script: &str, block: u32) -> Result<String> {
    let dir = artifacts::machine_dir("written")?;
    let mut drives = vec![tool(&dir)?];
    for index in 0..DISKS {
        let file = dir.join(format!("disk{index}.raw"));
        File::create(&file)?.set_len(DISK_BYTES)?;
        let mut drive = Drive::new(format!("disk-{index}"), file);
        drive.block = block;
        drives.push(drive);
    }
    let script = format!("{}\n{script}", include_str!("prelude.sh"));
    let said = artifacts::maker(&dir, &drives).and_then(|maker| maker.script(&script, LIMIT));
    if let Ok(said) = &said {
        eprintln!("{said}");
        fs::remove_dir_all(&dir)?;
    }
    said
}

/// The firmware's tool as a disk: the machine has no other way to a file.
fn tool(dir: &Path) -> Result<Drive> {
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_metadata"))?;
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    let file = dir.join("tool.raw");
    File::create(&file)?.write_all(&bytes)?;
    Ok(Drive {
        is_read_only: true,
        ..Drive::new("tool", file)
    })
}

/// The longest of them first, so that the others fill the time beside it.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, script: &'static str, block: u32| {
        Trial::test(format!("written::{name}"), move || {
            let said =
                machine(script, block).map_err(|error| Failed::from(format!("{error:#}")))?;
            if said.ends_with("all is well\n") {
                Ok(())
            } else {
                Err(Failed::from(said))
            }
        })
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
