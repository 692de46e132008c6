//! A program of this checkout within a machine that is booted for it: brought on a disk of its own.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;
use orthrus_qemu::maker::Drive;

const NAME: &str = "program";

/// The disk with a program, made in the machine's directory. Its length must be a multiple of a disk's sectors'.
pub(crate) fn drive(dir: &Path, program: &Path) -> Result<Drive> {
    let file = format!("{NAME}.raw");
    let copy = dir.join(&file);
    fs::copy(program, &copy)?;
    let padded = fs::metadata(&copy)?.len().next_multiple_of(4096);
    File::options().write(true).open(&copy)?.set_len(padded)?;
    Ok(Drive {
        is_read_only: true,
        ..Drive::new(NAME, file)
    })
}

/// What the machine does to have it as this file.
pub(crate) fn unpack(place: &str) -> String {
    format!(
        "for d in /sys/block/vd*; do case $(cat $d/serial) in {NAME}) cat /dev/${{d##*/}} >{place};; esac; done
         chmod +x {place}"
    )
}
