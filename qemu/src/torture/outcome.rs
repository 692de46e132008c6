//! What came of a round, and what of it a stall of the host itself excuses.
//!
//! | what came out wrong | excused |
//! |---|---|
//! | an acknowledged block is lost; two heads own the disks, or write | never |
//! | an owner whose shelf forgot its reservations did not reset, or is registered there again | never |
//! | the pool moved, did not move, or too often; a head did not say what it must; a client saw an error | by a stall of the host, of half the silence that counts as death or more, between the strike and the moment at which it was found wrong |
//!
//! A stall before the strike, or after what was expected was found wrong, explains nothing of it. Safety does not depend on
//! time: a head that the host stopped for an hour must keep it.

use super::round::Plan;
use crate::clock::Stall;
use crate::names::Head;

/// Something that did not come as it must, for which the host may be to blame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// What.
    pub what: String,
    /// When it was found out.
    pub found_unix_ms: u64,
    /// The longest stall of the host that excuses it.
    pub excused_by_ms: Option<u64>,
}

/// What came of a round.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Which head served before, and which after.
    pub served: Option<(Head, Head)>,
    /// How often the disks changed hands since the strike.
    pub takeovers: u64,
    /// Those among them that nothing demanded: they may be of what broke, or of the host's own stall.
    pub undemanded: u64,
    /// Longest time without an acknowledged write.
    pub stall_ms: u64,
    /// Errors that the client saw.
    pub errors: u64,
    /// The first of them.
    pub first_errors: Vec<String>,
    /// Acknowledged blocks that were found, through the owner and on the raw disks.
    pub blocks: u64,
    /// Those that were not.
    pub lost: Vec<String>,
    /// What shows that there were two owners.
    pub doubles: Vec<String>,
    /// What an owner did wrong whose shelf forgot its reservations.
    pub unfenced: Vec<String>,
    /// What did not come as it must.
    pub missed: Vec<Missed>,
    /// The longest stall of the host itself between the strike and the end that may have moved a pool.
    pub host_stall_ms: Option<u64>,
}

impl Outcome {
    /// Something was just found to be wrong.
    pub fn miss(&mut self, found_unix_ms: u64, what: String) {
        self.missed.push(Missed {
            what,
            found_unix_ms,
            excused_by_ms: None,
        });
    }

    /// Whether the disks changed hands as often since the strike as the plan says.
    pub fn count(&mut self, plan: &Plan, takeovers: u64, found_unix_ms: u64, changes: &str) {
        let (least, most) = plan.takeovers();
        self.takeovers = takeovers;
        self.undemanded = takeovers.saturating_sub(least);
        if takeovers > most || takeovers < least {
            self.miss(
                found_unix_ms,
                format!(
                    "{plan}: the disks changed hands {takeovers} times, and should {least} to {most} times\n      {changes}"
                ),
            );
        }
    }

    /// Finds what the host's own stalls excuse, of those that are as long as `at_least_ms`.
    pub fn judge(&mut self, stalls: &[Stall], (struck, ended): (u64, u64), at_least_ms: u64) {
        let longest = |until: u64| {
            let long = stalls.iter().filter(|stall| stall.late_ms >= at_least_ms);
            let meanwhile = long.filter(|stall| {
                stall.ended_unix_ms > struck && stall.ended_unix_ms - stall.late_ms < until
            });
            meanwhile.map(|stall| stall.late_ms).max()
        };
        for missed in &mut self.missed {
            missed.excused_by_ms = longest(missed.found_unix_ms);
        }
        self.host_stall_ms = longest(ended);
    }

    /// Whether nothing is wrong, or nothing that the host's own stalls do not excuse.
    pub fn is_good(&self) -> bool {
        !self.is_broken()
            && self
                .missed
                .iter()
                .all(|missed| missed.excused_by_ms.is_some())
    }

    /// Whether a promise was broken that no stall of the host excuses.
    pub fn is_broken(&self) -> bool {
        !(self.lost.is_empty() && self.doubles.is_empty() && self.unfenced.is_empty())
    }

    /// Whether it says nothing: as the host stalled something was missed, or the pool moved where nothing demanded it.
    pub fn is_inconclusive(&self) -> bool {
        let moved = self.undemanded > 0 && self.host_stall_ms.is_some();
        self.is_good() && (moved || !self.missed.is_empty())
    }

    /// All that is wrong, in words.
    pub fn complaints(&self) -> Vec<String> {
        let doubles = self
            .doubles
            .iter()
            .map(|what| format!("two owners: {what}"));
        let lost = self.lost.iter().take(5).map(|what| format!("lost: {what}"));
        let missed = self.missed.iter().map(|missed| missed.what.clone());
        let unfenced = self.unfenced.iter().cloned();
        doubles.chain(lost).chain(unfenced).chain(missed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::ROWS;
    use super::*;

    const DEAD_HALF_MS: u64 = 500;

    fn stall(began_unix_ms: u64, late_ms: u64) -> Stall {
        Stall {
            ended_unix_ms: began_unix_ms + late_ms,
            late_ms,
        }
    }

    /// Struck at 10 s, found wrong at 20 s, over at 90 s.
    fn missed(stalls: &[Stall]) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.miss(20_000, "it moved".into());
        outcome.judge(stalls, (10_000, 90_000), DEAD_HALF_MS);
        outcome
    }

    #[test]
    fn only_a_stall_between_the_strike_and_the_expectation_excuses_it() {
        assert!(!missed(&[]).is_good());
        for meanwhile in [stall(12_000, 800), stall(9_500, 800), stall(19_900, 800)] {
            let outcome = missed(std::slice::from_ref(&meanwhile));
            assert!(
                outcome.is_good() && outcome.is_inconclusive(),
                "{meanwhile:?}"
            );
            assert_eq!(outcome.missed[0].excused_by_ms, Some(800));
        }
        for at_another_time in [stall(9_000, 800), stall(20_100, 800), stall(80_000, 5_000)] {
            let outcome = missed(std::slice::from_ref(&at_another_time));
            assert!(!outcome.is_good(), "{at_another_time:?}");
        }
        assert!(
            !missed(&[stall(12_000, 400)]).is_good(),
            "too short to move anything"
        );
    }

    #[test]
    fn each_expectation_is_judged_by_itself() {
        let mut outcome = Outcome::default();
        outcome.miss(20_000, "early".into());
        outcome.miss(60_000, "late".into());
        outcome.judge(&[stall(40_000, 900)], (10_000, 90_000), DEAD_HALF_MS);
        let excuses = outcome.missed.iter().map(|missed| missed.excused_by_ms);
        assert_eq!(excuses.collect::<Vec<_>>(), [None, Some(900)]);
        assert!(!outcome.is_good() && !outcome.is_broken());
    }

    #[test]
    fn what_a_shelf_forgot_and_an_owner_kept_is_never_excused() {
        let mut outcome = missed(&[stall(12_000, 60_000)]);
        assert!(outcome.is_good());
        outcome.unfenced.push("head a has not reset".into());
        assert!(outcome.is_broken() && !outcome.is_good() && !outcome.is_inconclusive());
        assert!(
            outcome
                .complaints()
                .contains(&"head a has not reset".to_owned())
        );
    }

    #[test]
    fn takeovers_that_a_row_does_not_allow_are_missed() {
        let stays = ROWS.iter().find(|row| row.name == "serial_cut").unwrap();
        let plan = Plan::Row(*stays);
        let mut outcome = Outcome::default();
        outcome.count(&plan, 0, 20_000, "");
        assert!(outcome.missed.is_empty());
        outcome.count(&plan, 1, 20_000, "");
        assert_eq!((outcome.missed.len(), outcome.undemanded), (1, 1));
        outcome.judge(&[stall(12_000, 900)], (10_000, 20_000), DEAD_HALF_MS);
        assert!(outcome.is_inconclusive());
        outcome.judge(&[stall(5_000, 900)], (10_000, 20_000), DEAD_HALF_MS);
        assert!(!outcome.is_good());
    }
}
