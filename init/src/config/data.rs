//! `[data]`, and `data` of each head: the cards that carry the service addresses, and what is made of them.

use super::error::ConfigError;
use super::parse::station;
use super::section::Section;
use super::{MAX_CARDS, names};
use crate::net::{Bond, DataPort};

const BOND: &str = "active-backup, 802.3ad";
/// IEEE 802.1Q: the others mean something else.
const VLAN: std::ops::RangeInclusive<u32> = 1..=4094;
/// What IPv6 needs, to the longest that cards have.
const MTU: std::ops::RangeInclusive<u32> = 1280..=9216;

/// What both heads make of their cards.
pub(super) struct Shape {
    bond: Option<Bond>,
    vlan: Option<u16>,
    mtu: Option<u32>,
}

pub(super) fn shape(root: &Section<'_>) -> Result<Shape, ConfigError> {
    let Some(section) = root.section("data")? else {
        let (bond, vlan, mtu) = (None, None, None);
        return Ok(Shape { bond, vlan, mtu });
    };
    section.only(&["bond", "vlan", "mtu"])?;
    let bond = match section.optional_text("bond", BOND)? {
        None => None,
        Some(field) => Some(match field.value {
            "active-backup" => Bond::ActiveBackup,
            "802.3ad" => Bond::Lacp,
            other => return Err(field.at.error(format!("is {other:?}; allowed: {BOND}"))),
        }),
    };
    let vlan = section.optional_number("vlan", VLAN)?;
    let mtu = section.optional_number("mtu", MTU)?;
    Ok(Shape {
        bond,
        vlan: vlan.and_then(|field| u16::try_from(field.value).ok()),
        mtu: mtu.map(|field| field.value),
    })
}

pub(super) fn port(head: &Section<'_>, shape: &Shape) -> Result<DataPort, ConfigError> {
    let cards = head.texts("data", names::CARDS)?;
    let count = cards.len();
    if !(1..=MAX_CARDS).contains(&count) {
        let place = head.place("data");
        return Err(place.error(format!("has {count} entries; allowed: {}", names::CARDS)));
    }
    if count > 1 && shape.bond.is_none() {
        return Err(head.place("data").error(format!(
            "has {count} entries, and there is no word of a bond; allowed: one of them, or [data] with bond = one of {BOND}"
        )));
    }
    Ok(DataPort {
        cards: cards.iter().map(station).collect::<Result<_, _>>()?,
        bond: shape.bond,
        vlan: shape.vlan,
        mtu: shape.mtu,
    })
}
