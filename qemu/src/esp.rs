//! Puts the configuration on the ESP of a copy of the flashable disk, as an operator would, but
//! without mounting anything.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, bail};
use orthrus_image::Tools;

const SECTOR: u64 = 512;

/// Writes a file to the root of the ESP of a GPT disk image.
pub fn write(tools: &Tools, image: &Path, name: &str, content: &Path) -> anyhow::Result<()> {
    let offset = find(image)?;
    let output = tools
        .command("mcopy")?
        .arg("-o")
        .arg("-i")
        .arg(format!("{}@@{offset}", image.display()))
        .arg(content)
        .arg(format!("::{name}"))
        .output()
        .context("running mcopy")?;
    if !output.status.success() {
        bail!(
            "mcopy to {}: {}",
            image.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The type of an EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it lies on disk.
const ESP_TYPE: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// The byte at which the first EFI system partition begins.
fn find(image: &Path) -> anyhow::Result<u64> {
    let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let mut header = [0; SECTOR as usize];
    file.read_exact_at(&mut header, SECTOR)?;
    if &header[..8] != b"EFI PART" {
        bail!("{} has no GPT", image.display());
    }
    let table = u64::from_le_bytes(header[72..80].try_into()?);
    let count = u32::from_le_bytes(header[80..84].try_into()?).min(128);
    let size = u32::from_le_bytes(header[84..88].try_into()?);
    let mut entry = [0; 128];
    for index in 0..count {
        file.read_exact_at(
            &mut entry,
            table * SECTOR + u64::from(index) * u64::from(size),
        )?;
        if entry[..16] == ESP_TYPE {
            return Ok(u64::from_le_bytes(entry[32..40].try_into()?) * SECTOR);
        }
    }
    bail!("{} has no EFI system partition", image.display())
}
