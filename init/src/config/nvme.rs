//! `[pool.nvme]`: what a pool offers by NVMe over TCP, and to whom.

use super::error::ConfigError;
use super::parse::{self, name};
use super::section::Section;
use super::{MAX_CLIENTS, MAX_LUNS, names};

/// The greatest number of a namespace (`NVMET_MAX_NAMESPACES`).
const NSID: std::ops::RangeInclusive<u32> = 1..=1024;

/// `[pool.nvme]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NvmeConfig {
    /// The subsystem's name.
    pub nqn: String,
    /// Host names that may connect; nobody else may.
    pub hosts: Vec<String>,
    /// What they see; at least one.
    pub namespaces: Vec<NamespaceConfig>,
}

/// One `[[pool.nvme.namespace]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// Its number.
    pub nsid: u32,
    /// The logical volume behind it.
    pub volume: String,
}

pub(super) fn nvme(section: &Section<'_>) -> Result<NvmeConfig, ConfigError> {
    section.only(&["nqn", "hosts", "namespace"])?;
    let hosts = section.texts("hosts", names::NQN)?;
    if hosts.is_empty() || hosts.len() > MAX_CLIENTS {
        return Err(section.place("hosts").error(format!(
            "has {} entries; allowed: 1 to {MAX_CLIENTS} names of hosts",
            hosts.len()
        )));
    }
    let namespaces = section.sections("namespace", MAX_LUNS)?;
    if namespaces.is_empty() {
        return Err(section.missing("namespace", "tables [[pool.nvme.namespace]]"));
    }
    let hosts = hosts.into_iter();
    Ok(NvmeConfig {
        nqn: name(section.text("nqn", names::NQN)?, names::is_nqn, names::NQN)?,
        hosts: hosts
            .map(|field| name(field, names::is_nqn, names::NQN))
            .collect::<Result<_, _>>()?,
        namespaces: namespaces.iter().map(namespace).collect::<Result<_, _>>()?,
    })
}

fn namespace(section: &Section<'_>) -> Result<NamespaceConfig, ConfigError> {
    section.only(&["nsid", "volume"])?;
    let number = section.optional_number("nsid", NSID)?;
    let number = number.ok_or_else(|| section.missing("nsid", "a number from 1 to 1024"))?;
    Ok(NamespaceConfig {
        nsid: number.value,
        volume: parse::volume(section, "exported")?,
    })
}
