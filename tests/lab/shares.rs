//! A share and its clients' locks: made on the console, kept through a crash, a handover, and a loss of both heads.

use std::time::Instant;

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_qemu::request::IoOptions;
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, pool_field, resume_and_verify, wait_for_writes, with_bare_disks,
};

const DISKS: usize = 3;
const POOL: &str = "
[[pool]]
name = \"tank\"
home = \"a\"
address = \"10.77.0.10/24\"
[[pool.nfs.share]]
volume = \"home\"
clients = \"10.77.0.0/24\"
squash = \"none\"
[[pool.nfs.share]]
name = \"large\"
volume = \"big\"
clients = \"10.77.0.100\"
squash = \"none\"
[[pool.nfs.share]]
name = \"other\"
volume = \"other\"
clients = \"10.77.0.99\"
";

pub fn locks_move(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("shares", DISKS, 384 << 20)?;
    with_bare_disks(bench, shelf, disks, POOL, run)
}

fn run(lab: &Lab) -> Result<()> {
    make(lab)?;
    said(lab, HOLD)?;
    let sum = said(lab, FILL)?;
    refused(lab, "before anything")?;

    start_writing(lab)?;
    let struck = unix_ms();
    lab.crash(Head::A)?;
    // A rival that is there at once, in the grace period, gets nothing either.
    lab.wait_for("b serves", LIMIT)?;
    refused(lab, "right after a crash")?;
    resume_and_verify(lab, "NFS, crash of the owner", struck)?;
    ensure!(
        said(lab, SUM)? == sum,
        "a file on xfs is another one after a crash"
    );
    reclaimed(lab, Head::B)?;

    lab.boot_all(&[Machine::from(Head::A)])?;
    lab.wait_for("a standby", LIMIT)?;
    start_writing(lab)?;
    let struck = unix_ms();
    lab.tell_ok(Head::B, "handover tank")?;
    lab.wait_for("a serves", LIMIT)?;
    resume_and_verify(lab, "NFS, handover", struck)?;
    reclaimed(lab, Head::A)?;
    refused(lab, "after a handover")?;

    lab.crash_all(&Head::BOTH.map(Machine::from))?;
    lab.boot_all(&Head::BOTH.map(Machine::from))?;
    lab.wait_for("any serves", LIMIT)?;
    let owner = lab.owner(None)?;
    reclaimed(lab, owner)?;
    refused(lab, "after both heads were off")?;

    ensure!(
        said(lab, SUM)? == sum,
        "a file on xfs is another one in the end"
    );
    grows(lab, owner, "home", "home", 96)?;
    grows(lab, owner, "large", "big", 352)?;
    said(lab, RELEASE)?;
    // The lock is free as soon as the client says so, and not before.
    let begun = Instant::now();
    while rival(lab)? != 0 {
        ensure!(begun.elapsed() < LIMIT, "the lock stays where it was");
    }
    Ok(())
}

/// The pool and a share, from bare disks, by the console alone.
fn make(lab: &Lab) -> Result<()> {
    lab.wait_for("a faulted tank", LIMIT)?;
    lab.tell_ok(Head::A, "pool create tank sda sdb sdc --yes")?;
    lab.wait_for("a serves tank", LIMIT)?;
    let withheld = lab.tell_ok(Head::A, "pools")?;
    ensure!(
        withheld.contains("`volume create tank/home SIZE --fs ext4`"),
        "{withheld}"
    );
    for (command, why) in [
        ("volume create tank/home 64M", "say --fs ext4"),
        ("volume create tank/data 64M --fs ext4", "does not share it"),
        ("volume create tank/home 64M --fs ntfs", "ext4"),
    ] {
        let answer = lab.tell(Head::A, command)?;
        ensure!(
            answer.code != 0 && answer.text.contains(why),
            "{command:?} was answered with {}: {}",
            answer.code,
            answer.text
        );
    }
    lab.tell_ok(
        Head::A,
        "volume create tank/home 64M --raid raid1 --fs ext4",
    )?;
    lab.tell_ok(Head::A, "volume create tank/other 16M --fs ext4")?;
    lab.tell_ok(Head::A, "volume create tank/big 320M --fs xfs")?;
    let refused = lab.tell(Head::A, "volume remove tank/home --yes")?;
    ensure!(
        refused.code == 1 && refused.text.contains("shares it"),
        "{}",
        refused.text
    );
    lab.wait_for("client up", LIMIT)?;
    lab.wait_for("b standby", LIMIT)?;
    // What is another client's is not to be seen.
    let seen = said(lab, ROOT)?;
    ensure!(
        seen == "home\nlarge",
        "the client sees {seen:?} at the root"
    );
    Ok(())
}

const ROOT: &str = "mkdir -p /mnt/root && mount -t nfs -o vers=4.2,hard 10.77.0.10:/ /mnt/root && \
    ls /mnt/root && umount /mnt/root";

/// A lock that is held until it is told to go: `flock` on NFS is a lock at the server.
const HOLD: &str = "mkdir -p /mnt/home && mount -t nfs -o vers=4.2,hard,proto=tcp 10.77.0.10:/home /mnt/home && \
    touch /mnt/home/lock && setsid sh -c 'exec flock -x -F /mnt/home/lock sleep 100000' >/dev/null 2>&1 </dev/null & \
    until grep -q FLOCK /proc/locks; do sleep 0.1; done";
/// A file on the other file system, and its sum.
const FILL: &str = "mkdir -p /mnt/large && mount -t nfs -o vers=4.2,hard,proto=tcp 10.77.0.10:/large /mnt/large && \
    dd if=/dev/urandom of=/mnt/large/file bs=64k count=32 conv=fsync status=none && sha256sum < /mnt/large/file";
const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; sha256sum < /mnt/large/file";
const RELEASE: &str = "pid=$(awk '/FLOCK/ { print $5; exit }' /proc/locks) && kill $pid";

/// Another client: an address and a name of its own, and thus another owner to the server.
const RIVAL: &str = "set -e; \
    if ! ip netns list | grep -q rival; then \
      ip netns add rival; \
      ip link add link $(ip -o route get 10.77.0.10 | sed 's/.* dev \\([^ ]*\\).*/\\1/') name rival0 type macvlan mode bridge; \
      ip link set rival0 netns rival; \
      ip -n rival address add 10.77.0.98/24 dev rival0; \
      ip -n rival link set rival0 up; ip -n rival link set lo up; \
    fi; \
    ip netns exec rival unshare --uts sh -c 'hostname rival; mkdir -p /mnt/rival; \
      mount -t nfs -o vers=4.2,hard,proto=tcp 10.77.0.10:/home /mnt/rival || exit 9; \
      flock -x -n /mnt/rival/lock true; said=$?; umount /mnt/rival || exit 8; exit $said'";

fn rival(lab: &Lab) -> Result<i32> {
    let output = lab.client(&["sh", "-c", RIVAL])?;
    ensure!(
        matches!(output.status, 0 | 1),
        "the rival ended with {}: {}",
        output.status,
        output.stderr
    );
    Ok(output.status)
}

fn refused(lab: &Lab, when: &str) -> Result<()> {
    ensure!(rival(lab)? == 1, "{when}: a rival got the lock");
    Ok(())
}

/// That everybody has their state again, and the grace period is over.
fn reclaimed(lab: &Lab, owner: Head) -> Result<()> {
    let begun = Instant::now();
    loop {
        let clients = pool_field(lab, owner, "share_clients")?;
        ensure!(clients["problem"].is_null(), "{clients}");
        if clients["awaited"] == 0 && clients["known"].as_u64() >= Some(1) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "clients are still awaited: {clients}"
        );
    }
}

/// A volume grows under its share.
fn grows(lab: &Lab, owner: Head, share: &str, volume: &str, mib: u64) -> Result<()> {
    let blocks = &format!("stat -f -c '%b %S' /mnt/{share} | awk '{{ print $1 * $2 }}'");
    let before: u64 = said(lab, blocks)?.parse()?;
    lab.tell_ok(owner, &format!("volume grow tank/{volume} {mib}M"))?;
    // Clients look again when what they know is some seconds old.
    let begun = Instant::now();
    loop {
        let now: u64 = said(lab, blocks)?.parse()?;
        if now > before + (16 << 20) {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "{before} bytes, then {now}");
    }
}

fn start_writing(lab: &Lab) -> Result<()> {
    lab.io_start(&IoOptions {
        share: Some("home".to_owned()),
        blocks: 1024,
        ..IoOptions::default()
    })?;
    lab.wait_for("client io", LIMIT)?;
    wait_for_writes(lab, 100)
}

fn said(lab: &Lab, script: &str) -> Result<String> {
    let output = lab.client(&["sh", "-c", script])?;
    ensure!(output.status == 0, "{script}: {}", output.stderr);
    Ok(output.stdout.trim().to_owned())
}
