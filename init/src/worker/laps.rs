//! How long each step of a job took, for the log: whoever has waited for a takeover asks where the time went.

use std::fmt::{self, Write as _};

use embassy_time::Instant;

use crate::clock;

/// The steps so far.
pub(super) struct Laps {
    last: Instant,
    said: String,
}

impl Laps {
    pub fn begin() -> Laps {
        Laps {
            last: clock::now(),
            said: String::new(),
        }
    }

    /// This step ends here.
    pub fn end(&mut self, step: &str) {
        let now = clock::now();
        let took = now.saturating_duration_since(self.last).as_millis();
        let comma = if self.said.is_empty() { "" } else { ", " };
        let _ = write!(self.said, "{comma}{step} {took} ms");
        self.last = now;
    }
}

impl fmt::Display for Laps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_said_with_its_own_time() {
        let mut laps = Laps::begin();
        laps.last = clock::now() - embassy_time::Duration::from_secs(3);
        laps.end("volumes");
        laps.end("shares");
        let said = laps.to_string();
        let (volumes, shares) = said.split_once(", ").unwrap();
        let ms = |lap: &str, step: &str| -> u64 {
            let rest = lap.strip_prefix(step).unwrap().strip_suffix(" ms").unwrap();
            rest.trim().parse().unwrap()
        };
        assert!(ms(volumes, "volumes") >= 3000, "{said}");
        assert!(ms(shares, "shares") < ms(volumes, "volumes"), "{said}");
    }
}
