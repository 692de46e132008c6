//! Lines of the kernel's caches: words, quoted as `net/sunrpc/cache.c` does (`qword_add`, `qword_addhex`, `qword_get`).
//!
//! A word stands as it is, with `\ooo` for blanks, line ends and backslashes, or whole as `\x` and hex digits. Requests
//! come from the kernel, but what is in them (a path, an address, a file handle's identifier) comes from clients.

use std::fmt::Write as _;

/// More words than any request has.
const MOST_WORDS: usize = 16;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// There is no end of line, so that it may not be whole.
    #[error("it does not end with a line end")]
    Torn,
    /// A backslash that begins nothing known.
    #[error("byte {at}: a quotation that is none")]
    Quotation {
        /// Where, from 0.
        at: usize,
    },
    /// It goes on and on.
    #[error("it has more than {MOST_WORDS} words")]
    TooLong,
}

/// The words of a request.
pub fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, LineError> {
    let line = line.strip_suffix(b"\n").ok_or(LineError::Torn)?;
    let mut words = Vec::new();
    let mut at = 0;
    for word in line.split(|byte| *byte == b' ') {
        if !word.is_empty() {
            if words.len() == MOST_WORDS {
                return Err(LineError::TooLong);
            }
            words.push(unquote(word).map_err(|within| LineError::Quotation { at: at + within })?);
        }
        at += word.len() + 1;
    }
    Ok(words)
}

/// The bytes of a word; the error is where it is no word.
fn unquote(word: &[u8]) -> Result<Vec<u8>, usize> {
    if let Some(digits) = word.strip_prefix(b"\\x") {
        return hex(digits).ok_or(0);
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut at = 0;
    while let Some(byte) = word.get(at) {
        if *byte != b'\\' {
            bytes.push(*byte);
            at += 1;
            continue;
        }
        let digits = word.get(at + 1..at + 4).and_then(octal).ok_or(at)?;
        bytes.push(digits);
        at += 4;
    }
    Ok(bytes)
}

fn octal(digits: &[u8]) -> Option<u8> {
    let value = digits.iter().try_fold(0u16, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum * 8 + u16::from(digit - b'0')),
        _ => None,
    })?;
    u8::try_from(value).ok()
}

/// The bytes that hex digits stand for.
pub fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect()
}

/// Bytes as hex digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An answer being put together.
#[derive(Debug, Default)]
pub struct Line(String);

impl Line {
    /// Appends a word as it is, quoted where that is needed.
    pub fn word(mut self, word: &str) -> Line {
        for byte in word.bytes() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' | 0x80.. => {
                    let _ = write!(self.0, "\\{byte:03o}");
                }
                _ => self.0.push(char::from(byte)),
            }
        }
        self.0.push(' ');
        self
    }

    /// Appends a number.
    pub fn number(self, number: impl Into<i64>) -> Line {
        self.word(&number.into().to_string())
    }

    /// Appends bytes as a word of hex digits.
    pub fn bytes(mut self, bytes: &[u8]) -> Line {
        self.0.push_str("\\x");
        self.0.push_str(&to_hex(bytes));
        self.0.push(' ');
        self
    }

    /// The line.
    pub fn end(mut self) -> String {
        self.0.push('\n');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_the_kernel_quoted() {
        let line = b"10.77.0.100 \\x2f72756e  /a\\040b\\134c\n";
        let expected = [&b"10.77.0.100"[..], b"/run", b"/a b\\c"];
        assert_eq!(words(line).unwrap(), expected);
        assert_eq!(words(b"\n").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(words(b"\\x\n").unwrap(), [b""]);
    }

    #[test]
    fn what_is_no_line_says_where() {
        assert_eq!(words(b"a b"), Err(LineError::Torn));
        for (line, at) in [
            (&b"ok a\\9\n"[..], 4),
            (b"a\\400\n", 1),
            (b"a \\x4\n", 2),
            (b"\\xgg\n", 0),
            (b"a\\\n", 1),
        ] {
            assert_eq!(words(line), Err(LineError::Quotation { at }), "{line:?}");
        }
        let many = [&b"w ".repeat(MOST_WORDS + 1)[..], b"\n"].concat();
        assert_eq!(words(&many), Err(LineError::TooLong));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let line = Line::default()
            .word("/run/a b\\ü\n")
            .number(-2)
            .bytes(&[0, 0xff]);
        let line = line.end();
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        let expected = ["/run/a b\\ü\n".as_bytes(), b"-2", &[0, 0xff]];
        assert_eq!(words(line.as_bytes()).unwrap(), expected);
    }
}
