//! Interfaces, service addresses, their announcement, and the tickle of old connections.
//!
//! The order on import: [`Probe`] (begun early, asked last), [`add_address`], [`announce`], [`tickle`], the last two repeated for
//! some seconds by the caller; on release: [`connections`] (told to the peer), [`remove_address`], [`end_connections`],
//! and only then the export. No function here sleeps or retries, and each is safe to call again.
//!
//! Removing the address comes first because it is what makes a former owner silent (invariant I1):
//! nothing answers ARP or neighbour discovery for it, nothing is received for it, and nothing can be sent from it, the
//! answers that LIO still holds and the kernel's resets included. [`settle`] sees to it that no other
//! port speaks for it either.
//!
//! Addresses are of IPv4 and IPv6 alike. Everything is done in the network namespace of the calling thread: the head's, or
//! a pool's own ([`Branch`]).

mod address;
mod announce;
mod arp;
mod branch;
mod checksum;
mod connections;
mod ears;
mod error;
mod gate;
mod gateways;
mod interface;
mod mac;
mod ndp;
mod port;
mod probe;
mod raise;
mod route;
mod settle;
mod tickle;

#[cfg(test)]
mod damage;

pub use address::{add_address, has_address, keep_way, remove_address};
pub use announce::announce;
pub use branch::Branch;
pub use connections::{Connection, connections, connections_of, end_connections};
pub use error::NetError;
pub use gate::Gate;
pub use gateways::Gateways;
pub use interface::Interface;
pub use mac::{Mac, NotAMac};
pub use port::{Bond, DataPort};
pub use probe::{Probe, Taken};
pub use raise::Raising;
pub use route::Way;
pub use settle::settle;
pub use tickle::tickle;
