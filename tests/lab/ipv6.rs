//! A client that knows a pool by its IPv6 address alone: its LUN and its share go on through a crash and a handover, and the
//! address is looked for at the other head.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::request::IoOptions;
use orthrus_qemu::vm::wiring::mac;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, hand_over, make_tank, resume_and_verify, said, start_writing, tank,
    wait_for_writes, with_bare_disks,
};

/// The address of IPv6 is the first: the lab's client uses that.
fn pool() -> String {
    tank(
        "address = [\"fd00:77::10/64\", \"10.77.0.10/24\"]",
        "[[pool.nfs.share]]
volume = \"home\"
clients = \"fd00:77::/64\"
squash = \"none\"
",
    )
}

/// The client's own, on the card by which it reaches the pools.
const ADDRESS: &str = "port=$(ip -o route get 10.77.0.10 | sed 's/.* dev \\([^ ]*\\).*/\\1/') && \
    ip -6 address add fd00:77::100/64 dev $port nodad";

pub fn moves(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("ipv6", 3, 256 << 20)?;
    with_bare_disks(bench, shelf, disks, &pool(), |lab| {
        make_tank(lab, 3)?;
        lab.tell_ok(Head::A, "volume create tank/data 64M")?;
        lab.tell_ok(Head::A, "volume create tank/home 64M --fs ext4")?;
        lab.wait_for("b standby", LIMIT)?;
        lab.wait_for("client up", LIMIT)?;
        said(lab, ADDRESS)?;

        start_writing(lab)?;
        is_known_at(lab, Head::A)?;
        let struck = unix_ms();
        lab.crash(Head::A)?;
        lab.wait_for("b serves", LIMIT)?;
        resume_and_verify(lab, "iSCSI by IPv6, crash of the owner", struck)?;
        is_known_at(lab, Head::B)?;
        lab.boot(Head::A)?;
        lab.wait_for("a standby", LIMIT)?;

        start_writing(lab)?;
        let struck = unix_ms();
        hand_over(lab, Head::B, "tank")?;
        lab.wait_for("a serves", LIMIT)?;
        resume_and_verify(lab, "iSCSI by IPv6, handover", struck)?;
        is_known_at(lab, Head::A)?;

        start_writing_on_share(lab)?;
        let struck = unix_ms();
        hand_over(lab, Head::A, "tank")?;
        lab.wait_for("b serves", LIMIT)?;
        resume_and_verify(lab, "NFS by IPv6, handover", struck)?;
        lab.wait_for("a standby", LIMIT)?;

        start_writing_on_share(lab)?;
        let struck = unix_ms();
        lab.crash(Head::B)?;
        lab.wait_for("a serves", LIMIT)?;
        resume_and_verify(lab, "NFS by IPv6, crash of the owner", struck)?;
        is_known_at(lab, Head::A)
    })
}

/// The client has the head's own card for the address, and no other.
fn is_known_at(lab: &Lab, head: Head) -> Result<()> {
    let known = said(lab, "ip -6 neigh show to fd00:77::10")?;
    let card = mac(head, 2);
    ensure!(
        known.contains(&card),
        "the client looks for the address elsewhere than at {card}: {known:?}"
    );
    Ok(())
}

fn start_writing_on_share(lab: &Lab) -> Result<()> {
    lab.io_start(&IoOptions {
        share: Some("home".to_owned()),
        blocks: 1024,
        ..IoOptions::default()
    })?;
    lab.wait_for("client io", LIMIT)?;
    wait_for_writes(lab, 100)
}
