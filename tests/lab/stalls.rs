//! How long clients of each protocol wait for a takeover: ten crashes and ten handovers of one pool each, under a checked writer,
//! as a table with median and worst. Minutes; by `--ignored stalls_of_each_protocol`.

use anyhow::Result;
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::demo::wait_writes_after;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::request::IoOptions;
use orthrus_tests::steps::{
    ADDRESS, LIMIT, bare_disks, check, hand_over, make_tank, said, tank, until, wait_for_writes,
    with_bare_disks,
};
use orthrus_tests::{Bench, DEAD_MS};

use crate::nvme;

const ROUNDS: usize = 10;
/// Writes before and after each takeover.
const WRITES: u64 = 50;

/// A LUN, a share and a namespace.
pub(crate) fn pool() -> String {
    tank(
        ADDRESS,
        "[[pool.nfs.share]]
volume = \"home\"
clients = \"10.77.0.0/24\"
squash = \"none\"
[pool.nvme]
nqn = \"nqn.2026-01.org.orthrus:tank\"
hosts = [\"nqn.2014-08.org.nvmexpress:uuid:6a1f0c1e-0000-4000-8000-000000000001\"]
[[pool.nvme.namespace]]
nsid = 1
volume = \"data\"
",
    )
}

/// What the writer writes to.
fn targets() -> [(&'static str, IoOptions); 3] {
    let of = || IoOptions {
        blocks: 1024,
        ..IoOptions::default()
    };
    [
        ("iSCSI", of()),
        (
            "NFS",
            IoOptions {
                share: Some("home".to_owned()),
                ..of()
            },
        ),
        (
            "NVMe",
            IoOptions {
                device: Some("/dev/nvme0n1".to_owned()),
                ..of()
            },
        ),
    ]
}

pub fn of_each_protocol(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let disks = bare_disks("stalls", 3, 512 << 20)?;
    with_bare_disks(bench, shelf, disks, &pool(), |lab| {
        make(lab)?;
        let mut table = format!(
            "stall in seconds with dead = {:.1} s ({shelf} shelf, {ROUNDS} each):\n",
            f64::from(DEAD_MS) / 1000.0
        );
        for (name, target) in targets() {
            let mut handovers = Vec::new();
            let mut crashes = Vec::new();
            for round in 1..=ROUNDS {
                let what = format!("{name}, handover {round} of {ROUNDS}");
                handovers.push(stall(lab, &what, &target, || {
                    hand_over(lab, Head::A, "tank")
                })?);
                lab.wait_for("b serves", LIMIT)?;
                let what = format!("{name}, crash {round} of {ROUNDS}");
                crashes.push(stall(lab, &what, &target, || lab.crash(Head::B))?);
                lab.wait_for("a serves", LIMIT)?;
                lab.boot(Head::B)?;
                lab.wait_for("b ready tank", LIMIT)?;
                lab.readmit()?;
            }
            for (what, stalls) in [("handover", &mut handovers), ("crash", &mut crashes)] {
                stalls.sort_unstable();
                let [median, worst] =
                    [stalls[ROUNDS / 2], stalls[ROUNDS - 1]].map(|ms| ms as f64 / 1000.0);
                table +=
                    &format!("  {name:<6} {what:<9} median {median:>6.2}  worst {worst:>6.2}\n");
            }
        }
        println!("{table}");
        Ok(())
    })
}

/// The pool of bare disks, and the client's namespace.
pub(crate) fn make(lab: &Lab) -> Result<()> {
    make_tank(lab, 3)?;
    for volume in ["block 64M", "data 64M", "home 128M --fs ext4"] {
        lab.tell_ok(Head::A, &format!("volume create tank/{volume}"))?;
    }
    lab.wait_for("client up", LIMIT)?;
    said(lab, &nvme::connect(1))?;
    until(
        || Ok(said(lab, "ls /dev")?.contains("nvme0n1")),
        "the client never sees the namespace",
    )
}

/// The longest gap, in milliseconds, that something costs the writer.
fn stall(
    lab: &Lab,
    what: &str,
    target: &IoOptions,
    strike: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    lab.io_start(target)?;
    lab.wait_for("client io", LIMIT)?;
    wait_for_writes(lab, WRITES)?;
    let struck = unix_ms();
    strike()?;
    wait_writes_after(lab, struck)?;
    wait_for_writes(lab, WRITES)?;
    let report = lab.io_stop()?;
    check(lab, what, &report, struck)?;
    Ok(report.longest_since(struck).ms)
}
