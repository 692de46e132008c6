//! Thin volumes and their snapshots: made, restored and removed while the pool is served, and moved with it.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, boot_and_hand_over, resume_and_verify, start_writing, wait_for_writes,
};

use crate::change::{MIB, answered, fill, holds, offered};

/// Names that sort behind all volumes of the lab's pool.
const POOL: &str = "zpool";
const VOLUME: &str = "zthin";
const SNAPSHOT: &str = "zthin-before";

pub fn volumes(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let before = offered(lab, first)?;
        let lun = before.len() as u64;
        start_writing(lab)?;
        for command in [
            format!("volume thin-pool tank/{POOL} 120M --raid raid1"),
            format!("volume create tank/{VOLUME} 400M --thin {POOL}"),
        ] {
            lab.tell_ok(first, &command)?;
        }
        let mut with = before.clone();
        with.push((VOLUME.to_owned(), lun, 400 * MIB));
        ensure!(offered(lab, first)? == with, "after it was made");
        let old = fill(lab, lun).context("the client fills the thin volume")?;
        lab.tell_ok(first, &format!("snapshot create tank/{VOLUME} {SNAPSHOT}"))?;
        with.push((SNAPSHOT.to_owned(), lun + 1, 400 * MIB));
        ensure!(offered(lab, first)? == with, "after its snapshot");
        let new = fill(lab, lun).context("the client fills it anew")?;
        holds(lab, lun + 1, 400 * MIB, &old).context("the snapshot")?;
        for (command, why) in [
            (format!("volume remove tank/{POOL} --yes"), "is used by"),
            (
                format!("snapshot remove tank/{VOLUME} --yes"),
                "no snapshot",
            ),
            (
                format!("snapshot restore tank/{VOLUME} --yes"),
                "snapshot of nothing",
            ),
            (
                "snapshot create tank/vol0 zz".to_owned(),
                "say how much room",
            ),
            (
                format!("volume create tank/zz 8M --thin {VOLUME}"),
                "\"thin\"",
            ),
            (
                format!("volume create tank/aa 8M --thin {POOL}"),
                "another number",
            ),
        ] {
            answered(lab, first, &command, why)?;
        }
        wait_for_writes(lab, 50)?;

        let struck = unix_ms();
        lab.crash(first)?;
        let second = first.peer();
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        resume_and_verify(lab, "a crash with thin volumes", struck)?;
        ensure!(offered(lab, second)? == with, "after a crash of the owner");
        holds(lab, lun, 400 * MIB, &new).context("after a crash of the owner")?;
        holds(lab, lun + 1, 400 * MIB, &old).context("the snapshot after a crash")?;

        lab.tell_ok(second, &format!("snapshot restore tank/{SNAPSHOT} --yes"))?;
        with.pop();
        ensure!(offered(lab, second)? == with, "after it was restored");
        holds(lab, lun, 400 * MIB, &old).context("after it was restored")?;
        // Each changes the pool's own metadata once more.
        for command in [
            format!("volume grow tank/{POOL} 160M"),
            format!("volume grow tank/{VOLUME} 500M"),
            format!("snapshot create tank/{VOLUME} {SNAPSHOT}"),
            format!("snapshot remove tank/{SNAPSHOT} --yes"),
        ] {
            lab.tell_ok(second, &command)?;
        }
        with[before.len()].2 = 500 * MIB;
        ensure!(offered(lab, second)? == with, "after it grew");
        holds(lab, lun, 500 * MIB, &old).context("after it grew")?;
        boot_and_hand_over(lab, first, "tank")?;
        holds(lab, lun, 500 * MIB, &old).context("after a handover")?;
        lab.tell_ok(first, &format!("volume remove tank/{VOLUME} --yes"))?;
        lab.tell_ok(first, &format!("volume remove tank/{POOL} --yes"))?;
        ensure!(
            offered(lab, first)? == before,
            "after all of it was removed"
        );
        lab.wait_for(&format!("{second} standby"), LIMIT)?;
        Ok(())
    })
}
