//! Tests only: numbers that are the same in every run, for what is damaged, cut and shuffled, and how often that is done.

/// A generator of numbers (xorshift64); a run is repeated by its seed, which is not zero.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// Changes some bytes, cuts some out, doubles some.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let length = self.below(16).min(bytes.len() - at);
            match self.below(4) {
                0 => drop(bytes.drain(at..at + length)),
                1 => {
                    let again = bytes[at..at + length].to_vec();
                    bytes.splice(at..at, again);
                }
                _ if at < bytes.len() => bytes[at] = self.next() as u8,
                _ => bytes.push(self.next() as u8),
            }
        }
    }
}

/// How often something is tried: `ORTHRUS_FUZZ=N` makes it N times as often, and says how often that was.
pub fn times(count: usize) -> usize {
    let factor = std::env::var("ORTHRUS_FUZZ").ok();
    let factor = factor.map_or(1, |factor| factor.parse().unwrap());
    if factor > 1 {
        eprintln!("{} runs", count * factor);
    }
    count * factor
}
