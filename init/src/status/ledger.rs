//! A pool's ledger in `status`, `pools` and `links`: the third link beside the cables.

use orthrus_hb::LedgerState;
use serde::Serialize;

use super::Problem;
use crate::ledger::LedgerReport;

/// The ledger of one pool.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerStatus {
    /// The pool.
    pub pool: String,
    /// What it says of the peer: `none` (there is none, or the peer never wrote there), `unread`, `seen` (for too short
    /// to tell), `ticking` or `silent`, as a standby's is.
    pub state: &'static str,
    /// Its copies.
    #[serde(flatten)]
    pub report: LedgerReport,
}

impl LedgerStatus {
    /// Joins what the core concluded and what the copies show.
    pub fn of(pool: &str, state: LedgerState, report: LedgerReport) -> LedgerStatus {
        let unread = report.copies > 0 && report.read == 0;
        LedgerStatus {
            pool: pool.to_owned(),
            // The core knows of a ledger once a read of it completed.
            state: match state {
                LedgerState::None if unread => LedgerState::Unread.name(),
                state => state.name(),
            },
            report,
        }
    }

    fn is_none(&self) -> bool {
        self.report.is_known && self.report.copies == 0 && self.report.problems.is_empty()
    }

    /// One line, without the pool's name.
    pub fn line(&self) -> String {
        let LedgerReport {
            copies,
            read,
            written,
            ..
        } = &self.report;
        let plural = if *copies == 1 { "copy" } else { "copies" };
        match written {
            _ if !self.report.is_known => "not looked for yet".to_owned(),
            _ if self.is_none() => {
                "none: all cables cut would mean a takeover from a living head".to_owned()
            }
            Some(written) => format!("{copies} {plural}, written here: {written}"),
            None => format!(
                "{copies} {plural}, read: {read}, the peer's is {}",
                self.state
            ),
        }
    }

    /// How to make one, when there is none.
    pub fn note(&self) -> Option<String> {
        let commands = &self.report.commands;
        (self.is_none() && !commands.is_empty()).then(|| {
            format!(
                "pool {pool} has no ledger: all cables cut would mean a takeover from a living head; `pool import {pool}` \
                 makes it, on the head that serves the pool; or make it on a host with lvm2 while no head holds the pool, with {}",
                commands.join("; "),
                pool = self.pool,
            )
        })
    }

    /// What is wrong with it: what costs the third link is a problem, a copy of several only worth a note.
    pub fn judge(&self) -> (Vec<Problem>, Vec<String>) {
        let report = &self.report;
        let useless = report.written.unwrap_or(report.read) == 0;
        let (mut problems, mut notes) = (Vec::new(), Vec::new());
        for what in &report.problems {
            let what = format!("pool {}: {what}", self.pool);
            match useless {
                true => problems.push(Problem {
                    what,
                    todo: "check the disk and its cable; see `disks`".to_owned(),
                }),
                false => notes.push(what),
            }
        }
        for misfit in &report.misfits {
            problems.push(Problem {
                what: format!("pool {}: {misfit}", self.pool),
                todo: "remove it with lvremove on a host with lvm2, and make it anew; see \"The ledger\" in README"
                    .to_owned(),
            });
        }
        notes.extend(self.note());
        (problems, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> LedgerReport {
        LedgerReport {
            is_known: true,
            copies: 3,
            read: 3,
            ..LedgerReport::default()
        }
    }

    fn status(report: LedgerReport) -> LedgerStatus {
        LedgerStatus::of("tank", LedgerState::Ticking, report)
    }

    #[test]
    fn a_pool_without_one_is_told_how_to_make_it_and_is_no_problem() {
        let ledger = status(LedgerReport {
            copies: 0,
            read: 0,
            commands: vec!["lvcreate one".into(), "lvcreate two".into()],
            ..report()
        });
        let (problems, notes) = ledger.judge();
        assert!(problems.is_empty());
        assert!(notes[0].ends_with("lvcreate one; lvcreate two"));
        assert!(ledger.line().starts_with("none: all cables cut would"));
        // Not before the metadata were read.
        let (_, notes) = status(LedgerReport::default()).judge();
        assert!(notes.is_empty());
    }

    #[test]
    fn one_bad_copy_is_a_note_and_all_bad_are_a_problem() {
        let trouble = vec!["copy 1 of the ledger, on sdb, does not answer".to_owned()];
        let one = LedgerReport {
            read: 2,
            problems: trouble.clone(),
            ..report()
        };
        let (problems, notes) = status(one.clone()).judge();
        assert_eq!((problems.len(), notes.len()), (0, 1));
        let (problems, _) = status(LedgerReport { read: 0, ..one }).judge();
        assert!(problems[0].what.contains("pool tank: copy 1"));
        // An owner writes: that it cannot read is no loss.
        let owner = LedgerReport {
            written: Some(3),
            read: 0,
            problems: trouble,
            ..report()
        };
        assert_eq!(status(owner.clone()).line(), "3 copies, written here: 3");
        assert!(status(owner).judge().0.is_empty());
    }

    #[test]
    fn a_volume_of_a_wrong_shape_is_a_problem() {
        let (problems, _) = status(LedgerReport {
            misfits: vec!["volume orthrus_ledger7 is no copy".into()],
            ..report()
        })
        .judge();
        assert!(problems[0].what.contains("orthrus_ledger7"));
    }

    #[test]
    fn a_ledger_of_which_no_read_completed_is_unread() {
        let none = LedgerReport {
            read: 0,
            ..report()
        };
        assert_eq!(
            LedgerStatus::of("tank", LedgerState::None, none).state,
            "unread"
        );
        assert_eq!(
            LedgerStatus::of("tank", LedgerState::None, report()).state,
            "none"
        );
    }
}
