//! What came of the check, as a table that can be pasted into a report.

use super::objection::Objection;
use super::tier::{self, Outcome};

/// Longest text of a cell: the logs have the rest.
const CELL_MAX_CHARS: usize = 110;

/// What came of one mutant.
pub struct Row {
    pub name: String,
    pub breaks: String,
    pub verdict: Verdict,
    /// What its patch says of the tiers that is not so.
    pub objections: Vec<Objection>,
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
    /// Only the model ran, which is blind to it for this reason.
    BlindAsSaid(String),
}

impl Row {
    /// Whether a tier noticed it, and its patch says nothing else.
    pub fn is_caught(&self) -> bool {
        self.is_noticed() && self.objections.is_empty()
    }

    fn is_noticed(&self) -> bool {
        match &self.verdict {
            Verdict::Ran(tiers) => tiers
                .iter()
                .any(|(_, outcome)| !matches!(outcome, Outcome::Passed)),
            _ => false,
        }
    }

    /// Whether only what did not run can tell.
    pub fn is_left(&self) -> bool {
        let left = matches!(
            self.verdict,
            Verdict::LeftToLab(_) | Verdict::BlindAsSaid(_)
        );
        left && self.objections.is_empty()
    }

    /// One line for each tier that noticed it, and for each objection.
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
            Verdict::BlindAsSaid(reason) => line(tier::MODEL, &format!("blind: {reason}")),
            Verdict::Ran(_) if !self.is_noticed() => line("SURVIVED", "no tier noticed it"),
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
        for objection in &self.objections {
            line(objection.tier(), &objection.to_string());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict, objections: Vec<Objection>) -> Row {
        Row {
            name: "one".into(),
            breaks: "I1".into(),
            verdict,
            objections,
        }
    }

    #[test]
    fn what_a_patch_says_wrongly_is_counted_as_missed_though_a_tier_noticed_it() {
        let ran = || Verdict::Ran(vec![("hb", Outcome::Noticed(Vec::new()))]);
        assert!(row(ran(), Vec::new()).is_caught());
        for verdict in [
            ran(),
            Verdict::LeftToLab("lab".into()),
            Verdict::BlindAsSaid("two pools".into()),
        ] {
            let row = row(verdict, vec![Objection::BlindWithoutReason]);
            assert!(!row.is_caught() && !row.is_left());
        }
    }

    #[test]
    fn what_only_a_tier_that_did_not_run_can_notice_is_left_and_not_missed() {
        for verdict in [
            Verdict::LeftToLab("lab".into()),
            Verdict::BlindAsSaid("two pools".into()),
        ] {
            let row = row(verdict, Vec::new());
            assert!(row.is_left() && !row.is_caught());
        }
        let survived = row(Verdict::Ran(vec![("hb", Outcome::Passed)]), Vec::new());
        assert!(!survived.is_left() && !survived.is_caught());
    }
}
