//! What of a head is broken, as far as one pool is concerned: said in beats, so that the better head serves.

/// What a head could not serve a pool with, right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Health {
    /// It does not see all of the pool's disks, or could not import them.
    pub shelf: bool,
    /// The port for the clients has no link.
    pub network: bool,
}

const SHELF: u8 = 1;
const NETWORK: u8 = 2;

impl Health {
    /// As a byte of a beat. Bits that this release does not know are of no concern to it.
    pub(crate) fn bits(self) -> u8 {
        (u8::from(self.shelf) * SHELF) | (u8::from(self.network) * NETWORK)
    }

    pub(crate) fn from_bits(bits: u8) -> Health {
        Health {
            shelf: bits & SHELF != 0,
            network: bits & NETWORK != 0,
        }
    }

    /// Less is better. Without its disks a head can serve nobody; without the clients' network it can at least let go in
    /// order.
    pub(crate) fn burden(self) -> u8 {
        u8::from(self.shelf) * 2 + u8::from(self.network)
    }

    /// Whether nothing is broken.
    pub fn is_good(self) -> bool {
        self == Health::default()
    }
}
