//! The tag of a frame, written a second time from the description in `wire`: a harness that called the code
//! under test for it could not tell when both are wrong.

use hmac::{Hmac, KeyInit, Mac};
use orthrus_hb::LinkId;
use orthrus_hb::wire::TAG_BYTES;
use sha2::Sha256;

/// Content with its tag behind it.
pub fn sealed(content: &[u8], link: LinkId, secret: &[u8; 32]) -> Vec<u8> {
    let tag = hmac(&[&[link.index() as u8], content], secret);
    [content, &tag[..TAG_BYTES]].concat()
}

/// HMAC-SHA-256 of what is put together from `parts`.
pub fn hmac(parts: &[&[u8]], secret: &[u8; 32]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap(); // any length is a key
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
