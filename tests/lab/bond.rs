//! The clients' network is a VLAN on a bond of two cards: one of them loses its link and the pool stays where it is; its head dies
//! and the pool moves.

use anyhow::{Result, ensure};
use orthrus_qemu::cable::{Cable, Cut};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::vm::wiring::mac;
use orthrus_qemu::{Lab, config};
use orthrus_tests::steps::{
    ADDRESS, LIMIT, bare_disks, console_end, make_tank, resume_and_verify, said, start_writing,
    tank, wait_console, wait_for_writes, with_configuration,
};
use orthrus_tests::{Bench, DEAD_MS};

const NETWORK: &str = "
[data]
bond = \"active-backup\"
vlan = 77
mtu = 1400
";

/// The client leaves the plain network for the VLAN.
const CLIENT: &str = "set -e; \
    port=$(ip -o -4 address show to 10.77.0.100 | awk '{ print $2 }'); \
    ip address del 10.77.0.100/24 dev $port; \
    ip link add link $port name v77 type vlan id 77; \
    ip address add 10.77.0.100/24 dev v77; ip link set v77 up";

pub fn loses_a_card(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("bond", 2, 256 << 20)?;
    let mut text = config::generate(&[], &config::secret()?, DEAD_MS);
    for head in Head::BOTH {
        let one = format!("data = \"{}\"", mac(head, 2));
        ensure!(text.contains(&one), "no {one} in {text}");
        let two = format!("data = [\"{}\", \"{}\"]", mac(head, 2), mac(head, 3));
        text = text.replace(&one, &two);
    }
    with_configuration(
        bench,
        shelf,
        disks,
        text + NETWORK + &tank(ADDRESS, ""),
        |lab| {
            make_tank(lab, 2)?;
            lab.tell_ok(Head::A, "volume create tank/data 64M")?;
            lab.wait_for("b standby", LIMIT)?;
            lab.wait_for("client up", LIMIT)?;
            let output = lab.client(&["sh", "-c", CLIENT])?;
            ensure!(output.status == 0, "{CLIENT}: {}", output.stderr);

            start_writing(lab)?;
            // Less 52 for the headers of IPv4 and TCP with its timestamps.
            let segments = said(
                lab,
                "ss -tinH dst 10.77.0.10 | grep -o ' mss:[0-9]*' | sort -u",
            )?;
            ensure!(segments == "mss:1348", "with an MTU of 1400: {segments}");
            let epoch = epoch(lab)?;
            let (struck, from) = (unix_ms(), console_end(lab, Head::A)?);
            lab.cut(Cut::carrier(Cable::Data(Head::A)))?;
            let lost = format!("the card {} of the data port has no link", mac(Head::A, 2));
            wait_console(lab, Head::A, from, &lost)?;
            wait_for_writes(lab, 100)?;
            ensure!(
                lab.owner(None)? == Head::A && self::epoch(lab)? == epoch,
                "the pool moved, though a card of the bond still has its link"
            );
            let gap = lab.io_report()?.longest_since(struck).ms as f64 / 1000.0;
            println!("    a card of the bond without a link: longest gap {gap:.2} s");

            let struck = unix_ms();
            lab.crash(Head::A)?;
            lab.wait_for("b serves", LIMIT)?;
            resume_and_verify(lab, "VLAN on a bond, crash of the owner", struck)
        },
    )
}

fn epoch(lab: &Lab) -> Result<serde_json::Value> {
    Ok(lab.tell_json(Head::A, "status")?["pools"][0]["epoch"].clone())
}
