//! A network of a pool's own, with a branch of the data port in it.
//!
//! The kernel has one NFS server a network namespace, with one table of clients, one grace period and one name. A pool that
//! shares by NFS moves alone, so it has a namespace alone: that of the thread that imports it, and of all that this thread
//! starts. What it makes there (addresses, portals, the server) is there, on every head, whichever other pools are served.
//!
//! The branch is an `ipvlan` in mode L2 (`Documentation/networking/ipvlan.rst`): the port's own Ethernet address, so that no
//! switch sees a second one, and frames that leave by the port itself, past its gate ([`super::Gate`]). It stands as long as
//! the head runs, without an address while the pool is not served.
//!
//! Rejected: `macvlan`, whose addresses hypervisors and port security refuse; a namespace for every pool, when LUNs need none.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use rustix::io::Errno;

use super::interface::{IFF_UP, RTM_NEWLINK, ifinfomsg};
use super::{DataPort, Interface, NetError, settle};
use crate::sys::namespace;
use crate::sys::netlink::{Family, NLM_F_CREATE, NLM_F_EXCL, Netlink, Request, nested};

// linux/if_link.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_IPVLAN_MODE: u16 = 1;
const IPVLAN_MODE_L2: u16 = 0;
/// The loopback device is the first of every namespace.
const LOOPBACK: u32 = 1;

/// What the branch is called in its namespace.
const NAME: &str = "data";

/// A namespace of its own, and a way back to the ports outside of it.
pub struct Branch {
    outside: Netlink,
    outside_network: File,
    inside: File,
}

impl Branch {
    /// Gives the calling thread, and all that it starts, a network of their own, with nothing in it.
    pub fn enter() -> Result<Branch, NetError> {
        let error = |errno| NetError::new("the pool's own network", "make it", errno);
        let outside = Netlink::open(Family::Route).map_err(error)?;
        let of_thread = || {
            let file = File::open("/proc/thread-self/ns/net");
            file.map_err(|e| error(Errno::from_io_error(&e).unwrap_or(Errno::IO)))
        };
        let outside_network = of_thread()?;
        namespace::own_network().map_err(error)?;
        let inside = of_thread()?;
        let up = Request::new(RTM_NEWLINK, 0).bytes(&ifinfomsg(LOOPBACK, IFF_UP, IFF_UP));
        let mut netlink = Netlink::open(Family::Route).map_err(error)?;
        netlink.perform(&up).map_err(error)?;
        Ok(Branch {
            outside,
            outside_network,
            inside,
        })
    }

    /// The network outside, for a thread that has to go there.
    pub fn outside(&self) -> Result<File, NetError> {
        self.outside_network.try_clone().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            NetError::new("the pool's own network", "leave it", errno)
        })
    }

    /// The branch of the data port; it is made where it is not there.
    pub fn port(&mut self, data: &DataPort) -> Result<Interface, NetError> {
        let known = || -> Result<Option<Interface>, NetError> {
            let all = Interface::all()?;
            Ok(all.into_iter().find(|port| port.name == NAME))
        };
        if let Some(port) = known()?
            && port.is_up
        {
            return Ok(port);
        }
        let outside = data.find_by(&mut self.outside)?;
        let error = |errno| NetError::new(&outside.name, "branch it off for the pool", errno);
        if known()?.is_none() {
            let request = self.request(outside.index);
            self.outside.perform(&request).map_err(error)?;
        }
        let port = known()?.ok_or_else(|| error(Errno::NODEV))?;
        settle(&port)?;
        port.up()?;
        known()?.ok_or_else(|| error(Errno::NODEV))
    }

    fn request(&self, port: u32) -> Request {
        let mode = nested(&[(IFLA_IPVLAN_MODE, &IPVLAN_MODE_L2.to_ne_bytes())]);
        let info = nested(&[(IFLA_INFO_KIND, b"ipvlan"), (IFLA_INFO_DATA, &mode)]);
        Request::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
            .bytes(&ifinfomsg(0, 0, 0))
            .attribute(IFLA_LINK, &port.to_ne_bytes())
            .attribute(IFLA_IFNAME, NAME.as_bytes())
            .attribute(IFLA_NET_NS_FD, &self.inside.as_raw_fd().to_ne_bytes())
            .attribute(IFLA_LINKINFO, &info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_its_own_has_no_port_of_the_machines() {
        let entered = std::thread::spawn(|| {
            let mut branch = Branch::enter()?;
            let nobody = DataPort {
                cards: vec!["02:00:00:00:00:77".parse().unwrap()],
                bond: None,
                vlan: None,
                mtu: None,
            };
            let missing = branch.port(&nobody).unwrap_err();
            assert_eq!(missing.errno, Errno::NODEV, "{missing}");
            Interface::all()
        });
        match entered.join().unwrap() {
            Ok(ports) => assert_eq!(ports, []),
            Err(error) if error.errno == Errno::PERM => {
                eprintln!("SKIPPED: a namespace needs the rights of root");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
