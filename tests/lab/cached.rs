//! Disks with a volatile write cache that cannot be turned off: nothing is served from RAID on them, and what is not on RAID is.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::spec::{Disks, LEDGER, Options, Ready};
use orthrus_tests::kinds::Pool;
use orthrus_tests::steps::LIMIT;
use orthrus_tests::{Bench, lab_options};

use crate::change::answered;

pub fn raid_is_refused(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let with = |disks, ready| Options {
        shelf,
        disks: Disks::Copies(disks),
        disk_caches: true,
        heads: vec![Head::A],
        ready,
        ..lab_options()
    };
    let pool = Pool::redundant()?;
    bench
        .alone(&with(pool.disks.clone(), Ready::Answering), |lab| {
            let before = lab.digest(None)?;
            lab.wait_for("a faulted tank", LIMIT)?;
            let status = lab.tell_ok(Head::A, "status")?;
            for words in [
                "write cache stays on",
                "volume ",
                "MD passes a failed flush",
            ] {
                ensure!(status.contains(words), "no {words:?} in\n{status}");
            }
            ensure!(lab.digest(None)? == before, "something was written");
            Ok(())
        })
        .context("a group with RAID")?;

    let mut disks = orthrus_qemu::artifacts::made_disks(LEDGER)?;
    let spare = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cached-spare.raw");
    File::create(&spare)?.set_len(1 << 30)?;
    disks.push(spare);
    bench
        .alone(&with(disks, Ready::Served), |lab| {
            let order = "volume create tank/zraid 8M --raid raid1";
            answered(lab, Head::A, order, "MD passes a failed flush")?;
            lab.tell_ok(Head::A, "volume create tank/zlinear 8M")?;
            Ok(())
        })
        .context("a group without")
}
