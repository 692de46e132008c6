//! `cargo lab`: see `cli` for its verbs.

use std::process::ExitCode;

fn main() -> ExitCode {
    orthrus_qemu::supervisor::enter_if_asked();
    orthrus_qemu::cli::main()
}
