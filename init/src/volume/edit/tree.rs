//! Words for the text's tree: what lvm2's export writes for a volume, as values.

use super::super::text::{Section, Value};

/// A text.
pub fn text(words: impl Into<String>) -> Value {
    Value::Text(words.into())
}

/// A list of texts.
pub fn texts(words: &[&str]) -> Value {
    Value::List(words.iter().map(|word| text(*word)).collect())
}

/// A number; metadata have none that does not fit.
pub fn value(number: u64) -> Value {
    Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A section of these entries.
pub fn section<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Section {
    let entries = entries.into_iter();
    entries
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The number with this name.
pub fn number(section: &Section, key: &str) -> Option<u64> {
    match section.get(key) {
        Some(Value::Number(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The text with this name.
pub fn word<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
    match section.get(key) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// The list with this name; empty where there is none.
pub fn list<'a>(section: &'a Section, key: &str) -> &'a [Value] {
    match section.get(key) {
        Some(Value::List(list)) => list,
        _ => &[],
    }
}

/// Whether a list of words has this one.
pub fn has(section: &Section, key: &str, word: &str) -> bool {
    let is = |value: &Value| matches!(value, Value::Text(text) if text == word);
    match section.get(key) {
        Some(Value::List(list)) => list.iter().any(is),
        Some(value) => is(value),
        None => false,
    }
}

/// Adds a word to a list, or takes it away.
pub fn set_word(section: &mut Section, key: &str, word: &str, wanted: bool) {
    let mut list = list(section, key).to_vec();
    list.retain(|value| !matches!(value, Value::Text(text) if text == word));
    if wanted {
        list.push(text(word));
    }
    section.insert(key.to_owned(), Value::List(list));
}

/// The section with this name.
pub fn section_mut<'a>(section: &'a mut Section, key: &str) -> Option<&'a mut Section> {
    match section.get_mut(key) {
        Some(Value::Section(inner)) => Some(inner),
        _ => None,
    }
}

/// The segments of a volume, in order.
pub fn segments(volume: &Section) -> impl Iterator<Item = &Section> {
    let count = number(volume, "segment_count").unwrap_or(0);
    (1..=count).map_while(|index| match volume.get(&format!("segment{index}")) {
        Some(Value::Section(segment)) => Some(segment),
        _ => None,
    })
}

/// The extents of a volume.
pub fn extents(volume: &Section) -> u64 {
    let lengths = segments(volume).filter_map(|segment| number(segment, "extent_count"));
    lengths.fold(0, u64::saturating_add)
}

/// The type of a volume that has one segment, or segments of one type.
pub fn kind(volume: &Section) -> Option<&str> {
    let mut kinds = segments(volume).map(|segment| word(segment, "type"));
    let first = kinds.next()??;
    kinds.all(|kind| kind == Some(first)).then_some(first)
}

/// What a segment's entries refer to by the names of volumes, in lvm2's exports of all kinds.
const REFERENCES: [&str; 19] = [
    "stripes",
    "mirrors",
    "raids",
    "raid0_lvs",
    "mirror_log",
    "metadata",
    "pool",
    "thin_pool",
    "origin",
    "external_origin",
    "merge",
    "cow_store",
    "merging_store",
    "cache_pool",
    "data",
    "writecache",
    "vdo_pool",
    "meta_dev",
    "create",
];

/// Where a name is a member's, if there is a member of that name, and else a volume's: lvm2 takes a volume that is called `pv0` as
/// well, and looks for the member first.
const AREAS: [&str; 2] = ["stripes", "mirrors"];

/// Every name of a volume or a member that a segment refers to.
pub fn references(segment: &Section) -> Vec<&str> {
    let named = named(segment).into_iter();
    named.map(|(_, name)| name).collect()
}

/// Every name of a volume that a segment refers to, of a group with these members.
pub fn volumes<'a>(segment: &'a Section, is_member: &impl Fn(&str) -> bool) -> Vec<&'a str> {
    let named = named(segment).into_iter();
    let of_volumes = named.filter(|(key, name)| !(AREAS.contains(key) && is_member(name)));
    of_volumes.map(|(_, name)| name).collect()
}

/// Whether a segment has extents of the member with this name.
pub fn is_on(segment: &Section, member: &str) -> bool {
    let mut named = named(segment).into_iter();
    named.any(|(key, name)| AREAS.contains(&key) && name == member)
}

/// Every name that a segment refers to, with the entry that does.
fn named(segment: &Section) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (key, value) in segment {
        match value {
            Value::Section(inner) => found.extend(named(inner)),
            Value::Text(name) if REFERENCES.contains(&key.as_str()) => {
                found.push((key.as_str(), name.as_str()));
            }
            Value::List(list) if REFERENCES.contains(&key.as_str()) => {
                found.extend(list.iter().filter_map(|value| match value {
                    Value::Text(name) => Some((key.as_str(), name.as_str())),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    found
}

/// Puts another name in the place of a volume's, wherever a segment of a group with these members refers to it.
pub fn rename(
    segment: &mut Section,
    is_member: &impl Fn(&str) -> bool,
    change: &impl Fn(&str) -> Option<String>,
) {
    for (key, value) in segment {
        let is_reference = REFERENCES.contains(&key.as_str());
        let of_volume = |name: &str| !(AREAS.contains(&key.as_str()) && is_member(name));
        let renamed = |name: &str| change(name).filter(|_| of_volume(name));
        match value {
            Value::Section(inner) => rename(inner, is_member, change),
            Value::Text(name) if is_reference => {
                if let Some(new) = renamed(name) {
                    *name = new;
                }
            }
            Value::List(list) if is_reference => {
                for value in list {
                    if let Value::Text(name) = value
                        && let Some(new) = renamed(name)
                    {
                        *name = new;
                    }
                }
            }
            _ => {}
        }
    }
}
