//! The changes of a pool's state that the core's drawing promises, held against those that happen.

use std::collections::BTreeSet;

/// From and to, by the names that consoles show.
pub type Changes = BTreeSet<(String, String)>;

/// The module that implements them, with the drawing in its head.
const SOURCE: &str = include_str!("../../src/pool/mod.rs");

/// The arrows of the drawing: states are lanes, an arrow begins at a lane with `├` or `┤` and ends beside one.
pub fn documented() -> Changes {
    let drawing = SOURCE
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .skip_while(|line| *line != "```text")
        .skip(1)
        .take_while(|line| *line != "```");
    let mut drawing = drawing.map(|line| line.chars().collect::<Vec<char>>());
    let states: String = drawing.next().expect("a drawing").into_iter().collect();
    let states: Vec<&str> = states.split_whitespace().collect();
    let lanes = drawing.next().expect("lanes under the states");
    let lanes: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at] == '│').collect();
    assert_eq!(states.len(), lanes.len(), "a lane for each state");
    let lane = |at: usize| {
        let number = lanes.iter().position(|lane| *lane == at);
        states[number.expect("an arrow begins and ends at a lane")].to_owned()
    };
    drawing
        .map(|row| {
            let find = |wanted: char| row.iter().position(|drawn| *drawn == wanted);
            match (find('├'), find('►'), find('◄'), find('┤')) {
                (Some(from), Some(to), None, None) => (lane(from), lane(to + 1)),
                (None, None, Some(to), Some(from)) => (lane(from), lane(to - 1)),
                _ => panic!("not one arrow: {}", row.iter().collect::<String>()),
            }
        })
        .collect()
}

/// What happened and is not in the drawing; with `all`, also what is drawn and never happened.
pub fn differences(seen: &Changes, all: bool) -> Vec<String> {
    let drawn = documented();
    let undocumented = seen.difference(&drawn);
    let undocumented = undocumented.map(|(from, to)| format!("{from} -> {to} is not drawn"));
    let unseen = drawn.difference(seen).filter(|_| all);
    let unseen = unseen.map(|(from, to)| format!("{from} -> {to} is drawn and never happened"));
    undocumented.chain(unseen).collect()
}
