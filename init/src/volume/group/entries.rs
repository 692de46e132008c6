//! A section of the text with its name, so that errors can say where they are.
//!
//! No entry is read twice in two ways: a number is a number, and one that does not fit is an error.

use std::collections::HashMap;

use super::error::{GroupError, nonsense};
use super::segment::Area;
use crate::volume::text::{Section, Value};
use crate::volume::uuid::Uuid;

/// A section with the names that it may refer to.
pub(super) struct Entries<'a> {
    /// What errors call it.
    pub name: &'a str,
    pub section: &'a Section,
}

/// Names that a segment may refer to, and their indices.
#[derive(Default)]
pub(super) struct Names<'a> {
    pub pvs: HashMap<&'a str, usize>,
    pub lvs: HashMap<&'a str, usize>,
}

impl<'a> Entries<'a> {
    pub fn missing(&self, name: &'static str, kind: &'static str) -> GroupError {
        GroupError::Entry {
            section: self.name.to_owned(),
            name,
            kind,
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.section.get(key).is_some()
    }

    pub fn number(&self, key: &'static str) -> Result<u64, GroupError> {
        match self.section.get(key) {
            Some(Value::Number(number)) => {
                u64::try_from(*number).map_err(|_| self.missing(key, "positive number"))
            }
            _ => Err(self.missing(key, "number")),
        }
    }

    /// `None` when there is no such entry.
    pub fn optional_number(&self, key: &'static str) -> Result<Option<u64>, GroupError> {
        self.has(key).then(|| self.number(key)).transpose()
    }

    /// A number of 32 bits, as most of lvm2's are; zero when there is no such entry.
    pub fn small_or_zero(&self, key: &'static str) -> Result<u32, GroupError> {
        let number = self.optional_number(key)?.unwrap_or(0);
        u32::try_from(number).map_err(|_| self.missing(key, "number of 32 bits"))
    }

    /// A number of 32 bits.
    pub fn small(&self, key: &'static str) -> Result<u32, GroupError> {
        u32::try_from(self.number(key)?).map_err(|_| self.missing(key, "number of 32 bits"))
    }

    pub fn optional_text(&self, key: &str) -> Option<&'a str> {
        match self.section.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn text(&self, key: &'static str) -> Result<&'a str, GroupError> {
        self.optional_text(key)
            .ok_or_else(|| self.missing(key, "text"))
    }

    pub fn uuid(&self, key: &'static str) -> Result<Uuid, GroupError> {
        Uuid::from_text(self.text(key)?).ok_or_else(|| self.missing(key, "uuid"))
    }

    /// A list of words; a single word may stand without brackets.
    pub fn list(&self, key: &'static str) -> Result<Vec<String>, GroupError> {
        let word = |value: &Value| match value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.missing(key, "list of words")),
        };
        match self.section.get(key) {
            Some(Value::List(list)) => list.iter().map(word).collect(),
            Some(value) => Ok(vec![word(value)?]),
            None => Err(self.missing(key, "list of words")),
        }
    }

    /// The same; empty when there is no such entry.
    pub fn list_or_empty(&self, key: &'static str) -> Result<Vec<String>, GroupError> {
        if self.has(key) {
            self.list(key)
        } else {
            Ok(Vec::new())
        }
    }

    pub fn sections(&self, key: &'static str) -> Result<Vec<Entries<'a>>, GroupError> {
        let Some(Value::Section(section)) = self.section.get(key) else {
            return Err(self.missing(key, "section"));
        };
        let sections = section.iter().map(|(name, value)| match value {
            Value::Section(section) => Ok(Entries { name, section }),
            _ => Err(nonsense(key, "it holds something else than sections")),
        });
        sections.collect()
    }

    /// The logical volume that this entry names.
    pub fn lv(&self, key: &'static str, names: &Names<'_>) -> Result<usize, GroupError> {
        let known = names.lvs.get(self.text(key)?);
        known
            .copied()
            .ok_or_else(|| self.missing(key, "name of a volume"))
    }

    /// The logical volume that this entry names; `None` when there is no such entry.
    pub fn optional_lv(
        &self,
        key: &'static str,
        names: &Names<'_>,
    ) -> Result<Option<usize>, GroupError> {
        self.has(key).then(|| self.lv(key, names)).transpose()
    }

    /// A list of pairs of a volume, physical or logical, and an extent in it.
    pub fn areas(&self, key: &'static str, names: &Names<'_>) -> Result<Vec<Area>, GroupError> {
        let Some(Value::List(list)) = self.section.get(key) else {
            return Err(self.missing(key, "list"));
        };
        let area = |pair: &[Value]| {
            let [Value::Text(name), Value::Number(extent)] = pair else {
                return None;
            };
            let extent = u64::from(u32::try_from(*extent).ok()?);
            // As lvm2 looks: a physical volume's name first.
            match (names.pvs.get(name.as_str()), names.lvs.get(name.as_str())) {
                (Some(pv), _) => Some(Area::Pv { pv: *pv, extent }),
                (None, Some(lv)) => Some(Area::Lv { lv: *lv, extent }),
                (None, None) => None,
            }
        };
        let areas: Option<Vec<Area>> = list.chunks(2).map(area).collect();
        areas
            .filter(|areas| !areas.is_empty())
            .ok_or_else(|| self.missing(key, "list of volumes with an extent each"))
    }
}
