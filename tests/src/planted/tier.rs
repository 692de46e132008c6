//! The tiers of tests, from the fastest to the slowest, and what they say when they notice something.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

/// Of the build of one tier.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// Status of `timeout` when it had to end its command.
const STATUS_TIMED_OUT: i32 = 124;
const STATUS_KILLED: i32 = 137;

/// The simulator, and that with one seed alone.
pub const SIM: &str = "sim";
pub const SEED: &str = "seed";
/// The model.
pub const MODEL: &str = "model";

/// One tier.
#[derive(Clone, Debug)]
pub struct Tier {
    /// For `--tier` and the table.
    pub name: &'static str,
    /// The folder whose tests they are, and of which mutants they run.
    pub folder: &'static str,
    /// What of the checkout they are built of, as far as it is remembered what they say.
    pub made_of: &'static [&'static str],
    package: &'static str,
    /// Which of them: arguments of `cargo test`.
    targets: &'static [&'static str],
    /// Arguments of the tests.
    pub arguments: Vec<String>,
}

/// What came of a tier.
#[derive(Debug)]
pub enum Outcome {
    /// All held.
    Passed,
    /// Something was noticed: tests by name, or seed and invariant.
    Noticed(Vec<String>),
    /// It did not end in many times what it takes without an error, which is noticed as well.
    TimedOut(Duration),
}

/// What came of a tier, and how long that took.
#[derive(Debug)]
pub struct Said {
    pub outcome: Outcome,
    pub took: Duration,
}

/// The tiers of a checkout that need no lab.
pub fn tiers(source: &Path, seeds: Option<u64>) -> Vec<Tier> {
    let tier = |name, folder, made_of, package, targets| Tier {
        name,
        folder,
        made_of,
        package,
        targets,
        arguments: Vec::new(),
    };
    let mut tiers = vec![tier(
        "hb",
        "hb",
        &["hb/Cargo.toml", "hb/src", "hb/tests/pair", "hb/tests/fuzz"] as &[_],
        "orthrus-hb",
        &["--lib", "--test", "pair", "--test", "fuzz"] as &[_],
    )];
    let mut sim = tier(
        SIM,
        "hb",
        &["hb/Cargo.toml", "hb/src", "hb/tests/sim"],
        "orthrus-hb",
        &["--test", "sim"],
    );
    if let Some(seeds) = seeds {
        sim.arguments = vec!["--seeds".to_owned(), seeds.to_string()];
    }
    tiers.push(sim);
    if source.join("hb/tests/model").is_dir() {
        tiers.push(tier(
            MODEL,
            "hb",
            &["hb/Cargo.toml", "hb/src", "hb/tests/model"],
            "orthrus-hb",
            &["--test", "model"],
        ));
    }
    tiers.push(tier(
        "init",
        "init",
        &["hb/Cargo.toml", "hb/src", "init"],
        "orthrus-init",
        &["--lib"],
    ));
    tiers
}

/// The tier of one lab test.
pub fn lab(test: &str) -> Tier {
    Tier {
        name: "lab",
        folder: "",
        made_of: &[],
        package: "orthrus-tests",
        targets: &["--test", "lab"],
        arguments: ["--include-ignored", "--exact", test]
            .map(str::to_owned)
            .to_vec(),
    }
}

impl Tier {
    /// The simulator with this seed alone, and with that alone.
    pub fn of_seed(&self, seed: u64) -> Tier {
        Tier {
            name: SEED,
            arguments: vec!["--seed".to_owned(), seed.to_string()],
            ..self.clone()
        }
    }
}

/// Where and how tiers run.
pub struct Bed<'a> {
    /// The copy of the checkout.
    pub source: &'a Path,
    /// Cargo's target directory, shared by all mutants.
    pub target: &'a Path,
    /// Where the outputs go.
    pub logs: &'a Path,
}

impl Bed<'_> {
    /// Builds what the tiers need; the compiler's words when it cannot.
    ///
    /// # Errors
    /// Cargo cannot be started.
    pub fn build(&self, name: &str, tiers: &[Tier]) -> Result<std::result::Result<(), String>> {
        for tier in tiers {
            let (status, output) = self.cargo(name, tier, &["--no-run"], BUILD_LIMIT)?;
            if status != 0 {
                let error = output.lines().find(|line| line.starts_with("error"));
                return Ok(Err(error.unwrap_or("cargo failed").to_owned()));
            }
        }
        Ok(Ok(()))
    }

    /// Runs a tier that was built.
    ///
    /// # Errors
    /// Cargo cannot be started.
    pub fn run(&self, name: &str, tier: &Tier, limit: Duration) -> Result<Said> {
        let begun = Instant::now();
        let (status, output) = self.cargo(name, tier, &["--no-fail-fast"], limit)?;
        let outcome = match status {
            0 => Outcome::Passed,
            STATUS_TIMED_OUT | STATUS_KILLED => Outcome::TimedOut(limit),
            _ => Outcome::Noticed(noticed(&output)),
        };
        let took = begun.elapsed();
        Ok(Said { outcome, took })
    }

    fn cargo(
        &self,
        name: &str,
        tier: &Tier,
        more: &[&str],
        limit: Duration,
    ) -> Result<(i32, String)> {
        let shell = Shell::new()?;
        shell.change_dir(self.source);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let (package, targets, arguments) = (tier.package, tier.targets, &tier.arguments);
        let seconds = limit.as_secs().to_string();
        // A mutant may do anything but end, and cargo's children must end with it.
        let output = cmd!(
            shell,
            "timeout --kill-after=5 {seconds} {cargo} test --offline --package {package} {targets...} {more...} -- {arguments...}"
        )
        .env("CARGO_TARGET_DIR", self.target)
        // Nobody debugs a planted error, and what is only for that is half of a build.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("RUST_BACKTRACE", "0")
        .quiet()
        .ignore_status()
        .output()
        .context("cargo")?;
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.concat();
        fs::create_dir_all(self.logs)?;
        let log = self.logs.join(format!("{name}.{}.log", tier.name));
        fs::write(&log, &text).with_context(|| log.display().to_string())?;
        Ok((output.status.code().unwrap_or(STATUS_KILLED), text))
    }
}

/// What a tier's output says of why it failed.
fn noticed(output: &str) -> Vec<String> {
    let failed = |(line, next): (&str, &str)| -> Option<String> {
        // libtest, and libtest-mimic of the lab.
        let test = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... FAILED"));
        if let Some((test, _)) = test {
            return Some(test.trim().to_owned());
        }
        // The simulator and the fuzzer: seed or input, and the rule, before the command that replays it.
        let replayed = next.starts_with("replay: ") && !line.starts_with(' ');
        // A checker: what it found against a property.
        let found = line.contains("counterexample") || line.contains("violat");
        (replayed || found).then(|| line.trim().to_owned())
    };
    let next = output.lines().skip(1).chain([""]);
    let mut all: Vec<String> = output.lines().zip(next).filter_map(failed).collect();
    if all.is_empty() {
        let panicked = output.lines().find(|line| line.contains("panicked at"));
        let last = output.lines().rfind(|line| !line.trim().is_empty());
        all.extend(panicked.or(last).map(|line| line.trim().to_owned()));
    }
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_seeds_that_noticed_are_named() {
        let libtest =
            "test fence::tests::one ... ok\ntest fence::tests::two ... FAILED\n\nfailures:\n";
        assert_eq!(noticed(libtest), ["fence::tests::two"]);
        let sim =
            "seed 17: I1: a write\nfailed: [17]\nseed 17 at 3.000 s: I1: a write\nreplay: cargo\n";
        assert_eq!(noticed(sim), ["seed 17 at 3.000 s: I1: a write"]);
        let fuzz = "head: seed 1, input 9: I5: back\nreplay: cargo\n";
        assert_eq!(noticed(fuzz), ["head: seed 1, input 9: I5: back"]);
        assert_eq!(noticed("something\nbroke\n"), ["broke"]);
    }
}
