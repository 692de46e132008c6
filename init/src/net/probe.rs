//! Does a stranger have a service address that is to come here? Asked of the segment before the address is added: by ARP probe
//! (RFC 5227 section 2.1), by neighbour solicitation (RFC 4862 section 5.4).
//!
//! The question is put while the volumes are made ready, so that a client waits for its answer hardly longer: three frames,
//! and the answers of [`LISTEN`]. The standards wait for seconds, as hosts that come up know nothing of the segment; here the port
//! has been up since boot, and a takeover has a second.
//!
//! Not everybody who answers is a stranger. A former owner that hangs may still answer for the address, and is fenced, reset, or
//! behind its gate in a moment: whoever has the hardware address of one of the heads' data ports does not count. That is why it is
//! not the kernel that asks: to its detection of duplicates (IPv6 alone has one) any answer is as good as another, and its own
//! address then stays without use for good.
//!
//! A question that cannot be asked, on a port without a link say, is said and stops nothing. Two hosts that ask at the same
//! moment: the other's probe is an answer in ARP; in IPv6 it is the other that hears ours.

use std::fmt;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tracing::warn;

use super::ears::{Ears, Heard};
use super::{DataPort, Mac, NetError, arp, ndp};

/// How many frames, so that one may be lost.
const TIMES: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(70);
/// From the first frame to the verdict. A host on the segment answers within a millisecond or a few.
const LISTEN: Duration = Duration::from_millis(250);

/// A service address that a stranger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Taken {
    /// The address.
    pub address: IpAddr,
    /// Who answers for it.
    pub by: Mac,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taken { address, by } = self;
        write!(
            f,
            "the service address {address} is in use on the clients' network by {by}, which is neither head: \
             take it away there; if {by} is a router that answers for every address (proxy ARP), \
             `address_check = false` in the pool's part of the configuration has the head not ask"
        )
    }
}

/// A question that was put.
pub struct Probe(Receiver<Result<(), Taken>>);

impl Probe {
    /// Asks for these addresses on the data port, in another network than the calling thread's where one is
    /// given; answers from `heads` do not count. Does not wait.
    pub fn begin(
        port: DataPort,
        network: Option<File>,
        addresses: Vec<IpAddr>,
        heads: Vec<Mac>,
    ) -> Probe {
        let (sender, receiver) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                let verdict = ask(&port, network, &addresses, &heads).unwrap_or_else(|error| {
                    warn!("not known whether a stranger has the addresses: {error}");
                    Ok(())
                });
                let _ = sender.send(verdict);
            });
        if let Err(error) = spawned {
            warn!(%error, "not known whether a stranger has the addresses");
        }
        Probe(receiver)
    }

    /// One that is answered already.
    pub fn answered(verdict: Result<(), Taken>) -> Probe {
        let (sender, receiver) = mpsc::sync_channel(1);
        let _ = sender.send(verdict);
        Probe(receiver)
    }

    /// What came of it, when the time for answers is over. Whatever keeps the question from an end does not keep the address:
    /// what is not known by then is not taken.
    pub fn verdict(self) -> Result<(), Taken> {
        match self.0.recv_timeout(2 * LISTEN) {
            Ok(verdict) => verdict,
            Err(RecvTimeoutError::Timeout) => {
                warn!("not known in time whether a stranger has the addresses");
                Ok(())
            }
            // Nobody who could answer: it was said.
            Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }
}

fn ask(
    port: &DataPort,
    network: Option<File>,
    addresses: &[IpAddr],
    heads: &[Mac],
) -> Result<Result<(), Taken>, NetError> {
    if let Some(network) = network {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetError::new("the data port", "go to its network", errno))?;
    }
    let port = port.find()?;
    let error = |errno| NetError::new(&port.name, "probe for a service address", errno);
    let ears = Ears::open(&port, addresses).map_err(error)?;
    let is_stranger = |mac: &Mac| !heads.contains(mac) && *mac != port.mac;
    let begun = Instant::now();
    for time in 0..=TIMES {
        let until = begun
            + match time {
                TIMES => LISTEN,
                _ => PAUSE * time,
            };
        while Instant::now() < until {
            let says = |heard: Heard<'_>| claim(heard, addresses, is_stranger);
            if let Some(taken) = ears.hear(until, says).map_err(error)? {
                return Ok(Err(taken));
            }
        }
        if time < TIMES {
            for address in addresses {
                ears.send(&question(port.mac, *address)).map_err(error)?;
            }
        }
    }
    Ok(Ok(()))
}

/// From no address, so that no host believes anything new.
fn question(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => arp::probe(mac, ip).to_vec(),
        IpAddr::V6(ip) => ndp::probe(mac, ip),
    }
}

/// Whether something that was heard says that a stranger has one of the addresses.
fn claim(
    heard: Heard<'_>,
    addresses: &[IpAddr],
    is_stranger: impl Fn(&Mac) -> bool,
) -> Option<Taken> {
    addresses.iter().find_map(|&address| {
        let by = match (address, heard) {
            (IpAddr::V4(ip), Heard::Arp(frame)) => arp::claimant(frame, ip),
            (IpAddr::V6(ip), Heard::Icmp(message, hop_limit)) => {
                ndp::claimant(message, hop_limit, ip)
            }
            _ => None,
        };
        let by = by.filter(&is_stranger)?;
        Some(Taken { address, by })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_in_time_is_not_taken() {
        let (sender, receiver) = mpsc::sync_channel(1);
        assert_eq!(Probe(receiver).verdict(), Ok(()));
        drop(sender);
    }
}
