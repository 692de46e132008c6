//! Tests: whatever a segment says of an address, and whatever the kernel's table of connections looks like, is read or left. Never
//! a panic, never the card of somebody who is not in the frame, never a word about another address than the one asked for.
//!
//! `ORTHRUS_FUZZ=N` makes N times as many.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::connections::established;
use super::connections::tests::{TABLE, TABLE_V6};
use super::{Mac, arp, ndp};
use crate::chance::{Chance, times};

/// The question's own card.
const ASKER: Mac = Mac([0x52, 0x54, 0, 0x0a, 2, 2]);

fn mac(chance: &mut Chance) -> Mac {
    Mac(std::array::from_fn(|_| chance.next() as u8))
}

#[test]
fn a_damaged_frame_of_arp_is_of_who_stands_in_it_and_of_its_own_address() {
    let ip = Ipv4Addr::new(10, 77, 0, 10);
    let mut chance = Chance(1);
    let (mut heard, mut answered) = (0, 0);
    for _ in 0..times(20_000) {
        let sender = mac(&mut chance);
        let mut frame = match chance.below(3) {
            0 => arp::announcement(arp::REQUEST, sender, ip).to_vec(),
            1 => arp::announcement(arp::REPLY, sender, ip).to_vec(),
            _ => arp::probe(sender, ip).to_vec(),
        };
        assert_eq!(arp::claimant(&frame, ip), Some(sender));
        if chance.below(2) == 0 {
            frame[..6].copy_from_slice(&ASKER.0);
        }
        chance.damage(&mut frame);
        let claimant = arp::claimant(&frame, ip);
        if let Some(found) = claimant {
            heard += 1;
            assert_eq!(found.0[..], frame[22..28]);
            let has_it = frame[28..32] == ip.octets();
            let wants_it = frame[28..32] == [0; 4] && frame[38..42] == ip.octets();
            assert!(has_it || wants_it, "{frame:?}");
        }
        if arp::answers(&frame, ASKER, ip) {
            answered += 1;
            assert!(claimant.is_some(), "{frame:?}");
            assert_eq!(frame[..6], ASKER.0);
            assert_eq!(frame[28..32], ip.octets());
        }
        // One that is nowhere in it.
        let other = Ipv4Addr::new(192, 0, 2, 77);
        if !frame.windows(4).any(|four| four == other.octets()) {
            assert_eq!(arp::claimant(&frame, other), None);
            assert!(!arp::answers(&frame, ASKER, other));
        }
    }
    assert!(heard > 100 && answered > 100, "{heard} and {answered}");
}

#[test]
fn a_damaged_message_of_neighbour_discovery_is_of_who_stands_in_it_and_of_its_own_address() {
    /// Ethernet and IPv6, which the kernel takes off.
    const HEADERS_BYTES: usize = 14 + 40;
    let ip: Ipv6Addr = "fd00:77::12:3456".parse().unwrap();
    let mut chance = Chance(2);
    let (mut heard, mut answered) = (0, 0);
    for _ in 0..times(20_000) {
        let sender = mac(&mut chance);
        let frame = match chance.below(4) {
            0 => ndp::probe(sender, ip),
            1 => ndp::solicitation(sender, "fe80::1".parse().unwrap(), ip),
            _ => ndp::advertisement(sender, ip),
        };
        let mut message = frame[HEADERS_BYTES..].to_vec();
        let says_it = ndp::claimant(&message, 255, ip);
        assert!(says_it.is_none_or(|found| found == sender));
        // The bit of an answer.
        message[4] |= 0x40;
        chance.damage(&mut message);
        let hop_limit = *chance.of(&[255, 255, 255, 254, 64, 0]);
        if let Some(found) = ndp::claimant(&message, hop_limit, ip) {
            heard += 1;
            assert!(
                message[24..].windows(6).any(|six| six == found.0),
                "{message:?}"
            );
            assert_eq!((hop_limit, &message[8..24]), (255, &ip.octets()[..]));
        }
        if ndp::answers(&message, hop_limit, ip) {
            answered += 1;
            assert_eq!((hop_limit, message[0]), (255, 136));
            assert_eq!(message[8..24], ip.octets());
        }
        let other: Ipv6Addr = "2001:db8::77".parse().unwrap();
        if !message.windows(16).any(|address| address == other.octets()) {
            assert_eq!(ndp::claimant(&message, hop_limit, other), None);
            assert!(!ndp::answers(&message, hop_limit, other));
        }
    }
    assert!(heard > 100 && answered > 100, "{heard} and {answered}");
}

#[test]
fn a_damaged_table_has_connections_of_the_service_or_none() {
    let tables = [
        (TABLE, IpAddr::from([10, 77, 0, 10])),
        (TABLE_V6, "fd00:77::10".parse().unwrap()),
    ];
    let mut chance = Chance(3);
    let mut found = 0;
    for _ in 0..times(20_000) {
        let (table, service) = chance.of(&tables);
        let mut bytes = table.as_bytes().to_vec();
        for _ in 0..=chance.below(4) {
            chance.damage(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let connections = established(&text, *service);
        assert!(connections.len() < text.lines().count());
        for connection in connections {
            found += 1;
            assert_eq!(connection.local.ip(), *service);
            assert_eq!(connection.remote.is_ipv4(), connection.local.is_ipv4());
        }
    }
    assert!(found > 100, "only {found} were connections");
}
