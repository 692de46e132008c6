//! Service addresses: added to the data port on import, removed first on release.
//!
//! Whether a stranger has the address is asked before ([`super::Probe`]), so the kernel's own detection of duplicates in IPv6 is
//! not asked for: it takes a second or two, and would take the answers of a former owner that hangs for a stranger's.
//!
//! An address of IPv4 that was removed is no source any more (`ip_route_output_key_hash_rcu`). IPv6 does not look at the source
//! of what is sent from a socket that has one: it goes on to leave as long as there is a route. So before such an address goes, a
//! rule swallows whatever comes from it, until it is added again. (Seen: without the rule, the reset that [`super::end_connections`]
//! brings about reaches the client where another address has the same network.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use tracing::warn;

use super::{Interface, NetError, route};
use crate::Step;
use crate::config::ServiceAddress;
use crate::sys::netlink::{Family, NLM_F_CREATE, NLM_F_EXCL, Netlink, Request, attributes, u32_at};

// linux/rtnetlink.h, linux/if_addr.h, linux/fib_rules.h.
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWRULE: u16 = 32;
pub(super) const RTM_DELRULE: u16 = 33;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// No detection of duplicates by the kernel.
const IFA_F_NODAD: u8 = 2;
const IFA_F_DADFAILED: u8 = 8;
const IFA_F_TENTATIVE: u8 = 0x40;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFADDRMSG_BYTES: usize = 8;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FR_ACT_BLACKHOLE: u8 = 6;
/// After the table of the own addresses, which has the number 0, and before all others.
const RULE_PRIORITY: u32 = 1;

/// Gives the port a service address, and its way to other networks: before it, so that the first answer has one, and behind it, as
/// the kernel drops the ways of a port as its last address of IPv4 goes, which another pool's may just have been.
pub fn add_address(interface: &Interface, address: ServiceAddress) -> Result<Step, NetError> {
    keep_way(interface, address)?;
    let request = request(
        RTM_NEWADDR,
        NLM_F_CREATE | NLM_F_EXCL,
        interface.index,
        address,
    );
    let step = perform(interface, &request, "add a service address", Errno::EXIST)?;
    if address.ip.is_ipv6() {
        let request = black_hole(RTM_DELRULE, 0, address.ip);
        let name = "let what comes from a service address pass";
        perform(interface, &request, name, Errno::NOENT)?;
    }
    keep_way(interface, address)?;
    Ok(step)
}

/// Makes an address's way to other networks where it is not there.
pub fn keep_way(interface: &Interface, address: ServiceAddress) -> Result<(), NetError> {
    match address.way {
        Some(way) => route::open(interface, address.ip, way),
        None => Ok(()),
    }
}

/// Takes a service address off the port. From here on the kernel answers nothing for it: no ARP, no neighbour discovery, no
/// ping, no segment, and nothing that is still queued on a connection can leave.
pub fn remove_address(interface: &Interface, address: ServiceAddress) -> Result<Step, NetError> {
    if address.ip.is_ipv6() {
        // Before the address goes, whose going makes the kernel look for the ways of its connections anew.
        let request = black_hole(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, address.ip);
        let name = "swallow what comes from a service address";
        perform(interface, &request, name, Errno::EXIST)?;
    }
    let request = request(RTM_DELADDR, 0, interface.index, address);
    let name = "remove a service address";
    let step = perform(interface, &request, name, Errno::ADDRNOTAVAIL)?;
    // Of an address that is not there it is nobody's way, and the next import takes it over: no reason to fail a release.
    if let Some(way) = address.way
        && let Err(error) = route::close(interface, address.ip, way)
    {
        warn!("{error}");
    }
    Ok(step)
}

/// Whether the port has an address now.
pub fn has_address(interface: &Interface, ip: IpAddr) -> Result<bool, NetError> {
    let error = |errno| NetError::new(&interface.name, "list the addresses", errno);
    let mut netlink = Netlink::open(Family::Route).map_err(error)?;
    let request = Request::new(RTM_GETADDR, 0).bytes(&[family(ip), 0, 0, 0, 0, 0, 0, 0]);
    let answers = netlink.dump(&request).map_err(error)?;
    Ok(answers
        .iter()
        .any(|answer| own_address(answer) == Some((interface.index, ip))))
}

/// The port's own address of the link, once it is sure to be the only one with it.
pub(super) fn link_local(interface: &Interface) -> Result<Option<Ipv6Addr>, NetError> {
    let error = |errno| NetError::new(&interface.name, "list the addresses", errno);
    let mut netlink = Netlink::open(Family::Route).map_err(error)?;
    let request = Request::new(RTM_GETADDR, 0).bytes(&[AF_INET6, 0, 0, 0, 0, 0, 0, 0]);
    let answers = netlink.dump(&request).map_err(error)?;
    Ok(answers.iter().find_map(|answer| {
        let is_sure = answer.get(2)? & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0;
        match own_address(answer)? {
            (index, IpAddr::V6(ip)) if index == interface.index && ip.is_unicast_link_local() => {
                is_sure.then_some(ip)
            }
            _ => None,
        }
    }))
}

/// One message of the list: the port's index and its own address, which IPv6 has in the other attribute unless it has a peer's.
fn own_address(message: &[u8]) -> Option<(u32, IpAddr)> {
    let index = u32_at(message, 4)?;
    let attributes = attributes(message.get(IFADDRMSG_BYTES..)?);
    let of = |wanted| attributes.iter().find(|(kind, _)| *kind == wanted);
    let (_, value) = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
    let ip = match value.len() {
        4 => <[u8; 4]>::try_from(*value).ok()?.into(),
        _ => <[u8; 16]>::try_from(*value).ok()?.into(),
    };
    Some((index, ip))
}

pub(super) fn perform(
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

pub(super) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// `ifaddrmsg`: family u8, prefix length u8, flags u8, scope u8 (0 is global), index u32.
fn request(kind: u16, flags: u16, index: u32, address: ServiceAddress) -> Request {
    let mut structure = [0; IFADDRMSG_BYTES];
    structure[0] = family(address.ip);
    structure[1] = address.prefix;
    if address.ip.is_ipv6() {
        structure[2] = IFA_F_NODAD;
    }
    structure[4..].copy_from_slice(&index.to_ne_bytes());
    let ip = octets(address.ip);
    let request = Request::new(kind, flags)
        .bytes(&structure)
        .attribute(IFA_LOCAL, &ip)
        .attribute(IFA_ADDRESS, &ip);
    match address.ip {
        // Two hosts or one: the network has no broadcast address (RFC 3021).
        IpAddr::V4(ip) if address.prefix <= 30 => {
            request.attribute(IFA_BROADCAST, &broadcast(ip, address.prefix).octets())
        }
        _ => request,
    }
}

fn broadcast(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(ip) | host)
}

/// `fib_rule_hdr`: family u8, lengths of destination and source u8 each, service u8, table u8, two reserved, action u8, flags u32.
pub(super) fn rule(kind: u16, flags: u16, source: IpAddr, action: u8, priority: u32) -> Request {
    let octets = octets(source);
    let mut header = [0; 12];
    header[0] = family(source);
    header[2] = octets.len() as u8 * 8; // 32 or 128 bits
    header[7] = action;
    Request::new(kind, flags)
        .bytes(&header)
        .attribute(FRA_SRC, &octets)
        .attribute(FRA_PRIORITY, &priority.to_ne_bytes())
}

/// What swallows all that comes from a source.
fn black_hole(kind: u16, flags: u16, source: IpAddr) -> Request {
    rule(kind, flags, source, FR_ACT_BLACKHOLE, RULE_PRIORITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_is_the_networks_last_address() {
        let of = |prefix| broadcast(Ipv4Addr::new(10, 77, 5, 10), prefix);
        assert_eq!(of(24), Ipv4Addr::new(10, 77, 5, 255));
        assert_eq!(of(16), Ipv4Addr::new(10, 77, 255, 255));
        assert_eq!(of(30), Ipv4Addr::new(10, 77, 5, 11));
    }
}
