//! Frames of ARP (RFC 826, for IPv4 over Ethernet): the announcement of an address, the question whether somebody has it, and
//! the answer to that (RFC 5227).

use std::net::Ipv4Addr;

use super::Mac;

pub(super) const ETHERTYPE: u16 = 0x0806;
pub(super) const REQUEST: u16 = 1;
pub(super) const REPLY: u16 = 2;
/// Ethernet header and ARP for IPv4; the driver pads it to the least frame.
const FRAME_BYTES: usize = 42;

/// Sender and target protocol address are the announced one; the target's hardware address
/// is ignored in a request, and the broadcast address in the reply form.
pub(super) fn announcement(operation: u16, mac: Mac, ip: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let target = if operation == REPLY {
        Mac::BROADCAST
    } else {
        Mac::ZERO
    };
    frame(operation, mac, ip, target, ip)
}

/// Asks who has the address, without claiming it.
pub(super) fn probe(mac: Mac, ip: Ipv4Addr) -> [u8; FRAME_BYTES] {
    frame(REQUEST, mac, Ipv4Addr::UNSPECIFIED, Mac::ZERO, ip)
}

fn frame(
    operation: u16,
    mac: Mac,
    sender: Ipv4Addr,
    target_mac: Mac,
    target: Ipv4Addr,
) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[0..6].copy_from_slice(&Mac::BROADCAST.0);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    // Hardware Ethernet (1), protocol IPv4 (0x0800), address lengths 6 and 4.
    frame[14..20].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&sender.octets());
    frame[32..38].copy_from_slice(&target_mac.0);
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

/// Who says by this frame that it has the address, or is about to take it.
pub(super) fn claimant(frame: &[u8], ip: Ipv4Addr) -> Option<Mac> {
    let frame = frame.get(..FRAME_BYTES)?;
    if frame[12..14] != ETHERTYPE.to_be_bytes() || frame[14..20] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let has_it = frame[28..32] == ip.octets();
    // RFC 5227 section 2.1.1: another's probe for the same address. It goes to all stations; a switch that looks after the hosts
    // behind it asks a single one in the same way, and wants nothing.
    let wants_it = frame[0..6] == Mac::BROADCAST.0
        && frame[28..32] == [0; 4]
        && frame[38..42] == ip.octets()
        && frame[20..22] == [0, 1];
    let mac = Mac(frame[22..28].try_into().ok()?);
    (has_it || wants_it).then_some(mac)
}

/// Whether a frame is the answer to a question of this card's about an address.
pub(super) fn answers(frame: &[u8], mac: Mac, ip: Ipv4Addr) -> bool {
    let claims = claimant(frame, ip).is_some();
    claims && frame[20..22] == REPLY.to_be_bytes() && frame[0..6] == mac.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0x0a, 1, 2]);
    const IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);

    #[test]
    fn both_forms_have_their_golden_bytes() {
        let golden = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0x0a, 0x01, 0x02, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x52, 0x54, 0x00, 0x0a, 0x01, 0x02,
            0x0a, 0x4d, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x4d, 0x00, 0x0a,
        ];
        assert_eq!(announcement(REQUEST, MAC, IP), golden);
        let mut reply = golden;
        reply[21] = 2;
        reply[32..38].copy_from_slice(&[0xff; 6]);
        assert_eq!(announcement(REPLY, MAC, IP), reply);
        let mut probe_frame = golden;
        probe_frame[28..32].fill(0);
        assert_eq!(probe(MAC, IP), probe_frame);
    }

    #[test]
    fn an_answer_is_to_whoever_asked() {
        let asker = Mac([0x52, 0x54, 0, 0x0a, 2, 2]);
        let mut answer = announcement(REPLY, MAC, IP);
        answer[..6].copy_from_slice(&asker.0);
        assert!(answers(&answer, asker, IP));
        assert!(!answers(&answer, MAC, IP));
        assert!(!answers(&answer, asker, Ipv4Addr::new(10, 77, 0, 11)));
        assert!(!answers(&answer[..41], asker, IP));
        // What it says to all, what it asks, and the other head's question.
        assert!(!answers(&announcement(REPLY, MAC, IP), asker, IP));
        answer[21] = 1;
        assert!(!answers(&answer, asker, IP));
        assert!(!answers(&probe(MAC, IP), asker, IP));
    }

    #[test]
    fn who_has_or_wants_the_address_is_heard_and_who_asks_for_it_is_not() {
        let claims = |frame: &[u8]| claimant(frame, IP);
        for frame in [
            announcement(REQUEST, MAC, IP),
            announcement(REPLY, MAC, IP),
            probe(MAC, IP),
        ] {
            assert_eq!(claims(&frame), Some(MAC));
            assert_eq!(claimant(&frame, Ipv4Addr::new(10, 77, 0, 11)), None);
            assert_eq!(claims(&frame[..41]), None);
        }
        // A client that looks for it.
        let client = Ipv4Addr::new(10, 77, 0, 100);
        assert_eq!(claims(&frame(REQUEST, MAC, client, Mac::ZERO, IP)), None);
        // A switch that tracks it, from no address and to its card alone.
        let mut tracking = probe(MAC, IP);
        tracking[..6].copy_from_slice(&[0x52, 0x54, 0, 0x0a, 2, 2]);
        assert_eq!(claims(&tracking), None);
        // Whoever has it, says so to one as to all.
        let mut answer = announcement(REPLY, MAC, IP);
        answer[..6].copy_from_slice(&[0x52, 0x54, 0, 0x0a, 2, 2]);
        assert_eq!(claims(&answer), Some(MAC));
    }
}
