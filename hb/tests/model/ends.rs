//! I3, service: where everything goes when no more faults come.
//!
//! From every state one thing follows when nothing is chosen any more: beats in which all work is done. States
//! are finite, so this ends in a cycle, most often of one state that follows itself. Every such cycle must be
//! an end that may last, and be reached in bounded time: with what is broken left broken, and, since
//! mending everything is a choice that each state has, with everything mended.

use crate::search::{Id, NONE, Search};
use crate::world::{End, World};

/// Beats after which an end must be reached. The longest waits follow one another: a job up to its limit, a reset,
/// a boot without a peer, a claim, an import that fails at the first try.
pub const BOUND: u32 = 100;

/// What the ends are.
#[derive(Default)]
pub struct Ends {
    /// Cycles, by whether all is mended, served redundantly, served, explained.
    pub redundant: usize,
    pub served: usize,
    pub explained: usize,
    /// Beats of the longest way into an end.
    pub longest: u32,
    /// States from which the end is not one that may last, or too far.
    pub bad: Vec<(Id, &'static str)>,
}

/// Whether a cycle may last.
pub fn judge(cycle: &[End]) -> Result<End, &'static str> {
    let any = |end: End| cycle.contains(&end);
    if any(End::Elsewhere) {
        return Err("I3: nothing struck, and the pool is served where it was not made");
    }
    if any(End::Worse) {
        return Err("I3: the worse head serves for good");
    }
    match (any(End::Redundant) || any(End::Served), any(End::Explained)) {
        _ if any(End::Lonely) => {
            Err("I3: nothing is broken, and one head does not stand by for good")
        }
        (true, false) if any(End::Unserved) => Err("I3: it is served now and then"),
        (true, false) if any(End::Served) => Ok(End::Served),
        (true, false) => Ok(End::Redundant),
        // The reason is not seen while the disks are looked at once more.
        (false, true) => Ok(End::Explained),
        (true, true) | (false, false) => Err("I3: nobody serves for good, and no head says why"),
    }
}

pub fn look(search: &Search) -> Ends {
    let nodes = search.nodes();
    let mut ends = Ends::default();
    // By state: 0 not looked at, 1 on the present way, 2 + beats to its end; bad ones are all on `bad`.
    let mut marks: Vec<Vec<u32>> = nodes.iter().map(|shard| vec![0; shard.len()]).collect();
    let place = |id: Id| (id as usize % nodes.len(), id as usize / nodes.len());
    let mut verdicts: std::collections::HashMap<Id, &'static str> =
        std::collections::HashMap::new();
    for start in search.ids() {
        let mut way = Vec::new();
        let mut id = start;
        loop {
            let (shard, index) = place(id);
            if marks[shard][index] != 0 {
                break;
            }
            marks[shard][index] = 1;
            way.push(id);
            id = nodes[shard][index].next;
            if id == NONE {
                return ends; // the exploration was not finished
            }
        }
        let (shard, index) = place(id);
        let mut distance = marks[shard][index];
        let mut verdict = verdicts.get(&id).copied();
        if distance == 1 {
            let begin = way.iter().position(|one| *one == id).unwrap_or(0);
            let cycle: Vec<End> = way[begin..]
                .iter()
                .map(|id| nodes[place(*id).0][place(*id).1].end)
                .collect();
            match judge(&cycle) {
                Ok(End::Redundant) => ends.redundant += 1,
                Ok(End::Served) => ends.served += 1,
                Ok(_) => ends.explained += 1,
                Err(why) => verdict = Some(why),
            }
            for id in way.drain(begin..) {
                marks[place(id).0][place(id).1] = 2;
                verdicts.extend(verdict.map(|why| (id, why)));
                ends.bad.extend(verdict.map(|why| (id, why)));
            }
            distance = 2;
        }
        for id in way.into_iter().rev() {
            distance += 1;
            let beats = distance - 2;
            ends.longest = ends.longest.max(beats);
            if beats == BOUND + 1 {
                verdict = verdict.or(Some("I3: it takes too long until somebody serves"));
            }
            marks[place(id).0][place(id).1] = distance;
            verdicts.extend(verdict.map(|why| (id, why)));
            ends.bad.extend(verdict.map(|why| (id, why)));
        }
    }
    ends
}

/// The same for one state, by running on.
pub fn run_on(world: &World) -> Option<&'static str> {
    let (mut world, mut sink) = (world.clone(), crate::world::Sink(Vec::new()));
    let mut seen = Vec::new();
    loop {
        let print = world.fingerprint(&mut sink);
        if let Some(begin) = seen.iter().position(|(known, _)| *known == print) {
            let cycle: Vec<End> = seen[begin..].iter().map(|(_, end)| *end).collect();
            let late = begin as u32 > BOUND;
            let late = late.then_some("I3: it takes too long until somebody serves");
            return judge(&cycle).err().or(late);
        }
        seen.push((print, world.end()));
        if seen.len() > 10 * BOUND as usize {
            return Some("I3: it does not come to an end");
        }
        world.apply(crate::choice::Choice::BEAT);
        if let Some(what) = world.checks.violation {
            return Some(what);
        }
    }
}
