//! What a patch says of the tiers, held against what they said. A line that is not true is worse than none: who reads it
//! takes a net for one that holds, or for one that cannot.
//!
//! The model looks at every order of its faults, so an error of the core that it lets through is either one that cannot
//! be seen there, for a reason that somebody has found, or a hole in the model.

use std::fmt;

use super::tier::{self, Outcome};

/// The folder of which the model is.
const CORE: &str = "hb/src";

/// What a patch says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    /// It changes the core.
    pub core: bool,
    /// Why the model cannot see it.
    pub blind: Option<&'a str>,
    /// The seed of the simulator that it belongs to.
    pub seed: Option<u64>,
}

/// What is wrong with that.
#[derive(Debug, PartialEq, Eq)]
pub enum Objection {
    /// The model lets it through, and nothing says why.
    BlindWithoutReason,
    /// The model is said to be blind to it, and is not.
    NotBlind,
    /// The seed that it names shows nothing.
    SeedPasses(u64),
}

impl Objection {
    /// The tier that it is about.
    pub fn tier(&self) -> &'static str {
        match self {
            Objection::BlindWithoutReason | Objection::NotBlind => tier::MODEL,
            Objection::SeedPasses(_) => tier::SEED,
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::BlindWithoutReason => {
                f.write_str("MISSED: model blind, and no reason given (`Model: blind, REASON`)")
            }
            Objection::NotBlind => {
                f.write_str("STALE: noticed, though its line says blind: take it out")
            }
            Objection::SeedPasses(seed) => {
                write!(
                    f,
                    "STALE: seed {seed} does not fail: find another that does"
                )
            }
        }
    }
}

/// All that is wrong. Tiers that did not run say nothing.
pub fn objections(claims: Claims<'_>, ran: &[(&'static str, Outcome)]) -> Vec<Objection> {
    let passed = |name| {
        let of_tier = ran.iter().find(|(tier, _)| *tier == name);
        of_tier.map(|(_, outcome)| matches!(outcome, Outcome::Passed))
    };
    let of_model = match (passed(tier::MODEL), claims.blind) {
        (Some(true), None) if claims.core => Some(Objection::BlindWithoutReason),
        (Some(false), Some(_)) => Some(Objection::NotBlind),
        _ => None,
    };
    let of_seed = claims.seed.filter(|_| passed(tier::SEED) == Some(true));
    let all = of_model.into_iter();
    all.chain(of_seed.map(Objection::SeedPasses)).collect()
}

impl super::Mutant {
    /// What it says of the tiers.
    pub fn claims(&self) -> Claims<'_> {
        Claims {
            core: self.touches(CORE),
            blind: self.blind.as_deref(),
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noticed() -> Outcome {
        Outcome::Noticed(vec!["something".into()])
    }

    #[test]
    fn an_error_of_the_core_that_the_model_lets_through_needs_a_reason() {
        let core = Claims {
            core: true,
            ..Claims::default()
        };
        let blind = Claims {
            blind: Some("two pools"),
            ..core
        };
        let ran = |model| [("hb", noticed()), (tier::MODEL, model)];
        for (claims, model, expected) in [
            (core, noticed(), None),
            (core, Outcome::Passed, Some(Objection::BlindWithoutReason)),
            (blind, Outcome::Passed, None),
            (blind, noticed(), Some(Objection::NotBlind)),
            // The simulator's copy of a worker is not the core's.
            (Claims::default(), Outcome::Passed, None),
        ] {
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(objections(claims, &ran(model)), expected, "{claims:?}");
        }
        // Where it did not run nobody knows.
        for claims in [core, blind] {
            assert_eq!(objections(claims, &[("hb", noticed())]), []);
        }
    }

    #[test]
    fn a_seed_that_a_patch_names_must_fail_with_it() {
        let claims = Claims {
            seed: Some(17),
            ..Claims::default()
        };
        let ran = |seed| [(tier::SEED, seed), ("sim", noticed())];
        assert_eq!(objections(claims, &ran(noticed())), []);
        let passes = [Objection::SeedPasses(17)];
        assert_eq!(objections(claims, &ran(Outcome::Passed)), passes);
        assert_eq!(objections(claims, &[("hb", noticed())]), []);
    }
}
