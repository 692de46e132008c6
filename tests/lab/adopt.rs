//! A volume group of lvm2's, without ledger and state volume, gets both while it is served: from then on a living owner whose
//! cables are all cut keeps the pool.

use anyhow::{Context as _, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::cable::{Cable, Cut};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::Options;
use orthrus_tests::steps::{
    LIMIT, pool_field, resume_and_verify, start_writing, until, wait_console, wait_for_writes,
};
use orthrus_tests::{Bench, lab_options};

use crate::change::{answered, offered};

const IMPORT: &str = "pool import tank --yes";

pub fn under_writes(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.alone(
        &Options {
            shelf,
            ledger: false,
            ..lab_options()
        },
        run,
    )
}

fn run(lab: &Lab) -> Result<()> {
    let first = lab.owner(None)?;
    let second = first.peer();
    lab.wait_for(&format!("{second} standby"), LIMIT)?;
    let before = offered(lab, first)?;
    let status = lab.tell_ok(first, "status")?;
    ensure!(status.contains("pool import tank"), "{status}");
    ensure!(owners(lab, first)? == 0, "there is a state volume");
    answered(lab, second, IMPORT, "does not serve")?;
    answered(lab, first, "pool import pond --yes", "no pool")?;

    start_writing(lab)?;
    let began = unix_ms();
    let said = lab.tell_ok(first, IMPORT)?;
    ensure!(
        said.contains("orthrus_ledger0, orthrus_ledger1, orthrus_ledger2, orthrus_state made"),
        "{said}"
    );
    ensure!(offered(lab, first)? == before, "what clients are offered");
    ensure!(owners(lab, first)? == 1, "the state volume is not open");
    until(|| written(lab, first), "not every copy is written")?;
    wait_console(lab, second, 0, "the peer's ledger: ticking")?;
    let again = lab.tell_ok(first, IMPORT)?;
    ensure!(again.contains("already"), "{again}");
    wait_for_writes(lab, 50)?;

    // What it is for.
    let epoch = pool_field(lab, first, "epoch")?;
    for cable in [Cable::Serial, Cable::Ether] {
        lab.cut(Cut::silent(cable))?;
    }
    let cut = |head: Head, words: &str| {
        let says = || Ok(lab.tell_ok(head, "status")?.contains(words));
        until(says, "nobody says that the cables are cut")
    };
    cut(second, "its ledger ticks")?;
    wait_for_writes(lab, 100)?;
    ensure!(lab.owner(None)? == first, "it moved");
    for cable in [Cable::Serial, Cable::Ether] {
        lab.join(cable)?;
    }
    ensure!(pool_field(lab, first, "epoch")? == epoch, "it was claimed");
    lab.wait_for(&format!("{second} ready tank"), LIMIT)?;
    resume_and_verify(lab, "a ledger made, and cables cut", began)?;

    start_writing(lab)?;
    let struck = unix_ms();
    lab.crash(first)?;
    lab.wait_for(&format!("{second} serves"), LIMIT)?;
    resume_and_verify(lab, "a crash after it", struck)?;
    ensure!(offered(lab, second)? == before, "after a crash");
    ensure!(owners(lab, second)? == 2, "the state did not move");
    lab.boot_all(&[Machine::from(first)])?;
    lab.wait_for(&format!("{first} standby"), LIMIT)?;
    Ok(())
}

/// How many owners the open state volume remembers.
fn owners(lab: &Lab, head: Head) -> Result<usize> {
    let state = pool_field(lab, head, "state_volume")?;
    ensure!(state["problem"].is_null(), "{state}");
    Ok(state["owners"].as_array().map_or(0, Vec::len))
}

fn written(lab: &Lab, head: Head) -> Result<bool> {
    let links = lab.tell_json(head, "links --json")?;
    let ledger = links["ledgers"].get(0).context("no ledger")?;
    Ok(ledger["written"] == 3)
}
