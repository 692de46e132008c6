//! A copy of the checkout to be broken on purpose. There are no switches in the code itself that could be left on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a build consists of.
const SOURCES: [&str; 8] = [
    ".cargo",
    "Cargo.toml",
    "Cargo.lock",
    "hb",
    "init",
    "image",
    "qemu",
    "tests",
];

/// Makes `to` a copy of the sources of the checkout at `from`. What is equal already is left, so that cargo does not build it
/// again; what the checkout has no more is removed, so that it is not built instead.
///
/// # Errors
/// Names the file.
pub fn mirror(from: &Path, to: &Path) -> Result<()> {
    for name in SOURCES {
        copy(&from.join(name), &to.join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        let bytes = fs::read(from).with_context(|| from.display().to_string())?;
        if fs::read(to).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(to.parent().context("no folder")?)?;
            fs::write(to, bytes).with_context(|| to.display().to_string())?;
        }
        return Ok(());
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
        names.insert(name);
    }
    // An empty folder was not copied.
    for entry in fs::read_dir(to).into_iter().flatten() {
        let entry = entry?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        }
        .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
