//! The changes of a pool's state that the core's table promises, held against those that happen.

use std::collections::BTreeSet;

/// From and to, by the names that consoles show.
pub type Changes = BTreeSet<(String, String)>;

/// The table in the head of the module that implements it.
const SOURCE: &str = include_str!("../../src/pool/mod.rs");

/// The rows of the table with the heading `from | to | when`.
pub fn documented() -> Changes {
    let rows = SOURCE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("//! | ")?.split(" | ");
        Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
    });
    let mut rows = rows.skip_while(|(from, to)| (from.as_str(), to.as_str()) != ("from", "to"));
    assert!(rows.next().is_some(), "the table of changes is gone");
    rows.collect()
}

/// What happened and is not in the table; with `all`, also what is in the table and never happened.
pub fn differences(seen: &Changes, all: bool) -> Vec<String> {
    let table = documented();
    let undocumented = seen.difference(&table);
    let undocumented = undocumented.map(|(from, to)| format!("{from} -> {to} is not in the table"));
    let unseen = table.difference(seen).filter(|_| all);
    let unseen =
        unseen.map(|(from, to)| format!("{from} -> {to} is in the table and never happened"));
    undocumented.chain(unseen).collect()
}
