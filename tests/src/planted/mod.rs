//! `cargo planted`: typical errors are planted one at a time, and the tests must notice each. A net that lets one
//! through proves nothing about the code that has none.
//!
//! The errors are patches in `tests/mutants`, and in any folder given beside it. Each is put into a copy of the
//! checkout and the tiers of tests run on it: [`tier`]. The checkout as it is must pass them all first, else
//! what they say of a patch means nothing.
//!
//! A patch begins with lines for the reader, of which some are read here as well:
//!
//! ```text
//! Nothing is read back after the claim: what the disk answered decides.
//! Breaks: I1
//! Lab: tgt::paused_owner_cannot_write_after_takeover
//! --- a/init/src/fence/claim.rs
//! +++ b/init/src/fence/claim.rs
//! ```
//!
//! | line | says |
//! |---|---|
//! | `Breaks:` | the invariants |
//! | `Lab:` | the lab test that `--lab` runs on it |
//! | `Model: blind, REASON` | that the model cannot notice it, and why: an error of the core that it lets through needs one |
//! | `Seed: N` | the seed that failed before the core was mended (`ONCE_FAILED` in `hb/tests/sim/main.rs`): asked first, and must fail |
//!
//! The last two are held against what comes of the tiers, but for `--first`: [`objection`].
//!
//! What a tier said is remembered: [`memory`].

mod check;
mod memory;
mod objection;
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
    /// Why the model cannot notice it.
    pub blind: Option<String>,
    /// The seed of the simulator that found it.
    pub seed: Option<u64>,
    /// The change.
    pub patch: Patch,
    /// The file's text.
    pub text: String,
}

impl Mutant {
    /// Reads one file.
    ///
    /// # Errors
    /// It cannot be read, or is not a patch, or one of its lines says nothing.
    pub fn read(file: &Path) -> Result<Mutant> {
        let shown = || file.display().to_string();
        let text = fs::read_to_string(file).with_context(shown)?;
        let name = file.file_stem().context("no name").with_context(shown)?;
        Mutant::parse(name.to_string_lossy().into_owned(), text).with_context(shown)
    }

    fn parse(name: String, text: String) -> Result<Mutant> {
        let patch = Patch::parse(&text)?;
        let said = |what: &str| {
            let mut lines = patch.comment.iter();
            let line = lines.find_map(|line| line.strip_prefix(what));
            line.map(|line| line.trim().to_owned())
        };
        let blind = said("Model:").map(|line| {
            let reason = line.strip_prefix("blind,").map(str::trim);
            let reason = reason.filter(|reason| !reason.is_empty());
            reason.map(str::to_owned).with_context(|| {
                format!("`Model: {line}`: it is either noticed there, or `blind, REASON`")
            })
        });
        let seed = said("Seed:").map(|line| {
            let digits = line.replace('_', "");
            let seed = digits.parse::<u64>();
            seed.with_context(|| format!("`Seed: {line}`: a number, as the simulator prints it"))
        });
        Ok(Mutant {
            name,
            breaks: said("Breaks:").unwrap_or_default(),
            lab: said("Lab:"),
            blind: blind.transpose()?,
            seed: seed.transpose()?,
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

    /// Seeds of the simulator's list.
    fn once_failed(workspace: &Workspace) -> Vec<u64> {
        let file = workspace.root().join("hb/tests/sim/main.rs");
        let text = fs::read_to_string(file).unwrap().replace('_', "");
        let list = text.split_once("ONCEFAILED: &[").unwrap().1;
        let list = list.split_once("];").unwrap().0.split('(').skip(1);
        let numbers = list.filter_map(|entry| entry.split_once(',')?.0.trim().parse().ok());
        numbers.collect()
    }

    const CHANGE: &str = "--- a/hb/src/x\n+++ b/hb/src/x\n@@ @@\n-one\n+two\n";

    fn parse(lines: &str) -> Result<Mutant> {
        Mutant::parse("one".into(), format!("Says why.\n{lines}{CHANGE}"))
    }

    #[test]
    fn a_patch_says_why_the_model_is_blind_to_it_and_which_seed_found_it() {
        let plain = parse("Breaks: I4\n").unwrap();
        assert_eq!((plain.blind.as_deref(), plain.seed), (None, None));
        assert!(plain.claims().core);
        let all = parse("Breaks: I4\nModel: blind, two pools\nSeed: 1_795_975\n").unwrap();
        assert_eq!(all.blind.as_deref(), Some("two pools"));
        assert_eq!((all.seed, &*all.breaks), (Some(1_795_975), "I4"));
    }

    #[test]
    fn a_line_without_a_reason_or_a_number_is_refused() {
        for line in [
            "Model:",
            "Model: blind",
            "Model: blind,",
            "Model: sees it",
            "Seed:",
            "Seed: none",
        ] {
            assert!(parse(&format!("{line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn every_committed_patch_says_what_it_breaks_and_fits_the_checkout() {
        let workspace = Workspace::here().unwrap();
        let mut wrong = Vec::new();
        let once_failed = once_failed(&workspace);
        for mutant in mutants(&workspace, &[]).unwrap() {
            let said = mutant
                .patch
                .comment
                .first()
                .is_some_and(|line| !line.starts_with("Breaks"));
            if !said || mutant.breaks.is_empty() {
                wrong.push(format!("{}: does not say what it breaks", mutant.name));
            }
            let claims = mutant.claims();
            if claims.blind.is_some() && !claims.core {
                wrong.push(format!("{}: the model is of the core alone", mutant.name));
            }
            if mutant.seed.is_some_and(|seed| !once_failed.contains(&seed)) {
                wrong.push(format!("{}: its seed never failed", mutant.name));
            }
            if let Err(error) = mutant.patch.applied(workspace.root()) {
                wrong.push(format!("{}: {error:#}", mutant.name));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
