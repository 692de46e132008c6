//! The ports of this head: found by their address, switched on, asked for a carrier.
//!
//! By rtnetlink (`linux/rtnetlink.h`, `linux/if_link.h`) and not from sysfs: one answer holds name,
//! address, flags and carrier of the same moment, and it is of the caller's network namespace, where
//! a sysfs shows that of whoever mounted it.

use rustix::io::Errno;

use super::{Mac, NetError};
use crate::Step;
use crate::sys::netlink::{Family, Netlink, Request, attributes, u16_at, u32_at};

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_CARRIER: u16 = 33;
const IFLA_PERM_ADDRESS: u16 = 54;
pub(super) const IFF_UP: u32 = 1;
const ARPHRD_ETHER: u16 = 1;
/// `ifinfomsg`: family u8, pad u8, type u16, index i32, flags u32, change u32.
const IFINFOMSG_BYTES: usize = 16;

/// A network port, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name, such as `eth0`.
    pub name: String,
    /// The kernel's number.
    pub index: u32,
    /// Its address.
    pub mac: Mac,
    /// The address that its card was made with, where the driver tells: in a bond it has another.
    pub card: Option<Mac>,
    /// The bond or bridge that it is a part of.
    pub master: Option<u32>,
    /// Whether it was switched on.
    pub is_up: bool,
    /// Whether it had a carrier; a port that is switched off has none.
    pub carrier: bool,
}

impl Interface {
    /// All Ethernet ports, by index.
    pub fn all() -> Result<Vec<Interface>, NetError> {
        let error = |errno| NetError::new("network ports", "list", errno);
        all(&mut Netlink::open(Family::Route).map_err(error)?)
    }

    /// The port with this address.
    pub fn by_mac(mac: Mac) -> Result<Interface, NetError> {
        find(Interface::all()?, mac)
    }

    /// Looks at the port again.
    pub fn refresh(&self) -> Result<Interface, NetError> {
        let same = Interface::all()?
            .into_iter()
            .find(|port| port.index == self.index);
        same.ok_or_else(|| NetError::new(&self.name, "look at it again", Errno::NODEV))
    }

    /// Switches the port on.
    pub fn up(&self) -> Result<Step, NetError> {
        if self.refresh()?.is_up {
            return Ok(Step::Already);
        }
        let error = |errno| NetError::new(&self.name, "switch the port on", errno);
        let request = Request::new(RTM_NEWLINK, 0).bytes(&ifinfomsg(self.index, IFF_UP, IFF_UP));
        let mut netlink = Netlink::open(Family::Route).map_err(error)?;
        netlink.perform(&request).map_err(error)?;
        Ok(Step::Changed)
    }
}

/// All Ethernet ports of the network that a socket was opened in.
fn all(netlink: &mut Netlink) -> Result<Vec<Interface>, NetError> {
    let request = Request::new(RTM_GETLINK, 0).bytes(&[0; IFINFOMSG_BYTES]);
    let answers = netlink.dump(&request);
    let answers = answers.map_err(|errno| NetError::new("network ports", "list", errno))?;
    let mut list: Vec<Interface> = answers.iter().filter_map(|answer| parse(answer)).collect();
    list.sort_by_key(|interface| interface.index);
    Ok(list)
}

/// The port with this address in the network that a socket was opened in.
pub(super) fn by_mac(netlink: &mut Netlink, mac: Mac) -> Result<Interface, NetError> {
    find(all(netlink)?, mac)
}

/// The port of this name in the network that a socket was opened in.
pub(super) fn by_name(netlink: &mut Netlink, name: &'static str) -> Result<Interface, NetError> {
    let mut list = all(netlink)?.into_iter();
    list.find(|interface| interface.name == name)
        .ok_or_else(|| NetError::new(name, "find it", Errno::NODEV))
}

/// The card that was made with this address, and where there is none, the first port that has it now: another address may have been
/// set, and a driver may not tell the card's own.
///
/// A card in a bond has the bond's address, and so it counts as its own only where it has no other. Nor does the bond count itself,
/// and a VLAN came after what it is on.
fn find(list: Vec<Interface>, mac: Mac) -> Result<Interface, NetError> {
    let made_with = |port: &&Interface| port.card == Some(mac);
    let is_over_others = |port: &Interface| list.iter().any(|one| one.master == Some(port.index));
    let has_now = |port: &&Interface| {
        port.mac == mac && (port.master.is_none() || port.card.is_none()) && !is_over_others(port)
    };
    let found = list
        .iter()
        .find(made_with)
        .or_else(|| list.iter().find(has_now));
    found
        .cloned()
        .ok_or_else(|| NetError::new(mac, "find the port with this address", Errno::NODEV))
}

pub(super) fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG_BYTES] {
    let mut bytes = [0; IFINFOMSG_BYTES];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

/// One message of the list; `None` for what is not an Ethernet port.
fn parse(message: &[u8]) -> Option<Interface> {
    if u16_at(message, 2)? != ARPHRD_ETHER {
        return None;
    }
    let mut interface = Interface {
        name: String::new(),
        index: u32_at(message, 4)?,
        mac: Mac::ZERO,
        card: None,
        master: None,
        is_up: u32_at(message, 8)? & IFF_UP != 0,
        carrier: false,
    };
    for (kind, value) in attributes(message.get(IFINFOMSG_BYTES..)?) {
        match kind {
            IFLA_ADDRESS => interface.mac = Mac(value.try_into().ok()?),
            IFLA_IFNAME => {
                let name = value.split(|byte| *byte == 0).next()?;
                interface.name = String::from_utf8_lossy(name).into_owned();
            }
            IFLA_PERM_ADDRESS => interface.card = value.try_into().ok().map(Mac),
            IFLA_MASTER => interface.master = u32_at(value, 0),
            IFLA_CARRIER => interface.carrier = interface.is_up && value.first() == Some(&1),
            _ => {}
        }
    }
    Some(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const SET: Mac = Mac([2, 0, 0, 0, 0, 3]);
    const BOND: u32 = 2;

    fn port(index: u32, mac: Mac, card: Option<Mac>, master: Option<u32>) -> Interface {
        Interface {
            name: format!("port{index}"),
            index,
            mac,
            card,
            master,
            is_up: true,
            carrier: true,
        }
    }

    fn found(list: &[Interface], mac: Mac) -> Option<u32> {
        find(list.to_vec(), mac).ok().map(|port| port.index)
    }

    #[test]
    fn a_port_is_found_by_the_address_it_was_made_with_and_then_by_the_one_it_has() {
        let changed = port(3, SET, Some(A), None);
        assert_eq!(found(std::slice::from_ref(&changed), A), Some(3));
        assert_eq!(found(std::slice::from_ref(&changed), SET), Some(3));
        // Whose own it is, comes before whoever has it now, in any order.
        let own = port(4, SET, Some(SET), None);
        assert_eq!(found(&[changed, own], SET), Some(4));
        let untold = port(5, A, None, None);
        assert_eq!(found(std::slice::from_ref(&untold), A), Some(5));
        assert_eq!(found(&[untold, port(6, A, Some(A), None)], A), Some(6));
        assert_eq!(found(&[], A), None);
    }

    #[test]
    fn the_address_of_a_bond_is_that_of_one_of_its_cards() {
        // The bond that the module made is before its cards; a VLAN is on it.
        let list = [
            port(BOND, A, None, None),
            port(3, A, Some(B), Some(BOND)),
            port(4, A, Some(A), Some(BOND)),
            port(9, A, None, None),
        ];
        assert_eq!(found(&list, A), Some(4));
        assert_eq!(found(&list, B), Some(3));
        // The other card is not taken for one that is gone.
        assert_ne!(found(&list[..2], A), Some(3));
        // Of cards that do not tell theirs, the first is found and not the bond.
        let list = [
            port(BOND, A, None, None),
            port(3, A, None, Some(BOND)),
            port(9, A, None, None),
        ];
        assert_eq!(found(&list, A), Some(3));
    }
}
