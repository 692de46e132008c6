//! The inputs that are kept: those of `seeds`, and files of `corpus/TARGET/`, named by what they show.
//!
//! A file that shows no more what it is named by is of no use where it lies: the format or the core has moved on from under
//! it, and it is found anew or taken away. So its name is held against what it shows, up to the first dot: behind that
//! stands whatever tells two files apart that show the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::mutate::minimise;
use crate::{Target, observe, seeds};

/// Files of a target that are kept at most.
const FILES_MAX: usize = 12;

/// The committed files of a target.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target)
}

/// Seeds first, then files in the order of their names. A checkout without its files is an error: it would replay nothing,
/// and pass.
pub fn load(target: &str) -> Result<Vec<(Origin, Vec<u8>)>, String> {
    let seeds = seeds::of(target).into_iter();
    let mut inputs: Vec<_> = seeds
        .map(|(name, input)| (Origin::Seed(name), input))
        .collect();
    let folder = folder(target);
    let files = fs::read_dir(&folder);
    let mut files: Vec<PathBuf> = match files {
        Ok(files) => files.map(|entry| entry.unwrap().path()).collect(),
        Err(error) => return Err(nothing_in(&folder, &error.to_string())),
    };
    if files.is_empty() {
        return Err(nothing_in(&folder, "no file is there"));
    }
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let input = fs::read(&file).map_err(|error| nothing_in(&file, &error.to_string()))?;
        inputs.push((Origin::File(name.into_owned()), input));
    }
    Ok(inputs)
}

fn nothing_in(path: &Path, why: &str) -> String {
    format!(
        "{}: {why}; the corpus is part of the checkout: get it back, or find a new one with `--minutes` and `--keep`",
        path.display()
    )
}

/// Where an input of the corpus is from, and what it is called there.
pub enum Origin {
    Seed(String),
    File(String),
}

impl Origin {
    pub fn name(&self) -> &str {
        match self {
            Origin::Seed(name) | Origin::File(name) => name,
        }
    }

    /// Whether it shows what it is named by. Seeds are named for the reader.
    pub fn still_shows(&self, features: &BTreeMap<u64, String>) -> bool {
        let Origin::File(name) = self else {
            return true;
        };
        let named_by = name.split('.').next().unwrap_or_default();
        features
            .values()
            .any(|feature| file_name(feature) == named_by)
    }
}

/// Writes to `to` what shows more than the seeds do: again and again the input that shows most that no other one of
/// them does, made as small as it goes. How many there are.
pub fn keep(target: &Target, found: &[Vec<u8>], to: &Path) -> usize {
    let mut known = BTreeSet::new();
    for (_, seed) in seeds::of(target.name) {
        known.extend(named(target, &seed));
    }
    let mut shown: Vec<BTreeSet<String>> = found.iter().map(|input| named(target, input)).collect();
    fs::create_dir_all(to).unwrap();
    for kept in 0..FILES_MAX {
        for names in &mut shown {
            names.retain(|name| !known.contains(name));
        }
        let best = shown
            .iter()
            .zip(found)
            .max_by_key(|(names, input)| (names.len(), Reverse(input.len())));
        let Some((new, input)) = best.filter(|(new, _)| !new.is_empty()) else {
            return kept;
        };
        let small = minimise(input, |input| named(target, input).is_superset(new));
        let name = new.first().map_or_else(String::new, |name| file_name(name));
        fs::write(to.join(name), &small).unwrap();
        known.extend(named(target, &small));
    }
    FILES_MAX
}

/// What an input shows that is worth a file. Ways from state to state guide the search and are too many.
fn named(target: &Target, input: &[u8]) -> BTreeSet<String> {
    let names = observe(target, input).into_values();
    names
        .filter(|name| !name.starts_with("way ") && !name.contains(" leads to "))
        .collect()
}

fn file_name(feature: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = feature.chars().map(plain).collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(80).collect()
}
