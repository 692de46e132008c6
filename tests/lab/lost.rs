//! A disk dies, and some time later its owner: the pool is served without both.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::{Disks, Options};
use orthrus_tests::kinds::Pool;
use orthrus_tests::steps::{
    LIMIT, check, pool_field, start_writing, wait_console, wait_for_writes,
};
use orthrus_tests::{Bench, lab_options};

use crate::volumes::holds;

/// It has a copy of the ledger, and an image of most volumes.
const DISK: usize = 1;

pub fn disk_and_owner(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.clear()?;
    let pool = Pool::redundant()?;
    let lab = Lab::up(&Options {
        shelf,
        disks: Disks::Copies(pool.disks.clone()),
        ..lab_options()
    })?;
    let outcome = dies(&lab, &pool).map_err(|error| error.context(lab.trouble()));
    lab.down()?;
    outcome
}

fn dies(lab: &Lab, pool: &Pool) -> Result<()> {
    let first = lab.owner(None)?;
    holds(lab, pool, first).context("as lvm2 made it")?;
    start_writing(lab)?;
    let struck = unix_ms();
    for head in Head::BOTH {
        lab.unplug(head, DISK)?;
    }
    wait_console(lab, first, 0, "marked as missing")?;
    ensure!(lab.owner(None)? == first, "a dead disk moved the pool");
    let volumes = pool_field(lab, first, "volumes")?;
    let degraded = |name: &str| {
        let mut all = volumes.as_array().into_iter().flatten();
        all.any(|volume| volume["name"] == name && volume["degraded"] == true)
    };
    ensure!(degraded("a") && degraded("raid6"), "{volumes:#}");
    let refused = lab.tell(first, "volume create tank/zvol 8M")?;
    ensure!(refused.text.contains("a disk was lost"), "{}", refused.text);
    wait_for_writes(lab, 100)?;

    let second = first.peer();
    // A standby that sees no more than the owner is as fit as that.
    lab.wait_for(&format!("{second} standby"), LIMIT)?;
    lab.crash(first)?;
    lab.wait_for(&format!("{second} serves"), LIMIT)?;
    wait_for_writes(lab, 100)?;
    let report = lab.io_stop()?;
    check(lab, "a disk and its owner dead", &report, struck)?;
    holds(lab, pool, second).context("without the disk")?;
    // It sees the disk again, and what is on that is old.
    lab.boot_all(&[Machine::from(first)])?;
    lab.wait_for(&format!("{first} standby"), LIMIT)?;
    lab.tell_ok(second, "handover tank")?;
    lab.wait_for(&format!("{first} serves"), LIMIT)?;
    holds(lab, pool, first).context("after the disk came back")
}
