//! Which bytes of a disk are data of the volumes of the physical volume at its front: what a client may have written there.

use std::io;
use std::ops::Range;

use super::texts::Reader;
use super::{Read, label, read_area};

/// The bytes of the extents on a disk of so many bytes; `None` where there is no label, or that of a physical volume which is
/// larger than the disk: it is on an array, and shows on a member of it.
///
/// As its own copies of the metadata have it, of which the one counts that reaches furthest; where there is none that can be read,
/// as the label has it, which goes up to the end of the device that the physical volume was made on.
///
/// # Errors
/// The disk's, of the label.
pub fn data(bytes: u64, read: &mut Read<'_>) -> io::Result<Option<Range<u64>>> {
    let Ok(Some(label)) = label::find(&read(0, label::SCANNED)?) else {
        return Ok(None);
    };
    // Never the label alone: lvm2 leaves the old size in it when a physical volume with one metadata area grows (`pv_resize_single`).
    let mut widest: Option<Range<u64>> = None;
    for area in &label.areas {
        let Ok(Some(group)) = read_area(read, *area, &Reader::default()) else {
            continue;
        };
        let Some(pv) = group.pvs.iter().find(|pv| pv.uuid == label.uuid) else {
            continue;
        };
        let start = pv.data_start.saturating_mul(512);
        let length = pv.extents.saturating_mul(group.extent_sectors);
        let end = start.saturating_add(length.saturating_mul(512));
        if widest.as_ref().is_none_or(|widest| widest.end < end) {
            widest = Some(start..end);
        }
    }
    let of_label = || Some(label.data_start?..label.device_bytes);
    let data = widest.or_else(of_label);
    Ok(data.filter(|data| data.end <= bytes && label.device_bytes <= bytes))
}
