//! The check itself: the tiers on the checkout as it is, then on each mutant.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::slice;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use orthrus_image::Workspace;

use super::memory::Memory;
use super::objection::{Objection, objections};
use super::table::{self, Row, Verdict};
use super::tier::{self, Bed, Outcome, Tier};
use super::{Mutant, Options, mutants};
use crate::checkout;

/// How many times what a tier takes without an error it may take with one, and how much more: machines are busy at times.
const TIMES: u32 = 10;
const LEAST: Duration = Duration::from_secs(120);

/// Of a tier without an error, and of a lab test.
const UNPLANTED_LIMIT: Duration = Duration::from_secs(4 * 3600);
const LAB_LIMIT: Duration = Duration::from_secs(1800);

/// Runs the check and prints its table; whether every mutant was caught.
///
/// # Errors
/// The checkout itself fails its tests, or nothing was chosen.
pub fn check(options: &Options) -> Result<bool> {
    let workspace = Workspace::here()?;
    let planted = workspace.target().join("planted");
    let (source, target, logs) = (
        planted.join("source"),
        planted.join("target"),
        planted.join("log"),
    );
    // Two checks at a time would plant their errors into each other's copy.
    let _lock = Workspace::lock(&planted.join("lock"))?;
    let mut mutants = mutants(&workspace, &options.folders)?;
    let named = |mutant: &Mutant| {
        let mut only = options.only.iter();
        only.any(|only| mutant.name.contains(only.as_str()))
    };
    mutants.retain(|mutant| options.only.is_empty() || named(mutant));
    ensure!(!mutants.is_empty(), "no patch has such a name");

    // The checkout may go on while this runs.
    let original = planted.join("original");
    checkout::mirror(workspace.root(), &original)?;
    checkout::mirror(&original, &source)?;
    share_cache(&workspace, &source)?;
    let mut tiers = tier::tiers(&source, options.seeds);
    if let Some(only) = options.tier.as_deref().filter(|only| *only != "lab") {
        tiers.retain(|tier| tier.name == only);
        ensure!(!tiers.is_empty(), "no tier {only}");
    } else if options.tier.is_some() {
        tiers.clear();
    }
    let bed = Bed {
        source: &source,
        target: &target,
        logs: &logs,
    };
    let memory = Memory::new(planted.join("said"), original.clone(), options.again);
    eprintln!("  the tiers on the checkout as it is");
    let limits = unplanted(&bed, &tiers, &memory)?;
    let limit = |tier: &Tier| {
        let name = if tier.name == tier::SEED {
            tier::SIM
        } else {
            tier.name
        };
        let of_tier = limits.iter().find(|(of, _)| *of == name);
        let limit = options.limit.or(of_tier.map(|(_, limit)| *limit));
        limit.unwrap_or(LAB_LIMIT)
    };

    let mut rows = Vec::new();
    for mutant in &mutants {
        let tiers = tiers_of(mutant, &tiers, options);
        if tiers.is_empty() {
            eprintln!(
                "  {}: left out, no tier that was chosen sees it",
                mutant.name
            );
            continue;
        }
        checkout::mirror(&original, &source)?;
        eprintln!("  {}", mutant.name);
        let (verdict, objections) = plant(&bed, mutant, tiers, &memory, limit, options.first)?;
        rows.push(Row {
            name: mutant.name.clone(),
            breaks: mutant.breaks.clone(),
            verdict,
            objections,
        });
    }
    checkout::mirror(&original, &source)?;

    table::heading();
    rows.iter().for_each(Row::print);
    let caught = rows.iter().filter(|row| row.is_caught()).count();
    let left = rows.iter().filter(|row| row.is_left()).count();
    let missed = rows.len() - caught - left;
    println!(
        "\n{} planted errors: {caught} caught, {missed} not, {left} left to the lab (--lab) or to other tiers",
        rows.len()
    );
    println!("what the tiers said is in {}", logs.display());
    Ok(missed == 0)
}

/// A tier that fails without any error says nothing about those that have one. Returns the limit of each with one.
fn unplanted(
    bed: &Bed<'_>,
    tiers: &[Tier],
    memory: &Memory,
) -> Result<Vec<(&'static str, Duration)>> {
    const NAME: &str = "unplanted";
    let mut limits = Vec::new();
    for tier in tiers {
        let known = memory.recall(tier, "")?;
        let said = match known {
            Some(said) => said,
            None => {
                if let Err(error) = bed.build(NAME, slice::from_ref(tier))? {
                    bail!("the checkout does not build: {error}");
                }
                bed.run(NAME, tier, UNPLANTED_LIMIT)?
            }
        };
        match &said.outcome {
            Outcome::Passed => memory.keep(tier, "", &said)?,
            Outcome::Noticed(what) => bail!(
                "tier {} fails without any error: {}",
                tier.name,
                what.join("; ")
            ),
            Outcome::TimedOut(limit) => {
                bail!("tier {} needs more than {} s", tier.name, limit.as_secs())
            }
        }
        limits.push((tier.name, said.took * TIMES + LEAST));
    }
    Ok(limits)
}

/// The tiers that can notice a mutant.
fn tiers_of(mutant: &Mutant, tiers: &[Tier], options: &Options) -> Vec<Tier> {
    let mut tiers = tiers.to_vec();
    tiers.retain(|tier| mutant.touches(tier.folder));
    // Its own seed is asked before the others: that takes a second.
    if let Some(seed) = mutant.seed
        && let Some(at) = tiers.iter().position(|tier| tier.name == tier::SIM)
    {
        tiers.insert(at, tiers[at].of_seed(seed));
    }
    let test = mutant.lab.as_deref().filter(|_| options.lab);
    tiers.extend(test.map(tier::lab));
    tiers
}

fn plant(
    bed: &Bed<'_>,
    mutant: &Mutant,
    tiers: Vec<Tier>,
    memory: &Memory,
    limit: impl Fn(&Tier) -> Duration,
    first: bool,
) -> Result<(Verdict, Vec<Objection>)> {
    if let Err(error) = mutant.patch.apply(bed.source) {
        return Ok((Verdict::NoFit(format!("{error:#}")), Vec::new()));
    }
    let mut ran = Vec::new();
    for tier in tiers {
        let known = memory.recall(&tier, &mutant.text)?;
        let is_known = known.is_some();
        let said = match known {
            Some(said) => said,
            None => {
                // One after the other: what is noticed by the first tier need not wait for the others' builds.
                if let Err(error) = bed.build(&mutant.name, slice::from_ref(&tier))? {
                    return Ok((Verdict::NoBuild(error), Vec::new()));
                }
                bed.run(&mutant.name, &tier, limit(&tier))?
            }
        };
        if !is_known {
            memory.keep(&tier, &mutant.text, &said)?;
        }
        let noticed = !matches!(said.outcome, Outcome::Passed);
        eprintln!(
            "    {}: {}{} ({} s)",
            tier.name,
            if noticed { "noticed" } else { "passed" },
            if is_known { ", as known" } else { "" },
            said.took.as_secs()
        );
        ran.push((tier.name, said.outcome));
        if noticed && first {
            break;
        }
    }
    // Whoever stops at the first tier wants to know whether there is one.
    let objections = match first {
        true => Vec::new(),
        false => objections(mutant.claims(), &ran),
    };
    Ok((verdict(mutant, ran), objections))
}

fn verdict(mutant: &Mutant, ran: Vec<(&'static str, Outcome)>) -> Verdict {
    let passed = |(_, outcome): &(_, Outcome)| matches!(outcome, Outcome::Passed);
    if !ran.iter().all(passed) {
        return Verdict::Ran(ran);
    }
    let all_are = |name| ran.iter().all(|(tier, _)| *tier == name);
    let no_lab = ran.iter().all(|(tier, _)| *tier != "lab");
    match (&mutant.lab, &mutant.blind) {
        (Some(test), _) if no_lab => Verdict::LeftToLab(test.clone()),
        (_, Some(reason)) if all_are(tier::MODEL) => Verdict::BlindAsSaid(reason.clone()),
        _ => Verdict::Ran(ran),
    }
}

/// A lab in the copy uses what this checkout has downloaded.
fn share_cache(workspace: &Workspace, source: &Path) -> Result<()> {
    let target = source.join("target");
    fs::create_dir_all(&target)?;
    fs::create_dir_all(workspace.cache())?;
    let cache = target.join("cache");
    if !cache.exists() {
        symlink(workspace.cache(), &cache).with_context(|| cache.display().to_string())?;
    }
    Ok(())
}
