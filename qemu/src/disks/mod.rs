//! The shared disks: raw images, made once, copied for each lab.

pub mod machine;
pub mod make;
pub mod scan;
pub mod sparse;
pub mod vgname;

use std::path::PathBuf;

use crate::spec::Disks;

/// Size of a made disk.
pub const DISK_BYTES: u64 = 1 << 30;
/// How many there are.
pub const DISK_COUNT: usize = 4;

/// The images that a lab runs on: given in place, or copied into its state directory.
pub fn provide(
    wanted: &Disks,
    made: &[PathBuf],
    dir: &std::path::Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let originals = match wanted {
        Disks::None => return Ok(Vec::new()),
        Disks::InPlace(files) => {
            return files.iter().map(|file| Ok(file.canonicalize()?)).collect();
        }
        Disks::Copies(files) => files.as_slice(),
        Disks::Made => made,
    };
    std::fs::create_dir_all(dir)?;
    let mut copies = Vec::new();
    for (index, original) in originals.iter().enumerate() {
        let copy = dir.join(format!("disk{index}.raw"));
        sparse::copy(original, &copy)?;
        copies.push(copy);
    }
    Ok(copies)
}
