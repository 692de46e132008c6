//! Disks without reservations: the pool is held by a lease, and what keeps a hung owner from the disks is its watchdog.
//!
//! A machine that is paused and goes on is not tried here: its watchdog is paused with it, and a lease cannot
//! cover that, as `status` says.

use anyhow::{Result, ensure};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, console_end, resume_and_verify, start_writing};

/// What a head prints when it boots.
const BOOTS: &str = "Orthrus";

pub fn hung(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        start_writing(lab)?;
        let console = console_end(lab, first)?;
        let hung = unix_ms();
        lab.hang(first)?;
        lab.wait_for(&format!("{} serves", first.peer()), LIMIT)?;
        // Whatever had been on its way is gone with the machine that sent it.
        let path = lab.status()?.heads[first.index()].console_log.clone();
        let said = std::fs::read(path)?;
        let since = said.get(console..).unwrap_or_default();
        ensure!(
            String::from_utf8_lossy(since).contains(BOOTS),
            "the other head serves, and the watchdog has not reset the hung one"
        );
        resume_and_verify(lab, "hung owner of a lease", hung)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        ensure!(lab.owner(None)? == first.peer(), "the pool moved again");
        Ok(())
    })
}
