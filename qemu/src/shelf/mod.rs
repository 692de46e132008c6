//! The shelf: what holds the disks, and its power.
//!
//! Each head reaches the target through a relay of its own on loopback ([`crate::cable::path`]), as
//! an initiator of its own, so that each is its own nexus for reservations.

pub mod lio;
pub mod tgt;

use std::net::{Ipv4Addr, SocketAddr};

use crate::names::{Head, ShelfKind};

/// The shelf's target.
pub const IQN: &str = "iqn.2026-01.org.orthrus.lab:shelf";

/// The name of a head's port as an initiator at the shelf. One for each disk, since each has a session of its own and
/// all of them the same ISID: see [`crate::cable::port`]; and one for each path, from 0, as each port of a SAS adapter has a
/// name.
pub fn initiator(head: Head, lun: usize, path: usize) -> String {
    let name = format!("iqn.2026-01.org.orthrus.lab:head-{head}-lun-{lun}");
    match path {
        0 => name,
        path => format!("{name}-path-{path}"),
    }
}

/// The neighbour's name, likewise.
pub fn neighbours_initiator(lun: usize) -> String {
    format!("iqn.2026-01.org.orthrus.lab:neighbour-lun-{lun}")
}

/// Where the relay of the neighbour's path listens.
pub const NEIGHBOURS_PORTAL: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3299);

/// Where the relay of a head's path listens.
pub fn portal_of(head: Head, path: usize) -> SocketAddr {
    let port = 3261 + head.index() + 2 * path;
    SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16))
}

/// The target's port for a path.
pub fn target_port(path: usize) -> u16 {
    3260 + path as u16
}

/// Where the target itself listens for a path: LIO on one port for each, tgtd on one for all.
pub fn target_address(kind: ShelfKind, path: usize) -> SocketAddr {
    match kind {
        ShelfKind::Lio => SocketAddr::from(([10, 78, 0, 2], target_port(path))),
        ShelfKind::Tgt | ShelfKind::Plain => SocketAddr::from((Ipv4Addr::LOCALHOST, 3260)),
    }
}
