//! Fuzzing of all that the core reads from outside: frames, what a head makes of them, the message channel, and
//! records of the ledger.
//!
//! ```text
//! cargo test -p orthrus-hb --test fuzz                      the corpus, and a bounded number of new inputs
//! cargo test -p orthrus-hb --test fuzz -- --minutes 10      fuzzes on, from a new seed each time
//! cargo test -p orthrus-hb --test fuzz -- --target head --minutes 10 --keep target/fuzz
//!                                                           and writes what it found, made small, for `corpus/`
//! cargo test -p orthrus-hb --test fuzz -- --target head --hex 0100a0   one input
//! ```
//!
//! A failing input is made small and printed with the command that replays it; it then belongs into `corpus/`, under the name
//! of something that it shows once the core is mended (see [`corpus`]).
//!
//! Reading order: `frame`, `ledger`, `head` and `channel` are the targets and say what must hold; `seeds` and
//! `corpus` are where inputs come from, `mutate` makes new ones, `seen` says which of them are worth something.
//!
//! Rejected: bolero. It adds thirty crates to the hundred of the lock file. Its engine under `cargo test` does not
//! look at coverage at all; the one that does instruments every test binary of the package and links only such
//! as are fuzz targets, which the unit tests, `pair` and `sim` here are not. cargo-fuzz wants a nightly compiler.
//! These formats are small: guided by what a run shows ([`seen`]) and with the MAC put on by the harness, a few
//! thousand inputs reach every arm of the decoders.

#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // this file alone reads the clock, to know when the minutes are over

mod channel;
mod corpus;
mod frame;
mod head;
mod input;
mod ledger;
mod mutate;
#[path = "../sim/rng.rs"]
#[allow(dead_code)] // the simulator uses more of it
mod rng;
mod seeds;
mod seen;
mod tag;

use std::collections::{BTreeMap, HashSet};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rng::Rng;
use seen::Seen;

/// New inputs for each target in one `cargo test`.
const INPUTS: u64 = 5_000;

/// One thing that reads bytes.
pub struct Target {
    /// As in `--target` and `corpus/`.
    pub name: &'static str,
    run: fn(&[u8], &mut Seen),
}

const TARGETS: [Target; 4] = [
    Target {
        name: "frame",
        run: frame::run,
    },
    Target {
        name: "ledger",
        run: ledger::run,
    },
    Target {
        name: "head",
        run: head::run,
    },
    Target {
        name: "channel",
        run: channel::run,
    },
];

/// What an input shows; nothing when it fails.
pub fn observe(target: &Target, input: &[u8]) -> BTreeMap<u64, String> {
    attempt(target, input).unwrap_or_default()
}

fn attempt(target: &Target, input: &[u8]) -> Result<BTreeMap<u64, String>, String> {
    let mut seen = Seen::default();
    panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input, &mut seen))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })?;
    Ok(seen.features)
}

fn report(target: &Target, input: &[u8], what: &str) {
    let small = mutate::minimise(input, |input| attempt(target, input).is_err());
    let hex: String = small.iter().map(|byte| format!("{byte:02x}")).collect();
    let why = attempt(target, &small).err().unwrap_or_default();
    println!("{}: {what}: {why}", target.name);
    println!(
        "replay: cargo test -p orthrus-hb --test fuzz -- --target {} --hex {hex}",
        target.name
    );
}

/// Replays the corpus, then tries new inputs until `enough` says so.
fn fuzz(target: &Target, seed: u64, enough: impl Fn(u64) -> bool, keep: Option<&Path>) -> bool {
    let mut shown = HashSet::new();
    let mut inputs = Vec::new();
    let corpus = match corpus::load(target.name) {
        Ok(corpus) => corpus,
        Err(why) => {
            println!("{}: {why}", target.name);
            return false;
        }
    };
    let mut stale = 0;
    for (origin, input) in &corpus {
        let name = origin.name();
        match attempt(target, input) {
            Ok(features) => {
                if !origin.still_shows(&features) {
                    let folder = corpus::folder(target.name);
                    println!("{}/{name} does not show {name} any more", folder.display());
                    stale += 1;
                }
                shown.extend(features.into_keys());
            }
            Err(_) => {
                report(target, input, name);
                return false;
            }
        }
        inputs.push(input.clone());
    }
    let mut rng = Rng::new(seed);
    let mut executions = 0;
    while !enough(executions) {
        let input = mutate::mutate(&inputs, &mut rng);
        executions += 1;
        match attempt(target, &input) {
            Ok(features) => {
                let before = shown.len();
                shown.extend(features.into_keys());
                if shown.len() > before {
                    inputs.push(input);
                }
            }
            Err(_) => {
                report(target, &input, &format!("seed {seed}, input {executions}"));
                return false;
            }
        }
    }
    println!(
        "{:<8} {} inputs of the corpus, {executions} new ones, {} of which showed something new ({} things in all)",
        target.name,
        corpus.len(),
        inputs.len() - corpus.len(),
        shown.len()
    );
    if let Some(keep) = keep {
        let to = keep.join(target.name);
        let kept = corpus::keep(target, &inputs, &to);
        println!("{:<8} {kept} files in {}", target.name, to.display());
    }
    stale == 0
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str| {
        value(name).map(|text| {
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} wants a number"))
        })
    };
    let only = value("--target");
    let chosen = || {
        TARGETS
            .iter()
            .filter(|target| only.as_deref().is_none_or(|only| only == target.name))
    };
    if let Some(hex) = value("--hex") {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let input: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | *digit as u8))
            .collect();
        for target in chosen() {
            let mut seen = Seen::default();
            (target.run)(&input, &mut seen);
            println!(
                "{}: {:#?}",
                target.name,
                seen.features.into_values().collect::<Vec<_>>()
            );
        }
        return ExitCode::SUCCESS;
    }
    // What a failing input says is printed once, when it is small.
    panic::set_hook(Box::new(|_| ()));
    let keep = value("--keep");
    let minutes = number("--minutes");
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_secs());
    let seed = number("--seed").unwrap_or(if minutes.is_some() { clock } else { 1 });
    let share =
        minutes.map(|minutes| Duration::from_secs(60 * minutes) / chosen().count().max(1) as u32);
    let mut held = true;
    for target in chosen() {
        let end = share.map(|share| Instant::now() + share);
        let enough = |executions| match end {
            // The clock costs more than a short input.
            Some(end) => executions % 64 == 0 && Instant::now() >= end,
            None => executions >= number("--inputs").unwrap_or(INPUTS),
        };
        held &= fuzz(target, seed, enough, keep.as_deref().map(Path::new));
    }
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
