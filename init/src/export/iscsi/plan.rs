//! What a pool offers by iSCSI: the configuration and the active volumes put together, a plan for each target.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::identity::{PRODUCT, VENDOR, unit_serial};
use super::reservations::{self, Unrestored};
use crate::config::{
    ChapConfig, Config, IscsiConfig, LunConfig, Luns, MAX_LUNS, MAX_POOLS, PoolConfig,
};
use crate::volume::reserved;

/// Between the numbers of two targets of a pool: more than there can be pools. What comes of it is part of how clients know a port
/// (VPD page 0x83), and never changes.
const STRIDE: u16 = 64;
const _: () = assert!(MAX_POOLS <= STRIDE as usize);

/// The port of iSCSI (RFC 7143 section 4.2.2).
const ISCSI_PORT: u16 = 3260;

/// An active volume that can be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The logical volume's name.
    pub name: String,
    /// Its LVM UUID, as the metadata writes it.
    pub uuid: String,
    /// Its block device, such as `/dev/dm-0`.
    pub node: PathBuf,
    /// Its volume takes writes.
    pub is_writable: bool,
    /// Clients may give space back.
    pub gives_space_back: bool,
    /// Bytes of a block of it; `None` where the kernel does not say.
    pub logical_block: Option<u32>,
}

/// One target of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// The pool's name.
    pub pool: String,
    /// Of the places of pool and target in the configuration: numbers the backstores' directory and the relative
    /// target port, which have to be unique in a kernel and equal on both heads.
    pub number: u16,
    /// The target's name.
    pub iqn: String,
    /// What its LUNs are called by their vendor.
    pub vendor: String,
    /// What its LUNs are called by their product.
    pub product: String,
    /// Service addresses with the port.
    pub portals: Vec<SocketAddr>,
    /// The LUNs, by number.
    pub luns: Vec<LunPlan>,
    /// LUNs that it has as well and that nobody is offered, since clients' registrations of them cannot be given back.
    pub held: Vec<LunPlan>,
    /// Which LUNs of the configuration are not among them, and why.
    pub withheld: Vec<String>,
    /// They are numbered by the names of their volumes, so that a new one may move others.
    pub by_name: bool,
    /// The initiator names that may log in.
    pub clients: Vec<String>,
    /// Those of them that must prove who they are.
    pub chap: Vec<ChapConfig>,
    /// Why there may be clients beside them that are let in as well.
    pub unknown_clients: Option<String>,
    /// Where clients' reservations are kept on the pool; `None` where they are not.
    pub reservations: Option<PathBuf>,
}

/// One LUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunPlan {
    /// Its number.
    pub lun: u32,
    /// The logical volume.
    pub volume: String,
    /// Its block device.
    pub node: PathBuf,
    /// Its unit serial number.
    pub serial: String,
    /// Bytes of a block as clients see it; `None` for those of the device.
    pub block_size: Option<u32>,
    /// Clients are told that it takes no writes. The kernel opens the device of a read-only volume for nothing else.
    pub is_read_only: bool,
    /// It takes UNMAP and WRITE SAME with the UNMAP bit.
    pub unmaps: bool,
    /// Those of the target's clients that see it; `None` for all.
    pub clients: Option<Vec<String>>,
    /// Clients' registrations that it gets back before anybody is let in, each as the kernel takes it.
    pub registrations: Vec<String>,
    /// Why it gets none back; `None` also while nobody looked for any.
    pub unrestored: Option<Unrestored>,
}

/// Configuration and volumes do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `luns = "all"` and more volumes than LUNs are allowed.
    #[error(
        "pool {pool}: luns = \"all\" with {found} volumes; allowed: at most {MAX_LUNS}: list those that clients need with [[pool.iscsi.lun]]"
    )]
    TooMany {
        /// The pool.
        pool: String,
        /// How many volumes there are.
        found: usize,
    },
}

impl LunPlan {
    /// Whether a client sees it.
    pub fn is_for(&self, client: &str) -> bool {
        let clients = self.clients.as_ref();
        clients.is_none_or(|clients| clients.iter().any(|one| one == client))
    }
}

impl ExportPlan {
    /// Keeps clients' reservations in a directory of the pool's from now on, and gives back those that are there: of clients that
    /// see the LUN. One that was shut out is forgotten by the kernel, which leaves its file as it is, and must not hold against the others
    /// when it is let in again what it had. Where it is not known who is let in nobody is taken for one that was shut out.
    pub fn keep_reservations(&mut self, directory: PathBuf) {
        for lun in &mut self.luns {
            match reservations::restored(&directory, &lun.serial) {
                Ok(mut found) => {
                    let mut names = found.iter().filter_map(|one| reservations::initiator(one));
                    // Nobody of the list sees a LUN that has clients of its own.
                    let is_known = |name: &str| self.clients.iter().any(|one| one == name);
                    let stranger = names.find(|name| lun.is_for(name) && !is_known(name));
                    let unrestored = stranger.zip(self.unknown_clients.as_ref());
                    let unrestored = unrestored.map(|(name, why)| Unrestored::UnknownClient {
                        initiator: name.to_owned(),
                        why: why.clone(),
                    });
                    found.retain(|registration| {
                        reservations::initiator(registration).is_some_and(|name| {
                            lun.is_for(name) && self.clients.iter().any(|client| client == name)
                        })
                    });
                    (lun.registrations, lun.unrestored) = (found, unrestored);
                }
                Err(why) => lun.unrestored = Some(why),
            }
        }
        self.reservations = Some(directory);
    }

    /// There is no place where they are, or could be.
    pub fn keep_no_reservations(&mut self, why: &str) {
        for lun in &mut self.luns {
            lun.unrestored = Some(Unrestored::NoPlace(why.to_owned()));
        }
    }

    /// All that it has a number for, offered or not.
    pub fn numbered(&self) -> impl Iterator<Item = &LunPlan> {
        self.luns.iter().chain(&self.held)
    }

    /// Plans the targets of a pool, given its active visible volumes in any order; none when the configuration has none for it.
    pub fn all(
        config: &Config,
        pool: &PoolConfig,
        volumes: &[Volume],
    ) -> Result<Vec<ExportPlan>, PlanError> {
        let place = config.pools.iter().position(|p| p.name == pool.name);
        let place = place.and_then(|p| u16::try_from(p).ok()).unwrap_or(0);
        let numbers = (place..).step_by(STRIDE.into());
        let portal =
            |address: &crate::config::ServiceAddress| SocketAddr::new(address.ip, ISCSI_PORT);
        let plan = |(number, target): (u16, &IscsiConfig)| {
            let (luns, withheld) = luns(&config.cluster, pool, target, volumes)?;
            Ok(ExportPlan {
                pool: pool.name.clone(),
                number,
                iqn: target.iqn.clone(),
                vendor: target.vendor.clone().unwrap_or_else(|| VENDOR.to_owned()),
                product: target.product.clone().unwrap_or_else(|| PRODUCT.to_owned()),
                portals: pool.addresses.iter().map(portal).collect(),
                luns,
                held: Vec::new(),
                withheld,
                by_name: target.luns == Luns::All,
                clients: target.clients.clone(),
                chap: target.chap.clone(),
                unknown_clients: None,
                reservations: None,
            })
        };
        numbers.zip(&pool.targets).map(plan).collect()
    }
}

/// What is offered, and why something is not.
type Offer = (Vec<LunPlan>, Vec<String>);

fn luns(
    cluster: &str,
    pool: &PoolConfig,
    target: &IscsiConfig,
    volumes: &[Volume],
) -> Result<Offer, PlanError> {
    let mut withheld = Vec::new();
    let plan = |lun: u32, volume: &Volume, of: Option<&LunConfig>| LunPlan {
        lun,
        volume: volume.name.clone(),
        node: volume.node.clone(),
        serial: of
            .and_then(|of| of.serial.clone())
            .unwrap_or_else(|| unit_serial(cluster, &pool.name, &volume.uuid)),
        block_size: of.and_then(|of| of.block_size),
        is_read_only: !volume.is_writable,
        unmaps: volume.gives_space_back && volume.is_writable,
        clients: of.and_then(|of| of.clients.clone()),
        registrations: Vec::new(),
        unrestored: None,
    };
    // The firmware's own are never a client's, whatever the configuration says, and one that is offered in another way is
    // nothing to write blocks of.
    let mut sorted: Vec<&Volume> = volumes
        .iter()
        .filter(|volume| {
            !reserved::is_reserved(&volume.name) && !pool.keeps_from_luns(&volume.name)
        })
        .collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut luns: Vec<LunPlan> = match &target.luns {
        Luns::All => {
            sorted.retain(|volume| !pool.lists(&volume.name));
            if sorted.len() > MAX_LUNS {
                return Err(PlanError::TooMany {
                    pool: pool.name.clone(),
                    found: sorted.len(),
                });
            }
            (0..)
                .zip(&sorted)
                .map(|(lun, volume)| plan(lun, volume, None))
                .collect()
        }
        // The others are served without it: who made a pool of bare disks has no volume yet.
        Luns::Listed(list) => list
            .iter()
            .filter_map(|wanted| {
                let found = sorted.iter().find(|volume| volume.name == wanted.volume);
                let offered = match found {
                    None => Err(format!("no volume {} is active", wanted.volume)),
                    Some(volume) => takes_blocks(volume, wanted.block_size).map(|()| volume),
                };
                if let Err(why) = &offered {
                    let (lun, iqn) = (wanted.lun, &target.iqn);
                    withheld.push(format!("LUN {lun} of {iqn} is not offered: {why}"));
                }
                offered
                    .ok()
                    .map(|volume| plan(wanted.lun, volume, Some(wanted)))
            })
            .collect(),
    };
    luns.sort_by_key(|lun| lun.lun);
    Ok((luns, withheld))
}

/// Whether a volume can be had in blocks of this size: a part of one of its own cannot be written.
fn takes_blocks(volume: &Volume, block_size: Option<u32>) -> Result<(), String> {
    let name = &volume.name;
    match (block_size, volume.logical_block) {
        (None, _) => Ok(()),
        (Some(wanted), Some(own)) if wanted >= own => Ok(()),
        (Some(wanted), Some(own)) => Err(format!(
            "block_size = {wanted}, and a block of volume {name} has {own} bytes; allowed: no block_size, or {own}"
        )),
        (Some(wanted), None) => Err(format!(
            "block_size = {wanted}, and how large a block of volume {name} is cannot be read"
        )),
    }
}
