//! Chance that can be repeated: the same seed, the same faults.

/// A source of numbers (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The numbers of one round: a round can be replayed without those before it.
    pub fn of_round(seed: u64, round: u64) -> Self {
        Self(seed ^ (round + 1).wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// One of several.
    pub fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_rounds_differ() {
        let numbers = |mut dice: Dice| (0..4).map(|_| dice.roll()).collect::<Vec<_>>();
        assert_eq!(numbers(Dice::of_round(7, 3)), numbers(Dice::of_round(7, 3)));
        assert_ne!(numbers(Dice::of_round(7, 3)), numbers(Dice::of_round(7, 4)));
        assert_ne!(numbers(Dice::new(7)), numbers(Dice::new(8)));
    }
}
