//! What device-mapper calls the devices of a group: the same names and uuids as with lvm2, so that either finds what
//! the other one made.

use crate::volume::uuid::Uuid;

/// A device-mapper name: hyphens of every part are doubled, one stands between (`dm_build_dm_name`).
fn join(parts: &[&str]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| part.replace('-', "--")).collect();
    parts.join("-")
}

/// The device-mapper name of a volume.
pub fn device_name(group: &str, lv: &str) -> String {
    join(&[group, lv])
}

/// The device-mapper name of a layer of a volume.
pub fn layer_name(group: &str, lv: &str, layer: &str) -> String {
    join(&[group, lv, layer])
}

/// What the device-mapper uuids of all devices of a group begin with.
pub fn uuid_prefix(group: &Uuid) -> String {
    format!("LVM-{}", group.compact())
}

/// The device-mapper uuid of a volume that is neither part nor layer.
pub fn device_uuid(group: &Uuid, lv: &Uuid) -> String {
    format!("{}{}", uuid_prefix(group), lv.compact())
}

/// The device-mapper uuid of a part or a layer.
pub fn layer_uuid(group: &Uuid, lv: &Uuid, suffix: Option<&str>) -> String {
    match suffix {
        Some(suffix) => format!("{}-{suffix}", device_uuid(group, lv)),
        None => device_uuid(group, lv),
    }
}
