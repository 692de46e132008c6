//! Service addresses: added to the data port on import, removed first on release.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::{Interface, NetError};
use crate::Step;
use crate::config::ServiceAddress;
use crate::sys::netlink::{Family, NLM_F_CREATE, NLM_F_EXCL, Netlink, Request, attributes, u32_at};

// linux/rtnetlink.h, linux/if_addr.h.
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const AF_INET: u8 = 2;
const IFADDRMSG_BYTES: usize = 8;

/// Gives the port a service address.
pub fn add_address(interface: &Interface, address: ServiceAddress) -> Result<Step, NetError> {
    let request = request(
        RTM_NEWADDR,
        NLM_F_CREATE | NLM_F_EXCL,
        interface.index,
        address,
    );
    perform(interface, &request, "add a service address", Errno::EXIST)
}

/// Takes a service address off the port. From here on the kernel answers nothing for it: no ARP, no
/// ping, no segment, and nothing that is still queued on a connection can leave, as the routing code
/// refuses a source address that is not ours (`ip_route_output_key_hash_rcu`).
pub fn remove_address(interface: &Interface, address: ServiceAddress) -> Result<Step, NetError> {
    let request = request(RTM_DELADDR, 0, interface.index, address);
    perform(
        interface,
        &request,
        "remove a service address",
        Errno::ADDRNOTAVAIL,
    )
}

/// Whether the port has an address now.
pub fn has_address(interface: &Interface, ip: Ipv4Addr) -> Result<bool, NetError> {
    let error = |errno| NetError::new(&interface.name, "list the addresses", errno);
    let mut netlink = Netlink::open(Family::Route).map_err(error)?;
    let request = Request::new(RTM_GETADDR, 0).bytes(&[AF_INET, 0, 0, 0, 0, 0, 0, 0]);
    let answers = netlink.dump(&request).map_err(error)?;
    Ok(answers
        .iter()
        .any(|answer| local_address(answer) == Some((interface.index, ip))))
}

/// One message of the list: the port's index and its own address.
fn local_address(message: &[u8]) -> Option<(u32, Ipv4Addr)> {
    let index = u32_at(message, 4)?;
    let attributes = attributes(message.get(IFADDRMSG_BYTES..)?);
    let (_, value) = attributes.iter().find(|(kind, _)| *kind == IFA_LOCAL)?;
    Some((index, Ipv4Addr::from(<[u8; 4]>::try_from(*value).ok()?)))
}

fn perform(
    interface: &Interface,
    request: &Request,
    step: &'static str,
    already: Errno,
) -> Result<Step, NetError> {
    let error = |errno| NetError::new(&interface.name, step, errno);
    let mut netlink = Netlink::open(Family::Route).map_err(error)?;
    match netlink.perform(request) {
        Ok(()) => Ok(Step::Changed),
        Err(errno) if errno == already => Ok(Step::Already),
        Err(errno) => Err(error(errno)),
    }
}

/// `ifaddrmsg`: family u8, prefix length u8, flags u8, scope u8 (0 is global), index u32.
fn request(kind: u16, flags: u16, index: u32, address: ServiceAddress) -> Request {
    let mut structure = [0; IFADDRMSG_BYTES];
    structure[0] = AF_INET;
    structure[1] = address.prefix;
    structure[4..].copy_from_slice(&index.to_ne_bytes());
    let ip = address.ip.octets();
    let request = Request::new(kind, flags)
        .bytes(&structure)
        .attribute(IFA_LOCAL, &ip)
        .attribute(IFA_ADDRESS, &ip);
    if address.prefix > 30 {
        return request; // two hosts or one: the network has no broadcast address (RFC 3021)
    }
    request.attribute(IFA_BROADCAST, &broadcast(address).octets())
}

fn broadcast(address: ServiceAddress) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(u32::from(address.prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(address.ip) | host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_is_the_networks_last_address() {
        let ip = Ipv4Addr::new(10, 77, 5, 10);
        let of = |prefix| broadcast(ServiceAddress { ip, prefix });
        assert_eq!(of(24), Ipv4Addr::new(10, 77, 5, 255));
        assert_eq!(of(16), Ipv4Addr::new(10, 77, 255, 255));
        assert_eq!(of(30), Ipv4Addr::new(10, 77, 5, 11));
    }
}
