//! What breaks in a round of torture: chosen by the dice from the rows of the matrix.

use std::time::Duration;

use super::Terms;
use super::dice::Dice;
use super::fault::Fault;
use super::round::Plan;
use super::rows::{ROWS, Row};

/// Chances in a hundred: a whole row; one fault of a row, but for a short or a long time; the rest are two at
/// once or shortly after each other.
const ROW: u64 = 40;
const ALONE: u64 = 25;
/// How long faults last that nothing else ends, in multiples of the silence that counts as death: from gone
/// before anybody notices to long after.
const LASTS: (u64, u64) = (2, 50);
/// How much later the second of two strikes at most, in the same measure.
const APART: u64 = 25;

/// The plan of a round, on these terms.
pub fn plan(dice: &mut Dice, terms: Terms) -> Plan {
    let rows: Vec<Row> = ROWS
        .iter()
        .copied()
        .filter(|row| terms.suit(row) && !row.faults.is_empty())
        .collect();
    // Faults are worth trying without a ledger too: what is asked of every round holds with them.
    let faults: Vec<Fault> = ROWS.iter().flat_map(|row| row.faults).copied().collect();
    let tenths = |dice: &mut Dice, (from, to): (u64, u64)| {
        terms.dead * (from + dice.below(to - from)) as u32 / 10
    };
    let kind = dice.below(100);
    if kind < ROW {
        return Plan::Row(*dice.choose(&rows));
    }
    let mut chosen = vec![(*dice.choose(&faults), Duration::ZERO)];
    if kind >= ROW + ALONE {
        let second = *dice.choose(&faults);
        let apart = tenths(dice, (0, APART));
        chosen.push((second, apart));
    }
    Plan::Loose {
        faults: chosen,
        lasts: tenths(dice, LASTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plans_again_and_all_kinds_of_them() {
        let terms = Terms {
            dead: Duration::from_secs(1),
            ledger: true,
        };
        let of = |round| plan(&mut Dice::of_round(1, round), terms).to_string();
        let plans: Vec<String> = (0..60).map(of).collect();
        assert_eq!(plans, (0..60).map(of).collect::<Vec<_>>());
        for part in [" s ", "owner_", "shelf"] {
            assert!(plans.iter().any(|plan| plan.contains(part)), "{part}");
        }
    }
}
