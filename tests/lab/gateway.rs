//! Clients on another network: answered through the pool's gateway, on whichever head; and a head that its gateway does not reach,
//! though its card has a link, leaves the pool to the other.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::cable::{Cable, Cut};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::headview::problems;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, make_tank, resume_and_verify, said, start_writing, tank, until,
    with_bare_disks,
};

/// With a share, for which the pool has a network of its own.
fn pool() -> String {
    tank(
        "address = \"10.77.0.10/24\"\ngateway = \"10.77.0.254\"",
        "[[pool.nfs.share]]
volume = \"home\"
clients = \"10.99.0.0/24\"
",
    )
}

/// The client is the router too, and has an address behind it, which is the one that it talks from.
const ROUTER: &str = "port=$(ip -o route get 10.77.0.10 | sed 's/.* dev \\([^ ]*\\).*/\\1/') && \
    ip address add 10.77.0.254/24 dev $port && \
    ip address add 10.99.0.5/32 dev lo && \
    ip route replace 10.77.0.10/32 dev $port src 10.99.0.5";

/// Connections of iSCSI from that address: local and remote side in the kernel's hexadecimal digits.
const FROM_FAR: &str = "grep -c ' 0500630A:[0-9A-F]* 0A004D0A:0CBC 01 ' /proc/net/tcp || true";

pub fn clients_beyond(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("gateway", 3, 256 << 20)?;
    with_bare_disks(bench, shelf, disks, &pool(), |lab| {
        make_tank(lab, 3)?;
        lab.tell_ok(Head::A, "volume create tank/data 64M")?;
        lab.tell_ok(Head::A, "volume create tank/home 64M --fs ext4")?;
        lab.wait_for("b ready tank", LIMIT)?;
        lab.wait_for("client up", LIMIT)?;
        // A router that neither hears is no reason to move.
        for head in Head::BOTH {
            until(
                || misses(lab, head),
                "a gateway that is not there is not missed",
            )?;
        }
        lab.wait_for("a serves tank", LIMIT)?;
        said(lab, ROUTER)?;
        for head in Head::BOTH {
            until(|| Ok(!misses(lab, head)?), "the gateway is not heard")?;
        }

        start_writing(lab)?;
        is_far(lab)?;
        let struck = unix_ms();
        lab.crash(Head::A)?;
        lab.wait_for("b serves", LIMIT)?;
        resume_and_verify(lab, "client behind a router, crash of the owner", struck)?;
        is_far(lab)?;
        lab.boot(Head::A)?;
        lab.wait_for("a ready tank", LIMIT)?;
        until(|| Ok(!misses(lab, Head::A)?), "the gateway is not heard")?;

        // Its card keeps its link: the gateway alone tells.
        start_writing(lab)?;
        let struck = unix_ms();
        lab.cut(Cut::silent(Cable::Data(Head::B)))?;
        lab.wait_for("a serves", LIMIT)?;
        resume_and_verify(lab, "the owner does not hear its gateway", struck)?;
        is_far(lab)?;
        ensure!(misses(lab, Head::B)? && !misses(lab, Head::A)?);
        lab.join(Cable::Data(Head::B))?;
        until(
            || Ok(!misses(lab, Head::B)?),
            "the gateway is not heard again",
        )
    })
}

/// Whether a head says that its gateway does not answer.
fn misses(lab: &Lab, head: Head) -> Result<bool> {
    let said = problems(&lab.tell_json(head, "status")?);
    let words = "the gateway 10.77.0.254 does not answer";
    Ok(said.iter().any(|problem| problem.contains(words)))
}

/// The client is logged in from behind the router, and from nowhere else.
fn is_far(lab: &Lab) -> Result<()> {
    let count = said(lab, FROM_FAR)?;
    ensure!(count == "1", "{count} connections from behind the router");
    Ok(())
}
