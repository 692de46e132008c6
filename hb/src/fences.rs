//! How often each head was fenced lately: the breaker of a fence loop.
//!
//! Two heads that take each other for dead again and again, for a cable that comes and goes, would fence each
//! other for ever. A head that was fenced [`LIMIT`] times within [`WINDOW`] is *barred*: it takes nothing from a
//! peer that may be alive until an operator readmits it. From a peer that is dead beyond doubt it still takes over.
//!
//! What is beyond doubt: where there is a ledger, that it does not tick, which is known as soon as ever. Where there is none, a
//! silence of all cables that lasts [`barred_dead`](crate::Timing::barred_dead); and that one may yet be of a peer that lives and
//! serves behind cables that are cut, because without a ledger dead and cut cannot be told apart. A barred head that waited for
//! more than silence would leave a pool unserved for ever after a true death. So cables that stay cut for that long cost
//! one takeover. It is no duel: the fence decides who writes, the former owner finds it lost and resets, and as long as it hears
//! nothing in its new boot it takes its peer for unheard, not for dead, and fences nobody.
//!
//! An operator is told: `handover` to a barred head and `giveback` to it, on whichever console they are said, are refused until
//! `readmit` is said to the other head. They bring a pool to where it ought to be, and who says them may not know what became of that
//! head. `takeover` said to the barred head itself counts as told: it names the head that is to serve, and it is what is left when
//! the other one cannot be asked. It does not readmit.
//!
//! A head that is fenced forgets everything, so each tells the other: in every beat on Ethernet, and on serial, where a beat has no
//! room for it, in a frame of its own that takes its turn with the pools. (On serial it was not told. With Ethernet broken and serial
//! coming and going two living heads fenced each other in turn, each forgot, and neither was ever barred.) And one of the two is always
//! the one that fenced. Who forgot says at first that there was nothing: that is believed only once it has heard
//! what there was. (It was believed at once, and two heads that fenced each other in turn were never barred.)

use embassy_time::{Duration, Instant};
use heapless::Vec;

use crate::HeadId;

/// Fences within the window after which a head is barred.
pub(crate) const LIMIT: usize = 3;
/// How long a fence counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);
/// Two heads' accounts of one fence differ by less: beats take a fraction of a second, and ages are whole ones.
const SAME: Duration = Duration::from_secs(3);

/// Ages in seconds of the fences of both heads, as beats carry them; [`NEVER`] where there is none.
pub(crate) type Ages = [[u16; LIMIT]; 2];
const NEVER: u16 = u16::MAX;

/// Whether an account tells of any fence.
pub(crate) fn tells_of_any(ages: &Ages) -> bool {
    ages.iter().flatten().any(|age| *age != NEVER)
}

/// The fences of both heads that still count, by when they cease to. Not by when they were: that may be before
/// this head booted, where its clock has no name for it.
#[derive(Clone, Default)]
pub(crate) struct Fences {
    ends: [Vec<Instant, LIMIT>; 2],
}

impl Fences {
    /// A head was fenced `age` ago.
    pub(crate) fn note(&mut self, head: HeadId, age: Duration, now: Instant) {
        let Some(left) = WINDOW.checked_sub(age) else {
            return;
        };
        let end = now + left;
        let ends = &mut self.ends[index(head)];
        ends.retain(|end| *end > now);
        let known = ends.iter().any(|&known| {
            known
                .saturating_duration_since(end)
                .max(end.saturating_duration_since(known))
                < SAME
        });
        if known {
            return;
        }
        if ends.is_full()
            && let Some((oldest, _)) = ends.iter().enumerate().min_by_key(|(_, end)| **end)
        {
            ends.swap_remove(oldest);
        }
        // There is room now.
        let _ = ends.push(end);
    }

    /// The peer's account. Of this head's own fences the peer knows best, who did it: what it says replaces what is
    /// known here, so that an operator can readmit. `news`: it has not heard yet, in its present boot, what is known
    /// here. It may have forgotten then, and so may this head: both take over what the other knows.
    pub(crate) fn learn(&mut self, ages: &Ages, me: HeadId, news: bool, now: Instant) {
        if !news {
            self.ends[index(me)].clear();
        }
        for head in [me, me.peer()] {
            if head != me && !news {
                continue;
            }
            for age in ages[index(head)].iter().filter(|age| **age != NEVER) {
                self.note(head, Duration::from_secs(u64::from(*age)), now);
            }
        }
    }

    pub(crate) fn ages(&self, now: Instant) -> Ages {
        let mut ages = [[NEVER; LIMIT]; 2];
        for (ages, ends) in ages.iter_mut().zip(&self.ends) {
            let living = ends.iter().filter(|end| **end > now);
            for (age, end) in ages.iter_mut().zip(living) {
                let left = end.saturating_duration_since(now);
                // At most the window, which fits.
                *age = WINDOW
                    .checked_sub(left)
                    .map_or(0, |age| age.as_secs() as u16);
            }
        }
        ages
    }

    /// Whether there is anything to tell.
    pub(crate) fn is_any(&self, now: Instant) -> bool {
        self.ends.iter().flatten().any(|end| *end > now)
    }

    /// How often a head was fenced lately.
    pub(crate) fn count(&self, head: HeadId, now: Instant) -> usize {
        self.ends[index(head)]
            .iter()
            .filter(|end| **end > now)
            .count()
    }

    pub(crate) fn is_barred(&self, head: HeadId, now: Instant) -> bool {
        self.count(head, now) >= LIMIT
    }

    /// An operator says that all is well with a head again.
    pub(crate) fn forget(&mut self, head: HeadId) {
        self.ends[index(head)].clear();
    }
}

fn index(head: HeadId) -> usize {
    usize::from(head.number()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HeadId = HeadId::First;
    const B: HeadId = HeadId::Second;
    const ZERO: Duration = Duration::from_ticks(0);

    #[test]
    fn three_fences_in_ten_minutes_bar_a_head_and_time_readmits_it() {
        let mut fences = Fences::default();
        let start = Instant::from_secs(1000);
        for minute in 0..3 {
            assert!(!fences.is_barred(B, start + Duration::from_secs(60 * minute)));
            fences.note(B, ZERO, start + Duration::from_secs(60 * minute));
        }
        assert!(fences.is_barred(B, start + Duration::from_secs(121)));
        assert!(!fences.is_barred(A, start + Duration::from_secs(121)));
        assert!(!fences.is_barred(B, start + Duration::from_secs(601)));
        fences.note(B, ZERO, start + Duration::from_secs(500));
        fences.forget(B);
        assert_eq!(fences.count(B, start + Duration::from_secs(501)), 0);
    }

    #[test]
    fn a_head_that_just_booted_learns_of_fences_from_before_its_boot() {
        let mut old = Fences::default();
        let there = Instant::from_secs(90_000);
        for age in [300, 200, 100] {
            old.note(B, Duration::from_secs(age), there);
            old.note(A, Duration::from_secs(age + 20), there);
        }
        for me in [A, B] {
            let mut young = Fences::default();
            let here = Instant::from_secs(2);
            for _ in 0..5 {
                young.learn(&old.ages(there), me, true, here);
            }
            assert_eq!((young.count(A, here), young.count(B, here)), (3, 3));
        }
    }

    #[test]
    fn a_peer_that_forgot_makes_nobody_forget() {
        let mut fences = Fences::default();
        let now = Instant::from_secs(5000);
        for age in [300, 200, 100] {
            fences.note(A, Duration::from_secs(age), now);
        }
        fences.learn(&Fences::default().ages(now), A, true, now);
        assert_eq!(fences.count(A, now), 3);
    }

    #[test]
    fn a_head_is_readmitted_by_the_one_that_fenced_it() {
        let (mut a, mut b) = (Fences::default(), Fences::default());
        let now = Instant::from_secs(5000);
        for age in [300, 200, 100] {
            a.note(B, Duration::from_secs(age), now);
        }
        b.learn(&a.ages(now), B, true, now);
        assert!(b.is_barred(B, now));
        a.forget(B);
        // What the peer still tells of itself is no news to a head that has run for long.
        a.learn(&b.ages(now), A, false, now);
        b.learn(&a.ages(now), B, false, now);
        assert!(!a.is_barred(B, now) && !b.is_barred(B, now));
    }

    #[test]
    fn one_fence_of_two_pools_is_one_fence() {
        let mut fences = Fences::default();
        let now = Instant::from_secs(1000);
        fences.note(B, ZERO, now);
        fences.note(B, ZERO, now + Duration::from_millis(300));
        assert_eq!(fences.count(B, now + Duration::from_secs(1)), 1);
    }
}
