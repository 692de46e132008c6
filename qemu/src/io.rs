//! The host's side of the checked writer: the journal of acknowledgments, and what follows from it.
//!
//! An acknowledgment counts from the moment its line arrives here, so it survives the client. The
//! gaps are measured by the client's own clock between completions: that is what an application sees.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::clock::{time_of_day, unix_ms};

/// Gaps from here on are listed one by one.
const GAP_LISTED_US: u64 = 150_000;
const GAPS_MAX: usize = 500;
const ERRORS_KEPT: usize = 10;

/// A stretch without a completed write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its length.
    pub ms: u64,
    /// When it began, in milliseconds of the Unix epoch.
    pub began_unix_ms: u64,
    /// When it ended.
    pub ended_unix_ms: u64,
}

/// How the writer is doing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct IoReport {
    /// The run's number.
    pub run: u64,
    /// What is written: pool and LUN.
    pub target: String,
    /// Whether it writes.
    pub running: bool,
    /// When it began, in milliseconds of the Unix epoch.
    pub began_unix_ms: u64,
    /// Acknowledged writes.
    pub writes: u64,
    /// Blocks that hold one.
    pub blocks: u64,
    /// Acknowledged writes a second, over the whole run.
    pub per_second: f64,
    /// Writes that ended with an error.
    pub errors: u64,
    /// The first of them.
    pub first_errors: Vec<String>,
    /// The longest gap between completions.
    pub longest: Gap,
    /// All gaps that are worth a line, in order.
    pub gaps: Vec<Gap>,
    /// How long ago the last acknowledgment came; absent before the first.
    pub silent_ms: Option<u64>,
    /// The journal.
    pub journal: String,
}

impl IoReport {
    /// Whether writes are being acknowledged right now.
    pub fn flowing(&self) -> bool {
        self.running && self.silent_ms.is_some_and(|ms| ms < 1000)
    }

    /// The longest gap that ended after a moment: what that moment's fault cost.
    pub fn longest_since(&self, unix_ms: u64) -> Gap {
        let since = self.gaps.iter().filter(|gap| gap.ended_unix_ms >= unix_ms);
        since.max_by_key(|gap| gap.ms).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for IoReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.running { "writing" } else { "stopped" };
        writeln!(
            f,
            "checked writer  {state}, {} ({:.0} a second)",
            self.target, self.per_second
        )?;
        writeln!(
            f,
            "acknowledged    {} writes on {} blocks, {} errors",
            self.writes, self.blocks, self.errors
        )?;
        for error in &self.first_errors {
            writeln!(f, "                {error}")?;
        }
        let gap = self.longest;
        let (from, to) = (
            time_of_day(gap.began_unix_ms),
            time_of_day(gap.ended_unix_ms),
        );
        write!(f, "longest gap     {} ms, {from} to {to} UTC", gap.ms)
    }
}

/// A run of the writer.
pub struct Run {
    report: IoReport,
    journal: BufWriter<File>,
    newest: BTreeMap<u64, u64>,
    last_ended_us: Option<u64>,
    last_ack_unix_ms: u64,
}

impl Run {
    /// A run whose journal goes to a file.
    pub fn begin(run: u64, target: String, journal: &Path) -> anyhow::Result<Self> {
        let file =
            File::create(journal).with_context(|| format!("creating {}", journal.display()))?;
        Ok(Self {
            report: IoReport {
                run,
                target,
                running: true,
                began_unix_ms: unix_ms(),
                journal: journal.display().to_string(),
                ..IoReport::default()
            },
            journal: BufWriter::new(file),
            newest: BTreeMap::new(),
            last_ended_us: None,
            last_ack_unix_ms: 0,
        })
    }

    /// Takes a line of the writer's, that arrived at a moment.
    pub fn line(&mut self, line: &str, now_unix_ms: u64) {
        let _ = writeln!(self.journal, "{now_unix_ms} {line}");
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(seq), Some(block), Some(_began), Some(ended_us)) =
            (number(), number(), number(), number())
        else {
            return;
        };
        match kind {
            "ack" => self.acknowledged(seq, block, ended_us, now_unix_ms),
            "err" => {
                self.report.errors += 1;
                if self.report.first_errors.len() < ERRORS_KEPT {
                    let at = time_of_day(now_unix_ms);
                    let what = words.collect::<Vec<_>>().join(" ");
                    self.report
                        .first_errors
                        .push(format!("{at} write {seq} of block {block}: {what}"));
                }
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, seq: u64, block: u64, ended_us: u64, now_unix_ms: u64) {
        self.report.writes += 1;
        let newest = self.newest.entry(block).or_default();
        *newest = seq.max(*newest);
        // Lanes print in any order: a gap lies between the latest completion so far and a later one.
        let gap_us = self
            .last_ended_us
            .map_or(0, |last| ended_us.saturating_sub(last));
        let gap = Gap {
            ms: gap_us / 1000,
            began_unix_ms: now_unix_ms.saturating_sub(gap_us / 1000),
            ended_unix_ms: now_unix_ms,
        };
        if gap.ms > self.report.longest.ms {
            self.report.longest = gap;
        }
        if gap_us >= GAP_LISTED_US && self.report.gaps.len() < GAPS_MAX {
            self.report.gaps.push(gap);
        }
        self.last_ended_us = Some(
            self.last_ended_us
                .map_or(ended_us, |last| last.max(ended_us)),
        );
        self.last_ack_unix_ms = now_unix_ms;
    }

    /// The writer has ended.
    pub fn end(&mut self) {
        self.report.running = false;
        let _ = self.journal.flush();
    }

    /// How it is doing now.
    pub fn report(&mut self) -> IoReport {
        let _ = self.journal.flush();
        let now = unix_ms();
        let mut report = self.report.clone();
        report.blocks = self.newest.len() as u64;
        let until = if report.running {
            now
        } else {
            self.last_ack_unix_ms
        };
        let seconds = until.saturating_sub(report.began_unix_ms).max(1) as f64 / 1000.0;
        report.per_second = report.writes as f64 / seconds;
        report.silent_ms = (report.writes > 0).then(|| now.saturating_sub(self.last_ack_unix_ms));
        report
    }

    /// The newest acknowledged write of each block.
    pub fn newest(&self) -> &BTreeMap<u64, u64> {
        &self.newest
    }
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;

    /// With its journal, which goes with the test.
    fn run() -> (Run, NamedTempFile) {
        let journal = NamedTempFile::new().unwrap();
        let run = Run::begin(5, "tank LUN 0".into(), journal.path()).unwrap();
        (run, journal)
    }

    #[test]
    fn the_longest_gap_is_between_completions() {
        let (mut run, _journal) = run();
        for (line, at) in [
            ("ack 1 0 0 10000", 1_000),
            ("ack 2 1 0 12000", 1_002),
            ("ack 4 3 15000 2012000", 3_010), // two seconds after the one before
            ("ack 3 2 14000 2010000", 3_011), // printed late, completed earlier: no gap of its own
        ] {
            run.line(line, at);
        }
        let report = run.report();
        assert_eq!(
            report.longest,
            Gap {
                ms: 2000,
                began_unix_ms: 1_010,
                ended_unix_ms: 3_010
            }
        );
        assert_eq!(report.gaps.len(), 1);
        assert_eq!(report.longest_since(3_500), Gap::default());
        assert_eq!((report.writes, report.blocks, report.errors), (4, 4, 0));
    }

    #[test]
    fn errors_and_the_newest_write_of_a_block_are_kept() {
        let (mut run, _journal) = run();
        run.line("ack 7 1 0 1", 1);
        run.line("ack 3 1 0 2", 2);
        run.line("err 8 1 0 3 Input/output error (os error 5)", 3);
        run.line("garbage", 4);
        assert_eq!(run.newest().get(&1), Some(&7));
        let report = run.report();
        assert_eq!(report.errors, 1);
        assert!(
            report.first_errors[0].ends_with("write 8 of block 1: Input/output error (os error 5)")
        );
    }
}
