//! Tells the segment that a service address lives at this port now: gratuitous ARP, or an unsolicited neighbour advertisement.
//!
//! RFC 5227 section 3 asks for the request form of ARP; some switches and hosts only learn from the reply form, so both are
//! sent. RFC 4861 section 7.2.6 has the advertisement. A frame can be lost, and a switch port may still be blocking: the caller
//! repeats the announcement for some seconds (five times a second at first is plenty).

use std::net::IpAddr;

use rustix::io::Errno;

use super::{Interface, NetError, arp, has_address, ndp};
use crate::sys::packet::PacketSocket;

/// Announces an address once, in all forms.
///
/// Refused (`EADDRNOTAVAIL`) when the port does not have the address: a repetition that comes after a
/// release would take it away from its new owner.
pub fn announce(interface: &Interface, ip: IpAddr) -> Result<(), NetError> {
    let error = |errno| NetError::new(&interface.name, "announce a service address", errno);
    if !has_address(interface, ip)? {
        return Err(error(Errno::ADDRNOTAVAIL));
    }
    let socket = PacketSocket::open(interface.index, None).map_err(error)?;
    match ip {
        IpAddr::V4(ip) => {
            for operation in [arp::REQUEST, arp::REPLY] {
                let frame = arp::announcement(operation, interface.mac, ip);
                socket.send(&frame).map_err(error)?;
            }
            Ok(())
        }
        IpAddr::V6(ip) => {
            let frame = ndp::advertisement(interface.mac, ip);
            socket.send(&frame).map_err(error)
        }
    }
}
