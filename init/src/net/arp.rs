//! Gratuitous ARP: tells the segment that a service address lives at this port now.
//!
//! RFC 5227 section 3 asks for the request form; some switches and hosts only learn from the reply
//! form, so both are sent. A frame can be lost, and a switch port may still be blocking: the caller
//! repeats the announcement for some seconds (five times a second at first is plenty).

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::{Interface, Mac, NetError, has_address};
use crate::sys::packet::PacketSocket;

const ETHERTYPE_ARP: u16 = 0x0806;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Ethernet header and ARP for IPv4; the driver pads it to the least frame.
const FRAME_BYTES: usize = 42;

/// Announces an address once, in both forms.
///
/// Refused (`EADDRNOTAVAIL`) when the port does not have the address: a repetition that comes after a
/// release would take it away from its new owner.
pub fn announce(interface: &Interface, ip: Ipv4Addr) -> Result<(), NetError> {
    let error = |errno| NetError::new(&interface.name, "announce a service address", errno);
    if !has_address(interface, ip)? {
        return Err(error(Errno::ADDRNOTAVAIL));
    }
    let socket = PacketSocket::open(interface.index, None).map_err(error)?;
    for operation in [REQUEST, REPLY] {
        socket
            .send(&frame(operation, interface.mac, ip))
            .map_err(error)?;
    }
    Ok(())
}

/// RFC 826. Sender and target protocol address are the announced one; the target's hardware address
/// is ignored in a request, and the broadcast address in the reply form.
fn frame(operation: u16, mac: Mac, ip: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let target = if operation == REPLY {
        Mac::BROADCAST
    } else {
        Mac::ZERO
    };
    let mut frame = [0; FRAME_BYTES];
    frame[0..6].copy_from_slice(&Mac::BROADCAST.0);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
    // Hardware Ethernet (1), protocol IPv4 (0x0800), address lengths 6 and 4.
    frame[14..20].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&ip.octets());
    frame[32..38].copy_from_slice(&target.0);
    frame[38..42].copy_from_slice(&ip.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_their_golden_bytes() {
        let mac = Mac([0x52, 0x54, 0, 0x0a, 1, 2]);
        let ip = Ipv4Addr::new(10, 77, 0, 10);
        let golden = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0x0a, 0x01, 0x02, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x52, 0x54, 0x00, 0x0a, 0x01, 0x02,
            0x0a, 0x4d, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x4d, 0x00, 0x0a,
        ];
        assert_eq!(frame(REQUEST, mac, ip), golden);
        let mut reply = golden;
        reply[21] = 2;
        reply[32..38].copy_from_slice(&[0xff; 6]);
        assert_eq!(frame(REPLY, mac, ip), reply);
    }
}
