//! The fields of the file, table by table, in the order in which a reader meets them.

use std::net::IpAddr;

use orthrus_hb::{ClusterId, HeadId};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::error::ConfigError;
use super::section::{Field, Section, line_of};
use super::{
    CONTROL_DEFAULT, Config, HeadConfig, HeartbeatConfig, Identity, MAX_ADDRESSES, MAX_BYTES,
    MAX_POOLS, PoolConfig, Secret, ServiceAddress, data, iscsi, names, nvme, share, unique,
};
use crate::net::{Mac, Way};
use crate::volume::reserved;

/// Beyond those that the kernel uses.
const FIRST_TABLE: u32 = 1000;

/// Silence after which a link counts as silent, unless the file says otherwise: ten beats. The
/// bounds: below three beats of 100 ms one late frame would be a death, above a minute a takeover
/// would come after clients gave up.
const DEAD_DEFAULT_MS: u32 = 1000;
const DEAD_RANGE_MS: std::ops::RangeInclusive<u32> = 300..=60_000;

pub(super) fn config(text: &str) -> Result<Config, ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(syntax(
            1,
            format!(
                "the file has {} bytes; allowed: at most {MAX_BYTES}",
                text.len()
            ),
        ));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        syntax(
            line_of(text, offset),
            format!("is not TOML: {}", error.message()),
        )
    })?;
    let root = Section::root(text, document.get_ref());
    root.only(&["cluster", "secret", "heartbeat", "data", "head", "pool"])?;
    let cluster = name(
        root.text("cluster", names::CLUSTER)?,
        names::is_cluster,
        names::CLUSTER,
    )?;
    let heads = heads(&root)?;
    unique::heads(&root)?;
    let mut pools: Vec<PoolConfig> = root
        .sections("pool", MAX_POOLS)?
        .iter()
        .map(|section| pool(section, &heads))
        .collect::<Result<_, _>>()?;
    number_tables(&mut pools);
    let config = Config {
        cluster_id: ClusterId::from_name(&cluster),
        cluster,
        secret: secret(&root)?,
        heartbeat: heartbeat(&root)?,
        pools,
        heads,
        digest: digest(text),
    };
    unique::pools(&root)?;
    Ok(config)
}

fn syntax(line: usize, message: String) -> ConfigError {
    ConfigError {
        line,
        field: String::new(),
        message,
    }
}

fn digest(text: &str) -> u32 {
    let hash = Sha256::digest(text.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The volume of something that is offered (`how`: exported, shared), which is none of the firmware's own.
pub(super) fn volume(section: &Section<'_>, how: &str) -> Result<String, ConfigError> {
    let volume = section.text("volume", names::LVM)?;
    if reserved::is_reserved(volume.value) {
        return Err(volume.at.error(format!(
            "is {:?}, which is the firmware's own and never {how}; allowed: a name that does not begin with {}",
            volume.value,
            reserved::PREFIX
        )));
    }
    name(volume, names::is_lvm, names::LVM)
}

/// A text that has to look a certain way.
pub(super) fn name(
    field: Field<&str>,
    fits: impl Fn(&str) -> bool,
    allowed: &str,
) -> Result<String, ConfigError> {
    if fits(field.value) {
        Ok(field.value.to_owned())
    } else {
        Err(field
            .at
            .error(format!("is {:?}; allowed: {allowed}", field.value)))
    }
}

fn secret(root: &Section<'_>) -> Result<Secret, ConfigError> {
    let field = root.text("secret", names::SECRET)?;
    // The message tells the length and never the text: most of a mistyped secret is the secret.
    match Secret::from_hex(field.value) {
        Some(secret) if !secret.is_placeholder() => Ok(secret),
        Some(_) => Err(field
            .at
            .error(format!("is a placeholder; allowed: {}", names::SECRET))),
        None => Err(field.at.error(format!(
            "has {} characters, or others than hex digits; allowed: {}",
            field.value.chars().count(),
            names::SECRET
        ))),
    }
}

fn heartbeat(root: &Section<'_>) -> Result<HeartbeatConfig, ConfigError> {
    let mut heartbeat = HeartbeatConfig {
        dead_ms: DEAD_DEFAULT_MS,
        serial: "ttyS1".to_owned(),
        control: CONTROL_DEFAULT.to_owned(),
    };
    let Some(section) = root.section("heartbeat")? else {
        return Ok(heartbeat);
    };
    section.only(&["dead_ms", "serial", "control"])?;
    if let Some(field) = section.optional_number("dead_ms", DEAD_RANGE_MS)? {
        heartbeat.dead_ms = field.value;
    }
    if let Some(field) = section.optional_text("serial", names::TTY)? {
        heartbeat.serial = name(field, names::is_tty, names::TTY)?;
    }
    if let Some(field) = section.optional_text("control", names::TTY)? {
        heartbeat.control = name(field, names::is_tty, names::TTY)?;
    }
    for (key, tty) in [
        ("serial", &heartbeat.serial),
        ("control", &heartbeat.control),
    ] {
        if tty == "ttyS0" {
            return Err(section
                .place(key)
                .error("is ttyS0, the operator's console; allowed: another serial port"));
        }
    }
    if heartbeat.serial == heartbeat.control {
        return Err(section.place("control").error(format!(
            "is {}, which carries the heartbeat; allowed: another serial port",
            heartbeat.control
        )));
    }
    Ok(heartbeat)
}

fn heads(root: &Section<'_>) -> Result<[HeadConfig; 2], ConfigError> {
    let sections = root.sections("head", 2)?;
    let shape = data::shape(root)?;
    let heads: Vec<HeadConfig> = sections
        .iter()
        .map(|section| head(section, &shape))
        .collect::<Result<_, _>>()?;
    heads.try_into().map_err(|found: Vec<HeadConfig>| {
        root.place("head").error(format!(
            "is there {} times; allowed: exactly two tables [[head]]",
            found.len()
        ))
    })
}

fn head(section: &Section<'_>, shape: &data::Shape) -> Result<HeadConfig, ConfigError> {
    section.only(&["name", "mac", "smbios", "heartbeat", "data"])?;
    let identity = match (section.has("mac"), section.has("smbios")) {
        (true, false) => Identity::Mac(mac(section, "mac")?),
        (false, true) => Identity::Smbios(name(
            section.text("smbios", names::SMBIOS)?,
            names::is_smbios,
            names::SMBIOS,
        )?),
        (true, true) => {
            return Err(section
                .place("smbios")
                .error("is there beside mac; allowed: one of the two"));
        }
        (false, false) => {
            return Err(section.missing("mac", &format!("{}; or smbios instead", names::MAC)));
        }
    };
    Ok(HeadConfig {
        name: name(
            section.text("name", names::HEAD)?,
            names::is_head,
            names::HEAD,
        )?,
        identity,
        heartbeat: mac(section, "heartbeat")?,
        data: data::port(section, shape)?,
    })
}

fn mac(section: &Section<'_>, key: &str) -> Result<Mac, ConfigError> {
    station(&section.text(key, names::MAC)?)
}

/// The address of one card.
pub(super) fn station(field: &Field<&str>) -> Result<Mac, ConfigError> {
    match field.value.parse::<Mac>() {
        Ok(mac) if mac.is_station() => Ok(mac),
        _ => Err(field
            .at
            .error(format!("is {:?}; allowed: {}", field.value, names::MAC))),
    }
}

fn pool(section: &Section<'_>, heads: &[HeadConfig; 2]) -> Result<PoolConfig, ConfigError> {
    section.only(&[
        "name",
        "vg",
        "home",
        "address",
        "gateway",
        "gateway_watch",
        "address_check",
        "dirty_degraded",
        "serve_without_reservations",
        "iscsi",
        "nfs",
        "nvme",
    ])?;
    let pool_name = name(
        section.text("name", names::POOL)?,
        names::is_pool,
        names::POOL,
    )?;
    let vg = match section.optional_text("vg", names::LVM)? {
        Some(field) => name(field, names::is_lvm, names::LVM)?,
        None => pool_name.clone(),
    };
    let addresses = section.texts("address", names::ADDRESS)?;
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        return Err(section.place("address").error(format!(
            "has {} entries; allowed: {}",
            addresses.len(),
            names::ADDRESS
        )));
    }
    let mut addresses: Vec<ServiceAddress> = addresses
        .into_iter()
        .map(|field| {
            names::address(field.value).ok_or_else(|| {
                field
                    .at
                    .error(format!("is {:?}; allowed: {}", field.value, names::ADDRESS))
            })
        })
        .collect::<Result<_, _>>()?;
    let gateways = gateways(section, &mut addresses)?;
    Ok(PoolConfig {
        name: pool_name,
        vg,
        home: home(section, heads)?,
        dirty_degraded: section.optional_switch("dirty_degraded")?.unwrap_or(false),
        serve_without_reservations: section
            .optional_switch("serve_without_reservations")?
            .unwrap_or(false),
        addresses,
        gateways,
        gateway_watch: section.optional_switch("gateway_watch")?.unwrap_or(true),
        address_check: section.optional_switch("address_check")?.unwrap_or(true),
        targets: iscsi::targets(section)?,
        nfs: match section.section("nfs")? {
            Some(section) => Some(share::nfs(&section)?),
            None => None,
        },
        nvme: match section.section("nvme")? {
            Some(section) => Some(nvme::nvme(&section)?),
            None => None,
        },
    })
}

/// The gateways, each given to the addresses that it is for.
fn gateways(
    section: &Section<'_>,
    addresses: &mut [ServiceAddress],
) -> Result<Vec<IpAddr>, ConfigError> {
    if !section.has("gateway") {
        return Ok(Vec::new());
    }
    let mut gateways = Vec::new();
    for field in section.texts("gateway", names::GATEWAY)? {
        let error = |says: &str| {
            let says = format!("is {:?}{says}; allowed: {}", field.value, names::GATEWAY);
            field.at.error(says)
        };
        let gateway: IpAddr = field.value.parse().map_err(|_| error(""))?;
        let mut is_used = false;
        for address in &mut *addresses {
            if names::is_gateway_of(gateway, address) {
                is_used = true;
                if address.way.replace(Way { gateway, table: 0 }).is_some() {
                    return Err(error(&format!(", the second for {address}")));
                }
            }
        }
        if !is_used {
            return Err(error(", on the network of no service address of the pool"));
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

/// Each address with a gateway has a routing table of its own.
fn number_tables(pools: &mut [PoolConfig]) {
    let addresses = pools.iter_mut().flat_map(|pool| &mut pool.addresses);
    let ways = addresses.filter_map(|address| address.way.as_mut());
    for (way, table) in ways.zip(FIRST_TABLE..) {
        way.table = table;
    }
}

fn home(section: &Section<'_>, heads: &[HeadConfig; 2]) -> Result<HeadId, ConfigError> {
    let allowed = format!("a head's name: {} or {}", heads[0].name, heads[1].name);
    let field = section.text("home", &allowed)?;
    if field.value == heads[0].name {
        Ok(HeadId::First)
    } else if field.value == heads[1].name {
        Ok(HeadId::Second)
    } else {
        Err(field
            .at
            .error(format!("is {:?}; allowed: {allowed}", field.value)))
    }
}
