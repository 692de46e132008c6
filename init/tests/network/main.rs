//! The network steps on a real kernel, in namespaces of their own: addresses, announcements, tickles.
//!
//! The test runs itself again under `unshare`, as root of a user namespace, so that it needs no privilege
//! and touches nothing of the machine. Three network namespaces hang on one bridge: two heads and a
//! client. A thread enters a namespace for a while; a socket stays in the one it was opened in.
//!
//! Where user namespaces or `ip` are missing the tests say so and pass.
#![allow(clippy::unwrap_used)] // a panic is how a test fails, in its helpers too
mod addresses;
mod announcements;
mod connections;
mod routers;
mod taken;

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
    let inside = Command::new("unshare")
        .args(user)
        .args(["--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    println!("{said}");
    assert!(inside.status.success(), "{test} in its namespaces");
    // A name that is of no test runs none, and ends well.
    assert!(said.contains("1 passed"), "{test} is of no test");
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
