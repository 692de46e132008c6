//! The heartbeat secret: carried, used, never shown.
//!
//! The type has no `Display` and no `Serialize`, and its `Debug` is redacted, so that no log line,
//! status snapshot or JSON answer that holds a configuration can leak it by accident.

use std::fmt;

/// The key of the heartbeat's MAC, 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Reads 64 hex digits.
    pub(super) fn from_hex(text: &str) -> Option<Secret> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Secret(bytes))
    }

    /// Whether it is one byte repeated, as a placeholder that nobody replaced is.
    pub(super) fn is_placeholder(&self) -> bool {
        self.0.iter().all(|byte| *byte == self.0[0])
    }

    /// The bytes, for the one place that keys the MAC with them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let secret = Secret::from_hex(&"a7".repeat(32)).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(secret.expose(), &[0xa7; 32]);
    }

    #[test]
    fn only_64_hex_digits_are_a_secret() {
        assert_eq!(Secret::from_hex(&"a".repeat(63)), None);
        assert_eq!(Secret::from_hex(&"g".repeat(64)), None);
        assert_eq!(Secret::from_hex(&"+1".repeat(32)), None);
    }
}
