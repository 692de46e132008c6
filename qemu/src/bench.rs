//! `cargo lab bench`: the budgets of DESIGN section 9, as measured here.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use orthrus_image::{Tools, Workspace, firmware};
use serde_json::Value;

use crate::clock::unix_ms;
use crate::demo::wait_writes_after;
use crate::names::{Head, ShelfKind};
use crate::request::IoOptions;
use crate::spec::Options;
use crate::{Lab, headview, report};

const LIMIT: Duration = Duration::from_secs(240);
/// Writes in which a client is at its ease: some seconds of them.
const STEADY_WRITES: u64 = 300;

/// Measures and prints the table.
pub fn run(name: &str, shelf: ShelfKind) -> anyhow::Result<()> {
    let workspace = Workspace::here()?;
    let tools = Tools::ensure(&workspace)?;
    let built = firmware::build(&workspace, &tools)?;
    let uki_bytes = fs::metadata(&built.uki).context("the UKI")?.len();
    let lab = Lab::up(&Options {
        name: name.into(),
        shelf,
        ..Options::default()
    })?;
    let table = measure(&lab, uki_bytes).map_err(|e| e.context(lab.trouble()))?;
    print!("{table}");
    lab.down()
}

fn measure(lab: &Lab, uki_bytes: u64) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    let owner = lab.owner(None)?;
    let serving = lab.tell_json(owner, "status")?;
    lab.io_start(&IoOptions {
        pace_ms: 10,
        ..IoOptions::default()
    })?;
    lab.wait_for("client io", LIMIT)?;
    lab.wait_for_writes(STEADY_WRITES, LIMIT)?;
    let quiet = lab.io_report()?;

    let pool = lab
        .status()?
        .pools
        .first()
        .context("no pool")?
        .pool
        .name
        .clone();
    lab.wait_for(&format!("{} ready {pool}", owner.peer()), LIMIT)?;
    let began = unix_ms();
    lab.tell_ok(owner, &format!("handover {pool}"))?;
    lab.wait_for(&format!("{} serves {pool}", owner.peer()), LIMIT)?;
    lab.wait_for_writes(STEADY_WRITES, LIMIT)?;
    let handover = lab.io_report()?.longest_since(began);
    lab.wait_for(&format!("{owner} standby"), LIMIT)?;
    lab.wait_for_writes(STEADY_WRITES, LIMIT)?;

    let victim = owner.peer();
    let began = unix_ms();
    lab.crash(victim)?;
    lab.wait_for(&format!("{owner} serves {pool}"), LIMIT)?;
    wait_writes_after(lab, began)?;
    lab.wait_for_writes(STEADY_WRITES, LIMIT)?;
    let crash = lab.io_report()?.longest_since(began);
    let io = lab.io_stop()?;

    // Nothing else runs while a boot is measured.
    lab.boot(victim)?;
    lab.wait_for(&format!("{victim} standby"), LIMIT)?;
    let boot_s = booted_after(lab, victim)?;
    let blocks = lab.verify_all()?;

    let ms = |ms: u64| format!("{:.2} s", ms as f64 / 1000.0);
    rows.push((
        "crash of the owner: longest client stall",
        "2 s (dead 1 s + 1 s)".into(),
        ms(crash.ms),
    ));
    rows.push((
        "planned handover: longest client stall",
        "0.5 s".into(),
        stall_or_less(handover.ms),
    ));
    rows.push((
        "firmware file",
        "32 MiB".into(),
        format!("{:.1} MiB", uki_bytes as f64 / f64::from(1 << 20)),
    ));
    rows.push((
        "memory used by a serving head",
        "64 MiB".into(),
        memory(&serving),
    ));
    rows.push(("boot: kernel entry to standby", "8 s".into(), boot_s));
    rows.push(("processes in userland", "1".into(), processes(&serving)));
    let mut text = format!("\n{:<44}{:<24}{}\n", "what", "budget", "measured here");
    for (what, budget, measured) in rows {
        let budget: String = budget;
        text.push_str(&format!("{what:<44}{budget:<24}{measured}\n"));
    }
    let status = lab.status()?;
    text.push_str(&format!(
        "\n{} shelf, {}; {:.0} writes a second before, {} acknowledged in all, {} errors, {blocks} blocks verified\n",
        status.shelf.kind, status.accel, quiet.per_second, io.writes, io.errors
    ));
    text.push_str(&report::stalls(&status));
    Ok(text)
}

/// Gaps below the listing limit are not told apart.
fn stall_or_less(ms: u64) -> String {
    if ms == 0 {
        "below 0.15 s".into()
    } else {
        format!("{:.2} s", ms as f64 / 1000.0)
    }
}

fn memory(status: &Value) -> String {
    match headview::figure(status, "usage.memory_used_bytes") {
        Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        None => "not told".into(),
    }
}

fn processes(status: &Value) -> String {
    match headview::figure(status, "usage.processes") {
        Some(count) => count.to_string(),
        None => "not told".into(),
    }
}

fn booted_after(lab: &Lab, head: Head) -> anyhow::Result<String> {
    let log = lab.tell_ok(head, "log 400")?;
    Ok(match headview::standby_after_s(&log) {
        Some(seconds) => format!("{seconds:.1} s"),
        None => "not in the log any more".into(),
    })
}
