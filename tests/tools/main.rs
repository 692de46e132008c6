//! What the firmware does with disks, held against the real lvm2 and mdadm in small machines without heads. Run by `cargo test`; one
//! alone with `cargo test -p orthrus-tests --test tools -- NAME`, all with `--include-ignored`.
//!
//! One binary for all of them: a machine is one emulated processor, and two of them are busy at a time.

mod arrays;
mod beds;
mod kinds;
mod large;
mod reservations;
mod written;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Of the machine that runs the tests, whatever it has: LIMITs are for no more.
const AT_ONCE: usize = 2;

fn main() -> ExitCode {
    orthrus_qemu::supervisor::enter_if_asked();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let trials = [
        written::trials(),
        large::trials(),
        arrays::trials(),
        kinds::trials(),
        reservations::trials(),
    ];
    let trials: Vec<Trial> = trials.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
