//! Who a disk is, so that both heads give the same answer: VPD page 0x83 (SPC, "Device Identification"), of an NVMe namespace its
//! NGUID or EUI-64.
//!
//! Kernel names (`sda`) follow the order of discovery and mean nothing outside one kernel.

use std::fmt;

/// The name of a disk that no other disk has, on whichever head and path it is seen.
///
/// Its order decides which disk of a pool is the arbiter, so the text is frozen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub String);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DiskId {
    /// Whether it is a designator of VPD page 0x83, which no other disk has: a serial number is the maker's word.
    pub fn is_of_page_83(&self) -> bool {
        let kinds = ["naa.", "eui.", "t10."];
        kinds.iter().any(|kind| self.0.starts_with(kind))
    }
}

/// The best designator of the logical unit in a VPD page 0x83: NAA, else EUI-64, else T10.
///
/// Designators of the target and its ports (association other than 0) differ by path and are skipped;
/// so are those of a kind where two disks may agree (vendor-specific, logical unit group).
pub fn from_page_83(page: &[u8]) -> Option<DiskId> {
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    let mut rest = page.get(4..)?;
    rest = &rest[..rest.len().min(length)];
    let mut best: Option<(u8, usize, DiskId)> = None;
    while let [_, kind, _, size, tail @ ..] = rest {
        let Some(designator) = tail.get(..usize::from(*size)) else {
            break;
        };
        rest = &tail[usize::from(*size)..];
        if kind >> 4 & 0x3 != 0 || designator.iter().all(|byte| *byte == 0) {
            continue;
        }
        let (rank, id) = match kind & 0xf {
            3 => (3, format!("naa.{}", hex(designator))),
            2 => (2, format!("eui.{}", hex(designator))),
            1 => (1, format!("t10.{}", text(designator))),
            _ => continue,
        };
        // Of two with the same rank the longer says more (NAA 6 over NAA 5).
        if best
            .as_ref()
            .is_none_or(|(r, l, _)| (rank, designator.len()) > (*r, *l))
        {
            best = Some((rank, designator.len(), DiskId(id)));
        }
    }
    best.map(|(_, _, id)| id)
}

/// The serial number of a VPD page 0x80, with the product, since a serial number alone is the maker's.
pub fn from_page_80(page: &[u8], vendor: &str, model: &str) -> Option<DiskId> {
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    let rest = page.get(4..)?;
    from_serial(&text(&rest[..rest.len().min(length)]), vendor, model)
}

/// Of an NVMe namespace, from `nguid` (hex digits in five groups) and `eui` (eight bytes apart), which its kernel shows where they are
/// not zero. No text of page 0x83: several block devices of one namespace are no paths that can be joined, but Linux's own affair.
pub fn from_namespace(nguid: &str, eui: &str) -> Option<DiskId> {
    let of = |kind: &str, text: &str, length: usize| {
        let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
        let is_whole = digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let is_zero = digits.bytes().all(|byte| byte == b'0');
        (is_whole && !is_zero).then(|| DiskId(format!("{kind}.{}", digits.to_lowercase())))
    };
    of("nguid", nguid, 32).or_else(|| of("nvme-eui", eui, 16))
}

/// Of an MD array, from the `uuid` that its kernel shows: hex digits, with hyphens somewhere.
pub fn from_array(uuid: &str) -> Option<DiskId> {
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    let is_whole = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    // As mdadm writes it.
    let words: Vec<&str> = (0..4)
        .filter_map(|at| digits.get(8 * at..8 * at + 8))
        .collect();
    is_whole.then(|| DiskId(format!("md.{}", words.join(":"))))
}

/// Of a serial number that some other place told.
pub fn from_serial(serial: &str, vendor: &str, model: &str) -> Option<DiskId> {
    let serial = text(serial.as_bytes());
    if serial.is_empty() {
        return None;
    }
    Some(DiskId(format!(
        "serial.{}.{}.{serial}",
        text(vendor.as_bytes()),
        text(model.as_bytes())
    )))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Printable ASCII, trimmed, with runs of anything else as one underscore: safe in logs and file names.
fn text(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        let c = char::from(*byte);
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':') {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nvme_namespace_is_known_by_its_nguid_or_else_its_eui() {
        let (nguid, eui) = (
            "0025385B-71B0-1C5E-0025-385b71b01c5e",
            "00 25 38 5b 71 b0 1c 5e",
        );
        let id = |nguid, eui| from_namespace(nguid, eui).map(|id| id.0);
        let expected = "nguid.0025385b71b01c5e0025385b71b01c5e".to_owned();
        assert_eq!(id(nguid, eui), Some(expected));
        let expected = "nvme-eui.0025385b71b01c5e".to_owned();
        let zero = "00000000-0000-0000-0000-000000000000";
        for none in ["", zero, "0025385b", "g"] {
            assert_eq!(id(none, eui), Some(expected.clone()));
            assert_eq!(id(none, none), None);
        }
        assert!(!from_namespace(nguid, eui).unwrap().is_of_page_83());
    }

    fn page(designators: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, bytes) in designators {
            body.extend([1, *kind, 0, bytes.len() as u8]);
            body.extend(*bytes);
        }
        let mut page = vec![0, 0x83];
        page.extend((body.len() as u16).to_be_bytes());
        page.extend(body);
        page
    }

    #[test]
    fn naa_wins_and_ports_do_not_count() {
        let naa6 = [0x60, 1, 0x40, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let page = page(&[
            (0x01, b"LIO-ORG disk0:1234"),
            (0x93, &[0x50, 9, 9, 9, 9, 9, 9, 9]), // a target port
            (0x03, &[0x50, 1, 2, 3, 4, 5, 6, 7]),
            (0x03, &naa6),
        ]);
        assert_eq!(
            from_page_83(&page),
            Some(DiskId(
                "naa.60014005010203040506070809 0a0b0c".replace(' ', "")
            ))
        );
    }

    #[test]
    fn t10_is_better_than_nothing_and_cannot_smuggle_control_characters() {
        let page = page(&[(0x01, b"IET     \x1b[2J 00010001 ")]);
        assert_eq!(
            from_page_83(&page),
            Some(DiskId("t10.IET_2J_00010001".into()))
        );
    }

    #[test]
    fn short_and_lying_pages_are_no_identity() {
        let whole = page(&[(0x03, &[0x50, 1, 2, 3, 4, 5, 6, 7])]);
        for end in 0..whole.len() {
            assert_eq!(from_page_83(&whole[..end]), None);
        }
        let mut long = whole.clone();
        long[7] = 200;
        assert_eq!(from_page_83(&long), None);
        assert_eq!(from_page_83(&page(&[(0x03, &[0; 8])])), None);
    }

    #[test]
    fn serial_is_the_last_resort() {
        let page = [0, 0x80, 0, 4, b'A', b'B', b'1', b' '];
        assert_eq!(
            from_page_80(&page, "ACME ", "Disk 9"),
            Some(DiskId("serial.ACME.Disk_9.AB1".into()))
        );
        assert_eq!(from_page_80(&[0, 0x80, 0, 2, b' ', b' '], "A", "B"), None);
    }
}
