//! One heartbeat cable cut: the other one vouches for the peer, nothing moves, and `links` says so.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::cable::{Cable, Cut};
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, check, pool_field, start_writing, wait_for_writes};

pub fn one_cut(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let owner = lab.owner(None)?;
        let epoch = pool_field(lab, owner, "epoch")?;
        start_writing(lab)?;
        for cable in [Cable::Serial, Cable::Ether] {
            let name = cable.to_string();
            lab.cut(Cut::silent(cable))?;
            for head in Head::BOTH {
                wait_link(lab, head, &name, "silent")?;
            }
            wait_for_writes(lab, 100)?;
            ensure!(
                lab.owner(None)? == owner,
                "the pool moved though {name} alone was cut"
            );
            let status = lab.tell_json(owner, "status --json")?;
            ensure!(
                status["redundant"] == false,
                "a cut cable is not told: {status:#}"
            );
            lab.join(cable)?;
            for head in Head::BOTH {
                wait_link(lab, head, &name, "up")?;
            }
        }
        let report = lab.io_stop()?;
        ensure!(
            pool_field(lab, owner, "epoch")? == epoch,
            "somebody claimed the pool"
        );
        check(lab, "each cable cut alone", &report, report.began_unix_ms)
    })
}

fn wait_link(lab: &Lab, head: Head, name: &str, state: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let links = lab.tell_json(head, "links --json")?;
        let found = links["links"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|l| l["name"] == name);
        if found.is_some_and(|link| link["state"] == state) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "head {head} never says that {name} is {state}: {links}"
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
