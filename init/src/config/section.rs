//! A table of the file, read field by field, with the place of each value kept for errors.
//!
//! The TOML tree is walked by hand and not by serde: an error then names the whole path of the field
//! and what is allowed there, and a limit or a duplicate is reported like a syntax error is.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};

/// A value and where it stands.
pub(super) struct Field<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

/// One of a list that may have texts and tables.
pub(super) enum Entry<'a> {
    /// A text.
    Text(Field<&'a str>),
    /// A table, most likely written in one line.
    Table(Section<'a>),
}

/// One table of the file.
pub(super) struct Section<'a> {
    text: &'a str,
    table: &'a DeTable<'a>,
    at: Place,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(text: &'a str, table: &'a DeTable<'a>) -> Section<'a> {
        let at = Place {
            line: 1,
            field: String::new(),
        };
        Section { text, table, at }
    }

    /// Where the table's header is.
    pub(super) fn at(&self) -> &Place {
        &self.at
    }

    /// Refuses every field that is not one of these.
    pub(super) fn only(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        for key in self.table.keys() {
            if !allowed.contains(&key.get_ref().as_ref()) {
                let at = Place {
                    line: line_of(self.text, key.span().start),
                    field: self.path(key.get_ref()),
                };
                return Err(at.error(format!(
                    "is not a field of this table; allowed: {}",
                    allowed.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// The place of a field, or of the table when the field is missing.
    pub(super) fn place(&self, key: &str) -> Place {
        let line = match self.table.get(key) {
            Some(value) => line_of(self.text, value.span().start),
            None => self.at.line,
        };
        Place {
            line,
            field: self.path(key),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text that must be there; `allowed` ends the sentence of the error.
    pub(super) fn text(&self, key: &str, allowed: &str) -> Result<Field<&'a str>, ConfigError> {
        self.optional_text(key, allowed)?
            .ok_or_else(|| self.missing(key, allowed))
    }

    pub(super) fn optional_text(
        &self,
        key: &str,
        allowed: &str,
    ) -> Result<Option<Field<&'a str>>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let at = self.place(key);
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(Field { value: text, at })),
            other => Err(wrong_kind(&at, other, allowed)),
        }
    }

    /// A whole number within a range.
    pub(super) fn optional_number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<Field<u32>>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let at = self.place(key);
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(wrong_kind(&at, value.get_ref(), &allowed));
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if range.contains(&value) => Ok(Some(Field { value, at })),
            _ => Err(at.error(format!("is {number}; allowed: {allowed}"))),
        }
    }

    /// A whole number that is one of some.
    pub(super) fn optional_choice(
        &self,
        key: &str,
        choices: &[u32],
    ) -> Result<Option<u32>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let at = self.place(key);
        let allowed: Vec<String> = choices.iter().map(u32::to_string).collect();
        let allowed = allowed.join(" or ");
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(wrong_kind(&at, value.get_ref(), &allowed));
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if choices.contains(&value) => Ok(Some(value)),
            _ => Err(at.error(format!("is {number}; allowed: {allowed}"))),
        }
    }

    /// Yes or no.
    pub(super) fn optional_switch(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.table.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Boolean(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_kind(&self.place(key), other, "true or false")),
        }
    }

    /// A list of texts, or one text standing for a list of one.
    pub(super) fn texts(
        &self,
        key: &str,
        allowed: &str,
    ) -> Result<Vec<Field<&'a str>>, ConfigError> {
        let at = self.place(key);
        let Some(value) = self.table.get(key) else {
            return Err(self.missing(key, allowed));
        };
        match value.get_ref() {
            DeValue::String(text) => Ok(vec![Field { value: text, at }]),
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.list_item(key, index, item, allowed))
                .collect(),
            other => Err(wrong_kind(&at, other, allowed)),
        }
    }

    fn list_item(
        &self,
        key: &str,
        index: usize,
        item: &'a Spanned<DeValue<'a>>,
        allowed: &str,
    ) -> Result<Field<&'a str>, ConfigError> {
        let at = Place {
            line: line_of(self.text, item.span().start),
            field: format!("{}[{index}]", self.path(key)),
        };
        match item.get_ref() {
            DeValue::String(text) => Ok(Field { value: text, at }),
            other => Err(wrong_kind(&at, other, allowed)),
        }
    }

    /// A list of texts and tables, or one text standing for a list of one.
    pub(super) fn entries(&self, key: &str, allowed: &str) -> Result<Vec<Entry<'a>>, ConfigError> {
        let Some(DeValue::Array(items)) = self.table.get(key).map(Spanned::get_ref) else {
            let texts = self.texts(key, allowed)?;
            return Ok(texts.into_iter().map(Entry::Text).collect());
        };
        let entry = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let DeValue::Table(table) = item.get_ref() else {
                return self.list_item(key, index, item, allowed).map(Entry::Text);
            };
            let at = Place {
                line: line_of(self.text, item.span().start),
                field: format!("{}[{index}]", self.path(key)),
            };
            Ok(Entry::Table(Section {
                text: self.text,
                table,
                at,
            }))
        };
        items.iter().enumerate().map(entry).collect()
    }

    /// A `[table]` below this one.
    pub(super) fn section(&self, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let at = self.place(key);
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(Section {
                text: self.text,
                table,
                at,
            })),
            other => Err(wrong_kind(
                &at,
                other,
                &format!("a table, written [{}]", self.path(key)),
            )),
        }
    }

    /// One `[table]` below this one, or several `[[table]]`s, at most `limit`.
    pub(super) fn one_or_more(
        &self,
        key: &str,
        limit: usize,
    ) -> Result<Vec<Section<'a>>, ConfigError> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.sections(key, limit),
            _ => Ok(self.section(key)?.into_iter().collect()),
        }
    }

    /// The `[[table]]`s below this one, at most `limit`; none is an empty list.
    pub(super) fn sections(
        &self,
        key: &str,
        limit: usize,
    ) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let at = self.place(key);
        let allowed = format!(
            "tables, each written [[{}]]",
            without_indices(&self.path(key))
        );
        let DeValue::Array(items) = value.get_ref() else {
            return Err(wrong_kind(&at, value.get_ref(), &allowed));
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = Place {
                line: line_of(self.text, item.span().start),
                field: format!("{}[{index}]", self.path(key)),
            };
            let DeValue::Table(table) = item.get_ref() else {
                return Err(wrong_kind(&at, item.get_ref(), &allowed));
            };
            if index == limit {
                return Err(at.error(format!("is one too many; allowed: at most {limit}")));
            }
            sections.push(Section {
                text: self.text,
                table,
                at,
            });
        }
        Ok(sections)
    }

    pub(super) fn missing(&self, key: &str, allowed: &str) -> ConfigError {
        self.place(key)
            .error(format!("is missing; allowed: {allowed}"))
    }

    fn path(&self, key: &str) -> String {
        if self.at.field.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.at.field)
        }
    }
}

/// The line of a byte offset, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

// Names the kind only: the value may be the secret.
fn wrong_kind(at: &Place, found: &DeValue<'_>, allowed: &str) -> ConfigError {
    at.error(format!(
        "is of kind {}; allowed: {allowed}",
        found.type_str()
    ))
}

fn without_indices(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            match c {
                '[' => inside = true,
                ']' => {
                    inside = false;
                    return false;
                }
                _ => {}
            }
            !inside
        })
        .collect()
}
