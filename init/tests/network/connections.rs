//! What becomes of the connections that clients had.

use super::*;

#[test]
fn tickled_client_gives_its_old_connection_up() {
    isolated(
        "connections::tickled_client_gives_its_old_connection_up",
        || {
            let [a, b, client] = segment();
            for kind in KINDS {
                let service = kind.service;
                let listener = a.run(|port| {
                    add_address(port, service).unwrap();
                    TcpListener::bind((service.ip, 3260)).unwrap()
                });
                let to = SocketAddr::new(service.ip, 3260);
                let mut stream = client.run(|_| TcpStream::connect(to)).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                server.write_all(b"x").unwrap();
                stream.read_exact(&mut [0]).unwrap();
                let old: Vec<Connection> = a.run(|_| connections(service.ip)).unwrap();
                assert_eq!(old.len(), 1, "{old:?}");
                assert_eq!(old[0].local, to);
                assert_eq!(old[0].remote.ip(), kind.client.ip);

                // The owner dies: its cable is cut, so that no FIN and no RST leaves it.
                ip("link set dev a down");
                stream
                    .set_read_timeout(Some(Duration::from_millis(300)))
                    .unwrap();
                let waiting = stream.read(&mut [0]).unwrap_err();
                assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{waiting}");

                let start = Instant::now();
                b.run(|port| {
                    add_address(port, service).unwrap();
                    announce(port, service.ip).unwrap();
                    tickle(&old[0]).unwrap();
                });
                stream
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let ended = stream.read(&mut [0]).unwrap_err();
                assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "{ended}");
                eprintln!("reset {:?} after the takeover", start.elapsed());

                // Again, with the connection gone: harmless.
                b.run(|_| tickle(&old[0])).unwrap();
                b.run(|port| remove_address(port, service)).unwrap();
                drop(server);
                ip("link set dev a up");
                a.run(|port| until("a carrier", || port.refresh().unwrap().carrier));
            }
        },
    );
}

#[test]
fn connections_of_a_removed_address_end_without_a_word_to_the_client() {
    let name = "connections::connections_of_a_removed_address_end_without_a_word_to_the_client";
    isolated(name, || {
        let [a, _, client] = segment();
        for kind in KINDS {
            let service = kind.service;
            let listener = a.run(|port| {
                // The one of another pool keeps the way to the client open.
                add_address(port, kind.second).unwrap();
                add_address(port, service).unwrap();
                TcpListener::bind((service.ip, 3260)).unwrap()
            });
            let to = SocketAddr::new(service.ip, 3260);
            let mut stream = client.run(|_| TcpStream::connect(to)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let ended = a.run(|port| {
                remove_address(port, service).unwrap();
                end_connections(service.ip)
            });
            match ended {
                Ok(step) => assert_eq!(step, Step::Changed),
                Err(error) => {
                    eprintln!(
                        "SKIPPED the rest of {name}: {error} (is the module tcp_diag there?)"
                    );
                    return;
                }
            }
            assert_eq!(a.run(|_| end_connections(service.ip)), Ok(Step::Already));
            let error = server.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
            stream
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let waiting = stream.read(&mut [0]).unwrap_err();
            assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{waiting}");
        }
    });
}
