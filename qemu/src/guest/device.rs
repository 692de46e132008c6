//! Finds the disk behind a target and LUN in sysfs. There is no udev in the client, and `iscsiadm`'s
//! output is for people.

use std::fs;
use std::path::Path;

/// The device node of a LUN of a target that the client is logged in to.
pub fn find(iqn: &str, lun: u64) -> Option<String> {
    let sessions = fs::read_dir("/sys/class/iscsi_session").ok()?;
    for session in sessions.flatten() {
        let name = fs::read_to_string(session.path().join("targetname")).unwrap_or_default();
        if name.trim() != iqn {
            continue;
        }
        // .../sessionN/iscsi_session/sessionN/device -> .../sessionN, with targetH:C:T/H:C:T:L/block/sdX below.
        for target in children(&session.path().join("device"), "target") {
            for device in children(Path::new(&target), "") {
                let is_lun = device.rsplit(':').next().and_then(|l| l.parse().ok()) == Some(lun);
                if !is_lun {
                    continue;
                }
                if let Some(block) = children(&Path::new(&device).join("block"), "").first() {
                    let name = block.rsplit('/').next()?;
                    return Some(format!("/dev/{name}"));
                }
            }
        }
    }
    None
}

/// The LUNs of a target that the client sees.
pub fn luns(iqn: &str) -> Vec<u64> {
    (0..256).filter(|&lun| find(iqn, lun).is_some()).collect()
}

fn children(dir: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Vec<String> = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
        .map(|e| e.path().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}
