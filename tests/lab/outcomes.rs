//! What a public suite of tests says of a plain Linux server and of a pool, side by side: the pool may do worse in no
//! test for which no reason is given.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

/// What became of a test, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Failed,
    Skipped,
    Passed,
}

/// By the test's name.
pub type Outcomes = BTreeMap<String, Outcome>;

/// Prints where ours is another one, and how many there are of each; an error where it is worse and no exception, which
/// has the reason beside it, says so.
pub fn compare(
    suite: &str,
    plain: &Outcomes,
    ours: &Outcomes,
    exceptions: &[(&str, &str)],
) -> Result<()> {
    let mut worse = String::new();
    for (name, &there) in plain {
        let here = *ours
            .get(name)
            .with_context(|| format!("{name} did not run"))?;
        if here != there {
            println!("{name}: {there:?} on the plain server, {here:?} here");
        }
        if here < there && !exceptions.iter().any(|(excepted, _)| excepted == name) {
            let _ = write!(
                worse,
                "\n{name}: {there:?} on the plain server, {here:?} here"
            );
        }
    }
    for (name, of) in [("the plain server", plain), ("a pool", ours)] {
        println!("{suite} on {name}: {}", counts(of));
    }
    ensure!(worse.is_empty(), "worse than the plain server:{worse}");
    Ok(())
}

/// How many there are of each.
pub fn counts(of: &Outcomes) -> String {
    let count = |what| of.values().filter(|&&outcome| outcome == what).count();
    format!(
        "{} passed, {} failed, {} skipped",
        count(Outcome::Passed),
        count(Outcome::Failed),
        count(Outcome::Skipped)
    )
}
