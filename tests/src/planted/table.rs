//! What came of the check, as a table that can be pasted into a report.

use super::tier::Outcome;

/// Longest text of a cell: the logs have the rest.
const CELL_MAX_CHARS: usize = 110;

/// What came of one mutant.
pub struct Row {
    pub name: String,
    pub breaks: String,
    pub verdict: Verdict,
}

/// How far it came.
pub enum Verdict {
    /// Its patch fits nowhere.
    NoFit(String),
    /// It does not compile.
    NoBuild(String),
    /// What each tier said, in their order; tiers that cannot see it are left out.
    Ran(Vec<(&'static str, Outcome)>),
    /// No tier that ran noticed it, and the lab test that it names did not run.
    LeftToLab(String),
}

impl Row {
    /// Whether a tier noticed it.
    pub fn is_caught(&self) -> bool {
        match &self.verdict {
            Verdict::NoFit(_) | Verdict::NoBuild(_) | Verdict::LeftToLab(_) => false,
            Verdict::Ran(tiers) => tiers
                .iter()
                .any(|(_, outcome)| !matches!(outcome, Outcome::Passed)),
        }
    }

    /// Whether only the lab can tell.
    pub fn is_left_to_lab(&self) -> bool {
        matches!(self.verdict, Verdict::LeftToLab(_))
    }

    /// One line for each tier that noticed it.
    pub fn print(&self) {
        let line = |tier: &str, what: &str| {
            println!(
                "| {} | {} | {tier} | {} |",
                self.name,
                self.breaks,
                cell(what)
            );
        };
        match &self.verdict {
            Verdict::NoFit(why) => line("NO FIT", why),
            Verdict::NoBuild(why) => line("NO BUILD", why),
            Verdict::LeftToLab(test) => line("with --lab", test),
            Verdict::Ran(_) if !self.is_caught() => line("SURVIVED", "no tier noticed it"),
            Verdict::Ran(tiers) => {
                for (tier, outcome) in tiers {
                    match outcome {
                        Outcome::Passed => {}
                        Outcome::TimedOut(limit) => {
                            line(tier, &format!("did not end within {} s", limit.as_secs()))
                        }
                        Outcome::Noticed(what) => line(tier, &shortly(what)),
                    }
                }
            }
        }
    }
}

/// The heading of the table.
pub fn heading() {
    println!("| planted error | breaks | tier | noticed by |");
    println!("|---|---|---|---|");
}

fn shortly(what: &[String]) -> String {
    let first = what.first().map_or("nothing said", String::as_str);
    match what.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} (and {} more)", more - 1),
    }
}

fn cell(text: &str) -> String {
    let text = text.replace('|', "/");
    match text.char_indices().nth(CELL_MAX_CHARS) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}
