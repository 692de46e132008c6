//! Disks by two paths: one path pulled moves nothing and fails nothing, the second one is a takeover; a path that comes
//! back is used from the next claim on.
//!
//! Which path of a disk is used is the one that the kernel found first, for each disk another: of a pulled path some disks
//! lose the one in use, others a spare.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::spec::Options;
use orthrus_tests::steps::{
    LIMIT, boot_and_hand_over, check, hand_over, pool_field, start_writing, wait_for_writes,
};
use orthrus_tests::{Bench, lab_options};

/// Runs a test in a lab of its own, in which each head sees each disk twice.
fn with_two_paths(bench: &Bench, shelf: ShelfKind, test: fn(&Lab) -> Result<()>) -> Result<()> {
    bench.alone(
        &Options {
            shelf,
            paths: 2,
            ..lab_options()
        },
        test,
    )
}

pub fn one_after_the_other(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    with_two_paths(bench, shelf, |lab| {
        let first = lab.owner(None)?;
        let second = first.peer();
        wait_paths(lab, first, "joined", joined)?;
        lab.wait_for(&format!("{second} standby"), LIMIT)?;
        wait_paths(lab, second, "two that answer", two_answer)?;
        pull_and_plug(lab, first, 0)?;

        // The next claim takes it in again: it can do without the other one.
        start_writing(lab)?;
        let begun = unix_ms();
        for (from, to) in [(first, second), (second, first)] {
            hand_over(lab, from, "tank")?;
            lab.wait_for(&format!("{to} serves"), LIMIT)?;
            lab.wait_for(&format!("{from} standby"), LIMIT)?;
            wait_for_writes(lab, 100)?;
        }
        wait_paths(lab, first, "joined", joined)?;
        let report = lab.io_stop()?;
        check(lab, "handover there and back", &report, begun)?;
        pull_and_plug(lab, first, 1)?;

        // That one is out until the claim after this: none is left when the first goes as well.
        start_writing(lab)?;
        let struck = unix_ms();
        lab.pull_path(first, 0)?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        wait_for_writes(lab, 100)?;
        let report = lab.io_stop()?;
        check(lab, "no path of the claim is left", &report, struck)
    })
}

/// Pulls one of two paths of the owner and puts it back, which changes nothing: nothing of it is registered until the next claim.
fn pull_and_plug(lab: &Lab, owner: Head, path: usize) -> Result<()> {
    start_writing(lab)?;
    let pulled = unix_ms();
    pull_one(lab, owner, path)?;
    lab.plug_path(owner, path)?;
    wait_paths(
        lab,
        owner,
        "one that came back and is not used",
        one_is_back,
    )?;
    wait_for_writes(lab, 100)?;
    let report = lab.io_stop()?;
    check(lab, &format!("path {path} pulled"), &report, pulled)
}

/// Pulls one of two paths of the owner: its disks go on by the other one, and that is all.
fn pull_one(lab: &Lab, owner: Head, path: usize) -> Result<()> {
    let epoch = pool_field(lab, owner, "epoch")?;
    lab.pull_path(owner, path)?;
    let disks = wait_paths(lab, owner, "one that was left for the other", one_is_left)?;
    let changed = disks.iter().flatten().filter(|state| is_out(state)).count();
    println!(
        "    path {path}: of {} disks {changed} lost the one in use, the others a spare",
        disks.len()
    );
    wait_for_writes(lab, 100)?;
    ensure!(lab.owner(None)? == owner, "a lost path moved the pool");
    ensure!(
        pool_field(lab, owner, "epoch")? == epoch,
        "a lost path led to a claim"
    );
    let status = lab.tell_json(owner, "status")?;
    ensure!(
        status["redundant"] == false,
        "a lost path is not told: {status:#}"
    );
    Ok(())
}

pub fn handover_and_crash(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    with_two_paths(bench, shelf, |lab| {
        let first = lab.owner(None)?;
        let second = first.peer();
        lab.wait_for(&format!("{second} standby"), LIMIT)?;
        start_writing(lab)?;
        let begun = unix_ms();
        hand_over(lab, first, "tank")?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        wait_paths(lab, second, "joined", joined)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        wait_for_writes(lab, 100)?;
        // A head without one of its paths takes over by the other one, from one that has both.
        wait_paths(lab, first, "two that answer", two_answer)?;
        lab.pull_path(first, 0)?;
        wait_paths(lab, first, "none to choose from", <[String]>::is_empty)?;
        lab.crash(second)?;
        lab.wait_for(&format!("{first} serves"), LIMIT)?;
        wait_for_writes(lab, 100)?;
        lab.plug_path(first, 0)?;
        wait_paths(lab, first, "one that came back and is not used", |paths| {
            paths.len() == 2 && count(paths, "in use") == 1 && count(paths, "spare") == 0
        })?;
        boot_and_hand_over(lab, second, "tank")?;
        wait_paths(lab, second, "joined", joined)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        hand_over(lab, second, "tank")?;
        lab.wait_for(&format!("{first} serves"), LIMIT)?;
        // The path that came back has a part in the claim that came after.
        wait_paths(lab, first, "joined", joined)?;
        wait_for_writes(lab, 100)?;
        let report = lab.io_stop()?;
        check(lab, "handover and crash with two paths", &report, begun)
    })
}

fn joined(paths: &[String]) -> bool {
    paths.len() == 2 && count(paths, "in use") == 1 && count(paths, "spare") == 1
}

fn two_answer(paths: &[String]) -> bool {
    paths.len() == 2 && count(paths, "answers") == 2
}

/// What is left is in use, and the other is nothing that anybody counts on.
fn one_is_left(paths: &[String]) -> bool {
    paths.len() == 2 && count(paths, "in use") == 1 && count(paths, "spare") == 0
}

fn one_is_back(paths: &[String]) -> bool {
    paths.len() == 3 && count(paths, "in use") == 1 && count(paths, "spare") == 0
}

fn count(paths: &[String], state: &str) -> usize {
    paths.iter().filter(|path| *path == state).count()
}

fn is_out(state: &str) -> bool {
    state.starts_with("out: failed")
}

/// Waits until the paths of each disk of the pool are as wanted, and says how each of them is.
fn wait_paths(
    lab: &Lab,
    head: Head,
    what: &str,
    wanted: fn(&[String]) -> bool,
) -> Result<Vec<Vec<String>>> {
    let begun = Instant::now();
    loop {
        let disks = pool_field(lab, head, "disks")?;
        let disks = disks.as_array().cloned().unwrap_or_default();
        let states: Vec<Vec<String>> = disks.iter().map(states).collect();
        if !states.is_empty() && states.iter().all(|paths| wanted(paths)) {
            return Ok(states);
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "the paths of the disks of head {head} never are {what}: {states:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn states(disk: &serde_json::Value) -> Vec<String> {
    let paths = disk["paths"].as_array();
    let states = paths.into_iter().flatten().filter_map(|path| {
        let state = path["state"].as_str()?;
        Some(state.to_owned())
    });
    states.collect()
}
