//! Service addresses: on and off once, and silent once they are gone or their head hangs.

use super::*;

#[test]
fn addresses_come_and_go_once() {
    isolated("addresses::addresses_come_and_go_once", || {
        let [a, _, _] = segment();
        a.run(|port| {
            for Kind {
                service, second, ..
            } in KINDS
            {
                assert_eq!(remove_address(port, service), Ok(Step::Already));
                assert_eq!(add_address(port, service), Ok(Step::Changed));
                assert_eq!(has_address(port, service.ip), Ok(true));
                assert_eq!(add_address(port, service), Ok(Step::Already));
                assert_eq!(add_address(port, second), Ok(Step::Changed));
                assert_eq!(remove_address(port, service), Ok(Step::Changed));
                assert_eq!(remove_address(port, service), Ok(Step::Already));
                assert_eq!(has_address(port, service.ip), Ok(false));
                // The address of another pool in the same network stays.
                assert_eq!(add_address(port, second), Ok(Step::Already));
            }
            let mut gone = port.clone();
            gone.index = 4000;
            let error = add_address(&gone, V4.service).unwrap_err();
            assert_eq!(
                error.to_string(),
                "eth0: add a service address: No such device (os error 19)"
            );
        });
    });
}

#[test]
fn a_data_port_is_made_ready_with_its_mtu_and_found_again() {
    let name = "addresses::a_data_port_is_made_ready_with_its_mtu_and_found_again";
    isolated(name, || {
        let [a, _, _] = segment();
        a.run(|port| {
            let data = DataPort {
                mtu: Some(1400),
                ..data_port()
            };
            for _ in 0..2 {
                assert_eq!(data.open().unwrap().index, port.index);
                assert_eq!(data.find().unwrap().index, port.index);
            }
            let shown = Command::new("ip").args(["link", "show", "eth0"]).output();
            let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
            assert!(shown.contains("mtu 1400"), "{shown}");
            // A card that is not there carries as little as one without a link.
            let missing = Mac([0x52, 0x54, 0, 0x0a, 7, 7]);
            let two = DataPort {
                cards: vec![HEAD_A, missing],
                ..data_port()
            };
            assert_eq!(two.without_link(), Ok(vec![missing]));
            // What this kernel may not be able to make is said with its name.
            let vlan = DataPort {
                vlan: Some(77),
                ..data_port()
            };
            match vlan.open() {
                Ok(vlan) => {
                    assert_eq!(vlan.name, "data-vlan");
                    assert_eq!(vlan.mac, HEAD_A);
                }
                Err(error) => assert!(
                    error.to_string().starts_with("eth0: put a VLAN onto it"),
                    "{error}"
                ),
            }
        });
    });
}

#[test]
fn removed_address_is_answered_by_nobody() {
    isolated("addresses::removed_address_is_answered_by_nobody", || {
        let [a, _, client] = segment();
        for kind in KINDS {
            let service = kind.service;
            let connect = || {
                let to = SocketAddr::new(service.ip, 3260);
                client.run(|_| TcpStream::connect_timeout(&to, Duration::from_millis(1500)))
            };
            // As LIO does it: the listener outlives the address.
            let listener = a.run(|port| {
                add_address(port, service).unwrap();
                TcpListener::bind((service.ip, 3260)).unwrap()
            });
            connect().unwrap();
            let ears = client.run(|port| kind.ears(port));
            a.run(|port| remove_address(port, service)).unwrap();
            // A child is in the namespace of the thread that starts it.
            client.run(|_| ip("neigh flush dev eth0"));
            assert!(connect().is_err());
            let mut frame = [0; 128];
            while let Ok(length) = ears.receive(&mut frame) {
                let answers = kind.answers(&frame[..length]);
                assert!(!answers, "an answer for an address that was removed");
            }
            drop(listener);
        }
    });
}

#[test]
fn a_head_that_hangs_falls_silent_though_its_kernel_goes_on() {
    let name = "addresses::a_head_that_hangs_falls_silent_though_its_kernel_goes_on";
    isolated_as_root(name, || {
        let [a, _, client] = segment();
        for kind in KINDS {
            let service = kind.service;
            let gate = match a.run(|port| Gate::place(&[service.ip], port)) {
                Ok(gate) => gate,
                Err(error) => {
                    eprintln!(
                        "SKIPPED {name}: {error} (a kernel before 6.6, or no right to load programs?)"
                    );
                    return;
                }
            };
            // What the heartbeat thread says as long as it runs. Long, as this thread may have to wait.
            let run = || gate.hold_until(clock::now() + embassy_time::Duration::from_secs(600));
            let hang = || gate.hold_until(clock::now() - embassy_time::Duration::from_micros(1));
            let listener = a.run(|port| {
                add_address(port, service).unwrap();
                TcpListener::bind((service.ip, 3260)).unwrap()
            });
            run();
            let to = SocketAddr::new(service.ip, 3260);
            let mut stream = client.run(|_| TcpStream::connect(to)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();

            hang();
            server.write_all(b"y").unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let waiting = stream.read(&mut [0]).unwrap_err();
            assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{waiting}");
            // Nor does it claim the address: neither asked, nor by itself.
            let ears = client.run(|port| kind.ears(port));
            client.run(|_| {
                ip("neigh flush dev eth0");
                let again = TcpStream::connect_timeout(&to, Duration::from_millis(1500));
                assert!(again.is_err());
            });
            let _ = a.run(|port| announce(port, service.ip));
            let mut frame = [0; 128];
            while let Ok(length) = ears.receive(&mut frame) {
                let claims = kind.claims(&frame[..length]);
                assert!(!claims, "a word from an address behind a closed gate");
            }

            // It was only late: what was said meanwhile is said again, by TCP.
            run();
            stream
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"y");
        }
    });
}
