//! A build without its safeguard must fail the test of that safeguard: else the test proves nothing.
//!
//! The mutant is made from a copy of the checkout by a replacement that must fit exactly once. There
//! are no switches in the code itself that could be left on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use orthrus_image::firmware::{self, Variant};
use orthrus_image::{Tools, Workspace};
use orthrus_qemu::Lab;
use orthrus_qemu::names::ShelfKind;
use orthrus_qemu::spec::Options;
use orthrus_tests::{Bench, lab_options};

use crate::pause::stop_and_go;

/// Many times what the takeover of a real build takes on such a shelf; a mutant that never takes over
/// is waited for this long.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(60);

/// What a build of PID 1 consists of.
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

pub fn without_preempt(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.clear()?;
    let workspace = Workspace::here()?;
    let source = workspace.images().join("no-preempt/source");
    copy_checkout(&workspace, &source)?;
    replace_once(
        &source.join("init/src/fence/take.rs"),
        "Next::Preempt { victim } => self.preempt(victim),",
        // The victim is never our own key.
        "Next::Preempt { victim } if victim == self.key => self.preempt(victim),
            Next::Preempt { .. } => Answer::Good,",
    )?;
    let variant = Variant {
        name: "no-preempt",
        source: Some(&source),
    };
    let mutant = firmware::build_variant(&workspace, &Tools::ensure(&workspace)?, variant)?;
    let lab = Lab::up(&Options {
        shelf,
        firmware: Some((mutant.kernel, mutant.initrd)),
        ..lab_options()
    })?;
    let told = fails_as_it_must(&lab).map_err(|error| error.context(lab.trouble()));
    lab.down()?;
    told
}

fn fails_as_it_must(lab: &Lab) -> Result<()> {
    let first = lab.owner(None)?;
    let outcome = stop_and_go(lab, "without preempt", TAKEOVER_LIMIT, |owner| {
        lab.pause(owner)
    });
    let Err(error) = outcome else {
        bail!("the test passes without its safeguard")
    };
    println!("    without preempt: {}", error.root_cause());
    // For the right reason: the read-back shows that the former owner is still there.
    let pools = lab.tell_ok(first.peer(), "pools")?;
    ensure!(
        pools.contains("PREEMPT has no effect"),
        "it failed for another reason: {pools}"
    );
    Ok(())
}

fn copy_checkout(workspace: &Workspace, to: &Path) -> Result<()> {
    for name in SOURCES {
        copy(&workspace.root().join(name), &to.join(name))?;
    }
    Ok(())
}

/// Copies a file, or a folder with all that is in it. What has not changed is left, so that cargo does
/// not build it again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        let bytes = fs::read(from).with_context(|| from.display().to_string())?;
        if fs::read(to).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(to.parent().context("no folder")?)?;
            fs::write(to, bytes).with_context(|| to.display().to_string())?;
        }
        return Ok(());
    }
    let entries: Vec<PathBuf> = fs::read_dir(from)
        .with_context(|| from.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    for entry in entries {
        let name = entry.file_name().context("no name")?;
        copy(&entry, &to.join(name))?;
    }
    Ok(())
}

fn replace_once(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    ensure!(
        text.matches(from).count() == 1,
        "{from:?} is not in {} once",
        file.display()
    );
    fs::write(file, text.replace(from, to))?;
    Ok(())
}
