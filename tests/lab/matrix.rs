//! The lab matrix and torture: rows and rounds of [`orthrus_qemu::torture`], each a test. All of them take long, so
//! there is a slice that always runs: some rows by name, and some that a seed chooses. The rest is ignored unless asked for:
//!
//! - `cargo test -p orthrus-tests --test lab -- --include-ignored matrix` runs every row on both shelves,
//! - `ORTHRUS_SEED=7 cargo test -p orthrus-tests --test lab -- matrix torture` another slice.

use anyhow::{Result, ensure};
use orthrus_qemu::names::ShelfKind;
use orthrus_qemu::torture::dice::Dice;
use orthrus_qemu::torture::round::{Plan, play};
use orthrus_qemu::torture::rows::{ROWS, Row};
use orthrus_qemu::torture::tally::{self, Tally};
use orthrus_qemu::torture::{Terms, rounds};
use orthrus_tests::{Bench, lab_options};

/// The slice that runs when no other seed is asked for: what lands should fail by what it changes, not by
/// chance.
const SEED: u64 = 3;
/// Rows that are in every slice, whatever the seed: a duel of two that start, and what makes an owner silent or useless without its
/// death, which is where two writers would come from.
const ALWAYS: [(ShelfKind, &str); 4] = [
    (ShelfKind::Lio, "both_booted_with_all_cables_cut"),
    (ShelfKind::Lio, "serial_and_ether_cut"),
    (ShelfKind::Lio, "shelf_path_of_owner_cut"),
    (ShelfKind::Lio, "serial_ether_and_shelf_path_of_owner_cut"),
];
/// How many rows of each shelf the seed chooses. A takeover on tgt costs ten seconds more than on LIO.
const SLICE: [(ShelfKind, usize); 2] = [(ShelfKind::Tgt, 1), (ShelfKind::Lio, 1)];
/// How many rounds of torture each shelf gets.
const ROUNDS: [(ShelfKind, u64); 2] = [(ShelfKind::Tgt, 1), (ShelfKind::Lio, 1)];

/// One test of the matrix.
pub struct Case {
    /// The row.
    pub row: Row,
    /// Runs always.
    pub in_slice: bool,
}

/// The rows for a shelf, with the slice of the seed.
pub fn cases(shelf: ShelfKind) -> Vec<Case> {
    let size = SLICE.iter().find(|(kind, _)| *kind == shelf);
    let size = size.map_or(0, |(_, size)| *size);
    let mut dice = Dice::new(seed() ^ shelf as u64);
    // Every row draws a number, so that a new row does not change which of the others are chosen.
    let mut draws: Vec<(u64, &Row)> = ROWS.iter().map(|row| (dice.roll(), row)).collect();
    draws.sort_by_key(|(number, _)| *number);
    let slice = draws.iter().take(size);
    let slice: Vec<&str> = slice.map(|(_, row)| row.name).collect();
    let case = |row: &Row| Case {
        row: *row,
        in_slice: slice.contains(&row.name) || ALWAYS.contains(&(shelf, row.name)),
    };
    ROWS.iter().map(case).collect()
}

/// Plays a row.
pub fn row(bench: &Bench, shelf: ShelfKind, row: &Row) -> Result<()> {
    bench.with(shelf, |lab| {
        let outcome = play(lab, &Plan::Row(*row), Terms::of(&lab_options()).dead)?;
        println!("    {}", tally::line(row.name, &outcome));
        ensure!(outcome.is_good(), "{}", outcome.complaints().join("\n"));
        Ok(())
    })
}

/// Plays the first rounds of the seed.
pub fn torture(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let count = ROUNDS.iter().find(|(kind, _)| *kind == shelf);
    let count = count.map_or(0, |(_, count)| *count);
    bench.with(shelf, |lab| {
        let mut tally = Tally::default();
        let terms = Terms::of(&lab_options());
        rounds(lab, seed(), 0, count, terms, &mut tally);
        ensure!(tally.is_good(), "seed {}:\n{tally}", seed());
        Ok(())
    })
}

/// The seed that was asked for, or the usual one.
fn seed() -> u64 {
    let asked = std::env::var("ORTHRUS_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}
