//! Gateways: for the answers to clients behind them, and whether they are there.

use super::*;

#[test]
fn a_client_behind_a_router_is_answered_by_the_gateway_of_the_address_it_talks_to() {
    let name =
        "routers::a_client_behind_a_router_is_answered_by_the_gateway_of_the_address_it_talks_to";
    isolated(name, || {
        // Host `c` is the router, and what is behind it.
        let [a, _, router] = segment();
        for (kind, far, service, earlier) in [
            (V4, "10.99.0.5/32", "10.77.0.10", "10.77.0.50"),
            (V6, "fd00:99::5/128 nodad", "fd00:77::a", "fd00:77::50"),
        ] {
            let source = far.split('/').next().unwrap();
            router.run(|_| {
                ip("link set dev lo up");
                ip(&format!("addr add dev lo {far}"));
                ip(&format!("route add {service} dev eth0 src {source}"));
            });
            let way = |gateway| ServiceAddress {
                way: Some(Way {
                    gateway,
                    table: 1000,
                }),
                ..kind.service
            };
            let listener = a.run(|port| {
                // That of another pool has no gateway.
                add_address(port, kind.second).unwrap();
                add_address(port, kind.service).unwrap();
                TcpListener::bind((kind.service.ip, 3260)).unwrap()
            });
            let connect = || {
                let to = SocketAddr::new(kind.service.ip, 3260);
                let stream = TcpStream::connect_timeout(&to, Duration::from_millis(1500))?;
                stream.local_addr()
            };
            assert!(router.run(|_| connect()).is_err());
            let with_gateway = way(kind.client.ip);
            a.run(|port| {
                remove_address(port, kind.service).unwrap();
                // The gateway of an earlier boot's configuration gives way.
                add_address(port, way(earlier.parse().unwrap())).unwrap();
                add_address(port, with_gateway).unwrap();
                assert_eq!(add_address(port, with_gateway), Ok(Step::Already));
            });
            let from = router.run(|_| connect()).unwrap();
            assert_eq!(from.ip().to_string(), source);

            let made = || {
                let family = if kind.service.ip.is_ipv4() {
                    "-4"
                } else {
                    "-6"
                };
                let shown = ["rule", "route show table all"].map(|what| {
                    let arguments = what.split(' ');
                    let shown = Command::new("ip").arg(family).args(arguments).output();
                    String::from_utf8(shown.unwrap().stdout).unwrap()
                });
                (
                    shown[0].matches("1000").count(),
                    shown[1].matches("default").count(),
                )
            };
            assert_eq!(a.run(|_| made()), (1, 1));
            a.run(|port| {
                assert_eq!(remove_address(port, with_gateway), Ok(Step::Changed));
                assert_eq!(made(), (0, 0));
                assert_eq!(remove_address(port, with_gateway), Ok(Step::Already));
                // As the last address of the port it takes the route with it; and comes again.
                remove_address(port, kind.second).unwrap();
                add_address(port, with_gateway).unwrap();
            });
            router.run(|_| connect()).unwrap();
            a.run(|port| remove_address(port, with_gateway)).unwrap();
            drop(listener);
        }
    });
}

#[test]
fn a_head_without_an_address_hears_whether_the_gateways_answer() {
    let name = "routers::a_head_without_an_address_hears_whether_the_gateways_answer";
    isolated(name, || {
        // Both ask, and neither takes the other's question for an answer.
        let [a, b, router] = segment();
        let nobody = V4.second.ip;
        let all = [V4.client.ip, V6.client.ip, nobody, V6.second.ip];
        let watch = |head: &Host| {
            let port = DataPort {
                cards: vec![head.port],
                ..data_port()
            };
            head.run(|_| Gateways::watch(port, all.to_vec())).unwrap()
        };
        let watches = [watch(&a), watch(&b)];
        let are_silent = |silent: &[IpAddr]| {
            let mut watches = watches.iter();
            watches.all(|watch| watch.silent(&all) == silent)
        };
        until("nobody is silent", || are_silent(&[nobody, V6.second.ip]));
        for kind in KINDS {
            router
                .run(|port| remove_address(port, kind.client))
                .unwrap();
        }
        until("all are silent", || are_silent(&all));
        for kind in KINDS {
            router.run(|port| add_address(port, kind.client)).unwrap();
        }
        until("both are heard", || are_silent(&[nobody, V6.second.ip]));
        // What comes to be a host while it is asked for keeps its address: nobody said that it has it.
        let own = "fd00:77::99";
        router.run(|_| ip(&format!("addr add {own}/64 dev eth0")));
        let asked = b.run(|_| {
            let gateway = own.parse().unwrap();
            let port = DataPort {
                cards: vec![HEAD_B],
                ..data_port()
            };
            Gateways::watch(port, vec![gateway]).unwrap()
        });
        let sure = || {
            let shown = router.run(|_| {
                let shown = Command::new("ip").args(["-6", "addr", "show"]).output();
                String::from_utf8(shown.unwrap().stdout).unwrap()
            });
            let mut lines = shown.lines();
            let line = lines.find(|line| line.contains(own)).unwrap().to_owned();
            assert!(!line.contains("dadfailed"), "{line}");
            !line.contains("tentative")
        };
        until("the router is sure of its address", sure);
        until("it answers", || {
            asked.silent(&[own.parse().unwrap()]).is_empty()
        });
    });
}
