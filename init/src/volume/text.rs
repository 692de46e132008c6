//! The syntax of LVM2's text metadata (`libdm/libdm-config.c`), read and written: sections, values, lists, comments.
//!
//! What the names mean is the business of `group`. Depth and number of entries are bounded, so that a
//! text that was written to hurt costs no more than its length. Entries keep their order, since lvm2 reads one
//! out of it: the members' and the volumes' places in its own lists, and the group's section before all else.
//! What is read and means something else to lvm2 than to us is an error, so that nothing changes its meaning by being
//! written back. Comments are lost, as lvm2 loses them.

use std::fmt::Write as _;

use indexmap::IndexMap;

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

/// Names and their values, in the order of the text. A name that stands twice is an error.
///
/// Two sections are equal when they have the same entries, in whatever order.
pub type Section = IndexMap<String, Value>;

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

/// Writes a section as text that [`parse`] and lvm2 read: one entry a line, without indentation, as lvm2 writes it
/// to disks.
///
/// Names and texts must be such as [`parse`] gives out: no NUL, names of the characters that names have.
pub fn format(section: &Section) -> String {
    let mut text = String::new();
    write_section(&mut text, section);
    text
}

fn write_section(text: &mut String, section: &Section) {
    for (name, value) in section {
        text.push_str(name);
        match value {
            Value::Section(inner) => {
                text.push_str(" {\n");
                write_section(text, inner);
                text.push_str("}\n");
            }
            value => {
                text.push_str(" = ");
                write_value(text, value);
                text.push('\n');
            }
        }
    }
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Number(number) => {
            // Writing to a String cannot fail.
            let _ = write!(text, "{number}");
        }
        Value::Float(digits) => text.push_str(digits),
        Value::Text(words) => {
            text.push('"');
            for character in words.chars() {
                if matches!(character, '"' | '\\') {
                    text.push('\\');
                }
                text.push(character);
            }
            text.push('"');
        }
        Value::List(list) => {
            text.push('[');
            for (index, value) in list.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write_value(text, value);
            }
            text.push(']');
        }
        // Not in a list, and elsewhere handled by the caller.
        Value::Section(inner) => write_section(text, inner),
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
                    let escaped = self.bytes.get(self.at).copied().filter(|byte| *byte != 0);
                    text.push(escaped.ok_or_else(|| self.error("a text that is not closed"))?);
                }
                // Where lvm2 takes the whole text for ended.
                Some(0) => return Err(self.error("a NUL in a text")),
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
        let part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.');
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
        let mut plain = digits.trim_start_matches(['-', '+']).bytes();
        if plain.next() == Some(b'0') && plain.next().is_some() {
            return Err(self.error("a number with a leading zero, which lvm2 takes for octal"));
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
    fn what_is_written_is_what_was_read() {
        let text = "tank {\nid = \"x\"\nseqno = 3\nstatus = [\"READ\", \"WRITE\"]\nflags = []\nzeta {\nb = -1\n\
                    a = 1.50\nquoted = \"a \\\"b\\\" \\\\ c\"\n}\nalpha {\n}\n}\ncontents = \"c\"\n";
        assert_eq!(format(&parse(text).unwrap()), text);
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
            "a = \"x\0\"",
            "a = \"x\\\0\"",
            "a = 010",
            "a = -00",
            "a = 1.5e3",
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
