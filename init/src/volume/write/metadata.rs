//! A volume group's metadata as a tree, to be changed and written back: what we do not know stays as it is.

use super::super::area::MOST_TEXT;
use super::super::group::{self, VolumeGroup};
use super::super::text::{self, Section, Value};
use super::super::uuid::Uuid;
use super::error::WriteError;

/// The section of a volume group.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The group's name.
    pub name: String,
    /// What stands in its section.
    pub body: Section,
}

/// Who writes, and why: for people, and for lvm2's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The head.
    pub host: String,
    /// Seconds since 1970, as far as this head knows.
    pub time: u64,
    /// What is done.
    pub description: String,
}

impl Metadata {
    /// The group of a text; `None` when it is none with an identity and a sequence number.
    pub fn parse(text: &str) -> Option<Metadata> {
        let top = text::parse(text).ok()?;
        let mut groups = top.into_iter().filter_map(|(name, value)| match value {
            Value::Section(body) => Some(Metadata { name, body }),
            _ => None,
        });
        let metadata = groups.next()?;
        if groups.next().is_some() || !group::is_name(&metadata.name) {
            return None;
        }
        (metadata.id().is_some() && metadata.seqno().is_some()).then_some(metadata)
    }

    /// The group's identity.
    pub fn id(&self) -> Option<Uuid> {
        id_of(&self.body)
    }

    /// Grows by one with each change.
    pub fn seqno(&self) -> Option<u64> {
        match self.body.get("seqno") {
            Some(Value::Number(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A text of the group.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.body.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The group's tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let tags = match self.body.get("tags") {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        tags.iter().filter_map(|tag| match tag {
            Value::Text(tag) => Some(tag.as_str()),
            _ => None,
        })
    }

    /// The members' sections, by the name that they have in the text.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Section)> {
        sections(&self.body, "physical_volumes")
    }

    /// The volumes' sections, by name; hidden ones too.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &Section)> {
        sections(&self.body, "logical_volumes")
    }

    /// The text that goes to the disks, with the NUL that ends it there.
    ///
    /// # Errors
    /// It is not what a reader would take for this group: in words.
    pub fn encode(&self, author: &Author) -> Result<String, String> {
        let mut top = Section::new();
        top.insert(self.name.clone(), Value::Section(self.body.clone()));
        let mut put = |key: &str, value| top.insert(key.to_owned(), value);
        // These two tell lvm2 the format; it refuses a text without them.
        put(
            "contents",
            Value::Text("Text Format Volume Group".to_owned()),
        );
        put("version", Value::Number(1));
        put("description", Value::Text(author.description.clone()));
        put("creation_host", Value::Text(author.host.clone()));
        let time = i64::try_from(author.time).unwrap_or(i64::MAX);
        put("creation_time", Value::Number(time));
        let mut text = text::format(&top);
        text.push('\0');
        if text.len() as u64 > MOST_TEXT {
            return Err(format!("they are longer than {} MiB", MOST_TEXT >> 20));
        }
        let plain = &text[..text.len() - 1];
        // As lvm2 does: what cannot be read back never gets to a disk.
        match VolumeGroup::parse(plain) {
            Err(error) => Err(error.to_string()),
            Ok(_) if Metadata::parse(plain).as_ref() != Some(self) => {
                Err("they read back differently".to_owned())
            }
            Ok(_) => Ok(text),
        }
    }
}

impl Metadata {
    /// The group of this text, on the disks that its members have in a group that was read.
    ///
    /// # Errors
    /// It is not what a reader would take for a group.
    pub fn group_on(&self, read: &VolumeGroup, author: &Author) -> Result<VolumeGroup, WriteError> {
        let text = self.encode(author).map_err(WriteError::Invalid)?;
        let parsed = VolumeGroup::parse(text.trim_end_matches('\0'));
        let mut group = parsed.map_err(|error| WriteError::Invalid(error.to_string()))?;
        for pv in &mut group.pvs {
            if let Some(known) = read.pvs.iter().find(|known| known.uuid == pv.uuid) {
                pv.disk.clone_from(&known.disk);
                pv.array.clone_from(&known.array);
            }
        }
        Ok(group)
    }
}

/// The identity that a section of a group, a member or a volume has.
pub(in crate::volume) fn id_of(section: &Section) -> Option<Uuid> {
    match section.get("id") {
        Some(Value::Text(text)) => Uuid::from_text(text),
        _ => None,
    }
}

fn sections<'a>(body: &'a Section, key: &str) -> impl Iterator<Item = (&'a str, &'a Section)> {
    let entries = match body.get(key) {
        Some(Value::Section(entries)) => Some(entries),
        _ => None,
    };
    let entries = entries.into_iter().flatten();
    entries.filter_map(|(name, value)| match value {
        Value::Section(section) => Some((name.as_str(), section)),
        _ => None,
    })
}
