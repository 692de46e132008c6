//! `cargo planted`: typical errors are planted one at a time, and the tests must notice each. A net that lets one
//! through proves nothing about the code that has none.
//!
//! The errors are patches in `tests/mutants`, and in any folder given beside it. Each is put into a copy of the
//! checkout and the tiers of tests run on it: [`tier`]. The checkout as it is must pass them all first, else
//! what they say of a patch means nothing.
//!
//! A patch begins with lines for the reader, of which two are read here as well:
//!
//! ```text
//! Nothing is read back after the claim: what the disk answered decides.
//! Breaks: I1
//! Lab: tgt::paused_owner_cannot_write_after_takeover
//! --- a/init/src/fence/claim.rs
//! +++ b/init/src/fence/claim.rs
//! ```
//!
//! What a tier said is remembered: [`memory`].
//!
//! `Breaks` names the invariants; `Lab` the lab test that `--lab` runs on it.

mod check;
mod memory;
mod patch;
mod table;
mod tier;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use orthrus_image::Workspace;

pub use check::check;
pub use patch::Patch;

/// What to run, and on what.
#[derive(Debug, Default)]
pub struct Options {
    /// Only patches whose name contains one of these, if there is any.
    pub only: Vec<String>,
    /// Folders with patches, beside the committed one.
    pub folders: Vec<PathBuf>,
    /// Only this tier.
    pub tier: Option<String>,
    /// The lab tests that the patches name, too.
    pub lab: bool,
    /// Seeds of the simulator, if not as many as in `cargo test`.
    pub seeds: Option<u64>,
    /// Limit of one tier on one patch, if it is not to follow from what the tier takes without one.
    pub limit: Option<Duration>,
    /// Ask again what is known already.
    pub again: bool,
    /// Stop at the first tier that notices.
    pub first: bool,
}

/// One planted error.
#[derive(Debug)]
pub struct Mutant {
    /// The file's name, without `.patch`.
    pub name: String,
    /// Which invariants it breaks.
    pub breaks: String,
    /// The lab test that must notice it.
    pub lab: Option<String>,
    /// The change.
    pub patch: Patch,
    /// The file's text.
    pub text: String,
}

impl Mutant {
    /// Reads one file.
    ///
    /// # Errors
    /// It cannot be read, or is not a patch.
    pub fn read(file: &Path) -> Result<Mutant> {
        let shown = || file.display().to_string();
        let text = fs::read_to_string(file).with_context(shown)?;
        let patch = Patch::parse(&text).with_context(shown)?;
        let name = file.file_stem().context("no name").with_context(shown)?;
        let said = |what: &str| {
            let line = patch
                .comment
                .iter()
                .find_map(|line| line.strip_prefix(what));
            line.map(|line| line.trim().to_owned())
        };
        Ok(Mutant {
            name: name.to_string_lossy().into_owned(),
            breaks: said("Breaks:").unwrap_or_default(),
            lab: said("Lab:"),
            patch,
            text,
        })
    }

    /// Whether it changes this folder of the checkout. The tests of a crate take the others for granted: the core's
    /// know nothing of the firmware, and the firmware's hold nothing against the core.
    pub fn touches(&self, folder: &str) -> bool {
        self.patch.files().any(|file| file.starts_with(folder))
    }
}

/// The committed patches and those of `folders`, by name.
///
/// # Errors
/// One of them is not a patch, or there is none.
pub fn mutants(workspace: &Workspace, folders: &[PathBuf]) -> Result<Vec<Mutant>> {
    let committed = workspace.root().join("tests/mutants");
    let mut mutants = Vec::new();
    for folder in [&committed].into_iter().chain(folders) {
        let entries: io::Result<Vec<_>> = fs::read_dir(folder)
            .with_context(|| folder.display().to_string())?
            .collect();
        let mut files: Vec<PathBuf> = entries?.iter().map(|entry| entry.path()).collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "patch")
        });
        files.sort();
        for file in files {
            mutants.push(Mutant::read(&file)?);
        }
    }
    ensure!(!mutants.is_empty(), "no patch in {}", committed.display());
    Ok(mutants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_patch_says_what_it_breaks_and_fits_the_checkout() {
        let workspace = Workspace::here().unwrap();
        let mut wrong = Vec::new();
        for mutant in mutants(&workspace, &[]).unwrap() {
            let said = mutant
                .patch
                .comment
                .first()
                .is_some_and(|line| !line.starts_with("Breaks"));
            if !said || mutant.breaks.is_empty() {
                wrong.push(format!("{}: does not say what it breaks", mutant.name));
            }
            if let Err(error) = mutant.patch.applied(workspace.root()) {
                wrong.push(format!("{}: {error:#}", mutant.name));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
