//! Tables of device-mapper as `dmsetup` prints them, in a form in which two activations can be compared.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// Where the number of a device stands behind a word.
const META_DEVICE: &str = "meta_device:";

/// Replaces the numbers of device-mapper's devices by their names; `info` has lines of name, major and minor number, uuid
/// and whether it takes writes. The lines come back in the order of the names, after a line of uuid and writability each.
///
/// A cache's policy `mq` is shown as `smq`, of which it is the kernel's other name: lvm2 2.03.31 says the former of a
/// cache on one volume whatever its metadata say, later ones what they say.
///
/// # Errors
/// Something that `dmsetup` does not print.
pub fn by_name(tables: &str, info: &str) -> Result<String> {
    let mut names = BTreeMap::new();
    let mut lines = Vec::new();
    for line in info.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split(':').collect();
        let [name, major, minor, uuid, writable] = words[..] else {
            anyhow::bail!("{line:?} is no name with numbers, uuid and writability");
        };
        lines.push((name, format!("{uuid} {writable}")));
        names.insert(format!("{major}:{minor}"), name);
    }
    let name_of = |number: &'_ str| {
        names
            .get(number)
            .copied()
            .map_or(number.to_owned(), str::to_owned)
    };
    for line in tables.lines().filter(|line| !line.trim().is_empty()) {
        let (name, table) = line
            .split_once(": ")
            .with_context(|| format!("{line:?} is no table"))?;
        let words = table.split_ascii_whitespace();
        let mut words: Vec<String> = words
            .map(|word| match word.strip_prefix(META_DEVICE) {
                Some(number) => format!("{META_DEVICE}{}", name_of(number)),
                None => name_of(word),
            })
            .collect();
        if words.get(2).is_some_and(|target| target == "cache") {
            for word in words.iter_mut().filter(|word| *word == "mq") {
                *word = "smq".to_owned();
            }
        }
        lines.push((name, words.join(" ")));
    }
    // The lines of one table stay in their order.
    lines.sort_by(|one, other| one.0.cmp(other.0));
    Ok(lines
        .iter()
        .map(|(name, table)| format!("{name}: {table}\n"))
        .collect())
}

/// What is in one and not in the other.
pub fn difference(lvm: &str, ours: &str) -> String {
    let missing = |from: &str, other: &str, mark: &str| -> String {
        from.lines()
            .filter(|line| !other.lines().any(|same| same == *line))
            .map(|line| format!("{mark} {line}\n"))
            .collect()
    };
    missing(lvm, ours, "lvm2:") + &missing(ours, lvm, "ours:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_names_and_disks_keep_theirs() {
        let tables =
            "k-v: 0 8 linear 253:1 0\nk-a: 0 4 linear 254:0 2048\nk-a: 4 4 linear 254:16 9 \n";
        let info = "k-v:253:0:LVM-1:Writeable\nk-a:253:1:LVM-2:Read-only\n";
        assert_eq!(
            by_name(tables, info).unwrap(),
            "k-a: LVM-2 Read-only\nk-a: 0 4 linear 254:0 2048\nk-a: 4 4 linear 254:16 9\n\
             k-v: LVM-1 Writeable\nk-v: 0 8 linear k-a 0\n"
        );
        assert!(by_name("No devices found", "").is_err());
        let checked = by_name("k-v: 0 8 integrity 253:0 0 4 J 1 meta_device:253:1", info).unwrap();
        assert!(checked.ends_with("k-v: 0 8 integrity k-v 0 4 J 1 meta_device:k-a\n"));
        let cache = by_name("k-v: 0 8 cache 1:1 1:2 1:3 128 1 metadata2 mq 0", "").unwrap();
        assert_eq!(cache, "k-v: 0 8 cache 1:1 1:2 1:3 128 1 metadata2 smq 0\n");
    }

    #[test]
    fn a_difference_names_both_sides() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), "");
        assert_eq!(difference("a\nb\n", "a\nc\n"), "lvm2: b\nours: c\n");
    }
}
