//! A volume group on MD arrays: served, taken over while it is written, and served without a disk.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::config;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::spec::{Disks, Options};
use orthrus_tests::kinds::Pool;
use orthrus_tests::steps::{
    LIMIT, boot_and_hand_over, check, pool_field, resume_and_verify, start_writing, wait_console,
    wait_for_writes,
};
use orthrus_tests::{Bench, DEAD_MS, lab_options};

use crate::volumes::holds;

/// The lab finds a group on disks alone.
const POOL: &str = r#"
[[pool]]
name = "tank"
home = "a"
address = "10.77.0.10/24"
[pool.iscsi]
iqn = "iqn.2026-01.org.orthrus:tank"
clients = ["iqn.1993-08.org.debian:01:client"]
luns = "all"
"#;

/// One of the mirrors.
const DISK: usize = 0;

pub fn crash_and_loss(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let pool = Pool::on_arrays()?;
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(pool.disks.clone()),
            config: Some(config::generate(&[], &config::secret()?, DEAD_MS) + POOL),
            ..lab_options()
        },
        |lab| run(lab, &pool),
    )
}

fn run(lab: &Lab, pool: &Pool) -> Result<()> {
    lab.wait_for("any serves", LIMIT)?;
    let first = lab.owner(None)?;
    let second = first.peer();
    ensure!(missing(lab, first)? == [("any:pair", 0), ("any:trio", 0)].map(named));
    holds(lab, pool, first).context("as mdadm and lvm2 made it")?;
    // All members are claimed, and the arrays themselves are no disks.
    let disks = pool_field(lab, first, "disks")?;
    ensure!(
        disks.as_array().map(Vec::len) == Some(pool.disks.len()),
        "{disks:#}"
    );

    is_stamped(lab, first)?;
    start_writing(lab)?;
    let struck = unix_ms();
    lab.crash(first)?;
    lab.wait_for(&format!("{second} serves"), LIMIT)?;
    resume_and_verify(lab, "the owner of arrays crashed", struck)?;
    holds(lab, pool, second).context("after a crash of the owner")?;
    is_stamped(lab, second)?;
    boot_and_hand_over(lab, first, "tank")?;
    holds(lab, pool, first).context("after a handover")?;
    lab.wait_for(&format!("{second} standby"), LIMIT)?;

    start_writing(lab)?;
    let struck = unix_ms();
    for head in Head::BOTH {
        lab.unplug(head, DISK)?;
    }
    wait_console(lab, first, 0, "its array goes on without it")?;
    ensure!(lab.owner(None)? == first, "a dead disk moved the pool");
    ensure!(missing(lab, first)? == [("any:pair", 1), ("any:trio", 0)].map(named));
    wait_for_writes(lab, 100)?;
    lab.wait_for(&format!("{second} standby"), LIMIT)?;
    lab.crash(first)?;
    lab.wait_for(&format!("{second} serves"), LIMIT)?;
    wait_for_writes(lab, 100)?;
    let report = lab.io_stop()?;
    check(
        lab,
        "a member and the owner of arrays dead",
        &report,
        struck,
    )?;
    holds(lab, pool, second).context("without the disk")?;
    ensure!(missing(lab, second)? == [("any:pair", 1), ("any:trio", 0)].map(named));
    // It sees the disk again, and what is on that is old: it stays left out.
    boot_and_hand_over(lab, first, "tank")?;
    wait_console(lab, first, 0, "is out of date and left out")?;
    ensure!(missing(lab, first)? == [("any:pair", 1), ("any:trio", 0)].map(named));
    holds(lab, pool, first).context("after the disk came back")
}

/// The metadata are written through the arrays.
fn is_stamped(lab: &Lab, owner: Head) -> Result<()> {
    let notes = pool_field(lab, owner, "notes")?.to_string();
    ensure!(!notes.contains("stamped"), "{notes}");
    wait_console(lab, owner, 0, "disks have the epoch")
}

fn named((name, missing): (&str, u64)) -> (String, u64) {
    (name.to_owned(), missing)
}

/// The arrays, by name, and how many members each lacks.
fn missing(lab: &Lab, owner: Head) -> Result<Vec<(String, u64)>> {
    let arrays = pool_field(lab, owner, "arrays")?;
    let all = arrays.as_array().context("no arrays")?.iter();
    let mut found: Vec<(String, u64)> = all
        .filter_map(|array| {
            Some((
                array["name"].as_str()?.to_owned(),
                array["missing"].as_u64()?,
            ))
        })
        .collect();
    found.sort();
    Ok(found)
}
