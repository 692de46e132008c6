//! Inputs from inputs.

use crate::rng::Rng;

/// Longest input: what a longer one shows a shorter one shows too.
const INPUT_MAX_BYTES: usize = 256;

/// Ends of ranges, of varints and of what fits a byte.
const EDGES: [u8; 12] = [0, 1, 2, 3, 7, 8, 9, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// A new input from the corpus.
pub fn mutate(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = match corpus.len() {
        0 => Vec::new(),
        count => corpus[rng.index(count)].clone(),
    };
    for _ in 0..=rng.below(4) {
        change(&mut input, corpus, rng);
    }
    input.truncate(INPUT_MAX_BYTES);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.index(input.len() + 1);
    let span = (1 + rng.index(8)).min(input.len() - at);
    match rng.below(9) {
        0 | 1 if span > 0 => input[at] ^= 1 << rng.below(8),
        2 if span > 0 => input[at] = rng.bits() as u8,
        3 if span > 0 => input[at] = rng.pick(&EDGES),
        4 => input.insert(at, rng.pick(&EDGES)),
        5 => drop(input.drain(at..at + span)),
        // Again what was there, as a replayed step or a repeated field.
        6 => {
            let copy = input[at..at + span].to_vec();
            let to = rng.index(input.len() + 1);
            input.splice(to..to, copy);
        }
        7 => {
            for _ in 0..1 + rng.below(6) {
                input.push(rng.bits() as u8);
            }
        }
        // The rest of another input.
        _ if !corpus.is_empty() => {
            let other = &corpus[rng.index(corpus.len())];
            let from = rng.index(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.push(rng.bits() as u8),
    }
}

/// A smaller input of which `still` holds too, which holds of `input`.
pub fn minimise(input: &[u8], still: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut span = best.len().next_power_of_two();
    while span > 0 {
        let mut at = 0;
        while at < best.len() {
            let mut less = best.clone();
            less.drain(at..(at + span).min(best.len()));
            match still(&less) {
                true => best = less,
                false => at += span,
            }
        }
        span /= 2;
    }
    for at in 0..best.len() {
        let mut plain = best.clone();
        plain[at] = 0;
        if still(&plain) {
            best = plain;
        }
    }
    best
}
