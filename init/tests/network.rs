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
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use orthrus_init::Step;
use orthrus_init::clock;
use orthrus_init::config::ServiceAddress;
use orthrus_init::net::{
    Connection, Gate, Interface, Mac, add_address, announce, connections, end_connections,
    remove_address, settle, tickle,
};
use orthrus_init::sys::packet::PacketSocket;

const INSIDE: &str = "ORTHRUS_TEST_IN_NAMESPACE";
const SERVICE: ServiceAddress = ServiceAddress {
    ip: Ipv4Addr::new(10, 77, 0, 10),
    prefix: 24,
};
const CLIENT: ServiceAddress = ServiceAddress {
    ip: Ipv4Addr::new(10, 77, 0, 100),
    prefix: 24,
};
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

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
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
    hosts[2].run(|port| add_address(port, CLIENT)).unwrap();
    hosts
}

#[test]
fn addresses_come_and_go_once() {
    isolated("addresses_come_and_go_once", || {
        let [a, _, _] = segment();
        a.run(|port| {
            let second = ServiceAddress {
                ip: Ipv4Addr::new(10, 77, 0, 11),
                prefix: 24,
            };
            assert_eq!(remove_address(port, SERVICE), Ok(Step::Already));
            assert_eq!(add_address(port, SERVICE), Ok(Step::Changed));
            assert_eq!(add_address(port, SERVICE), Ok(Step::Already));
            assert_eq!(add_address(port, second), Ok(Step::Changed));
            assert_eq!(remove_address(port, SERVICE), Ok(Step::Changed));
            assert_eq!(remove_address(port, SERVICE), Ok(Step::Already));
            // The address of another pool in the same network stays.
            assert_eq!(add_address(port, second), Ok(Step::Already));
            let mut gone = port.clone();
            gone.index = 4000;
            let error = add_address(&gone, SERVICE).unwrap_err();
            assert_eq!(
                error.to_string(),
                "eth0: add a service address: No such device (os error 19)"
            );
        });
    });
}

#[test]
fn announcement_reaches_the_segment_in_both_forms() {
    isolated("announcement_reaches_the_segment_in_both_forms", || {
        let [a, _, client] = segment();
        let ears = client.run(|port| PacketSocket::open(port.index, Some(0x0806)).unwrap());
        a.run(|port| add_address(port, SERVICE)).unwrap();
        let mut operations = Vec::new();
        until("both forms", || {
            // Again and again, as the bridge may not forward yet.
            a.run(|port| announce(port, SERVICE.ip)).unwrap();
            let mut frame = [0; 64];
            while let Ok(length) = ears.receive(&mut frame) {
                assert!(length >= 42);
                if frame[28..32] == SERVICE.ip.octets() {
                    assert_eq!(frame[6..12], HEAD_A.0);
                    operations.push(frame[21]);
                }
            }
            operations.contains(&1) && operations.contains(&2)
        });
        let late = a.run(|port| {
            remove_address(port, SERVICE).unwrap();
            announce(port, SERVICE.ip).unwrap_err()
        });
        assert!(
            late.to_string().contains("announce a service address"),
            "{late}"
        );
    });
}

#[test]
fn removed_address_is_answered_by_nobody() {
    isolated("removed_address_is_answered_by_nobody", || {
        let [a, _, client] = segment();
        let connect = || {
            let to = SocketAddrV4::new(SERVICE.ip, 3260).into();
            client.run(|_| TcpStream::connect_timeout(&to, Duration::from_millis(1500)))
        };
        // As LIO does it: the listener outlives the address.
        let listener = a.run(|port| {
            add_address(port, SERVICE).unwrap();
            TcpListener::bind((SERVICE.ip, 3260)).unwrap()
        });
        connect().unwrap();
        let ears = client.run(|port| PacketSocket::open(port.index, Some(0x0806)).unwrap());
        a.run(|port| remove_address(port, SERVICE)).unwrap();
        // A child is in the namespace of the thread that starts it.
        client.run(|_| ip("neigh flush dev eth0"));
        assert!(connect().is_err());
        let mut frame = [0; 64];
        while let Ok(length) = ears.receive(&mut frame) {
            let reply = length >= 42 && frame[21] == 2 && frame[28..32] == SERVICE.ip.octets();
            assert!(!reply, "ARP reply for an address that was removed");
        }
        drop(listener);
    });
}

#[test]
fn a_head_that_hangs_falls_silent_though_its_kernel_goes_on() {
    let name = "a_head_that_hangs_falls_silent_though_its_kernel_goes_on";
    isolated_as_root(name, || {
        let [a, _, client] = segment();
        let gate = match a.run(|port| Gate::place(&[SERVICE.ip], port)) {
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
            add_address(port, SERVICE).unwrap();
            TcpListener::bind((SERVICE.ip, 3260)).unwrap()
        });
        run();
        let to = SocketAddrV4::new(SERVICE.ip, 3260);
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
        let ears = client.run(|port| PacketSocket::open(port.index, Some(0x0806)).unwrap());
        client.run(|_| {
            ip("neigh flush dev eth0");
            let again = TcpStream::connect_timeout(&to.into(), Duration::from_millis(1500));
            assert!(again.is_err());
        });
        let _ = a.run(|port| announce(port, SERVICE.ip));
        let mut frame = [0; 64];
        while let Ok(length) = ears.receive(&mut frame) {
            let speaks = length >= 42 && frame[28..32] == SERVICE.ip.octets();
            assert!(!speaks, "ARP from an address behind a closed gate");
        }

        // It was only late: what was said meanwhile is said again, by TCP.
        run();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"y");
    });
}

#[test]
fn tickled_client_gives_its_old_connection_up() {
    isolated("tickled_client_gives_its_old_connection_up", || {
        let [a, b, client] = segment();
        let listener = a.run(|port| {
            add_address(port, SERVICE).unwrap();
            TcpListener::bind((SERVICE.ip, 3260)).unwrap()
        });
        let to = SocketAddrV4::new(SERVICE.ip, 3260);
        let mut stream = client.run(|_| TcpStream::connect(to)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let old: Vec<Connection> = a.run(|_| connections(SERVICE.ip)).unwrap();
        assert_eq!(old.len(), 1, "{old:?}");
        assert_eq!(old[0].local, to);
        assert_eq!(old[0].remote.ip(), &CLIENT.ip);

        // The owner dies: its cable is cut, so that no FIN and no RST leaves it.
        ip("link set dev a down");
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let waiting = stream.read(&mut [0]).unwrap_err();
        assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{waiting}");

        let start = Instant::now();
        b.run(|port| {
            add_address(port, SERVICE).unwrap();
            announce(port, SERVICE.ip).unwrap();
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
        drop(server);
    });
}

#[test]
fn connections_of_a_removed_address_end_without_a_word_to_the_client() {
    let name = "connections_of_a_removed_address_end_without_a_word_to_the_client";
    isolated(name, || {
        let [a, _, client] = segment();
        let listener = a.run(|port| {
            add_address(port, SERVICE).unwrap();
            TcpListener::bind((SERVICE.ip, 3260)).unwrap()
        });
        let to = SocketAddrV4::new(SERVICE.ip, 3260);
        let mut stream = client.run(|_| TcpStream::connect(to)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let ended = a.run(|port| {
            remove_address(port, SERVICE).unwrap();
            end_connections(SERVICE.ip)
        });
        match ended {
            Ok(step) => assert_eq!(step, Step::Changed),
            Err(error) => {
                eprintln!("SKIPPED the rest of {name}: {error} (is the module tcp_diag there?)");
                return;
            }
        }
        assert_eq!(a.run(|_| end_connections(SERVICE.ip)), Ok(Step::Already));
        let error = server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let waiting = stream.read(&mut [0]).unwrap_err();
        assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{waiting}");
    });
}
