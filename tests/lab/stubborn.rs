//! A client that never closes anything, nor answers: its connections do not keep the head that lets the pool go.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, Machine, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, bare_disks, hand_over, resume_and_verify, said, start_writing, until, with_bare_disks,
};

use crate::stalls;

/// Connections on which nothing is ever said, one to each protocol's port; and readers of the share and of the namespace that
/// are always at it. The checked writer has the LUN.
const BUSY: &str = "set -e
for port in 3260 2049 4420; do
  setsid bash -c \"exec 3<>/dev/tcp/10.77.0.10/$port && touch /run/open.$port && sleep 100000\" >/dev/null 2>&1 </dev/null &
done
mkdir -p /mnt/home
mount -t nfs -o vers=4.2,hard,proto=tcp 10.77.0.10:/home /mnt/home
dd if=/dev/urandom of=/mnt/home/file bs=1M count=32 conv=fsync status=none
for file in /mnt/home/file /dev/nvme0n1; do
  setsid sh -c \"while dd if=$file of=/dev/null bs=1M iflag=direct status=none; do touch /run/read.${file##*/}; done\" \
    >/dev/null 2>&1 </dev/null &
done
until [ -e /run/open.3260 -a -e /run/open.2049 -a -e /run/open.4420 -a -e /run/read.file -a -e /run/read.nvme0n1 ]; do
  sleep 0.1
done";

pub fn holds_no_release(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("stubborn", 3, 512 << 20)?;
    with_bare_disks(bench, shelf, disks, &stalls::pool(), |lab| {
        stalls::make(lab)?;
        said(lab, BUSY)?;
        start_writing(lab)?;
        let before = uptime(lab)?;
        let struck = unix_ms();
        // In the midst of all that, what is sent to it from now on is acknowledged by nobody.
        lab.freeze(Machine::Client)?;
        hand_over(lab, Head::A, "tank")?;
        lab.wait_for("b serves tank", LIMIT)?;
        lab.wait_for("a standby tank", LIMIT)?;
        ensure!(uptime(lab)? >= before, "the head that let go was reset");
        lab.resume(Machine::Client)?;
        resume_and_verify(
            lab,
            "a handover from under a client that stands still",
            struck,
        )?;
        for file in ["file", "nvme0n1"] {
            said(lab, &format!("rm -f /run/read.{file}"))?;
            let again = format!("test -e /run/read.{file}");
            until(
                || Ok(lab.client(&["sh", "-c", &again])?.status == 0),
                &format!("{file} is not read any more"),
            )?;
        }
        Ok(())
    })
}

/// How long head a has been up, in seconds.
fn uptime(lab: &Lab) -> Result<u64> {
    let status = lab.tell_json(Head::A, "status")?;
    let uptime = status["uptime_s"].as_u64();
    uptime.with_context(|| format!("no uptime in {status}"))
}
