//! The inputs that are kept: those of `seeds`, and files of `corpus/TARGET/`, named by what they show.

use std::cmp::Reverse;
use std::collections::BTreeSet;
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

/// Seeds first, then files in the order of their names.
pub fn load(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs = seeds::of(target);
    let files = fs::read_dir(folder(target)).into_iter().flatten();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        inputs.push((name, fs::read(&file).unwrap()));
    }
    inputs
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
