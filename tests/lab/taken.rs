//! Somebody else on the clients' network has the pool's address: neither head serves it beside them, both say who it is, and the pool
//! is served again when the address is free.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, hand_over, make_tank, said, tank, until, with_bare_disks,
};

/// With a share, for which the pool has a network of its own.
fn pool() -> String {
    tank(
        "address = [\"10.77.0.10/24\", \"fd00:77::10/64\"]",
        "[[pool.nfs.share]]
volume = \"home\"
clients = \"10.77.0.0/24\"
",
    )
}

const PORT: &str = "port=$(ip -o -4 address show to 10.77.0.100 | awk '{ print $2 }'); ";

pub fn address_is_not_taken_over(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("taken", 3, 256 << 20)?;
    with_bare_disks(bench, shelf, disks, &pool(), |lab| {
        make_tank(lab, 3)?;
        lab.wait_for("client up", LIMIT)?;
        let mac = said(lab, &format!("{PORT}cat /sys/class/net/$port/address"))?;
        for (address, long) in [
            ("10.77.0.10", "10.77.0.10/32"),
            ("fd00:77::10", "fd00:77::10/128 nodad"),
        ] {
            let owner = lab.owner(Some("tank"))?;
            lab.wait_for(&format!("{} ready tank", owner.peer()), LIMIT)?;
            said(lab, &format!("{PORT}ip address add {long} dev $port"))?;
            hand_over(lab, owner, "tank")?;
            for head in Head::BOTH {
                until(
                    || says(lab, head, address, &mac),
                    &format!("head {head} does not say who has {address}"),
                )?;
            }
            for head in Head::BOTH {
                let status = lab.tell_json(head, "status")?;
                ensure!(
                    status["pools"][0]["state"] != "serving",
                    "{head} serves: {status}"
                );
            }
            let long = long.trim_end_matches(" nodad");
            said(lab, &format!("{PORT}ip address del {long} dev $port"))?;
            lab.wait_for("any serves tank", LIMIT)?;
        }
        Ok(())
    })
}

fn says(lab: &Lab, head: Head, address: &str, mac: &str) -> Result<bool> {
    let status = lab.tell_ok(head, "status")?;
    Ok(status.contains(&format!("{address} is in use")) && status.contains(mac))
}
