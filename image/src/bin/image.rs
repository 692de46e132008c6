//! `cargo image`: builds the firmware and prints what was made.
//! `cargo image tool NAME ARGS...` runs a program of the tree of tools.

use std::{fs, os::unix::process::CommandExt as _, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use orthrus_image::{Tools, Workspace};

/// Builds the firmware image.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the lab's client image.
    Client,
    /// Run a program of the tree of tools, such as `qemu-img`.
    Tool {
        /// The program's name.
        name: String,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let workspace = Workspace::here()?;
    let tools = Tools::ensure(&workspace)?;
    match arguments.verb {
        None => {
            let firmware = orthrus_image::firmware::build(&workspace, &tools)?;
            report(&workspace, &firmware.artefacts())?;
        }
        Some(Verb::Client) => {
            let client = orthrus_image::client::build(&workspace, &tools)?;
            report(&workspace, &client.artefacts())?;
        }
        Some(Verb::Tool { name, arguments }) => {
            let error = tools.command(&name)?.args(arguments).exec();
            return Err(error).with_context(|| format!("run {name}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line an artefact: what, where, how large, how long its step took.
fn report(workspace: &Workspace, artefacts: &[(&str, &Path, Option<f32>)]) -> Result<()> {
    for (name, path, seconds) in artefacts {
        let bytes = fs::metadata(path)
            .with_context(|| format!("look at {}", path.display()))?
            .len();
        let shown = path
            .strip_prefix(workspace.root())
            .unwrap_or(path)
            .display()
            .to_string();
        let time = seconds.map_or_else(String::new, |seconds| format!("built in {seconds:.1} s"));
        println!(
            "{name:<10} {shown:<32} {:>7.1} MiB  {time}",
            bytes as f64 / f64::from(1 << 20)
        );
    }
    Ok(())
}
