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
    /// Feature by feature in the order of the input: the last two form a third.
    last: u64,
}

impl Seen {
    /// Notes that something happened.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        let one = hash(what);
        self.insert(one, || what.to_string());
    }

    /// Notes that something happened, and what came before it.
    pub fn step(&mut self, what: fmt::Arguments<'_>) {
        self.note(what);
        let one = hash(what);
        let pair = self.last.rotate_left(1) ^ one;
        self.last = one;
        self.insert(pair, || format!("{what} then"));
    }

    fn insert(&mut self, number: u64, name: impl Fn() -> String) {
        self.features.entry(number).or_insert_with(name);
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
