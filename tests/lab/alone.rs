//! Both heads lose their power, and only the former standby comes back. The absent owner's reservations are still on the
//! disks; its ledger, which does not tick, is what tells that it is not somewhere behind a cut cable.

use anyhow::{Context as _, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::vm::Power;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, console_end, pool_field, resume_and_verify, start_writing, until, wait_console,
};
use serde_json::Value;

pub fn standby_boots(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let second = first.peer();
        let epoch = epoch(lab, first)?;
        start_writing(lab)?;
        let struck = unix_ms();
        lab.crash_all(&Head::BOTH.map(Machine::from))?;
        ensure!(
            are_held_by(lab, first)?,
            "the owner's reservations are gone"
        );

        let from = console_end(lab, second)?;
        lab.boot(second)?;
        let took = lab.wait_for(&format!("{second} serves"), LIMIT)?;
        println!(
            "    a head alone serves {:.1} s after it was switched on",
            took.as_secs_f64()
        );
        let off = lab.status()?.heads[first.index()].power == Power::Off;
        ensure!(off, "the former owner runs");
        wait_console(lab, second, from, "importing -> serving")?;
        let now = self::epoch(lab, second)?;
        ensure!(now == epoch + 1, "epoch {epoch} before, {now} after");
        until(
            || are_held_by(lab, second),
            "the absent head is still registered",
        )?;
        resume_and_verify(lab, "both without power, and one comes back", struck)?;

        // What the absent head had in its adapter, if it only hung, must not reach the disks when this one is off as well.
        power_off(lab, second)?;
        wait_console(lab, second, from, "the disks stay reserved")?;
        ensure!(
            are_held_by(lab, second)?,
            "a head that never heard the one it fenced took its reservations off"
        );
        lab.boot(second)?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        let now = self::epoch(lab, second)?;

        lab.boot(first)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        ensure!(lab.owner(None)? == second, "the pool moved again");
        ensure!(self::epoch(lab, second)? == now, "it was claimed again");

        // It was heard since, and holds nothing.
        lab.crash(first)?;
        power_off(lab, second)?;
        ensure!(
            lab.status()?
                .shelf
                .seen
                .values()
                .all(|disk| disk.registered.is_empty()),
            "a head left keys though its peer had let go"
        );
        for head in Head::BOTH {
            lab.boot(head)?;
        }
        lab.wait_for("any serves", LIMIT)?;
        Ok(())
    })
}

/// In order.
fn power_off(lab: &Lab, head: Head) -> Result<()> {
    // It may be off before it has answered.
    let _ = lab.tell(head, "poweroff --yes");
    lab.wait_for(&format!("{head} off"), LIMIT).map(drop)
}

fn epoch(lab: &Lab, owner: Head) -> Result<u64> {
    let epoch: Value = pool_field(lab, owner, "epoch")?;
    epoch.as_u64().context("no epoch")
}

/// Every disk, by the target's own answers: reserved by this head, and nobody else is registered.
fn are_held_by(lab: &Lab, head: Head) -> Result<bool> {
    let seen = lab.status()?.shelf.seen;
    let mut disks = seen.values();
    let held = disks.all(|disk| disk.holder == Some(head) && disk.registered == [head]);
    Ok(held && !seen.is_empty())
}
