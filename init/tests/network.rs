//! The network steps on a real kernel, in namespaces of their own: addresses, announcements, tickles.
//!
//! The test runs itself again under `unshare`, as root of a user namespace, so that it needs no privilege
//! and touches nothing of the machine. Three network namespaces hang on one bridge: two heads and a
//! client. A thread enters a namespace for a while; a socket stays in the one it was opened in.
//!
//! Where user namespaces or `ip` are missing the tests say so and pass.
#![allow(clippy::unwrap_used)] // a panic is how a test fails, in its helpers too

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use orthrus_init::Step;
use orthrus_init::clock;
use orthrus_init::config::ServiceAddress;
use orthrus_init::net::{
    Connection, DataPort, Gate, Gateways, Interface, Mac, Probe, Taken, Way, add_address, announce,
    connections, end_connections, has_address, remove_address, settle, tickle,
};
use orthrus_init::sys::packet::PacketSocket;

const INSIDE: &str = "ORTHRUS_TEST_IN_NAMESPACE";
/// The addresses of one kind.
#[derive(Clone, Copy)]
struct Kind {
    service: ServiceAddress,
    /// Of another pool, in the same network.
    second: ServiceAddress,
    client: ServiceAddress,
}

const V4: Kind = Kind {
    service: v4(10),
    second: v4(11),
    client: v4(100),
};
const V6: Kind = Kind {
    service: v6(10),
    second: v6(11),
    client: v6(100),
};
const KINDS: [Kind; 2] = [V4, V6];

impl Kind {
    /// What hears where an address is said to be.
    fn ears(self, port: &Interface) -> PacketSocket {
        let ethertype = if self.service.ip.is_ipv4() {
            0x0806
        } else {
            0x86dd
        };
        PacketSocket::open(port.index, Some(ethertype)).unwrap()
    }

    /// Whether a frame tells where the service address is, asked or not. What a connection still had to say may be on its way.
    fn answers(self, frame: &[u8]) -> bool {
        match self.service.ip {
            IpAddr::V4(_) => self.claims(frame) && frame.get(21) == Some(&2),
            IpAddr::V6(ip) => {
                let is_advertisement = frame.get(20) == Some(&58) && frame.get(54) == Some(&136);
                is_advertisement && frame.get(62..78) == Some(&ip.octets())
            }
        }
    }

    /// Whether a frame of ARP or IPv6 comes from the service address.
    fn claims(self, frame: &[u8]) -> bool {
        match self.service.ip {
            IpAddr::V4(ip) => frame.get(28..32) == Some(&ip.octets()),
            IpAddr::V6(ip) => frame.get(22..38) == Some(&ip.octets()),
        }
    }
}

const fn v4(host: u8) -> ServiceAddress {
    let ip = IpAddr::V4(Ipv4Addr::new(10, 77, 0, host));
    ServiceAddress {
        ip,
        prefix: 24,
        way: None,
    }
}

const fn v6(host: u16) -> ServiceAddress {
    let ip = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, host));
    ServiceAddress {
        ip,
        prefix: 64,
        way: None,
    }
}

/// Those of [`V4`]'s service address.
const OCTETS: [u8; 4] = [10, 77, 0, 10];
const HEAD_A: Mac = Mac([0x52, 0x54, 0, 0x0a, 1, 2]);
const HEAD_B: Mac = Mac([0x52, 0x54, 0, 0x0a, 2, 2]);
const CLIENT_PORT: Mac = Mac([0x52, 0x54, 0, 0x0a, 9, 2]);

/// Runs a test of this file in fresh namespaces, as root of them, or says why not.
fn isolated(test: &str, body: impl FnOnce()) {
    isolated_with(&["--user", "--map-root-user"], test, body);
}

/// The same with the rights of root on the machine, for what the kernel gives to nobody else.
fn isolated_as_root(test: &str, body: impl FnOnce()) {
    isolated_with(&[], test, body);
}

fn isolated_with(user: &[&str], test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let with_network = [user, &["--net", "true"]].concat();
    for (program, arguments) in [("unshare", &with_network[..]), ("ip", &["-Version"])] {
        let usable = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !usable {
            eprintln!("SKIPPED {test}: {program} {arguments:?} does not work on this machine");
            return;
        }
    }
    let status = Command::new("unshare")
        .args(user)
        .args(["--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} in its namespaces");
}

/// A network namespace, kept by a process that sleeps in it.
struct Host {
    keeper: Child,
    port: Mac,
}

impl Host {
    /// A namespace with one port on the bridge.
    fn new(name: &str, port: Mac) -> Host {
        let keeper = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .spawn()
            .unwrap();
        let pid = keeper.id();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let entered = || {
            let other = std::fs::read_link(format!("/proc/{pid}/ns/net"));
            other.is_ok_and(|other| other != own)
        };
        until("the namespace of a host", entered);
        ip(&format!(
            "link add name {name} type veth peer name eth0 address {port} netns {pid}"
        ));
        ip(&format!("link set dev {name} master bridge up"));
        Host { keeper, port }
    }

    /// Runs something in the namespace.
    fn run<R: Send>(&self, body: impl FnOnce(&Interface) -> R + Send) -> R {
        let namespace = File::open(format!("/proc/{}/ns/net", self.keeper.id())).unwrap();
        let port = self.port;
        thread::scope(|scope| {
            let inside = move || {
                rustix::thread::move_into_link_name_space(namespace.as_fd(), None).unwrap();
                body(&Interface::by_mac(port).unwrap())
            };
            scope.spawn(inside).join().unwrap()
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn data_port() -> DataPort {
    DataPort {
        cards: vec![HEAD_A],
        bond: None,
        vlan: None,
        mtu: None,
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

fn index_of(name: &str) -> u32 {
    let all = Interface::all().unwrap();
    all.iter().find(|port| port.name == name).unwrap().index
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited for {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Two heads and a client on a bridge; the client has its address.
fn segment() -> [Host; 3] {
    ip("link add bridge type bridge forward_delay 0");
    ip("link set bridge up");
    let hosts = [
        Host::new("a", HEAD_A),
        Host::new("b", HEAD_B),
        Host::new("c", CLIENT_PORT),
    ];
    for host in &hosts {
        host.run(|port| {
            assert_eq!(port.up(), Ok(Step::Changed));
            assert_eq!(port.up(), Ok(Step::Already));
            settle(port).unwrap();
            assert_eq!(settle(port), Ok(Step::Already));
            until("a carrier", || port.refresh().unwrap().carrier);
        });
    }
    for kind in KINDS {
        hosts[2].run(|port| add_address(port, kind.client)).unwrap();
    }
    hosts
}

#[test]
fn addresses_come_and_go_once() {
    isolated("addresses_come_and_go_once", || {
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
    let name = "a_data_port_is_made_ready_with_its_mtu_and_found_again";
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
fn announcement_reaches_the_segment_in_both_forms() {
    isolated("announcement_reaches_the_segment_in_both_forms", || {
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
    });
}

#[test]
fn a_client_of_ipv6_learns_where_the_address_went() {
    let name = "a_client_of_ipv6_learns_where_the_address_went";
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

#[test]
fn a_stranger_with_a_service_address_is_found_and_the_other_head_is_none() {
    let name = "a_stranger_with_a_service_address_is_found_and_the_other_head_is_none";
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
    let name = "a_forged_advertisement_keeps_no_address_from_a_head";
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

#[test]
fn removed_address_is_answered_by_nobody() {
    isolated("removed_address_is_answered_by_nobody", || {
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
    let name = "a_head_that_hangs_falls_silent_though_its_kernel_goes_on";
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

#[test]
fn a_client_behind_a_router_is_answered_by_the_gateway_of_the_address_it_talks_to() {
    let name = "a_client_behind_a_router_is_answered_by_the_gateway_of_the_address_it_talks_to";
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
    let name = "a_head_without_an_address_hears_whether_the_gateways_answer";
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

#[test]
fn tickled_client_gives_its_old_connection_up() {
    isolated("tickled_client_gives_its_old_connection_up", || {
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
    });
}

#[test]
fn connections_of_a_removed_address_end_without_a_word_to_the_client() {
    let name = "connections_of_a_removed_address_end_without_a_word_to_the_client";
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
