//! The way back to clients on other networks: for each service address that has a gateway, a routing table with that one route,
//! and a rule that whatever comes from the address looks there last.
//!
//! ```text
//! from 10.77.0.10 ─► table main: on the own network? ─ no ─► rule 40000: table 1000: default via 10.77.0.1
//! ```
//!
//! By source and not one default route for all: pools in different networks have different gateways, and what has no service
//! address as its source (a head has no other) goes nowhere. The route is said to be on the link, as it comes before the
//! network that the gateway is in. The kernel drops it when the port goes down or its last address of IPv4 goes, so it is put again from
//! time to time; what the kernel leaves is taken away with the address.
//!
//! The networks of other pools here are before it: a client in one of them is answered there directly.

use std::net::IpAddr;

use rustix::io::Errno;

use super::address::{self, RTM_DELRULE, RTM_NEWRULE, family, octets, perform};
use super::{Interface, NetError};
use crate::sys::netlink::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Request};

// linux/rtnetlink.h, linux/fib_rules.h.
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_TABLE: u16 = 15;
/// Behind the tables of the kernel (32766 and 32767), which have the networks of the port.
const RULE_PRIORITY: u32 = 40_000;

/// The way to clients that are not on the network of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The router, of the address's own family.
    pub gateway: IpAddr,
    /// The number of the routing table that has this way alone.
    pub table: u32,
}

/// Makes the way for what comes from a service address.
pub(super) fn open(interface: &Interface, source: IpAddr, way: Way) -> Result<(), NetError> {
    let request = route(interface, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, way);
    perform(interface, &request, "add a gateway", Errno::EXIST)?;
    let request = rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, source, way);
    perform(
        interface,
        &request,
        "have an address use its gateway",
        Errno::EXIST,
    )?;
    Ok(())
}

/// Takes it away.
pub(super) fn close(interface: &Interface, source: IpAddr, way: Way) -> Result<(), NetError> {
    let request = rule(RTM_DELRULE, 0, source, way);
    perform(
        interface,
        &request,
        "have an address use no gateway",
        Errno::NOENT,
    )?;
    let request = route(interface, RTM_DELROUTE, 0, way);
    perform(interface, &request, "remove a gateway", Errno::SRCH)?;
    Ok(())
}

/// `rtmsg`: family u8, lengths of destination and source u8 each, service u8, table u8, origin u8, scope u8, type u8, flags u32.
/// A destination of no length is everything.
fn route(interface: &Interface, kind: u16, flags: u16, way: Way) -> Request {
    let mut header = [0; 12];
    header[0] = family(way.gateway);
    header[5] = RTPROT_STATIC;
    header[7] = RTN_UNICAST;
    header[8..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    Request::new(kind, flags)
        .bytes(&header)
        .attribute(RTA_TABLE, &way.table.to_ne_bytes())
        .attribute(RTA_OIF, &interface.index.to_ne_bytes())
        .attribute(RTA_GATEWAY, &octets(way.gateway))
}

fn rule(kind: u16, flags: u16, source: IpAddr, way: Way) -> Request {
    address::rule(kind, flags, source, FR_ACT_TO_TBL, RULE_PRIORITY)
        .attribute(FRA_TABLE, &way.table.to_ne_bytes())
}
