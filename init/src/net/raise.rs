//! The data port again, when it could not be made at boot: a card whose driver takes long, an MTU that was refused.
//!
//! It is tried when what is wanting changes, as when a card appears, and else once in a while: each attempt is some messages to the kernel.

use embassy_time::{Duration, Instant};
use tracing::{error, info};

/// How long until an attempt that changed nothing is made again.
const PAUSE: Duration = Duration::from_secs(60);

/// What came of it so far.
#[derive(Default)]
pub struct Raising {
    /// What was wanting at the last attempt, and when that was.
    tried: Option<(String, Instant)>,
    /// Why the last attempt failed.
    failed: Option<String>,
}

impl Raising {
    /// Makes the port by `open`, given what is wanting of it, if that is due. What changes is said.
    pub fn look(
        &mut self,
        wanting: Option<String>,
        now: Instant,
        open: impl FnOnce() -> Result<(), String>,
    ) {
        let Some(wanting) = wanting else {
            if self.tried.take().is_some() {
                info!("the port for service addresses is as it should be");
            }
            self.failed = None;
            return;
        };
        let is_due = match &self.tried {
            Some((before, at)) => *before != wanting || now.saturating_duration_since(*at) >= PAUSE,
            None => true,
        };
        if !is_due {
            return;
        }
        let failed = open().err();
        if failed != self.failed
            && let Some(why) = &failed
        {
            error!("the port for service addresses cannot be used: {why}");
        }
        self.tried = Some((wanting, now));
        self.failed = failed;
    }

    /// Why the port cannot be made, after the last attempt.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_port_is_tried_again_when_a_card_comes_and_from_time_to_time_until_it_is_up() {
        let mut raising = Raising::default();
        let tries = Cell::new(0);
        let mut look = |at_s: u64, wanting: Option<&str>, fails: Option<&str>| {
            raising.look(wanting.map(str::to_owned), Instant::from_secs(at_s), || {
                tries.set(tries.get() + 1);
                fails.map_or(Ok(()), |why| Err(why.to_owned()))
            });
            (tries.get(), raising.failed().map(str::to_owned))
        };
        let no_card = Some("no card".to_owned());
        assert_eq!(
            look(1, Some("not there"), Some("no card")),
            (1, no_card.clone())
        );
        assert_eq!(
            look(60, Some("not there"), Some("no card")),
            (1, no_card.clone())
        );
        assert_eq!(look(61, Some("not there"), Some("no card")), (2, no_card));
        // The card comes, and its MTU is refused.
        let refused = Some("MTU".to_owned());
        assert_eq!(look(62, Some("off"), Some("MTU")), (3, refused.clone()));
        assert_eq!(look(63, Some("off"), Some("MTU")), (3, refused));
        assert_eq!(look(122, Some("off"), None), (4, None));
        assert_eq!(look(123, None, Some("never asked")), (4, None));
        assert_eq!(look(124, Some("off"), None), (5, None));
    }
}
