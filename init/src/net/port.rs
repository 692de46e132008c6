//! The data port of a head, as the configuration wants it: one card or several as a bond, a VLAN on it, its MTU.
//!
//! ```text
//! card ──────────────────┐
//! card ─┬─ bond0 (link) ─┴─► data-vlan (VLAN 77) ─► service addresses, branches of pools
//! card ─┘
//! ```
//!
//! All by rtnetlink, at boot, from whatever is there; what was made stays as long as the head runs, and what was not is tried again
//! ([`DataPort::wanting`]). What carries the addresses is
//! found by its name where it is made here, and by the address of its card where it is not. A bond takes the address of its first
//! card and gives it to all of them: a card is therefore known by the address that it was made with.

use rustix::io::Errno;

use super::interface::{self, IFF_UP, RTM_NEWLINK, ifinfomsg};
use super::{Interface, Mac, NetError, settle};
use crate::sys::netlink::{Family, NLM_F_CREATE, NLM_F_EXCL, Netlink, Request, nested};

// linux/if_link.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_BOND_MODE: u16 = 1;
const IFLA_BOND_MIIMON: u16 = 3;
const IFLA_BOND_XMIT_HASH_POLICY: u16 = 14;
const IFLA_BOND_NUM_PEER_NOTIF: u16 = 16;
const IFLA_BOND_AD_LACP_RATE: u16 = 21;
// linux/if_bonding.h.
const BOND_MODE_ACTIVEBACKUP: u8 = 1;
const BOND_MODE_8023AD: u8 = 4;
const BOND_XMIT_POLICY_LAYER34: u8 = 1;

/// The module makes it as it is loaded, so it is the one that is used.
const BOND: &str = "bond0";
const VLAN: &str = "data-vlan";
/// How often a bond looks at the links of its cards. Well within the time after which a port without a link moves a pool.
const MIIMON_MS: u32 = 100;

/// How several cards are one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// One card carries, another takes over when it has no link. No switch has to know.
    ActiveBackup,
    /// All carry, as the switch agrees to by LACP.
    Lacp,
}

/// What carries the service addresses of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPort {
    /// Its cards, at least one; one alone unless they are a bond.
    pub cards: Vec<Mac>,
    /// How they are one.
    pub bond: Option<Bond>,
    /// The VLAN's number.
    pub vlan: Option<u16>,
    /// The longest packet; the cards' own where it is not said.
    pub mtu: Option<u32>,
}

impl DataPort {
    /// Makes what is not there yet and switches it on.
    pub fn open(&self) -> Result<Interface, NetError> {
        let error = |errno| NetError::new("the data port", "make it", errno);
        let mut netlink = Netlink::open(Family::Route).map_err(error)?;
        let mut link = match self.bond {
            None => {
                let card = interface::by_mac(&mut netlink, self.first_card()?)?;
                ready(&mut netlink, &card, self.mtu)?;
                card
            }
            Some(bond) => self.bond(&mut netlink, bond)?,
        };
        if let Some(number) = self.vlan {
            link = vlan(&mut netlink, &link, number)?;
            ready(&mut netlink, &link, self.mtu)?;
        }
        link.refresh()
    }

    /// What carries the addresses now.
    pub fn find(&self) -> Result<Interface, NetError> {
        let error = |errno| NetError::new("the data port", "look for it", errno);
        self.find_by(&mut Netlink::open(Family::Route).map_err(error)?)
    }

    /// The same in the network that a socket was opened in.
    pub(super) fn find_by(&self, netlink: &mut Netlink) -> Result<Interface, NetError> {
        match (self.vlan, self.bond) {
            (Some(_), _) => interface::by_name(netlink, VLAN),
            (None, Some(_)) => interface::by_name(netlink, BOND),
            (None, None) => interface::by_mac(netlink, self.first_card()?),
        }
    }

    /// What [`DataPort::open`] could mend, in words: the port is not there or off, or a card of the bond is there and not in it.
    pub fn wanting(&self) -> Option<String> {
        let port = match self.find() {
            Ok(port) if port.is_up => port,
            Ok(port) => return Some(format!("{} is off", port.name)),
            Err(error) => return Some(error.to_string()),
        };
        self.bond?;
        let mut netlink = Netlink::open(Family::Route).ok()?;
        let bond = interface::by_name(&mut netlink, BOND).ok()?;
        let cards = self.cards.iter();
        let mut there = cards.filter_map(|mac| interface::by_mac(&mut netlink, *mac).ok());
        let left_out = there.find(|card| card.master != Some(bond.index));
        left_out.map(|card| format!("{} of {} is not in the bond", card.name, port.name))
    }

    /// Those of its cards that have no link, or are not there at all.
    pub fn without_link(&self) -> Result<Vec<Mac>, NetError> {
        let error = |errno| NetError::new("the data port", "look for its cards", errno);
        let mut netlink = Netlink::open(Family::Route).map_err(error)?;
        let mut without = Vec::new();
        for mac in &self.cards {
            match interface::by_mac(&mut netlink, *mac) {
                Ok(card) if card.carrier => {}
                Err(error) if error.errno != Errno::NODEV => return Err(error),
                _ => without.push(*mac),
            }
        }
        Ok(without)
    }

    fn first_card(&self) -> Result<Mac, NetError> {
        let first = self.cards.first().copied();
        first.ok_or_else(|| NetError::new("the data port", "find its card", Errno::NODEV))
    }

    /// A card that cannot be found, or that the bond does not take, does not keep the others from serving.
    fn bond(&self, netlink: &mut Netlink, bond: Bond) -> Result<Interface, NetError> {
        let error = |errno| NetError::new(BOND, "make the bond", errno);
        let mode = mode(bond);
        let made = netlink.perform(&link_of(
            BOND,
            "bond",
            NLM_F_CREATE | NLM_F_EXCL,
            None,
            &mode,
        ));
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(error(errno)),
        }
        let link = interface::by_name(netlink, BOND)?;
        let cards: Vec<_> = self
            .cards
            .iter()
            .map(|mac| interface::by_mac(netlink, *mac))
            .collect();
        let has = |card: &Interface| card.master == Some(link.index);
        if !cards.iter().flatten().any(has) {
            // One that the module made has another mode, which changes only while it is off and without cards.
            set(netlink, &link, "switch the bond off", 0, IFF_UP)?;
            let request = link_of(BOND, "bond", 0, Some(link.index), &mode);
            netlink.perform(&request).map_err(error)?;
        }
        join_all(cards, |card| match has(card) {
            true => Ok(()),
            false => join(netlink, &link, card),
        })?;
        ready(netlink, &link, self.mtu)?;
        Ok(link)
    }
}

/// Makes each card one of the bond's that can be; an error where that is none.
fn join_all(
    cards: Vec<Result<Interface, NetError>>,
    mut join: impl FnMut(&Interface) -> Result<(), NetError>,
) -> Result<(), NetError> {
    let mut joined = 0;
    let mut last = NetError::new(BOND, "find its cards", Errno::NODEV);
    for card in cards {
        match card.and_then(|card| join(&card)) {
            Ok(()) => joined += 1,
            Err(error) => {
                tracing::error!(%error, "the bond lacks a card");
                last = error;
            }
        }
    }
    match joined {
        0 => Err(last),
        _ => Ok(()),
    }
}

fn join(netlink: &mut Netlink, bond: &Interface, card: &Interface) -> Result<(), NetError> {
    set(netlink, card, "switch the card off", 0, IFF_UP)?;
    let request = Request::new(RTM_NEWLINK, 0)
        .bytes(&ifinfomsg(card.index, 0, 0))
        .attribute(IFLA_MASTER, &bond.index.to_ne_bytes());
    let error = |errno| NetError::new(&card.name, "make it one of the bond's", errno);
    netlink.perform(&request).map_err(error)
}

fn mode(bond: Bond) -> Vec<u8> {
    let interval = MIIMON_MS.to_ne_bytes();
    match bond {
        Bond::ActiveBackup => nested(&[
            (IFLA_BOND_MODE, &[BOND_MODE_ACTIVEBACKUP]),
            (IFLA_BOND_MIIMON, &interval),
            // How often the kernel says where its addresses are when another card carries.
            (IFLA_BOND_NUM_PEER_NOTIF, &[3]),
        ]),
        Bond::Lacp => nested(&[
            (IFLA_BOND_MODE, &[BOND_MODE_8023AD]),
            (IFLA_BOND_MIIMON, &interval),
            // Each connection by one card, and several of one client by several.
            (IFLA_BOND_XMIT_HASH_POLICY, &[BOND_XMIT_POLICY_LAYER34]),
            // Every second, so that a card whose partner is gone is left out within three.
            (IFLA_BOND_AD_LACP_RATE, &[1]),
        ]),
    }
}

fn vlan(netlink: &mut Netlink, below: &Interface, number: u16) -> Result<Interface, NetError> {
    let error = |errno| NetError::new(&below.name, "put a VLAN onto it", errno);
    let data = nested(&[(IFLA_VLAN_ID, &number.to_ne_bytes())]);
    let request = link_of(VLAN, "vlan", NLM_F_CREATE | NLM_F_EXCL, None, &data)
        .attribute(IFLA_LINK, &below.index.to_ne_bytes());
    match netlink.perform(&request) {
        Ok(()) | Err(Errno::EXIST) => interface::by_name(netlink, VLAN),
        Err(errno) => Err(error(errno)),
    }
}

/// A link of a kind that the kernel makes, with what is said of that kind; an index where it is there already.
fn link_of(name: &str, kind: &str, flags: u16, index: Option<u32>, data: &[u8]) -> Request {
    let info = nested(&[(IFLA_INFO_KIND, kind.as_bytes()), (IFLA_INFO_DATA, data)]);
    let request = Request::new(RTM_NEWLINK, flags).bytes(&ifinfomsg(index.unwrap_or(0), 0, 0));
    let request = match index {
        Some(_) => request,
        None => request.attribute(IFLA_IFNAME, name.as_bytes()),
    };
    request.attribute(IFLA_LINKINFO, &info)
}

/// Its settings, its MTU, and on.
fn ready(netlink: &mut Netlink, link: &Interface, mtu: Option<u32>) -> Result<(), NetError> {
    settle(link)?;
    if let Some(mtu) = mtu {
        let request = Request::new(RTM_NEWLINK, 0)
            .bytes(&ifinfomsg(link.index, 0, 0))
            .attribute(IFLA_MTU, &mtu.to_ne_bytes());
        let error = |errno| NetError::new(&link.name, "set its MTU", errno);
        netlink.perform(&request).map_err(error)?;
    }
    set(netlink, link, "switch the port on", IFF_UP, IFF_UP)
}

fn set(
    netlink: &mut Netlink,
    link: &Interface,
    step: &'static str,
    flags: u32,
    change: u32,
) -> Result<(), NetError> {
    let request = Request::new(RTM_NEWLINK, 0).bytes(&ifinfomsg(link.index, flags, change));
    let error = |errno| NetError::new(&link.name, step, errno);
    netlink.perform(&request).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: u32) -> Result<Interface, NetError> {
        Ok(Interface {
            name: format!("eth{index}"),
            index,
            mac: Mac([2, 0, 0, 0, 0, index as u8]),
            card: None,
            master: None,
            is_up: false,
            carrier: false,
        })
    }

    #[test]
    fn a_bond_does_without_a_card_that_is_missing_or_not_taken_and_not_without_any() {
        let missing = || Err(NetError::new("eth9", "find it", Errno::NODEV));
        let refused = |card: &Interface| NetError::new(&card.name, "join", Errno::BUSY);
        let joined_of = |cards: Vec<Result<Interface, NetError>>, good: &[u32]| {
            let mut joined = Vec::new();
            let said = join_all(cards, |card| match good.contains(&card.index) {
                true => {
                    joined.push(card.index);
                    Ok(())
                }
                false => Err(refused(card)),
            });
            (said, joined)
        };
        for good in [[1], [2], [3]] {
            let cards = vec![card(1), missing(), card(2), card(3)];
            assert_eq!(joined_of(cards, &good), (Ok(()), good.to_vec()));
        }
        let all = vec![card(1), card(2)];
        assert_eq!(joined_of(all, &[1, 2]), (Ok(()), vec![1, 2]));
        let (said, _) = joined_of(vec![missing(), card(1)], &[]);
        assert_eq!(said, Err(refused(&card(1).unwrap())));
        assert!(joined_of(vec![missing()], &[]).0.is_err());
        assert!(joined_of(Vec::new(), &[]).0.is_err());
    }
}
