//! What a tier said of an error is kept in `target/planted/said`, for as long as nothing changes of which the tier is made:
//! the whole table takes hours, and a machine is seldom left alone for as long.
//!
//! A run that was broken off goes on where it was. `--again` asks anew.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::tier::{Outcome, Said, Tier};

/// What every crate is built with.
const OF_ALL: [&str; 3] = [".cargo", "Cargo.lock", "Cargo.toml"];

/// What was said before.
pub struct Memory {
    folder: PathBuf,
    /// The checkout without errors.
    original: PathBuf,
    /// Nothing of it counts.
    again: bool,
}

impl Memory {
    /// `folder` need not exist.
    pub fn new(folder: PathBuf, original: PathBuf, again: bool) -> Memory {
        Memory {
            folder,
            original,
            again,
        }
    }

    /// What the tier said of this patch on the same sources.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn recall(&self, tier: &Tier, patch: &str) -> Result<Option<Said>> {
        let Some(file) = self.file(tier, patch)? else {
            return Ok(None);
        };
        if self.again || !file.exists() {
            return Ok(None);
        }
        let shown = || file.display().to_string();
        let text = fs::read_to_string(&file).with_context(shown)?;
        let value = serde_json::from_str(&text).with_context(shown)?;
        Ok(said(&value))
    }

    /// Keeps what it said.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, tier: &Tier, patch: &str, said: &Said) -> Result<()> {
        let Some(file) = self.file(tier, patch)? else {
            return Ok(());
        };
        let (outcome, what) = match &said.outcome {
            Outcome::Passed => ("passed", &[] as &[String]),
            Outcome::Noticed(what) => ("noticed", &what[..]),
            Outcome::TimedOut(_) => return Ok(()), // it says as much of the machine
        };
        let value = json!({ "outcome": outcome, "what": what, "ms": millis(said.took) });
        fs::create_dir_all(&self.folder)?;
        fs::write(&file, value.to_string()).with_context(|| file.display().to_string())
    }

    /// `None` for a tier of which nothing is remembered.
    fn file(&self, tier: &Tier, patch: &str) -> Result<Option<PathBuf>> {
        if tier.made_of.is_empty() {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        (patch, tier.name, &tier.arguments).hash(&mut hasher);
        for name in OF_ALL.iter().chain(tier.made_of) {
            digest(&self.original.join(name), &mut hasher)?;
        }
        let name = format!("{}-{:016x}.json", tier.name, hasher.finish());
        Ok(Some(self.folder.join(name)))
    }
}

fn said(value: &Value) -> Option<Said> {
    let took = Duration::from_millis(value["ms"].as_u64()?);
    let what = value["what"].as_array()?.iter().filter_map(Value::as_str);
    let outcome = match value["outcome"].as_str()? {
        "passed" => Outcome::Passed,
        "noticed" => Outcome::Noticed(what.map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Said { outcome, took })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// All files below a path, by name and contents.
fn digest(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let shown = || path.display().to_string();
    if path.is_file() {
        (path.file_name(), fs::read(path).with_context(shown)?).hash(hasher);
        return Ok(());
    }
    if !path.is_dir() {
        bail!("{} is neither a file nor a folder", path.display());
    }
    let entries = fs::read_dir(path).with_context(shown)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    (path.file_name(), paths.len()).hash(hasher);
    paths.iter().try_for_each(|path| digest(path, hasher))
}

#[cfg(test)]
mod tests {
    use super::super::tier::tiers;
    use super::*;

    #[test]
    fn what_was_said_is_known_until_the_patch_or_a_source_changes() {
        let root = std::env::temp_dir().join(format!("planted-memory-{}", std::process::id()));
        let source = root.join("source");
        for (name, text) in [
            ("Cargo.lock", "1"),
            ("Cargo.toml", "1"),
            (".cargo/config.toml", "1"),
            ("hb/Cargo.toml", "1"),
            ("hb/src/lib.rs", "1"),
            ("hb/tests/pair/main.rs", "1"),
            ("hb/tests/fuzz/main.rs", "1"),
            ("init/src/lib.rs", "1"),
        ] {
            let file = source.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let tiers = tiers(&source, None);
        let find = |name| tiers.iter().find(|tier| tier.name == name).unwrap();
        let (hb, init) = (find("hb"), find("init"));
        let memory = Memory::new(root.join("said"), source.clone(), false);
        let knows = |tier, patch| memory.recall(tier, patch).unwrap();
        for tier in [hb, init] {
            assert!(knows(tier, "a").is_none());
            let said = Said {
                outcome: Outcome::Noticed(vec!["one".into(), "two".into()]),
                took: Duration::from_secs(3),
            };
            memory.keep(tier, "a", &said).unwrap();
            let known = knows(tier, "a").unwrap();
            assert_eq!(known.took, said.took);
            assert!(matches!(known.outcome, Outcome::Noticed(what) if what == ["one", "two"]));
            assert!(knows(tier, "b").is_none());
        }
        fs::write(source.join("init/src/lib.rs"), "2").unwrap();
        assert!(knows(hb, "a").is_some() && knows(init, "a").is_none());
        fs::write(source.join("hb/src/lib.rs"), "2").unwrap();
        assert!(knows(hb, "a").is_none());
        fs::write(source.join("hb/src/lib.rs"), "1").unwrap();
        let again = Memory::new(root.join("said"), source.clone(), true);
        assert!(knows(hb, "a").is_some() && again.recall(hb, "a").unwrap().is_none());
        fs::remove_dir_all(root).unwrap();
    }
}
