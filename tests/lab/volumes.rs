//! A pool with volumes of many kinds moves between the heads, and what clients read of each stays.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::spec::{Disks, Options};
use orthrus_tests::kinds::Pool;
use orthrus_tests::steps::{LIMIT, hand_over, pool_field, wait_console};
use orthrus_tests::{Bench, lab_options};

pub fn every_kind_moves(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let pool = Pool::of_kinds()?;
    bench.alone(
        &Options {
            shelf,
            disks: Disks::Copies(pool.disks.clone()),
            ..lab_options()
        },
        |lab| moves(lab, &pool),
    )
}

fn moves(lab: &Lab, pool: &Pool) -> Result<()> {
    let first = lab.owner(None)?;
    let state = pool_field(lab, first, "state_volume")?;
    ensure!(
        state["problem"].is_null() && state["owners"][0]["epoch"] == 1,
        "a state volume that was marked as damaged is not mended: {state}"
    );
    wait_console(lab, first, 0, "its file system is damaged: it is checked")?;
    holds(lab, pool, first).context("as lvm2 made it")?;
    hand_over(lab, first, "tank")?;
    lab.wait_for(&format!("{} serves", first.peer()), LIMIT)?;
    holds(lab, pool, first.peer()).context("after a handover")?;
    lab.wait_for(&format!("{first} standby"), LIMIT)?;
    lab.crash(first.peer())?;
    lab.wait_for(&format!("{first} serves"), LIMIT)?;
    holds(lab, pool, first).context("after a crash of the owner")?;
    lab.boot_all(&[Machine::from(first.peer())])?;
    lab.wait_for(&format!("{} standby", first.peer()), LIMIT)?;
    Ok(())
}

/// Whether the client reads of every volume what was in it.
pub(super) fn holds(lab: &Lab, pool: &Pool, owner: Head) -> Result<()> {
    lab.login()?;
    let iqn = lab.status()?.pools[0]
        .pool
        .iqn
        .clone()
        .context("no target")?;
    let luns = luns(lab, owner)?;
    for (name, sum) in &pool.sums {
        let lun = luns
            .get(name)
            .with_context(|| format!("{name} is no LUN"))?;
        let script = format!(
            "dd if=$(/run/guest device {iqn} {lun}) bs=1M count=8 iflag=direct status=none | sha256sum | cut -d' ' -f1"
        );
        let output = lab.client(&["sh", "-c", &script])?;
        ensure!(
            output.stdout.trim() == sum,
            "{name}, LUN {lun}: reads {} and should {sum}; {}",
            output.stdout.trim(),
            output.stderr
        );
    }
    Ok(())
}

/// The LUN of each volume that is offered.
fn luns(lab: &Lab, owner: Head) -> Result<BTreeMap<String, u64>> {
    let volumes = pool_field(lab, owner, "volumes")?;
    let volumes = volumes.as_array().context("no volumes")?.iter();
    let offered = volumes
        .filter_map(|volume| Some((volume["name"].as_str()?.to_owned(), volume["lun"].as_u64()?)));
    Ok(offered.collect())
}
