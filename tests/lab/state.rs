//! The state volume moves with the pool: what one owner kept there the next one reads.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, hand_over, pool_field};

pub fn moves(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let pool = lab.status()?.pools[0].pool.name.clone();
        let mut owners = owners(lab, first)?;
        hand_over(lab, first, &pool)?;
        follow(lab, first.peer(), &mut owners).context("after a handover")?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        ensure!(
            pool_field(lab, first, "state_volume")?.is_null(),
            "a standby says that it has the state volume"
        );
        // Nothing is unmounted now: the journal tells.
        lab.crash(first.peer())?;
        follow(lab, first, &mut owners).context("after a crash")?;
        lab.boot_all(&[Machine::from(first.peer())])?;
        lab.wait_for(&format!("{} standby", first.peer()), LIMIT)?;
        Ok(())
    })
}

/// Waits until a head serves, and holds what it found against what the owner before it had.
fn follow(lab: &Lab, next: Head, before: &mut Vec<(String, u64)>) -> Result<()> {
    lab.wait_for(&format!("{next} serves"), LIMIT)?;
    let found = owners(lab, next)?;
    let (last, earlier) = found.split_last().context("no owner is remembered")?;
    ensure!(
        earlier == before.as_slice(),
        "head {next} remembers {earlier:?}, and its predecessor kept {before:?}"
    );
    ensure!(last.0 == next.to_string(), "head {next} noted {last:?}");
    *before = found;
    Ok(())
}

/// Heads and epochs.
fn owners(lab: &Lab, head: Head) -> Result<Vec<(String, u64)>> {
    let state = pool_field(lab, head, "state_volume")?;
    ensure!(state["problem"].is_null(), "{state}");
    let owners = state["owners"].as_array().context("no owners")?;
    let owner = |owner: &serde_json::Value| {
        let name = owner["head"].as_str().context("an owner without a name")?;
        let epoch = owner["epoch"].as_u64().context("one without an epoch")?;
        Ok((name.to_owned(), epoch))
    };
    owners.iter().map(owner).collect()
}
