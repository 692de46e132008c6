//! `[pool.iscsi]`, or a `[[pool.iscsi]]` for each of several targets: what a pool offers by iSCSI, and to whom.
//!
//! One target of a pool at most has all volumes: those that the others do not list.

use super::error::ConfigError;
use super::parse::{self, name};
use super::section::Section;
use super::{ChapConfig, MAX_CLIENTS, MAX_LUN_NUMBER, MAX_LUNS, MAX_TARGETS, chap, names};

/// The blocks that disks have.
const BLOCK_SIZES: [u32; 2] = [512, 4096];

/// `[pool.iscsi]`, or one `[[pool.iscsi]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IscsiConfig {
    /// The target's name.
    pub iqn: String,
    /// What its LUNs are called by their vendor; the firmware's own when absent.
    pub vendor: Option<String>,
    /// What its LUNs are called by their product.
    pub product: Option<String>,
    /// Initiator names that may log in; nobody else may.
    pub clients: Vec<String>,
    /// Those of them that must log in with a password.
    pub chap: Vec<ChapConfig>,
    /// What they see.
    pub luns: Luns,
}

/// The LUNs of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Luns {
    /// Every visible volume that is nothing else's, numbered from 0 by sorted name.
    All,
    /// These.
    Listed(Vec<LunConfig>),
}

/// One `[[pool.iscsi.lun]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunConfig {
    /// Its number.
    pub lun: u32,
    /// The logical volume behind it.
    pub volume: String,
    /// Its unit serial number, hex digits; derived from the volume when absent.
    pub serial: Option<String>,
    /// Bytes of a block as clients see it; those of the volume when absent.
    pub block_size: Option<u32>,
    /// Those of the target's clients that see it; all of them when absent, also those that come later.
    pub clients: Option<Vec<String>>,
}

/// The targets of a pool.
pub(super) fn targets(pool: &Section<'_>) -> Result<Vec<IscsiConfig>, ConfigError> {
    let sections = pool.one_or_more("iscsi", MAX_TARGETS)?;
    let targets: Vec<IscsiConfig> = sections.iter().map(target).collect::<Result<_, _>>()?;
    let all = sections.iter().zip(&targets);
    let mut all = all.filter(|(_, target)| target.luns == Luns::All);
    if let (Some((first, _)), Some((second, _))) = (all.next(), all.next()) {
        return Err(second.place("luns").error(format!(
            "is \"all\", as in line {}; allowed: for one target of a pool, and tables [[pool.iscsi.lun]] for the others",
            first.place("luns").line
        )));
    }
    Ok(targets)
}

fn target(section: &Section<'_>) -> Result<IscsiConfig, ConfigError> {
    section.only(&["iqn", "vendor", "product", "clients", "chap", "luns", "lun"])?;
    let clients = section.texts("clients", names::ISCSI)?;
    if clients.is_empty() || clients.len() > MAX_CLIENTS {
        return Err(section.place("clients").error(format!(
            "has {} entries; allowed: 1 to {MAX_CLIENTS} initiator names",
            clients.len()
        )));
    }
    let clients: Vec<String> = clients
        .into_iter()
        .map(|field| name(field, names::is_iscsi, names::ISCSI))
        .collect::<Result<_, _>>()?;
    let chap = section.sections("chap", MAX_CLIENTS)?;
    Ok(IscsiConfig {
        chap: chap
            .iter()
            .map(|section| chap::chap(section, &clients))
            .collect::<Result<_, _>>()?,
        iqn: name(
            section.text("iqn", names::ISCSI)?,
            names::is_iscsi,
            names::ISCSI,
        )?,
        vendor: optional(section, "vendor", names::is_vendor, names::VENDOR)?,
        product: optional(section, "product", names::is_product, names::PRODUCT)?,
        luns: luns(section, &clients)?,
        clients,
    })
}

fn optional(
    section: &Section<'_>,
    key: &'static str,
    is_good: fn(&str) -> bool,
    allowed: &str,
) -> Result<Option<String>, ConfigError> {
    let field = section.optional_text(key, allowed)?;
    field.map(|field| name(field, is_good, allowed)).transpose()
}

fn luns(section: &Section<'_>, clients: &[String]) -> Result<Luns, ConfigError> {
    const ALLOWED: &str = "luns = \"all\", or tables [[pool.iscsi.lun]]";
    let listed = section.sections("lun", MAX_LUNS)?;
    match section.optional_text("luns", ALLOWED)? {
        Some(field) if field.value != "all" => Err(field
            .at
            .error(format!("is {:?}; allowed: {ALLOWED}", field.value))),
        Some(field) if !listed.is_empty() => Err(field.at.error(format!(
            "is there beside [[pool.iscsi.lun]] in line {}; allowed: one of the two",
            listed[0].at().line
        ))),
        Some(_) => Ok(Luns::All),
        None if listed.is_empty() => Err(section.missing("lun", ALLOWED)),
        None => listed
            .iter()
            .map(|section| lun(section, clients))
            .collect::<Result<_, _>>()
            .map(Luns::Listed),
    }
}

fn lun(section: &Section<'_>, clients: &[String]) -> Result<LunConfig, ConfigError> {
    section.only(&["lun", "volume", "serial", "clients", "block_size"])?;
    let range = 0..=MAX_LUN_NUMBER;
    let number = section
        .optional_number("lun", range)?
        .ok_or_else(|| section.missing("lun", &format!("a number from 0 to {MAX_LUN_NUMBER}")))?;
    Ok(LunConfig {
        lun: number.value,
        volume: parse::volume(section, "exported")?,
        serial: optional(section, "serial", names::is_serial, names::SERIAL)?,
        block_size: section.optional_choice("block_size", &BLOCK_SIZES)?,
        clients: match section.has("clients") {
            true => Some(clients_of_lun(section, clients)?),
            false => None,
        },
    })
}

fn clients_of_lun(section: &Section<'_>, clients: &[String]) -> Result<Vec<String>, ConfigError> {
    let allowed = format!("some of the target's clients: {}", clients.join(", "));
    let fields = section.texts("clients", &allowed)?;
    if fields.is_empty() {
        let error = format!("names nobody; allowed: {allowed}");
        return Err(section.place("clients").error(error));
    }
    let known =
        fields.into_iter().map(
            |field| match clients.iter().any(|known| known == field.value) {
                true => Ok(field.value.to_owned()),
                false => {
                    let error = format!("is {:?}; allowed: {allowed}", field.value);
                    Err(field.at.error(error))
                }
            },
        );
    known.collect()
}
