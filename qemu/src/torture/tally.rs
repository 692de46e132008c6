//! The sum of many rounds, as a table.

use std::fmt::{self, Write as _};

use super::outcome::Outcome;

/// What many rounds came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Rounds played.
    pub rounds: u64,
    takeovers: u64,
    stalls_ms: Vec<u64>,
    blocks: u64,
    lost: u64,
    doubles: u64,
    unfenced: u64,
    errors: u64,
    inconclusive: u64,
    stalled_takeovers: u64,
    missed: u64,
    /// Rounds after which the box did not come back.
    pub stuck: u64,
    complaints: Vec<String>,
}

impl Tally {
    /// Takes a round in.
    pub fn add(&mut self, name: &str, outcome: &Outcome) {
        self.rounds += 1;
        self.takeovers += outcome.takeovers;
        self.stalls_ms.push(outcome.stall_ms);
        self.blocks += outcome.blocks;
        self.lost += outcome.lost.len() as u64;
        self.doubles += u64::from(!outcome.doubles.is_empty());
        self.unfenced += u64::from(!outcome.unfenced.is_empty());
        self.errors += outcome.errors;
        if outcome.is_inconclusive() {
            self.inconclusive += 1;
            self.stalled_takeovers += outcome.undemanded;
            self.complaints
                .push(format!("{name}: {}", stalled(outcome)));
        }
        self.missed += u64::from(!outcome.is_good() && !outcome.is_broken());
        for complaint in outcome.complaints() {
            self.complaints.push(format!("{name}: {complaint}"));
        }
        if outcome.errors > 0 {
            let examples = outcome.first_errors.join("; ");
            let count = outcome.errors;
            self.complaints
                .push(format!("{name}: the client saw {count} errors: {examples}"));
        }
    }

    /// Takes in a round that did not end.
    pub fn add_stuck(&mut self, name: &str, error: &anyhow::Error) {
        self.rounds += 1;
        self.stuck += 1;
        self.complaints.push(format!("{name}: {error:#}"));
    }

    /// Takes in those of another lab.
    pub fn merge(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.takeovers += other.takeovers;
        self.stalls_ms.extend(other.stalls_ms);
        self.blocks += other.blocks;
        self.lost += other.lost;
        self.doubles += other.doubles;
        self.unfenced += other.unfenced;
        self.errors += other.errors;
        self.inconclusive += other.inconclusive;
        self.stalled_takeovers += other.stalled_takeovers;
        self.missed += other.missed;
        self.stuck += other.stuck;
        self.complaints.extend(other.complaints);
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.lost + self.doubles + self.unfenced + self.missed + self.stuck == 0
    }
}

/// One line about a round.
pub fn line(name: &str, outcome: &Outcome) -> String {
    let verdict = match (outcome.is_broken(), outcome.is_good()) {
        (true, _) => "BROKEN".to_owned(),
        (_, false) => "MISSED".to_owned(),
        _ if outcome.is_inconclusive() => stalled(outcome),
        _ => "good".to_owned(),
    };
    let served = match outcome.served {
        Some((before, after)) => format!("{before} then {after}"),
        None => "nobody".into(),
    };
    let mut line = format!(
        "{name}: {verdict}; served by {served}, takeovers {}, stall {:.2} s, errors {}, blocks verified {}",
        outcome.takeovers,
        outcome.stall_ms as f64 / 1000.0,
        outcome.errors,
        outcome.blocks,
    );
    for complaint in outcome.complaints() {
        let _ = write!(line, "\n      {complaint}");
    }
    line
}

/// What is said aloud of a round that says nothing.
fn stalled(outcome: &Outcome) -> String {
    let excuses = outcome
        .missed
        .iter()
        .filter_map(|missed| missed.excused_by_ms);
    let longest = excuses.chain(outcome.host_stall_ms).max();
    let seconds = longest.unwrap_or(0) as f64 / 1000.0;
    format!("INCONCLUSIVE: the host itself stalled for {seconds:.2} s")
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stalls = self.stalls_ms.clone();
        stalls.sort_unstable();
        let median = stalls.get(stalls.len() / 2).copied().unwrap_or(0);
        let longest = stalls.last().copied().unwrap_or(0);
        let seconds = |ms: u64| format!("{:.2} s", ms as f64 / 1000.0);
        let rows = [
            ("rounds", self.rounds.to_string()),
            ("takeovers", self.takeovers.to_string()),
            ("longest stall, median", seconds(median)),
            ("longest stall, maximum", seconds(longest)),
            ("blocks verified", self.blocks.to_string()),
            ("blocks lost", self.lost.to_string()),
            ("rounds with two owners", self.doubles.to_string()),
            ("owners without a fence", self.unfenced.to_string()),
            ("errors that clients saw", self.errors.to_string()),
            ("expectations missed", self.missed.to_string()),
            ("rounds that did not mend", self.stuck.to_string()),
            ("inconclusive", self.inconclusive.to_string()),
            ("takeovers in those", self.stalled_takeovers.to_string()),
        ];
        for (what, figure) in rows {
            writeln!(f, "  {what:<26}{figure:>10}")?;
        }
        for complaint in &self.complaints {
            writeln!(f, "  - {complaint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Missed;
    use super::*;

    #[test]
    fn what_is_lost_is_not_good_and_what_a_stall_explains_is_inconclusive() {
        let mut tally = Tally::default();
        let missed = Outcome {
            stall_ms: 3000,
            missed: vec![Missed {
                what: "moved".into(),
                found_unix_ms: 0,
                excused_by_ms: Some(2000),
            }],
            host_stall_ms: Some(2000),
            ..Outcome::default()
        };
        tally.add("stalled", &missed);
        assert!(tally.is_good());
        assert!(line("x", &missed).contains("INCONCLUSIVE: the host itself stalled for 2.00 s"));
        tally.add(
            "lossy",
            &Outcome {
                lost: vec!["block 1".into()],
                ..missed.clone()
            },
        );
        assert!(!tally.is_good());
        let mut kept = Tally::default();
        kept.add(
            "kept",
            &Outcome {
                unfenced: vec!["head a has not reset".into()],
                ..missed
            },
        );
        assert!(!kept.is_good() && kept.to_string().contains("kept: head a has not reset"));
        let table = tally.to_string();
        assert!(table.contains("3.00 s") && table.contains("lossy: lost: block 1"));
    }

    #[test]
    fn a_takeover_that_nothing_demanded_is_inconclusive_where_the_host_stalled() {
        let moved = Outcome {
            takeovers: 2,
            undemanded: 1,
            ..Outcome::default()
        };
        assert!(moved.is_good() && !moved.is_inconclusive());
        let mut tally = Tally::default();
        tally.add("quiet", &moved);
        let demanded = Outcome {
            undemanded: 0,
            host_stall_ms: Some(900),
            ..moved.clone()
        };
        assert!(line("x", &demanded).contains("good"));
        tally.add("demanded", &demanded);
        assert_eq!(tally.inconclusive, 0);
        let stalled = Outcome {
            host_stall_ms: Some(900),
            ..moved
        };
        tally.add("stalled", &stalled);
        assert_eq!((tally.inconclusive, tally.stalled_takeovers), (1, 1));
        assert!(tally.is_good());
        let said = line("round 3", &stalled);
        assert!(
            said.contains("INCONCLUSIVE") && !said.contains("good"),
            "{said}"
        );
        assert!(
            tally
                .to_string()
                .contains("stalled: INCONCLUSIVE: the host itself stalled for 0.90 s")
        );
        // Nothing excuses a lost block.
        let broken = Outcome {
            lost: vec!["block 1".into()],
            ..stalled
        };
        assert!(broken.is_broken() && !broken.is_inconclusive());
    }
}
