//! A way to a violation, made short and shown.
//!
//! The explorer goes deep first, so the way that it finds is a long one. Parts of it are left out for as long as
//! what is left still leads to a violation.

use crate::choice::{Choice, read_way, write_way};
use crate::ends;
use crate::roots::Root;
use crate::world::World;

/// Changes that are shown of what follows a way: enough for two rounds of whatever goes on for ever.
const RUN_ON: usize = 30;

/// A way to a state in which something does not hold.
#[derive(Clone)]
pub struct Counterexample {
    pub way: Vec<Choice>,
    pub what: &'static str,
}

/// Follows a way: what does not hold on it or, at its end, when it runs on. `None` too for a way that nobody can go.
fn follow(root: &World, way: &[Choice]) -> Option<(usize, &'static str)> {
    let (mut world, mut choices) = (root.clone(), Vec::new());
    for (step, choice) in way.iter().enumerate() {
        world.choices(&mut choices);
        if !choices.contains(choice) {
            return None;
        }
        world.apply(*choice);
        if let Some(what) = world.checks.violation {
            return Some((step + 1, what));
        }
    }
    ends::run_on(&world).map(|what| (way.len(), what))
}

impl Counterexample {
    /// Leaves out what does not matter.
    pub fn shorten(&mut self, root: &Root) {
        let root = &root.world;
        let mut changed = true;
        while changed {
            changed = false;
            let mut size = self.way.len().next_power_of_two();
            while size > 0 {
                let mut at = 0;
                while at < self.way.len() {
                    let mut way = self.way.clone();
                    way.drain(at..(at + size).min(self.way.len()));
                    changed |= self.adopt(root, way) || {
                        at += size;
                        false
                    };
                }
                size /= 2;
            }
            for at in 0..self.way.len() {
                let mut way = self.way.clone();
                if at < way.len()
                    && matches!(way[at], Choice::Beat { .. })
                    && way[at] != Choice::BEAT
                {
                    way[at] = Choice::BEAT;
                    changed |= self.adopt(root, way);
                }
            }
        }
    }

    fn adopt(&mut self, root: &World, mut way: Vec<Choice>) -> bool {
        let Some((steps, what)) = follow(root, &way) else {
            return false;
        };
        way.truncate(steps);
        (self.way, self.what) = (way, what);
        true
    }

    /// Every step, and what stands there after it; then how it runs on, where that is what does not hold.
    pub fn show(&self, root: &Root) {
        println!(
            "counterexample of {} steps from {}: {}",
            self.way.len(),
            root.name,
            self.what
        );
        let mut world = root.world.clone();
        println!("  {:>14}  {world}", "");
        for choice in &self.way {
            world.apply(*choice);
            println!("  {:>14}  {world}", choice.to_string());
        }
        let mut shown = 0;
        while world.checks.violation.is_none() && shown < RUN_ON {
            let before = world.to_string();
            world.apply(Choice::BEAT);
            let changed = before != world.to_string();
            if changed {
                println!("  {:>14}  {world}", "and on");
            }
            shown += if changed { 1 } else { RUN_ON / 10 };
        }
        println!(
            "replay: cargo test -p orthrus-hb --test model -- --root {} --replay {}",
            root.name,
            write_way(&self.way)
        );
    }

    /// A way that was written down.
    pub fn read(root: &Root, text: &str) -> Result<Counterexample, String> {
        let way = read_way(text)?;
        let what = follow(&root.world, &way);
        let (_, what) = what.ok_or("nothing is wrong on this way, or nobody can go it")?;
        Ok(Counterexample { way, what })
    }
}
