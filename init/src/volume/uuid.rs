//! LVM2's identifiers: 32 characters, written in groups of 6-4-4-4-4-4-6.

use std::fmt;
use std::io;

/// The identifier of a physical volume, a volume group or a logical volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 32]);

/// Where the hyphens go: after that many characters.
const GROUPS: [usize; 7] = [6, 4, 4, 4, 4, 4, 6];

const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Uuid {
    /// No identifier: what stands in for one that could not be made, and must not be written.
    pub(super) const NONE: Uuid = Uuid([b'0'; 32]);

    /// A new one, as lvm2 makes them: letters and digits, without `!` and `#`.
    ///
    /// # Errors
    /// The kernel has no random numbers yet.
    pub fn random() -> io::Result<Uuid> {
        let mut uuid = [0; 32];
        let mut filled = 0;
        let mut bytes = [0; 64];
        while filled < uuid.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            let read = rustix::rand::getrandom(&mut bytes, flags)?;
            for byte in &bytes[..read] {
                // Only as many as come out even, so that every character is as likely.
                let even = usize::from(*byte) < 256 / ALPHABET.len() * ALPHABET.len();
                if even && filled < uuid.len() {
                    uuid[filled] = ALPHABET[usize::from(*byte) % ALPHABET.len()];
                    filled += 1;
                }
            }
        }
        Ok(Uuid(uuid))
    }

    /// From the 32 characters without hyphens, as in labels and device-mapper uuids.
    pub fn from_compact(bytes: &[u8]) -> Option<Uuid> {
        let uuid: [u8; 32] = bytes.try_into().ok()?;
        // LVM's alphabet also has '!' and '#'; nothing else may reach a device-mapper uuid.
        uuid.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'#'))
            .then_some(Uuid(uuid))
    }

    /// From the form with hyphens, as in the text metadata.
    pub fn from_text(text: &str) -> Option<Uuid> {
        let compact: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let uuid = Uuid::from_compact(&compact)?;
        (uuid.to_string() == text).then_some(uuid)
    }

    /// Without hyphens.
    pub fn compact(&self) -> &str {
        // ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.compact();
        for (index, length) in GROUPS.into_iter().enumerate() {
            let (group, tail) = rest.split_at(length);
            let hyphen = if index > 0 { "-" } else { "" };
            write!(f, "{hyphen}{group}")?;
            rest = tail;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ones_differ_and_are_read_back() {
        let (one, other) = (Uuid::random().unwrap(), Uuid::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(Uuid::from_text(&one.to_string()), Some(one));
    }

    #[test]
    fn both_forms_are_one() {
        let text = "aQ1x2Z-0000-1111-2222-3333-4444-abcdef";
        let uuid = Uuid::from_text(text).unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(Uuid::from_compact(uuid.compact().as_bytes()), Some(uuid));
        assert_eq!(
            Uuid::from_text("aQ1x2Z0000-1111-2222-3333-4444-abcdef"),
            None
        );
        assert_eq!(Uuid::from_compact(&[b'/'; 32]), None);
    }
}
