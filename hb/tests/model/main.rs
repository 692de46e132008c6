//! Model of the failover core: two of the shipped [`orthrus_hb::Head`]s, one pool, and every order in which
//! bounded faults can strike them, each looked at.
//!
//! ```text
//! cargo test -p orthrus-hb --test model                    the bounds of CI
//! cargo test -p orthrus-hb --test model -- --deep          wider bounds
//!     [--root NAME] [--threads N] [--twice]
//! cargo test -p orthrus-hb --test model -- --root NAME --replay WAY    one way through the states again
//! ```
//!
//! Reading order: [`roots`] for where it begins and what may strike, [`world`] and [`choice`] for what may happen
//! next, [`forgery`] for what must not count and [`late`] for what comes late, [`check`] for what must hold in every
//! state and [`ends`] for where it must lead, [`machine`], [`worker`] and [`lease`] for what of the firmware is copied
//! around the core, [`shelf`] for the disks, [`timing`] for how coarse time is, [`search`] for the explorer,
//! [`counterexample`] for what it prints.
//!
//! A state's identity is the core's own [`orthrus_hb::Head::fingerprint`]: what is left of each wait, and no
//! absolute time. That such a fingerprint tells enough is itself checked by `--twice`: a state that is reached on a
//! second way is expanded again from there, and must have the same successors.
//!
//! Rejected: stateright. It identifies a state by a `Hash` of all of it in 64 bits, where ours are equal only
//! in what matters; its "eventually" does not look at cycles and at ways that join, which is where service ends or
//! does not; it keeps whole states of 18 kB; and it brings an explorer in a browser on a server without a maintainer.
//!
//! Not modelled: several pools, disks that cannot be reached, drift of the clocks by less than a beat, messages of more
//! than a beat, frames that are lost or repeated other than by a cut, a pause or a forger (the simulator has all of
//! these), a peer of another release (`wire` and `peer` are tested with its frames), how a head comes to be barred (one
//! root begins with both barred and cuts the cables; how often and when each was fenced is not in a state's identity).
//! Of leases there is one fault at a time: with two, or an order and a fault, the waits of a claim make too many states.
//! Of what can be forged there is one at a time, each the likeliest of its kind: see [`forgery`]; `fuzz` has the rest.
//! Of what a cable holds back there is one frame at a time.
//! An owner that is worse off than its peer together with cuts: only one that was not heard from the beginning on, see
//! [`roots`]; `pair` has more.
//!
//! Which planted errors of the failover core cannot be seen here, and why, stands in the head of each: `Model: blind` in
//! `tests/mutants`. All others must be noticed, and these must not: `cargo planted` holds both.

#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // this file alone reads the clock, to say how fast it was

mod check;
mod choice;
mod counterexample;
mod ends;
mod forgery;
mod late;
mod lease;
mod machine;
mod roots;
mod search;
mod shelf;
mod timing;
mod worker;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use counterexample::Counterexample;
use roots::Root;
use search::{Bounds, Search};

/// Explores all that follows from one root; what does not hold.
fn explore(root: &Root, bounds: Bounds, totals: &mut (usize, u64)) -> Option<Counterexample> {
    let begun = Instant::now();
    let search = Search::run(root, bounds);
    let (states, transitions) = (search.states(), search.transitions.load(Ordering::Relaxed));
    *totals = (totals.0 + states, totals.1 + transitions);
    let found = search.violation();
    let ends = match found {
        None => ends::look(&search),
        Some(_) => ends::Ends::default(),
    };
    println!(
        "{:<26} {states:>9} states {transitions:>10} transitions  deepest {:>4}  ends: {} redundant, {} served, \
         {} explained, at most {} beats away  {:.1} s",
        root.name,
        search.deepest.load(Ordering::Relaxed),
        ends.redundant,
        ends.served,
        ends.explained,
        ends.longest,
        begun.elapsed().as_secs_f32()
    );
    let ways = ends.bad.iter().map(|(id, what)| search.way_to(*id, what));
    found.or_else(|| ways.min_by_key(|found| found.way.len()))
}

fn main() -> ExitCode {
    // The first panic of the core is a finding; making its way shorter meets it again and again.
    static SAID: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(|panic| {
        if !SAID.swap(true, Ordering::Relaxed) {
            eprintln!("{panic}");
        }
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(
            arguments
                .get(at + 1)
                .unwrap_or_else(|| panic!("{name} wants a value")),
        )
    };
    let deep = flag("--deep");
    let mut roots = roots::roots(deep);
    if let Some(name) = value("--root") {
        roots.retain(|root| root.name == name);
        assert!(!roots.is_empty(), "no root is called {name}");
    }
    if let Some(way) = value("--replay") {
        let [root] = &roots[..] else {
            panic!("--replay wants --root")
        };
        return match Counterexample::read(root, way) {
            Ok(found) => {
                found.show(root);
                ExitCode::FAILURE
            }
            Err(why) => {
                println!("{why}");
                ExitCode::SUCCESS
            }
        };
    }
    let threads = value("--threads").map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        |threads| threads.parse().expect("--threads wants a number"),
    );
    let bounds = Bounds {
        threads,
        twice: flag("--twice"),
        states: if deep { 400_000_000 } else { 20_000_000 },
    };
    let (begun, mut totals) = (Instant::now(), (0, 0));
    for root in &roots {
        if let Some(mut found) = explore(root, bounds, &mut totals) {
            found.shorten(root);
            found.show(root);
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{} roots, {} states, {} transitions in {:.0} s on {threads} threads: I1, I4 and I5 hold in every state, I3 at every end",
        roots.len(),
        totals.0,
        totals.1,
        begun.elapsed().as_secs_f32()
    );
    ExitCode::SUCCESS
}
