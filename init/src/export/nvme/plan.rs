//! What a pool offers by NVMe: the configuration and the active volumes put together.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Config, MAX_ADDRESSES, PoolConfig};
use crate::export::digest;
use crate::volume::Active;

/// The port of NVMe over TCP (NVMe TCP transport specification, section 3.1.1).
const NVME_PORT: u16 = 4420;

/// The subsystem of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NvmePlan {
    /// Its place in the configuration, from 0: numbers the ports, which are of all pools together.
    pub place: u16,
    /// The subsystem's name.
    pub nqn: String,
    /// Its serial number, 20 hex digits.
    pub serial: String,
    /// Service addresses with the port.
    pub portals: Vec<SocketAddr>,
    /// The host names that may connect.
    pub hosts: Vec<String>,
    /// The namespaces, by number.
    pub namespaces: Vec<NamespacePlan>,
}

/// One namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePlan {
    /// Its number.
    pub nsid: u32,
    /// The logical volume.
    pub volume: String,
    /// Its block device.
    pub node: PathBuf,
    /// Its UUID, as text, and the same bytes as NGUID: made of the volume's identity, so that they are the same on the other head.
    pub uuid: String,
}

impl NvmePlan {
    /// Plans the subsystem of a pool, given its active volumes; `None` when the configuration has none. A namespace without its volume
    /// is left out and said: the volume can be made while the others are served.
    pub fn new(
        config: &Config,
        pool: &PoolConfig,
        active: &[Active],
    ) -> Option<(NvmePlan, Vec<String>)> {
        let nvme = pool.nvme.as_ref()?;
        let place = config.pools.iter().position(|p| p.name == pool.name);
        let (mut namespaces, mut withheld) = (Vec::new(), Vec::new());
        for wanted in &nvme.namespaces {
            let (nsid, name) = (wanted.nsid, &wanted.volume);
            match active.iter().find(|volume| volume.lv == *name) {
                // The kernel's target knows no namespace that takes no writes.
                Some(volume) if !volume.is_writable => withheld.push(format!(
                    "namespace {nsid} is not offered: volume {name} is read-only, which a LUN can be and a namespace cannot"
                )),
                Some(volume) => namespaces.push(NamespacePlan {
                    nsid,
                    volume: name.clone(),
                    node: volume.node.clone(),
                    uuid: identity(&config.cluster, &pool.name, &volume.uuid.to_string()),
                }),
                None => withheld.push(format!(
                    "namespace {nsid} is not offered: there is no volume {name}: `volume create {}/{name} SIZE` makes it",
                    pool.name
                )),
            }
        }
        namespaces.sort_by_key(|namespace| namespace.nsid);
        let addresses = pool.addresses.iter();
        let plan = NvmePlan {
            place: place.and_then(|p| u16::try_from(p).ok()).unwrap_or(0),
            nqn: nvme.nqn.clone(),
            serial: serial(&config.cluster, &pool.name),
            portals: addresses
                .map(|a| SocketAddr::new(a.ip, NVME_PORT))
                .collect(),
            hosts: nvme.hosts.clone(),
            namespaces,
        };
        Some((plan, withheld))
    }

    /// The number of its first port.
    pub(super) fn first_port(&self) -> u16 {
        self.place * MAX_ADDRESSES as u16 + 1
    }
}

/// 16 bytes from the volume's UUID, which stays through renames, and from cluster and pool; a UUID of version 8 (RFC 9562).
fn identity(cluster: &str, pool: &str, lv_uuid: &str) -> String {
    let mut bytes = digest("orthrus namespace 1", &[cluster, pool, lv_uuid]);
    bytes[6] = 0x80 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn serial(cluster: &str, pool: &str) -> String {
    let digest = digest("orthrus subsystem 1", &[cluster, pool]);
    digest[..10]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_know_a_subsystem_and_its_namespaces_by_is_frozen() {
        let uuid = identity("lab", "tank", "dZqvXl-7mYn-0Vg1-9vJX-OPfE-pkgU-2mHqyV");
        assert_eq!(uuid, "a4e93560-5e7e-8380-86fb-bf9b2ef39b6c");
        assert_eq!(serial("lab", "tank"), "fbbaec91d0564c270872");
        assert_ne!(serial("labt", "ank"), serial("lab", "tank"));
    }
}
