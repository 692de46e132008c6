//! Breaking things until a promise breaks: the matrix row by row, and torture by the dice.
//!
//! Reading order: [`fault`] is what can break, [`rows`] what must come of it, [`round`] plays one and checks,
//! [`watch`] says who owns what by the target's own answers; [`outcome`] is what came of a round, and what a stall of the host
//! excuses; [`pick`] chooses by seed, [`tally`] sums up.

pub mod dice;
pub mod fault;
pub mod outcome;
pub mod pick;
pub mod round;
pub mod rows;
pub mod tally;
pub mod watch;

use std::time::Duration;

use crate::Lab;
use crate::spec::Options;
use dice::Dice;
use round::Plan;
use rows::Row;
use tally::Tally;

/// What a lab is like, as far as it matters to what must come of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Silence that counts as death.
    pub dead: Duration,
    /// Whether its pools have a ledger.
    pub ledger: bool,
}

impl Terms {
    /// Those of a lab made with such options.
    pub fn of(options: &Options) -> Self {
        Self {
            dead: Duration::from_millis(options.dead_ms.into()),
            ledger: options.ledger,
        }
    }

    /// Whether what a row expects can be expected.
    pub fn suit(&self, row: &Row) -> bool {
        self.ledger || !row.needs_ledger
    }
}

/// Plays the rounds of a seed on a whole lab, from `first` on; stops at one after which the box does not
/// come back.
pub fn rounds(lab: &Lab, seed: u64, first: u64, count: u64, terms: Terms, tally: &mut Tally) {
    for round in first..first + count {
        let plan = pick::plan(&mut Dice::of_round(seed, round), terms);
        let name = format!("round {round}, {plan}");
        play(lab, &name, &plan, terms.dead, tally);
        if tally.stuck > 0 {
            return;
        }
    }
}

/// Plays one and says how it went.
pub fn play(lab: &Lab, name: &str, plan: &Plan, dead: Duration, tally: &mut Tally) {
    match round::play(lab, plan, dead) {
        Ok(outcome) => {
            println!("    {}", tally::line(name, &outcome));
            tally.add(name, &outcome);
        }
        Err(error) => {
            println!("    {name}: DOES NOT MEND: {error:#}");
            tally.add_stuck(name, &error);
        }
    }
}

/// `cargo lab torture`: true if every promise was kept.
///
/// # Errors
/// The lab's.
pub fn run(options: &Options, seed: u64, first: u64, count: u64) -> anyhow::Result<bool> {
    println!("seed {seed}: `--seed {seed} --first N --rounds 1` replays round N");
    let plans = |lab: &Lab, from: u64, tally: &mut Tally| {
        let terms = Terms::of(options);
        rounds(lab, seed, from, first + count - from, terms, tally);
    };
    with_labs(options, first, first + count, plans)
}

/// `cargo lab matrix`: the rows of these names, or all that suit its terms.
///
/// # Errors
/// The lab's, and a name that no row has.
pub fn run_matrix(options: &Options, names: &[String]) -> anyhow::Result<bool> {
    let terms = Terms::of(options);
    let mut chosen = Vec::new();
    for name in names {
        match rows::ROWS.iter().find(|row| row.name == name) {
            Some(row) => chosen.push(*row),
            None => {
                let all: Vec<&str> = rows::ROWS.iter().map(|row| row.name).collect();
                anyhow::bail!("no row {name:?}: they are {}", all.join(", "))
            }
        }
    }
    if names.is_empty() {
        for row in rows::ROWS {
            if terms.suit(row) {
                chosen.push(*row);
            } else {
                println!("{}: SKIPPED: needs a ledger", row.name);
            }
        }
    }
    let plans = |lab: &Lab, from: u64, tally: &mut Tally| {
        for row in &chosen[from as usize..] {
            play(lab, row.name, &Plan::Row(*row), terms.dead, tally);
            if tally.stuck > 0 {
                return;
            }
        }
    };
    with_labs(options, 0, chosen.len() as u64, plans)
}

/// Brings a lab up, and another one whenever the last one did not come back, until all rounds were played.
fn with_labs(
    options: &Options,
    first: u64,
    end: u64,
    play_from: impl Fn(&Lab, u64, &mut Tally),
) -> anyhow::Result<bool> {
    let mut all = Tally::default();
    let mut next = first;
    while next < end {
        let lab = Lab::up(options)?;
        let mut tally = Tally::default();
        play_from(&lab, next, &mut tally);
        if tally.stuck > 0 {
            eprintln!("{}", lab.trouble());
        }
        next += tally.rounds.max(1);
        all.merge(tally);
        lab.down()?;
    }
    println!(
        "\nOrthrus on a shelf of {}, dead after {} ms\n{all}",
        options.shelf, options.dead_ms
    );
    Ok(all.is_good())
}
