//! The inputs that are kept: those of `seeds`, and files of `corpus/TARGET/`, named by what they show.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::mutate::minimise;
use crate::{Target, observe, seeds};

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

/// Writes to `to` what shows more than the seeds do: of the inputs that show a thing the shortest one, made as
/// small as it goes, and of these only such as others leave something for.
pub fn keep(target: &Target, found: &[Vec<u8>], to: &Path) -> usize {
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    for (_, seed) in seeds::of(target.name) {
        known.extend(observe(target, &seed));
    }
    let mut sorted: Vec<&Vec<u8>> = found.iter().collect();
    sorted.sort_by_key(|input| input.len());
    fs::create_dir_all(to).unwrap();
    let mut kept = 0;
    for input in sorted {
        let shown = observe(target, input);
        // Ways from state to state guide the search and are too many to keep a file for each.
        let way = |name: &str| name.starts_with("way ") || name.contains(" leads to ");
        let new = |name: &str| !way(name) && !known.values().any(|known| known == name);
        let Some((&feature, name)) = shown.iter().find(|(_, name)| new(name)) else {
            continue;
        };
        let small = minimise(input, |input| observe(target, input).contains_key(&feature));
        fs::write(to.join(file_name(name)), &small).unwrap();
        known.extend(observe(target, &small));
        kept += 1;
    }
    kept
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
