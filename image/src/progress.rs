//! What is being done and how long it took, one line a step, on standard error: standard output
//! belongs to the program that calls us.

use std::time::Instant;

use anyhow::Result;

/// Runs one named step, and prints its name before and its time after.
///
/// An error is passed on as it is: its context says more than the name of the step.
pub fn step<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("  {what} ...");
    let start = Instant::now();
    let result = run();
    let seconds = start.elapsed().as_secs_f32();
    match &result {
        Ok(_) => eprintln!("  {what}: {seconds:.1} s"),
        Err(_) => eprintln!("  {what}: failed after {seconds:.1} s"),
    }
    result
}
