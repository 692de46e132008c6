//! The name of the volume group on a raw image, for the generated configuration. All that the lab
//! needs is the name, and it must not depend on the firmware that it tests to find it.
//!
//! LVM2: a label `LABELONE` in one of the first four sectors; its header names the metadata areas;
//! each begins with a header that locates the text, whose first word is the group's name.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: usize = 512;
/// More than the longest name that lvm2 allows (127), and the brace behind it.
const NAME_MAX_BYTES: usize = 160;

/// The volume group on an image; `None` if there is none.
pub fn read(image: &Path) -> Option<String> {
    let file = File::open(image).ok()?;
    let mut head = vec![0; 4 * SECTOR];
    file.read_exact_at(&mut head, 0).ok()?;
    let label = head
        .chunks_exact(SECTOR)
        .find(|sector| sector.starts_with(b"LABELONE"))?;
    let header = number(label, 20, 4)? as usize;
    // After uuid (32) and size (8): data areas, a zero pair, metadata areas, a zero pair.
    let areas: Vec<(u64, u64)> = (header + 40..SECTOR - 16)
        .step_by(16)
        .map_while(|at| Some((number(label, at, 8)?, number(label, at + 8, 8)?)))
        .collect();
    let first_metadata = areas.iter().position(|&(offset, _)| offset == 0)? + 1;
    let (area, _) = *areas.get(first_metadata)?;
    let mut area_header = [0; SECTOR];
    file.read_exact_at(&mut area_header, area).ok()?;
    // Checksum (4), magic (16), version (4), start (8), size (8), then the first location.
    if &area_header[4..20] != b" LVM2 x[5A%r0N*>" {
        return None;
    }
    let text_offset = number(&area_header, 40, 8)?;
    if text_offset == 0 {
        return None; // a physical volume of no group
    }
    let mut text = vec![0; NAME_MAX_BYTES];
    let count = file.read_at(&mut text, area + text_offset).ok()?;
    let text = String::from_utf8_lossy(&text[..count]).into_owned();
    let name = text.split(" {").next()?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    (!name.is_empty() && name.chars().all(valid)).then(|| name.to_owned())
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut value = [0; 8];
    value[..size].copy_from_slice(bytes.get(at..at + size)?);
    Some(u64::from_le_bytes(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_label_has_no_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        std::fs::write(path, vec![0; 1 << 16]).unwrap();
        assert_eq!(read(path), None);
        let mut image = vec![0u8; 1 << 16];
        image[512..520].copy_from_slice(b"LABELONE");
        image[532] = 32;
        image[512 + 32 + 40..][..8].copy_from_slice(&65536u64.to_le_bytes()); // data area
        image[512 + 32 + 72..][..8].copy_from_slice(&4096u64.to_le_bytes()); // metadata area
        image[4100..4116].copy_from_slice(b" LVM2 x[5A%r0N*>");
        image[4136..4144].copy_from_slice(&512u64.to_le_bytes());
        image[4608..4614].copy_from_slice(b"tank {");
        std::fs::write(path, image).unwrap();
        assert_eq!(read(path), Some("tank".into()));
    }
}
