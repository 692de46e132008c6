//! The explorer: every state that can be reached, each looked at once, by several threads.
//!
//! A state is known by 128 bits of the SHA-256 of all that its future depends on, so among a hundred
//! million of them two are taken for one with a probability of 10⁻²³. Of each there are kept its
//! predecessor and what was chosen there, which gives the way to it, and what follows when nothing more is chosen.
//! The states themselves are kept only until their successors are known: last in, first out, so there are few.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use crate::choice::Choice;
use crate::counterexample::Counterexample;
use crate::roots::Root;
use crate::world::{End, Sink, World};

const SHARDS: usize = 64;
/// States that a thread keeps before it gives some away.
const KEEP: usize = 32;

/// Index of a state: its shard in the low bits.
pub type Id = u32;
pub const NONE: Id = Id::MAX;

/// What is kept of a state.
#[derive(Clone, Copy)]
pub struct Node {
    /// [`NONE`] for a root.
    pub parent: Id,
    /// What is chosen there.
    pub choice: u16,
    pub end: End,
    /// What follows a plain beat.
    pub next: Id,
    /// Digest of all that may follow, when states are expanded twice.
    successors: u64,
    depth: u16,
}

/// How far to go.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub threads: usize,
    /// Expand a state again for each way to it, and compare.
    pub twice: bool,
    /// More states than any root has: past it the model is not finite, and that is a finding.
    pub states: usize,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are two words");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Default)]
struct Shard {
    ids: HashMap<(u64, u64), u32, BuildHasherDefault<Identity>>,
    nodes: Vec<Node>,
}

pub struct Search {
    shards: Vec<Mutex<Shard>>,
    shared: Mutex<Vec<(Id, Box<World>)>>,
    news: Condvar,
    idle: AtomicUsize,
    bounds: Bounds,
    stop: AtomicBool,
    pub transitions: AtomicU64,
    pub deepest: AtomicUsize,
    count: AtomicUsize,
    violation: Mutex<Option<(Id, Choice, &'static str)>>,
}

impl Search {
    /// Explores all that can be reached from a root, or up to the first violation.
    pub fn run(root: &Root, bounds: Bounds) -> Search {
        let search = Search {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shared: Mutex::default(),
            news: Condvar::new(),
            idle: AtomicUsize::new(0),
            bounds,
            stop: AtomicBool::new(false),
            transitions: AtomicU64::new(0),
            deepest: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            violation: Mutex::default(),
        };
        let mut sink = Sink(Vec::new());
        let world = Box::new(root.world.clone());
        let (id, _) = search.insert(&world, NONE, Choice::BEAT, &mut sink);
        search.shared.lock().unwrap().push((id, world));
        std::thread::scope(|scope| {
            for _ in 0..bounds.threads {
                scope.spawn(|| search.work());
            }
        });
        search
    }

    fn insert(&self, world: &World, parent: Id, choice: Choice, sink: &mut Sink) -> (Id, bool) {
        let depth = match parent {
            NONE => 0,
            _ => self.node(parent).depth.saturating_add(1),
        };
        let [high, low] = world.fingerprint(sink);
        let number = (low >> 58) as usize % SHARDS;
        let mut shard = self.shards[number].lock().unwrap();
        let index = shard.nodes.len() as u32;
        let id = |index: u32| index * SHARDS as u32 + number as u32;
        match shard.ids.entry((high, low)) {
            std::collections::hash_map::Entry::Occupied(known) => (id(*known.get()), false),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(index);
                shard.nodes.push(Node {
                    parent,
                    choice: choice.code(),
                    depth,
                    end: world.end(),
                    next: NONE,
                    successors: 0,
                });
                self.deepest
                    .fetch_max(usize::from(depth), Ordering::Relaxed);
                self.count.fetch_add(1, Ordering::Relaxed);
                (id(index), true)
            }
        }
    }

    fn work(&self) {
        let (mut own, mut sink, mut choices) = (Vec::new(), Sink(Vec::new()), Vec::new());
        while let Some((id, world)) = own.pop().or_else(|| self.take()) {
            self.expand(id, &world, &mut own, &mut choices, &mut sink);
            if own.len() > KEEP && self.idle.load(Ordering::Relaxed) > 0 {
                // The oldest lead furthest.
                let mut shared = self.shared.lock().unwrap();
                shared.extend(own.drain(..KEEP / 2));
                self.news.notify_all();
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }

    fn fail(&self, at: Id, choice: Choice, what: &'static str) {
        let mut violation = self.violation.lock().unwrap();
        violation.get_or_insert((at, choice, what));
        drop(violation);
        // Under the lock, so that nobody begins to wait in between.
        let _shared = self.shared.lock().unwrap();
        self.stop.store(true, Ordering::Relaxed);
        self.news.notify_all();
    }

    fn take(&self) -> Option<(Id, Box<World>)> {
        let mut shared = self.shared.lock().unwrap();
        self.idle.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(found) = shared.pop() {
                self.idle.fetch_sub(1, Ordering::Relaxed);
                return Some(found);
            }
            if self.stop.load(Ordering::Relaxed)
                || self.idle.load(Ordering::Relaxed) == self.bounds.threads
            {
                self.news.notify_all();
                return None;
            }
            shared = self.news.wait(shared).unwrap();
        }
    }

    fn expand(
        &self,
        id: Id,
        world: &World,
        own: &mut Vec<(Id, Box<World>)>,
        choices: &mut Vec<Choice>,
        sink: &mut Sink,
    ) {
        world.choices(choices);
        let mut successors = Vec::new();
        for choice in choices.iter().copied() {
            let mut next = Box::new(world.clone());
            next.apply(choice);
            self.transitions.fetch_add(1, Ordering::Relaxed);
            if let Some(what) = next.checks.violation {
                return self.fail(id, choice, what);
            }
            let (child, new) = self.insert(&next, id, choice, sink);
            successors.push(child);
            if new {
                own.push((child, next));
            } else if self.bounds.twice && !self.is_alike(child, &next, sink) {
                return self.fail(
                    id,
                    choice,
                    "the fingerprint of this state does not tell what follows",
                );
            }
        }
        let mut shard = self.shards[id as usize % SHARDS].lock().unwrap();
        let node = &mut shard.nodes[id as usize / SHARDS];
        node.next = successors[0];
        if node.successors == 0 {
            node.successors = digest(&successors);
        }
        drop(shard);
        if self.count.load(Ordering::Relaxed) > self.bounds.states {
            self.fail(id, Choice::BEAT, "the states do not come to an end");
        }
    }

    /// Whether a state that was reached before on another way leads to the same ones from here.
    fn is_alike(&self, id: Id, world: &World, sink: &mut Sink) -> bool {
        let known = self.node(id).successors;
        if known == 0 {
            return true; // not expanded yet: this way or the other is compared when it is reached again
        }
        let mut choices = Vec::new();
        world.choices(&mut choices);
        let mut successors = Vec::new();
        for choice in choices {
            let mut next = world.clone();
            next.apply(choice);
            let [high, low] = next.fingerprint(sink);
            let number = (low >> 58) as usize % SHARDS;
            let shard = self.shards[number].lock().unwrap();
            let found = shard.ids.get(&(high, low));
            successors.push(found.map_or(NONE, |index| index * SHARDS as u32 + number as u32));
        }
        digest(&successors) == known
    }

    pub fn states(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().unwrap().nodes.len();
        self.shards.iter().map(count).sum()
    }

    pub fn violation(&self) -> Option<Counterexample> {
        let (id, choice, what) = (*self.violation.lock().unwrap())?;
        let mut found = self.way_to(id, what);
        found.way.push(choice);
        Some(found)
    }

    /// What is kept of all states, by shard.
    pub fn nodes(&self) -> Vec<Vec<Node>> {
        let take = |shard: &Mutex<Shard>| shard.lock().unwrap().nodes.clone();
        self.shards.iter().map(take).collect()
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.shards.iter().enumerate().flat_map(|(number, shard)| {
            let count = shard.lock().unwrap().nodes.len();
            (0..count).map(move |index| (index * SHARDS + number) as Id)
        })
    }

    fn node(&self, id: Id) -> Node {
        self.shards[id as usize % SHARDS].lock().unwrap().nodes[id as usize / SHARDS]
    }

    /// The way to a state.
    pub fn way_to(&self, id: Id, what: &'static str) -> Counterexample {
        let (mut way, mut last) = (Vec::new(), self.node(id));
        while last.parent != NONE {
            way.push(Choice::from_code(last.choice));
            last = self.node(last.parent);
        }
        way.reverse();
        Counterexample { way, what }
    }
}

/// Never zero, which is for a state that was not expanded.
fn digest(successors: &[Id]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    successors.hash(&mut hasher);
    hasher.finish() | 1
}
