//! Boot: exactly one head serves, the other stands by, and both say the same.

use anyhow::{Result, ensure};
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;
use orthrus_tests::steps::pool_field;
use serde_json::Value;

pub fn one_serves(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let owner = lab.owner(None)?;
        for head in [owner, owner.peer()] {
            let said = pool_field(lab, head, "owner")?;
            ensure!(
                said == owner.to_string().as_str(),
                "head {head} says that {said} serves"
            );
            let status = lab.tell_json(head, "status --json")?;
            ensure!(
                status["redundant"] == true,
                "head {head} is not redundant: {status:#}"
            );
        }
        let standby = pool_field(lab, owner.peer(), "state")?;
        ensure!(standby == "standby", "the other head is {standby}");
        let epochs = [owner, owner.peer()].map(|head| pool_field(lab, head, "epoch").ok());
        ensure!(
            epochs[0] == epochs[1],
            "the heads speak of different epochs: {epochs:?}"
        );
        // The lab's target begins with its write cache on.
        let pools = lab.tell_json(owner, "pools --json")?;
        let disks = pools["pools"][0]["disks"].as_array();
        let off = |disk: &Value| disk["write_cache"] == "off";
        ensure!(
            disks.is_some_and(|disks| !disks.is_empty() && disks.iter().all(off)),
            "a disk's own write cache is on: {pools:#}"
        );
        Ok(())
    })
}
