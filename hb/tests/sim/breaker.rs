//! Who was fenced how often, as both heads must know: the truth beside what the core remembers.
//!
//! A boot forgets, and what one head remembers the other must have learnt by a cable before it forgets: in every
//! beat on Ethernet, in some on serial. An operator
//! who readmits a head makes both forget.

use orthrus_hb::{HeadId, LinkId};

use crate::clock::{MS, SECOND, Time};
use crate::network::Path;
use crate::worker;
use crate::world::World;

/// Fences that lie closer together may be one: those of two pools.
const APART: Time = 4 * SECOND;
/// How long a fence counts, less and more what whole seconds and some boots make of it.
const WINDOW: (Time, Time) = (590 * SECOND, 640 * SECOND);
/// How long both must have heard each other on one cable to know the same; on serial all pools have their turn.
const LEARNT: Time = 3 * SECOND;
/// An age in a frame that was on its way for longer is no age.
const HELD_BACK: Time = 5 * SECOND;
const LIMIT: usize = 3;

#[derive(Default)]
pub struct Breaker {
    /// Who was fenced and when, by whose memory it is.
    known: [Vec<(usize, Time)>; 2],
    /// Whatever a memory may hold.
    ever: Vec<(usize, Time)>,
    /// By link: since when it has carried what each says to the other.
    together_since: [Option<Time>; LinkId::ALL.len()],
    /// When a clock last went another way than time, or a head read beats that a cable had held back, or that had
    /// waited for it: how long ago something was is a matter of opinion then.
    uneven: Option<Time>,
}

impl Breaker {
    /// A claim from a dead peer is through; `found`: the peer's keys were still there. They may have gone after the
    /// core had looked.
    pub fn fenced(&mut self, by: usize, found: bool, now: Time) {
        if found {
            self.known[by].push((1 - by, now));
        }
        self.ever.push((1 - by, now));
    }

    pub fn booted(&mut self, who: usize) {
        self.known[who].clear();
        self.together_since = Default::default();
    }

    pub fn clock_went_astray(&mut self, now: Time) {
        self.uneven = Some(now);
    }

    /// A head takes in a frame that was sent then.
    pub fn read(&mut self, sent: Time, now: Time) {
        if now > sent + HELD_BACK {
            self.uneven = Some(now);
        }
    }

    pub fn readmitted(&mut self, who: usize) {
        self.known
            .iter_mut()
            .for_each(|known| known.retain(|(fenced, _)| *fenced != who));
    }

    /// Both have heard each other for a while: they know the same.
    fn share(&mut self) {
        let mut all = self.known.concat();
        all.sort_unstable_by_key(|(who, at)| (*at, *who));
        all.dedup();
        self.known = [all.clone(), all];
    }

    /// How often a head was fenced for sure, as far as another remembers.
    fn at_least(&self, of: usize, who: usize, now: Time) -> usize {
        let mut last = None;
        let fences = self.known[of]
            .iter()
            .filter(|(fenced, at)| *fenced == who && now < at + WINDOW.0);
        fences
            .filter(|(_, at)| {
                let apart = last.is_none_or(|last| *at > last + APART);
                if apart {
                    last = Some(*at);
                }
                apart
            })
            .count()
    }

    fn at_most(&self, who: usize, now: Time) -> usize {
        let fences = self.ever.iter();
        fences
            .filter(|(fenced, at)| *fenced == who && now < at + WINDOW.1)
            .count()
    }
}

impl World {
    /// What the heads know of each other's fences, now and then.
    pub fn look_at_fences(&mut self) {
        let now = self.now;
        // A head of the release before tells of them on Ethernet only.
        let links = match self.elder {
            Some(_) => &[LinkId::Ether][..],
            None => &LinkId::ALL[..],
        };
        let is_calm = |path: &Path| {
            let is_slow = path.delay > 0 || path.hold > 0 || path.is_behind(now);
            !path.cut && path.loss == 0 && !is_slow
        };
        let carries = |link: &LinkId| {
            let hears = self.machines.iter().all(|machine| {
                let at = machine.heard[link.index()];
                machine.beats() && at.is_some_and(|at| now < at + 300 * MS)
            });
            hears && self.paths.iter().all(|paths| is_calm(&paths[link.index()]))
        };
        let carried = LinkId::ALL.map(|link| links.contains(&link) && carries(&link));
        // A claim that is through at the disks is not yet known to its head.
        let is_told = self.machines.iter().all(|machine| {
            let mut jobs = machine
                .workers
                .iter()
                .filter_map(|worker| worker.job.as_ref());
            jobs.all(|job| worker::claims(job).is_none()) && machine.outcomes.is_empty()
        });
        let breaker = &mut self.checks.breaker;
        let uneven = breaker.uneven.is_some_and(|at| now < at + WINDOW.1);
        let mut is_shared = false;
        for (since, carried) in breaker.together_since.iter_mut().zip(carried) {
            match carried && !uneven {
                true => is_shared |= now > *since.get_or_insert(now) + LEARNT,
                false => *since = None,
            }
        }
        if is_shared && is_told {
            breaker.share();
            for of in [0, 1] {
                for who in [0, 1] {
                    self.compare_fences(of, who);
                }
            }
        }
    }

    fn compare_fences(&mut self, of: usize, who: usize) {
        let Some(head) = &self.machines[of].head else {
            return;
        };
        let id = [HeadId::First, HeadId::Second][who];
        let (count, barred) = head.fences(id);
        let least = self.checks.breaker.at_least(of, who, self.now);
        let most = self.checks.breaker.at_most(who, self.now);
        if least >= LIMIT && !barred || count > most {
            self.checks.fail(format!(
                "I4: {of} counts {count} fences of {who}, which were {least} to {most}"
            ));
        }
    }
}
