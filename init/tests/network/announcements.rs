//! What the segment is told when an address comes.

use super::*;

#[test]
fn announcement_reaches_the_segment_in_both_forms() {
    isolated(
        "announcements::announcement_reaches_the_segment_in_both_forms",
        || {
            let [a, _, client] = segment();
            let ears = client.run(|port| PacketSocket::open(port.index, Some(0x0806)).unwrap());
            a.run(|port| add_address(port, V4.service)).unwrap();
            let mut operations = Vec::new();
            until("both forms", || {
                // Again and again, as the bridge may not forward yet.
                a.run(|port| announce(port, V4.service.ip)).unwrap();
                let mut frame = [0; 64];
                while let Ok(length) = ears.receive(&mut frame) {
                    assert!(length >= 42);
                    if frame[28..32] == OCTETS {
                        assert_eq!(frame[6..12], HEAD_A.0);
                        operations.push(frame[21]);
                    }
                }
                operations.contains(&1) && operations.contains(&2)
            });
            let late = a.run(|port| {
                remove_address(port, V4.service).unwrap();
                announce(port, V4.service.ip).unwrap_err()
            });
            assert!(
                late.to_string().contains("announce a service address"),
                "{late}"
            );
        },
    );
}

#[test]
fn a_client_of_ipv6_learns_where_the_address_went() {
    let name = "announcements::a_client_of_ipv6_learns_where_the_address_went";
    isolated(name, || {
        let [a, b, client] = segment();
        let ip = V6.service.ip;
        let knows = |mac: Mac| {
            let said = client.run(|_| {
                let shown = Command::new("ip").args(["-6", "neigh", "show"]).output();
                String::from_utf8(shown.unwrap().stdout).unwrap()
            });
            let mut lines = said.lines();
            lines.any(|line| line.starts_with(&format!("{ip} ")) && line.contains(&mac.to_string()))
        };
        let listener = a.run(|port| {
            add_address(port, V6.service).unwrap();
            TcpListener::bind((ip, 3260)).unwrap()
        });
        client.run(|_| TcpStream::connect((ip, 3260))).unwrap();
        assert!(knows(HEAD_A));
        a.run(|port| remove_address(port, V6.service)).unwrap();
        b.run(|port| add_address(port, V6.service)).unwrap();
        until("the client knows the other head", || {
            b.run(|port| announce(port, ip)).unwrap();
            knows(HEAD_B)
        });
        drop(listener);
    });
}
