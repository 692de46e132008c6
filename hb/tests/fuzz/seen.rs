//! What an execution showed, in words: the guide of the fuzzer.
//!
//! An input that shows something for the first time is kept and mutated further. A coverage map of the
//! compiler would be finer, and needs a nightly compiler or a foreign linker script; what a core like this can do
//! differently shows in its answers, its states and its actions, and these have names. The names are also what
//! the files of the corpus are called.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Everything that one execution showed.
#[derive(Default)]
pub struct Seen {
    pub features: BTreeMap<u64, String>,
    /// The state before the next step.
    state: u64,
}

impl Seen {
    /// Notes that something happened.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.features
            .entry(hash(what))
            .or_insert_with(|| what.to_string());
    }

    /// Notes a step and the state that it led to, and from which: the way there counts as well.
    pub fn step(&mut self, told: &str, state: fmt::Arguments<'_>) {
        self.note(format_args!("{told} leads to {state}"));
        let after = hash(state);
        let before = std::mem::replace(&mut self.state, after);
        self.note(format_args!("way {before:x} {told} {after:x}"));
    }
}

/// FNV-1a, so that a feature is not spelled out each time that it is seen.
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

fn hash(what: fmt::Arguments<'_>) -> u64 {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    let _ = fnv.write_fmt(what); // it never fails
    fnv.0
}
