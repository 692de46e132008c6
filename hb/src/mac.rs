//! The keyed MAC of what only the two heads may say: frames, records of the ledger, blocks of the flight record.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// HMAC-SHA-256 that has taken in `kind`: a byte that is another one for each link and for each thing that is kept, so that what
/// was recorded in one place counts in no other.
pub fn keyed(secret: &[u8; 32], kind: u8) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros to the block of its hash; this constructor wants the block.
    let mut block = [0; 64];
    block[..secret.len()].copy_from_slice(secret);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(&[kind]);
    mac
}
