//! `cargo planted`: plants typical errors and shows which tests notice them. See `orthrus_tests::planted`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use orthrus_tests::planted::{self, Options};

/// Plants typical errors, one at a time, and shows which tests notice them. Fails when one is noticed by none.
#[derive(Parser)]
struct Arguments {
    /// Only patches whose name contains this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// A folder with further patches; may be repeated.
    #[arg(long)]
    folder: Vec<PathBuf>,
    /// Only this tier: hb, sim, model, init or lab.
    #[arg(long)]
    tier: Option<String>,
    /// Also run the lab test that a patch names: minutes each.
    #[arg(long)]
    lab: bool,
    /// Seeds of the simulator, if not as many as in `cargo test`.
    #[arg(long)]
    seeds: Option<u64>,
    /// Limit of one tier on one patch, in seconds, if not ten times what it takes without one.
    #[arg(long)]
    limit: Option<u64>,
    /// Ask again what is known already of the same patch and sources.
    #[arg(long)]
    again: bool,
    /// Stop at the first tier that notices.
    #[arg(long)]
    first: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let lab = arguments.lab || arguments.tier.as_deref() == Some("lab");
    let caught = planted::check(&Options {
        only: arguments.only,
        folders: arguments.folder,
        tier: arguments.tier,
        lab,
        seeds: arguments.seeds,
        limit: arguments.limit.map(Duration::from_secs),
        again: arguments.again,
        first: arguments.first,
    })?;
    Ok(match caught {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
