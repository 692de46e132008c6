//! `/orthrus.toml`: parsed into what the rest can rely on, with errors that name line and field.
//!
//! One file, identical on both heads; [`Config::whoami`] tells a head which of the two it is. What
//! comes out of [`Config::parse`] holds: names fit where they are used, limits are kept, nothing is
//! there twice. So nothing here may be lenient: a field that is not understood is an error, because
//! a head that ignored it would serve something other than what was asked for.
//!
//! A bad file stops nothing but the pools: the caller reports the error and boots on to the console.
//!
//! Reading order: this file (the shape), `parse`, `data`, `iscsi`, `chap`, `share` and `nvme` (the fields), `network`, `unique` (what may be there once),
//! `names` (what a name looks like), `section` (TOML tables with places), `whoami`, `admitted` (clients beside those of the file).

mod admitted;
mod chap;
mod data;
mod error;
mod iscsi;
mod names;
mod network;
mod nvme;
mod parse;
mod secret;
mod section;
mod share;
mod unique;
mod whoami;

use std::fmt;
use std::net::IpAddr;

use orthrus_hb::{ClusterId, HeadId};

pub use admitted::{AdmitError, Admitted, Client, Login};
pub use chap::{ChapConfig, Password};
pub use error::ConfigError;
pub use iscsi::{IscsiConfig, LunConfig, Luns};
pub use network::Network;
pub use nvme::{NamespaceConfig, NvmeConfig};
pub use secret::Secret;
pub use share::{Access, Check, LEASE_S, NfsConfig, Rights, ShareClient, ShareConfig, Squash};
pub use whoami::WhoamiError;

use crate::net::{DataPort, Mac, Way};

/// The file's name: in the root of the initramfs, or of the ESP.
pub const FILE_NAME: &str = "orthrus.toml";
/// The serial port for programs, unless the file says otherwise.
pub const CONTROL_DEFAULT: &str = "ttyS2";
/// Pools in a file.
pub const MAX_POOLS: usize = 8;
/// iSCSI targets of a pool.
pub const MAX_TARGETS: usize = 8;
/// LUNs of a target.
pub const MAX_LUNS: usize = 64;
/// Shares of a pool.
pub const MAX_SHARES: usize = 64;
/// Initiator names in the ACL of a target; addresses and networks of a share.
pub const MAX_CLIENTS: usize = 64;
/// Cards of a data port.
pub const MAX_CARDS: usize = 8;
/// Service addresses of a pool.
pub const MAX_ADDRESSES: usize = 8;
/// The greatest LUN number: what the one-byte form of SAM's LUN field holds, which every initiator
/// understands.
pub const MAX_LUN_NUMBER: u32 = 255;
/// Bytes of a file.
pub const MAX_BYTES: usize = 256 * 1024;

/// The configuration of both heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cluster's name.
    pub cluster: String,
    /// Its id, as in reservation keys.
    pub cluster_id: ClusterId,
    /// The key of the heartbeat's MAC.
    pub secret: Secret,
    /// Links and their limits.
    pub heartbeat: HeartbeatConfig,
    /// First and second head.
    pub heads: [HeadConfig; 2],
    /// The pools, in the file's order.
    pub pools: Vec<PoolConfig>,
    /// First four bytes of the SHA-256 of the file, big-endian: compared through the beats.
    pub digest: u32,
}

/// `[heartbeat]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Silence after which a link counts as silent, in milliseconds.
    pub dead_ms: u32,
    /// Serial port of the heartbeat link, a name below `/dev`.
    pub serial: String,
    /// Serial port of the control connection.
    pub control: String,
}

/// One `[[head]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadConfig {
    /// What the operator calls it.
    pub name: String,
    /// What it recognises itself by.
    pub identity: Identity,
    /// The port of the heartbeat link.
    pub heartbeat: Mac,
    /// The port that carries the service addresses.
    pub data: DataPort,
}

/// What a head recognises itself by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Any of its ports has this address.
    Mac(Mac),
    /// Its SMBIOS system UUID or serial number is this.
    Smbios(String),
}

/// One `[[pool]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// What the operator calls it.
    pub name: String,
    /// Its volume group.
    pub vg: String,
    /// The head that it prefers.
    pub home: HeadId,
    /// Its service addresses, at least one.
    pub addresses: Vec<ServiceAddress>,
    /// The routers by which clients on other networks are answered; one for each network of an address at most.
    pub gateways: Vec<IpAddr>,
    /// Whether a head to which none of them answers counts as cut off from the clients.
    pub gateway_watch: bool,
    /// Whether the network is asked, before they come, if somebody else has one of them.
    pub address_check: bool,
    /// A LUN whose clients' persistent reservations cannot be read is served without them.
    pub serve_without_reservations: bool,
    /// An array with parity that lacks a member and was not stopped in order is started all the same.
    pub dirty_degraded: bool,
    /// What it exports by iSCSI; a pool may have nothing to export yet.
    pub targets: Vec<IscsiConfig>,
    /// What it shares by NFS.
    pub nfs: Option<NfsConfig>,
    /// What it exports by NVMe.
    pub nvme: Option<NvmeConfig>,
}

/// A service address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network: 1 to 32, of IPv6 to 128.
    pub prefix: u8,
    /// The way to clients on other networks.
    pub way: Option<Way>,
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl PoolConfig {
    /// Whether the configuration has a volume as the LUN of one of its targets.
    pub fn lists(&self, volume: &str) -> bool {
        let mut listed = self.targets.iter().flat_map(|target| match &target.luns {
            Luns::Listed(luns) => luns.as_slice(),
            Luns::All => &[],
        });
        listed.any(|lun| lun.volume == volume)
    }

    /// Whether the configuration says of a volume that it is a share or a namespace: it is no LUN then.
    pub fn keeps_from_luns(&self, volume: &str) -> bool {
        let shares = self.nfs.iter().flat_map(|nfs| &nfs.shares);
        let namespaces = self.nvme.iter().flat_map(|nvme| &nvme.namespaces);
        shares.map(|share| &share.volume).any(|name| name == volume)
            || namespaces.map(|one| &one.volume).any(|name| name == volume)
    }
}

impl Config {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        parse::config(text)
    }

    /// What the file says of one head.
    pub fn head(&self, id: HeadId) -> &HeadConfig {
        match id {
            HeadId::First => &self.heads[0],
            HeadId::Second => &self.heads[1],
        }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// Which head this machine is, from the addresses of its ports and its SMBIOS strings.
    pub fn whoami(
        &self,
        macs: &[Mac],
        smbios_uuid: Option<&str>,
        smbios_serial: Option<&str>,
    ) -> Result<HeadId, WhoamiError> {
        whoami::find(&self.heads, macs, smbios_uuid, smbios_serial)
    }
}

#[cfg(test)]
mod tests;
