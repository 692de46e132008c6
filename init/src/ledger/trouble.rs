//! What is wrong with one copy, and whether it is worth a line in the log: something that is done ten times a
//! second and fails must not fill it.

use embassy_time::{Duration, Instant};

/// Time between two lines about the same copy, when it fails and recovers in turn.
const QUIET: Duration = Duration::from_secs(60);

/// The present trouble.
#[derive(Debug, Default)]
pub struct Trouble {
    text: Option<String>,
    /// This one is in the log.
    is_told: bool,
    /// When the last one was put there.
    said: Option<Instant>,
}

impl Trouble {
    /// It is there. Whether to say so.
    pub fn begins(&mut self, text: &str, now: Instant) -> bool {
        let known = self.text.is_some();
        if self.text.as_deref() != Some(text) {
            self.text = Some(text.to_owned());
        }
        let quiet = self
            .said
            .is_some_and(|said| now.saturating_duration_since(said) < QUIET);
        if known || quiet {
            return false;
        }
        (self.is_told, self.said) = (true, Some(now));
        true
    }

    /// It is over. Whether to say so: only what was said is taken back.
    pub fn ends(&mut self) -> bool {
        self.text = None;
        std::mem::take(&mut self.is_told)
    }

    /// What it is.
    pub fn text(&self) -> Option<String> {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_fails_is_named_once_and_one_that_flaps_now_and_then() {
        let mut trouble = Trouble::default();
        let at = Instant::from_secs;
        assert!(trouble.begins("EIO", at(100)));
        assert!(!trouble.begins("EIO", at(101)));
        assert!(!trouble.begins("ENODEV", at(102)));
        assert_eq!(trouble.text().as_deref(), Some("ENODEV"));
        assert!(trouble.ends());
        assert!(!trouble.ends());
        assert!(!trouble.begins("EIO", at(104)));
        assert!(trouble.text().is_some());
        assert!(!trouble.ends());
        assert!(trouble.begins("EIO", at(161)));
    }
}
