//! The syntax of LVM2's text metadata (`libdm/libdm-config.c`): sections, values, lists, comments.
//!
//! What the names mean is the business of `group`. Depth and number of entries are bounded, so that a
//! text that was written to hurt costs no more than its length.

use std::collections::BTreeMap;

const MOST_DEPTH: usize = 16;

/// What stands for a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `5`, `-1`.
    Number(i64),
    /// `1.5`; kept as it is written, since nothing that we use has one.
    Float(String),
    /// `"text"`.
    Text(String),
    /// `[a, b]`, without lists in it.
    List(Vec<Value>),
    /// `name { ... }`.
    Section(Section),
}

/// Names and their values. A name that stands twice is an error.
pub type Section = BTreeMap<String, Value>;

/// Where the text stops being metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, byte {offset}: {what}")]
pub struct TextError {
    /// From 1.
    pub line: usize,
    /// From 0.
    pub offset: usize,
    /// What was expected or is wrong.
    pub what: &'static str,
}

/// Parses a whole text.
pub fn parse(text: &str) -> Result<Section, TextError> {
    let mut parser = Parser {
        bytes: text.as_bytes(),
        at: 0,
    };
    let section = parser.section(0)?;
    match parser.peek() {
        None => Ok(section),
        Some(_) => Err(parser.error("a closing brace without an opening one")),
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> TextError {
        let before = &self.bytes[..self.at.min(self.bytes.len())];
        TextError {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            offset: self.at,
            what,
        }
    }

    /// The next byte that is neither space nor comment.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b'#' => {
                    while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                        self.at += 1;
                    }
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn take(&mut self, wanted: u8, what: &'static str) -> Result<(), TextError> {
        if self.peek() != Some(wanted) {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Entries up to the closing brace, which is left, or the end.
    fn section(&mut self, depth: usize) -> Result<Section, TextError> {
        if depth > MOST_DEPTH {
            return Err(self.error("sections are nested too deeply"));
        }
        let mut section = Section::new();
        while let Some(byte) = self.peek() {
            if byte == b'}' {
                break;
            }
            let name = self.name()?;
            let value = match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    let inner = self.section(depth + 1)?;
                    self.take(b'}', "a section that is not closed")?;
                    Value::Section(inner)
                }
                Some(b'=') => {
                    self.at += 1;
                    self.value()?
                }
                _ => return Err(self.error("after a name comes = or {")),
            };
            if section.insert(name, value).is_some() {
                return Err(self.error("a name stands twice in one section"));
            }
        }
        Ok(section)
    }

    fn name(&mut self) -> Result<String, TextError> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| is_name(*byte)) {
            self.at += 1;
        }
        if start == self.at {
            return Err(self.error("a name was expected"));
        }
        Ok(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned())
    }

    fn value(&mut self) -> Result<Value, TextError> {
        if self.peek() != Some(b'[') {
            return self.scalar();
        }
        self.at += 1;
        let mut list = Vec::new();
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(list));
                }
                Some(b',') if !list.is_empty() => self.at += 1,
                _ if !list.is_empty() => return Err(self.error("a list goes on with , or ]")),
                _ => {}
            }
            // LVM's own lists have no comma before the bracket; it reads one nevertheless.
            if self.peek() != Some(b']') {
                list.push(self.scalar()?);
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, TextError> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'-' | b'+' | b'0'..=b'9' | b'.') => self.number(),
            _ => Err(self.error("a number, a text in quotes or a list was expected")),
        }
    }

    fn quoted(&mut self) -> Result<Value, TextError> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.error("a text that is not closed")),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.bytes.get(self.at).copied();
                    text.push(escaped.ok_or_else(|| self.error("a text that is not closed"))?);
                }
                Some(byte) => text.push(*byte),
            }
            self.at += 1;
        }
        self.at += 1;
        String::from_utf8(text)
            .map(Value::Text)
            .map_err(|_| self.error("a text that is not UTF-8"))
    }

    fn number(&mut self) -> Result<Value, TextError> {
        let start = self.at;
        let part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e');
        while self.bytes.get(self.at).is_some_and(part) {
            self.at += 1;
        }
        let digits = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        if digits.contains('.') {
            return match digits.parse::<f64>() {
                Ok(_) => Ok(Value::Float(digits)),
                Err(_) => Err(self.error("a number that is none")),
            };
        }
        match digits.parse() {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) => Err(self.error("a number that is none, or too large")),
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_lvm_writes_is_read() {
        let text = "# made by hand\nvg-1 {\nid = \"x\"\nseqno = 3 # three\nflags = []\n\
                    stripes = [\n\"pv0\", 0,\n\"pv1\", 128\n]\nload = 0.5\nneg = -7\n}\n\
                    quoted = \"a \\\"b\\\" \\\\ c\"\n";
        let parsed = parse(text).unwrap();
        let Value::Section(vg) = &parsed["vg-1"] else {
            panic!("{parsed:?}")
        };
        assert_eq!(vg["seqno"], Value::Number(3));
        assert_eq!(vg["flags"], Value::List(vec![]));
        assert_eq!(vg["neg"], Value::Number(-7));
        let stripes = [
            Value::Text("pv0".into()),
            Value::Number(0),
            Value::Text("pv1".into()),
            Value::Number(128),
        ];
        assert_eq!(vg["stripes"], Value::List(stripes.to_vec()));
        assert_eq!(parsed["quoted"], Value::Text("a \"b\" \\ c".into()));
    }

    #[test]
    fn errors_say_where() {
        let error = parse("a = 1\nb = \n}").unwrap_err();
        assert_eq!((error.line, error.offset), (3, 11));
        for bad in [
            "a",
            "a =",
            "a {",
            "a = [1",
            "a = [1 2]",
            "a = \"x",
            "}",
            "a = 1 a = 2",
            "a = 99999999999999999999",
            "a = --1",
            "a = [[1]]",
            "a = \"x\\",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "a {".repeat(100_000);
        assert_eq!(
            parse(&deep).unwrap_err().what,
            "sections are nested too deeply"
        );
    }
}
