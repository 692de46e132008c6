//! A pool with two targets: each client sees the LUNs that are its own, before and after a takeover, and each target has its own
//! list of who is let in.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, boot_and_hand_over, make_tank, resume_and_verify, said, start_writing,
    until, wait_for_writes, with_bare_disks,
};

use crate::clients::{Client, NAME};

const SECOND: &str = "iqn.2026-01.org.orthrus:tank-2";

/// The second target lists two volumes, one of them for a client of its own; the first has all others.
const POOL: &str = "
[[pool]]
name = \"tank\"
home = \"a\"
address = \"10.77.0.10/24\"
[[pool.iscsi]]
iqn = \"iqn.2026-01.org.orthrus:tank\"
clients = [\"iqn.1993-08.org.debian:01:client\"]
luns = \"all\"
[[pool.iscsi]]
iqn = \"iqn.2026-01.org.orthrus:tank-2\"
clients = [\"iqn.1993-08.org.debian:01:client\", \"iqn.1993-08.org.debian:01:other\"]
[[pool.iscsi.lun]]
lun = 0
volume = \"common\"
[[pool.iscsi.lun]]
lun = 3
volume = \"private\"
clients = [\"iqn.1993-08.org.debian:01:other\"]
";

pub fn each_their_own(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("targets", 3, 256 << 20)?;
    with_bare_disks(bench, shelf, disks, POOL, |lab| {
        make_tank(lab, 3)?;
        // A LUN whose volume is not there yet keeps nothing else from being served.
        let status = lab.tell_ok(Head::A, "status")?;
        ensure!(status.contains("LUN 3 of"), "{status}");
        ensure!(status.contains("no volume private is active"), "{status}");
        for volume in ["vol0", "common", "private"] {
            let made = lab.tell_ok(Head::A, &format!("volume create tank/{volume} 32M"))?;
            let target = match volume {
                "vol0" => "LUN 0 of iqn.2026-01.org.orthrus:tank",
                "common" => "LUN 0 of iqn.2026-01.org.orthrus:tank-2",
                _ => "LUN 3 of iqn.2026-01.org.orthrus:tank-2",
            };
            // To its end: the name of one target begins with that of the other.
            ensure!(made.trim_end().ends_with(target), "{made}");
        }
        lab.wait_for("b standby", LIMIT)?;
        lab.wait_for("client up", LIMIT)?;
        // It also starts the client's initiator.
        start_writing(lab)?;

        let client = |interface, name| Client {
            lab,
            interface,
            name,
            iqn: SECOND,
            address: "10.77.0.10",
        };
        let plain = client("plain", "iqn.1993-08.org.debian:01:client");
        let other = client("other", "iqn.1993-08.org.debian:01:other");
        let late = client("late", NAME);
        for client in [&plain, &other, &late] {
            client.prepare()?;
        }
        ensure!(plain.logs_in()? && other.logs_in()?, "one is not let in");
        ensure!(!late.logs_in()?, "it is let in without a word");
        let which = lab.tell(Head::A, &format!("client add tank {NAME}"))?;
        ensure!(
            which.code != 0 && which.text.contains("say POOL/TARGET"),
            "{}",
            which.text
        );
        lab.tell_ok(Head::A, &format!("client add tank/{SECOND} {NAME}"))?;
        ensure!(late.logs_in()?, "it is not let in");
        let (plain_sees, other_sees) = ((&plain, &[0][..]), (&other, &[0, 3][..]));
        let all = [plain_sees, other_sees, (&late, &[0])];
        see(&all)?;
        let before = [plain.identity(0)?, other.identity(3)?];
        ensure!(before[0].contains("write through"), "{}", before[0]);

        wait_for_writes(lab, 50)?;
        let struck = unix_ms();
        lab.crash(Head::A)?;
        lab.wait_for("b serves", LIMIT)?;
        resume_and_verify(lab, "a crash of the owner of two targets", struck)?;
        see_again(&all)?;
        let after = [plain.identity(0)?, other.identity(3)?];
        ensure!(after == before, "{before:?} are {after:?} after a crash");

        // One client of one target goes, and the sessions of the others stay.
        let before = connections(lab)?;
        ensure!(before.len() >= all.len(), "{before:?}");
        lab.tell_ok(
            Head::B,
            &format!("client remove tank/{SECOND} {NAME} --yes"),
        )?;
        until(|| Ok(!late.is_logged_in()?), "its session does not end")?;
        until(
            || Ok(!before.is_subset(&connections(lab)?)),
            "its connection stays",
        )?;
        let gone: Vec<_> = before.difference(&connections(lab)?).cloned().collect();
        ensure!(gone.len() == 1, "not one session ended but {gone:?}");
        late.log_out()?;

        // Two targets are let go, the one after the other.
        boot_and_hand_over(lab, Head::A, "tank")?;
        lab.wait_for("b standby", LIMIT)?;
        see_again(&[plain_sees, other_sees])
    })
}

/// That each client sees its LUNs and no others, and reads them all.
fn see(clients: &[(&Client<'_>, &[u64])]) -> Result<()> {
    for (client, luns) in clients {
        let numbers: Vec<String> = luns.iter().map(u64::to_string).collect();
        let numbers = numbers.join(" ");
        until(
            || Ok(client.luns()? == numbers),
            &format!("{} does not see LUNs {numbers}", client.interface),
        )?;
        for lun in *luns {
            client.reads(*lun)?;
        }
    }
    Ok(())
}

/// The same of another owner. A session that came back has the devices from before, whatever is offered now: all are made anew.
fn see_again(clients: &[(&Client<'_>, &[u64])]) -> Result<()> {
    for (client, _) in clients {
        until(|| client.is_logged_in(), "a session does not come back")?;
        client.log_out()?;
        ensure!(client.logs_in()?, "{} is not let in", client.interface);
    }
    see(clients)
}

/// The client's ends of its connections to targets. open-iscsi keeps a session, its directory and its number when the connection is lost,
/// and is back in under a second: what is new then is the port of its end.
fn connections(lab: &Lab) -> Result<BTreeSet<String>> {
    let lines = said(lab, "cat /proc/net/tcp")?;
    let established = lines.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (here, there, state) = (fields.next()?, fields.next()?, fields.next()?);
        // 3260, and ESTABLISHED.
        (there.ends_with(":0CBC") && state == "01").then(|| here.to_owned())
    });
    Ok(established.collect())
}
