//! Whether somebody else has an address already.

use super::*;

#[test]
fn a_stranger_with_a_service_address_is_found_and_the_other_head_is_none() {
    let name = "taken::a_stranger_with_a_service_address_is_found_and_the_other_head_is_none";
    isolated(name, || {
        let [a, b, stranger] = segment();
        let probe = |kind: Kind| {
            let heads = vec![HEAD_A, HEAD_B];
            let probe = a.run(|_| {
                Probe::begin(
                    data_port(),
                    None,
                    vec![kind.second.ip, kind.service.ip],
                    heads,
                )
            });
            probe.verdict()
        };
        for kind in KINDS {
            assert_eq!(probe(kind), Ok(()));
            b.run(|port| add_address(port, kind.service)).unwrap();
            assert_eq!(probe(kind), Ok(()));
            b.run(|port| remove_address(port, kind.service)).unwrap();
            stranger
                .run(|port| add_address(port, kind.service))
                .unwrap();
            let taken = Taken {
                address: kind.service.ip,
                by: CLIENT_PORT,
            };
            assert_eq!(probe(kind), Err(taken));
            stranger
                .run(|port| remove_address(port, kind.service))
                .unwrap();
            assert_eq!(probe(kind), Ok(()));
        }
        // From another network than the port's.
        let network = a.run(|_| File::open("/proc/thread-self/ns/net").unwrap());
        stranger.run(|port| add_address(port, V6.service)).unwrap();
        let probe = Probe::begin(
            data_port(),
            Some(network),
            vec![V6.service.ip],
            vec![HEAD_A],
        );
        assert_eq!(probe.verdict().unwrap_err().by, CLIENT_PORT);
    });
}

/// An unsolicited neighbour advertisement for an address, in a packet with this hop limit.
fn advertised(by: Mac, ip: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend_from_slice(&ip.octets());
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&by.0);
    // With the pseudo-header of RFC 8200 section 8.1.
    let mut summed = [ip.octets(), all_nodes.octets()].concat();
    summed.extend_from_slice(&[0, 0, 0, 32, 0, 0, 0, 58]);
    summed.extend_from_slice(&message);
    let words = summed.chunks(2).map(|word| [word[0], word[1]]);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend_from_slice(&by.0);
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, hop_limit]);
    frame.extend_from_slice(&ip.octets());
    frame.extend_from_slice(&all_nodes.octets());
    frame.extend_from_slice(&message);
    frame
}

#[test]
fn a_forged_advertisement_keeps_no_address_from_a_head() {
    let name = "taken::a_forged_advertisement_keeps_no_address_from_a_head";
    isolated(name, || {
        let [a, _, stranger] = segment();
        // A second port of the head, on another segment.
        let keeper = a.keeper.id();
        ip(&format!(
            "link add name a2 type veth peer name eth1 netns {keeper}"
        ));
        ip("link set dev a2 up");
        a.run(|_| ip("link set dev eth1 up"));
        let elsewhere = PacketSocket::open(index_of("a2"), None).unwrap();
        let here = stranger.run(|port| PacketSocket::open(port.index, None).unwrap());
        let IpAddr::V6(service) = V6.service.ip else {
            unreachable!("V6's is one of IPv6")
        };
        // While a head asks, again and again.
        let asked = |by: &PacketSocket, hop_limit: u8| {
            let frame = advertised(CLIENT_PORT, service, hop_limit);
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        by.send(&frame).unwrap();
                        thread::sleep(Duration::from_millis(1));
                    }
                });
                let ask = || Probe::begin(data_port(), None, vec![V6.service.ip], vec![HEAD_A]);
                let verdict = a.run(|_| ask()).verdict();
                over.store(true, Ordering::Relaxed);
                verdict
            })
        };
        let taken = Taken {
            address: V6.service.ip,
            by: CLIENT_PORT,
        };
        assert_eq!(asked(&here, 255), Err(taken));
        assert_eq!(asked(&here, 254), Ok(()));
        assert_eq!(asked(&elsewhere, 255), Ok(()));
    });
}
