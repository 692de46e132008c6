//! The owner's machine stops and goes on later, with its clock running on (`pause`) or standing still
//! (`pause --frozen`). While it stops its peer takes over; when it goes on it finds itself fenced: no
//! byte of it reaches a disk, it answers no client, and it resets itself.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::vm::wiring;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, console_end, pool_field, resume_and_verify, start_writing, wait_console,
};

pub fn paused(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        stop_and_go(lab, "paused owner", LIMIT, |owner| lab.pause(owner))
    })
}

pub fn frozen(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        stop_and_go(lab, "frozen owner", LIMIT, |owner| lab.freeze(owner))
    })
}

/// `limit` is for the takeover.
pub fn stop_and_go(
    lab: &Lab,
    what: &str,
    limit: Duration,
    stop: impl Fn(Head) -> Result<()>,
) -> Result<()> {
    let first = lab.owner(None)?;
    let second = first.peer();
    start_writing(lab)?;
    let stopped = unix_ms();
    stop(first)?;
    lab.wait_for(&format!("{second} serves"), limit)?;
    resume_and_verify(lab, what, stopped)?;
    // The client is quiet now, and what it wrote has been read back: whatever changes on the disks
    // from here on was written by the head that was stopped.
    let before = quiet_digest(lab, second)?;
    let console = console_end(lab, first)?;
    lab.resume(first)?;
    wait_console(lab, first, console, "resetting now")?;
    lab.wait_for(&format!("{first} standby"), LIMIT)?;
    ensure!(
        lab.digest(Some(second))? == before,
        "the stopped head wrote after it was replaced"
    );
    ensure!(lab.owner(None)? == second, "the pool moved again");
    // It answers no client: the service address is still where the new owner announced it.
    let pool = lab.status()?.pools[0].pool.clone();
    let neighbour = lab.client(&["ip", "neigh", "show", &pool.address])?.stdout;
    let owners_port = wiring::mac(second, 2);
    ensure!(
        neighbour.contains(&owners_port),
        "{} should be at {owners_port} and is {neighbour}",
        pool.address
    );
    let volumes = pool_field(lab, first, "volumes")?;
    ensure!(
        volumes == serde_json::json!([]),
        "the stopped head still has volumes: {volumes}"
    );
    Ok(())
}

/// A digest of the disks once they have come to rest: the target may still be writing out.
fn quiet_digest(lab: &Lab, owner: Head) -> Result<u64> {
    let mut last = lab.digest(Some(owner))?;
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(500));
        let now = lab.digest(Some(owner))?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    anyhow::bail!("the disks do not come to rest though nobody writes")
}
