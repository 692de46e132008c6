//! What the firmware writes into a volume group, held against the real lvm2 in a small machine: after every change
//! `vgck`, `pvck` and `vgs` have nothing to say, everything is activated, and bytes that were written are there.
//!
//! The firmware's side is `src/bin/metadata.rs`, which does what a head does and nothing else: the same writer and edits.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::Drive;

/// Under emulation, on a busy machine.
const LIMIT: Duration = Duration::from_secs(540);
const DISKS: usize = 7;
const DISK_BYTES: u64 = 96 << 20;

/// Runs a script on disks with blocks of this size, in a machine of its own.
fn machine(name: &str, script: &str, block: u32) -> Result<String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("lvm2-{name}-{}-{block}", std::process::id()));
    fs::create_dir_all(&dir)?;
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

#[test]
fn what_the_firmware_makes_and_changes_lvm2_accepts_and_activates() {
    for block in [512, 4096] {
        let said = machine("firmware", include_str!("firmware.sh"), block).unwrap();
        assert!(said.ends_with("all is well\n"), "{said}");
    }
}

#[test]
fn what_lvm2_made_gets_the_firmwares_volumes_and_lvm2_works_on_with_them() {
    let said = machine("import", include_str!("import.sh"), 512).unwrap();
    assert!(said.ends_with("all is well\n"), "{said}");
}

#[test]
fn what_lvm2_made_the_firmware_stamps_and_lvm2_takes_back() {
    let said = machine("stamp", include_str!("stamp.sh"), 512).unwrap();
    assert!(said.ends_with("all is well\n"), "{said}");
}
