//! The flight record: what both heads logged is read from the disks after both have died.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, hand_over, until};
use serde_json::Value;

/// What a head logs when it begins to serve.
const SERVES: &str = "importing -> serving";

pub fn after_both_died(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let pool = lab.status()?.pools[0].pool.name.clone();
        // Each of them must have held the pool: a standby writes nothing.
        let first = lab.owner(None)?;
        let second = first.peer();
        hand_over(lab, first, &pool)?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        wait_for_line(lab, second)?;
        let both = Head::BOTH.map(Machine::from);
        lab.crash_all(&both)?;
        lab.boot_all(&both)?;
        lab.wait_for("any serves", LIMIT)?;
        lab.login()?;
        let reader = lab.owner(None)?;
        for head in Head::BOTH {
            let served = has_line(&lines(lab, reader)?, head, SERVES);
            ensure!(served, "nothing says that head {head} served");
        }
        Ok(())
    })
}

fn lines(lab: &Lab, reader: Head) -> Result<Vec<Value>> {
    let said = lab.tell_json(reader, "log --ledger")?;
    Ok(said["lines"].as_array().cloned().unwrap_or_default())
}

fn has_line(lines: &[Value], head: Head, words: &str) -> bool {
    lines.iter().any(|entry| {
        let text = entry["line"]["text"].as_str().unwrap_or_default();
        entry["head"] == head.to_string() && text.contains(words)
    })
}

/// Its last half second is not on the disks yet.
fn wait_for_line(lab: &Lab, head: Head) -> Result<()> {
    let written = || Ok(has_line(&lines(lab, head)?, head, SERVES));
    until(
        written,
        &format!("the flight record of head {head} never says {SERVES:?}"),
    )
}
