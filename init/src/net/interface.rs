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

/// By the card's own address; what is made on top of cards came after them.
fn find(list: Vec<Interface>, mac: Mac) -> Result<Interface, NetError> {
    let mut list = list.into_iter();
    list.find(|interface| interface.card.unwrap_or(interface.mac) == mac)
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
