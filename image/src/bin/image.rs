//! `cargo image`: builds the firmware and prints what was made.
//! `cargo image tool NAME ARGS...` runs a program of the tree of tools.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

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
            println!("{firmware:?}");
        }
        Some(Verb::Tool { name, arguments }) => {
            let error = tools.command(&name)?.args(arguments).exec();
            return Err(error).with_context(|| format!("run {name}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
