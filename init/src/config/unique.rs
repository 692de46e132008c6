//! What may be in the file once: a second one is refused with the lines of both.
//!
//! Runs after the fields were found good one by one, so here the values are only compared.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::error::{ConfigError, Place};
use super::section::{Entry, Field, Section};
use super::{
    MAX_CLIENTS, MAX_LUN_NUMBER, MAX_LUNS, MAX_POOLS, MAX_SHARES, MAX_TARGETS, Network, names,
    share,
};

/// The values of one kind that were seen so far, and where.
struct Seen {
    what: &'static str,
    places: HashMap<String, Place>,
}

impl Seen {
    fn new(what: &'static str) -> Seen {
        Seen {
            what,
            places: HashMap::new(),
        }
    }

    fn add(&mut self, value: impl Into<String>, at: Place) -> Result<(), ConfigError> {
        let value = value.into();
        if let Some(first) = self.places.get(&value) {
            return Err(at.error(format!(
                "is {value}, the same {} as {} in line {}; allowed: each once",
                self.what, first.field, first.line
            )));
        }
        self.places.insert(value, at);
        Ok(())
    }

    fn add_text(&mut self, field: Option<Field<&str>>) -> Result<(), ConfigError> {
        match field {
            Some(field) => self.add(field.value, field.at),
            None => Ok(()),
        }
    }
}

/// Names, identities and ports of the heads.
pub(super) fn heads(root: &Section<'_>) -> Result<(), ConfigError> {
    let mut head_names = Seen::new("head name");
    let mut smbios = Seen::new("SMBIOS identity");
    let mut ports = Seen::new("port");
    let mut identities = Vec::new();
    for head in root.sections("head", 2)? {
        head_names.add_text(head.optional_text("name", "")?)?;
        if let Some(field) = head.optional_text("smbios", "")? {
            smbios.add(field.value.to_ascii_lowercase(), field.at)?;
        }
        let mut own = Vec::new();
        for field in head
            .texts("heartbeat", "")?
            .into_iter()
            .chain(head.texts("data", "")?)
        {
            let mac = field.value.to_ascii_lowercase();
            own.push(mac.clone());
            ports.add(mac, field.at)?;
        }
        identities.push((head.optional_text("mac", "")?, own));
    }
    // `mac` names any port of its own head, so it may repeat a port there, and nowhere else.
    for (identity, own) in identities {
        let Some(field) = identity else { continue };
        let mac = field.value.to_ascii_lowercase();
        if !own.contains(&mac) {
            ports.add(mac, field.at)?;
        }
    }
    Ok(())
}

/// Names, groups, addresses, targets, LUNs, volumes and serial numbers of the pools.
pub(super) fn pools(root: &Section<'_>) -> Result<(), ConfigError> {
    let mut pool_names = Seen::new("pool name");
    let mut groups = Seen::new("volume group");
    let mut addresses = Seen::new("service address");
    let mut targets = Seen::new("target name");
    let mut serials = Seen::new("unit serial number (its first 25 digits make the WWN)");
    for pool in root.sections("pool", MAX_POOLS)? {
        pool_names.add_text(pool.optional_text("name", "")?)?;
        let vg = if pool.has("vg") { "vg" } else { "name" };
        groups.add_text(pool.optional_text(vg, "")?)?;
        for field in pool.texts("address", "")? {
            // As it is, and not as it is written: fd00::1 is fd00:0::1.
            let ip = names::address(field.value).map(|address| address.ip);
            addresses.add(
                ip.map_or(field.value.to_owned(), |ip| ip.to_string()),
                field.at,
            )?;
        }
        let mut volumes = Seen::new("volume");
        if let Some(nfs) = pool.section("nfs")? {
            shares(&nfs, &mut volumes)?;
        }
        if let Some(nvme) = pool.section("nvme")? {
            targets.add_text(nvme.optional_text("nqn", "")?)?;
            namespaces(&nvme, &mut volumes)?;
        }
        for target in pool.one_or_more("iscsi", MAX_TARGETS)? {
            targets.add_text(target.optional_text("iqn", "")?)?;
            clients(&target)?;
            luns(&target, &mut volumes, &mut serials)?;
        }
    }
    no_gateway_is_ours(root, &addresses)
}

/// A head is no router, and the kernel refuses one to itself: on the day on which both pools are on one head.
fn no_gateway_is_ours(root: &Section<'_>, addresses: &Seen) -> Result<(), ConfigError> {
    for pool in root.sections("pool", MAX_POOLS)? {
        if !pool.has("gateway") {
            continue;
        }
        for Field { value, at } in pool.texts("gateway", "")? {
            let ip = value.parse::<IpAddr>().map(|ip| ip.to_string());
            if let Some(ours) = ip.ok().and_then(|ip| addresses.places.get(&ip)) {
                return Err(at.error(format!(
                    "is {value}, a service address (line {}); allowed: {}",
                    ours.line,
                    names::GATEWAY
                )));
            }
        }
    }
    Ok(())
}

/// Names and volumes of the shares. A volume with a file system of ours is nothing for a client to write blocks of.
fn shares(nfs: &Section<'_>, volumes: &mut Seen) -> Result<(), ConfigError> {
    let mut share_names = Seen::new("share");
    for share in nfs.sections("share", MAX_SHARES)? {
        let name = if share.has("name") { "name" } else { "volume" };
        share_names.add_text(share.optional_text(name, "")?)?;
        volumes.add_text(share.optional_text("volume", "")?)?;
        let mut networks = Seen::new("network");
        let mut plain = HashSet::new();
        for entry in share.entries("clients", "")? {
            let has_rights = matches!(entry, Entry::Table(_));
            let Field { value, at } = share::network_of(entry)?;
            // As it is, and not as it is written: 10.0.0.1 is 10.0.0.1/32.
            let network = Network::parse(value).map(|network| network.to_string());
            let network = network.unwrap_or_else(|| value.to_owned());
            // Twice without rights of its own is once, as it always was.
            let is_again = !has_rights && !plain.insert(network.clone());
            if !is_again {
                networks.add(network, at)?;
            }
        }
    }
    Ok(())
}

/// Names of hosts, numbers and volumes of namespaces.
fn namespaces(nvme: &Section<'_>, volumes: &mut Seen) -> Result<(), ConfigError> {
    let mut hosts = Seen::new("host name");
    for field in nvme.texts("hosts", "")? {
        hosts.add(field.value, field.at)?;
    }
    let mut numbers = Seen::new("namespace");
    for namespace in nvme.sections("namespace", MAX_LUNS)? {
        if let Some(field) = namespace.optional_number("nsid", 0..=u32::MAX)? {
            numbers.add(field.value.to_string(), field.at)?;
        }
        volumes.add_text(namespace.optional_text("volume", "")?)?;
    }
    Ok(())
}

/// Names of the clients of a target.
fn clients(target: &Section<'_>) -> Result<(), ConfigError> {
    let mut clients = Seen::new("initiator name");
    for field in target.texts("clients", "")? {
        clients.add(field.value, field.at)?;
    }
    let mut proven = Seen::new("client with a password");
    for chap in target.sections("chap", MAX_CLIENTS)? {
        proven.add_text(chap.optional_text("client", "")?)?;
    }
    Ok(())
}

fn luns(iscsi: &Section<'_>, volumes: &mut Seen, serials: &mut Seen) -> Result<(), ConfigError> {
    let mut numbers = Seen::new("LUN");
    for lun in iscsi.sections("lun", MAX_LUNS)? {
        if let Some(field) = lun.optional_number("lun", 0..=MAX_LUN_NUMBER)? {
            numbers.add(field.value.to_string(), field.at)?;
        }
        volumes.add_text(lun.optional_text("volume", "")?)?;
        if let Some(field) = lun.optional_text("serial", "")? {
            serials.add(crate::export::naa_digits(field.value), field.at)?;
        }
    }
    Ok(())
}
