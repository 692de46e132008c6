//! A build without its safeguard must fail the test of that safeguard: else the test proves nothing.
//!
//! The mutant is one of those of `cargo planted`, which plants it for the faster tests too.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use orthrus_image::firmware::{self, Variant};
use orthrus_image::{Tools, Workspace};
use orthrus_qemu::Lab;
use orthrus_qemu::names::ShelfKind;
use orthrus_qemu::spec::Options;
use orthrus_tests::planted::Mutant;
use orthrus_tests::{Bench, checkout, lab_options};

use crate::pause::stop_and_go;

/// Many times what the takeover of a real build takes on such a shelf; a mutant that never takes over
/// is waited for this long.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(60);

pub fn without_preempt(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let workspace = Workspace::here()?;
    let source = workspace.images().join("no-preempt/source");
    checkout::mirror(workspace.root(), &source)?;
    let patch = workspace.root().join("tests/mutants/no-preempt.patch");
    Mutant::read(&patch)?.patch.apply(&source)?;
    let variant = Variant {
        name: "no-preempt",
        source: Some(&source),
    };
    let mutant = firmware::build_variant(&workspace, &Tools::ensure(&workspace)?, variant)?;
    bench.alone(
        &Options {
            shelf,
            firmware: Some((mutant.kernel, mutant.initrd)),
            ..lab_options()
        },
        fails_as_it_must,
    )
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
