//! Frames of neighbour discovery (RFC 4861, over Ethernet: RFC 2464): the announcement of an address, and the question whether
//! somebody has it, with its answer (RFC 4862 section 5.4).

use std::net::Ipv6Addr;

use super::Mac;

const ETHERTYPE: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// The greatest there is: it came over no router.
const HOP_LIMIT: u8 = 255;
/// Advertisement: what a receiver knows of the address is to be replaced.
const OVERRIDE: u8 = 0x20;
/// Advertisement: it answers a question, of the host that it is sent to.
const SOLICITED: u8 = 0x40;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// ICMP header, flags and target.
const MESSAGE_BYTES: usize = 24;
const OPTION_BYTES: usize = 8;

/// Unsolicited: to all hosts, from the address itself.
pub(super) fn advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    let mut message = message(ADVERTISEMENT, OVERRIDE, ip);
    message.extend_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]); // in units of eight bytes
    message.extend_from_slice(&mac.0);
    frame(mac, ip, ALL_NODES, message)
}

/// Asks who has the address, without claiming it.
pub(super) fn probe(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    let message = message(SOLICITATION, 0, ip);
    frame(mac, Ipv6Addr::UNSPECIFIED, group_of(ip), message)
}

/// Asks a neighbour by its address, as a host that has one: the answer comes to this card alone. A neighbour that is not sure of its
/// address yet says nothing to that, where a question from no address would make it give the address up (RFC 4862 section 5.4.3).
pub(super) fn solicitation(mac: Mac, from: Ipv6Addr, ip: Ipv6Addr) -> Vec<u8> {
    let mut message = message(SOLICITATION, 0, ip);
    message.extend_from_slice(&[SOURCE_LINK_LAYER_ADDRESS, 1]);
    message.extend_from_slice(&mac.0);
    frame(mac, from, group_of(ip), message)
}

/// Where the host with an address listens for questions about it (RFC 4291 section 2.7.1).
fn group_of(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from(b) << 8 | u16::from(c),
    )
}

fn message(kind: u8, flags: u8, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    message
}

fn frame(mac: Mac, from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(from, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0x33, 0x33];
    frame.extend_from_slice(&to.octets()[12..]);
    frame.extend_from_slice(&mac.0);
    frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
    frame.extend_from_slice(&[6 << 4, 0, 0, 0]);
    frame.extend_from_slice(&(message.len() as u16).to_be_bytes()); // 32 at most
    frame.extend_from_slice(&[ICMPV6, HOP_LIMIT]);
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(&message);
    frame
}

/// RFC 4443 section 2.3; the message's own field is zero.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    super::checksum::of_v6(from, to, ICMPV6, message)
}

/// Who says by this ICMP message that it has the address.
///
/// What came over a router, which the hop limit tells, is a forgery (RFC 4861 section 7.1.2).
///
/// Its answer goes to all hosts, as it does not know who asked, and so has to have the option (RFC 4861 section 7.2.4).
pub(super) fn claimant(message: &[u8], hop_limit: u8, ip: Ipv6Addr) -> Option<Mac> {
    let (head, mut options) = message.split_at_checked(MESSAGE_BYTES)?;
    if hop_limit != HOP_LIMIT || head[..2] != [ADVERTISEMENT, 0] || head[8..] != ip.octets() {
        return None;
    }
    while let [kind, length @ 1..=255, ..] = *options {
        let option = options.get(..usize::from(length) * OPTION_BYTES)?;
        if kind == TARGET_LINK_LAYER_ADDRESS {
            return Some(Mac(option[2..OPTION_BYTES].try_into().ok()?));
        }
        options = &options[option.len()..];
    }
    None
}

/// Whether this ICMP message is a neighbour's answer to a [`solicitation`].
pub(super) fn answers(message: &[u8], hop_limit: u8, ip: Ipv6Addr) -> bool {
    let Some((head, _)) = message.split_at_checked(MESSAGE_BYTES) else {
        return false;
    };
    hop_limit == HOP_LIMIT
        && head[..2] == [ADVERTISEMENT, 0]
        && head[4] & SOLICITED != 0
        && head[8..] == ip.octets()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0x0a, 1, 2]);

    fn ip() -> Ipv6Addr {
        "fd00:77::12:3456".parse().unwrap()
    }

    #[test]
    fn frames_have_their_golden_bytes() {
        let (frame, at) = (advertisement(MAC, ip()), 14 + 40);
        assert_eq!(frame.len(), 86);
        let ethernet = [
            0x33, 0x33, 0, 0, 0, 1, 0x52, 0x54, 0, 0x0a, 1, 2, 0x86, 0xdd,
        ];
        assert_eq!(frame[..14], ethernet);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(frame[22..38], ip().octets());
        assert_eq!(frame[38..54], ALL_NODES.octets());
        assert_eq!(frame[at..at + 2], [136, 0]);
        assert_eq!(frame[at + 4..at + 8], [0x20, 0, 0, 0]);
        assert_eq!(frame[at + 8..at + 24], ip().octets());
        assert_eq!(frame[at + 24..], [2, 1, 0x52, 0x54, 0, 0x0a, 1, 2]);
        let frame = probe(MAC, ip());
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 24, 58, 255]);
        assert_eq!(frame[22..38], [0; 16]);
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(frame[38..54], group.octets());
        assert_eq!(frame[at..at + 2], [135, 0]);
        let from: Ipv6Addr = "fe80::5054:ff:fe0a:102".parse().unwrap();
        let asked = solicitation(MAC, from, ip());
        assert_eq!(asked.len(), 86);
        assert_eq!(asked[..6], frame[..6]);
        assert_eq!(asked[22..38], from.octets());
        assert_eq!(asked[38..54], group.octets());
        assert_eq!(asked[at..at + 2], [135, 0]);
        assert_eq!(asked[at + 8..at + 24], ip().octets());
        assert_eq!(asked[at + 24..], [1, 1, 0x52, 0x54, 0, 0x0a, 1, 2]);
        assert_eq!(checksum(from, group, &asked[at..]), 0);
        // Summed with the checksum in place the result is zero (RFC 1071 section 1).
        let sum = checksum(Ipv6Addr::UNSPECIFIED, group, &frame[at..]);
        assert_eq!(sum, 0);
    }

    #[test]
    fn an_answer_is_to_whoever_asked() {
        let mut said = advertisement(MAC, ip())[54..].to_vec();
        assert!(!answers(&said, 255, ip()), "it was said to all");
        said[4] |= SOLICITED;
        assert!(answers(&said, 255, ip()));
        // The option may be left out of it.
        assert!(answers(&said[..24], 255, ip()));
        assert!(!answers(&said[..23], 255, ip()));
        assert!(!answers(&said, 254, ip()));
        assert!(!answers(&said, 255, "fd00:77::1".parse().unwrap()));
        said[0] = SOLICITATION;
        assert!(!answers(&said, 255, ip()));
    }

    #[test]
    fn who_has_the_address_is_heard_and_nobody_else_is() {
        let said = &advertisement(MAC, ip())[54..];
        let claims = |said: &[u8]| claimant(said, 255, ip());
        assert_eq!(claims(said), Some(MAC));
        assert_eq!(claimant(said, 255, "fd00:77::1".parse().unwrap()), None);
        assert_eq!(claims(&probe(MAC, ip())[54..]), None);
        for cut in 0..said.len() {
            assert_eq!(claims(&said[..cut]), None, "{cut}");
        }
        let mut endless = said.to_vec();
        endless[25] = 0;
        assert_eq!(claims(&endless), None);
        for far in [0, 64, 254] {
            assert_eq!(claimant(said, far, ip()), None, "{far}");
        }
        let mut coded = said.to_vec();
        coded[1] = 1;
        assert_eq!(claims(&coded), None);
    }
}
