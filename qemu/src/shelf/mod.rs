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

/// The name of a head as an initiator at the shelf. One for each disk, since each has a session of its own and
/// all of them the same ISID: see [`crate::cable::port`].
pub fn initiator(head: Head, lun: usize) -> String {
    format!("iqn.2026-01.org.orthrus.lab:head-{head}-lun-{lun}")
}

/// Where a head's relay listens.
pub fn portal_of(head: Head) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 3261 + head.index() as u16))
}

/// Where the target itself listens.
pub fn target_address(kind: ShelfKind) -> SocketAddr {
    match kind {
        ShelfKind::Lio => SocketAddr::from(([10, 78, 0, 2], 3260)),
        ShelfKind::Tgt | ShelfKind::Plain => SocketAddr::from((Ipv4Addr::LOCALHOST, 3260)),
    }
}
